"""`kartnb.interact`: move parameters, see cached results at once, and build what is missing.

Three parts: `Interactive`, what the user holds, turns the values of the controls into a task; `LatestTaskRunner` looks
tasks up and builds them on a thread of its own; `Panel` is the widget.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ipywidgets
import luigi
from IPython.core.getipython import get_ipython

from kartnb.config import BuildOptions
from kartnb.errors import KartError, SweepError, described
from kartnb.execution.background import BackgroundBuild
from kartnb.execution.build import Build, build_in_background
from kartnb.execution.report import error_line
from kartnb.execution.workers.nursery import seconds_to_start
from kartnb.execution.workers.process_pool import keep_warm
from kartnb.history.log_store import TypicalTimes
from kartnb.model import Plan, TaskState
from kartnb.notebook.cell import as_code
from kartnb.notebook.controls import Control, controls_for
from kartnb.notebook.screen import Screen, can_be_live
from kartnb.notebook.widgets import CopyWidget
from kartnb.planning.estimate import estimate
from kartnb.planning.planner import plan
from kartnb.sweeps.space import Template
from kartnb.task import identity, registry
from kartnb.task.results import result_of
from kartnb.task.values import flatten
from kartnb.view.previews.preview import Preview
from kartnb.view.previews.show import preview, preview_unloaded
from kartnb.view.sanitise import one_line
from kartnb.view.scene import PointSummary, status_html, summary_html, summary_text
from kartnb.view.sweeps import estimate_text
from kartnb.view.words import value_text

logger = logging.getLogger('kartnb')

#: Seconds without a move after which an automatic build starts, and the stored form is written.
REST = 0.2
#: Seconds between two looks at a running build.
_TICK = 0.05
_AVAILABLE = (TaskState.CACHED, TaskState.EXTERNAL)
_HAS_RESULT = (*_AVAILABLE, TaskState.DONE)
#: So many of the controls that were shown last follow what cells do.
_MOST_FOLLOWING = 8

_following: list[weakref.ref[Interactive]] = []


def refresh_all() -> None:
    """Let the controls that are shown follow classes that were defined again, and results that were made elsewhere."""
    _following[:] = [reference for reference in _following if reference() is not None][-_MOST_FOLLOWING:]
    for reference in _following:
        shown = reference()
        if shown is not None:
            shown.refresh()


def interact(
    task: type[luigi.Task] | luigi.Task,
    space: Mapping[str, Any] | None = None,
    /,
    *,
    output: Callable[[Any], Any] | None = None,
    auto: bool = False,
    keep: bool = False,
    workers: int = 1,
    executor: Any = None,
    **values: Any,
) -> Interactive:
    """Show controls for the parameters of a task, and the result of the task with their values.

    A cached result is shown at once. For a missing one it says what would run and about how long, and a button builds
    it. Only the latest values count: what a slider passes on the way is not built.

    Parameters
    ----------
    task
        A task class; or a task, whose values hold for the parameters that have no control.
    space
        As `values`, for names such as ``'data.rows'``, a parameter of the task that the parameter ``data`` holds.
    output
        What to show of a result: a function that takes the result and returns something to display, such as a figure.
        It runs in a thread. By default the result itself is shown.
    auto
        Whether to build a missing result as soon as the controls rest.
    keep
        Whether a build goes on when the controls are moved on, so that its result is kept; by default it is stopped.
    workers, executor
        As for `kartnb.build` in the background.
    **values
        By parameter name: ``(min, max)`` or ``(min, max, step)``, `kartnb.slider`, a list of choices, None for the
        control of the parameter's type, or a single value, which is fixed. Without any, all parameters have a control.

    Returns
    -------
    Interactive
        Its ``task`` and ``result()`` belong to the present values of the controls.

    Raises
    ------
    SweepError
        When a parameter does not exist, or there is nothing to choose from.
    ParameterValueError
        When a parameter does not take one of the values.

    Examples
    --------
    >>> import kartnb, tempfile
    >>> class Square(kartnb.TaskOnKart[int]):
    ...     number = kartnb.luigi.IntParameter(default=3)
    ...
    ...     def run(self):
    ...         self.dump(self.number**2)
    >>> square = Square(workspace_directory=tempfile.mkdtemp())
    >>> kartnb.interact(square, number=(1, 10))
    Square(number=3)
    ○ missing 48444706132193e41a36b1a350dcab30
    1 task would run · duration unknown
    %kart_build Square(workspace_directory='...')
    """
    registry.drop_superseded()
    options = BuildOptions(workers=workers, executor=executor)
    runner = LatestTaskRunner(lambda status: None, output=output, auto=auto, keep=keep, options=options)
    found = Interactive(task, {**(space or {}), **values}, runner)
    found.begin()
    return found


class Interactive:
    """Controls and the task with their values, as `kartnb.interact` gives it.

    Attributes
    ----------
    controls
        The control of each parameter.
    error
        Why the values make no task, or ''.
    status
        Whether the task has a result, and what is happening to it; None before it was looked up.
    """

    def __init__(self, task: Any, space: Mapping[str, Any], runner: LatestTaskRunner) -> None:
        template = Template(task)
        self.controls, fixed = controls_for(template, space)
        self._template = template
        self._fixed = fixed
        self._runner = runner
        self._task: luigi.Task | None = None
        self.error = ''
        self.status: TaskStatus | None = None
        self._screen: Screen | None = None
        self._panel: Panel | None = None

    @property
    def task(self) -> luigi.Task:
        """The task with the present values of the controls.

        Raises
        ------
        SweepError
            When a control holds a value that its parameter does not take.
        """
        if self._task is None:
            raise SweepError(self.error)
        return self._task

    def result(self) -> Any:
        """The result of the task.

        Raises
        ------
        MissingResultError
            When it has not been built.
        """
        return result_of(self.task)

    @property
    def code(self) -> str:
        """The line that builds the task."""
        return '' if self._task is None else f'%kart_build {as_code(self._task)}'

    @property
    def glance(self) -> PointSummary:
        """Everything there is to show now; its texts are safe to show."""
        title = one_line(self._template.cls.__name__, 120)
        if self._task is None:
            return PointSummary(title, (), '', TaskState.FAILED, one_line(self.error, 300))
        values = [(one_line(control.name, 60), _value_at(self._task, control.name)) for control in self.controls]
        status = self.status or TaskStatus(self._task, TaskState.MISSING)
        return PointSummary(
            title,
            values,
            identity.id_of(self._task),
            status.state,
            one_line(status.message, 300),
            status.result,
            one_line(self.code, 600),
            status.is_loaded,
        )

    def begin(self) -> None:
        """Show it in the running cell; where there is no front end, only look the task up."""
        self._read_controls()
        if self._task is not None:
            self.status = self._runner.look_up(self._task, load=False)
        shell = get_ipython()
        if shell is None:
            return
        self._screen = screen = Screen(shell)
        screen.has_live_neighbour = can_be_live(screen)
        self.save()
        if screen.has_live_neighbour:
            self._go_live(screen)

    def _go_live(self, screen: Screen) -> None:
        self._panel = Panel(self.controls, self._runner, screen.key)
        self._runner.report_to(self._take_status, self.save)
        self._runner.keep_workers(self)
        for control in self.controls:
            control.observe(self.moved)
        self._panel.update(self.glance)
        screen.show_below(self._panel.widget, PANEL_TEXT)
        _following.append(weakref.ref(self))
        if self._task is not None:
            self._runner.request(self._task, load=False)

    def save(self) -> None:
        """Write what is shown now into the stored output."""
        if self._screen is not None:
            summary = self.glance
            self._screen.show(summary_text(summary), summary_html(summary) if self._screen.is_rich else '')

    def moved(self) -> None:
        """Read the controls again; a front end calls it on every move."""
        self._read_controls()
        if self._panel is not None:
            self._panel.update_task(self.glance)
        if self._task is not None:
            self._runner.request(self._task)

    def refresh(self) -> None:
        """Look the task up again, as the class that it is today; what is shown stays where nothing has changed."""
        before = self._task, self.error
        self._read_controls()
        if self._panel is not None and before != (self._task, self.error):
            self._panel.update(self.glance)
        if self._task is not None:
            self._runner.refresh(self._task)

    def _read_controls(self) -> None:
        try:
            values = {control.name: control.value for control in self.controls}
            task = self._template.make({**self._fixed, **values})
            identity.id_of(task)  # also calls requires(), whose errors are shown here
        except KartError as error:
            self._task, self.error, self.status = None, str(error), None
        except Exception as error:  # whatever the user's requires() or __init__ raises
            self._task, self.error, self.status = None, described(error), None
        else:
            if task is not self._task:  # luigi gives the same object for the same values
                self._task, self.error, self.status = task, '', None

    def _take_status(self, status: TaskStatus) -> None:
        if status.task is self._task and self._panel is not None:  # else the controls have moved on
            self.status = status
            self._panel.update(self.glance)

    def __repr__(self) -> str:
        return summary_text(self.glance)

    def _ipython_display_(self) -> None:
        """Show nothing more: it was shown when it was made."""
        if self._screen is None:
            self.begin()


def _value_at(task: Any, name: str) -> str:
    for part in name.split('.'):
        task = task.param_kwargs[part]
    return value_text(task, 60)


#: What a front end without widgets, or a notebook opened later, has in place of the panel.
PANEL_TEXT = 'Controls: they need a running kernel. The stored output next to them has their last values.'


class Panel:
    """The widget: controls, status, buttons and the result; the runner carries out what the buttons say.

    `key` names the stored output, which is hidden while this one lives.
    """

    def __init__(self, controls: Sequence[Control], runner: LatestTaskRunner, key: str) -> None:
        self._runner = runner
        self._lock = threading.RLock()
        self._status = ipywidgets.HTML()
        self._result = ipywidgets.HTML()
        self._run = ipywidgets.Button(description='Run', icon='play', tooltip='Build the missing result')
        self._stop = ipywidgets.Button(description='Stop', icon='stop', tooltip='Stop the running build')
        self._auto = _checkbox('run automatically', runner.auto, 'Build as soon as the controls rest')
        self._keep = _checkbox(
            'finish builds', runner.keep, 'Let a build go on when the controls are moved on, and keep its result'
        )
        self._copy = CopyWidget()
        self._run.on_click(lambda _: runner.build())
        self._stop.on_click(lambda _: runner.stop())
        self._auto.observe(self._choose_auto, names='value')
        self._keep.observe(self._choose_keep, names='value')
        buttons = ipywidgets.HBox([self._run, self._stop, self._auto, self._keep])
        hides = ipywidgets.HTML(f'<style>[data-kart="{key}"]{{display:none}}</style>')
        self.widget = ipywidgets.VBox(
            [*(control.widget for control in controls), self._status, buttons, self._result, self._copy, hides]
        )
        # the style of the stored output looks for the first class
        self.widget.add_class('kartnb-live')
        self.widget.add_class('kartnb-interact')

    def update(self, summary: PointSummary) -> None:
        """Show the task and its result."""
        with self._lock:
            self.update_task(summary)
            if summary.result is not None:
                self._result.value = summary.result._repr_html_()
            elif summary.state not in _HAS_RESULT:
                self._result.value = ''

    def update_task(self, summary: PointSummary) -> None:
        """Show the task; the old result stays until the next one is there, so that nothing flickers."""
        with self._lock:
            self._status.value = status_html(summary)
            self._copy.code = summary.code
            running = summary.state is TaskState.RUNNING
            is_whole = summary.state in _HAS_RESULT and summary.is_loaded
            self._run.disabled = running or is_whole or not summary.unique_id
            self._run.description = 'Run' if summary.is_loaded else 'Load'
            self._stop.disabled = not running

    def _choose_auto(self, change: Any) -> None:
        self._runner.auto = bool(change['new'])
        self._runner.request_again()

    def _choose_keep(self, change: Any) -> None:
        self._runner.keep = bool(change['new'])


def _checkbox(label: str, value: bool, tooltip: str) -> Any:
    layout = ipywidgets.Layout(width='auto', margin='2px 2px 2px 12px')
    return ipywidgets.Checkbox(value=value, description=label, indent=False, tooltip=tooltip, layout=layout)


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """Whether a task has a result, and what is happening to it.

    `message` says what would run, what runs, or what went wrong; `result` is the result as it is shown, or None. Where
    it is not `is_loaded`, only what can be read without running code in its file is shown.
    """

    task: luigi.Task
    state: TaskState
    message: str = ''
    result: Preview | None = None
    is_loaded: bool = True
    #: Tells the result from others of the task.
    mark: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class _Request:
    task: luigi.Task
    since: float
    #: Whether the result is asked for: a person has moved a control or pressed a button.
    load: bool = True
    build: bool = False
    looked_up: bool = False
    #: Whether a person has stopped its build, so that it does not start again automatically.
    stopped: bool = False
    #: Whether nobody has asked: a result that is shown already is not loaded again.
    is_refresh: bool = False


class LatestTaskRunner:
    """Looks tasks up and builds them, one at a time; only the latest request counts.

    The thread that does this ends when nothing is left to do, and a new request starts another. On it, `show` is called
    with the status of the requested task, and `settled` when there has been no request for a while. `output` gives what
    to show of a result, by default the result itself. With `auto`, a missing result is built without being asked; with
    `keep`, a build goes on when another task is requested.
    """

    def __init__(
        self,
        show: Callable[[TaskStatus], object],
        settled: Callable[[], object] = lambda: None,
        *,
        output: Callable[[Any], Any] | None = None,
        auto: bool = False,
        keep: bool = False,
        options: BuildOptions | None = None,
    ) -> None:
        self.auto = auto
        self.keep = keep
        self._show = show
        self._settled = settled
        self._output = output
        self._options = options or BuildOptions()
        self._changed = threading.Condition()  # guards what follows
        self._request: _Request | None = None
        self._build: BackgroundBuild | None = None
        self._building: luigi.Task | None = None
        self._thread: threading.Thread | None = None
        self._times = TypicalTimes()
        self._failures: dict[luigi.Task, str] = {}
        self._shown: TaskStatus | None = None

    def report_to(self, show: Callable[[TaskStatus], object], settled: Callable[[], object]) -> None:
        """Call these functions from now on."""
        self._show, self._settled = show, settled

    def keep_workers(self, holder: object) -> None:
        """Start what worker processes come from, and keep it as long as this object lives."""
        if self._uses_workers:
            keep_warm(holder)

    @property
    def _uses_workers(self) -> bool:
        return self._options.executor in (None, 'processes')

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing left to do."""
        with self._changed:
            return self._thread is None

    def request(self, task: luigi.Task, load: bool = True) -> None:
        """Look up this task, and load its result if it is there; earlier requests are dropped."""
        self._put(_Request(task, time.monotonic(), load))

    def request_again(self) -> None:
        """Look up the requested task once more."""
        with self._changed:
            request = self._request
        if request is not None:
            self.request(request.task, request.load)

    def refresh(self, task: luigi.Task) -> None:
        """Look up the requested task once more, or what it is today; a build that is running is left alone."""
        with self._changed:
            request, is_busy = self._request, self._build is not None
        if request is not None and not is_busy and not request.build:
            stopped = request.stopped and request.task == task
            self._put(_Request(task, time.monotonic(), request.load, stopped=stopped, is_refresh=True))

    def build(self) -> None:
        """Build the requested task."""
        with self._changed:
            request = self._request
        if request is not None:
            self._failures.pop(request.task, None)
            self._put(replace(request, load=True, build=True, looked_up=False, stopped=False))

    def stop(self) -> None:
        """Stop the running build."""
        with self._changed:
            build = self._build
            if self._request is not None:
                self._request = replace(self._request, build=False, stopped=True)
        if build is not None:
            build.stop(wait=False)

    def look_up(self, task: luigi.Task, load: bool = True, known: TaskStatus | None = None) -> TaskStatus:
        """The status of a task; a result that exists is loaded, or only shown as far as that is possible without.

        It is `known` where that is of the same result.
        """
        try:
            planned = plan(task)
            if planned.root.state is TaskState.STALE and not planned.to_run():  # an earlier result is brought back
                planned = Build(task, BuildOptions(log_level=logging.CRITICAL)).plan
            state = planned.root.state
            if state in _AVAILABLE and not planned.root.will_run:
                mark = (planned.root.note, *map(_time_of, flatten(task.output())))
                if known is not None and (known.task, known.state, known.mark) == (task, state, mark):
                    return known
                return replace(self._available(task, state, load), mark=mark)
            failure = self._failures.get(task)
            if failure is not None:
                return TaskStatus(task, TaskState.FAILED, failure)
            return TaskStatus(task, state, self._would_run(planned))
        except Exception as error:  # whatever the user's requires() or output() raises
            return TaskStatus(task, TaskState.FAILED, error_line(error))

    def _put(self, request: _Request) -> None:
        with self._changed:
            self._request = request
            self._changed.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name='kartnb interact', daemon=True)
                self._thread.start()

    def _work(self) -> None:
        try:
            self._serve()
            self._settled()
        except Exception:
            logger.exception('The result for the present values could not be shown')
            with self._changed:
                self._thread = None

    def _serve(self) -> None:
        while True:
            with self._changed:
                request = self._request
                if request is None or not self._has_work(request):
                    # under the lock: a request that comes now starts a new thread, and none is lost in between
                    self._thread = None
                    return
                if request.looked_up:
                    self._changed.wait(self._pause(request))
                    request = self._request
            if request is not None:
                self._step(request)

    def _has_work(self, request: _Request) -> bool:
        return not request.looked_up or self._build is not None or request.build or self._is_fresh(request)

    def _is_fresh(self, request: _Request) -> bool:
        """Whether the controls may still be moving."""
        return time.monotonic() - request.since < REST

    def _pause(self, request: _Request) -> float:
        return _TICK if self._build is not None else max(request.since + REST - time.monotonic(), 0.01)

    def _step(self, request: _Request) -> None:
        if self._build is not None and self._build.done():
            self._finish_build(request, self._build)
        elif not request.looked_up:
            status = self.look_up(request.task, request.load, self._shown if request.is_refresh else None)
            missing = status.state not in _AVAILABLE and request.task not in self._failures
            build = missing and (request.build or (self.auto and not request.stopped))
            known = replace(request, looked_up=True, build=build, load=request.load or build)
            if self._replace(request, known):  # else there is a newer one
                self._shown = status
                self._show(status)
        elif self._build is not None:
            self._follow(request, self._build)
        elif request.build and (not self.auto or not self._is_fresh(request)):
            self._start_build(request)

    def _start_build(self, request: _Request) -> None:
        try:
            registry.drop_superseded()
            build = build_in_background(request.task, self._options)
        except Exception as error:
            self._failures[request.task] = error_line(error)
            self._replace(request, replace(request, looked_up=False, build=False))
            return
        with self._changed:
            self._build, self._building = build, request.task
        build.add_done_callback(lambda _: self._wake())
        self._show(TaskStatus(request.task, TaskState.RUNNING, 'starting'))

    def _follow(self, request: _Request, build: BackgroundBuild) -> None:
        if self._building == request.task:
            self._show(TaskStatus(request.task, TaskState.RUNNING, f'running {build.progress}'))
        elif not self.keep and build.status == 'running':
            build.stop(wait=False)

    def _finish_build(self, request: _Request, build: BackgroundBuild) -> None:
        task = self._building
        with self._changed:
            self._build = self._building = None
        self._times = TypicalTimes()
        if task is not None and build.status == 'failed':
            self._failures[task] = _why_it_failed(build)
        if task == request.task:
            # stopped to make way for another task, and requested again since: it is still to be built
            stopped = build.status == 'stopped'
            self._replace(request, replace(request, looked_up=False, build=request.build and stopped))

    def _replace(self, request: _Request, by: _Request) -> bool:
        with self._changed:
            if self._request is not request:
                return False
            self._request = by
            return True

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify()

    def _would_run(self, planned: Plan) -> str:
        number = len(planned.to_run())
        if not number:
            return 'no task here can produce it'
        expected = estimate(planned, self._options.workers, self._times)
        if self._uses_workers:
            expected = replace(expected, seconds=expected.seconds + seconds_to_start())
        why = f' · {one_line(planned.root.why, 160)}' if planned.root.state is TaskState.STALE else ''
        return f'{number:,} {"task" if number == 1 else "tasks"} would run · {estimate_text(expected)}{why}'

    def _available(self, task: luigi.Task, state: TaskState, load: bool) -> TaskStatus:
        if load:
            return TaskStatus(task, state, 'the result is there', self._preview(task))
        found, is_whole = preview_unloaded(task)
        if is_whole and self._output is None:
            return TaskStatus(task, state, 'the result is there', found)
        return TaskStatus(task, state, 'the result is there, not loaded yet', found, is_loaded=False)

    def _preview(self, task: luigi.Task) -> Preview:
        if self._output is None:
            return preview(task)
        try:
            return preview(_call_and_take_figures(self._output, result_of(task)))
        except Exception as error:  # the user's function
            return preview(f'output failed: {error_line(error)}')


def _time_of(target: Any) -> Any:
    """When an output was written; None where that is unknown."""
    try:
        return target.last_modification_time()
    except Exception:  # a target of the user's own may have none, and other builds write
        return None


def _call_and_take_figures(output: Callable[[Any], Any], result: Any) -> Any:
    """What the user's function returns; where it only draws with pyplot, the figures, which do not stay open."""
    before = _open_figures()
    found = output(result)
    new = [number for number in _open_figures() if number not in before]
    if not new:
        return found
    pyplot: Any = sys.modules['matplotlib.pyplot']
    figures = [pyplot.figure(number) for number in new]
    for figure in figures:
        pyplot.close(figure)
    return found if found is not None else figures[0] if len(figures) == 1 else figures


def _open_figures() -> list[int]:
    pyplot: Any = sys.modules.get('matplotlib.pyplot')
    return list(pyplot.get_fignums()) if pyplot is not None else []


def _why_it_failed(build: BackgroundBuild) -> str:
    report = build.report
    if report is None or not report.failures:
        try:
            build.result(timeout=0)
        except Exception as error:
            return error_line(error)
        return 'the build failed'
    first = report.failures[0]
    return f'{first.name} failed: {first.line}'
