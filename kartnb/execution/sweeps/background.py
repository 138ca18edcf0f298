"""A sweep that goes on while the caller does something else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kartnb.errors import BuildStoppedError
from kartnb.events import Listener
from kartnb.execution.handle import Handle, Status
from kartnb.execution.sweeps.result import SweepResult
from kartnb.execution.sweeps.running import SweepProgress, SweepRun

if TYPE_CHECKING:
    import pandas


class BackgroundSweep(Handle):
    """A sweep that runs in the background, as `kartnb.sweep(task, ..., background=True)` gives it.

    It can be awaited, also in a notebook cell: ``found = await handle``.

    Examples
    --------
    >>> import kartnb, tempfile
    >>> class Cube(kartnb.TaskOnKart[int]):
    ...     number = kartnb.luigi.IntParameter()
    ...
    ...     def run(self):
    ...         self.dump(self.number**3)
    >>> place = tempfile.mkdtemp()
    >>> handle = kartnb.sweep(Cube, number=range(3), workspace_directory=place, background=True, executor='threads')
    >>> handle.result().best().metrics
    {'value': 8}
    >>> handle.status, str(handle.progress)
    ('done', '3/3 points (3 done)')
    """

    _what = 'sweep'

    def __init__(self, run: SweepRun) -> None:
        super().__init__()
        self._sweep = run
        self._thread.start()

    @property
    def name(self) -> str:
        """The name of the task class."""
        return self._sweep.name

    @property
    def progress(self) -> SweepProgress:
        """How far the sweep is."""
        return self._sweep.progress

    @property
    def status(self) -> Status:
        """'running', 'done', 'failed' (when it gives no result) or 'stopped'; a point may fail in one that is done."""
        if not self._ended.is_set():
            return 'running'
        if self._error is not None:
            return 'failed'
        return 'stopped' if self._sweep.stopped else 'done'

    def partial(self) -> SweepResult:
        """What there is by now, as a sweep of its own: all points, those that have a result with their metrics."""
        return self._sweep.partial()

    def to_dataframe(self) -> pandas.DataFrame:
        """What there is by now as a pandas data frame, a row a point, as `SweepResult.to_dataframe` gives it."""
        return self.partial().to_dataframe()

    def plot(self, metric: str | None = None) -> Any:
        """Plot what there is by now, as `SweepResult.plot` does."""
        return self.partial().plot(metric)

    def result(self, timeout: float | None = None) -> SweepResult:
        """Wait for the sweep, and give what `kartnb.sweep` would have given.

        Raises
        ------
        TimeoutError
            When the sweep has not ended after `timeout` seconds.
        SweepError
            When no result has the metric.
        BuildStoppedError
            When the sweep was stopped; `partial` gives what there is.
        """
        __tracebackhide__ = True
        found: SweepResult = self._await_value(timeout)
        return found

    @property
    def sweep_run(self) -> SweepRun:
        """The sweep that runs, for those who draw it."""
        return self._sweep

    def follow(self, listener: Listener) -> None:
        """Give every event of the sweep's builds to `listener`; of the one that runs, those that have been too."""
        self._sweep.follow(listener)

    def _work(self) -> None:
        self._sweep.finish()

    def _stop(self) -> None:
        self._sweep.stop()

    def _value(self) -> SweepResult:
        if self._sweep.stopped:
            raise BuildStoppedError(
                f'The sweep was stopped: {self.progress}. What has finished is kept, and partial() gives it.'
            )
        return self.partial()

    @property
    def _about(self) -> str:
        return self.name
