"""Every private name of other packages that kartnb needs: of luigi above all, and of cloudpickle, IPython and Python.

A private name may move with any release. So each is used here and nowhere else, behind a function with a name of its
own, and a test says for each what kartnb needs it for and fails where a release no longer has it.
"""

from __future__ import annotations

import abc
import argparse
import atexit
import copy
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterator, MutableMapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from functools import partial, reduce
from operator import attrgetter, getitem
from queue import Queue
from types import CodeType
from typing import Any, NamedTuple, NoReturn, Protocol, TypeAlias

import luigi
import luigi.retcodes
from luigi.cmdline_parser import CmdlineParser
from luigi.parameter import _no_value, _NoValueType
from luigi.task_register import Register
from luigi.worker import TaskStatusReporter, TracebackWrapper, Worker

# ----- Python's own ---------------------------------------------------------------------------------------------------

#: The picklers in Python: the ones in C can neither be taught other names nor be kept from taking any amount of memory.
PythonPickler: Any = pickle._Pickler
PythonUnpickler: Any = pickle._Unpickler

#: The process's variables as `os.environ` keeps them: asking `os.environ` costs as much as the rest of a task's call.
raw_environment: MutableMapping[Any, Any] | None = getattr(os.environ, '_data', None)


def interpreter_flags() -> list[str]:
    """The options of this interpreter, for one that shall behave alike."""
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return flags


def option_names(parser: argparse.ArgumentParser) -> list[str]:
    """The options of a parser of argparse's, long and short."""
    return [name for action in parser._actions for name in action.option_strings]


def pool_size(executor: Executor) -> int | None:
    """How many calls an executor runs at once; None where unknown."""
    return getattr(executor, '_max_workers', None)


# ----- luigi: the register of task classes ----------------------------------------------------------------------------

#: Where luigi keeps the namespace of a class.
NAMESPACE_ATTRIBUTE = '_namespace_at_class_time'
#: What Python and luigi write into task classes by themselves, such as whether luigi lists a class.
CLASS_ATTRIBUTES = frozenset({'_abc_impl', NAMESPACE_ATTRIBUTE, '_visible_in_registry', '_unconsumed_params'})

#: The list of all task classes, which luigi replaces now and then. In C: it is asked for with each unique id.
registered_tasks: Callable[[], list[Any]] = partial(getattr, Register, '_reg')


def unregister(task_class: type) -> None:
    """Take a class out of luigi's register; it goes on working."""
    if task_class in Register._reg:
        Register._reg.remove(task_class)


def registered_family(family: str) -> Any:
    """The class that luigi finds under a task family; a mark of luigi's own where there are several."""
    return Register._get_reg()[family]


def instance_cache() -> dict[Any, Any] | None:
    """luigi's instance cache (None while it is disabled): clearing or disabling it must work for kartnb's tasks too."""
    # luigi's name for it begins with two underscores, and clearing replaces it
    cache: dict[Any, Any] | None = vars(Register)['_Register__instance_cache']
    return cache


# ----- luigi: tasks and their event handlers --------------------------------------------------------------------------

_luigis_requires = luigi.Task._requires

#: The handlers that were put on task classes, by class and event: `Task.event_handler` only adds to them.
event_handlers: Callable[[], dict[type, dict[str, set[Callable[..., Any]]]]] = partial(
    getattr, luigi.Task, '_event_callbacks'
)


def adds_requirements(task_class: Any) -> bool:
    """Whether a class adds to what `requires()` gives, as luigi's template methods and `luigi.util` do."""
    return task_class.deps is not luigi.Task.deps or task_class._requires is not _luigis_requires


def worker_of(task: luigi.Task) -> str:
    """The id of the worker of luigi's that runs a task; '' for a task that luigi does not run."""
    reporter = getattr(getattr(task, 'set_status_message', None), '__self__', None)
    return str(reporter._worker_id) if isinstance(reporter, TaskStatusReporter) else ''


# ----- luigi: parameters ----------------------------------------------------------------------------------------------

#: What luigi takes for "no default".
NoValue: TypeAlias = _NoValueType
NO_VALUE: NoValue = _no_value

#: How luigi finds a default value; a parameter with a way of its own is asked each time.
_DEFAULT_HOOKS = ('has_task_value', 'task_value', '_get_value', '_value_iterator', '_get_value_from_config')


class NumberRange(NamedTuple):
    """The numbers that a `luigi.NumericalParameter` takes, and whether the ends are among them."""

    kind: type
    low: Any
    high: Any
    includes_low: bool
    includes_high: bool


