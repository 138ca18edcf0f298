"""Searching for the best point with Optuna: every trial is a cached task, and a study continues where it ended."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from kartnb.config import BuildOptions
from kartnb.errors import MissingPackageError, SweepError, UnreadableResultError
from kartnb.model import Listener
from kartnb.storage.filesystem import file_system
from kartnb.sweeps.points import Metric, SweepPoint
from kartnb.sweeps.result import Direction
from kartnb.sweeps.run import SweepPlan, SweepRun, make_points
from kartnb.sweeps.space import Axis, Space, Template, axes_of
from kartnb.task.code.prints import print_of_function
from kartnb.task.results import workspace_of
from kartnb.task.values import Slider, number_type

_DEFAULT_TRIALS = 20
#: Types of choices that Optuna stores; others are stored by their position.
_PLAIN = (bool, int, float, str, type(None))
#: Where the files of studies are, below the workspace.
_PLACE = 'log/sweep'
_ANOTHER_METRIC = 'The metric has changed: a new study begins.'
#: The version of the file of a study.
_FORMAT = 1


class Search(SweepRun):
    """A search through a space for the best value of a metric; the parameters are those of `kartnb.sweep`.

    Raises `SweepError` when the space, the metric or the number of trials does not fit a search, and
    `MissingPackageError` when Optuna is not installed.
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
        self._trials = _DEFAULT_TRIALS if trials is None else trials
        _check(self._trials, metric, space)
        assert isinstance(space, Mapping)
        self._template = template
        self._dimensions = [Dimension(axis) for axis in axes_of(template, _as_ranges(template, space))]
        self._sampler, self._seed = sampler, seed
        self._sampler_name = type(self._make_sampler(0)).__name__  # raises for what is not a sampler
        metric_print = None if isinstance(metric, str) else print_of_function(metric)
        self._file = self._study_file('' if metric_print is None else metric_print.digest)
        self._begins_anew = _ANOTHER_METRIC if self._file.is_after_another() else ''
        unknown = () if metric_print is None else metric_print.unknown[:1]
        self._unknown = f'It is unknown whether the metric has changed: {unknown[0]}.' if unknown else ''
        self._batch: SweepPlan | None = None
        self._asked_to_stop = False

    @property
    def total(self) -> int:
        """How many points it tries in total."""
        return self._trials

    @property
    def ran_nothing(self) -> bool:
        """False: a search always shows how it has ended."""
        return False

    @property
    def notes(self) -> tuple[str, ...]:
        """What is worth knowing about it, one sentence each."""
        searched = f'Searched with {self._sampler_name} of Optuna; the study is in {self._file.shown_place}.'
        return (searched, *filter(None, (self._begins_anew, self._unknown)))

    def stop(self) -> None:
        """Ask it to end early; called from another thread."""
        self._asked_to_stop = True
        batch = self._batch
        if batch is not None:
            batch.stop()

    def follow(self, listener: Listener) -> None:
        """Send `listener` the events of the builds; those of the running build from its start on."""
        batch = self._batch
        build = None if batch is None else batch.planned_build
        if build is None:
            self._feed.join(listener)
        else:
            self._feed.follow(listener, build.build_id, build.plan)

    def go(self) -> None:
        __tracebackhide__ = True
        with quiet(self._optuna):
            study = self._file.open(self.direction)
            self._repeat(study)
            while len(self.points) < self._trials and not self._asked_to_stop:
                # a new sampler for each batch, seeded by position: so a continued study suggests what it would have
                # suggested without the break
                study.sampler = self._make_sampler(len(self.points))
                self._try_next(study, min(self._trials - len(self.points), self.workers))
        self.stopped = self._asked_to_stop and sum(point.is_over for point in self.points) < self._trials
        if not self.stopped and not any(point.metrics for point in self.points):
            problem = next((found for found in (point.problem or point.error for point in self.points) if found), '')
            raise SweepError(f'No trial has a metric: {problem}')

    def _repeat(self, study: Any) -> None:
        """Build the points of earlier trials; those whose results were deleted meanwhile are recomputed."""
        found = []
        for trial in study.get_trials(deepcopy=False)[: self._trials]:
            with contextlib.suppress(KeyError, IndexError):  # a failed trial may lack a value
                found.append({each.name: each.value(trial.params) for each in self._dimensions})
        if found:
            self._build(found)

    def _try_next(self, study: Any, number: int) -> None:
        """Ask for the next points, build them together, and report their metrics."""
        trials = [study.ask() for _ in range(number)]
        points = self._build([{each.name: each.suggest(trial) for each in self._dimensions} for trial in trials])
        for trial, point in zip(trials, points, strict=True):
            if not point.is_over:
                continue
            value = next(iter(point.metrics.values()), math.nan)
            if math.isnan(value):
                study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
            else:
                study.tell(trial, value)
        self._file.save(study)
        if points and all(point.problem for point in points):
            raise SweepError(f'{points[0].problem} (The results are kept.)')

    def _build(self, values: list[dict[str, Any]]) -> list[SweepPoint]:
        points = make_points(self._template, values, len(self.points))
        self.points = [*self.points, *points]
        self._batch = SweepPlan(self.name, points, self._options, self.metric, self.direction, self._feed)
        if self._asked_to_stop:
            return points
        self._batch.build()
        with contextlib.suppress(SweepError):  # each point has it as its problem
            self._batch.measure()
        return points

    def _make_sampler(self, number: int) -> Any:
        samplers = self._optuna.samplers
        if self._sampler == 'optuna':
            return samplers.TPESampler(seed=self._seed + number)
        if isinstance(self._sampler, samplers.BaseSampler):
            return self._sampler
        raise SweepError(f"sampler must be 'optuna' or a sampler of Optuna's, not {self._sampler!r:.60}.")

    def _study_file(self, metric_digest: str) -> StudyFile:
        """The file of this study; another space, metric or fixed parameter is another study.

        A metric that is a function counts by its code print as well.
        """
        template, dimensions = self._template, self._dimensions
        first = template.make({dimension.name: dimension.first() for dimension in dimensions})
        fixed = {name: str(value) for name, value in first.to_str_params(only_significant=True).items()}
        varied = {dimension.name.partition('.')[0] for dimension in dimensions}
        label = self.metric if isinstance(self.metric, str) else getattr(self.metric, '__qualname__', 'function')
        kept = {name: text for name, text in fixed.items() if name not in varied}
        described = repr([self.name, kept, [repr(each) for each in dimensions], label, self.direction])
        digest = hashlib.md5(described.encode(), usedforsecurity=False).hexdigest()
        return StudyFile(workspace_of(first), f'{self.name}_{digest}', metric_digest)


