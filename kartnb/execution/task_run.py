"""Running one task: seeds, events, the user's `run`, logs and the run record. The same function in every executor."""

from __future__ import annotations

import itertools
import logging
import os
import random
import sys
import threading
import time
import warnings
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager, suppress
from contextvars import Token
from queue import Queue
from traceback import walk_stack
from typing import Any, NoReturn, TypeGuard

import luigi

from kartnb.capture import file_hook
from kartnb.capture.capture import captured_task, current_task, task_log
from kartnb.capture.file_reads import FileReads
from kartnb.errors import (
    FileInputError,
    KartError,
    StorageError,
    TaskNotDumpedError,
    TaskTimeoutError,
    WorkerError,
    described,
)
from kartnb.execution.coroutines import (
    Steps,
    answer_at_once,
    close_generator,
    close_loop,
    coroutines_called,
    next_request,
    wait_here,
    wait_in_own_loop,
)
from kartnb.execution.limits import checks_complete_on_run
from kartnb.execution.memory import MemoryMeter
from kartnb.execution.recording import (
    EDITING_SECONDS,
    Outcome,
    SeenOutput,
    TaskRun,
    claim,
    current_run,
    fire,
    keep_output,
    look_at_inputs,
    note_written,
    record_failure,
    record_loss,
    seen_output,
    take_back,
    write_record,
)
from kartnb.execution.report import trim_traceback
from kartnb.history.gokart_runs import RunLogs
from kartnb.interrupts import held_interrupts, in_main_thread, interrupts_heard
from kartnb.storage.file_inputs import FileInput
from kartnb.storage.filesystem import durable_writes, go_back, has_left, home, may_leave, working_directory
from kartnb.storage.targets import SingleFileTarget, runs_alone
from kartnb.task.base import TaskOnKart, take_start
from kartnb.task.code.attributes import begin_run, end_run, run_of
from kartnb.task.code.loaded import watch_code
from kartnb.task.code.parts import MADE_BY
from kartnb.task.randomness import GENERATOR
from kartnb.task.results import is_external, output_paths, outside_files
from kartnb.task.values import flatten, required

logger = logging.getLogger('kartnb')
#: Attributes that luigi gives a task only while it runs.
REPORTERS = (
    'set_status_message',
    'set_progress_percentage',
    'set_tracking_url',
    'decrease_running_resources',
    'scheduler_messages',
)
_thread = threading.local()


def advance(run: TaskRun) -> Outcome:
    """Start a task, or go on with one whose dynamic requirements are complete.

    Raises `KeyboardInterrupt` when it is interrupted; its record says so.
    """
    return wait_in_own_loop(_steps(run), run)


async def advance_here(run: TaskRun) -> Outcome:
    """The same as `advance` in a coroutine: a task that awaits something lets others run in this thread meanwhile."""
    run.interleaved = True
    return await wait_here(_steps(run), run)


def _steps(run: TaskRun) -> Steps[Outcome]:
    place = (run.item.build_id, run.item.key)
    token = current_task.set(place)
    outer = current_run.set(run)
    run.output = run.output or task_log(*place)
    from_home = home.set(run.directory)
    elsewhere = None if in_main_thread() else may_leave()
    if elsewhere is not None:  # what runs in other threads
        elsewhere.__enter__()
    outcome = None
    try:
        with captured_task(run.output, interleaved=run.interleaved):
            outcome = yield from (_advance(run) if not run.item.durable else _advance_durably(run))
        return outcome
    finally:
        current_run.reset(outer)
        current_task.reset(token)
        if outcome is None or (outcome.requirements is None and not outcome.is_idle):
            keep_output(run)
        if elsewhere is not None:
            elsewhere.__exit__()
        home.reset(from_home)


def _advance_durably(run: TaskRun) -> Steps[Outcome]:
    with durable_writes():
        return (yield from _advance(run))


