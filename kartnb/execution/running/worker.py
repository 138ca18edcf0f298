"""Running one task: seeds, events, the user's `run`, logs and the run record. The same function in every executor."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from queue import Queue
from typing import Any, TypeGuard

import luigi

from kartnb.errors import KartError, TaskNotDumpedError
from kartnb.execution.capture.current import current_task
from kartnb.execution.capture.output_capture import captured_task, task_log
from kartnb.execution.running.luigi_events import fire
from kartnb.execution.running.random_state import seed_for
from kartnb.execution.running.recording import keep_output, keep_replaced, put_back_replaced, write_record
from kartnb.execution.running.runs import Outcome, TaskRun
from kartnb.execution.running.tracebacks import trim_traceback
from kartnb.history.gokart_runs import RunLogs
from kartnb.storage.locks import hold, make_task_lock_params_for_run
from kartnb.task.base import TaskOnKart
from kartnb.task.targets import path_of

logger = logging.getLogger('kartnb')

#: The attributes that a task has while it runs only, luigi's.
_LENT = (
    'set_status_message',
    'set_progress_percentage',
    'set_tracking_url',
    'decrease_running_resources',
    'scheduler_messages',
)


def advance(run: TaskRun) -> Outcome:
    """Start a task, or go on with one whose dynamic requirements are complete.

    Raises
    ------
    KeyboardInterrupt
        When it is interrupted; its record says so.
    """
    place = (run.order.build_id, run.order.key)
    token = current_task.set(place)
    run.output = run.output or task_log(*place)
    outcome = None
    try:
        with captured_task(run.output):
            outcome = _advance(run)
        return outcome
    finally:
        current_task.reset(token)
        if outcome is None or outcome.requirements is None:
            keep_output(run)


def _advance(run: TaskRun) -> Outcome:
    try:
        if not run.started:
            _start(run)
        requirements = _timed(run)
        if requirements is not None:
            return Outcome(run.spent, requirements=requirements, run=run)
        _succeed(run)
        return Outcome(run.spent, run.result_id, files=run.files)
    except KeyboardInterrupt as error:
        put_back_replaced(run)
        write_record(run, 'interrupted', error)
        raise
    except BaseException as error:  # luigi's rule: whatever else a task raises, SystemExit too, is its failure
        return Outcome(run.spent, error=_fail(run, error))


def _start(run: TaskRun) -> None:
    task = run.task
    run.started = time.time()
    keep_replaced(run)
    fire(task, luigi.Event.START, task)
    if _is_ours(task):
        run.logs = RunLogs(task, run.order.unique_id)
        run.logs.write_start(seed_for(task))
        vars(task).update(_reporters(run))
    else:
        for name, reporter in _reporters(run).items():
            setattr(task, name, reporter)


def _reporters(run: TaskRun) -> dict[str, Any]:
    """What luigi lends a task while it runs."""
    return {
        'set_status_message': lambda message: run.report('message', str(message)),
        'set_progress_percentage': lambda percentage: run.report('percentage', float(percentage)),
        'set_tracking_url': lambda url: run.report('tracking_url', str(url)),
        'decrease_running_resources': lambda amounts: run.report('resources', dict(amounts)),
        # nobody sends messages but luigi's central scheduler
        'scheduler_messages': (run.messages or Queue()) if run.task.accepts_messages else None,
    }


def _timed(run: TaskRun) -> Any:
    task = run.task
    began = time.perf_counter()
    try:
        if not (_is_ours(task) and task.should_lock_run):
            return _go_on(run)
        with hold(make_task_lock_params_for_run(task)):
            return _go_on(run)
    finally:
        run.spent += time.perf_counter() - began


def _go_on(run: TaskRun) -> Any:
    """Run until the end (None) or until the next requirements."""
    if run.generator is None:
        result = _user_run(run.task)()
        if not isinstance(result, Generator):
            return None
        run.generator = result
    try:
        requirements = run.generator.send(run.answer)
        while requirements is None:
            requirements = run.generator.send(None)
    except StopIteration:
        return None
    return requirements


def _user_run(task: luigi.Task) -> Callable[[], Any]:
    # the instance's own `run` skips complete tasks; the build has looked already
    bound: Callable[[], Any] = type(task).run.__get__(task) if _is_ours(task) else task.run
    return bound


def _succeed(run: TaskRun) -> None:
    task = run.task
    _require_outputs(run)
    fire(task, luigi.Event.PROCESSING_TIME, task, run.spent)
    task.on_success()
    if _is_ours(task):
        vars(task)['_rerun_pending'] = False
    if run.logs is not None:
        run.logs.write_success(run.spent, [path_of(target) for target in run.order.outputs])
    write_record(run, 'done', None)
    fire(task, luigi.Event.SUCCESS, task)
    _forget_reporters(task)


def _fail(run: TaskRun, error: BaseException) -> BaseException:
    trim_traceback(error)
    task = run.task
    put_back_replaced(run)
    fire(task, luigi.Event.FAILURE, task, error)
    try:
        task.on_failure(error)
    except Exception as second:
        error.add_note(f'on_failure raised {type(second).__name__} too: {second}')
    try:
        write_record(run, 'failed', error)
    except KartError as second:
        error.add_note(f'The failure could not be recorded: {second}')
    _forget_reporters(task)
    return error


def _forget_reporters(task: luigi.Task) -> None:
    if _is_ours(task):
        attributes = vars(task)
        for name in _LENT:
            attributes.pop(name, None)
    else:
        for name in _LENT:
            setattr(task, name, None)


def _is_ours(task: luigi.Task) -> TypeGuard[TaskOnKart[Any]]:
    # isinstance takes the detour of abstract base classes, at ten times the cost
    return TaskOnKart in type(task).__mro__


def _require_outputs(run: TaskRun) -> None:
    task = run.task
    complete = type(task).complete
    if complete is not TaskOnKart.complete and complete is not luigi.Task.complete:
        return
    missing = [target for target in run.order.outputs if not target.exists()]
    if not missing:
        return
    told = f'{type(task).__name__}.run() ended without writing its output {path_of(missing[0])}'
    if run.order.value_wanted:
        how = 'call self.dump(…) in it.' if isinstance(task, TaskOnKart) else 'write it there.'
        raise TaskNotDumpedError(f'{told}: {how}')
    logger.warning('%s, so it runs again in the next build.', told)
    run.order.outputs = tuple(target for target in run.order.outputs if target not in missing)
