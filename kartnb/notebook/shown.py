"""Showing a plan or a build in the background: the stored picture, and the live one below it."""

from __future__ import annotations

from IPython.core.interactiveshell import InteractiveShell

from kartnb.execution.background import BackgroundBuild
from kartnb.execution.planning.plan import Plan
from kartnb.notebook.progress import BuildScreen, live_face
from kartnb.notebook.screen import Screen, can_be_live


def show_plan(plan: Plan, shell: InteractiveShell) -> None:
    """Show a plan, live where it can be."""
    screen = Screen(shell)
    screen.has_live_neighbour = can_be_live(screen)
    screen.show_object(plan)
    if screen.has_live_neighbour:
        live_face(plan, screen)


def show_background(build: BackgroundBuild, shell: InteractiveShell) -> None:
    """Show a build in the background in the cell that runs now, also when that has ended."""
    screen = BuildScreen(shell, behind_the_cell=True, stop=lambda: build.stop(wait=False), workers=build.workers)
    build.follow(screen)  # tells of its beginning in this thread, so that it is shown in this cell
    build.add_done_callback(lambda ended: screen.close_with(ended.report))
