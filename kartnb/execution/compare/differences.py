"""`kartnb.diff`: what differs between two recorded results."""

from __future__ import annotations

import filecmp
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import luigi

from kartnb import display
from kartnb.errors import HistoryError, KartError
from kartnb.execution.compare.value_changes import Change, value_changes
from kartnb.execution.why import CodeChange, code_differences
from kartnb.history.run_record import RunRecord
from kartnb.history.runs import Run, RunState
from kartnb.history.workspace import RunName, Workspace
from kartnb.storage.code_files import read_code
from kartnb.storage.filesystem import file_system
from kartnb.storage.gokart_logs import log_path
from kartnb.storage.peeking import peek
from kartnb.storage.superseded import kept_log_name
from kartnb.task.base import TaskOnKart
from kartnb.task.code_parts import Part, parts_from_json


@dataclass(frozen=True, slots=True)
class Section:
    """One aspect of two results.

    Attributes
    ----------
    name
        'parameters', 'code', 'versions', 'seed', 'upstream results', 'value', or 'run' for where and how long.
    changes
        What is on either side, by name; with what is the same where all was asked for.
    diffs
        Unified diffs, by name.
    note
        What cannot be told, or ''.
    """

    name: str
    changes: tuple[Change, ...] = ()
    diffs: tuple[CodeChange, ...] = ()
    note: str = ''

    @property
    def differs(self) -> bool | None:
        """Whether anything differs; None when that cannot be told."""
        answers = [change.differs for change in self.changes]
        if self.diffs or True in answers:
            return True
        return None if self.note or None in answers else False


@dataclass(frozen=True, eq=False, repr=False)
class Difference(display.Displayed):
    """What differs between two results.

    Attributes
    ----------
    before, after
        The two.
    sections
        The aspects, in order.
    all
        Whether what is the same is shown too.
    """

    before: Run
    after: Run
    sections: tuple[Section, ...]
    all: bool = False

    def __getitem__(self, name: str) -> Section:
        for section in self.sections:
            if section.name == name:
                return section
        raise KeyError(name)

    @property
    def differing(self) -> tuple[str, ...]:
        """The names of the aspects that differ."""
        return tuple(section.name for section in self.sections if section.differs)


def diff(
    a: RunName, b: RunName | None = None, *, workspace: str | Workspace | None = None, all: bool = False,
    values: bool = True,
) -> Difference:  # fmt: skip
    """Find out what differs between two results: parameters, code, versions, seed, upstream results, and the values.

    Parameters
    ----------
    a, b
        Tasks, ids or their beginnings, rows of `Workspace.runs`, or run records; replaced results too. Without `b`, the
        result that `a` replaced last is compared with it.
    workspace
        Where ids are looked up; by default the workspace of the other one, or the one that tasks use.
    all
        Whether what is the same is shown too.
    values
        Whether the values are loaded and compared.

    Raises
    ------
    kartnb.HistoryError
        When there is no such result, or nothing was replaced.

    Examples
    --------
    >>> import kartnb, luigi, tempfile
    >>> class Square(kartnb.TaskOnKart[int]):
    ...     n = luigi.IntParameter()
    ...
    ...     def run(self):
    ...         self.dump(self.n**2)
    >>> two, three = (Square(n=n, workspace_directory=tempfile.mkdtemp()) for n in (2, 3))
    >>> [kartnb.build(task) for task in (two, three)]
    [4, 9]
    >>> found = kartnb.diff(two, three)
    >>> found['parameters'].changes
    (Change(name='n', before='2', after='3', differs=True),)
    >>> found['value'].changes
    (Change(name='value', before='4', after='9 (+5)', differs=True),)
    """
    places = _places(a, b, workspace)
    after = _run(a, places[0])
    if b is None:
        places = (places[0], places[0])
        before = _replaced(after, places[0])
    else:
        before, after = after, _run(b, places[1])
    sides = (_Side(before, places[0]), _Side(after, places[1]))
    sections = [*_known(*sides), *([_values(*sides)] if values else [])]
    return Difference(before, after, tuple(sections if all else map(_only_differing, sections)), all)


@dataclass(frozen=True, slots=True)
class _Side:
    run: Run
    workspace: Workspace

    def parts(self) -> tuple[Part, ...] | None:
        """The code that made it, where it was kept."""
        key = self.run.record.code if self.run.record is not None else ''
        text = read_code(self.workspace.path, key) if key else None
        try:
            return None if text is None else parts_from_json(text)
        except ValueError:
            return None

    def seed(self) -> str:
        """The seed of the run; '' where no log tells it."""
        path = log_path(self.workspace.path, 'random_seed', self.run.task, self.run.unique_id)
        if self.run.state is RunState.SUPERSEDED:
            path = os.path.join(os.path.dirname(self.run.place), kept_log_name('random_seed', path))
        try:
            logged = peek(file_system(path).read_bytes(path))
        except (KartError, OSError):
            return ''
        return str(logged.get('seed', '')) if isinstance(logged, dict) else ''


