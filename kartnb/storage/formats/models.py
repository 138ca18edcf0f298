"""Results in zip files: models with the function that loads them, and large frames."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import re
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from kartnb.errors import UnreadableResultError, WrongValueError, described
from kartnb.storage import pickling
from kartnb.storage.files import FULL, raise_storage_error, sweep_litter, temporary_name
from kartnb.storage.filesystem import file_system
from kartnb.storage.locks import TaskLockParams
from kartnb.storage.targets import FileTarget, TargetOnKart, add_unique_id

if TYPE_CHECKING:
    import pandas as pd

__all__ = ['LargeDataFrameProcessor', 'LoadFunction', 'ModelTarget', 'SaveFunction', 'make_model_target', 'pack']

SaveFunction: TypeAlias = Callable[[Any, str], Any]
LoadFunction: TypeAlias = Callable[[str], Any]

_PIECE = re.compile(r'data_(\d+)\.pkl')
_MODEL = 'model.pkl'
_LOAD_FUNCTION = 'load_function.pkl'
# the fastest: models and frames are mostly numbers, which hardly shrink
_LEVEL = 1
_DAMAGED = (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, KeyError, NotImplementedError, RuntimeError, ValueError)


class ModelTarget(FileTarget):
    """A result that functions save to a path and load from it, kept in one zip file together with the load function.

    ``load_function(path)`` gives the result, ``save_function(result, path)`` saves it at the path, or beside it in
    files or directories whose names begin in any way. Without a load function the one in the zip file is used. Each
    dump and load makes a directory of its own beside the local `temporary_directory`.
    """

    def __init__(
        self,
        file_path: str,
        temporary_directory: str,
        load_function: LoadFunction | None,
        save_function: SaveFunction | None,
        task_lock_params: TaskLockParams | None = None,
    ) -> None:
        self._place = file_path
        self._temporary_directory = temporary_directory
        self._load_function = load_function
        self._save_function = save_function
        self._task_lock_params = task_lock_params

    def _load(self) -> Any:
        with _private_directory(self._temporary_directory) as directory:
            self._unpack(directory)
            load = self._load_function or self._packed_load_function(directory)
            try:
                return load(os.path.join(directory, _MODEL))
            except UnreadableResultError as error:
                raise self._unreadable(error) from error
            except FileNotFoundError as error:
                if not str(error.filename or '').startswith(directory):
                    raise
                raise UnreadableResultError(
                    f'{self._place} has no {os.path.basename(error.filename)!r}, which its load function reads: let '
                    'the save function write files whose names begin with the path that it is given.',
                    self._place,
                ) from error

    def _unpack(self, directory: str) -> None:
        with file_system(self._place).open_read(self._place) as file:
            try:
                with zipfile.ZipFile(file) as archive:
                    archive.extractall(directory)
            except OSError as error:
                if error.errno in FULL:
                    raise_storage_error(error, directory, 'written')
                raise self._unreadable(error) from error  # a place in the file, or a name, that cannot be
            except (*_DAMAGED, zlib.error) as error:
                raise self._unreadable(error) from error

    def _packed_load_function(self, directory: str) -> LoadFunction:
        try:
            with open(os.path.join(directory, _LOAD_FUNCTION), 'rb') as file:
                load: LoadFunction = pickling.load(file)
        except Exception as error:
            raise self._unreadable(error) from error
        return load

    def _unreadable(self, error: Exception) -> UnreadableResultError:
        detail = str(error) if isinstance(error, UnreadableResultError) else described(error)
        return UnreadableResultError(
            f'{self._place} cannot be read ({detail}): it is damaged, or not a zip file of a model. '
            'Delete it, or build its task with rerun=True.',
            self._place,
        )

    def _dump(
        self,
        obj: Any,
        task_params: dict[str, str] | None = None,
        custom_labels: dict[str, str] | None = None,
        required_task_outputs: Any = None,
    ) -> None:
        if self._save_function is None:
            raise TypeError(f'{self._place} was made without a save_function, so nothing can be dumped to it')
        with _private_directory(self._temporary_directory) as directory:
            self._save_function(obj, os.path.join(directory, _MODEL))
            with open(os.path.join(directory, _LOAD_FUNCTION), 'wb', 0) as file:
                pickling.dump(self._load_function, file)
            with file_system(self._place).writing(self._place) as file:
                pack(directory, file)


@contextlib.contextmanager
def _private_directory(wanted: str) -> Iterator[str]:
    """Make a directory that only this call uses, and remove it in the end. Clear up after killed processes."""
    above, name = os.path.split(wanted.rstrip('/\\'))
    directory = os.path.join(above, temporary_name(name))
    try:
        os.makedirs(directory)
    except OSError as error:
        raise_storage_error(error, directory, 'written')
    try:
        sweep_litter(above, os.listdir(above or '.'))
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def pack(directory: str, file: Any) -> None:
    """Write all that is in a directory into a zip file, in the order of the names."""
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        for above, directories, files in os.walk(directory):
            directories.sort()
            for name in sorted([*directories, *files]):
                path = os.path.join(above, name)
                archive.write(path, os.path.relpath(path, directory))


def make_model_target(
    file_path: str,
    temporary_directory: str,
    save_function: SaveFunction | None,
    load_function: LoadFunction | None,
    unique_id: str | None = None,
    task_lock_params: TaskLockParams | None = None,
) -> TargetOnKart:
    """Return the target for a result that functions of its own save and load (see `ModelTarget`).

    `file_path` is the zip file, used as it is; `unique_id` is put before its extension. `temporary_directory` is a
    local directory in which temporary directories are made.

    >>> from pathlib import Path
    >>> target = make_model_target(
    ...     'words.zip', 'tmp', lambda words, path: Path(path).write_text(words), lambda path: Path(path).read_text()
    ... )
    >>> target.dump('so many')
    >>> target.load()
    'so many'
    """
    path = add_unique_id(file_path, unique_id)
    digest = hashlib.md5(path.encode(), usedforsecurity=False).hexdigest()
    directory = os.path.join(temporary_directory, digest)
    return ModelTarget(path, directory, load_function, save_function, task_lock_params)


class LargeDataFrameProcessor:
    """Saves a frame as pickles of at most about `max_byte` bytes of values each.

    It is loaded with its rows in their order.
    """

    def __init__(self, max_byte: int) -> None:
        self.max_byte = int(max_byte)

    def save(self, df: pd.DataFrame, file_path: str) -> None:
        """Save the pieces in the directory of a path; its name does not count, as in gokart."""
        import pandas as pd

        if not isinstance(df, pd.DataFrame):
            raise WrongValueError(f'a zip file of a large frame takes a pandas DataFrame, not {type(df).__name__}')
        directory = os.path.dirname(file_path)
        if directory:
            os.makedirs(directory, exist_ok=True)
        for i, (start, end) in enumerate(_row_ranges(df, self.max_byte)):
            with open(os.path.join(directory, f'data_{i}.pkl'), 'wb', 0) as file:
                pickling.dump(df.iloc[start:end], file)

    @staticmethod
    def load(file_path: str) -> pd.DataFrame:
        """Load the frame from the pieces in the directory of a path."""
        import pandas as pd

        directory = os.path.dirname(file_path) or '.'
        numbered = {int(match[1]): match[0] for match in map(_PIECE.fullmatch, os.listdir(directory)) if match}
        if not numbered or max(numbered) != len(numbered) - 1:
            raise UnreadableResultError('pieces of the large frame are missing')
        pieces = [_load_piece(os.path.join(directory, numbered[i])) for i in sorted(numbered)]
        frame: pd.DataFrame = pieces[0] if len(pieces) == 1 else pd.concat(pieces)
        return frame


def _load_piece(path: str) -> Any:
    with open(path, 'rb') as file:
        return pickling.load(file)


def _row_ranges(frame: pd.DataFrame, max_byte: int) -> list[tuple[int, int]]:
    """Return the first row and the row after the last of each piece: gokart's pieces, but none that is empty."""
    rows, columns = frame.shape
    # the values of no rows have the type of all: their size is known without making them
    size = frame.iloc[:0].to_numpy().dtype.itemsize * rows * columns
    pieces = max(1, min(rows, size // max_byte + 1))
    short, longer = divmod(rows, pieces)
    ends = [short * i + min(i, longer) for i in range(pieces + 1)]
    return list(itertools.pairwise(ends))
