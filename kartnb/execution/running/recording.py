"""Writing down a run that has ended: its record, and what it has printed and logged."""

from __future__ import annotations

import logging
import time
from typing import Any

from kartnb.errors import KartError
from kartnb.execution.running.runs import TaskRun
from kartnb.execution.running.tracebacks import error_line
from kartnb.history.run_record import OutputFile, RunRecord, iso_seconds, utc_text
from kartnb.storage.contents import Seen, joint_mark
from kartnb.storage.filesystem import file_system
from kartnb.storage.run_records import RecordedResult
from kartnb.storage.targets import SingleFileTarget
from kartnb.task.base import TaskOnKart
from kartnb.task.shown import shown_texts
from kartnb.task.targets import path_of

logger = logging.getLogger('kartnb')
_NOTHING_SEEN = Seen(0, 0.0)


def keep_output(run: TaskRun) -> None:
    """Write what a run has printed and logged to its file, if there is anything."""
    if run.order.record is None or run.output is None:
        return
    try:
        run.order.record.write_log(run.output.lines, run.order.build_id)
    except KartError as error:
        logger.warning('What %s has printed and logged could not be kept: %s', run.order.key, error)


def keep_replaced(run: TaskRun) -> None:
    """Keep the result that a run replaces, so that it can be brought back."""
    if run.order.replaces is None:
        return
    try:
        run.kept = run.order.replaces.keep()
    except OSError as error:
        logger.warning('The earlier result of %s could not be kept: %s', run.order.key, error)


def put_back_replaced(run: TaskRun) -> None:
    """Leave the earlier result as it was, because the run gave none."""
    kept, run.kept = run.kept, None
    if kept is None:
        return
    try:
        kept.take_back()
    except OSError as error:
        logger.warning('The earlier result of %s could not be put back: %s', run.order.key, error)


def record_loss(run: TaskRun, error: BaseException) -> None:
    """Record a run that was lost together with its process."""
    run.started = run.started or time.time()
    run.spent = time.time() - run.started
    keep_output(run)
    try:
        write_record(run, 'failed', error)
    except KartError as second:
        error.add_note(f'The failure could not be recorded: {second}')


def write_record(run: TaskRun, state: str, error: BaseException | None) -> None:
    """Write the record of a run; `state` is done, failed or interrupted."""
    task = run.task
    if run.order.record is None or TaskOnKart not in type(task).__mro__:
        return
    done = state == 'done'
    outputs = [seen_output(target) for target in run.order.outputs] if done else []
    ended = utc_text(time.time())
    run.files = joint_mark([seen.mark for _, seen in outputs])
    result = (run.order.result or RecordedResult('')).with_id(run.result_id, run.files)
    record = RunRecord(
        task=type(task).__name__,
        module=type(task).__module__,
        unique_id=run.order.unique_id,
        parameters=shown_texts(task),
        state=state,
        result_id=run.result_id if done else '',
        inputs=run.order.inputs,
        outputs=tuple([file for file, _ in outputs]),
        started=utc_text(run.started),
        ended=ended,
        seconds=round(run.spent, 6),
        error='' if error is None else error_line(error),
        build_id=run.order.build_id,
        code=result.made_by,
        unknown=run.order.unknown,
        checks=tuple([seen.check for _, seen in outputs]),
    )
    run.order.record.write(result if done else None, record.to_json(), iso_seconds(ended))


def seen_output(target: Any) -> tuple[OutputFile, Seen]:
    """What a record tells of one output, and what its content is known by."""
    path = path_of(target)
    if not isinstance(target, SingleFileTarget):
        return OutputFile(path, None, None), _NOTHING_SEEN
    seen = file_system(path).seen(path)
    return OutputFile(path, seen.size, seen.modified), seen if target.is_plain_file else _NOTHING_SEEN
