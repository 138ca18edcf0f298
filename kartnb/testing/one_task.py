"""`run_task`: one task, run on given values in the place of what it requires."""

from __future__ import annotations

import difflib
import inspect
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import Any, TypeVar, overload

import luigi
import luigi.format

from kartnb.errors import InputError, TaskArgumentError, TaskNotDumpedError, UnknownFormatError, described
from kartnb.planning.planner import require_task
from kartnb.storage.targets import TargetOnKart, make_target
from kartnb.task.base import TaskOnKart
from kartnb.task.describe import described_task
from kartnb.task.identity import id_of
from kartnb.task.results import is_external, load, load_target, path_of
from kartnb.task.values import flatten
from kartnb.testing.bench import Bench, HeldTarget, copied, replaced

T = TypeVar('T')


@overload
def run_task(task: TaskOnKart[T], inputs: Mapping[Any, Any] | None = None) -> T: ...
@overload
def run_task(task: luigi.Task, inputs: Mapping[Any, Any] | None = None) -> Any: ...
def run_task(task: luigi.Task, inputs: Mapping[Any, Any] | None = None) -> Any:
    """Run one task on given values, without what it requires, and give what it dumps.

    `run` is called as in a build: with its seed, with `load`, `load_generator` and `input` for the given values, and
    awaited or answered where it is a coroutine or yields requirements. Nothing is planned, recorded or logged, and
    nothing is written into the workspace.

    Parameters
    ----------
    task
        The task. Attributes that the test has set on it are used, and `task_log` can be looked at afterwards.
    inputs
        The values that its inputs have: by the keys of what `requires()` gives (numbers for a list), or by a required
        task, its class, or the name of that. Tasks that `run` yields are among them. A task with several outputs has a
        dict or a list of values, and so has a key with several tasks.

    Returns
    -------
    Any
        What the task has dumped, in the shape of its `output()`: a dict where it has several outputs by name.

    Raises
    ------
    InputError
        When an input is missing or is not one of the task's, or does not have the shape of what it stands for.
    TaskNotDumpedError
        When `run` has ended without an output.

    Examples
    --------
    >>> import kartnb
    >>> class Sales(kartnb.TaskOnKart[list]):
    ...     def run(self):
    ...         raise ConnectionError('no database here')
    >>> class Total(kartnb.TaskOnKart[int]):
    ...     def requires(self):
    ...         return {'sales': Sales()}
    ...
    ...     def run(self):
    ...         self.dump(sum(self.load('sales')))
    >>> run_task(Total(), inputs={'sales': [1, 2, 3]})
    6
    """
    require_task(task)
    if is_external(task):
        raise TaskArgumentError(f'{type(task).__name__} is an external task: it has no run().')
    with tempfile.TemporaryDirectory(prefix='kartnb-') as place:
        given = _Given(task, {} if inputs is None else inputs, place)
        with Bench(task, given.outputs_of) as bench:
            if not _yields(task):
                given.check_all_used()
            if isinstance(task, TaskOnKart):
                bench.replace(**_in(place))
            outputs = _elsewhere(task.output(), os.path.join(place, 'outputs'))
            bench.replace(output=lambda: outputs)
            bench.run()
            given.check_all_used()
            return _values(task, outputs)


def _in(directory: str) -> dict[str, str]:
    """The attributes of a task whose workspace is a directory."""
    return {'workspace_directory': directory, 'local_temporary_directory': os.path.join(directory, 'tmp')}


def _yields(task: luigi.Task) -> bool:
    run = type(task).run
    return inspect.isgeneratorfunction(run) or inspect.isasyncgenfunction(run)


def _elsewhere(outputs: Any, directory: str) -> Any:
    """The outputs of the task, where values that it dumps stay in memory, and files are in another directory."""
    numbers = iter(range(len(flatten(outputs))))

    def target(instead_of: Any) -> Any:
        if isinstance(instead_of, TargetOnKart) or not isinstance(instead_of, luigi.target.FileSystemTarget):
            return HeldTarget(instead_of)
        name = os.path.basename(str(instead_of.path))
        return luigi.LocalTarget(
            os.path.join(directory, str(next(numbers)), name), format=getattr(instead_of, 'format', None)
        )

    return load(outputs, target)


