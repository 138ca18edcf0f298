"""The settings of the building process, as workers have them while they run its tasks.

luigi's configuration, the command line and the file formats stay in use until a build sends others. The options of
libraries are in use while a parcel is worked on; afterwards a worker that lives on, such as one of Dask's, has its own
again. A library that a worker has not imported gets its options when a task imports it.

`OPTIONS` is the table of what is read and how it is used elsewhere: a library more is an entry more. `docs/building.md`
lists it.
"""

from __future__ import annotations

import builtins
import contextlib
import contextvars
import importlib
import importlib.util
import locale
import logging
import os
import pickle
import re
import sys
import time
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from configparser import RawConfigParser
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NamedTuple, TypeAlias

import luigi
from luigi.cmdline_parser import CmdlineParser
from luigi.configuration import LuigiTomlParser

from kartnb._luigi import pandas_options, set_command_line
from kartnb.capture.capture import users_root_level
from kartnb.compat.doors import as_gokart, is_gokart
from kartnb.errors import described
from kartnb.storage.formats.registry import packed_formats, unpack_formats

_VARIABLE = re.compile(r'\$\{([^}]+)\}')
_Luigis: Any = CmdlineParser
#: Settings of matplotlib that belong to a process and its windows.
_OF_WINDOWS = ('backend', 'interactive', 'toolbar', 'webagg', 'tk.')
#: pandas has another default for it in a terminal than in a notebook.
_DIFFERS_BY_PLACE = 'display.max_columns'
#: Puts something back as it was.
Undo: TypeAlias = Callable[[], object]


class Option(NamedTuple):
    """How the options of one library travel.

    `read` gives them by name, and `use` is given those of the building process and gives what undoes it. Neither is
    called where the library is not imported.
    """

    read: Callable[[], dict[str, Any]]
    use: Callable[[dict[str, Any]], Undo]


@dataclass(frozen=True)
class Settings:
    """Settings that tasks read: defaults of parameters, file formats, and the options of libraries."""

    #: luigi's configuration by section and name, not interpolated.
    sections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: The environment variables that it refers to.
    variables: Mapping[str, str] = field(default_factory=dict)
    #: The arguments of the command line of `kartnb.run`, by luigi's names.
    command_line: Mapping[str, Any] = field(default_factory=dict)
    #: The registered file formats, pickled.
    formats: bytes = b''
    #: The options of each library in `OPTIONS` that is imported, pickled.
    options: Mapping[str, bytes] = field(default_factory=dict)
    #: Whether ``import gokart`` means kartnb.
    is_gokart: bool = False


def current_settings() -> Settings:
    """The settings of this process, and of the thread that asks."""
    sections = _sections(luigi.configuration.get_config())
    named = {
        name for section in sections.values() for text in section.values() for name in _VARIABLE.findall(str(text))
    }
    parser = _Luigis.get_instance()
    given = {} if parser is None else {name: value for name, value in vars(parser.known_args).items() if value}
    variables = {name: os.environ[name] for name in named if name in os.environ}
    return Settings(sections, variables, given, packed_formats(), current_options(OPTIONS), is_gokart())


def current_options(names: Sequence[str] | Mapping[str, Option]) -> dict[str, bytes]:
    """The options of those of these libraries that are imported, pickled."""
    return {name: _packed(name, OPTIONS[name].read()) for name in names if name in sys.modules}


def _sections(config: Any) -> dict[str, dict[str, Any]]:
    if isinstance(config, LuigiTomlParser):  # a `ConfigParser` too, which has no sections
        return dict(config.data)
    return {name: dict(config.items(name, raw=True)) for name in config.sections()}


def _packed(library: str, options: dict[str, Any]) -> bytes:
    from kartnb.execution.workers import task_pickler

    try:
        return task_pickler.dumps(options)
    except Exception:  # whatever the objects in them do
        sent = {name: value for name, value in options.items() if _can_be_sent(library, name, value)}
        return task_pickler.dumps(sent)


def _can_be_sent(library: str, name: str, value: Any) -> bool:
    from kartnb.execution.workers import task_pickler

    try:
        task_pickler.dumps(value)
    except Exception as error:
        warnings.warn(f'{library}: {name} is not set in workers, because {described(error)}.', stacklevel=2)
        return False
    return True