def _check(trials: Any, metric: Metric, space: Space) -> None:
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
        raise SweepError(f'trials must be a whole number of at least 1, not {trials!r}.')
    if metric is None or not (isinstance(metric, str) or callable(metric)):
        raise SweepError('A search needs one metric: give metric=NAME (--metric NAME), or a function of the result.')
    if not isinstance(space, Mapping):
        raise SweepError('A search takes ranges and choices by parameter name, not a list of points.')


class Dimension:
    """One parameter of a search: a range of numbers, or choices."""

    def __init__(self, axis: Axis) -> None:
        self.name = axis.name
        self.range = axis.slider or axis.range
        self.choices = [] if self.range else [axis[i] for i in range(len(axis))]
        self._axis = axis
        self._is_plain = all(isinstance(choice, _PLAIN) for choice in self.choices)

    def first(self) -> Any:
        """One of the values."""
        return self._axis.first()

    def suggest(self, trial: Any) -> Any:
        """Ask the sampler for a value."""
        if self.range is None:
            if self._is_plain:
                return trial.suggest_categorical(self.name, self.choices)
            return self.choices[trial.suggest_categorical(f'{self.name} (number)', list(range(len(self.choices))))]
        low, high, log = self.range.min, self.range.max, self.range.log
        if self.range.is_whole:
            value = trial.suggest_int(self.name, low, high, step=1 if log else int(self.range.step or 1), log=log)
        else:
            value = trial.suggest_float(self.name, low, high, step=None if log else self.range.step, log=log)
        return self._axis.settle(value)

    def value(self, params: Mapping[str, Any]) -> Any:
        """The value in a finished trial; KeyError where it has none."""
        if self.name in params:
            return self._axis.settle(params[self.name])
        return self.choices[params[f'{self.name} (number)']]

    def __repr__(self) -> str:
        """A part of the name of the study's file, so it must not change."""
        return f'{self.name}: {self.range or [_choice_text(choice) for choice in self.choices]}'