def _values(task: luigi.Task, outputs: Any) -> Any:
    """What is in the outputs."""

    def value(target: Any) -> Any:
        if not target.exists():
            raise TaskNotDumpedError(
                f'{type(task).__name__}.run() ended without its output {os.path.basename(path_of(target))}: '
                f'{"call self.dump(…) in it" if isinstance(target, HeldTarget) else "write it there"}.'
            )
        try:
            return load_target(target)
        except UnknownFormatError:
            with target.open('r') as file:
                return file.read()

    return load(outputs, value) if flatten(outputs) else None


class _Given:
    """The values that a test gives, each for a task."""

    def __init__(self, task: luigi.Task, inputs: Mapping[Any, Any], place: str) -> None:
        self._task = task
        self._name = type(task).__name__
        if not isinstance(inputs, Mapping):
            raise InputError(
                f'inputs of {self._name} must be a dict of values by key, task or class, not {inputs!r:.60}.'
            )
        self._inputs = inputs
        self._place = place
        self._unused = list(inputs)
        #: For each key that names a class, the task that it stands for.
        self._named: list[tuple[Any, luigi.Task]] = []
        #: The tasks that have got their values, each with what the value was given as.
        self._found: list[tuple[luigi.Task, str]] = []
        #: The keys that are those of `requires()`.
        self._keys_of_requires: list[Any] = []
        self._by_task = list(self._of_keys())
        self._refuse_two_values()

    def outputs_of(self, task: luigi.Task) -> Any:
        """The outputs of a required task, which have the value that was given for it."""
        directory = os.path.join(self._place, 'inputs', id_of(task))
        with replaced(task, _in(directory)) if isinstance(task, TaskOnKart) else nullcontext():
            outputs = task.output()
        if not flatten(outputs):
            return outputs
        label, value = self._value_of(task)
        self._found.append((task, label))
        pairs = iter(list(self._paired(outputs, value, label, f'the outputs of {type(task).__name__}')))
        return load(outputs, lambda target: self._filled(target, *next(pairs)[1:], directory))

    def _filled(self, target: Any, label: str, value: Any, directory: str) -> Any:
        """A target that holds a given value."""
        if isinstance(target, TargetOnKart) or not isinstance(target, luigi.target.FileSystemTarget):
            return HeldTarget(target, lambda: copied(value), scratch=directory)
        place = os.path.join(directory, os.path.basename(str(target.path)))
        written = luigi.LocalTarget(place, format=getattr(target, 'format', None))
        try:
            # a pickle that nobody reads as bytes is made, whatever is in it
            is_pickled = place.endswith('.pkl') and written.format is not luigi.format.Nop
            if isinstance(value, str | bytes) and not is_pickled:
                _write(written, value)
            else:
                make_target(place).dump(value)
        except Exception as error:  # of any format
            raise InputError(
                f'{label} of {self._name} is for the file {os.path.basename(place)}, which cannot hold '
                f'{value!r:.60} ({described(error).rstrip(".")}): give what is in the file, as a str or bytes.'
            ) from error
        return written

    def check_all_used(self) -> None:
        """Raise `InputError` for a value that is for none of the task's inputs."""
        for key in self._unused:
            twice = next((label for task, label in self._found if key == task or _names(key, task)), None)
            if twice is not None:
                raise InputError(f'{_key(key)} of {self._name} is given already, as {twice}: give each input once.')
            known = [*self._keys(), *(type(each).__name__ for each in flatten(self._task.requires()))]
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f'did you mean {near[0]!r}?' if near else f'its inputs are {", ".join(map(repr, known)) or "none"}.'
            asks = 'neither requires nor yields' if _yields(self._task) else 'does not require'
            raise InputError(f'{self._name} {asks} {_key(key)}: {hint}')

    def _keys(self) -> list[Any]:
        required = self._task.requires()
        return list(required) if isinstance(required, dict) else []

    def _of_keys(self) -> Iterator[tuple[luigi.Task, str, Any]]:
        """The tasks that the keys of `requires()` stand for, with their values."""
        required = self._task.requires()
        if isinstance(required, luigi.Task) or required is None:
            return
        items = required if isinstance(required, dict) else dict(enumerate(required))
        for key, asked in items.items():
            if key in self._inputs:
                self._unused.remove(key)
                self._keys_of_requires.append(key)
                yield from self._paired(asked, self._inputs[key], _key(key), 'what is required there')

    def _refuse_two_values(self) -> None:
        """Raise `InputError` where two keys stand for one task and have different values."""
        for number, (task, label, value) in enumerate(self._by_task):
            for other, earlier, given in self._by_task[:number]:
                if other == task and not _are_equal(value, given):
                    raise InputError(
                        f'{earlier} and {label} of {self._name} are the same task, {described_task(task)}: '
                        'give both the same value.'
                    )

    def _value_of(self, task: luigi.Task) -> tuple[str, Any]:
        for other, label, value in self._by_task:
            if other == task:
                return label, value
        for key, value in self._inputs.items():
            if key not in self._keys_of_requires and (key == task or _names(key, task)):
                self._unused = [other for other in self._unused if other is not key]
                if not isinstance(key, luigi.Task):
                    self._refuse_second(key, task)
                return _key(key), value
        raise InputError(
            f'{self._name} needs the result of {described_task(task)}, which inputs does not have: '
            f'give inputs={{{type(task).__name__!r}: …}}.'
        )

    def _refuse_second(self, key: Any, task: luigi.Task) -> None:
        earlier = [other for named, other in self._named if named is key and other != task]
        if earlier:
            name = type(task).__name__
            raise InputError(
                f'{self._name} needs the results of several tasks of {name}: give inputs by task, {{{name}(…): …}}.'
            )
        self._named.append((key, task))

    def _paired(self, shape: Any, value: Any, label: str, what: str) -> Iterator[tuple[Any, str, Any]]:
        """The leaves of a nest, each with the value that is in its place."""
        if isinstance(shape, dict):
            if not isinstance(value, Mapping) or set(value) != set(shape):
                names = ', '.join(map(repr, shape))
                raise InputError(
                    f'{label} of {self._name} must be a dict with {names}, as {what}, not {_short(value)}.'
                )
            for key, part in shape.items():
                yield from self._paired(part, value[key], f'{label}[{key!r}]', what)
        elif isinstance(shape, list | tuple):
            if not isinstance(value, list | tuple) or len(value) != len(shape):
                number = len(shape)
                raise InputError(
                    f'{label} of {self._name} must be a list of {number} values, as {what}, not {_short(value)}.'
                )
            for number, part in enumerate(shape):
                yield from self._paired(part, value[number], f'{label}[{number}]', what)
        else:
            yield shape, label, value


