"""Whether the code of a class is the one that made a result, told by code prints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from kartnb.storage.code_files import read_code
from kartnb.task.code_parts import PYTHON, Part, part_digest, parts_from_json, print_of_parts
from kartnb.task.code_print import CodePrint, Printer

Answer = Literal['same', 'changed', 'unknown']
_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether code has changed, and what of it (or why nobody can tell)."""

    answer: Answer
    detail: str = ''


_SAME = Verdict('same')


class CodeChanges:
    """Compares prints; each pair once, and each class printed once."""

    def __init__(self) -> None:
        #: Gives the code print of a class as it is now.
        self.print_of: Callable[[type], CodePrint] = Printer().print_of
        self._verdicts: dict[tuple[str, str, str], Verdict] = {}
        self._parts: dict[tuple[str, str], tuple[Part, ...] | None] = {}

    def compare(self, workspace: str, made_by: str, cls: type, kept_for: str = '') -> Verdict:
        """Whether a result was made by the code of a class as it is now.

        Parameters
        ----------
        workspace
            Where the result is.
        made_by
            The print that made it, with its Python.
        cls
            The class.
        kept_for
            Another print for which it counts as made by the code, or ''.
        """
        now = self.print_of(cls)
        if now.key in (made_by, kept_for):
            return _unknown(now) if now.unknown else _SAME
        key = (workspace, made_by, now.key)
        found = self._verdicts.get(key)
        if found is None:
            found = self._verdicts[key] = self._compare(workspace, made_by, now)
        return found

    def _compare(self, workspace: str, made_by: str, now: CodePrint) -> Verdict:
        before = self.parts(workspace, made_by)
        if made_by.partition('-')[0] != PYTHON:
            if before is None:
                return Verdict('unknown', 'it was made under another Python, and its source was not kept')
            if any(part.kind == 'code' for part in (*before, *now.parts)):
                return Verdict('unknown', 'it was made under another Python, and the source of some of it is hidden')
            if print_of_parts(before) == now.digest:
                return _unknown(now) if now.unknown else _SAME
        return Verdict('changed', _differences(before, now.parts))

    def parts(self, workspace: str, key: str) -> tuple[Part, ...] | None:
        """The parts of a print that was recorded; None when they were not kept, or are damaged."""
        if (workspace, key) not in self._parts:
            text = read_code(workspace, key)
            try:
                self._parts[workspace, key] = None if text is None else parts_from_json(text)
            except ValueError:
                self._parts[workspace, key] = None
        return self._parts[workspace, key]


def changed_names(before: tuple[Part, ...], now: tuple[Part, ...]) -> list[str]:
    """The names of the parts that differ."""
    old, new = ({part.name: (part.kind, part_digest(part)) for part in parts} for parts in (before, now))
    return [name for name in dict.fromkeys([*new, *old]) if old.get(name) != new.get(name)]


def _differences(before: tuple[Part, ...] | None, now: tuple[Part, ...]) -> str:
    if before is None:
        return ''
    names = changed_names(before, now)
    more = f' and {len(names) - _MOST_NAMED} more' if len(names) > _MOST_NAMED else ''
    return ', '.join(names[:_MOST_NAMED]) + more


def _unknown(now: CodePrint) -> Verdict:
    return Verdict('unknown', '; '.join(now.unknown[:_MOST_NAMED]))
