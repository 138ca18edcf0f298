"""The memory of a search: its finished trials, as a small JSON file in the workspace, wherever that is.

A trial is in the file as soon as its batch has ended; what a killed process had begun is asked for again, and its
results are cached tasks. So the file is all that a search needs to go on, on a local disk as in an object store.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from kartnb.errors import MissingPackageError, SweepError
from kartnb.execution.sweeps.result import Direction
from kartnb.storage.filesystem import file_system

_FORMAT = 1


class StudyFile:
    """Where the trials of one study are kept.

    Parameters
    ----------
    workspace
        The workspace directory: a path, or a URL.
    name
        The name of the study.
    """

    def __init__(self, workspace: str, name: str) -> None:
        self.name = name
        self.shown_place = f'log/sweep/{name}.json'
        self._path = f'{workspace.rstrip("/")}/{self.shown_place}'

    def open(self, direction: Direction) -> Any:
        """The study of Optuna's with all trials that are kept."""
        optuna = import_optuna()
        study = optuna.create_study(study_name=self.name, direction=direction)
        try:
            study.add_trials([_trial(optuna, kept) for kept in self._kept()])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SweepError(
                f'The file of this search cannot be read ({type(error).__name__}): {self._path}. Remove it to search '
                'anew; the results of its trials are kept.'
            ) from error
        return study

    def save(self, study: Any) -> None:
        """Keep the finished trials of a study."""
        trials = [_plain(trial) for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
        text = json.dumps({'format': _FORMAT, 'study': self.name, 'trials': trials}, ensure_ascii=False, indent=1)
        file_system(self._path).write_bytes(self._path, text.encode())

    def _kept(self) -> list[dict[str, Any]]:
        files = file_system(self._path)
        if not files.exists(self._path):
            return []
        found = json.loads(files.read_bytes(self._path))
        if found['format'] != _FORMAT:
            raise ValueError('another format')
        trials: list[dict[str, Any]] = found['trials']
        return trials


def import_optuna() -> Any:
    """Optuna.

    Raises
    ------
    MissingPackageError
        When it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise MissingPackageError("Optuna is not installed: pip install 'kartnb[optuna]'") from error
    return optuna


@contextlib.contextmanager
def quiet(optuna: Any) -> Iterator[None]:
    """Keep Optuna from telling of each trial: the sweep is shown itself."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(level, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)


def _plain(trial: Any) -> dict[str, Any]:
    from optuna.distributions import distribution_to_json

    return {
        'state': trial.state.name,
        'value': trial.value,
        'params': trial.params,
        'distributions': {name: distribution_to_json(each) for name, each in trial.distributions.items()},
    }


def _trial(optuna: Any, kept: dict[str, Any]) -> Any:
    from optuna.distributions import json_to_distribution

    return optuna.trial.create_trial(
        state=optuna.trial.TrialState[kept['state']],
        value=kept['value'],
        params=kept['params'],
        distributions={name: json_to_distribution(each) for name, each in kept['distributions'].items()},
    )
