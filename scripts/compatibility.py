"""Compare two versions of kartnb: their public names, and whether one opens a workspace of the other.

``python scripts/compatibility.py names`` prints the public names with their signatures, the magics with their options,
and the parameters of `TaskOnKart`, so that two versions can be compared with ``diff``.
``python scripts/compatibility.py make DIRECTORY`` builds a fixed set of tasks there.
``python scripts/compatibility.py open DIRECTORY`` opens a workspace that another version has made. It prints the names
of its files, and fails when an id or a value differs, a result is not cached, or something is not readable.

``PYTHONPATH`` selects the version.
"""

from __future__ import annotations

import argparse
import contextlib
import enum
import inspect
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import luigi
import numpy as np
import pandas as pd

import kartnb


class InMain(kartnb.TaskOnKart[Any]):
    """A task that is defined in ``__main__``, as a notebook's are, above one of a module."""

    def requires(self) -> Any:
        import compatibility_tasks

        return compatibility_tasks.Parameters()

    def run(self) -> None:
        self.dump([self.load()['number'], Point(2)])


class Point:
    """An object of a class of ``__main__``."""

    def __init__(self, x: int) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and self.x == other.x

    def __hash__(self) -> int:
        return hash(self.x)


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('what', choices=['names', 'make', 'open'])
    parser.add_argument('directory', nargs='?', type=Path)
    options = parser.parse_args()
    if options.what == 'names':
        print('\n'.join(names()))
    elif options.directory is None:
        parser.error(f'{options.what} takes a directory')
    else:
        os.chdir(options.directory)
        with contextlib.redirect_stdout(sys.stderr):
            make() if options.what == 'make' else open_again()
        _print_files()


def names() -> Iterator[str]:
    """Return what kartnb offers, line by line in a stable order."""
    for name in sorted(kartnb.__all__):
        if name != '__version__':
            yield from _described(name, getattr(kartnb, name))
    for name, parameter in sorted(kartnb.TaskOnKart.get_params()):
        yield (
            f'parameter {name}: {type(parameter).__name__} default={_shown(parameter._default)} '
            f'significant={parameter.significant} positional={parameter.positional} {parameter.visibility.name}'
        )
    yield from _magics()


def _described(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, type):
        parents = [cls.__name__ for cls in value.__mro__[1:] if not _is_ours(cls) and cls is not object]
        yield f'class {name}{_signature(value)} is {", ".join(parents)}'
        if issubclass(value, enum.Enum):
            yield from (f'{name}.{member.name} = {member.value!r}' for member in value)
        for member in sorted(_public_members(value)):
            found = inspect.getattr_static(value, member, None)
            if isinstance(found, property):
                yield f'{name}.{member} property'
            elif callable(getattr(value, member, None)):
                yield f'{name}.{member}{_signature(getattr(value, member))} {type(found).__name__}'
            else:
                yield f'{name}.{member}'
    elif callable(value):
        yield f'{name}{_signature(value)}'
    else:
        yield f'{name}: {type(value).__name__}'


def _is_ours(cls: type) -> bool:
    return cls.__module__.partition('.')[0] == 'kartnb'


def _public_members(cls: type) -> set[str]:
    return {
        name
        for part in cls.__mro__
        if _is_ours(part)
        for name in {*vars(part), *inspect.get_annotations(part)}
        if not name.startswith('_') and hasattr(cls, name)
    } | {name for name in getattr(cls, '__dataclass_fields__', ()) if not name.startswith('_')}


