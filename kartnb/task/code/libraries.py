"""What libraries' objects are called, and the code of the user's that they hold.

A function, class or object of a library counts by its qualified name. Where it holds functions or classes of the
user's, as objects of wrapt, toolz and numpy do, or where such are found under a library's name, these count as well.
"""

from __future__ import annotations

import functools
import gc
import inspect
import re
import sys
import typing
from collections import deque
from collections.abc import Iterator
from types import (
    BuiltinMethodType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    NoneType,
    WrapperDescriptorType,
)
from typing import Any

from kartnb.task.code.own import is_own

NOT_FOUND = object()
#: What a decorator in the body of a class makes of a function.
DECORATED = (classmethod, staticmethod, property, functools.cached_property)

# ----- what objects hold ----------------------------------------------------------------------------------------------

#: The type of functions that `functools.lru_cache` and `functools.cache` have wrapped.
CACHED_FUNCTION = type(functools.cache(lambda: None))


def is_bound_method(value: Any) -> bool:
    """Whether a value is a method in C of an object, such as `table.get`: it counts by the content of the object."""
    return isinstance(value, BuiltinMethodType) and not isinstance(value.__self__, ModuleType | type | NoneType)


def held_functions(value: Any) -> tuple[Any, ...] | None:
    """What a wrapper of functions holds, with the arguments that it gives them; None for anything else."""
    if isinstance(value, classmethod | staticmethod):
        return (value.__func__,)
    if isinstance(value, MethodType):
        return (value.__func__, value.__self__)
    if is_bound_method(value):
        return (value.__name__, value.__self__)
    if isinstance(value, property):
        return (value.fget, value.fset, value.fdel)
    if isinstance(value, functools.cached_property):
        return (value.func,)
    if isinstance(value, functools.partial | functools.partialmethod):
        return (value.func, *value.args, *value.keywords.items())
    if isinstance(value, functools.singledispatchmethod):
        return (value.func, dict(value.dispatcher.registry))
    wrapped = inspect.getattr_static(value, '__wrapped__', None)
    return (wrapped,) if callable(wrapped) else _held_by_library(value)


def _held_by_library(value: Any) -> tuple[Any, ...] | None:
    """What a callable object of a library holds, such as `numpy.vectorize`; None where no code of the user's is."""
    if type(value) in _NAMED or issubclass(type(value), type) or not callable(value):
        return None
    if is_own_class(type(value)) or next(own_code_in(value), None) is None:
        return None
    within, named = gc.get_referents(value), getattr(value, '__dict__', {})
    # what a library keeps for itself may change while the code runs
    unnamed = [item for item in within if item is not named and item is not type(value)]
    if not any(item is named for item in within):
        named = {}  # a proxy shows the names of what it stands for
    shown = [(name, item) for name, item in sorted(named.items()) if name not in ('_ufunc', '__doc__')]
    return (
        *(item if isinstance(item, _WRAPPING) else (name, item) for name, item in shown if _is_shown(item)),
        *(item for item in unnamed if _is_shown(item) and not any(item is other for _, other in shown)),
    )


#: Functions of libraries are known by their names.
_NAMED = (FunctionType, BuiltinMethodType, MethodDescriptorType, WrapperDescriptorType, MethodWrapperType, ModuleType)
_WRAPPING = (FunctionType, functools.partial, MethodType)
_PLAIN = (str, int, float, tuple, list, dict, NoneType)


def _is_shown(item: Any) -> bool:
    return isinstance(item, (*_WRAPPING, *_PLAIN)) or next(own_code_in(item), None) is not None


#: How many objects in an object are looked at for code of the user's.
_MOST_OBJECTS = 300


