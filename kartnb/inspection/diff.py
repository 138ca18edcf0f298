"""`kartnb.diff`: what differs between two recorded results, in what made them and in their values.

`diff` looks both results up and compares what their records tell, aspect by aspect. Values are compared by their kind:
tables by rows and cells, arrays by elements and norms, mappings key by key, plain values as text, and anything else
with ``==``. Everything is bounded, because results may be of any size and the difference is to be read by a person.
"""

from __future__ import annotations

import difflib
import filecmp
import json
import numbers
import os
import pickle
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from kartnb import display
from kartnb.errors import HistoryError, KartError, UnloadedResultError, text_of
from kartnb.history.run_record import RunRecord
from kartnb.history.runs import Run, RunState
from kartnb.history.workspace import RunName, Workspace
from kartnb.inspection.why import CodeChange, code_differences
from kartnb.planning.code_changes import recorded_parts
from kartnb.storage.file_inputs import FileInput
from kartnb.storage.peek import unread_types
from kartnb.storage.places import log_path, read_log
from kartnb.storage.superseded import kept_log_name
from kartnb.task.base import TaskOnKart
from kartnb.task.code.parts import Part

# difflib takes time that is quadratic in the number of lines at worst
_MOST_LINES = 20_000
_MOST_SHOWN = 400
_MOST_KEYS = 50
_MOST_CHARACTERS = 4_000_000
_MOST_COLUMNS = 40
_MOST_CELLS = 5
_DEEPEST = 3
#: Bits; an unique id has 128, and more could not be written out.
_LONGEST_SEED = 256
#: Bytes of a result's files that are compared without being asked for.
_MOST_COMPARED = 1 << 28
_NOT_LOADED = 'not compared: values=True (--values) loads and compares them'
#: Where an object lies in memory, in what `repr` gives by default: it differs each time and says nothing.
_ADDRESS = re.compile(' at 0x[0-9a-fA-F]+')


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is compared: its name, what it is on either side, and whether it differs (None: unknown)."""

    name: str
    before: str
    after: str
    differs: bool | None = True


@dataclass(frozen=True, slots=True)
class Section:
    """One aspect of two results."""

    #: 'parameters', 'code', 'versions', 'seed', 'upstream results', 'files' for those that they were made from,
    #: 'value', or 'run' for where and how long.
    name: str
    #: By name; what is the same is among them where all was asked for.
    changes: tuple[Change, ...] = ()
    #: Unified diffs, by name.
    diffs: tuple[CodeChange, ...] = ()
    #: What is unknown, or ''.
    note: str = ''

    @property
    def differs(self) -> bool | None:
        """Whether anything differs; None when that is unknown."""
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
    a: RunName, b: RunName | None = None, *, workspace: str | os.PathLike[str] | Workspace | None = None,
    all: bool = False, values: bool = False,
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
        Whether the values are loaded and compared. Otherwise they are compared where they can be read without running
        code that a file brings along: plain values and tables in formats other than pickle.

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
    places = _workspaces(a, b, workspace)
    after = _find_run(a, places[0])
    if b is None:
        places = (places[0], places[0])
        before = _previous_run(after, places[0])
    else:
        before, after = after, _find_run(b, places[1])
    sides = (_Side(before, places[0]), _Side(after, places[1]))
    sections = [*_recorded_sections(*sides), _value_section(*sides, values)]
    return Difference(before, after, tuple(sections if all else map(_only_differing, sections)), all)


@dataclass(frozen=True, slots=True)
class _Side:
    run: Run
    workspace: Workspace

    def parts(self) -> tuple[Part, ...] | None:
        """The code that made it, where it was kept."""
        record = self.run.record
        return recorded_parts(self.workspace.path, record.code) if record is not None and record.code else None

    def seed(self) -> str:
        """The seed of the run; '' where it was not logged."""
        path = log_path(self.workspace.path, 'random_seed', self.run.task, self.run.unique_id)
        if self.run.state is RunState.SUPERSEDED:
            path = os.path.join(os.path.dirname(self.run.place), kept_log_name('random_seed', path))
        try:
            logged = read_log(path)
        except (KartError, OSError):
            return ''
        seed = logged.get('seed') if isinstance(logged, dict) else None
        return str(seed) if isinstance(seed, int) and seed.bit_length() <= _LONGEST_SEED else ''


def _workspaces(
    a: RunName, b: RunName | None, given: str | os.PathLike[str] | Workspace | None
) -> tuple[Workspace, Workspace]:
    if given is not None:
        place = given if isinstance(given, Workspace) else Workspace(given)
        return place, place
    own = [Workspace(item.workspace_directory) if isinstance(item, TaskOnKart) else None for item in (a, b)]
    first = own[0] or own[1] or Workspace()
    return first, own[1] or first


def _find_run(name: RunName, workspace: Workspace) -> Run:
    if isinstance(name, RunRecord):
        name = name.result_id or name.unique_id
    return workspace.run(name)


def _previous_run(run: Run, workspace: Workspace) -> Run:
    """The result that was there before."""
    earlier = workspace.runs(run.task, state='superseded')
    found = [item for item in earlier if item.unique_id == run.unique_id and item.result_id != run.result_id]
    if not found:
        raise HistoryError(
            f'No replaced result of {run.task}[{run.unique_id[:8]}] is kept: give a second result to compare with.'
        )
    return found[0]


def _recorded_sections(before: _Side, after: _Side) -> Iterator[Section]:
    """What the records and logs say of either side."""
    a, b = before.run, after.run
    tasks = {'task': a.task, 'module': a.module}, {'task': b.task, 'module': b.module}
    yield Section('task', _changed_texts(*tasks))
    yield Section('parameters', _changed_texts(a.parameters, b.parameters))
    yield _code_section(before, after)
    yield _version_section(a, b)
    seeds = before.seed(), after.seed()
    yield Section('seed', _changed_texts({'seed': seeds[0]}, {'seed': seeds[1]}) if all(seeds) else ())
    yield Section('upstream results', _changed_texts(*_input_results(a, b)))
    yield Section('files', _changed_files(a, b))
    # where and how long it ran is worth knowing, and no difference of the results
    facts = [
        {
            'seconds': f'{r.seconds or 0:.6g}',
            'host': r.host,
            'notebook': r.notebook,
            'user': r.user,
            'commit': r.commit,
        }
        for r in (a, b)
    ]
    yield Section('run', tuple(replace(change, differs=False) for change in _changed_texts(*facts)))


def _changed_texts(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Change, ...]:
    names = dict.fromkeys([*before, *after])
    return tuple(
        Change(name, before.get(name, '(none)'), after.get(name, '(none)'), before.get(name) != after.get(name))
        for name in names
    )


def _code_section(before: _Side, after: _Side) -> Section:
    keys = [side.run.record.code if side.run.record is not None else '' for side in (before, after)]
    if all(keys) and keys[0] == keys[1]:
        return Section('code', (Change('code print', keys[0], keys[1], False),))
    old, new = before.parts(), after.parts()
    if old is None or new is None:
        return Section('code', note='the code of one of them was not recorded')
    return Section('code', diffs=tuple(code_differences(old, new)))


def _version_section(a: Run, b: Run) -> Section:
    if not a.versions or not b.versions:
        return Section('versions', note='the versions of one of them were not recorded')
    return Section('versions', _changed_texts(a.versions, b.versions))


def _input_results(a: Run, b: Run) -> tuple[dict[str, str], dict[str, str]]:
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


def _changed_files(a: Run, b: Run) -> tuple[Change, ...]:
    """The files that they were made from."""
    before, after = ({file.path: file for file in run.record.files} if run.record else {} for run in (a, b))
    found = []
    for path in dict.fromkeys([*before, *after]):
        sides = before.get(path), after.get(path)
        one, other = ('(none)' if side is None else _file_text(side) for side in sides)
        digests = ['' if side is None or side.kind == 'unknown' else side.digest for side in sides]
        differs = None if not all(digests) and all(sides) else sides[0] is None or digests[0] != digests[1]
        found.append(Change(path, one, other, differs))
    return tuple(found)


def _file_text(file: FileInput) -> str:
    """A file as it was read, in a few words."""
    if file.kind == 'unknown':
        return f'not compared: {file.digest}'
    what = f'{file.size:,} bytes' if file.kind == 'file' else f'{file.size:,} files'
    digest = file.digest.partition('-')[2] or file.digest
    return f'{what}, {digest[:8] or "changed while it was read"}'


def _value_section(before: _Side, after: _Side, is_asked_for: bool) -> Section:
    missing = [side.run for side in (before, after) if not side.run.has_result]
    if missing:
        return Section('value', note=f'{missing[0].task}[{missing[0].id[:8]}] has no value: it is {missing[0].state}')
    if _same_files(before.run, after.run, None if is_asked_for else _MOST_COMPARED):
        return Section('value', (Change('value', 'the same bytes', 'the same bytes', False),))
    try:
        a, b = (side.workspace.load(side.run) if is_asked_for else _peeked(side) for side in (before, after))
    except UnloadedResultError:
        return Section('value', note=_NOT_LOADED)
    except Exception as error:  # whatever a foreign value raises when it is loaded
        return Section('value', note=f'a value cannot be loaded: {text_of(error)}')
    found = value_changes(a, b)
    if not is_asked_for and found.equal is not False:
        # the files differ, and what was read of them leaves out such things as the zones of times
        return Section('value', note=_NOT_LOADED)
    changes = found.changes or (Change('value', '', '', None if found.equal is None else not found.equal),)
    return Section('value', () if found.diff else changes, (CodeChange('value', found.diff),) if found.diff else ())


def _peeked(side: _Side) -> Any:
    """The value of a result as far as it is plain; raises UnloadedResultError where a part of it is not."""
    value = side.workspace.peek(side.run)
    if unread_types(value):
        raise UnloadedResultError('has to be loaded')
    return value


def _same_files(a: Run, b: Run, most: int | None) -> bool:
    if len(a.outputs) != len(b.outputs) or any('://' in path for path in (*a.outputs, *b.outputs)):
        return False
    try:
        if most is not None and sum(map(os.path.getsize, a.outputs)) > most:
            return False
        return all(filecmp.cmp(one, other, shallow=False) for one, other in zip(a.outputs, b.outputs, strict=True))
    except OSError:
        return False


def _only_differing(section: Section) -> Section:
    return replace(section, changes=tuple(change for change in section.changes if change.differs is not False))


# --- Values -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ValueChanges:
    """What is known of how two values differ."""

    #: None when unknown.
    equal: bool | None
    changes: tuple[Change, ...] = ()
    #: The lines of a unified diff, for texts.
    diff: tuple[str, ...] = ()


def value_changes(before: Any, after: Any, depth: int = 0) -> ValueChanges:
    """Compare two values.

    >>> value_changes(3, 5).changes
    (Change(name='value', before='3', after='5 (+2)', differs=True),)
    >>> value_changes({'a': 1}, {'a': 1}).equal
    True
    """
    tables = _as_table(before), _as_table(after)
    if tables[0] is not None and tables[1] is not None:
        return _all_of(_table_changes(*tables))
    if type(before) is not type(after) and not (_is_number(before) and _is_number(after)):
        return ValueChanges(False, (Change('type', _type_name(before), _type_name(after)),))
    if _is_array(before):
        return _all_of(_array_changes(before, after))
    if _is_number(before):
        return _number_changes(before, after)
    old, new = _as_text(before), _as_text(after)
    if old is not None and new is not None:
        return ValueChanges(old == new, (), _unified(old, new))
    if isinstance(before, dict) and depth < _DEEPEST:
        return _mapping_changes(before, after, depth)
    return _opaque_changes(before, after)


def _number_changes(before: Any, after: Any) -> ValueChanges:
    # NaN differs from itself, and from NaN to NaN nothing has changed
    if before == after or (before != before and after != after):
        return ValueChanges(True)
    try:
        now = f'{after!r:.60} ({after - before:+.6g})'
    except (TypeError, ValueError, OverflowError):
        now = f'{after!r:.60}'
    return ValueChanges(False, (Change('value', f'{before!r:.60}', now),))


def _mapping_changes(before: dict[Any, Any], after: dict[Any, Any], depth: int) -> ValueChanges:
    changes: list[Change] = []
    names = list(dict.fromkeys([*before, *after]))
    for name in names[:_MOST_KEYS]:
        changes.extend(_key_changes(name, before, after, depth))
    if len(names) > _MOST_KEYS:
        old, new = ({key: side.get(key) for key in names[_MOST_KEYS:]} for side in (before, after))
        equal = _opaque_changes(old, new).equal
        changes.append(Change(f'{len(old):,} more keys', '', '', None if equal is None else not equal))
    return _all_of(tuple(changes))


def _all_of(changes: tuple[Change, ...]) -> ValueChanges:
    answers = [change.differs for change in changes]
    return ValueChanges(False if True in answers else None if None in answers else True, changes)


def _key_changes(name: Any, before: dict[Any, Any], after: dict[Any, Any], depth: int) -> Iterator[Change]:
    label = str(name)[:100]
    if name not in before or name not in after:
        old, new = (_type_name(side[name]) if name in side else '(none)' for side in (before, after))
        yield Change(label, old, new)
        return
    found = value_changes(before[name], after[name], depth + 1)
    if found.diff:
        yield Change(label, _short(before[name]), _short(after[name]))
    for change in found.changes:
        inner = label if change.name == 'value' else f'{label}: {change.name}'
        yield Change(inner, change.before, change.after, change.differs)
    if not found.diff and not found.changes and found.equal is not True:
        yield Change(label, _short(before[name]), _short(after[name]), None if found.equal is None else True)


def _opaque_changes(before: Any, after: Any) -> ValueChanges:
    name = _type_name(before)
    try:
        # pickles too: most classes of the user's have no __eq__
        equal: bool | None = (
            before is after or bool(before == after) or pickle.dumps(before, 5) == pickle.dumps(after, 5)
        )
    except Exception:  # whatever a comparison of the user's raises, or a value that cannot be pickled
        equal = None
    if equal:
        return ValueChanges(True)
    answer = 'cannot be compared' if equal is None else 'is not equal'
    return ValueChanges(equal, (Change('value', name, f'{name}, {answer}', None if equal is None else True),))


def _as_text(value: Any) -> str | None:
    """The text by which plain values are compared; None for other values."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return '\n'.join(value)
    if not isinstance(value, dict | list | tuple | set | frozenset):
        return None
    if isinstance(value, set | frozenset):
        value = sorted(value, key=repr)
    try:
        text = json.dumps(value, indent=1, ensure_ascii=False, default=_json_form)
    except (TypeError, ValueError, RecursionError):
        return None
    return text if len(text) < _MOST_CHARACTERS else None