def declared_default(parameter: Any) -> Any:
    """The default that a parameter was declared with, whatever the configuration says; `NO_VALUE` without one."""
    return getattr(parameter, '_default', NO_VALUE)


def has_changing_default(parameter: luigi.Parameter[Any]) -> bool:
    """Whether a default value may be another one at each call, so that it cannot be kept."""
    if parameter._config_path or '_default' not in vars(parameter):
        return True
    kind = type(parameter)
    return any(getattr(kind, name) is not getattr(luigi.Parameter, name) for name in _DEFAULT_HOOKS)


def check_type(parameter: luigi.Parameter[Any], name: str, value: Any) -> None:
    """Let a parameter warn of, or refuse, a value of a wrong type."""
    parameter._warn_on_wrong_param_type(name, value)


def parsed_list(parameter: luigi.Parameter[Any], texts: list[Any]) -> Any:
    """The value of a batchable parameter that was given several texts."""
    return parameter._parse_list(texts)


def plain_parser_options(name: str, task_name: str | None) -> dict[str, Any]:
    """The options for argparse of a parameter that takes a value, also where it is true or false."""
    options: dict[str, Any] = luigi.Parameter._parser_kwargs(name, task_name)
    return options


def listed_choices(parameter: Any) -> Collection[Any]:
    """What a `ChoiceParameter` or `ChoiceListParameter` takes."""
    choices: Collection[Any] = parameter._choices
    return choices


def choice_type(parameter: Any) -> Callable[[Any], Any]:
    """What a `ChoiceParameter` or `ChoiceListParameter` makes of a text."""
    kind: Callable[[Any], Any] = parameter._var_type
    return kind


def enumeration_of(parameter: Any) -> Any:
    """The enumeration of an `EnumParameter` or `EnumListParameter`."""
    return parameter._enum


def number_range(parameter: Any) -> NumberRange:
    """What a `NumericalParameter` takes."""
    low, high = parameter._min_value, parameter._max_value
    return NumberRange(
        parameter._var_type, low, high, bool(parameter._left_op(low, low)), bool(parameter._right_op(high, high))
    )


# ----- luigi: configuration and command line --------------------------------------------------------------------------

#: The one configuration that luigi has of a class of configurations. In C: it is asked for with each task.
configuration_in_use: Callable[[Any], Any] = attrgetter('_instance')


def configured_sections(config: Any) -> Collection[str] | None:
    """The sections of a cfg file, which a `configparser` gives only after copying them; None for a TOML file."""
    # luigi's parser of TOML derives from `ConfigParser` too, and leaves its `_sections` empty
    return None if hasattr(config, 'data') else getattr(config, '_sections', None)


def forget_config_path(configuration: Any, path: str) -> None:
    """Stop luigi from reading a configuration file: it would fail on it again with each one that is added."""
    configuration._config_paths.remove(path)


@contextmanager
def kept_configuration() -> Iterator[Any]:
    """Give luigi's configuration; at the end of the block it has the values and the files of before."""
    config: Any = luigi.configuration.get_config()
    paths = type(config)._config_paths
    files = list(paths)
    data, sections, defaults = (copy.deepcopy(getattr(config, x, {})) for x in ('data', '_sections', '_defaults'))
    proxies = dict(config._proxies)
    try:
        yield config
    finally:
        type(config)._config_paths = paths
        paths[:] = files
        if hasattr(config, 'data'):  # of a TOML file
            config.data = data
        for kept, before in ((config._sections, sections), (config._defaults, defaults), (config._proxies, proxies)):
            kept.clear()  # in place: who asks for the sections has them once
            kept.update(before)


def set_command_line(parser: Any) -> Any:
    """Let default values come from a command line; gives the earlier one, or None."""
    luigis: Any = CmdlineParser
    earlier, luigis._instance = luigis._instance, parser
    return earlier


def add_options_of(parser: argparse.ArgumentParser, task_class: Any) -> None:
    """Give a parser the options of a class that luigi does not list, as ``--family-name``; those that it has stay."""
    known, family = option_names(parser), task_class.get_task_family()
    for name, parameter in task_class.get_params():
        option = f'--{family}-{name}'.replace('_', '-')
        if option not in known:
            text = parameter.description if name in vars(task_class) else argparse.SUPPRESS
            parser.add_argument(option, help=text, **parameter._parser_kwargs(name, family))


_LuigisParser: Any = CmdlineParser


