"""`kartnb.interact`: move parameters, see at once what is cached, and build what is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import luigi
from IPython.core.getipython import get_ipython

from kartnb.errors import KartError, SweepError
from kartnb.events import TaskState
from kartnb.execution.options import BuildOptions
from kartnb.execution.sweeps.template import Template
from kartnb.notebook.cell import as_code
from kartnb.notebook.controls import Control, controls_for
from kartnb.notebook.explorer import Explorer, Sight
from kartnb.notebook.screen import Screen, can_be_live
from kartnb.task import identity, registry
from kartnb.task.loading import result_of
from kartnb.view.clean import one_line
from kartnb.view.glance import Glance, glance_html, glance_text
from kartnb.view.parameters import value_text


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
        from kartnb.notebook.interact_panel import Panel

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