def _advance(run: TaskRun) -> Steps[Outcome]:
    try:
        if not run.started:
            with held_interrupts():
                waits = claim(run)
            if waits is not None:
                return waits
            _start(run)
        look_at_inputs(run)
        requirements = yield from _timed(run)
        if requirements is not None:
            return Outcome(run.spent, requirements=requirements, run=run, memory=run.memory)
        _succeed(run)
        return Outcome(run.spent, run.made, memory=run.memory)
    except KeyboardInterrupt as error:
        with held_interrupts():
            _leave(run)
            take_back(run)
            record_failure(run, error, 'interrupted')
        raise
    except BaseException as error:  # luigi's rule: whatever else a task raises, SystemExit too, is its failure
        if error is run.ended_by:  # the build records that, as of a worker that it has ended
            close(run)
            return Outcome(run.spent, error=error)
        return Outcome(run.spent, error=_fail(run, error), memory=run.memory)


def _start(run: TaskRun) -> None:
    task = run.task
    run.started = time.time()
    run.attributes = begin_run(task)
    watch_code()
    _tell(run, luigi.Event.START)
    if _is_kartnb_task(task):
        run.logs = RunLogs(task, run.item.unique_id, run.item.mask)
        run.logs.write_start(seed_for(task, run.interleaved))
        vars(task).pop(GENERATOR, None)
        take_start(task)
        if not run.by_luigi:
            vars(task).update(_reporters(run))
    else:
        for name, reporter in _reporters(run).items():
            setattr(task, name, reporter)


def _tell(run: TaskRun, event: str, *args: Any) -> bool:
    """Fire an event of a run, unless luigi's own worker does; gives whether there may have been handlers."""
    return not run.by_luigi and fire(run.task, event, run.task, *args)


def _reporters(run: TaskRun) -> dict[str, Any]:
    """The attributes of `REPORTERS` for a run."""
    return {
        'set_status_message': lambda message: run.report('message', run.item.mask(str(message))),
        'set_progress_percentage': lambda percentage: run.report('percentage', float(percentage)),
        'set_tracking_url': lambda url: run.report('tracking_url', run.item.mask(str(url))),
        'decrease_running_resources': lambda amounts: run.report('resources', dict(amounts)),
        # only luigi's central scheduler sends messages
        'scheduler_messages': (run.messages or Queue()) if run.task.accepts_messages else None,
    }


def _timed(run: TaskRun) -> Steps[Any]:
    began = time.perf_counter()
    reading = run.reading = _new_reading(run) if run.reading is None else run.reading
    if run.item.files or run.asked:
        _declare_files(run, reading)
    for name, why in run.item.unexplained:
        reading.note_unknown(name, why)
    token = runs_alone.set(run.lock is not None)
    heard = interrupts_heard(from_now=True)
    meter = MemoryMeter(alone=_may_seed())
    seen = file_hook.begin(reading)
    requirements = None
    process = os.getpid()
    try:
        with may_leave():
            requirements = yield from _go_on(run)
        error = _ended_by(run, heard)
        if error is not None:
            requirements = None
            with suppress(Exception):
                close_generator(run)
            raise error
        if requirements is not None:
            run.asked += flatten(required(requirements))
        return requirements
    finally:
        if os.getpid() != process:
            _end_forked(run)
        if requirements is None:
            close_loop(run)
        file_hook.end(reading, seen)
        runs_alone.reset(token)
        run.spent += time.perf_counter() - began
        used = meter.end()
        run.memory = used if run.memory is None else run.memory.with_later(used)
        _return_home(run)


def _ended_by(run: TaskRun, heard: int) -> BaseException | None:
    """What was to end a run whose code has caught it, and has come to an end with less than all of its work."""
    error = run.ended_by
    if error is None and not run.interleaved and in_main_thread() and interrupts_heard() != heard:
        error = KeyboardInterrupt()
    if error is not None:
        logger.warning('%s has caught what was to end it: its result is not kept.', run.item.key)
    return error


def _end_forked(run: TaskRun) -> NoReturn:
    """End a process that the user's `run` has forked, and that has come back from there: the run is its parent's."""
    error = sys.exception()
    if not isinstance(error, SystemExit):
        sys.stderr.write(
            f'A process that {type(run.task).__name__}.run() has forked came back from it and was ended: end it there, '
            'by os._exit(0).\n'
        )
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(0 if error is None else 1)


def _new_reading(run: TaskRun) -> FileReads:
    task: Any = run.task
    if not _is_kartnb_task(task):
        return FileReads(run.directory)
    workspace, temporary = task.workspace_directory, task.local_temporary_directory
    return FileReads(
        run.directory, workspace, temporary, run.item.paths, lambda: run.item.reads, run.item.readers, run.item.caches
    )


