"""Coroutines of tasks: what `async def run` awaits, in an event loop that is made for it or on one that runs.

The protocol of a run is a generator, which yields what the user's code awaits. `wait_in_own_loop` drives it from code
that cannot await, `wait_here` from a coroutine; nothing else of the protocol differs.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from dataclasses import dataclass
from types import FunctionType
from typing import Any, TypeAlias, TypeVar

import luigi

from kartnb.errors import ExecutorChoiceError
from kartnb.execution.recording import TaskRun
from kartnb.interrupts import interrupt_reader, interrupts_heard
from kartnb.task.code.attributes import run_of
from kartnb.task.values import flatten

T = TypeVar('T')
_BY_CALLBACK = 'a callback of its own said that they are complete'
#: The protocol of a run: yields what has to be awaited, and is sent the value, or thrown the exception, of that.
Steps: TypeAlias = Generator[Awaitable[Any], Any, T]


def is_asynchronous(task: luigi.Task) -> bool:
    """Whether the `run` of a task is an ``async def``, with or without a ``yield`` in it."""
    run = run_of(task)
    return inspect.iscoroutinefunction(run) or inspect.isasyncgenfunction(run)


def coroutines_called(task: luigi.Task) -> list[str]:
    """The names of the coroutine functions that an ordinary `run` calls, which do nothing unless they are awaited."""
    called = run_of(task)
    run = inspect.unwrap(getattr(called, '__func__', called))
    if not isinstance(run, FunctionType) or is_asynchronous(task):
        return []
    known = {name: getattr(type(task), name, run.__globals__.get(name)) for name in run.__code__.co_names}
    return [name for name in run.__code__.co_names if inspect.iscoroutinefunction(known.get(name))]


def next_request(run: TaskRun, generator: AsyncGenerator[Any, Any]) -> Steps[Any]:
    """Let an async generator go on until its next requirements, or its end (None)."""
    try:
        requirements = yield generator.asend(run.answer)
        while (answer := answer_at_once(run, requirements)) is not None:
            requirements = yield generator.asend(*answer)
    except StopAsyncIteration:
        return None
    return requirements


def answer_at_once(run: TaskRun, requirements: Any) -> tuple[Any] | None:
    """What a generator is sent for its requirements without a look at them; None where they have to be complete first.

    A bare ``yield`` asks for nothing. Where `luigi.DynamicRequirements` has a callback, that says whether they are
    complete.
    """
    if requirements is None:
        return (None,)
    if run.by_luigi or getattr(requirements, 'custom_complete', None) is None:
        return None
    if not requirements.complete(lambda task: bool(task.complete())):
        return None
    if run.reading is not None:
        run.reading.note_unknown(f'{len(flatten(requirements.requirements))} tasks that it asked for', _BY_CALLBACK)
    return (requirements.paths,)


def wait_in_own_loop(steps: Steps[T], run: TaskRun) -> T:
    """Drive a generator to its end; what it yields is awaited in the run's own event loop."""
    go_on: Callable[[], Awaitable[Any]] = functools.partial(next, steps)
    try:
        while True:
            awaitable = go_on()
            try:
                answer = _awaited(awaitable, run)
            except BaseException as error:
                go_on = functools.partial(steps.throw, error)
            else:
                go_on = functools.partial(steps.send, answer)
    except StopIteration as end:
        value: T = end.value
        return value
    finally:
        steps.close()  # an interrupt may have come between two of its steps


async def wait_here(steps: Steps[T], run: TaskRun) -> T:
    """Drive a generator to its end, awaiting what it yields; why the run was cancelled is raised in it."""
    go_on: Callable[[], Awaitable[Any]] = functools.partial(next, steps)
    try:
        while True:
            awaitable = go_on()
            try:
                answer = await awaitable
            except GeneratorExit:  # its loop has stopped for good
                with contextlib.suppress(KeyboardInterrupt):
                    steps.throw(KeyboardInterrupt())
                raise
            except BaseException as error:
                go_on = functools.partial(steps.throw, _reason_of_end(run, error))
            else:
                go_on = functools.partial(steps.send, answer)
    except StopIteration as end:
        value: T = end.value
        return value
    finally:
        steps.close()


def _reason_of_end(run: TaskRun, error: BaseException) -> BaseException:
    """What has ended a coroutine: why it was cancelled, or else what it has raised."""
    if run.ended_by is None and isinstance(error, asyncio.CancelledError) and _is_loop_ending():
        run.ended_by = KeyboardInterrupt()
    return run.ended_by or error


def _is_loop_ending() -> bool:
    """Whether all in this loop is cancelled, and not this task alone, which is its own affair."""
    task = asyncio.current_task()
    others = [other for other in asyncio.all_tasks() if other is not task and not other.done()]
    return task is not None and task.cancelling() > 0 and bool(others) and all(x.cancelling() for x in others)


@dataclass(frozen=True, slots=True)
class _Raised:
    """What a coroutine has raised, on its way out of a loop, without the frames of asyncio in its traceback."""

    error: BaseException


def _awaited(awaitable: Awaitable[Any], run: TaskRun) -> Any:
    if run.loop is None:
        run.loop = asyncio.Runner(loop_factory=asyncio.new_event_loop)
    with _woken_by_signals(run.loop.get_loop()):
        answer = run.loop.run(_outcome(awaitable))
    if isinstance(answer, _Raised):
        raise answer.error
    return answer


@contextlib.contextmanager
def _woken_by_signals(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Let signals wake a loop of the main thread: one that comes just before it waits would be seen only after that."""
    reader = interrupt_reader()
    if reader is None:
        yield
        return
    loop.add_reader(reader, interrupts_heard)
    try:
        yield
    finally:
        loop.remove_reader(reader)


async def _outcome(awaitable: Awaitable[Any]) -> Any:
    try:
        return await awaitable
    except (Exception, SystemExit) as error:  # an interrupt and a cancellation have to go through the loop
        return _Raised(error)


def close_generator(run: TaskRun) -> None:
    """Let the ``finally`` blocks of a run's generator run; one of the executor for coroutines is closed there."""
    if isinstance(run.generator, AsyncGenerator):
        if run.loop is not None:
            _awaited(run.generator.aclose(), run)
    elif run.generator is not None:
        run.generator.close()


def close_loop(run: TaskRun) -> None:
    """End the run's own event loop, with what it has left in it."""
    loop, run.loop = run.loop, None
    if loop is not None:
        loop.close()


def refuse_own_loop(executor: object) -> None:
    """Raise `ExecutorChoiceError` when a build is to run in an event loop that waits for it."""
    if executor is not None and executor is asyncio._get_running_loop():
        raise ExecutorChoiceError(
            "The event loop of this thread cannot run tasks while it waits for the build: write executor='async', or "
            "await kartnb.build_async(…, executor='async')."
        )
