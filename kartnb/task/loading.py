"""Which targets `load` and `dump` mean, and the loading of nested ones."""

from __future__ import annotations

import difflib
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any

import luigi

from kartnb.errors import InputError, OutputError
from kartnb.storage.targets import SingleFileTarget, TargetOnKart, make_target
from kartnb.task.identity import required_tasks
from kartnb.task.shown import described_task
from kartnb.task.structure import flatten

if TYPE_CHECKING:
    from kartnb.task.base import TaskOnKart


def result_of(task: luigi.Task) -> Any:
    """Load the outputs of a task that is complete, in their shape; tuples give lists, as in gokart."""
    return load(task.output())


def input_targets(task: TaskOnKart[Any], wanted: Any) -> Any:
    """The targets that `task.load(wanted)` reads, nested as they are to be given back."""
    if wanted is None:
        return task.input()
    if isinstance(wanted, str):
        return _named(task, wanted, task.input(), 'input', InputError)
    if isinstance(wanted, luigi.Task):
        return _output_of_required(task, wanted)
    if isinstance(wanted, Iterable) and not isinstance(wanted, luigi.Target):
        return [input_targets(task, item) for item in wanted]
    return wanted


def output_target(task: TaskOnKart[Any], wanted: Any) -> TargetOnKart:
    """The target that `task.dump(obj, wanted)` writes."""
    if wanted is not None and isinstance(wanted, TargetOnKart):
        return wanted
    output = task.output()
    if wanted is None and type(output) is SingleFileTarget:
        return output
    if isinstance(wanted, str):
        output = _named(task, wanted, output, 'output', OutputError)
    elif isinstance(output, dict):
        names = ', '.join(map(repr, output))
        raise OutputError(
            f'{_name(task)} has several outputs ({names}): '
            f'say which one, as in dump(obj, {next(iter(output), "name")!r}).'
        )
    if not isinstance(output, TargetOnKart):
        raise OutputError(
            f'{_name(task)} has the output {output!r:.120}, which dump cannot write: make it with self.make_target(…).'
        )
    return output


def load(targets: Any) -> Any:
    """Load nested targets; tuples give lists, as in gokart."""
    if isinstance(targets, dict):
        return {key: load(target) for key, target in targets.items()}
    if isinstance(targets, list | tuple):
        return [load(target) for target in targets]
    return load_target(targets)


def load_one_by_one(targets: Any) -> Generator[Any, None, None]:
    """Load nested targets one after the other."""
    for target in flatten(targets):
        yield load_target(target)


def load_target(target: Any) -> Any:
    """Load one target; a plain luigi file target is read by its extension.

    Raises
    ------
    InputError
        When the target is of a kind that cannot be loaded.
    """
    if hasattr(target, 'load'):
        return target.load()
    if isinstance(target, luigi.target.FileSystemTarget):
        return make_target(str(target.path)).load()
    raise InputError(f'A {type(target).__name__} cannot be loaded: open it yourself, with self.input().')


def _named(
    task: TaskOnKart[Any], name: str, targets: Any, word: str, error: type[InputError] | type[OutputError]
) -> Any:
    if not isinstance(targets, dict):
        raise error(
            f'{word} must be dict[str, TargetOnKart], but {type(targets)} is passed: '
            f'{_name(task)} has no {word} named {name!r}.'
        )
    if name not in targets:
        known = ', '.join(map(repr, targets))
        near = difflib.get_close_matches(name, [str(key) for key in targets], n=1)
        hint = f'did you mean {near[0]!r}?' if near else f'it has {known}.'
        raise error(f'{_name(task)} has no {word} named {name!r}: {hint}')
    return targets[name]


def _output_of_required(task: TaskOnKart[Any], wanted: luigi.Task) -> Any:
    required = required_tasks(task)
    if any(_same(wanted, other) for other in required):
        return wanted.output()
    raise InputError(
        f'{described_task(wanted)} should be in requires method of {_name(task)}: '
        'only results of required tasks can be loaded.'
    )


def _same(task: luigi.Task, other: luigi.Task) -> bool:
    if hasattr(task, 'make_unique_id') and hasattr(other, 'make_unique_id'):
        return bool(task.make_unique_id() == other.make_unique_id())
    return bool(task == other)


def _name(task: luigi.Task) -> str:
    return type(task).__name__
