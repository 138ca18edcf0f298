"""Searching for the best point with Optuna: every trial is a cached task, and the study goes on where it ended."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Mapping
from typing import Any

from kartnb.errors import SweepError
from kartnb.events import Listener
from kartnb.execution.options import BuildOptions
from kartnb.execution.sweeps.dimension import dimensions_of
from kartnb.execution.sweeps.metrics import Metric
from kartnb.execution.sweeps.planned import SweepPlan, made
from kartnb.execution.sweeps.point import SweepPoint
from kartnb.execution.sweeps.result import Direction
from kartnb.execution.sweeps.running import SweepRun
from kartnb.execution.sweeps.space import Space
from kartnb.execution.sweeps.study import StudyFile, import_optuna, quiet
from kartnb.execution.sweeps.template import Template
from kartnb.planning.planner import workspace_of

_DEFAULT_TRIALS = 20


class Search(SweepRun):
    """A search through a space for the best value of a metric; the parameters are those of `kartnb.sweep`.

    Raises
    ------
    SweepError
        When the space, the metric or the number of trials is no good for a search.
    MissingPackageError
        When Optuna is not installed.
    """

    def __init__(
        self,
        template: Template,
        space: Space,
        metric: Metric,
        direction: Direction,
        sampler: Any,
        trials: int | None,
        seed: int,
        options: BuildOptions,
    ) -> None:
        super().__init__(template.cls.__name__, metric, direction, options)
        self._optuna = import_optuna()
        self._wanted = _DEFAULT_TRIALS if trials is None else trials
        _check(self._wanted, metric, space)
        assert isinstance(space, Mapping)
        self._template = template
        self._dimensions = dimensions_of(template, space)
        self._sampler, self._seed = sampler, seed
        self._make_sampler(0)
        self._file = self._study_file()
        self._batch: SweepPlan | None = None
        self._asked_to_stop = False

    @property
    def total(self) -> int:
        """How many points it tries in all."""
        return self._wanted

    @property
    def ran_nothing(self) -> bool:
        """A search always says how it has ended."""
        return False

    @property
    def notes(self) -> tuple[str, ...]:
        """What is worth knowing of it, a sentence each."""
        name = type(self._make_sampler(0)).__name__
        return (f'Searched with {name} of Optuna; the study is in {self._file.shown_place}.',)

    def stop(self) -> None:
        """Ask it, from another thread, to end."""
        self._asked_to_stop = True
        batch = self._batch
        if batch is not None:
            batch.stop()

    def follow(self, listener: Listener) -> None:
        """Give `listener` the events of the builds, of the one that runs those that have been, too."""
        batch = self._batch
        build = None if batch is None else batch.planned_build
        if build is None:
            self._feed.join(listener)
        else:
            self._feed.follow(listener, build.build_id, build.plan)

    def go(self) -> None:
        """Run it in this thread, and measure the points.

        Raises
        ------
        SweepError
            When no trial has the metric.
        """
        __tracebackhide__ = True
        with quiet(self._optuna):
            study = self._file.open(self.direction)
            self._repeat(study)
            while len(self.points) < self._wanted and not self._asked_to_stop:
                # of its own for each trial, so that a study that is taken up again goes on as it would have gone on
                study.sampler = self._make_sampler(len(self.points))
                self._go_on(study, min(self._wanted - len(self.points), self.workers))
        self.stopped = self._asked_to_stop and sum(point.is_over for point in self.points) < self._wanted
        if not self.stopped and not any(point.metrics for point in self.points):
            problem = next((found for found in (point.problem or point.error for point in self.points) if found), '')
            raise SweepError(f'No trial has a metric: {problem}')

    def _repeat(self, study: Any) -> None:
        """The points of earlier trials; what has been deleted of them since is made anew."""
        found = []
        for trial in study.get_trials(deepcopy=False)[: self._wanted]:
            with contextlib.suppress(KeyError, IndexError):
                found.append({each.name: each.value(trial.params) for each in self._dimensions})
        if found:
            self._build(found)

    def _go_on(self, study: Any, number: int) -> None:
        """Ask for the next points, build them together, and tell how good they are."""
        trials = [study.ask() for _ in range(number)]
        points = self._build([{each.name: each.suggest(trial) for each in self._dimensions} for trial in trials])
        told = [(trial, point) for trial, point in zip(trials, points, strict=True) if point.is_over]
        for trial, point in told:
            value = next(iter(point.metrics.values()), math.nan)
            if math.isnan(value):
                study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
            else:
                study.tell(trial, value)
        self._file.save(study)
        if points and all(point.problem for point in points):
            raise SweepError(f'{points[0].problem} (The results are kept.)')

    def _build(self, values: list[dict[str, Any]]) -> list[SweepPoint]:
        points = made(self._template, values, len(self.points))
        self.points = [*self.points, *points]
        self._batch = SweepPlan(self.name, points, self._options, self.metric, self.direction, self._feed)
        if self._asked_to_stop:
            return points
        self._batch.build()
        with contextlib.suppress(SweepError):  # it is told as the problem of each point
            self._batch.measure()
        return points

    def _make_sampler(self, number: int) -> Any:
        samplers = self._optuna.samplers
        if self._sampler == 'optuna':
            return samplers.TPESampler(seed=self._seed + number)
        if isinstance(self._sampler, samplers.BaseSampler):
            return self._sampler
        raise SweepError(f"sampler is 'optuna' or a sampler of Optuna's, not {self._sampler!r:.60}.")

    def _study_file(self) -> StudyFile:
        """The file of this study: another space, metric or fixed parameter makes another one."""
        template, dimensions = self._template, self._dimensions
        first = template.make({dimension.name: dimension.first() for dimension in dimensions})
        fixed = {name: str(value) for name, value in first.to_str_params(only_significant=True).items()}
        varied = {dimension.name.partition('.')[0] for dimension in dimensions}
        label = self.metric if isinstance(self.metric, str) else getattr(self.metric, '__qualname__', 'function')
        kept = {name: text for name, text in fixed.items() if name not in varied}
        described = repr([self.name, kept, [repr(each) for each in dimensions], label, self.direction])
        digest = hashlib.md5(described.encode(), usedforsecurity=False).hexdigest()
        return StudyFile(workspace_of(first), f'{self.name}_{digest}')


def _check(trials: Any, metric: Metric, space: Space) -> None:
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
        raise SweepError(f'trials must be a whole number from 1 on, not {trials!r}.')
    if metric is None or not (isinstance(metric, str) or callable(metric)):
        raise SweepError('A search needs one metric: give metric=NAME (--metric NAME), or a function of the result.')
    if not isinstance(space, Mapping):
        raise SweepError('A search goes through ranges and choices by parameter name, not through a list of points.')
