"""The pickler of what goes between processes. Imported only where something is sent: it needs cloudpickle."""

from __future__ import annotations

import linecache
from collections.abc import Callable
from io import BytesIO
from types import CodeType
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
    with_sources
        Whether the text of cells goes along with the code that was compiled from them.
    """

    def __init__(self, file: BytesIO, naming: Naming, with_sources: bool) -> None:
        super().__init__(file)
        self._naming = naming
        self._with_sources = with_sources
        self._sources: dict[str, str] = {}

    def persistent_id(self, value: Any) -> str | None:
        """The name of a class."""
        return self._naming(value) if isinstance(value, type) else None

    def reducer_override(self, value: Any) -> Any:
        """Let tasks of gokart's be made again from their parameters: their instances cannot be pickled."""
        if isinstance(value, luigi.Task) and 'to_str_params' in vars(value):
            state = {name: item for name, item in vars(value).items() if name not in _MADE_BY_GOKART}
            return (made_again, (type(value), value.param_kwargs, state))
        return super().reducer_override(value)

    def reduce_code(self, code: CodeType) -> tuple[Any, tuple[Any, ...]]:
        """Take the source of a cell along: the other process has no file to read it from."""
        make, arguments = super().reduce_code(code)
        source = self._source(code.co_filename) if self._with_sources else ''
        return (code_with_source, (make, arguments, source)) if source else (make, arguments)

    def _source(self, file: str) -> str:
        if file not in self._sources:
            # IPython keeps cells here; the time is None of what no file was read for
            match linecache.cache.get(file):
                case (_, None, lines, _):
                    self._sources[file] = ''.join(lines)
                case _:
                    self._sources[file] = ''
        return self._sources[file]


def dumps(value: Any, naming: Naming = lambda cls: None, *, with_sources: bool = True) -> bytes:
    """Pickle a value."""
    buffer = BytesIO()
    TaskPickler(buffer, naming, with_sources).dump(value)
    return buffer.getvalue()


def code_with_source(make: Callable[..., CodeType], arguments: tuple[Any, ...], source: str) -> CodeType:
    """A code, whose source is then known to `linecache`, and so to tracebacks and `inspect`."""
    code = make(*arguments)
    file = code.co_filename
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    return code


def made_again(cls: type[luigi.Task], values: dict[str, Any], state: dict[str, Any]) -> luigi.Task:
    """A task of gokart's as it was."""
    task = cls(**values)
    vars(task).update(state)
    return task