class SettingsKeeper:
    """In a worker process: applies the settings of the building process."""

    def __init__(self) -> None:
        self._used: Settings | None = None

    def use(self, settings: Settings) -> None:
        """Apply these settings, except for the options of libraries, unless they are in use already."""
        if settings == self._used:
            return
        if settings.is_gokart:
            as_gokart()
        config: Any = luigi.configuration.get_config()
        if isinstance(config, LuigiTomlParser):
            config.data = dict(settings.sections)
        else:
            for section in config.sections():
                config.remove_section(section)
            RawConfigParser.read_dict(config, settings.sections)
        os.environ.update(settings.variables)
        given = settings.command_line
        set_command_line(_CommandLine(Namespace(**given)) if given else None)
        unpack_formats(settings.formats)
        self._used = settings


class _CommandLine:
    """A parsed command line, as far as luigi's parameters read it."""

    def __init__(self, known_args: Namespace) -> None:
        self.known_args = known_args


@contextmanager
def options_in_use(packed: Mapping[str, bytes]) -> Iterator[None]:
    """Use the options of libraries, those of libraries that are imported later too; put back what was before."""
    undo: list[Undo] = []
    imports = _Imports()
    try:
        for name, data in packed.items():
            imports.when_imported(name, partial(_use, OPTIONS[name], data, imports, undo))
        yield
    finally:
        imports.forget()
        for put_back in reversed(undo):
            put_back()


def users_context() -> contextvars.Context:
    """A new context with the variables of the user and of libraries, as this thread has them, and none of kartnb's."""
    context = contextvars.Context()
    for variable, value in contextvars.copy_context().items():
        if not variable.name.startswith('kartnb'):
            context.run(variable.set, value)
    return context


class OptionsKeeper:
    """Keeps the options of a build in use between its parcels, as inline between tasks: to set them takes a while."""

    def __init__(self) -> None:
        self._build: str | None = None
        self._packed: Mapping[str, bytes] = {}
        self._in_use = ExitStack()

    @contextmanager
    def in_use(self, packed: Mapping[str, bytes], build: str | None) -> Iterator[None]:
        """As `options_in_use`; with a `build` they stay until a parcel of another build comes, or has others."""
        if build is None or (build, packed) != (self._build, self._packed):
            self._in_use.close()
            self._build, self._packed = build, packed
            self._in_use.enter_context(options_in_use(packed))
        try:
            yield
        finally:
            if build is None:
                self._in_use.close()


def _use(option: Option, data: bytes, imports: _Imports, undo: list[Undo]) -> None:
    with contextlib.suppress(Exception):  # a library of another version has other options, and takes none of these
        options = pickle.loads(data)
        undo.append(option.use(options))
        for root in set(options.get('needs', ())) - sys.modules.keys():
            imports.when_imported(root, partial(option.use, options))