def _json_form(value: Any) -> Any:
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    if type(value).__module__ in ('datetime', 'numpy', 'decimal', 'pathlib') and getattr(value, 'shape', ()) == ():
        return str(value)
    raise TypeError


def _unified(before: str, after: str) -> tuple[str, ...]:
    """The lines of a unified diff of two texts, at most some hundred of them."""
    if before == after:
        return ()
    old, new = before.split('\n'), after.split('\n')
    if max(len(old), len(new)) > _MOST_LINES:
        first = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
        return (f'{len(old):,} and {len(new):,} lines; the first that differs is line {first + 1:,}',)
    lines = [line[:2000] for line in difflib.unified_diff(old, new, 'before', 'after', lineterm='')]
    if len(lines) > _MOST_SHOWN:
        lines = [*lines[:_MOST_SHOWN], f'… {len(lines) - _MOST_SHOWN:,} more lines']
    return tuple(lines)


def _as_table(value: Any) -> Any:
    """A table as a pandas frame; None for anything else."""
    home, name = type(value).__module__.partition('.')[0], type(value).__name__
    if home == 'pandas' and name == 'DataFrame':
        return value
    if home == 'pandas' and name == 'Series':
        return value.to_frame(value.name if value.name is not None else 'value')
    if home == 'polars' and name in ('DataFrame', 'LazyFrame', 'Series'):
        import pandas as pd

        frame = value.collect() if name == 'LazyFrame' else value.to_frame() if name == 'Series' else value
        return pd.DataFrame(frame.to_dict(as_series=False))
    return None


