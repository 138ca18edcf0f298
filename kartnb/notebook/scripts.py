"""The scripts and style sheets of the live views, each put together from plain files."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from kartnb.view.html import stylesheet

_FOLDER = Path(__file__).parent / 'static'


@cache
def script(*names: str) -> str:
    """One ES module of the shared parts and some files.

    Parameters
    ----------
    names
        Files in `static`, without their ending; the last one has the export.
    """
    return '\n'.join(_read(f'{name}.js') for name in ('parts', *names))


@cache
def style(*names: str) -> str:
    """One style sheet of what all HTML of kartnb has and some files in `static`."""
    return stylesheet() + ''.join(_read(f'{name}.css') for name in names)


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding='utf-8')
