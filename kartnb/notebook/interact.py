"""`kartnb.interact`: move parameters, see at once what is cached, and build what is not."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ipywidgets
import luigi
from IPython.core.getipython import get_ipython

from kartnb.config import BuildOptions
from kartnb.errors import KartError, SweepError
from kartnb.execution.background import BackgroundBuild
from kartnb.execution.build import build_in_background
from kartnb.execution.report import error_line
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
from kartnb.view.previews.preview import Preview
from kartnb.view.previews.show import preview
from kartnb.view.sanitise import one_line
from kartnb.view.scene import Glance, glance_html, glance_text, status_html
from kartnb.view.sweeps import estimate_words
from kartnb.view.words import value_text

logger = logging.getLogger('kartnb')

#: Seconds of rest after which a wish is built by itself, and the saved form is written.
REST = 0.25
#: Seconds between two looks at a running build.
_TICK = 0.1
_THERE = (TaskState.CACHED, TaskState.EXTERNAL)


@dataclass(frozen=True, slots=True)
class Sight:
    """What is seen of the task that is wanted.

    Attributes
    ----------
    task
        The task.
    state
        Cached, missing, stale, running, failed, ...
    words
        What would run, what runs, or what went wrong.
    result
        The result as it is shown, or None.
    """

    task: luigi.Task
    state: TaskState
    words: str = ''
    result: Preview | None = None


@dataclass(frozen=True, slots=True)
class _Wish:
    task: luigi.Task
    since: float
    run: bool = False
    looked_at: bool = False
    #: Whether a person has stopped its build, so that it does not begin by itself.
    halted: bool = False


class Explorer:
    """Looks at tasks and builds them, one at a time.

    Parameters
    ----------
    show
        Is given what is seen, in the thread of the explorer.
    settled
        Is called when nothing has been wished for a while.
    output
        What is shown of a result; the result itself by default.
    auto
        Whether what is not cached is built by itself.
    keep
        Whether a build that is no longer wanted goes on.
    options
        How it builds.
    """

    def __init__(
        self,
        show: Callable[[Sight], object],
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
        self._news = threading.Condition()
        self._wish: _Wish | None = None
        self._build: BackgroundBuild | None = None
        self._built: luigi.Task | None = None
        self._thread: threading.Thread | None = None
        self._times = TypicalTimes()
        self._failures: dict[luigi.Task, str] = {}

    def report_to(self, show: Callable[[Sight], object], settled: Callable[[], object]) -> None:
        """Tell what is seen to somebody else from now on."""
        self._show, self._settled = show, settled

    def look_again(self) -> None:
        """Look once more at what is wanted."""
        with self._news:
            wish = self._wish
        if wish is not None:
            self.want(wish.task)

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing left to be done."""
        with self._news:
            return self._thread is None

    def want(self, task: luigi.Task) -> None:
        """Let this be the task to look at; the ones before are forgotten."""
        self._put(_Wish(task, time.monotonic()))

    def run(self) -> None:
        """Build the task that is wanted now."""
        with self._news:
            wish = self._wish
        if wish is not None:
            self._failures.pop(wish.task, None)
            self._put(replace(wish, run=True, looked_at=False, halted=False))

    def stop(self) -> None:
        """Stop the build that runs."""
        with self._news:
            build = self._build
            if self._wish is not None:
                self._wish = replace(self._wish, run=False, halted=True)
        if build is not None:
            build.stop(wait=False)

    def look(self, task: luigi.Task) -> Sight:
        """See whether the result of a task is there; what is there is loaded."""
        try:
            planned = plan(task)
            state = planned.root.state
            if state in _THERE and not planned.root.will_run:
                return Sight(task, state, 'the result is there', self._shown(task))
            failure = self._failures.get(task)
            if failure is not None:
                return Sight(task, TaskState.FAILED, failure)
            return Sight(task, state, self._would_run(planned))
        except Exception as error:  # whatever the user's requires() or output() raises is told
            return Sight(task, TaskState.FAILED, error_line(error))

    def _put(self, wish: _Wish) -> None:
        with self._news:
            self._wish = wish
            self._news.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name='kartnb interact', daemon=True)
                self._thread.start()

    def _work(self) -> None:
        try:
            self._go_on()
            self._settled()
        except Exception:
            logger.exception('What has been moved could not be shown')
            with self._news:
                self._thread = None

    def _go_on(self) -> None:
        while True:
            with self._news:
                wish = self._wish
                if wish is None or not self._is_open(wish):
                    self._thread = None
                    return
                if wish.looked_at:
                    self._news.wait(self._pause(wish))
                    wish = self._wish
            if wish is not None:
                self._step(wish)

    def _is_open(self, wish: _Wish) -> bool:
        """Whether something is still to be done."""
        return not wish.looked_at or self._build is not None or wish.run or self._waits_for_rest(wish)

    def _waits_for_rest(self, wish: _Wish) -> bool:
        return time.monotonic() - wish.since < REST

    def _pause(self, wish: _Wish) -> float:
        return _TICK if self._build is not None else max(wish.since + REST - time.monotonic(), 0.01)

    def _step(self, wish: _Wish) -> None:
        if self._build is not None and self._build.done():
            self._end_build(wish, self._build)
        elif not wish.looked_at:
            sight = self.look(wish.task)
            missing = sight.state not in _THERE and wish.task not in self._failures
            run = missing and (wish.run or (self.auto and not wish.halted))
            if not self._replace(wish, replace(wish, looked_at=True, run=run)):
                return  # there is a newer wish
            self._show(sight)
        elif self._build is not None:
            self._follow(wish)
        elif wish.run and (not self.auto or not self._waits_for_rest(wish)):
            self._begin(wish)

    def _begin(self, wish: _Wish) -> None:
        try:
            registry.drop_superseded()
            build = build_in_background(wish.task, self._options)
        except Exception as error:
            self._failures[wish.task] = error_line(error)
            self._replace(wish, replace(wish, looked_at=False, run=False))
            return
        with self._news:
            self._build, self._built = build, wish.task
        build.add_done_callback(lambda _: self._wake())
        self._show(Sight(wish.task, TaskState.RUNNING, 'begins to run'))

    def _follow(self, wish: _Wish) -> None:
        build = self._build
        if build is None:
            return
        if self._built == wish.task:
            self._show(Sight(wish.task, TaskState.RUNNING, f'running {build.progress}'))
        elif not self.keep and build.status == 'running':
            build.stop(wait=False)

    def _end_build(self, wish: _Wish, build: BackgroundBuild) -> None:
        """Take note of a build that has ended."""
        task = self._built
        with self._news:
            self._build = self._built = None
        self._times = TypicalTimes()
        if task is not None and build.status == 'failed':
            self._failures[task] = _why_it_failed(build)
        if task == wish.task:
            stopped = build.status == 'stopped'
            self._replace(wish, replace(wish, looked_at=False, run=wish.run and stopped))

    def _replace(self, wish: _Wish, by: _Wish) -> bool:
        with self._news:
            if self._wish is not wish:
                return False
            self._wish = by
            return True

    def _wake(self) -> None:
        with self._news:
            self._news.notify()

    def _would_run(self, planned: Plan) -> str:
        number = len(planned.to_run())
        if not number:
            return 'nothing here can make it'
        expected = estimate_words(estimate(planned, self._options.workers, self._times))
        return f'{number:,} {"task" if number == 1 else "tasks"} would run · {expected}'

    def _shown(self, task: luigi.Task) -> Preview:
        if self._output is None:
            return preview(task)
        try:
            return preview(_drawn(self._output, result_of(task)))
        except Exception as error:  # the user's function
            return preview(f'output failed: {error_line(error)}')