def _is_array(value: Any) -> bool:
    return type(value).__module__.partition('.')[0] == 'numpy' and type(value).__name__ == 'ndarray'


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Number) and not isinstance(value, bool)


def _type_name(value: Any) -> str:
    return type(value).__name__


def _short(value: Any) -> str:
    try:
        text = _ADDRESS.sub('', repr(value))
    except Exception:  # a user's __repr__ may raise anything
        text = _type_name(value)
    return text if len(text) <= 80 else f'{text[:79]}…'


def _table_changes(before: Any, after: Any) -> tuple[Change, ...]:
    """How two pandas frames differ: shape, columns and their types, rows, changed cells, and means of what changed."""
    before, after = _with_unique_columns(before), _with_unique_columns(after)
    found = [_change('shape', _shape(before), _shape(after)), *_column_changes(before, after)]
    before, after, rows = _aligned(before, after)
    found += rows
    there = set(after.columns)
    shared = [name for name in before.columns if name in there]
    masks = {name: _differing_rows(before[name], after[name]) for name in shared}
    total = sum(int(mask.sum()) for mask in masks.values())
    found.append(Change('changed cells', '', f'{total:,} of {len(before) * len(shared):,}', total > 0))
    touched = [name for name, mask in masks.items() if mask.any()]
    for name in touched[:_MOST_COLUMNS]:
        found += _cell_changes(name, before[name], after[name], masks[name])
    if len(touched) > _MOST_COLUMNS:
        found.append(Change('more changed columns', '', f'{len(touched) - _MOST_COLUMNS:,}'))
    return tuple(found)