def _declare_files(run: TaskRun, reading: FileReads) -> None:
    """Note the files outside of the pipeline of which it is known that the task reads them."""
    asked = [path for task in run.asked if _is_outside(task) for path in outside_files(flatten(task.output()))]
    for path, parameter in (*run.item.files, *((path, '') for path in asked)):
        try:
            reading.declare(path)
        except KartError as error:
            if parameter:
                raise FileInputError(f'{type(run.task).__name__}.{parameter}: {error}') from None
            reading.note_unknown(path, str(error))


def _is_outside(task: luigi.Task) -> bool:
    return is_external(task) or not _is_kartnb_task(task)


def _read_files(run: TaskRun) -> tuple[FileInput, ...]:
    """The files outside of the pipeline that a run has read."""
    if run.reading is None or not run.reading.has_inputs or run.item.record is None:
        return ()
    return run.reading.found(lambda: _result_paths(run), run.item.mask)


def _result_paths(run: TaskRun) -> Iterator[str]:
    """The files of the results that a task is made from."""
    for files in run.item.reads:
        yield from files.paths
    with suppress(Exception):  # it has run well, whatever its `requires` does now
        for task in (*flatten(run.task.requires()), *run.asked):
            if isinstance(task, luigi.Task) and not _is_outside(task):
                yield from output_paths(task)


def _return_home(run: TaskRun) -> None:
    if has_left() and not run.interleaved:
        come_back(run.directory, run.item.key)


def _go_on(run: TaskRun) -> Steps[Any]:
    """Run until the end (None) or until the next requirements."""
    if run.generator is None:
        result = _user_run(run.task)()
        if result is None:  # as most do: the other questions take longer
            return None
        if isinstance(result, Coroutine):
            yield result
            return None
        if not isinstance(result, Generator | AsyncGenerator):
            return None
        run.generator = result
    if isinstance(run.generator, AsyncGenerator):
        return (yield from next_request(run, run.generator))
    try:
        requirements = run.generator.send(run.answer)
        while (answer := answer_at_once(run, requirements)) is not None:
            requirements = run.generator.send(*answer)
    except StopIteration:
        return None
    return requirements


def _user_run(task: luigi.Task) -> Callable[[], Any]:
    # what kartnb gives an instance as `run` skips complete tasks; the build has checked that already
    bound: Callable[[], Any] = run_of(task) if _is_kartnb_task(task) else task.run
    return bound


def _succeed(run: TaskRun) -> None:
    task = run.task
    declared = list(run.item.paths)  # in gokart's log are all outputs, written or not
    seen = _require_outputs(run)
    look_at_inputs(run, at_end=True)
    if _tell(run, luigi.Event.PROCESSING_TIME, run.spent):
        seen = None
    if getattr(task.on_success, '__func__', None) is not luigi.Task.on_success:
        seen = None  # it may write the outputs again
        with may_leave():
            run.explanation = (task.on_success(),)
    _return_home(run)
    if _is_kartnb_task(task):
        _note_rerun(vars(task))
    if run.logs is not None:
        run.logs.write_success(run.spent, declared)
    run.files = _read_files(run)
    _note_edits(run)
    note_written(run)
    with held_interrupts():
        write_record(run, 'done', None, seen)
    _tell(run, luigi.Event.SUCCESS)
    _leave(run)


def _note_edits(run: TaskRun) -> None:
    """Let a result whose code was edited while it was made count as stale: the run may have used both."""
    result = run.item.result
    if run.code_now is None or result is None or time.time() - run.started < EDITING_SECONDS:
        return
    if run.code_now() != result.made_by:
        run.item.result = result._replace(made_by=f'{MADE_BY}-{"0" * 12}')
        logger.warning('%s was edited while it ran: its result is stale.', run.item.key)


