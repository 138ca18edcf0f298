"""Reading pickles, whoever wrote them: kartnb, gokart (with dill, which need not be installed), or an older pandas."""

from __future__ import annotations

import builtins
import collections
import enum
import functools
import importlib
import importlib.util
import io
import marshal
import operator
import pickle
import sys
import types
import typing
import warnings
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock, RLock
from types import FunctionType
from typing import IO, Any, ClassVar, NamedTuple

from kartnb._luigi import PythonPickler, class_filler, class_maker, enum_maker
from kartnb.errors import MissingPackageError, UnreadableResultError, described

_ARGUMENTS_OF_A_CODE = 18  # since Python 3.11; older pickles have fewer, and their code does not run here


class _Missing:
    """What dill puts where a closure's cell is empty."""


@functools.cache
def _types_by_name() -> dict[str, type]:
    named = {**vars(builtins), **vars(types)}
    found = {name: value for name, value in named.items() if isinstance(value, type) and value.__module__ == 'builtins'}
    views = collections.OrderedDict[Any, Any]()
    return {
        **found,
        'PartialType': functools.partial,
        'SuperType': super,
        'ItemGetterType': operator.itemgetter,
        'AttrGetterType': operator.attrgetter,
        'DictKeysType': type({}.keys()),
        'DictValuesType': type({}.values()),
        'DictItemsType': type({}.items()),
        'OdictKeysType': type(views.keys()),
        'OdictValuesType': type(views.values()),
        'OdictItemsType': type(views.items()),
        'BufferedReaderType': io.BufferedReader,
        'BufferedWriterType': io.BufferedWriter,
        'BufferedRandomType': io.BufferedRandom,
        'TextWrapperType': io.TextIOWrapper,
        'FileType': io.FileIO,
    }


def _load_type(name: str) -> type:
    return _types_by_name()[name]


def _eval_repr(text: str) -> Any:
    return eval(text, {'__builtins__': builtins})


def _create_array(function: Callable[..., Any], arguments: Any, state: Any, attributes: Any = None) -> Any:
    array = function(*arguments)
    array.__setstate__(state)
    if attributes is not None:
        array.__dict__.update(attributes)
    return array


def _create_dtypemeta(scalar_type: Any) -> Any:
    import numpy as np

    return np.dtype if scalar_type is None else type(np.dtype(scalar_type))


def _import_module(name: str, safe: bool = False) -> Any:
    """Import a module, or find the attribute of one."""
    try:
        return importlib.import_module(name)
    except ImportError:
        module, _, attribute = name.rpartition('.')
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError, ValueError):
            if safe:
                return None
            raise


def _create_namedtuple(name: str, fields: Any, module: str, defaults: Any = None) -> Any:
    existing = getattr(sys.modules.get(module), name, None)
    if existing is not None:
        return existing
    return collections.namedtuple(name, fields, defaults=defaults, module=module)


def _create_code(*arguments: Any) -> types.CodeType:
    if not isinstance(arguments[0], int):  # an older form of the line table comes first
        arguments = arguments[1:]
    if len(arguments) != _ARGUMENTS_OF_A_CODE:
        raise ValueError('it holds a function that was pickled under another version of Python')
    as_bytes: list[Any] = [
        a.encode() if i in (6, 14, 15) and isinstance(a, str) else a for i, a in enumerate(arguments)
    ]
    code: types.CodeType = types.CodeType(*as_bytes)
    return code


def _create_function(
    code: types.CodeType,
    namespace: dict[str, Any] | None,
    name: str | None = None,
    defaults: Any = None,
    closure: Any = None,
    attributes: Any = None,
    keyword_defaults: Any = None,
) -> types.FunctionType:
    made = types.FunctionType(code, {} if namespace is None else namespace, name, defaults, closure)
    made.__dict__.update(attributes or {})
    if keyword_defaults is not None:
        made.__kwdefaults__ = keyword_defaults
    made.__globals__.setdefault('__builtins__', builtins)
    return made


def _create_cell(*contents: Any) -> types.CellType:
    if not contents or contents[0] is _Missing:
        return types.CellType()
    return types.CellType(contents[0])


def _create_ftype(kind: Any, function: Any, arguments: Any, keywords: Any) -> Any:
    return kind(function, *(arguments or ()), **(keywords or {}))


def _create_typing_tuple(arguments: Any, *_: Any) -> Any:
    return typing.Tuple[()] if not arguments or arguments == ((),) else typing.Tuple[arguments]  # noqa: UP006


