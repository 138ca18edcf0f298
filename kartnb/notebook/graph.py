"""`kartnb.graph`: a plan that draws itself, live where there is a front end for it."""

from __future__ import annotations

from pathlib import Path

import luigi

from kartnb import display
from kartnb.execution.background import BackgroundBuild
from kartnb.execution.planning.plan import Plan
from kartnb.planning.planner import plan


class Graph(Plan):
    """A plan that draws itself: what `kartnb.graph` gives.

    In a notebook it is live: it can be zoomed, searched and opened, a click on a task shows what is known of it, and
    the states of a build in the background change before one's eyes. In a terminal it is a tree of text.
    """

    _handle: BackgroundBuild | None = None

    def save(self, path: str | Path) -> None:
        """Write the picture, with the states of now, into an SVG file."""
        shown = self if self._handle is None else self._handle.plan
        Path(path).write_text(display.render(shown, 'svg'), encoding='utf-8')

    def __repr__(self) -> str:
        return super().__repr__() if self._handle is None else display.render(self._handle.plan, 'text')

    def _ipython_display_(self) -> None:
        display.show_live(self if self._handle is None else self._handle)


def graph(task: luigi.Task | Plan | BackgroundBuild) -> Graph:
    """The graph of a task, with a state for every task that it needs; nothing is run.

    Parameters
    ----------
    task
        A task, a plan, or a build that runs in the background, whose graph then shows how it goes on.

    Raises
    ------
    TaskArgumentError
        When it is none of these.

    Examples
    --------
    >>> import kartnb, tempfile
    >>> class Numbers(kartnb.TaskOnKart[list]):
    ...     def run(self):
    ...         self.dump([1, 2, 3])
    >>> print(kartnb.graph(Numbers(workspace_directory=tempfile.mkdtemp())))
    Plan of Numbers[...]: 1 will run
    1 task: ○ 1 missing
    workspace: ...
    ○ missing Numbers[...](workspace_directory=...) · output missing: ...
    """
    if isinstance(task, BackgroundBuild):
        planned = task.plan
    else:
        planned = task if isinstance(task, Plan) else plan(task)
    found = Graph(planned.nodes, planned.workspace)
    if isinstance(task, BackgroundBuild):
        object.__setattr__(found, '_handle', task)
    return found