def _drawn(output: Callable[[Any], Any], result: Any) -> Any:
    """What the user's function gives; where it only draws with pyplot, the figures, which do not stay open."""
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
        return 'the build has failed'
    first = report.failures[0]
    return f'{first.name} failed: {error_line(first.error)}'


_HAS_RESULT = (TaskState.CACHED, TaskState.DONE, TaskState.EXTERNAL)


class Panel:
    """What a person sees and moves.

    Parameters
    ----------
    controls
        The controls.
    explorer
        Is told of the buttons.
    key
        Names the stored output that is hidden while this one lives.
    """

    def __init__(self, controls: Sequence[Control], explorer: Explorer, key: str) -> None:
        self._explorer = explorer
        self._lock = threading.RLock()
        self._status = ipywidgets.HTML()
        self._result = ipywidgets.HTML()
        self._run = ipywidgets.Button(description='Run', icon='play', tooltip='Build what is shown as missing')
        self._stop = ipywidgets.Button(description='Stop', icon='stop', tooltip='Stop the build that runs')
        self._auto = ipywidgets.Checkbox(
            value=explorer.auto, description='run by itself', indent=False, tooltip='Build as soon as the controls rest'
        )
        self._keep = ipywidgets.Checkbox(
            value=explorer.keep,
            description='let builds end',
            indent=False,
            tooltip='A build that is no longer wanted goes on, and its result is kept',
        )
        for box in (self._auto, self._keep):
            box.layout.width = 'auto'
            box.layout.margin = '2px 2px 2px 12px'
        self._copy = CopyWidget()
        self._run.on_click(lambda _: explorer.run())
        self._stop.on_click(lambda _: explorer.stop())
        self._auto.observe(self._choose_auto, names='value')
        self._keep.observe(self._choose_keep, names='value')
        buttons = ipywidgets.HBox([self._run, self._stop, self._auto, self._keep])
        hides = ipywidgets.HTML(f'<style>[data-kart="{key}"]{{display:none}}</style>')
        self.widget = ipywidgets.VBox(
            [*(control.widget for control in controls), self._status, buttons, self._result, self._copy, hides]
        )
        # the stored output makes room for outputs with this class
        self.widget.add_class('kartnb-live')
        self.widget.add_class('kartnb-interact')

    def bundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What a front end shows of it, and the metadata of that."""
        bundle: dict[str, Any] = self.widget._repr_mimebundle_()
        return {**bundle, 'text/plain': 'Controls: they need a running kernel. What they stood at is beside them.'}, {}

    def tell(self, glance: Glance) -> None:
        """Show what is seen, the result too."""
        with self._lock:
            self.tell_task(glance)
            if glance.result is not None:
                self._result.value = glance.result._repr_html_()
            elif glance.state not in _HAS_RESULT:
                self._result.value = ''

    def tell_task(self, glance: Glance) -> None:
        """Show which task it is; the result that is shown stays until the next one is there."""
        with self._lock:
            self._status.value = status_html(glance)
            self._copy.code = glance.code
            running = glance.state is TaskState.RUNNING
            self._run.disabled = running or glance.state in _HAS_RESULT or not glance.unique_id
            self._stop.disabled = not running

    def _choose_auto(self, change: Any) -> None:
        self._explorer.auto = bool(change['new'])
        self._explorer.look_again()

    def _choose_keep(self, change: Any) -> None:
        self._explorer.keep = bool(change['new'])


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
    """Show controls for the parameters of a task, and the result of the task that they stand at.

    A result that is cached is shown at once. For another one it says what would run and about how long, and a button
    builds it. The latest wish wins: what was wanted on the way there is not built.

    Parameters
    ----------
    task
        A task class; or a task, whose values hold for the parameters that have no control.
    space
        As `values`, for names such as ``'data.rows'``, a parameter of the task that the parameter ``data`` holds.
    output
        What is shown of a result: a function that is given the result and gives something to be shown, such as a
        figure. It runs in a thread. By default the result itself is shown.
    auto
        Whether what is not cached is built by itself as soon as the controls rest.
    keep
        Whether a build that is no longer wanted goes on, so that its result is kept; by default it is stopped.
    workers, executor
        As for `kartnb.build` in the background.
    **values
        By parameter name: ``(min, max)`` or ``(min, max, step)``, `kartnb.slider`, a list of choices, None for the
        control of the parameter's type, or one value that holds. Without any, all parameters have a control.

    Returns
    -------
    Interactive
        Its ``task`` and ``result()`` are those that the controls stand at.

    Raises
    ------
    SweepError
        When there is no such parameter, or nothing to choose from.
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
    1 task would run · how long is not known yet
    %kart_build Square(workspace_directory='...')
    """
    registry.drop_superseded()
    options = BuildOptions(workers=workers, executor=executor)
    explorer = Explorer(lambda sight: None, output=output, auto=auto, keep=keep, options=options)
    found = Interactive(task, {**(space or {}), **values}, explorer)
    found.begin()
    return found


class Interactive:
    """Controls and the task that they stand at, as `kartnb.interact` gives it.

    Attributes
    ----------
    controls
        The control of each parameter.
    error
        Why there is no task at present, or ''.
    sight
        What is seen of the task.
    """

    def __init__(self, task: Any, space: Mapping[str, Any], explorer: Explorer) -> None:
        template = Template(task)
        self.controls, fixed = controls_for(template, space)
        self._template = template
        self._fixed = fixed
        self._explorer = explorer
        self._task: luigi.Task | None = None
        self.error = ''
        self.sight: Sight | None = None
        self._screen: Screen | None = None
        self._panel: Any = None

    @property
    def task(self) -> luigi.Task:
        """The task that the controls stand at.

        Raises
        ------
        SweepError
            When a control holds something that its parameter does not take.
        """
        if self._task is None:
            raise SweepError(self.error)
        return self._task

    def result(self) -> Any:
        """The result of the task that the controls stand at.

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
    def glance(self) -> Glance:
        """What is seen at present, fit to be shown."""
        title = one_line(self._template.cls.__name__, 120)
        if self._task is None:
            return Glance(title, (), '', TaskState.FAILED, one_line(self.error, 300))
        values = [(one_line(control.name, 60), self._text_of(control)) for control in self.controls]
        sight = self.sight
        state, words = (sight.state, sight.words) if sight else (TaskState.MISSING, '')
        result = sight.result if sight else None
        return Glance(
            title, values, identity.id_of(self._task), state, one_line(words, 300), result, one_line(self.code, 600)
        )

    def begin(self) -> None:
        """Show it in the running cell; in a terminal, or where nothing is shown, it is only looked at."""
        self._move()
        if self._task is not None:
            self.sight = self._explorer.look(self._task)
        shell = get_ipython()
        if shell is None:
            return
        self._screen = screen = Screen(shell)
        screen.has_live_neighbour = can_be_live(screen)
        self.save()
        if screen.has_live_neighbour:
            self._go_live(screen)

    def save(self) -> None:
        """Write what is seen at present into the stored output."""
        if self._screen is not None:
            glance = self.glance
            self._screen.show(glance_text(glance), glance_html(glance) if self._screen.is_rich else '')

    def moved(self) -> None:
        """A control was moved: find the task, and look at it."""
        self._move()
        if self._panel is not None:
            self._panel.tell_task(self.glance)
        if self._task is not None:
            self._explorer.want(self._task)

    def _move(self) -> None:
        try:
            values = {control.name: control.value for control in self.controls}
            task = self._template.make({**self._fixed, **values})
            identity.id_of(task)
        except KartError as error:
            self._task, self.error, self.sight = None, str(error), None
        except Exception as error:  # whatever the user's requires() or __init__ raises
            self._task, self.error, self.sight = None, f'{type(error).__name__}: {error}', None
        else:
            if task is not self._task:
                self._task, self.error, self.sight = task, '', None

    def _go_live(self, screen: Screen) -> None:
        self._panel = Panel(self.controls, self._explorer, screen.key)
        self._explorer.report_to(self._see, self.save)
        for control in self.controls:
            control.observe(self.moved)
        self._panel.tell(self.glance)
        screen.show_below(*self._panel.bundle())
        if self._task is not None:
            self._explorer.want(self._task)

    def _see(self, sight: Sight) -> None:
        if sight.task is not self._task:
            return  # the controls have been moved meanwhile
        self.sight = sight
        self._panel.tell(self.glance)

    def _text_of(self, control: Control) -> str:
        return value_text(_value_at(self._task, control.name), 60)

    def __repr__(self) -> str:
        return glance_text(self.glance)

    def _ipython_display_(self) -> None:
        """Show nothing more: it has shown itself when it was made."""
        if self._screen is None:
            self.begin()


def _value_at(task: Any, name: str) -> Any:
    for part in name.split('.'):
        task = task.param_kwargs[part]
    return task
