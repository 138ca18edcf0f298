"""One task on a bench: it runs on values in the place of its inputs, and what it dumps stays in memory."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import ExitStack, aclosing, closing, contextmanager
from datetime import datetime
from typing import Any, TypeVar

import luigi

from kartnb.errors import RequirementError
from kartnb.execution.task_run import kept_random_state, seed_for
from kartnb.interrupts import kept_event_loop
from kartnb.storage.locks import TaskLockParams, make_task_lock_params
from kartnb.storage.targets import TargetOnKart
from kartnb.task import held
from kartnb.task.base import TaskOnKart
from kartnb.task.code.attributes import run_of
from kartnb.task.randomness import GENERATOR
from kartnb.task.results import load_target, path_of
from kartnb.task.values import flatten, map_nested, required

T = TypeVar('T')

_NOTHING = object()
#: Packages whose values are copied, so that a task which changes an input in place leaves the test's own as it was.
_COPIED = frozenset({'builtins', 'collections', 'datetime', 'numpy', 'pandas', 'polars'})


class HeldTarget(TargetOnKart):
    """A target whose value is in memory, in the place of another one: an input that is given, or an output.

    The file of that other one counts too, if code that asks for its `path` writes it. If it is in the directory
    `scratch`, who asks for the path finds the value there.
    """

    def __init__(self, instead_of: Any, read: Callable[[], Any] | None = None, scratch: str | None = None) -> None:
        self._instead_of = instead_of
        self._read = read
        self._scratch = scratch
        self._time = datetime.now()

    def _exists(self) -> bool:
        return self._read is not None or bool(self._instead_of.exists())

    def _get_task_lock_params(self) -> TaskLockParams:
        return make_task_lock_params(path_of(self._instead_of), None)

    def _load(self) -> Any:
        return load_target(self._instead_of) if self._read is None else self._read()

    def _dump(
        self,
        obj: Any,
        task_params: dict[str, str] | None = None,
        custom_labels: dict[str, str] | None = None,
        required_task_outputs: Any = None,
    ) -> None:
        check = getattr(getattr(self._instead_of, '_processor', None), 'check', None)
        if check is not None:
            check(obj)
        kept = copied(obj)  # what the task changes later is in no file either
        self._read = lambda: kept
        self._time = datetime.now()

    def _remove(self) -> None:
        self._read = None
        if self._instead_of.exists():
            self._instead_of.remove()

    def _last_modification_time(self) -> datetime:
        return self._time

    def _path(self) -> str:
        path = path_of(self._instead_of)
        is_wanted_there = self._scratch is not None and path.startswith(self._scratch)
        if is_wanted_there and self._read is not None and not self._instead_of.exists():
            self._instead_of.dump(self._read())
        return path


class Bench:
    """A place for a task to run where tasks that it requires or yields have other outputs, as `outputs_of` gives them.

    The attributes that this takes are put back at the end.
    """

    def __init__(self, task: luigi.Task, outputs_of: Callable[[luigi.Task], Any]) -> None:
        self.task = task
        self._outputs_of = outputs_of
        #: The tasks that it requires, and those that it has asked for while it ran.
        self.prepared: list[luigi.Task] = []
        self._stack = ExitStack()

    def __enter__(self) -> Bench:
        with ExitStack() as stack:
            self._stack = stack
            requirements = _own_nest(self.task.requires())
            self._prepare(requirements)
            self.replace(requires=lambda: requirements)
            for name in ('load', 'load_generator') if isinstance(self.task, TaskOnKart) else ():
                if name not in vars(self.task):  # a test may have put something there
                    self.replace(**{name: functools.partial(self._load, getattr(type(self.task), name))})
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def replace(self, **attributes: Any) -> None:
        """Give the task other attributes until the end."""
        self._stack.enter_context(replaced(self.task, attributes))

    def run(self) -> None:
        """Call `run` of the task with its seed, and await or answer what it asks for."""
        task: Any = self.task
        with kept_random_state(), kept_event_loop():
            if isinstance(task, TaskOnKart):
                seed_for(task)
                vars(task).pop(GENERATOR, None)
            result = run_of(task)()
            if inspect.isgenerator(result):
                self._answer(result)
            elif inspect.iscoroutine(result) or inspect.isasyncgen(result):
                with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
                    runner.run(result if inspect.iscoroutine(result) else self._answer_async(result))

    def _answer(self, generator: Any) -> None:
        with closing(generator):
            try:
                requirements = next(generator)
                while True:
                    requirements = generator.send(self._targets(requirements))
            except StopIteration:
                return

    async def _answer_async(self, generator: AsyncGenerator[Any, Any]) -> None:
        async with aclosing(generator):
            try:
                requirements = await anext(generator)
                while True:
                    requirements = await generator.asend(self._targets(requirements))
            except StopAsyncIteration:
                return

    def _targets(self, asked: Any) -> Any:
        """What a ``yield`` in `run` gives: the outputs of the tasks that it asks for."""
        if asked is None:
            return None
        requirements = _own_nest(required(asked))
        self._prepare(requirements)
        return luigi.task.getpaths(requirements)

    def _prepare(self, requirements: Any) -> None:
        for task in flatten(requirements):
            if not isinstance(task, luigi.Task):
                raise RequirementError(f'{type(self.task).__name__} requires {task!r:.80}, which is not a task.')
            if not any(task is other for other in self.prepared):
                self.prepared.append(task)
                outputs = self._outputs_of(task)
                self._stack.enter_context(replaced(task, {'output': functools.partial(_same, outputs)}))

    def _load(self, method: Callable[..., Any], target: Any = None) -> Any:
        """`load` or `load_generator` of the task; another instance of a required task counts as that."""
        wanted = map_nested(self._prepared_one, target) if isinstance(target, luigi.Task | list | tuple) else target
        return method(self.task, wanted)

    def _prepared_one(self, target: Any) -> Any:
        return next((task for task in self.prepared if task == target), target)


def _own_nest(tasks: Any) -> Any:
    """Tasks nested as they are, each of today's definition, in lists and dicts that can be gone through twice."""
    return map_nested(_same, held.today_nested(tasks)) if tasks is not None else None


def _same(value: T) -> T:
    return value


@contextmanager
def replaced(task: luigi.Task, attributes: Mapping[str, Any]) -> Iterator[None]:
    """Let an instance have other attributes within the block."""
    before = {name: vars(task).get(name, _NOTHING) for name in attributes}
    vars(task).update(attributes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is _NOTHING:
                vars(task).pop(name, None)
            else:
                vars(task)[name] = value


def copied(value: Any) -> Any:
    """A copy of plain data, as a load would give one; other things, such as mocks, as they are."""
    return copy.deepcopy(value) if type(value).__module__.partition('.')[0] in _COPIED else value