def _with_unique_columns(table: Any) -> Any:
    """The table with another name for each further column of one name."""
    if table.columns.is_unique:
        return table
    seen: dict[Any, int] = {}
    names = []
    for name in table.columns:
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f'{name} ({seen[name]})')
    return table.set_axis(names, axis=1)


def _shape(table: Any) -> str:
    return f'{len(table):,} × {table.shape[1]:,}'


def _change(name: str, before: str, after: str) -> Change:
    return Change(name, before, after, before != after)


def _column_changes(before: Any, after: Any) -> list[Change]:
    old, new = ({str(name): str(kind) for name, kind in table.dtypes.items()} for table in (before, after))
    found = [
        Change(f'column {name}', old.get(name, '(none)'), new.get(name, '(none)'))
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]
    if not found and list(old) != list(new):
        found.append(Change('order of columns', ', '.join(old)[:200], ', '.join(new)[:200]))
    return found[:_MOST_COLUMNS]


def _aligned(before: Any, after: Any) -> tuple[Any, Any, list[Change]]:
    """The rows that both have, by the index where it names rows, and by position elsewhere."""
    if before.index.equals(after.index):
        return before, after, []
    if before.index.is_unique and after.index.is_unique and before.index.dtype == after.index.dtype:
        shared = before.index.intersection(after.index, sort=False)
        gone, new = len(before) - len(shared), len(after) - len(shared)
        rows = [Change('rows', f'{gone:,} only here', f'{new:,} only here', gone + new > 0)]
        if not gone and not new:
            rows = [Change('order of rows', 'one order', 'another order')]
        return before.loc[shared], after.loc[shared], rows
    most = min(len(before), len(after))
    return (
        before.iloc[:most].reset_index(drop=True),
        after.iloc[:most].reset_index(drop=True),
        [Change('index', str(before.index.dtype), str(after.index.dtype))],
    )


