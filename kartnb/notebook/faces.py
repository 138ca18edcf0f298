"""Making a live picture beside its stored one, where that is possible."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from kartnb.execution.planning.plan import Plan
from kartnb.notebook.screen import Screen
from kartnb.notebook.watch import BuildWatch

Phase = Literal['plan', 'running', 'stopping', 'done', 'failed', 'stopped']

#: The environment variable that switches live pictures off, for runs whose outputs are stored.
SWITCH = 'KARTNB_LIVE_GRAPH'

logger = logging.getLogger('kartnb')


@dataclass(slots=True)
class Wishes:
    """What a person has set with `%config KartMagics`."""

    live: bool = True


wishes = Wishes()


class Face(Protocol):
    """What shows a build beside the stored picture."""

    def push(self) -> None:
        """Show what is new."""

    def end(self, phase: Phase) -> None:
        """Show that the build has ended."""


def can_be_live(screen: Screen) -> bool:
    """Whether live pictures are wanted, and there are a front end and anywidget for them."""
    wanted = wishes.live and os.environ.get(SWITCH, '').lower() not in ('0', 'off', 'false', 'no')
    return wanted and screen.is_rich and importlib.util.find_spec('anywidget') is not None


def live_face(
    plan: Plan, screen: Screen, watch: BuildWatch | None = None, stop: Callable[[], object] | None = None
) -> Face | None:
    """Show a live picture of a plan below the stored one; None where there can be none.

    Parameters
    ----------
    plan
        What is drawn.
    screen
        Where the stored picture is.
    watch
        Knows how the build of the plan stands, or None where nothing is built.
    stop
        Ends the build; None where a person has to interrupt the kernel.
    """
    try:
        from kartnb.notebook.live import LiveGraph

        live = LiveGraph(plan, screen.key, watch, stop)
        screen.show_below(*live.widget.bundle())
        if watch is None:
            live.tell_all()
    except Exception:
        screen.has_live_neighbour = False
        logger.warning('The live graph cannot be shown; the stored one stands for it', exc_info=True)
        return None
    return live
