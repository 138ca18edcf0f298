"""One task of many at a glance: its values, whether its result is there, and the result; as text and as HTML.

It is what `kartnb.interact` shows, and what stays of it in a saved notebook.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kartnb.events import TaskState
from kartnb.view.previews.preview import Preview
from kartnb.view.states import look


@dataclass(frozen=True, slots=True)
class Glance:
    """What is said of a task; every text is fit to be shown.

    Attributes
    ----------
    title
        The name of the task class.
    values
        The parameters that can be moved, each with its value and where it can be moved to.
    unique_id
        The id of the task, or ''.
    state
        Whether its result is there.
    words
        What would run and about how long, what runs, or why there is nothing.
    result
        The result, or None.
    code
        The line that builds it.
    """

    title: str
    values: Sequence[tuple[str, str]] = ()
    unique_id: str = ''
    state: TaskState = TaskState.MISSING
    words: str = ''
    result: Preview | None = None
    code: str = ''

    @property
    def standing(self) -> str:
        """The state of the task in a word; that there is none, where the controls give none."""
        return str(look(self.state)) if self.unique_id else '✗ no task'


def status_html(glance: Glance) -> str:
    """State, id and words, without values and result."""
    from kartnb.view.html import render_template

    return render_template('glance.html', glance=glance, look=look(glance.state), whole=False)


def glance_html(glance: Glance) -> str:
    """A task at a glance, with its result, as an HTML fragment."""
    from kartnb.view.html import render_template

    told = render_template('glance.html', glance=glance, look=look(glance.state), whole=True)
    return told if glance.result is None else f'{told}\n{glance.result._repr_html_()}'


def glance_text(glance: Glance) -> str:
    """A task at a glance, with its result, as text."""
    values = ', '.join(f'{name}={value}' for name, value in glance.values)
    lines = [f'{glance.title}({values})', f'{glance.standing} {glance.unique_id}'.rstrip()]
    lines += [text for text in (glance.words, glance.code) if text]
    return '\n'.join(lines if glance.result is None else [*lines, repr(glance.result)])
