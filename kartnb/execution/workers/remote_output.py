"""What tasks in worker processes print and log, as far as the building process is told: kept, in case a worker dies."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from kartnb.events import TaskEvent
from kartnb.execution.capture.task_log import TaskLog
from kartnb.execution.running.recording import keep_output
from kartnb.execution.running.runs import TaskRun
from kartnb.execution.workers.channel import Receiver


class RemoteOutput:
    """The output of the tasks that run elsewhere just now.

    Parameters
    ----------
    receiver
        Hears the workers, or None when they cannot tell anything.
    hear
        Is given the events of last words.
    """

    def __init__(self, receiver: Receiver | None, hear: Callable[[TaskEvent], None]) -> None:
        self._receiver = receiver
        self._hear = hear
        self._runs: dict[str, TaskRun] = {}

    def begin(self, run: TaskRun) -> None:
        """A task is sent to a worker."""
        run.output = None  # it may have been sent before, to one that died
        self._runs[run.order.key] = run

    def remember(self, key: str, event: TaskEvent) -> None:
        """A worker has told something of its task."""
        run = self._runs.get(key)
        if run is not None:
            self._log_of(run).remember(event)

    def end(self, run: TaskRun) -> str:
        """The outcome of a task has come; there are no last words."""
        self._runs.pop(run.order.key, None)
        return ''

    def lose(self, run: TaskRun) -> str:
        """A worker has died: what it had written, and not told, is told now; gives the line that tells most."""
        words = self._receiver.last_words(run.order.key) if self._receiver is not None else []
        if run.output is None and not any(data for _, data in words):
            return ''
        log = self._log_of(run)
        for stream, data in words:
            log.wait_with(stream, data.decode('utf-8', 'replace'))
        log.settle()
        lines = [line.text.strip() for line in log.lines if line.text.strip()]
        fatal = [line for line in lines if line.startswith('Fatal Python error')]
        return (fatal or lines or [''])[-1]

    def unfinished(self) -> list[TaskRun]:
        """The runs whose outcome has not come."""
        return list(self._runs.values())

    def keep(self, runs: Iterable[TaskRun]) -> None:
        """These were interrupted, and their workers ended: what they printed is kept."""
        for run in runs:
            self.lose(run)
            if run.output is not None:
                keep_output(run)

    def _log_of(self, run: TaskRun) -> TaskLog:
        if run.output is None:
            run.output = TaskLog(run.order.build_id, run.order.key, self._hear)
        return run.output