def _create_text_buffer(value: Any, position: int, closed: bool) -> io.StringIO:
    buffer = io.StringIO(value)
    if closed:
        buffer.close()
    else:
        buffer.seek(position)
    return buffer


def _create_lock(locked: bool, *_: Any) -> Any:
    lock = Lock()
    if locked:
        lock.acquire()
    return lock


def _create_rlock(count: int, owner: Any, *_: Any) -> Any:
    return RLock()  # held by nobody: its owner was a thread of another process


def _create_weakref(obj: Any, *arguments: Any) -> Any:
    return weakref.ref(collections.UserDict() if obj is None else obj, *arguments)


def _setitems(target: dict[Any, Any], source: dict[Any, Any]) -> None:
    target.update(source)


def _get_attr(obj: Any, name: str) -> Any:
    return getattr(obj, name, None) or getattr(builtins, name)


def _getattr(owner: Any, name: str, _: str = '') -> Any:
    found = vars(owner).get(name) if isinstance(owner, type) else None
    return getattr(owner, name) if found is None else found


NAMES: dict[str, Any] = {
    '_CELL_EMPTY': _Missing,
    '_CELL_REF': None,
    '_create_array': _create_array,
    '_create_cell': _create_cell,
    '_create_code': _create_code,
    '_create_dtypemeta': _create_dtypemeta,
    '_create_ftype': _create_ftype,
    '_create_function': _create_function,
    '_create_lock': _create_lock,
    '_create_namedtuple': _create_namedtuple,
    '_create_rlock': _create_rlock,
    '_create_stringi': _create_text_buffer,
    '_create_stringo': _create_text_buffer,
    '_create_typing_tuple': _create_typing_tuple,
    '_create_weakref': _create_weakref,
    '_eval_repr': _eval_repr,
    '_get_attr': _get_attr,
    '_getattr': _getattr,
    '_import_module': _import_module,
    '_load_type': _load_type,
    '_setitems': _setitems,
    '_unmarshal': marshal.loads,
}


class RequiredTask(NamedTuple):
    """A task that another one requires, in a tree or table of tasks."""

    name: str
    unique_id: str


@dataclass
class TaskInfo:
    """What a tree or table of tasks says of one task; its pickles name it as gokart does."""

    name: str
    unique_id: str
    output_paths: list[str]
    params: dict[str, Any]
    processing_time: str
    is_complete: str
    task_log: dict[str, Any]
    requires: Any  #: `RequiredTask`s, nested as the task requires them.
    #: Not in the `repr`: tasks that several others require would be in it many times over.
    children_task_infos: list[TaskInfo] = field(default_factory=list, repr=False)

    def get_task_id(self) -> str:
        """The name and the unique id."""
        return f'{self.name}_{self.unique_id}'

    def get_task_title(self) -> str:
        """The line of the task in a tree."""
        return f'({self.is_complete}) {self.name}[{self.unique_id}]'

    def get_task_detail(self) -> str:
        """What follows the title in a tree with details."""
        details = {
            'parameter': self.params,
            'output': self.output_paths,
            'time': self.processing_time,
            'task_log': self.task_log,
        }
        return f'({", ".join(f"{name}={value}" for name, value in details.items())})'

    def task_info_dict(self) -> dict[str, Any]:
        """The row of the task in a table."""
        return {name: value for name, value in vars(self).items() if name != 'children_task_infos'}

    def upstream_first(self) -> list[TaskInfo]:
        """All tasks of the tree, each once, after those below it; found without recursion."""
        order: list[TaskInfo] = []
        seen = {id(self)}
        stack = [(self, iter(self.children_task_infos))]
        while stack:
            info, rest = stack[-1]
            following = next((child for child in rest if id(child) not in seen), None)
            if following is None:
                stack.pop()
                order.append(info)
            else:
                seen.add(id(following))
                stack.append((following, iter(following.children_task_infos)))
        return order


_PLACES: dict[tuple[str, str], str] = {
    ('gokart.target', 'LargeDataFrameProcessor'): 'kartnb.storage.formats.models:LargeDataFrameProcessor',
    ('gokart.target', 'LargeDataFrameProcessor.load'): 'kartnb.storage.formats.models:LargeDataFrameProcessor.load',
    ('gokart.tree.task_info_formatter', 'TaskInfo'): 'kartnb.storage.unpickling:TaskInfo',
    ('gokart.tree.task_info_formatter', 'RequiredTask'): 'kartnb.storage.unpickling:RequiredTask',
}