class _Imports(MetaPathFinder):
    """Calls functions as soon as libraries are imported, at once for those that are."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Callable[[], object]]] = {}

    def when_imported(self, name: str, call: Callable[[], object]) -> None:
        """Call a function when a library is imported."""
        if name in sys.modules:
            call()
            return
        self._waiting.setdefault(name, []).append(call)
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def forget(self) -> None:
        """Call nothing any more."""
        self._waiting.clear()
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """What the other finders find, with a loader that tells when it has loaded the library."""
        calls = self._waiting.pop(fullname, None)
        spec = importlib.util.find_spec(fullname) if calls is not None else None
        loader: Any = spec.loader if spec is not None else None
        if calls is None or not hasattr(loader, 'exec_module'):
            return spec
        load = loader.exec_module

        def load_and_tell(module: ModuleType) -> None:
            loader.exec_module = load
            load(module)
            for call in calls:
                call()

        loader.exec_module = load_and_tell
        return spec


def _nothing() -> None:
    """Undo nothing: the options were those that a worker had already."""


def _module(name: str) -> Any:
    return sys.modules[name]


# ----- Python's own ---------------------------------------------------------------------------------------------------


def _read_python() -> dict[str, Any]:
    return {
        'recursion': sys.getrecursionlimit(),
        'digits': sys.get_int_max_str_digits(),
        'locale': locale.setlocale(locale.LC_ALL),
        'timezone': os.environ.get('TZ'),
    }


def _use_python(options: dict[str, Any]) -> Undo:
    before = _read_python()
    for name, value in options.items():
        if before[name] != value:
            _SET_PYTHON[name](value)
    return partial(_use_python, before) if before != options else _nothing


def _set_locale(name: str) -> None:
    with contextlib.suppress(locale.Error):  # not installed there
        locale.setlocale(locale.LC_ALL, name)


def _set_timezone(name: str | None) -> None:
    os.environ.pop('TZ', None)
    if name is not None:
        os.environ['TZ'] = name
    if hasattr(time, 'tzset'):
        time.tzset()


_SET_PYTHON: dict[str, Callable[[Any], None]] = {
    'recursion': sys.setrecursionlimit,
    'digits': sys.set_int_max_str_digits,
    'locale': _set_locale,
    'timezone': _set_timezone,
}


def _read_levels() -> dict[str, Any]:
    named = list(logging.root.manager.loggerDict.items())
    levels = {name: logger.level for name, logger in named if isinstance(logger, logging.Logger) and logger.level}
    return {'levels': {**levels, '': users_root_level()}, 'disabled': logging.root.manager.disable}


def _use_levels(options: dict[str, Any]) -> Undo:
    before = _levels_now()
    disabled = logging.root.manager.disable
    _set_levels(options['levels'], options['disabled'])
    return partial(_put_back_levels, before, disabled)


def _levels_now() -> dict[str, int]:
    named = list(logging.root.manager.loggerDict.items())
    levels = {name: logger.level for name, logger in named if isinstance(logger, logging.Logger)}
    return {**levels, '': logging.root.level}


def _put_back_levels(levels: dict[str, int], disabled: int) -> None:
    """Undo what tasks have set too, also of loggers that they have made."""
    _set_levels({**dict.fromkeys(_levels_now(), logging.NOTSET), **levels}, disabled)


def _set_levels(levels: Mapping[str, int], disabled: int) -> None:
    for name, level in levels.items():
        logger = logging.getLogger(name)
        if logger.level != level:
            logger.setLevel(level)
    if logging.root.manager.disable != disabled:
        logging.disable(disabled)


def _read_filters() -> dict[str, Any]:
    sent = [(*filter_[:2], _name_of(filter_[2]), *filter_[3:]) for filter_ in warnings.filters]
    roots = {category[0].partition('.')[0] for _, _, category, *_ in sent if isinstance(category, tuple)}
    return {'filters': sent, 'needs': sorted(roots - sys.stdlib_module_names - {'builtins', 'kartnb', 'luigi'})}


def _name_of(category: Any) -> Any:
    """A category of warnings by module and name, so that a worker need not import the library; else itself."""
    module, name = category.__module__, category.__qualname__
    if module != '__main__' and getattr(sys.modules.get(module), name, None) is category:
        return module, name
    return category


def _use_filters(options: dict[str, Any]) -> Undo:
    before = list(warnings.filters)
    found = [(*sent[:2], _category(sent[2]), *sent[3:]) for sent in options['filters']]
    found = [filter_ for filter_ in found if filter_[2] is not None]
    if found == before:
        return _nothing
    _set_filters(found)
    return partial(_set_filters, before)


def _category(sent: Any) -> Any:
    """A category as `_name_of` has named it; None where its library is not imported."""
    if not isinstance(sent, tuple):
        return sent
    module, name = sent
    if module.partition('.')[0] not in sys.modules:
        return None
    with contextlib.suppress(ImportError):
        return getattr(sys.modules.get(module) or importlib.import_module(module), name, None)
    return None


def _set_filters(filters: Any) -> None:
    warnings.resetwarnings()  # so that what was decided by other filters is forgotten
    warnings.filters[:] = filters  # type: ignore[index]


def _read_decimal() -> dict[str, Any]:
    context = _module('decimal').getcontext().copy()
    context.clear_flags()
    return {'context': context}


def _use_decimal(options: dict[str, Any]) -> Undo:
    decimal = _module('decimal')
    before = decimal.getcontext()
    decimal.setcontext(options['context'])
    return partial(decimal.setcontext, before)


# ----- libraries ------------------------------------------------------------------------------------------------------


def _read_numpy() -> dict[str, Any]:
    numpy = _module('numpy')
    return {'print': numpy.get_printoptions(), 'errors': numpy.geterr(), 'call': numpy.geterrcall()}


def _use_numpy(options: dict[str, Any]) -> Undo:
    numpy = _module('numpy')
    before = _read_numpy()
    if before == options:
        return _nothing
    known = before['print']
    numpy.set_printoptions(**{name: value for name, value in options['print'].items() if name in known})
    numpy.seterrcall(options['call'])
    numpy.seterr(**options['errors'])
    return partial(_use_numpy, before)


def _read_pandas() -> dict[str, Any]:
    found = pandas_options().items()
    return {name: value for name, (value, default) in found if value != default or name == _DIFFERS_BY_PLACE}


def _use_pandas(options: dict[str, Any]) -> Undo:
    found = pandas_options()
    before = {name: value for name, (value, _) in found.items()}
    _set_pandas({name: options.get(name, default) for name, (_, default) in found.items()})
    return partial(_set_pandas, before)


def _set_pandas(options: dict[str, Any]) -> None:
    for name, (value, _) in pandas_options().items():
        if name in options and options[name] is not value and options[name] != value:
            with contextlib.suppress(Exception):  # of another version of pandas
                _module('pandas').set_option(name, options[name])


def _own_parameters(parameters: Any) -> dict[str, Any]:
    # the methods of dict: those of matplotlib's class look for a display, and warn of old names
    return {name: value for name, value in dict.items(parameters) if not name.startswith(_OF_WINDOWS)}


def _read_matplotlib() -> dict[str, Any]:
    matplotlib = _module('matplotlib')
    defaults = _own_parameters(matplotlib.rcParamsDefault)
    found = _own_parameters(matplotlib.rcParams).items()
    return {name: value for name, value in found if name not in defaults or defaults[name] != value}


def _use_matplotlib(options: dict[str, Any]) -> Undo:
    matplotlib = _module('matplotlib')
    before = _own_parameters(matplotlib.rcParams)
    wanted = {**_own_parameters(matplotlib.rcParamsDefault), **options}
    dict.update(matplotlib.rcParams, {name: value for name, value in wanted.items() if name in before})
    return partial(dict.update, matplotlib.rcParams, before)


def _use_sklearn(options: dict[str, Any]) -> Undo:
    sklearn = _module('sklearn')
    before = sklearn.get_config()
    if before == options:
        return _nothing
    sklearn.set_config(**{name: value for name, value in options.items() if name in before})
    return partial(sklearn.set_config, **before)


def _use_torch(options: dict[str, Any]) -> Undo:
    torch = _module('torch')
    before = torch.get_default_dtype()
    torch.set_default_dtype(options['dtype'])
    return partial(torch.set_default_dtype, before)


def _use_polars(options: dict[str, Any]) -> Undo:
    config = _module('polars').Config
    before = config.save()
    if before == options['saved']:
        return _nothing
    config.load(options['saved'])
    return partial(config.load, before)


def _display(*objects: Any, **_: Any) -> None:
    """Write objects as text, as IPython does outside of a notebook."""
    for value in objects:
        sys.stdout.write(f'{value!r}\n')


def _use_display(options: dict[str, Any]) -> Undo:
    if not options['display'] or hasattr(builtins, 'display'):
        return _nothing
    vars(builtins)['display'] = _display
    return partial(vars(builtins).pop, 'display', None)


#: By the module that has to be imported for them.
OPTIONS: dict[str, Option] = {
    # what IPython lets all code call
    'builtins': Option(lambda: {'display': hasattr(builtins, 'display')}, _use_display),
    'sys': Option(_read_python, _use_python),
    'logging': Option(_read_levels, _use_levels),
    'decimal': Option(_read_decimal, _use_decimal),
    'numpy': Option(_read_numpy, _use_numpy),
    'pandas': Option(_read_pandas, _use_pandas),
    'matplotlib': Option(_read_matplotlib, _use_matplotlib),
    'sklearn': Option(lambda: dict(_module('sklearn').get_config()), _use_sklearn),
    'torch': Option(lambda: {'dtype': _module('torch').get_default_dtype()}, _use_torch),
    'polars': Option(lambda: {'saved': _module('polars').Config.save()}, _use_polars),
    # the last: those above may warn
    'warnings': Option(_read_filters, _use_filters),
}
#: Those that each thread has for itself.
OF_THREADS = ('decimal', 'numpy', 'sklearn')