def _places(a: RunName, b: RunName | None, given: str | Workspace | None) -> tuple[Workspace, Workspace]:
    if given is not None:
        place = given if isinstance(given, Workspace) else Workspace(given)
        return place, place
    own = [Workspace(item.workspace_directory) if isinstance(item, TaskOnKart) else None for item in (a, b)]
    first = own[0] or own[1] or Workspace()
    return first, own[1] or first


def _run(name: RunName, workspace: Workspace) -> Run:
    if isinstance(name, RunRecord):
        name = name.result_id or name.unique_id
    if isinstance(name, luigi.Task) and not isinstance(name, TaskOnKart):
        raise HistoryError(f'{type(name).__name__} is no TaskOnKart: nothing is recorded of it.')
    return workspace.run(name)


def _replaced(run: Run, workspace: Workspace) -> Run:
    """The result that was there before."""
    earlier = workspace.runs(run.task, state='superseded').filter()
    found = [item for item in earlier if item.unique_id == run.unique_id and item.result_id != run.result_id]
    if not found:
        raise HistoryError(f'No replaced result of {run.task}[{run.unique_id[:8]}] is kept: say what to compare with.')
    return found[0]


def _known(before: _Side, after: _Side) -> Iterator[Section]:
    """What the records tell."""
    a, b = before.run, after.run
    tasks = {'task': a.task, 'module': a.module}, {'task': b.task, 'module': b.module}
    yield Section('task', _changes(*tasks))
    yield Section('parameters', _changes(a.parameters, b.parameters))
    yield _code(before, after)
    yield _versions(a, b)
    seeds = before.seed(), after.seed()
    known = all(seeds)
    yield Section('seed', _changes({'seed': seeds[0]}, {'seed': seeds[1]}) if known else ())
    yield Section('upstream results', _changes(*_inputs(a, b)))
    facts = [{'seconds': f'{r.seconds or 0:.6g}', 'host': r.host, 'notebook': r.notebook} for r in (a, b)]
    yield Section('run', tuple(replace(change, differs=False) for change in _changes(*facts)))


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Change, ...]:
    names = dict.fromkeys([*before, *after])
    return tuple(
        Change(name, before.get(name, '(none)'), after.get(name, '(none)'), before.get(name) != after.get(name))
        for name in names
    )


def _code(before: _Side, after: _Side) -> Section:
    keys = [side.run.record.code if side.run.record is not None else '' for side in (before, after)]
    if all(keys) and keys[0] == keys[1]:
        return Section('code', (Change('code print', keys[0], keys[1], False),))
    parts = before.parts(), after.parts()
    if parts[0] is None or parts[1] is None:
        return Section('code', note='the code of one of them was not recorded')
    return Section('code', diffs=tuple(code_differences(parts[0], parts[1])))


def _versions(a: Run, b: Run) -> Section:
    if not a.versions or not b.versions:
        return Section('versions', note='the versions of one of them were not recorded')
    return Section('versions', _changes(a.versions, b.versions))


def _inputs(a: Run, b: Run) -> tuple[dict[str, str], dict[str, str]]:
    """The results that they were made from, by task; by its id too, where a task has several."""
    sides = []
    counts = {
        name: max(sum(item.task == name for item in run.inputs) for run in (a, b))
        for name in {item.task for run in (a, b) for item in run.inputs}
    }
    for run in (a, b):
        names = {}
        for item in run.inputs:
            several = counts[item.task] > 1
            label = f'{item.task}[{item.unique_id[:8]}]' if several else item.task
            names[label] = f'{"" if several else item.unique_id[:8] + " "}result {item.result_id or "unknown"}'
        sides.append(names)
    return sides[0], sides[1]


def _values(before: _Side, after: _Side) -> Section:
    missing = [side.run for side in (before, after) if not side.run.has_result]
    if missing:
        return Section('value', note=f'{missing[0].task}[{missing[0].id[:8]}] has no value: it is {missing[0].state}')
    if _same_files(before.run, after.run):
        return Section('value', (Change('value', 'the same bytes', 'the same bytes', False),))
    try:
        a, b = (side.workspace.load(side.run) for side in (before, after))
    except Exception as error:  # whatever a foreign value raises when it is loaded
        return Section('value', note=f'a value cannot be loaded: {error}')
    found = value_changes(a, b)
    changes = found.changes or (Change('value', '', '', None if found.equal is None else not found.equal),)
    return Section('value', () if found.diff else changes, (CodeChange('value', found.diff),) if found.diff else ())


def _same_files(a: Run, b: Run) -> bool:
    if len(a.outputs) != len(b.outputs) or any('://' in path for path in (*a.outputs, *b.outputs)):
        return False
    try:
        return all(filecmp.cmp(one, other, shallow=False) for one, other in zip(a.outputs, b.outputs, strict=True))
    except OSError:
        return False


def _only_differing(section: Section) -> Section:
    return replace(section, changes=tuple(change for change in section.changes if change.differs is not False))