def _require_outputs(run: TaskRun) -> list[SeenOutput] | None:
    """See that a run has written its outputs; gives what they look like, where all of them are plain files."""
    task = run.task
    complete = type(task).complete
    # a `complete` of the user's own decides: outputs may be missing then
    if complete is not TaskOnKart.complete and complete is not luigi.Task.complete:
        if not run.by_luigi and checks_complete_on_run() and not task.complete():
            raise TaskNotDumpedError(f'{type(task).__name__}.run() ended, and its complete() still gives False.')
        return None
    item = run.item
    seen = []
    missing = []
    for target, path in zip(item.outputs, item.paths, strict=True):
        if type(target) is SingleFileTarget and target.is_plain_file:
            try:
                seen.append(seen_output(target, path))
            except StorageError:  # such as a link to nowhere
                if target.exists():
                    raise
                missing.append(path)
        elif not target.exists():
            missing.append(path)
    if not missing:
        return seen if len(seen) == len(item.outputs) else None
    text = f'{type(task).__name__}.run() ended without writing its output {missing[0]}'
    if run.item.value_wanted:
        how = 'call self.dump(…) in it.' if isinstance(task, TaskOnKart) else 'write it there.'
        called = coroutines_called(task)
        if called:
            how = f'it calls {called[0]}, an `async def`, which does nothing until it is awaited in an `async def run`.'
        raise TaskNotDumpedError(f'{text}: {how}')
    logger.warning('%s, so it runs again in the next build.', text)
    there = [output for output in zip(item.outputs, item.paths, strict=True) if output[1] not in missing]
    item.outputs, item.paths = (tuple(column) for column in zip(*there, strict=True)) if there else ((), ())
    return None


def _fail(run: TaskRun, error: BaseException) -> BaseException:
    trim_traceback(error)
    run.item.mask.hide_in(error)
    task = run.task
    with held_interrupts():
        take_back(run)
    _tell(run, luigi.Event.FAILURE, error)
    try:
        with may_leave():
            if not run.by_luigi:
                task.on_failure(error)
    except Exception as second:
        error.add_note(run.item.mask(f'on_failure raised too: {described(second)}'))
    _return_home(run)
    record_failure(run, error)
    _leave(run)
    return error


def _leave(run: TaskRun) -> None:
    task = run.task
    if run.by_luigi:
        pass  # luigi's worker takes its own away
    elif _is_kartnb_task(task):
        list(map(vars(task).pop, REPORTERS, itertools.repeat(None)))
    else:
        for name in REPORTERS:
            setattr(task, name, None)
    if run.attributes is not None:
        end_run(task, run.attributes)


def _is_kartnb_task(task: luigi.Task) -> TypeGuard[TaskOnKart[Any]]:
    # isinstance goes through the abstract base classes, at ten times the cost
    return TaskOnKart in type(task).__mro__


def close(run: TaskRun) -> None:
    """End a run that will not go on: the `finally` blocks of its generator run, and what it wrote is removed."""
    try:
        close_generator(run)
        close_loop(run)
    except Exception:
        logger.exception('%s could not be closed', run.item.key)
    _leave(run)
    if run.lock is not None:
        take_back(run)
        keep_output(run)
    if run.lock is not None:
        run.lock.release()
        run.lock = None
        run.unlock()


def learn(task: luigi.Task, outcome: Outcome) -> None:
    """Update the task here after its run in another process."""
    if outcome.task_log is None:
        return
    known = vars(task)
    _note_rerun(known)
    if isinstance(known.get('task_log'), dict):
        known['task_log'].update(outcome.task_log)


def _note_rerun(attributes: dict[str, Any]) -> None:
    """Note on a task that it has run, as it was asked to."""
    for name in ('_rerun_pending', '_rerun_state'):  # kartnb's and gokart's
        if name in attributes:
            attributes[name] = False
    if attributes.get('_rerun_asked'):
        del attributes['_rerun_asked']


def lost(run: TaskRun, error: BaseException) -> Outcome:
    """The outcome of a run whose process was lost; fires luigi's event for it."""
    event = luigi.Event.TIMEOUT if isinstance(error, TaskTimeoutError) else luigi.Event.PROCESS_FAILURE
    fire(run.task, event, run.task, str(error))
    record_loss(run, error)
    return Outcome(run.spent, error=error)


