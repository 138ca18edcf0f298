"""What the magics that look back do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from IPython.core.error import UsageError

from kartnb.errors import HistoryError, KartError, StorageError
from kartnb.execution.compare.differences import Difference, diff
from kartnb.notebook.command import Command
from kartnb.notebook.expression import value_of
from kartnb.notebook.history_arguments import clean_parser, diff_parser, runs_parser
from kartnb.records.clean import Cleaning, clean
from kartnb.records.runs import Runs
from kartnb.records.workspace import Workspace

_ID = re.compile('[0-9a-f]{4,32}')


class HistoryCommands(Command):
    """Listing, comparing and removing recorded results."""

    def runs(self, line: str) -> Runs | None:
        """The recorded results of a workspace."""
        __tracebackhide__ = True
        given = self._taken_apart(runs_parser(), line)
        if given is None:
            return None
        options = given.options
        where: dict[str, list[str]] = {}
        for name, value in options.where:
            where.setdefault(name, []).append(value)
        with _one_line('kart_runs'):
            return workspace_of(given.expression).runs(
                options.task,
                since=options.since,
                until=options.until,
                state=options.state,
                where=where,
                sort=options.sort,
                limit=options.limit,
            )

    def clean(self, line: str, local_ns: dict[str, Any] | None) -> Cleaning | None:
        """What can go from a workspace; removed where that is said."""
        __tracebackhide__ = True
        given = self._taken_apart(clean_parser(), line)
        if given is None:
            return None
        options = given.options
        with self._own_part_shown():
            roots = self._values('kart_clean', given.expression, local_ns)
            with _one_line('kart_clean'):
                return clean(
                    *roots,
                    workspace=options.workspace,
                    remove=options.remove,
                    keep_age=options.keep_age,
                    keep_number=options.keep_number,
                    keep_bytes=options.keep_bytes,
                    unrecorded=options.unrecorded,
                )

    def diff(self, line: str, local_ns: dict[str, Any] | None) -> Difference | None:
        """What differs between two results."""
        __tracebackhide__ = True
        given = self._taken_apart(diff_parser(), line)
        if given is None:
            return None
        names = [self._result(text, local_ns) for text in _split(given.expression)]
        if not 1 <= len(names) <= 2:
            raise UsageError('%kart_diff needs one or two results: ids, or expressions such as MyTask(…)')
        options = given.options
        with self._own_part_shown(), _one_line('kart_diff'):
            return diff(*names, workspace=options.workspace, all=options.all, values=not options.no_values)

    def _values(self, magic: str, text: str, local_ns: dict[str, Any] | None) -> list[Any]:
        """What an expression gives, or several of them with spaces in between."""
        __tracebackhide__ = True
        several = [text] if not text.strip() or _is_expression(text) else _split(text)
        if len(several) > 1 and not all(map(_is_expression, several)):
            several = [text]  # so that what is wrong is told of the line as it was written
        return [value_of(one, magic, self._shell, local_ns) for one in several if one.strip()]

    def _result(self, text: str, local_ns: dict[str, Any] | None) -> Any:
        """An id as it is; anything else is Python."""
        if _ID.fullmatch(text):
            return text
        try:
            return eval(text, {**self._shell.user_ns, **(local_ns or {})})
        except Exception as error:
            raise UsageError(f'%kart_diff: {text}: {type(error).__name__}: {error}') from None


def _is_expression(text: str) -> bool:
    try:
        ast.parse(text.strip(), mode='eval')
    except (SyntaxError, ValueError):
        return False
    return True


def _split(line: str) -> list[str]:
    """The expressions of a line, at the spaces and commas that stand in no bracket and no quotes."""
    found, depth, quote = [''], 0, ''
    for character in line.strip():
        if quote:
            quote = '' if character == quote else quote
        elif character in '\'"':
            quote = character
        elif character in '([{':
            depth += 1
        elif character in ')]}':
            depth -= 1
        elif character in ' ,' and depth == 0:
            found.append('')
            continue
        found[-1] += character
    return [text for text in found if text]


def workspace_of(text: str) -> Workspace:
    """The workspace that a line names, which may be in quotes; the one of tasks where it names none."""
    path = text.strip()
    if len(path) > 1 and path[0] == path[-1] and path[0] in '\'"':
        path = path[1:-1]
    return Workspace(path or None)


@contextmanager
def _one_line(magic: str) -> Iterator[None]:
    """Let what is wrong with what was asked for be one line."""
    __tracebackhide__ = True
    try:
        yield
    except (HistoryError, StorageError) as error:
        raise UsageError(f'%{magic}: {error}') from None
    except KartError as error:
        raise UsageError(f'%{magic}: {error}') from error
