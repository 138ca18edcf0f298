"""The lines of a unified difference, fit to be shown."""

from __future__ import annotations

from dataclasses import dataclass

#: What the lines of a difference begin with, and the state whose colour they take.
_LOOKS = {'+': 'done', '-': 'failed', '@': 'not-needed'}


@dataclass(frozen=True, slots=True)
class DiffLine:
    """One line of a difference, and the class of its colour."""

    text: str
    slug: str


def diff_line(text: str) -> DiffLine:
    """A line, which tells by its first character what it is."""
    return DiffLine(text, _LOOKS.get(text[:1], ''))
