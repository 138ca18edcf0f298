"""The settings of a build: its options, checked once, and the policy for results whose code has changed."""

from __future__ import annotations

import configparser
import difflib
import enum
import inspect
import logging
import os
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, TypeAlias

import luigi

from kartnb.errors import TaskSettingError, UnknownOptionError
from kartnb.model import Listener

#: What happens to a result whose code has changed: it is recomputed, kept with a warning, refused, so that the build
#: fails before anything runs, or kept as in gokart.
CodeChangePolicy: TypeAlias = Literal['rerun', 'warn', 'error', 'ignore']
CODE_CHANGE_POLICIES: tuple[CodeChangePolicy, ...] = ('rerun', 'warn', 'error', 'ignore')
#: The environment variables, and the section and the names in luigi's configuration.
ENVIRONMENT, DURABLE_ENVIRONMENT = 'KARTNB_ON_CODE_CHANGE', 'KARTNB_DURABLE'
KEEP_ENVIRONMENT, LIMIT_ENVIRONMENT = 'KARTNB_KEEP_SUPERSEDED', 'KARTNB_WORKSPACE_LIMIT'
SECTION, OPTION, DURABLE, KEEP = 'kartnb', 'on_code_change', 'durable', 'keep_superseded'
LIMIT = 'workspace_limit'
MEMORY_ENVIRONMENT, MEMORY = 'KARTNB_MEMORY', 'memory'
PACKAGES_ENVIRONMENT, PACKAGES = 'KARTNB_PACKAGES', 'packages'
#: Which superseded results stay where nothing says otherwise: so many of each task, for so long, so many bytes in all.
USUALLY_KEPT = '20, 90 days, 5 GB'

#: What happens to a result that another version of a package has made.
VersionPolicy: TypeAlias = Literal['ignore', 'warn', 'rerun']
VERSION_POLICIES: tuple[VersionPolicy, ...] = ('ignore', 'warn', 'rerun')
VERSION_ENVIRONMENT, VERSION_OPTION = 'KARTNB_ON_VERSION_CHANGE', 'on_version_change'

#: Whether what workers come from imports ahead what the notebook has imported of libraries.
WARM_ENVIRONMENT, WARM = 'KARTNB_WARM_WORKERS', 'warm_workers'

_session: CodeChangePolicy | None = None


def checked_policy(value: object, where: str = OPTION) -> CodeChangePolicy:
    """The value, when it is a policy; raises TaskSettingError when it is not."""
    if value not in CODE_CHANGE_POLICIES:
        raise TaskSettingError(f"{where} must be 'rerun', 'warn', 'error' or 'ignore', not {value!r:.60}.")
    return value


def checked_version_policy(value: object, where: str = VERSION_OPTION) -> VersionPolicy:
    """The value, when it is a policy for versions; raises TaskSettingError when it is not."""
    if value not in VERSION_POLICIES:
        raise TaskSettingError(f"{where} must be 'ignore', 'warn' or 'rerun', not {value!r:.60}.")
    return value


def configured_version_policy() -> VersionPolicy:
    """The policy for versions of the environment or luigi's configuration; 'ignore' where there is none.

    Raises TaskSettingError when it is not a policy.
    """
    value, where = _configured(VERSION_ENVIRONMENT, VERSION_OPTION)
    return checked_version_policy(value, where) if value else 'ignore'


def set_session_policy(value: str) -> None:
    """Set the policy of this session; '' for none."""
    global _session
    _session = checked_policy(value) if value else None


def configured_policy() -> CodeChangePolicy | None:
    """The policy of the session, the environment or luigi's configuration, the first that is set; or None.

    Raises TaskSettingError when it is not a policy.
    """
    if _session is not None:
        return _session
    value, where = _configured(ENVIRONMENT, OPTION)
    return checked_policy(value, where) if value else None


def configured_packages() -> tuple[str, ...]:
    """The installed packages whose code counts, as the environment or luigi's configuration names them.

    Raises TaskSettingError when one cannot be the name of a package.
    """
    value = os.environ.get(PACKAGES_ENVIRONMENT, '').strip()
    where = f'The environment variable {PACKAGES_ENVIRONMENT}'
    if not value:
        value = luigi.configuration.get_config().get(SECTION, PACKAGES, '')
        where = f'[{SECTION}] {PACKAGES} in the configuration'
    # a TOML file may hold a list
    names = [name.strip() for name in (value.split(',') if isinstance(value, str) else map(str, value))]
    for name in filter(None, names):
        if not name.isidentifier():
            raise TaskSettingError(f'{where} must be names of packages as they are imported, not {name!r:.60}.')
    return tuple(filter(None, names))