def _differing_rows(before: Any, after: Any) -> Any:
    """Whether each row differs; values that are missing on both sides do not."""
    import numpy as np

    old, new = before.to_numpy(dtype=object), after.to_numpy(dtype=object)
    missing_old, missing_new = (np.asarray(side.isna(), dtype=bool) for side in (before, after))
    try:
        equal = np.asarray(old == new, dtype=bool)
    except (TypeError, ValueError):  # cells that hold arrays or other things of their own
        equal = np.fromiter((repr(a) == repr(b) for a, b in zip(old, new, strict=True)), dtype=bool, count=len(old))
    return ~(equal | (missing_old & missing_new))


def _cell_changes(name: Any, before: Any, after: Any, mask: Any) -> list[Change]:
    import pandas as pd

    label = f'column {name}'
    found = [Change(label, '', f'{int(mask.sum()):,} cells changed')]
    positions = mask.nonzero()[0][:_MOST_CELLS]
    for i in positions:
        row = str(before.index[i])[:40]
        found.append(Change(f'{label}, row {row}', str(before.iloc[i])[:80], str(after.iloc[i])[:80]))
    if all(pd.api.types.is_numeric_dtype(side) and side.dtype != bool for side in (before, after)):
        found.append(Change(f'{label}, mean', f'{before.mean():.6g}', f'{after.mean():.6g}'))
    return found


def _array_changes(before: Any, after: Any) -> tuple[Change, ...]:
    """How two numpy arrays differ: shape, type, how many elements, and norms."""
    import numpy as np

    found = [
        _change('shape', ' × '.join(map(str, before.shape)), ' × '.join(map(str, after.shape))),
        _change('dtype', str(before.dtype), str(after.dtype)),
    ]
    if before.shape == after.shape:
        numeric = before.dtype.kind in 'fc' and after.dtype.kind in 'fc'
        same = (before == after) | ((before != before) & (after != after) if numeric else False)
        number = int(np.size(same) - np.count_nonzero(same))
        found.append(Change('changed elements', '', f'{number:,} of {before.size:,}', number > 0))
    if before.dtype.kind in 'fciub' and after.dtype.kind in 'fciub' and before.size and after.size:
        found += _norms(np, before, after)
    return tuple(found)


def _norms(np: Any, before: Any, after: Any) -> list[Change]:
    a, b = (side.astype(complex if side.dtype.kind == 'c' else float, copy=False).ravel() for side in (before, after))
    norms = [float(np.linalg.norm(side)) for side in (a, b)]
    found = [_change('norm', f'{norms[0]:.6g}', f'{norms[1]:.6g}')]
    if before.shape == after.shape:
        difference = a - b
        largest = float(np.nanmax(np.abs(difference))) if not np.isnan(difference).all() else float('nan')
        norm = float(np.linalg.norm(np.nan_to_num(difference)))
        found.append(Change('norm of the difference', '', f'{norm:.6g}', norm > 0))
        found.append(Change('largest difference', '', f'{largest:.6g}', largest > 0))
    return found
