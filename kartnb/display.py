"""How displayable objects find what draws them, without importing the rooms that draw.

A plan or a build report knows that it can be shown, not how. The table below names for each type the functions that
draw it; they are imported the first time that something is shown.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal, Protocol, TypeAlias

#: 'text'; 'html' (a fragment); 'svg' (a document); 'terminal' (text with colours); 'plot' (what is given shows itself);
#: 'live' (given the object and a shell, shows it in the cell that runs now).
Form: TypeAlias = Literal['text', 'html', 'svg', 'terminal', 'plot', 'live']

#: What draws the objects of a type, and of its subclasses, in each form. Names and not the things themselves: a plan
#: that is never shown imports nothing that draws, and no room imports one above it.
FORMS: dict[str, dict[Form, str]] = {
    'kartnb.execution.background:BackgroundBuild': {
        'text': 'kartnb.view.text:background_text',
        'html': 'kartnb.view.html:background_html',
        'live': 'kartnb.notebook.progress:show_background',
    },
    'kartnb.inspection.diff:Difference': {
        'text': 'kartnb.view.history:difference_text',
        'html': 'kartnb.view.history:difference_html',
    },
    'kartnb.inspection.logs:Logs': {
        'text': 'kartnb.view.live:logs_text',
        'html': 'kartnb.view.live:logs_html',
        'terminal': 'kartnb.view.live:logs_coloured',
        'live': 'kartnb.notebook.widgets:show_logs',
    },
    'kartnb.inspection.outputs:Outputs': {
        'text': 'kartnb.view.live:outputs_text',
        'html': 'kartnb.view.live:outputs_html',
        'live': 'kartnb.notebook.widgets:show_outputs',
    },
    'kartnb.model:BuildProgress': {
        'text': 'kartnb.view.words:progress_text',
    },
    'kartnb.model:Plan': {
        'text': 'kartnb.view.text:plan_text',
        'html': 'kartnb.view.html:plan_html',
        'svg': 'kartnb.view.graph_svg:plan_svg',
    },
    'kartnb.execution.report:BuildReport': {
        'text': 'kartnb.view.text:report_text',
        'html': 'kartnb.view.html:report_html',
        'svg': 'kartnb.view.graph_svg:report_svg',
    },
    'kartnb.sweeps.sweep:BackgroundSweep': {
        'text': 'kartnb.view.sweeps:background_sweep_text',
        'html': 'kartnb.view.sweeps:background_sweep_html',
        'live': 'kartnb.notebook.progress:show_background_sweep',
    },
    'kartnb.sweeps.run:SweepPlan': {
        'text': 'kartnb.view.sweeps:sweep_plan_text',
        'html': 'kartnb.view.sweeps:sweep_plan_html',
    },
    'kartnb.sweeps.points:SweepPoint': {
        'text': 'kartnb.view.sweeps:sweep_point_text',
        'html': 'kartnb.view.sweeps:sweep_point_html',
    },
    'kartnb.sweeps.result:SweepResult': {
        'text': 'kartnb.view.sweeps:sweep_text',
        'html': 'kartnb.view.sweeps:sweep_html',
        'plot': 'kartnb.view.sweep_plot:sweep_plot',
    },
    'kartnb.sweeps.run:SweepRun': {
        'text': 'kartnb.view.sweeps:sweep_run_text',
        'html': 'kartnb.view.sweeps:sweep_run_html',
    },
    'kartnb.inspection.why:Why': {
        'text': 'kartnb.view.history:why_text',
        'html': 'kartnb.view.history:why_html',
    },
    'kartnb.notebook.live_graph:Graph': {
        'live': 'kartnb.notebook.progress:show_plan',
    },
    'kartnb.history.clean:Cleaning': {
        'text': 'kartnb.view.history:cleaning_text',
        'html': 'kartnb.view.history:cleaning_html',
    },
    'kartnb.history.runs:Runs': {
        'text': 'kartnb.view.history:runs_text',
        'html': 'kartnb.view.history:runs_html',
    },
    'kartnb.task.base:TaskOnKart': {
        'text': 'kartnb.view.inspect:task_text',
        'html': 'kartnb.view.inspect:task_html',
    },
    'kartnb.view.previews.preview:Preview': {
        'text': 'kartnb.view.previews.show:preview_text',
        'html': 'kartnb.view.previews.show:preview_html',
    },
}


def named(name: str) -> Any:
    """The object that a ``module:name`` names; the module is imported."""
    module, _, attribute = name.partition(':')
    return getattr(importlib.import_module(module), attribute)


def renderer_of(kind: type, form: Form) -> Callable[..., Any]:
    """What draws the objects of a type in a form; raises LookupError when nothing does."""
    for base in kind.__mro__:
        name = FORMS.get(f'{base.__module__}:{base.__qualname__}', {}).get(form)
        if name is not None:
            renderer: Callable[..., Any] = named(name)
            return renderer
    raise LookupError(f'{kind.__name__} cannot be shown as {form}')


def render(obj: object, form: Form) -> str:
    """Draw an object, for instance a plan, as a string; raises LookupError when nothing draws it in this form."""
    return str(renderer_of(type(obj), form)(obj))


class Displayed:
    """An object that is shown in full wherever it is evaluated, as text and as HTML."""

    __slots__ = ()

    def __repr__(self) -> str:
        return render(self, 'text')

    def _repr_html_(self) -> str:
        return render(self, 'html')


def draw(obj: object, *options: Any) -> Any:
    """Plot an object for a notebook to show; raises LookupError when nothing plots this kind of object."""
    return renderer_of(type(obj), 'plot')(obj, *options)


def show_live(obj: object) -> None:
    """Let the notebook show an object that has a live view.

    Raises NotImplementedError without a front end for it; IPython then takes the other forms of the object.
    """
    if 'IPython' not in sys.modules:
        raise NotImplementedError
    named('kartnb.notebook.progress:show')(obj)


class FrontEnd(Protocol):
    """What a front end does better than plain Python; `%load_ext kartnb` adds a notebook's to `front_ends`."""

    def source_name(self, filename: str) -> str | None:
        """The name by which a person knows a file of code, for instance the cell that it is; None where unknown."""

    def traceback_lines(self, error: BaseException) -> list[str]:
        """The traceback of an exception, drawn as the front end draws its own."""

    def shown_live(self, shown: object) -> AbstractContextManager[object] | None:
        """A context that shows something while it lasts; None for what it cannot show."""


#: The front ends of this process; the last one counts.
front_ends: list[FrontEnd] = []


@contextmanager
def shown_live(shown: object) -> Iterator[None]:
    """Show something while the context lasts, where a front end can."""
    for front_end in reversed(front_ends):
        context = front_end.shown_live(shown)
        if context is not None:
            with context:
                yield
            return
    yield


def source_name(filename: str) -> str:
    """The name by which a person knows a file of code, for instance the cell that it is."""
    found = (front_end.source_name(filename) for front_end in front_ends)
    return next((name for name in found if name is not None), None) or _cell_name(filename) or filename


def _cell_name(filename: str) -> str | None:
    """The name of a cell in a notebook that has not loaded the extension."""
    ipython: Any = sys.modules.get('IPython')
    shell = None if ipython is None else ipython.get_ipython()
    found = None if shell is None else shell.compile.format_code_name(filename)
    return None if found is None else ' '.join(found)


def format_traceback(error: BaseException) -> list[str]:
    """The traceback of an exception as lines, the way that the front end shows its own."""
    if front_ends:
        return front_ends[-1].traceback_lines(error)
    return ''.join(traceback.format_exception(error)).rstrip('\n').split('\n')
