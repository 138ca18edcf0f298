"""Whether the disk of a workspace is nearly full."""

from __future__ import annotations

import logging
import os
import shutil

from kartnb.storage.census import absolute_place

logger = logging.getLogger('kartnb')

_LEAST_SHARE = 0.05
_LEAST_BYTES = 10_000_000_000
_told: set[str] = set()


def warn_of_full_disk(workspace: str) -> None:
    """Log a warning, once a process, when little is left of the disk that a workspace is on."""
    if workspace in _told or '://' in workspace:
        return
    _told.add(workspace)
    place = absolute_place(workspace)
    while not os.path.isdir(place) and place != os.path.dirname(place):
        place = os.path.dirname(place)
    try:
        disk = shutil.disk_usage(place)
    except OSError:
        return
    if disk.free < _LEAST_BYTES and disk.free < _LEAST_SHARE * disk.total:
        logger.warning(
            'The disk of %s is %.0f %% full, %.1f GB are free: kartnb.clean(…) shows which results can go.',
            absolute_place(workspace),
            100 * (1 - disk.free / disk.total),
            disk.free / 1e9,
        )
