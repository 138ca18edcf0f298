"""About how long a build will take, from the recorded times of earlier runs."""

from __future__ import annotations

from dataclasses import dataclass

from kartnb.execution.planning.plan import Plan
from kartnb.history.log_store import TypicalTimes


@dataclass(frozen=True, slots=True)
class Estimate:
    """About how long a build will take.

    Attributes
    ----------
    seconds
        Of the tasks whose time is known, one after the other or as many at a time as there are workers.
    unknown
        How many tasks there are of whose class no run is recorded.
    by_key
        Seconds of each task that will run and whose time is known, by node key.
    """

    seconds: float
    unknown: int
    by_key: dict[str, float]


def estimate(plan: Plan, workers: int = 1, times: TypicalTimes | None = None) -> Estimate:
    """About how long a build of a plan will take.

    Parameters
    ----------
    plan
        The plan.
    workers
        How many tasks run at a time.
    times
        Where to look times up; by default the records are read anew.

    Examples
    --------
    >>> import kartnb, tempfile
    >>> class One(kartnb.TaskOnKart[int]):
    ...     def run(self):
    ...         self.dump(1)
    >>> estimate(kartnb.plan(One(workspace_directory=tempfile.mkdtemp()))).unknown
    1
    """
    times = times or TypicalTimes()
    to_run = plan.to_run()
    found = {node.key: times.seconds(node.task) for node in to_run}
    known = {key: seconds for key, seconds in found.items() if seconds is not None}
    total = sum(known.values())
    if workers > 1 and known:
        total = max(total / workers, _longest_path(plan, known))
    return Estimate(total, len(found) - len(known), known)


def _longest_path(plan: Plan, known: dict[str, float]) -> float:
    ends: list[float] = []
    for node in plan.nodes:
        begin = max((ends[i] for i in node.requires), default=0.0)
        ends.append(begin + known.get(node.key, 0.0))
    return max(ends, default=0.0)
