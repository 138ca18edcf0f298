"""Metadata of objects in Google Cloud Storage, as gokart writes it: the task's parameters and its inputs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_MOST_BYTES = 8 * 1024  # Google's limit for one object
_LOGS = re.compile(
    r'^gs://.+?/log/(processing_time|task_info|task_log|module_versions|random_seed|task_params|run_record)/'
)


def has_labels(path: str) -> bool:
    """Whether an object gets metadata: those in Google Cloud Storage do, but not the logs.

    Examples
    --------
    >>> has_labels('gs://bucket/module/Task_0f.pkl'), has_labels('gs://bucket/log/task_log/Task_0f.pkl')
    (True, False)
    """
    return path.startswith('gs://') and _LOGS.match(path) is None


def object_labels(
    task_params: Mapping[str, Any] | None = None,
    custom_labels: Mapping[str, Any] | None = None,
    required_task_outputs: Any = None,
) -> dict[str, str]:
    """Give the metadata of an object.

    Parameters
    ----------
    task_params
        The task's parameters.
    custom_labels
        The user's own; they come first, and win where a parameter has the same name.
    required_task_outputs
        What the task's inputs were made by, in any nesting of lists and dicts; objects with a ``serialize()`` too.

    Returns
    -------
    At most 8 KiB of names and values; the last ones are left out where there are more. Empty values are left out.

    Examples
    --------
    >>> object_labels({'n': 1, 'empty': ''}, {'n': 'mine', 'owner': 'me'})
    {'n': 'mine', 'owner': 'me'}
    """
    outputs = (
        {'__required_task_outputs': json.dumps(_serialized(required_task_outputs))} if required_task_outputs else {}
    )
    labels: dict[str, str] = {}
    for source in (custom_labels or {}, task_params or {}, outputs):
        for name, value in source.items():
            if str(value):
                labels.setdefault(str(name), str(value))
    return _within_limit(labels)


def _serialized(outputs: Any) -> Any:
    if hasattr(outputs, 'serialize'):
        return outputs.serialize()
    if isinstance(outputs, Mapping):
        return {name: _serialized(output) for name, output in outputs.items()}
    if isinstance(outputs, list | tuple):
        return [_serialized(output) for output in outputs]
    return outputs


def _within_limit(labels: dict[str, str]) -> dict[str, str]:
    size = sum(len(name.encode()) + len(value.encode()) for name, value in labels.items())
    while size > _MOST_BYTES:
        name, value = labels.popitem()
        size -= len(name.encode()) + len(value.encode())
    return labels
