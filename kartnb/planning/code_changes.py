"""Whether the code that made a result is the code of its class now, and what of it differs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from kartnb.storage.places import read_code
from kartnb.storage.run_records import RecordedResult
from kartnb.task.code.parts import MADE_BY, PYTHON, Part, part_digest, parts_from_json, print_of_parts, shown_name
from kartnb.task.code.prints import CodePrint, Printer

#: The beginning of the note on secret texts in the code, which are left out.
NOT_COMPARED = 'not compared'
_MOST_NAMED = 3
Answer = Literal['same', 'changed', 'unknown']


@dataclass(frozen=True, slots=True)
class CodeComparison:
    """Whether code has changed, and what of it (or why that is unknown)."""

    answer: Answer
    detail: str = ''


_SAME = CodeComparison('same')


class CodeChanges:
    """Compares prints; each pair once, and each class printed once."""

    def __init__(self) -> None:
        #: Gives the code print of a class as it is now.
        printer = Printer()
        self.print_of: Callable[[type], CodePrint] = printer.print_of
        #: The same, of a class that may have been edited since.
        self.print_again: Callable[[type], CodePrint] = printer.print_again
        self._compared: dict[tuple[str, str, str], CodeComparison] = {}
        self._parts: dict[tuple[str, str], tuple[Part, ...] | None] = {}

    def compare(self, workspace: str, result: RecordedResult, cls: type) -> CodeComparison:
        """Whether a result in a workspace was made by the code of a class as it is now, or is kept for that code."""
        now, made_by = self.print_of(cls), result.made_by
        if now.key == made_by or (result.kept_for is not None and now.key == result.kept_for[0]):
            return _same(now)
        key = (workspace, made_by, now.key)
        found = self._compared.get(key)
        if found is None:
            found = self._compared[key] = self._compare(workspace, made_by, now)
        return found

    def _compare(self, workspace: str, made_by: str, now: CodePrint) -> CodeComparison:
        before, way = self.parts(workspace, made_by), made_by.partition('-')[0]
        if way.lstrip('0123456789') != MADE_BY.removeprefix(PYTHON):
            return _compare_with_older(before, now)
        if way != MADE_BY:
            if before is None:
                return CodeComparison('unknown', 'it was made under another Python, and its source was not kept')
            # bytecode differs between Python versions for the same source
            if any(part.kind == 'code' for part in (*before, *now.parts)):
                return CodeComparison(
                    'unknown', 'it was made under another Python, and some of its source is not available'
                )
            # syntax trees differ between versions too, so the recorded source is printed again under this one
            if print_of_parts(before) == now.digest:
                return _same(now)
        return CodeComparison('changed', _differences(before, now.parts))

    def named_changes(self, workspace: str, result: RecordedResult, cls: type) -> tuple[tuple[str, str, str], ...]:
        """What differs in the code of a result: name, and of a constant its text before and now; () if unknown."""
        before, now = self.parts(workspace, result.made_by), self.print_of(cls).parts
        if before is None or result.made_by.partition('-')[0] != MADE_BY:
            return ()
        old, new = ({part.name: part.text for part in parts if part.kind == 'value'} for parts in (before, now))
        return tuple((shown_name(name), old.get(name, ''), new.get(name, '')) for name in _telling_names(before, now))

    def parts(self, workspace: str, key: str) -> tuple[Part, ...] | None:
        """As `recorded_parts`, each print read once."""
        if (workspace, key) not in self._parts:
            self._parts[workspace, key] = recorded_parts(workspace, key)
        return self._parts[workspace, key]


def recorded_parts(workspace: str, key: str) -> tuple[Part, ...] | None:
    """The parts of a print that was recorded; None when they were not kept, or are damaged."""
    text = read_code(workspace, key)
    try:
        return None if text is None else parts_from_json(text)
    except ValueError:
        return None


def changed_names(before: tuple[Part, ...], now: tuple[Part, ...]) -> list[str]:
    """The names of the parts that differ."""
    old, new = ({part.name: (part.kind, part_digest(part)) for part in parts} for parts in (before, now))
    return [name for name in dict.fromkeys([*new, *old]) if old.get(name) != new.get(name)]


def _compare_with_older(before: tuple[Part, ...] | None, now: CodePrint) -> CodeComparison:
    """Compare with a print that was made in an older way, by the functions: both ways keep their source."""
    if before is not None:
        known = {part_digest(part) for part in now.parts}
        # the newer way takes a class of another module as a whole
        texts = [part.text for part in now.parts if part.kind == 'source']
        sources = [part for part in before if part.kind == 'source']
        changed = [part.name for part in sources if part_digest(part) not in known and not _is_within(part, texts)]
        if changed:
            return CodeComparison('changed', _named(changed))
    return CodeComparison('unknown', 'the result was recorded by an older kartnb')


def _is_within(part: Part, texts: list[str]) -> bool:
    lines = [line.strip() for line in part.text.splitlines()]
    return any('\n'.join(lines) in '\n'.join(line.strip() for line in text.splitlines()) for text in texts)


def _differences(before: tuple[Part, ...] | None, now: tuple[Part, ...]) -> str:
    return '' if before is None else _named(_telling_names(before, now))


def _telling_names(before: tuple[Part, ...], now: tuple[Part, ...]) -> list[str]:
    """The names of the parts that differ; those that only come or go with the use in others do not count."""
    names = changed_names(before, now)
    in_both = {part.name for part in before} & {part.name for part in now}
    return [name for name in names if name in in_both] or names


def _named(names: list[str]) -> str:
    more = f' and {len(names) - _MOST_NAMED} more' if len(names) > _MOST_NAMED else ''
    return ', '.join(map(shown_name, names[:_MOST_NAMED])) + more


def _same(now: CodePrint) -> CodeComparison:
    if now.unknown:
        return CodeComparison('unknown', '; '.join(now.unknown[:_MOST_NAMED]))
    return CodeComparison('same', f'{NOT_COMPARED}: {", ".join(now.not_compared)}') if now.not_compared else _SAME