def _configured(variable: str, option: str) -> tuple[str, str]:
    """What the environment or else luigi's configuration says, in lower case ('' for nothing), and which of them."""
    value = os.environ.get(variable, '').strip().lower()
    if value:
        return value, f'The environment variable {variable}'
    # luigi gives the values of a TOML file with their types
    value = str(luigi.configuration.get_config().get(SECTION, option, ''))
    return value.strip().lower(), f'[{SECTION}] {option} in the configuration'


#: The executors that have a name.
EXECUTOR_NAMES = ('inline', 'processes', 'threads', 'async')
#: How many coroutines of tasks run at once, if nothing else is said.
USUAL_CONCURRENCY = 20
LOG_LEVELS = ('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL')
#: What to run again: True means the root; a class or its name means all its tasks in the plan.
Rerun: TypeAlias = bool | str | type | luigi.Task | Iterable['str | type | luigi.Task']

#: A function that is given the `BuildReport` of a build at its end.
Notifier: TypeAlias = Callable[[Any], object]


def checked_notifiers(notify: Notifier | Iterable[Notifier]) -> tuple[Notifier, ...]:
    """What was given for `notify`, a function or several, as a tuple.

    Raises TypeError for what is not a function, and for a coroutine function.
    """
    several = not callable(notify) and isinstance(notify, Iterable) and not isinstance(notify, str | bytes | Mapping)
    notifiers: tuple[Any, ...] = tuple(notify) if several else (notify,)  # type: ignore[arg-type]
    for notifier in notifiers:
        if not callable(notifier):
            raise TypeError(
                'notify must be a function that takes the report of a build, such as '
                f"kartnb.notify.slack.to_slack('builds'), not {notifier!r:.60}."
            )
        if any(map(inspect.iscoroutinefunction, (notifier, type(notifier).__call__))):
            raise TypeError(
                f'notify must be a function that is not async, as {notifier!r:.60} is: nothing would await it; '
                'let a function call asyncio.run.'
            )
    return notifiers


def runs_coroutines(executor: object) -> bool:
    """Whether what was given for `executor` means one event loop for the coroutines of many tasks."""
    return executor == 'async' or isinstance(executor, AbstractEventLoop)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """How a build runs: what `kartnb.build` was asked for, checked once and passed on whole.

    Raises TypeError when the log level is not a number or `durable` not a bool, and TaskSettingError when
    `on_code_change` is not a policy.
    """

    workers: int = 1
    executor: Any = None
    concurrency: int = USUAL_CONCURRENCY  #: How many coroutines of tasks run at once where the executor is 'async'.
    scheduler_url: str | None = None
    rerun: Rerun = False
    on_code_change: str | None = None
    log_level: int = logging.ERROR
    listeners: tuple[Listener, ...] = ()  #: Callables that get every event of the build, in this order.
    #: What happens to results of other versions of packages; None leaves it to the classes and the configuration.
    on_version_change: str | None = None
    #: Whether the root has failed when it ends without having written its output. A gokart task may be run only for its
    #: side effects: then, where nobody loads the value, it has not failed.
    value_wanted: bool = True
    #: Which superseded results stay, as in `USUALLY_KEPT`; None leaves it to `kept_superseded`.
    keep_superseded: int | str | None = None
    durable: bool | None = None  #: Whether results survive a power loss; None leaves it to `is_durable`.
    notify: tuple[Notifier, ...] = ()  #: Functions that get the report at the end.

    def __post_init__(self) -> None:
        check_log_level(self.log_level)
        if self.on_code_change is not None:
            checked_policy(self.on_code_change)
        if self.on_version_change is not None:
            checked_version_policy(self.on_version_change)
        if self.durable is not None and not isinstance(self.durable, bool):
            raise TypeError(f'durable must be True, False or None, not {self.durable!r:.60}.')
        object.__setattr__(self, 'listeners', tuple(self.listeners))
        checked_notifiers(self.notify)

    @property
    def at_once(self) -> int:
        """How many tasks run at once."""
        return max(self.workers, self.concurrency) if runs_coroutines(self.executor) else self.workers

    def in_background(self) -> BuildOptions:
        """The same, in worker processes unless an executor is given, so that the build can be stopped at once."""
        return self if self.executor is not None else replace(self, executor='processes')

    def heard_first_by(self, *listeners: Listener) -> BuildOptions:
        """The same, with more listeners before those that there are."""
        return replace(self, listeners=(*listeners, *self.listeners))


