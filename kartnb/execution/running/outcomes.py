"""What becomes of a run that has ended: lost with its process, known to the task, or never to go on."""

from __future__ import annotations

import logging

import luigi

from kartnb.errors import TaskTimeoutError
from kartnb.execution.running.luigi_events import fire
from kartnb.execution.running.recording import record_loss
from kartnb.execution.running.runs import Outcome, TaskRun

logger = logging.getLogger('kartnb')


def lost(run: TaskRun, error: BaseException) -> Outcome:
    """What came of a run whose process was lost; luigi's event for it is fired here."""
    event = luigi.Event.TIMEOUT if isinstance(error, TaskTimeoutError) else luigi.Event.PROCESS_FAILURE
    fire(run.task, event, run.task, str(error))
    record_loss(run, error)
    return Outcome(run.spent, error=error)


def learn(task: luigi.Task, outcome: Outcome) -> None:
    """Let the task know here what it did in another process."""
    if outcome.task_log is None:
        return
    known = vars(task)
    for name in ('_rerun_pending', '_rerun_state'):  # kartnb's and gokart's
        if name in known:
            known[name] = False
    if isinstance(known.get('task_log'), dict):
        known['task_log'].update(outcome.task_log)


def close(run: TaskRun) -> None:
    """End a generator that will not be resumed, so that its `finally` blocks run."""
    if run.generator is not None:
        try:
            run.generator.close()
        except Exception:
            logger.exception('%s could not be closed', run.order.key)