def seed_for(task: TaskOnKart[Any], interleaved: bool = False) -> dict[str, Any]:
    """Seed the process for a task, unless others run in its thread meanwhile.

    Gives ``seed``, and as ``seed_methods`` the dotted names of the functions that were called with it.
    """
    seed = task._get_random_seed()
    may_seed = _may_seed() and not interleaved
    return {
        'seed': seed,
        'seed_methods': task.try_set_seed(list(task.fix_random_seed_methods), seed) if may_seed else [],
    }


def _may_seed() -> bool:
    # the random states belong to the process: tasks in several threads would reseed those of each other
    return in_main_thread() or getattr(_thread, 'may_seed', False)


@contextmanager
def seeding_allowed() -> Iterator[None]:
    """Within the block this thread may seed: in a worker process it is the only one that runs tasks."""
    _thread.may_seed = True
    try:
        yield
    finally:
        _thread.may_seed = False


@contextmanager
def importing() -> Iterator[None]:
    """Within the block this thread of a worker imports what its tasks need."""
    _thread.is_importing = True
    try:
        yield
    finally:
        _thread.is_importing = False


def refuse_while_importing() -> None:
    """Raise a `WorkerError` where a build would run tasks while a worker imports a module: every worker would do so."""
    if getattr(_thread, 'is_importing', False):
        modules = [
            frame.f_globals.get('__name__') for frame, _ in walk_stack(None) if frame.f_code.co_name == '<module>'
        ]
        name = modules[0] if modules else 'a module'
        raise WorkerError(
            f'{name} builds while it is imported, which each worker does again: put the build under '
            "`if __name__ == '__main__':`."
        )


class kept_directory:  # noqa: N801 - it is used as a function is
    """Let relative paths start from the working directory of now, wherever tasks go, and put it back at the end."""

    def __init__(self) -> None:
        self.directory = working_directory()
        self._token: Token[str | None] | None = None
        self._elsewhere = may_leave()

    def __enter__(self) -> None:
        self._token = home.set(self.directory)
        if not in_main_thread():
            self._elsewhere.__enter__()

    def __exit__(self, *_: object) -> None:
        self._elsewhere.__exit__()
        if self._token is not None:
            with suppress(RuntimeError, ValueError):  # done before; or this is another thread, which heals
                home.reset(self._token)
        come_back(self.directory, 'A task')


def come_back(directory: str | None, who: str) -> None:
    """Put the working directory back after a task, where it is known that nobody else has changed it."""
    present = working_directory()
    if directory is None or present == directory or not _may_seed():
        return
    try:
        go_back(directory)
    except OSError:  # the task has removed it
        return
    warnings.warn(
        f'{who} left the working directory for {present}: it is {directory} again, where relative paths start.',
        stacklevel=2,
    )


class kept_random_state:  # noqa: N801 - it is used as a function is
    """Restore the random state of Python, numpy and torch at the end; reseed what was imported meanwhile."""

    def __init__(self) -> None:
        self._state: Any = None
        self._keepers: dict[str, Callable[[], None]] = {}

    def __enter__(self) -> None:
        if _may_seed():
            self._keepers = {name: _KEEPERS[name](sys.modules[name]) for name in _KEEPERS if name in sys.modules}
            self._state = random.getstate()

    def __exit__(self, *_: object) -> None:
        if self._state is None:
            return
        random.setstate(self._state)
        for name in _KEEPERS:
            if name in self._keepers:
                self._keepers[name]()
            elif name in sys.modules:
                _RESEEDERS[name](sys.modules[name])
        self._state = None


def _keep_numpy(numpy: Any) -> Callable[[], None]:
    state = numpy.random.get_state()
    return lambda: numpy.random.set_state(state)


def _keep_torch(torch: Any) -> Callable[[], None]:
    state = torch.random.get_rng_state()
    return lambda: torch.random.set_rng_state(state)


_KEEPERS: dict[str, Callable[[Any], Callable[[], None]]] = {'numpy': _keep_numpy, 'torch': _keep_torch}
_RESEEDERS: dict[str, Callable[[Any], object]] = {
    'numpy': lambda numpy: numpy.random.seed(),
    'torch': lambda torch: torch.seed(),
}


def reseed() -> None:
    """In a forked process: draw other numbers than the parent. Python does this for `random` itself."""
    for name, reseed in _RESEEDERS.items():
        if name in sys.modules:
            reseed(sys.modules[name])