def _signature(function: Any) -> str:
    """Return a signature without its annotations, which may name what is not public."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return '(?)'
    parts = []
    for parameter in (found for found in signature.parameters.values() if not found.name.startswith('_')):
        if parameter.kind is parameter.KEYWORD_ONLY and not any(part.startswith('*') for part in parts):
            parts.append('*')
        default = '' if parameter.default is parameter.empty else f'={_shown(parameter.default)}'
        stars = {parameter.VAR_POSITIONAL: '*', parameter.VAR_KEYWORD: '**'}.get(parameter.kind, '')
        parts.append(f'{stars}{parameter.name}{default}')
    return f'({", ".join(parts)})'


def _shown(value: Any) -> str:
    if isinstance(value, type) or inspect.isroutine(value):
        return str(value.__name__)
    return re.sub(r' at 0x[0-9a-f]+|kartnb(\.\w+)+\.', '', repr(value))


def _magics() -> Iterator[str]:
    """Give each magic with the options that its own parser takes, found by asking it for help."""
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    shell.run_line_magic('load_ext', 'kartnb')
    for kind, found in sorted(shell.magics_manager.magics.items()):
        for name in sorted(name for name in found if name.startswith('kart')):
            flags = sorted(flag for flag in ('needs_local_scope', *_IPYTHON_FLAGS) if getattr(found[name], flag, False))
            yield f'{kind} magic {name}: {", ".join(flags)}'
            for parser in _parsers(shell, kind, name):
                yield from sorted(_options(parser, f'{kind} magic {name}'))
    shell.run_line_magic('unload_ext', 'kartnb')


_IPYTHON_FLAGS = ('_ipython_magic_no_var_expand', '_ipython_magic_output_can_be_silenced')


def _parsers(shell: Any, kind: str, name: str) -> list[argparse.ArgumentParser]:
    asked: list[argparse.ArgumentParser] = []
    real = argparse.ArgumentParser.parse_known_args

    def noted(parser: argparse.ArgumentParser, *arguments: Any, **options: Any) -> Any:
        asked.append(parser)
        return real(parser, *arguments, **options)

    argparse.ArgumentParser.parse_known_args = noted  # type: ignore[method-assign]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            shell.run_line_magic(name, '--help') if kind == 'line' else shell.run_cell_magic(name, '--help', 'None')
    finally:
        argparse.ArgumentParser.parse_known_args = real  # type: ignore[method-assign]
    if len(asked) != 1:
        raise SystemExit(f'{name} has {len(asked)} parsers')
    return asked


def _options(parser: argparse.ArgumentParser, magic: str) -> Iterator[str]:
    for action in parser._actions:
        options = '/'.join(action.option_strings) or action.dest
        choices = f' choices={[str(choice) for choice in action.choices]}' if action.choices else ''
        yield (
            f'{magic} {options}: {type(action).__name__} {action.metavar or ""} nargs={action.nargs} '
            f'default={_shown(action.default)} const={_shown(action.const)} required={action.required}{choices}'
        )


def make() -> None:
    """Build the tasks in the current directory, and write down what must be found again."""
    import compatibility_tasks

    Path('resources').mkdir()
    tasks = {**compatibility_tasks.tasks(), 'in main': InMain()}
    for name, task in tasks.items():
        if name == 'replaced':
            for number in (1, 2):
                Path('resources/replaced.txt').write_text(str(number))
                kartnb.build(type(task)(rerun=True))
        else:
            kartnb.build(task)
    with contextlib.suppress(kartnb.KartBuildError):
        kartnb.build(compatibility_tasks.Failing())
    kartnb.sweep(compatibility_tasks.Leaf, depth=[0, 1, 2, 3])
    Path('ids.json').write_text(json.dumps({name: task.make_unique_id() for name, task in tasks.items()}, indent=1))


def open_again() -> None:
    """Open what another version has made, and look at it in every way.

    Raises
    ------
    SystemExit
        When something is not as it was.
    """
    import compatibility_tasks

    before = _files()
    tasks = {**compatibility_tasks.tasks(), 'in main': InMain()}
    wrong = list(_differing(tasks, json.loads(Path('ids.json').read_text())))
    workspace = kartnb.Workspace('resources')
    runs = workspace.runs()
    states = sorted({str(run.state) for run in runs})
    if states != ['cached', 'failed', 'superseded']:
        wrong.append(f'history: the states are {states}')
    if {run.id for run in runs if run.state == 'cached'} < {task.make_unique_id() for task in tasks.values()}:
        wrong.append('history: not every result is there')
    superseded = next(run for run in runs if run.state == 'superseded')
    if superseded.load() != 1:
        wrong.append('history: the replaced result is not the first one')
    if [line.text for line in kartnb.logs(tasks['parameters'])].count('the number is 3') != 1:
        wrong.append('logs: the printed line is not there')
    failed = kartnb.inspect(compatibility_tasks.Failing())
    if 'this is meant to fail' not in repr(failed) or 'before the end' not in repr(failed):
        wrong.append(f'inspect: the failure is missing:\n{failed!r}')
    differing = kartnb.diff(tasks['parameters'], tasks['other parameters']).differing
    if 'parameters' not in differing or 'code' in differing:
        wrong.append(f'diff: {differing}')
    if kartnb.sweep(compatibility_tasks.Leaf, depth=[0, 1, 2, 3]).to_dataframe().shape[0] != 4:
        wrong.append('sweep: not four points')
    kartnb.clean()
    # a sweep and a build of complete tasks write their own log again, but no result
    changed = {name for name in before if before[name] != _files().get(name)}
    wrong += [f'changed: {name}' for name in sorted(changed)]
    if wrong:
        sys.exit('\n'.join(['', *wrong]))
    print(f'{len(tasks)} tasks, {len(runs)} runs: as they were', file=sys.stderr)


def _differing(tasks: dict[str, Any], ids: dict[str, str]) -> Iterator[str]:
    import compatibility_tasks

    expected = {
        **compatibility_tasks.VALUES,
        **dict.fromkeys(
            [f'lossless{extension}' for extension in compatibility_tasks.LOSSLESS],
            compatibility_tasks.frame().set_index(pd.Index(['001', '002', '003'], name='key')),
        ),
        'large': pd.concat([compatibility_tasks.frame()] * 40, ignore_index=True),
        'model': np.arange(3),
        'plain': 7,
        'dynamic': 10,
        'replaced': 2,
        'in main': [3, Point(2)],
    }
    if set(ids) != set(tasks):
        yield f'tasks: {sorted(set(ids) ^ set(tasks))}'
    for name, task in tasks.items():
        if task.make_unique_id() != ids.get(name):
            yield f'{name}: the id is {task.make_unique_id()}, and was {ids.get(name)}'
        plan = kartnb.plan(task)
        states = {str(node.state) for node in plan.nodes}
        if not states <= {'cached', 'not needed'} or not task.complete():
            yield f'{name}: not cached: {states}\n{plan!r}'
            continue
        if name in expected and not _same(task.output().load(), expected[name]):
            yield f'{name}: the value is {task.output().load()!r}'
        for look in (kartnb.inspect, kartnb.why, kartnb.logs, kartnb.outputs):
            shown = look(task)
            if not repr(shown):
                yield f'{name}: {look.__name__} gives nothing'
            if not shown._repr_html_():
                yield f'{name}: {look.__name__} gives no HTML'


def _same(found: Any, expected: Any) -> bool:
    if isinstance(expected, pd.DataFrame):
        return bool(found.equals(expected))
    if isinstance(expected, np.ndarray):
        return bool(np.array_equal(found, expected))
    if isinstance(expected, ElementTree.ElementTree):
        return ElementTree.tostring(found.getroot()) == ElementTree.tostring(expected.getroot())
    return bool(found == expected)


def _files() -> dict[str, tuple[int, int]]:
    """Return the files below the current directory, each with its size and time."""
    found = sorted(path for path in Path().rglob('*') if path.is_file())
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


def _print_files() -> None:
    """Print the names of the files, without what differs from one run to the next."""
    for name in sorted({_ONE_RUN.sub('<run>', name) for name in _files()}):
        print(name)


# what names a run, its inputs and its files in the names of records; the first holds random digits, the others times
_ONE_RUN = re.compile(
    r'(?<=~r)[0-9a-f]{12}|(?<=superseded/)[0-9a-f]{12}'
    r'|(?<=-)[0-9a-f]{10}(?=(?:-d)?-f[0-9a-f]{10}\.json)|(?<=-f)[0-9a-f]{10}(?=\.json)'
)


if __name__ == '__main__':
    luigi.configuration.get_config().set('core', 'log_level', 'WARNING')
    main()