def _as_ranges(template: Template, space: Mapping[str, Any]) -> dict[str, Any]:
    """A tuple of two numbers is a range here, as in `kartnb.interact`."""
    found = {}
    for name, given in space.items():
        kind = number_type(template.parameter(name))
        is_range = isinstance(given, tuple) and len(given) == 2 and given[0] < given[1]
        found[name] = Slider(kind(given[0]), kind(given[1])) if kind is not None and is_range else given
    return found


def _choice_text(choice: Any) -> str:
    identify = getattr(choice, 'make_unique_id', None)
    return str(identify()) if identify is not None else repr(choice)


class StudyFile:
    """The file that keeps the trials of one study; the workspace may be a path or a URL."""

    def __init__(self, workspace: str, name: str, metric_digest: str = '') -> None:
        #: What the files of studies that differ in the code of their metric begin with.
        self._family = name
        self.name = f'{name}-{metric_digest}' if metric_digest else name
        self.shown_place = f'{_PLACE}/{self.name}.json'
        self._path = f'{workspace.rstrip("/")}/{self.shown_place}'

    def is_after_another(self) -> bool:
        """Whether this study is new, and there is one that differs only in the code of its metric."""
        directory, _, own = self._path.rpartition('/')
        names = file_system(directory).names(directory) if self.name != self._family else set()
        others = (f'{self._family}.json', f'{self._family}-')  # the first by a kartnb that did not look at the code
        return own not in names and any(name.startswith(others) and name.endswith('.json') for name in names)

    def open(self, direction: Direction) -> Any:
        """The Optuna study with all trials in the file."""
        optuna = import_optuna()
        study = optuna.create_study(study_name=self.name, direction=direction)
        try:
            study.add_trials([_trial(optuna, entry) for entry in self._entries()])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, UnreadableResultError) as error:
            raise SweepError(
                f'The file of this search cannot be read ({type(error).__name__}): {self._path}. Remove it to start '
                'the search over; the results of its trials are kept.'
            ) from error
        return study

    def save(self, study: Any) -> None:
        """Write the finished trials of a study."""
        trials = [_entry(trial) for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
        text = json.dumps({'format': _FORMAT, 'study': self.name, 'trials': trials}, ensure_ascii=False, indent=1)
        file_system(self._path).write_bytes(self._path, text.encode())

    def _entries(self) -> list[dict[str, Any]]:
        files = file_system(self._path)
        if not files.exists(self._path):
            return []
        found = json.loads(files.read_small(self._path))
        if found['format'] != _FORMAT:
            raise ValueError('unknown format')
        trials: list[dict[str, Any]] = found['trials']
        return trials


def _entry(trial: Any) -> dict[str, Any]:
    from optuna.distributions import distribution_to_json

    return {
        'state': trial.state.name,
        'value': trial.value,
        'params': trial.params,
        'distributions': {name: distribution_to_json(each) for name, each in trial.distributions.items()},
    }


def _trial(optuna: Any, entry: dict[str, Any]) -> Any:
    from optuna.distributions import json_to_distribution

    return optuna.trial.create_trial(
        state=optuna.trial.TrialState[entry['state']],
        value=entry['value'],
        params=entry['params'],
        distributions={name: json_to_distribution(each) for name, each in entry['distributions'].items()},
    )


def import_optuna() -> Any:
    """The module of Optuna; a `MissingPackageError` where it is not installed."""
    try:
        import optuna
    except ImportError as error:
        raise MissingPackageError("Optuna is not installed: pip install 'kartnb[optuna]'") from error
    return optuna


@contextlib.contextmanager
def quiet(optuna: Any) -> Iterator[None]:
    """Keep Optuna from logging every trial: the sweep is shown anyway."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(level, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)