class CommandLineParser(_LuigisParser):  # type: ignore[misc]
    """luigi's parser of a command line, whose steps a subclass may change."""

    known_args: argparse.Namespace
    #: Classes that luigi does not list, whose parameters are options too.
    option_classes: Sequence[Any] = ()

    def adjust(self, parser: argparse.ArgumentParser, root_task: str | None) -> None:
        """Change a parser before it reads anything; `root_task` is None while the task is not known yet."""

    def load_module(self, module: str) -> None:
        """Import the module of ``--module``."""
        __import__(module)

    def parsed(self, name: str, parameter: luigi.Parameter[Any], text: Any) -> Any:
        """The value of a parameter that was given."""
        return parameter.parse(text)

    def _build_parser(self, root_task: str | None = None, help_all: bool = False) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super()._build_parser(root_task, help_all)
        for cls in self.option_classes:
            add_options_of(parser, cls)
        self.adjust(parser, root_task)
        return parser

    def _attempt_load_module(self, known_args: argparse.Namespace) -> None:
        if known_args.core_module:
            self.load_module(known_args.core_module)

    def _get_task_kwargs(self) -> dict[str, Any]:
        given = [(*item, getattr(self.known_args, item[0])) for item in self._get_task_cls().get_params()]
        return {name: self.parsed(name, parameter, text) for name, parameter, text in given if text}


@contextmanager
def command_line_in_use(args: Sequence[str], *option_classes: type) -> Iterator[Any]:
    """Apply a command line, with the options of these classes too, to all tasks that are made in the block."""
    kind = type('Parser', (CommandLineParser,), {'option_classes': option_classes})
    parser = kind(list(args))
    earlier = set_command_line(parser)
    try:
        yield parser
    finally:
        set_command_line(earlier)


# ----- luigi: the central scheduler -----------------------------------------------------------------------------------


def set_patience(scheduler: Any, tries: int, timeout: float, pause: float | None = None) -> None:
    """How often, for how many seconds, and how many seconds apart, a `RemoteScheduler` tries to reach luigid."""
    scheduler._rpc_retry_attempts, scheduler._connect_timeout = tries, timeout
    if pause is not None:
        scheduler._rpc_retry_wait = pause


def silence_retries(scheduler: Any) -> None:
    """Keep a `RemoteScheduler` from logging each try."""
    scheduler._rpc_log_retries = False


class Builder(Protocol):
    """What runs the tasks of a `SchedulerWorker`."""

    def judge(self, task: luigi.Task) -> bool | str:
        """Whether a task is complete, by the plan; the traceback as text where `complete()` fails."""

    def start(self, task: luigi.Task, messages: Queue[Any] | None) -> None:
        """Begin to run a task; messages of the scheduler come in this queue."""

    def wait(self, seconds: float) -> None:
        """Wait until something happens in the build, for at most so long."""

    def run_elsewhere(self, task_ids: Sequence[str]) -> bool:
        """Other workers run these tasks; gives whether the build waits for one of them."""


_LuigisWorker: Any = Worker


class SchedulerWorker(_LuigisWorker):  # type: ignore[misc]
    """luigi's worker, registered with a scheduler for `parallel` tasks at once, whose tasks `builder` runs."""

    def __init__(self, builder: Builder, scheduler: Any, worker_id: str, parallel: int) -> None:
        super().__init__(
            scheduler=scheduler, worker_id=worker_id, worker_processes=parallel, no_install_shutdown_handler=True
        )
        self.id = worker_id
        self.builder = builder
        self.scheduler = scheduler
        self._task_completion_cache: Any = _Unasked()

    def running(self) -> list[luigi.Task]:
        """The tasks that have begun and not ended."""
        return [self._scheduled_tasks[task_id] for task_id in self._running_tasks]

    def report_status(self, task: luigi.Task, **status: Any) -> None:
        """Report the status of a task that no longer runs to the scheduler."""
        self._running_tasks.pop(task.task_id, None)
        self._add_task(worker=self._id, task_id=task.task_id, **status)

    def mail_failure(self, task: luigi.Task, explanation: str) -> None:
        """Send luigi's mail about a failure, where luigi's configuration says so."""
        self._email_task_failure(task, explanation)

    def _add(self, task: luigi.Task, is_complete: Any) -> Iterator[luigi.Task]:
        judged = self.builder.judge(task)
        answer = TracebackWrapper(judged) if isinstance(judged, str) else judged
        found: Iterator[luigi.Task] = super()._add(task, answer)
        return found

    def _add_task_batcher(self, task: luigi.Task) -> None:
        """Announce no batches: each task has its own files."""

    def _run_task(self, task_id: str) -> None:
        task = self._scheduled_tasks[task_id]
        messages: Queue[Any] | None = Queue() if task.accepts_messages else None
        reporter: Any = TaskStatusReporter
        self._running_tasks[task_id] = _Running(reporter(self._scheduler, task_id, self._id, messages))
        self.builder.start(task, messages)

    def _handle_next_task(self) -> None:
        self.builder.wait(self._config.wait_interval)

    def _keep_alive(self, get_work_response: Any) -> bool:
        waits = self.builder.run_elsewhere([other['task_id'] for other in get_work_response.running_tasks])
        return waits or bool(super()._keep_alive(get_work_response))

    def _sleeper(self) -> Iterator[None]:
        while True:
            self.builder.wait(self._config.wait_interval)
            yield