def own_code_in(value: Any, of_objects: bool = True) -> Iterator[Any]:
    """The user's functions and classes in an object of a library, in whatever attributes, containers or closures.

    With `of_objects`, the classes of objects are among them.
    """
    pending, seen = deque([value]), {id(value): value}
    while pending and len(seen) < _MOST_OBJECTS:
        item = pending.popleft()
        kind = type(item)
        if issubclass(kind, type):
            if is_own_class(item):
                yield item
            continue
        if kind is FunctionType:
            if is_own(item.__globals__.get('__name__', '__main__')):
                yield item
                continue
            within = [*(item.__closure__ or ()), *(item.__defaults__ or ()), *vars(item).values()]
        elif kind in _NAMED or kind in _PLAIN[:3] or (kind is dict and '__spec__' in item):
            continue
        else:
            if of_objects and is_own_class(kind):
                yield kind
            within = [other for other in gc.get_referents(item) if other is not kind]
        for other in within:
            if id(other) not in seen:
                seen[id(other)] = other
                pending.append(other)


def is_code(value: Any) -> bool:
    """Whether a value is a function or a class; what stands for one, as objects of wrapt do, is not."""
    return type(value) is FunctionType or issubclass(type(value), type)


def is_own_class(cls: type) -> bool:
    """Whether a class is of one of the user's modules; classes in C may name modules that do not exist."""
    return is_own(cls.__module__) and not any(
        type(item) is WrapperDescriptorType and item.__objclass__ is cls for item in vars(cls).values()
    )


# ----- names ----------------------------------------------------------------------------------------------------------


def is_ours(cls: type) -> bool:
    """Whether a class is luigi's or kartnb's, where its module does not matter."""
    return cls.__module__.partition('.')[0] in ('kartnb', 'luigi', 'builtins')


#: Classes of libraries that others often extend, and whose objects come without a name of the library.
_EXTENDED = {
    'pandas': ('DataFrame', 'Series', 'Index'),
    'polars': ('DataFrame', 'LazyFrame', 'Series', 'Expr'),
    'xarray': ('DataArray', 'Dataset'),
}


def extended_classes() -> Iterator[type]:
    """The classes of libraries in which accessors and methods of the user's are looked for, where they are loaded."""
    for module, names in _EXTENDED.items():
        for name in names if module in sys.modules else ():
            found = vars(sys.modules[module]).get(name)
            if isinstance(found, type):
                yield found


def held_under(holder: Any, name: str) -> Any:
    """What a module or class of a library holds under a name, which no code of the library is run for."""
    if isinstance(holder, ModuleType):
        return vars(holder).get(name, NOT_FOUND)
    return inspect.getattr_static(holder, name, NOT_FOUND) if isinstance(holder, type) else NOT_FOUND


def is_patch(value: Any) -> bool:
    """Whether what a library's name gives is the user's: a function, a class, or an accessor that is one."""
    if isinstance(value, (FunctionType, functools.partial, MethodType, type, *DECORATED)):
        return next(own_code_in(value), None) is not None
    held = getattr(value, '__dict__', None) if not isinstance(value, ModuleType) else None
    return isinstance(held, dict) and any(is_code(item) and is_own(item.__module__) for item in held.values())


def public_name(name: str) -> str:
    """A qualified name without the private modules on its way, which libraries move.

    >>> public_name('sklearn.linear_model._ridge.Ridge')
    'sklearn.linear_model.Ridge'
    """
    first, *between, last = name.split('.') if '<' not in name and name.count('.') else ('', name)
    return '.'.join(filter(None, (first, *(word for word in between if not word.startswith('_')), last)))


def library_name(value: Any) -> str | None:
    """The name of a function of a library, whatever it is made of; None for anything else."""
    if not callable(value) or is_bound_method(value) or not hasattr(value, '__name__'):
        return None
    if isinstance(value, CACHED_FUNCTION | MethodType | functools.partial) or typing.get_origin(value) is not None:
        return None
    owner = getattr(value, '__objclass__', None)
    module = getattr(value, '__module__', None) or getattr(owner, '__module__', None) or type(value).__module__
    if is_own(module) or next(own_code_in(value), None) is not None:
        return None
    return public_name(f'{module}.{getattr(value, "__qualname__", value.__name__)}')


