"""Searching for the best point with Optuna: every trial is a cached task, and the study goes on where it ended."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kartnb import display
from kartnb.errors import MissingPackageError, SweepError
from kartnb.execution.planning.planner import workspace_of
from kartnb.execution.sweeps.metrics import Metric, measured
from kartnb.execution.sweeps.result import Direction, SweepPoint, SweepResult, main_metric
from kartnb.execution.sweeps.space import Axis, Space, axes_of
from kartnb.execution.sweeps.sweep import SweepPlan, made
from kartnb.execution.sweeps.template import Template
from kartnb.task.slider import Slider
from kartnb.task.values import number_type

_DEFAULT_TRIALS = 20
_CHOICES = (bool, int, float, str, type(None))


def search(
    template: Template,
    space: Space,
    metric: Metric,
    direction: Direction,
    sampler: Any,
    trials: int | None,
    seed: int,
    options: Mapping[str, Any],
) -> SweepResult:
    """Search a space for the best value of a metric; the parameters are those of `kartnb.sweep`.

    Raises
    ------
    SweepError
        When the space, the metric or the number of trials is no good for a search.
    MissingPackageError
        When Optuna is not installed.
    """
    began = time.perf_counter()
    optuna = _optuna()
    wanted = _DEFAULT_TRIALS if trials is None else trials
    if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 1:
        raise SweepError(f'trials must be a whole number from 1 on, not {wanted!r}.')
    if metric is None or not (isinstance(metric, str) or callable(metric)):
        raise SweepError('A search needs one metric: give metric=NAME (--metric NAME), or a function of the result.')
    if not isinstance(space, Mapping):
        raise SweepError('A search goes through ranges and choices by parameter name, not through a list of points.')
    dimensions = [Dimension(axis) for axis in axes_of(template, _as_ranges(template, space))]
    hunt = Hunt(template, dimensions, metric, direction, options)
    told = SearchProgress(template.cls.__name__, wanted, direction)
    with _quiet(optuna), display.shown_live(told) as listener:
        study = hunt.open_study(optuna, _sampler(optuna, sampler, seed))
        points = hunt.repeat(study.trials)
        while len(points) < wanted:
            told.points = points
            if listener is not None:
                listener(told)
            # of its own for each trial, so that a study that is taken up again goes on as it would have gone on
            study.sampler = _sampler(optuna, sampler, seed + len(points))
            points = points + hunt.go_on(study, min(wanted - len(points), options['workers']), len(points))
        told.points = points[:wanted]
    measured_points = points[:wanted]
    if not any(point.metrics for point in measured_points):
        problem = next((point.problem or point.error for point in measured_points if point.problem or point.error), '')
        raise SweepError(f'No trial has a metric: {problem}')
    notes = (f'Searched with {type(study.sampler).__name__} of Optuna; the study is in {hunt.shown_place}.',)
    return SweepResult(
        template.cls.__name__,
        tuple(measured_points),
        main_metric(measured_points, metric),
        direction,
        None,
        time.perf_counter() - began,
        notes,
    )


@dataclass
class SearchProgress:
    """How far a search is.

    Attributes
    ----------
    name
        The name of the task class.
    trials
        How many points it tries in all.
    direction
        Which end of the metric is best.
    points
        The points that have been tried.
    """

    name: str
    trials: int
    direction: Direction
    points: Sequence[SweepPoint] = ()

    def best(self) -> tuple[str, float] | None:
        """The best metric so far: its name and its value."""
        found = [item for point in self.points for item in list(point.metrics.items())[:1] if item[1] == item[1]]
        choose = max if self.direction == 'maximize' else min
        return choose(found, key=lambda item: item[1]) if found else None


class Dimension:
    """One parameter of a search: a range of numbers, or choices."""

    def __init__(self, axis: Axis) -> None:
        self.name = axis.name
        self.range = axis.slider or axis.range
        self.choices = [] if self.range else [axis[i] for i in range(len(axis))]
        self._axis = axis

    def suggest(self, trial: Any) -> Any:
        """Ask the sampler for a value."""
        if self.range is None:
            plain = all(isinstance(choice, _CHOICES) for choice in self.choices)
            if plain:
                return trial.suggest_categorical(self.name, self.choices)
            # Optuna keeps plain values only
            return self.choices[trial.suggest_categorical(f'{self.name} (number)', list(range(len(self.choices))))]
        low, high, log = self.range.min, self.range.max, self.range.log
        if self.range.is_whole:
            value = trial.suggest_int(self.name, low, high, step=1 if log else int(self.range.step or 1), log=log)
        else:
            value = trial.suggest_float(self.name, low, high, step=None if log else self.range.step, log=log)
        return self._axis.settle(value)

    def value(self, params: Mapping[str, Any]) -> Any:
        """The value that a finished trial has; KeyError where it has none."""
        if self.name in params:
            return self._axis.settle(params[self.name])
        return self.choices[params[f'{self.name} (number)']]

    def __repr__(self) -> str:
        return f'{self.name}: {self.range or [_described(choice) for choice in self.choices]}'


class Hunt:
    """One search: which trials there are, and the tasks of the next ones."""

    def __init__(
        self,
        template: Template,
        dimensions: Sequence[Dimension],
        metric: Metric,
        direction: Direction,
        options: Mapping[str, Any],
    ) -> None:
        self._template = template
        self._dimensions = dimensions
        self._metric = metric
        self._direction = direction
        self._options = options
        first = template.make({dimension.name: dimension._axis.first() for dimension in dimensions})
        self._workspace = workspace_of(first)
        fixed = {name: str(value) for name, value in first.to_str_params(only_significant=True).items()}
        varied = {dimension.name.partition('.')[0] for dimension in dimensions}
        label = metric if isinstance(metric, str) else getattr(metric, '__qualname__', 'function')
        kept = {name: text for name, text in fixed.items() if name not in varied}
        described = repr([template.cls.__name__, kept, [repr(each) for each in dimensions], label, direction])
        self.name = f'{template.cls.__name__}_{hashlib.md5(described.encode(), usedforsecurity=False).hexdigest()}'

    @property
    def shown_place(self) -> str:
        """Where the study is kept, below the workspace."""
        return f'log/sweep/{self.name}.log'

    def open_study(self, optuna: Any, sampler: Any) -> Any:
        """The study, as it was left."""
        if '://' in self._workspace:
            storage = None  # the study lasts as long as this call; the results are kept
        else:
            place = os.path.join(self._workspace, self.shown_place)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            storage = _journal(optuna, place)
        return optuna.create_study(
            storage=storage, study_name=self.name, direction=self._direction, sampler=sampler, load_if_exists=True
        )

    def repeat(self, trials: Sequence[Any]) -> list[SweepPoint]:
        """The points of earlier trials; what has been deleted of them since is made anew."""
        found = []
        for trial in trials:
            with contextlib.suppress(KeyError, IndexError):
                found.append({each.name: each.value(trial.params) for each in self._dimensions})
        return self._built(found, 0)

    def go_on(self, study: Any, number: int, first: int) -> list[SweepPoint]:
        """Ask for the next points, build them together, and tell how good they are."""
        trials = [study.ask() for _ in range(number)]
        values = [{each.name: each.suggest(trial) for each in self._dimensions} for trial in trials]
        points = self._built(values, first)
        for trial, point in zip(trials, points, strict=True):
            value = next(iter(point.metrics.values()), math.nan)
            if math.isnan(value):
                study.tell(trial, state=_failed())
            else:
                study.tell(trial, value)
        if all(point.problem for point in points):
            raise SweepError(f'{points[0].problem} (The results are kept.)')
        return points

    def _built(self, values: list[dict[str, Any]], first: int) -> list[SweepPoint]:
        points = made(self._template, values, first)
        if points:
            SweepPlan(self._template.cls.__name__, points, self._options).build(live=False)
        for point in points:
            if point.is_complete:
                try:
                    point.metrics = measured(point.load(), self._metric, self._template.cls.__name__)
                except Exception as error:  # the user's function, or a result without the metric
                    point.problem = str(error) or type(error).__name__
        return points


def _as_ranges(template: Template, space: Mapping[str, Any]) -> dict[str, Any]:
    """A tuple of two numbers is a range here, as in `kartnb.interact`."""
    found = {}
    for name, given in space.items():
        kind = number_type(template.parameter(name))
        is_range = kind is not None and isinstance(given, tuple) and len(given) == 2 and given[0] < given[1]
        if is_range and kind is int:
            given = Slider(int(given[0]), int(given[1]))
        elif is_range:
            given = Slider(float(given[0]), float(given[1]))
        found[name] = given
    return found


def _sampler(optuna: Any, sampler: Any, seed: int) -> Any:
    if sampler == 'optuna':
        return optuna.samplers.TPESampler(seed=seed)
    if isinstance(sampler, optuna.samplers.BaseSampler):
        return sampler
    raise SweepError(f"sampler is 'optuna' or a sampler of Optuna's, not {sampler!r:.60}.")


def _described(choice: Any) -> str:
    identify = getattr(choice, 'make_unique_id', None)
    return str(identify()) if identify is not None else repr(choice)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise MissingPackageError("Optuna is not installed: pip install 'kartnb[optuna]'") from error
    return optuna


def _journal(optuna: Any, place: str) -> Any:
    from optuna.storages import JournalStorage

    try:
        from optuna.storages.journal import JournalFileBackend
    except ImportError:  # Optuna 3
        from optuna.storages import JournalFileStorage as JournalFileBackend
    return JournalStorage(JournalFileBackend(place))


def _failed() -> Any:
    from optuna.trial import TrialState

    return TrialState.FAIL


@contextlib.contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Keep Optuna from telling of each trial: the sweep is shown itself."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(level, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)