def _are_equal(one: Any, other: Any) -> bool:
    try:
        return one is other or bool(one == other)
    except Exception:  # as of arrays and frames
        return False


def _names(key: Any, task: luigi.Task) -> bool:
    """Whether a key is the class of a task, or the name of that."""
    if isinstance(key, type):
        return isinstance(task, key)
    return isinstance(key, str) and key in (type(task).__name__, task.get_task_family())


def _key(key: Any) -> str:
    """A key of the inputs, as a message names it."""
    if isinstance(key, luigi.Task):
        return f'inputs[{described_task(key)}]'
    return f'inputs[{key.__name__ if isinstance(key, type) else repr(key)}]'


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return f'one with {", ".join(map(repr, value)) or "nothing"}'
    if isinstance(value, list | tuple):
        return f'of {len(value)}'
    return f'a value of type {type(value).__name__}'


def _write(target: luigi.LocalTarget, value: str | bytes) -> None:
    """Write text or bytes as the format of a target takes them."""
    problem = None
    with target.open('w') as file:
        try:
            _write_either(file, value)
        except (TypeError, UnicodeError) as error:  # through the block, luigi would leave the file open
            problem = error
    if problem is not None:
        raise problem


def _write_either(file: Any, value: str | bytes) -> None:
    try:
        file.write(value)
    except TypeError:  # it takes the other kind
        file.write(value.encode('utf-8') if isinstance(value, str) else value.decode('utf-8'))