# ----- readers --------------------------------------------------------------------------------------------------------

#: Names in libraries of what reads files in native code or in other processes, where nothing tells which files.
_UNSEEN_READERS = re.compile(
    r"""
    polars\.(.+\.)?(read|scan)_(?!database|clipboard|excel)\w+
    | pyarrow\.(?!parquet)(.+\.)?(open_csv|read_(csv|json|feather|table|orc)|memory_map|OSFile|ORCFile|ParquetFile)
    | pyarrow\.(.+\.)?(input_stream|LocalFileSystem|SubTreeFileSystem|FileSystemDataset)
    | pyarrow\.(.+\.)?(parquet_dataset|dataset\.dataset)
    | pandas\.(.+\.)?(read_(hdf|orc|spss)|HDFStore)
    | duckdb\.(?!typing|Duck).+ | chdb\..+ | pyreadstat\.(.+\.)?read_\w+ | datatable\.(.+\.)?fread
    | h5py\.(.+\.)?File | tables\.(.+\.)?open_file | netCDF4\.(.+\.)?M?F?Dataset | zarr\.(.+\.)?(open|load)\w*
    | xarray\.(.+\.)?open_\w+ | (rasterio|fiona|pyogrio)\.(.+\.)?(open|read)\w* | geopandas\.(.+\.)?read_\w+
    | cv2\.(imread\w*|VideoCapture|FileStorage) | soundfile\.(read|SoundFile|blocks) | torchaudio\.(.+\.)?load
    | torchvision\.io\.(.+\.)?read_\w+ | SimpleITK\.Read\w+ | pyvips\..+ | lxml\.(.+\.)?(parse|iterparse)
    | pysam\.(.+\.)?\w+File | safetensors\.(.+\.)?(safe_open|load_\w+) | tensorflow\.(io\.read_file|data\.\w+Dataset)
    | (spacy|fasttext)\.(.+\.)?load\w* | joblib\.(.+\.)?Parallel | multiprocess(ing)?\.(.+\.)?(Pool|Process)
    | concurrent\.futures\.(.+\.)?ProcessPoolExecutor
    | subprocess\.(run|Popen|call|check_call|check_output|getoutput|getstatusoutput) | os\.(system|popen|posix_spawnp?)
    | os\.(fork|spawn\w+) | asyncio\.(.+\.)?create_subprocess_\w+
    """,
    re.VERBOSE,
)


@functools.cache
def is_unseen_reader(name: str) -> bool:
    """Whether something of a library, by its qualified name, reads files that kartnb does not see.

    >>> [is_unseen_reader(name) for name in ('polars.read_csv', 'polars.DataFrame', 'pandas.read_csv')]
    [True, False, False]
    """
    return _UNSEEN_READERS.fullmatch(name) is not None


# ----- random numbers -------------------------------------------------------------------------------------------------

#: What draws from a random state of the process, by qualified names in libraries.
_SHARED_RANDOM = re.compile(
    r"""
    random\.(Random\.)?[a-z]\w*
    | numpy\.random\.(?!default_rng)(RandomState\.)?[a-z]\w*
    | torch\.(rand\w*|bernoulli|multinomial|normal|poisson|nn\.(init\.\w+|[A-Z]\w*)|utils\.data\.\w+)
    | sklearn\.(.+\.)?(train_test_split|shuffle|resample|\w*ShuffleSplit)
    | sklearn\.(ensemble|cluster|neural_network|mixture|manifold)\.(.+\.)?[A-Z]\w*
    """,
    re.VERBOSE,
)


@functools.cache
def is_shared_random(name: str) -> bool:
    """Whether something of a library, by its qualified name, draws from a random state of the process, or may.

    >>> [is_shared_random(name) for name in ('random.choice', 'numpy.random.rand', 'numpy.random.default_rng')]
    [True, True, False]
    """
    return _SHARED_RANDOM.fullmatch(name) is not None