def find(module: str, name: str) -> Any:
    """Return what a pickle calls ``module.name``: kartnb's own, or gokart's if it is installed."""
    place = _PLACES.get((module, name))
    if place is None:
        place = f'{module}:{name}'
    module, _, name = place.partition(':')
    found: Any = importlib.import_module(module)
    for part in name.split('.'):
        found = getattr(found, part)
    return found


def gokarts_name(obj: Any) -> tuple[str, str] | None:
    """Return the module and name by which gokart knows its own counterpart of `obj`, or None."""
    place = f'{getattr(obj, "__module__", "")}:{getattr(obj, "__qualname__", "")}'
    return next((name for name, known in _PLACES.items() if known == place), None)


class _NamingPickler(PythonPickler):  # type: ignore[misc]
    """Names classes as gokart does, without importing them as the pickler in C would. For small values."""

    def save_global(self, obj: Any, name: str | None = None) -> None:
        names = gokarts_name(obj)
        if names is None:
            super().save_global(obj, name)
            return
        for text in names:
            self.save(text)
        self.write(pickle.STACK_GLOBAL)
        self.memoize(obj)

    dispatch: ClassVar[dict[type, Any]] = {**PythonPickler.dispatch, type: save_global, FunctionType: save_global}

    def save(self, obj: Any, *args: Any, **kwargs: Any) -> None:
        if type(obj) is TaskInfo and id(obj) not in self.memo:
            # what is below it first, to be dropped again when it is read: a long chain would need deep recursion
            for info in obj.upstream_first()[:-1]:
                super().save(info)
                self.write(pickle.POP)
        super().save(obj, *args, **kwargs)


def dumps_for_gokart(obj: Any) -> bytes:
    """Pickle a value so that gokart reads it with its own classes."""
    file = io.BytesIO()
    _NamingPickler(file, 4).dump(obj)
    return file.getvalue()


def registered_class(module: str, qualname: str) -> type | None:
    """Return the class that a module has now under a qualified name, or None.

    >>> registered_class('collections', 'OrderedDict')
    <class 'collections.OrderedDict'>
    """
    try:
        found = functools.reduce(getattr, qualname.split('.'), sys.modules[module])
    except (KeyError, AttributeError):
        return None
    return found if isinstance(found, type) else None


class NotebookClasses:
    """The classes of one pickle: what cloudpickle and dill call to make them finds those that exist already.

    `replacements`, for dill, says which class takes the place of the n-th that the pickle makes: dill sets the
    qualified name of a class only after making it, so a pickle with such classes is read twice.
    """

    def __init__(self, replacements: Mapping[int, type] | None = None) -> None:
        self._replacements = replacements or {}
        self._made_by_dill: list[type] = []
        self._existing: set[type] = set()

    def replacements(self) -> dict[int, type]:
        """Return the classes that should have taken the place of those that a pickle of dill made."""
        found = {i: registered_class(made.__module__, made.__qualname__) for i, made in enumerate(self._made_by_dill)}
        return {i: cls for i, cls in found.items() if cls is not None and cls is not self._made_by_dill[i]}

    def find(self, module: str, name: str) -> Callable[..., Any] | None:
        """Return the replacement of a function that a pickle names, or None."""
        method = _REPLACED.get((module, name))
        return None if method is None else types.MethodType(method, self)

    def make_skeleton(self, metaclass: Any, name: str, bases: Any, namespace: dict[str, Any], *rest: Any) -> type:
        """Do what cloudpickle does for a class, unless the class exists."""
        existing = registered_class(namespace.get('__module__', ''), namespace.get('__qualname__', name))
        if existing is not None:
            return self._keep(existing)
        return class_maker()(metaclass, name, bases, namespace, *rest)

    def make_enum(self, bases: Any, name: str, qualname: str, members: Any, module: str, *rest: Any) -> type:
        """Do what cloudpickle does for an enum, unless the class exists."""
        existing = registered_class(module, qualname)
        if existing is not None:
            return self._keep(existing)
        return enum_maker()(bases, name, qualname, members, module, *rest)

    def fill(self, cls: type, state: Any) -> type:
        """Give a class its attributes as cloudpickle does, unless it has its own."""
        return cls if cls in self._existing else class_filler()(cls, state)

    def create_type(self, metaclass: Any, *arguments: Any) -> Any:
        """Do what dill does for a class, unless another takes its place."""
        if not (isinstance(metaclass, type) and issubclass(metaclass, type) and len(arguments) == 3):
            return metaclass(*arguments)
        if issubclass(metaclass, enum.EnumMeta):  # dill cannot rebuild an enum, so there is no second reading
            name, _, namespace = arguments
            existing = registered_class(namespace.get('__module__', ''), name)
            if existing is not None:
                return self._keep(existing)
        return self._made(lambda: metaclass(*arguments))

    def new_class(self, name: str, bases: Any = (), options: Any = None, fill: Any = None) -> Any:
        """Do what dill does for a generic class, unless another takes its place."""
        return self._made(lambda: types.new_class(name, bases, options, fill))

    def set_attribute(self, obj: Any, name: str, value: Any) -> None:
        """Set an attribute as dill asks, but not of a class that existed before."""
        if not (isinstance(obj, type) and obj in self._existing):
            setattr(obj, name, value)

    def _made(self, make: Callable[[], type]) -> type:
        replacement = self._replacements.get(len(self._made_by_dill))
        made = make() if replacement is None else self._keep(replacement)
        self._made_by_dill.append(made)
        return made

    def _keep(self, existing: type) -> type:
        self._existing.add(existing)
        return existing


