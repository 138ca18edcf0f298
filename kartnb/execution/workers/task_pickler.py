"""The pickler of what goes between processes. Imported only where something is sent: it needs cloudpickle."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from io import BytesIO
from typing import Any

import luigi

from kartnb.storage.by_value import ByValuePickler

#: Gives a class the name under which it travels, or None where it is imported by name or pickled in its place.
Naming = Callable[[type], str | None]

#: What gokart's own tasks hang on each instance, and what their constructor makes again.
_MADE_BY_GOKART = ('to_str_params', 'run')


class TaskPickler(ByValuePickler):
    """Pickles tasks, and classes by the names under which they travel.

    Parameters
    ----------
    file
        Takes the pickle.
    naming
        Names classes.
    """

    def __init__(self, file: BytesIO, naming: Naming) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._naming = naming

    def persistent_id(self, value: Any) -> str | None:
        """The name of a class."""
        return self._naming(value) if isinstance(value, type) else None

    def reducer_override(self, value: Any) -> Any:
        """Let tasks of gokart's be made again from their parameters: their instances cannot be pickled."""
        if isinstance(value, luigi.Task) and 'to_str_params' in vars(value):
            state = {name: item for name, item in vars(value).items() if name not in _MADE_BY_GOKART}
            return (made_again, (type(value), value.param_kwargs, state))
        return super().reducer_override(value)


def dumps(value: Any, naming: Naming = lambda cls: None) -> bytes:
    """Pickle a value."""
    buffer = BytesIO()
    TaskPickler(buffer, naming).dump(value)
    return buffer.getvalue()


def made_again(cls: type[luigi.Task], values: dict[str, Any], state: dict[str, Any]) -> luigi.Task:
    """A task of gokart's as it was."""
    task = cls(**values)
    vars(task).update(state)
    return task