class TaskDumpMode(enum.Enum):
    """What a build says of the tasks that it is going to run."""

    TREE = 'tree'
    TABLE = 'table'
    NONE = 'none'


class TaskDumpOutputType(enum.Enum):
    """Where a build says that: on standard error, or in a file of the workspace."""

    PRINT = 'print'
    DUMP = 'dump'
    NONE = 'none'


@dataclass
class TaskDumpConfig:
    """What a build says of its tasks before it begins, and where: both are needed, or none.

    >>> TaskDumpConfig(mode=TaskDumpMode.TREE, output_type=TaskDumpOutputType.PRINT).mode.value
    'tree'
    """

    mode: TaskDumpMode = TaskDumpMode.NONE
    output_type: TaskDumpOutputType = TaskDumpOutputType.NONE


def is_durable(options: BuildOptions) -> bool:
    """Whether a build writes results that survive a power loss: by its options, the environment or the configuration.

    Raises TaskSettingError when the environment or the configuration says neither yes nor no.
    """
    if options.durable is not None:
        return options.durable
    return _switched(DURABLE_ENVIRONMENT, DURABLE)


def are_workers_warm() -> bool:
    """Whether libraries are imported ahead for workers: by the environment or the configuration, else yes.

    Raises TaskSettingError when that says neither yes nor no.
    """
    return _switched(WARM_ENVIRONMENT, WARM, usually=True)


def _switched(variable: str, option: str, usually: bool = False) -> bool:
    value, where = _configured(variable, option)
    if value not in _SWITCH:
        raise TaskSettingError(f"{where} must be 'true' or 'false', not {value!r:.60}.")
    return _SWITCH[value] if value else usually


def kept_superseded(options: BuildOptions) -> tuple[int | str, str]:
    """Which superseded results stay, by options, environment or configuration, and the name of the setting."""
    if options.keep_superseded is not None:
        return options.keep_superseded, KEEP
    value, where = _configured(KEEP_ENVIRONMENT, KEEP)
    return value or USUALLY_KEPT, where


def configured_limit() -> tuple[str, str]:
    """How many bytes a workspace may have, by environment or configuration, and the name of the setting."""
    return _configured(LIMIT_ENVIRONMENT, LIMIT)


def configured_memory() -> tuple[str, str]:
    """How much memory tasks may use together, by environment or configuration, and the name of the setting."""
    return _configured(MEMORY_ENVIRONMENT, MEMORY)


#: Python's words for a switch in a configuration file, and nothing at all.
_SWITCH = {'': False, **configparser.ConfigParser.BOOLEAN_STATES}


def check_log_level(level: object) -> None:
    """Refuse a level that is not one of logging's numbers."""
    if isinstance(level, bool) or not isinstance(level, int):
        hint = f'logging.{level.upper()}' if isinstance(level, str) and level.upper() in LOG_LEVELS else 'logging.INFO'
        raise TypeError(f'log_level must be a number such as {hint}, not {level!r}.')


def log_level_named(name: str) -> int:
    """The number of a log level given by name or number; raises ValueError when it is unknown.

    >>> log_level_named('debug')
    10
    """
    if name.isdigit():
        return int(name)
    level = logging.getLevelName(name.upper())
    if not isinstance(level, int):
        raise ValueError(f'{name!r} is not a log level: use one of {", ".join(LOG_LEVELS)}.')
    return level


class LoggerConfig:
    """A block in which the logger `gokart.build` takes messages of a level and above, as its attribute `logger`.

    Examples
    --------
    >>> with LoggerConfig(logging.INFO) as config:
    ...     config.logger.isEnabledFor(logging.DEBUG)
    False

    Notes
    -----
    From gokart, which disables messages below the level in all loggers of the process. Here no other logger is touched.
    """

    def __init__(self, level: int) -> None:
        check_log_level(level)
        self.logger = logging.getLogger('gokart.build')
        self.level = level
        self.default_level = self.logger.level

    def __enter__(self) -> Self:
        self.default_level = self.logger.level
        self.logger.setLevel(self.level)
        return self

    def __exit__(self, *_: object) -> None:
        self.logger.setLevel(self.default_level)


def check_env_params(env_params: dict[str, Any]) -> None:
    """Refuse options that luigi does not know."""
    known = {name for name, _ in luigi.interface.core.get_params()} - {'local_scheduler', 'log_level'}
    for name in env_params:
        if name not in known:
            near = difflib.get_close_matches(name, [*known, 'rerun', 'listeners', 'log_level', 'return_value'], n=1)
            hint = f': did you mean {near[0]!r}?' if near else '.'
            raise UnknownOptionError(f'build has no option {name!r}{hint}')