_REPLACED: dict[tuple[str, str], Callable[..., Any]] = {
    ('cloudpickle.cloudpickle', '_make_skeleton_class'): NotebookClasses.make_skeleton,
    ('cloudpickle.cloudpickle', '_make_skeleton_enum'): NotebookClasses.make_enum,
    ('cloudpickle.cloudpickle', '_class_setstate'): NotebookClasses.fill,
    ('cloudpickle.cloudpickle_fast', '_class_setstate'): NotebookClasses.fill,
    ('dill._dill', '_create_type'): NotebookClasses.create_type,
    ('types', 'new_class'): NotebookClasses.new_class,
    ('builtins', 'setattr'): NotebookClasses.set_attribute,
    ('__builtin__', 'setattr'): NotebookClasses.set_attribute,
}


_DILL = frozenset({'dill', 'dill._dill', 'dill.dill'})


class _Names:
    """Finds what a pickle names; a part of the unpicklers below."""

    classes: NotebookClasses
    saw_pandas = False

    def find_class(self, module: str, name: str) -> Any:
        """Find what a pickle names."""
        replacement = self.classes.find('dill._dill' if module in _DILL else module, name)
        if replacement is not None:
            return replacement
        if module in _DILL:
            return _dill(name)
        if module == '__builtin__' and name in ('__main__', 'NoneType'):
            return vars(sys.modules['__main__']) if name == '__main__' else type(None)
        if module.startswith('pandas'):
            self.saw_pandas = True
        elif module.startswith('gokart.'):
            return find(module, name)
        elif module.startswith('kartnb.'):
            module = _todays_kartnb(module, name)
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
    if name in NAMES:
        return NAMES[name]
    if name == '_dill':  # the module itself, of which newer versions take attributes
        return types.SimpleNamespace(**NAMES)
    if importlib.util.find_spec('dill') is None:
        raise MissingPackageError(f'it was pickled with dill and needs its {name}: pip install dill')
    return getattr(importlib.import_module('dill._dill'), name)


#: What results may hold of kartnb beside its public names: task classes of notebooks bring the first three along.
_ROOMS = {
    **dict.fromkeys(('Defaults', 'ParameterTable'), 'kartnb.task.metaclass'),
    '_PublicParameters': 'kartnb.task.describe',
    'Slider': 'kartnb.task.values',
    'LosslessFileProcessor': 'kartnb.storage.formats.exact_text',
    'FunctionFileProcessor': 'kartnb.storage.formats.registry',
    **dict.fromkeys(('ParquetFileProcessor', 'FeatherFileProcessor'), 'kartnb.storage.formats.tables'),
    **{
        f'{kind}FileProcessor': 'kartnb.storage.formats.simple'
        for kind in ('Pickle', 'Text', 'Gzip', 'Binary', 'Npz', 'Xml')
    },
}


def _todays_kartnb(module: str, name: str) -> str:
    """Return the module in which this kartnb has what an earlier one had elsewhere."""
    outer = name.partition('.')[0]
    try:
        if hasattr(importlib.import_module(module), outer):
            return module
    except ModuleNotFoundError:
        pass
    public = importlib.import_module('kartnb').__all__
    return 'kartnb' if outer in public else _ROOMS.get(outer, module)


def _todays_numpy(module: str, name: str) -> str:
    """Return the module in which the installed numpy has what another version had elsewhere."""
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

    Raises UnreadableResultError when the file goes on after the pickle, or the pickle names a class of ``__main__``
    that does not exist, and MissingPackageError when the value needs a package that is not installed.
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
    except (EOFError, UnreadableResultError, MissingPackageError):  # no other version of pandas reads these
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
            f'{described(error)}; perhaps a newer pandas than the installed {version} pickled it'
        ) from error
