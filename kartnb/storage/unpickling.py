"""Reading pickles, whoever wrote them: kartnb, gokart (with dill, which need not be installed), or an older pandas."""

from __future__ import annotations

import importlib
import importlib.util
import io
import pickle
import sys
import types
import warnings
from typing import IO, Any

from kartnb.errors import MissingPackageError, UnreadableResultError
from kartnb.storage.notebook_classes import NotebookClasses

_DILL = frozenset({'dill', 'dill._dill', 'dill.dill'})


class _Names:
    """Finds what a pickle names; a part of the unpicklers below."""

    classes: NotebookClasses
    saw_pandas = False

    def find_class(self, module: str, name: str) -> Any:
        """Find what a pickle names."""
        standin = self.classes.find('dill._dill' if module in _DILL else module, name)
        if standin is not None:
            return standin
        if module in _DILL:
            return _dill(name)
        if module == '__builtin__' and name in ('__main__', 'NoneType'):
            return vars(sys.modules['__main__']) if name == '__main__' else type(None)
        if module.startswith('pandas'):
            self.saw_pandas = True
        elif module.startswith('gokart.'):
            return _gokart(module, name)
        elif module.startswith('numpy.'):
            module = _todays_numpy(module, name)
        try:
            return super().find_class(module, name)  # type: ignore[misc]
        except AttributeError as error:
            if module == '__main__':
                raise UnreadableResultError(f'{name} is not defined here: run the cell that defines it') from error
            raise


class KartUnpickler(_Names, pickle.Unpickler):
    """Reads pickles."""

    def __init__(self, file: IO[bytes], classes: NotebookClasses) -> None:
        super().__init__(file)
        self.classes = classes


def _dill(name: str) -> Any:
    from kartnb.storage.dill_names import NAMES

    if name in NAMES:
        return NAMES[name]
    if name == '_dill':  # the module itself, of which newer versions take attributes
        return types.SimpleNamespace(**NAMES)
    if importlib.util.find_spec('dill') is None:
        raise MissingPackageError(f'it was pickled with dill and needs its {name}: pip install dill')
    return getattr(importlib.import_module('dill._dill'), name)


def _gokart(module: str, name: str) -> Any:
    from kartnb.storage.gokart_names import find

    return find(module, name)


def _todays_numpy(module: str, name: str) -> str:
    """Give the module in which the installed numpy has what another version had elsewhere."""
    part = module.removeprefix('numpy._core').removeprefix('numpy.core')
    if part == module:
        return module
    try:
        if hasattr(importlib.import_module(f'numpy._core{part}'), name):
            return f'numpy._core{part}'
    except ImportError:
        pass
    return f'numpy.core{part}'


def load(file: IO[bytes]) -> Any:
    """Read a value from a pickle.

    Raises
    ------
    kartnb.errors.UnreadableResultError
        When the file goes on after the pickle, or the pickle names a class of ``__main__`` that does not exist.
    kartnb.errors.MissingPackageError
        When the value needs a package that is not installed.
    """
    if not file.seekable():
        file = io.BytesIO(file.read())
    start = file.tell()
    classes = NotebookClasses()
    value = _load_with(file, classes)
    replacements = classes.replacements()
    if replacements:
        file.seek(start)
        value = _load_with(file, NotebookClasses(replacements))
    if file.read(1):
        raise UnreadableResultError('bytes follow after the end of the pickle')
    return value


def _load_with(file: IO[bytes], classes: NotebookClasses) -> Any:
    start = file.tell()
    unpickler = KartUnpickler(file, classes)
    try:
        return unpickler.load()
    except (EOFError, UnreadableResultError, MissingPackageError):
        raise
    except Exception as error:
        if not unpickler.saw_pandas:
            raise
        file.seek(start)
        return _load_of_an_older_pandas(file, classes, error)


def _load_of_an_older_pandas(file: IO[bytes], classes: NotebookClasses, error: Exception) -> Any:
    """Read with pandas' knowledge of its older versions, as gokart does."""
    compat: Any = importlib.import_module('pandas.compat.pickle_compat')
    unpickler_class: Any = type('unpickler_class', (_Names, compat.Unpickler), {})

    unpickler = unpickler_class(file)
    unpickler.classes = classes
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            return unpickler.load()
    except Exception:
        version = sys.modules['pandas'].__version__
        raise UnreadableResultError(
            f'{type(error).__name__}: {error}; perhaps a newer pandas than the installed {version} pickled it'
        ) from error