class _Running(NamedTuple):
    """A running task, in the place where luigi keeps its process."""

    status_reporter: Any

    def is_alive(self) -> bool:
        """Whether luigi has something to end: the builder ends its tasks itself."""
        return False


class _Unasked(dict[str, bool]):
    """Keeps luigi from asking `complete()` of every task: the builder says it."""

    def get(self, key: str, default: Any = None) -> Any:
        return True


# ----- gokart ---------------------------------------------------------------------------------------------------------


def is_gokarts(task: luigi.Task) -> bool:
    """Whether a task has what gokart's event handlers ask of it."""
    return 'gokart.task' in sys.modules and any(base.__module__ == 'gokart.task' for base in type(task).__mro__)


# ----- cloudpickle: classes that are pickled by value -----------------------------------------------------------------


def class_maker() -> Callable[..., type]:
    """What cloudpickle lets a pickle call to make a class without its attributes."""
    from cloudpickle.cloudpickle import _make_skeleton_class

    maker: Callable[..., type] = _make_skeleton_class
    return maker


def enum_maker() -> Callable[..., type]:
    """What cloudpickle lets a pickle call to make an enumeration without its attributes."""
    from cloudpickle.cloudpickle import _make_skeleton_enum

    maker: Callable[..., type] = _make_skeleton_enum
    return maker


def class_filler() -> Callable[[type, Any], type]:
    """What cloudpickle lets a pickle call to give a class its attributes."""
    from cloudpickle.cloudpickle import _class_setstate

    filler: Callable[[type, Any], type] = _class_setstate
    return filler


def code_arguments(code: CodeType) -> tuple[Any, ...]:
    """What cloudpickle calls `types.CodeType` with to make a code again; the file name may be left out."""
    from cloudpickle import CloudPickler

    make, arguments = CloudPickler.dispatch_table[CodeType](code)
    assert make is CodeType, make
    return tuple(arguments)


def by_value_id(cls: type) -> str:
    """The id that cloudpickle gives a class that it pickles by value, here and where it arrives; '' without one."""
    from cloudpickle import cloudpickle

    return str(cloudpickle._DYNAMIC_CLASS_TRACKER_BY_CLASS.get(cls, ''))


def class_of_by_value_id(class_id: str) -> type | None:
    """The class to which cloudpickle gave an id; None for an id that it does not know."""
    from cloudpickle import cloudpickle

    found: type | None = cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.get(class_id)
    return found


# ----- Python ---------------------------------------------------------------------------------------------------------


def end_process() -> NoReturn:
    """End this process well, but for taking its modules apart, which takes longer than a short task."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # closed by somebody
            stream.flush()
    os._exit(0)


def local_name(code: CodeType, argument: int) -> str:
    """The name of the variable that an instruction of a function means."""
    return code._varname_from_oparg(argument)  # type: ignore[attr-defined, no-any-return]


def registered_classes(cls: type) -> list[type]:
    """The classes that were registered with an abstract class (`ABC.register`)."""
    if not isinstance(cls, abc.ABCMeta):
        return []
    registered, *_ = abc._get_dump(cls)  # type: ignore[attr-defined]
    return [found for reference in registered if (found := reference()) is not None]


def is_being_imported(spec: Any) -> bool:
    """Whether the body of a module is still running."""
    return bool(getattr(spec, '_initializing', False))


# ----- pandas ---------------------------------------------------------------------------------------------------------


def pandas_options() -> dict[str, tuple[Any, Any]]:
    """The present value and the default of each option of pandas, by its name."""
    from pandas._config import config as module

    config: Any = module
    found = {}
    for name, option in config._registered_options.items():
        *groups, last = name.split('.')
        found[name] = reduce(getitem, groups, config._global_config)[last], option.defval
    return found


# ----- IPython --------------------------------------------------------------------------------------------------------


def aimported_modules(shell: Any) -> list[str]:
    """The modules that `%aimport` lets `%autoreload` watch."""
    magics = shell.magics_manager.registry.get('AutoreloadMagics')
    watched = getattr(getattr(magics, '_reloader', None), 'modules', {})
    return [name for name, on in watched.items() if on] if isinstance(watched, dict) else []
