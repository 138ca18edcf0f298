"""`kartnb.run`: a task from the command line, with gokart's options and return codes."""

from __future__ import annotations

import argparse
import builtins
import configparser
import difflib
import logging
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NoReturn

import luigi
from luigi.parameter import ParameterException
from luigi.task_register import Register, TaskClassAmbigiousException, TaskClassNotFoundException

from kartnb import display
from kartnb._luigi import CommandLineParser, option_names, registered_family, registered_tasks, set_command_line
from kartnb.config import (
    CODE_CHANGE_POLICIES,
    EXECUTOR_NAMES,
    USUAL_CONCURRENCY,
    VERSION_POLICIES,
    BuildOptions,
    log_level_named,
)
from kartnb.errors import CommandLineError, ExternalTaskMissingError, KartError
from kartnb.execution.build import log_printer, run_build
from kartnb.execution.report import BuildReport, build_error
from kartnb.history.clean import delete_local_unnecessary_outputs
from kartnb.task.base import TaskOnKart
from kartnb.task.secrets import is_secret

#: Beginnings of options that gokart has and kartnb does not.
_NOT_HERE = ('--tree-info-', '--test-run-', '--SlackConfig-')
_UNRECOGNIZED = 'unrecognized arguments: '
_DURABLE_HELP = 'flush each result to the disk, so that a power loss cannot take it away'
#: Options of kartnb's own, each left out where the task has a parameter of that name.
_KARTNB_OPTIONS: dict[str, dict[str, Any]] = {
    '--executor': {
        'dest': 'kartnb_executor',
        'metavar': 'NAME',
        'help': f'where tasks run: {", ".join(EXECUTOR_NAMES)} or dask://HOST:PORT',
    },
    '--concurrency': {
        'dest': 'kartnb_concurrency',
        'metavar': 'N',
        'help': 'run up to N tasks with an `async def run` at once, with --executor=async',
    },
    '--on-code-change': {
        'dest': 'kartnb_on_code_change',
        'choices': CODE_CHANGE_POLICIES,
        'help': 'what happens to results whose code has changed',
    },
    '--on-version-change': {
        'dest': 'kartnb_on_version_change',
        'choices': VERSION_POLICIES,
        'help': 'what happens to results that other versions of packages have made',
    },
    '--rerun-from': {
        'dest': 'kartnb_rerun_from',
        'action': 'append',
        'metavar': 'CLASS[,CLASS]',
        'help': 'run the tasks of these classes again, and everything downstream of them',
    },
}
_LIBRARIES = ('luigi', 'kartnb', 'gokart')

_register: Any = Register


@contextmanager
def command_line(args: Sequence[str]) -> Iterator[CommandLine]:
    """Apply a command line to all tasks that are made in the block; raises CommandLineError when it is wrong."""
    parsed = CommandLine(list(args))
    earlier = set_command_line(parsed)
    try:
        yield parsed
    finally:
        set_command_line(earlier)


class CommandLine(CommandLineParser):
    """The arguments of a command line, by luigi's parser; `known_args` has them by luigi's names."""

    def __init__(self, args: list[str]) -> None:
        try:
            super().__init__(args)
        except TaskClassNotFoundException as error:
            name = str(error).removeprefix('No task ').partition('. ')[0]
            raise CommandLineError(_unknown_task(name)) from None
        except TaskClassAmbigiousException as error:
            raise CommandLineError(_ambiguous_task(str(error).split("'")[1])) from None

    def option(self, name: str) -> str | None:
        """What was given for an option of luigi's section ``[core]``; None where nothing was."""
        value = getattr(self.known_args, f'core_{name}', None)
        return None if value is None else str(value)

    @property
    def durable(self) -> bool | None:
        """True where ``--durable`` was given; None leaves it to the environment and the configuration."""
        return getattr(self.known_args, 'kartnb_durable', False) or None

    @property
    def executor(self) -> str | None:
        """What was given for ``--executor``."""
        return getattr(self.known_args, 'kartnb_executor', None)

    @property
    def concurrency(self) -> str | None:
        """What was given for ``--concurrency``."""
        return getattr(self.known_args, 'kartnb_concurrency', None)

    @property
    def on_code_change(self) -> str | None:
        """What was given for ``--on-code-change``."""
        return getattr(self.known_args, 'kartnb_on_code_change', None)

    @property
    def on_version_change(self) -> str | None:
        """What was given for ``--on-version-change``."""
        return getattr(self.known_args, 'kartnb_on_version_change', None)

    @property
    def rerun(self) -> list[str]:
        """The classes of ``--rerun-from``."""
        given = getattr(self.known_args, 'kartnb_rerun_from', None) or []
        return [name for text in given for name in text.replace(',', ' ').split()]

    def adjust(self, parser: argparse.ArgumentParser, root_task: str | None) -> None:
        """Let a mistake be one sentence."""
        parser.error = partial(_refuse, parser)  # type: ignore[method-assign]
        # a task may have a parameter of this name; before it is known, the option would hide it
        if root_task is not None and '--durable' not in option_names(parser):
            parser.add_argument('--durable', action='store_true', dest='kartnb_durable', help=_DURABLE_HELP)
        for name, options in _KARTNB_OPTIONS.items() if root_task is not None else ():
            if name not in option_names(parser):
                parser.add_argument(name, **options)
        if root_task is None:
            parser.allow_abbrev = False  # the task's own options come later: --n is not yet short for --no-lock

    def load_module(self, module: str) -> None:
        """Import the module of ``--module``, or say that it was not found."""
        try:
            super().load_module(module)
        except ModuleNotFoundError as error:
            if f'{module}.'.startswith(f'{error.name}.'):
                raise CommandLineError(f'--module {module}: module {error.name!r} not found.') from None
            raise

    def parsed(self, name: str, parameter: luigi.Parameter[Any], text: Any) -> Any:
        """The value of a parameter that was given; a message never shows a secret one."""
        try:
            return super().parsed(name, parameter, text)
        except Exception as error:
            option = f'--{name.replace("_", "-")}'
            if is_secret(parameter):
                raise CommandLineError(f'{option} does not take this value.') from None
            raise CommandLineError(f'{option} does not take {text!r:.200}: {_one_line(error)}.') from error


def _one_line(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return ' '.join(text.split()).rstrip('.')


def _refuse(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    """What argparse calls when a command line is wrong; its own way prints all options."""
    if not message.startswith(_UNRECOGNIZED):
        raise CommandLineError(f'{message[:1].upper()}{message[1:]}.')
    unknown = message.removeprefix(_UNRECOGNIZED).split()
    names = [word.partition('=')[0] for word in unknown if word.startswith('-')]
    if not names:
        raise CommandLineError(
            f'{" ".join(unknown)!r} is not an option: after the task only options follow, such as --help.'
        )
    raise CommandLineError(' '.join(_unknown_option(name, parser) for name in names))


def _unknown_option(name: str, parser: argparse.ArgumentParser) -> str:
    if name.startswith(_NOT_HERE):
        return f'{name} is an option of gokart that kartnb does not have.'
    near = difflib.get_close_matches(name, option_names(parser), n=1)
    return f'Unknown option {name}: {f"did you mean {near[0]}?" if near else "--help lists all options."}'


def _unknown_task(name: str) -> str:
    known = sorted(family for family in _register.task_names() if not _is_of_library(family))
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f'Task {name} not found: did you mean {near[0]}?'
    if known:
        return f'Task {name} not found. The tasks are {", ".join(known)}.'
    return f'Task {name} not found; no tasks are defined. Name the module of the tasks with --module.'


def _ambiguous_task(name: str) -> str:
    modules = {cls.__module__ for cls in registered_tasks() if cls.get_task_family() == name}
    return f'There are several tasks named {name}, in {" and ".join(sorted(modules))}: set their task_namespace.'


def _is_of_library(family: str) -> bool:
    module = getattr(registered_family(family), '__module__', '')
    return module.partition('.')[0] in _LIBRARIES


#: The return codes that gokart gives luigi, where they are 0.
_GOKART_CODES = {'missing_data': 20, 'task_failed': 40, 'scheduling_error': 50}
_USAGE_ERROR = 2


def run(cmdline_args: Sequence[str] | None = None, set_retcode: bool = True) -> None:
    """Run the task that a command line names, and end the process with a return code.

    Parameters
    ----------
    cmdline_args
        For instance ``['Train', '--depth=5', '--local-scheduler']``; by default those of this process. Options are
        luigi's: a task's parameters (``--depth 5``), another task's (``--Clean-rows 100``), ``--module``,
        ``--workers``, ``--log-level``, ``--help``; gokart's ``--delete-unnecessary-output-files``; and ``--durable``,
        ``--executor``, ``--concurrency``, ``--on-code-change``, ``--on-version-change`` and
        ``--rerun-from Class,Class``, as in `build`. A central scheduler decides what runs if the options or luigi's
        configuration name one, and ``--local-scheduler`` is not among them.
    set_retcode
        Whether gokart's return codes hold where the section ``[retcode]`` of luigi's configuration does not say
        otherwise; without them they are 0, as luigi's.

    Raises
    ------
    SystemExit
        With 0 when the task is complete, 20 when external data are missing, 40 when a task failed, 50 when the
        tasks could not be planned, 2 when the command line is wrong. A cell of a notebook goes on instead of ending
        with 0.

    Examples
    --------
    >>> import kartnb, tempfile
    >>> class Hello(kartnb.TaskOnKart):
    ...     def run(self):
    ...         self.dump('Hello, world!')
    >>> kartnb.run(['Hello', '--local-scheduler', f'--workspace-directory={tempfile.mkdtemp()}', '--log-level=ERROR'])
    Traceback (most recent call last):
    ...
    SystemExit: 0
    """
    args = [str(arg) for arg in (sys.argv[1:] if cmdline_args is None else cmdline_args)]
    try:
        with command_line(args) as given:
            code = _run(given, _return_codes(set_retcode))
    except (CommandLineError, ParameterException, configparser.Error) as error:
        _print(' '.join(str(error).split()))
        code = _USAGE_ERROR
    if code or not _is_in_a_cell():
        sys.exit(code)


def _is_in_a_cell() -> bool:
    # IPython makes this known to all modules for as long as a cell runs; there SystemExit is shown as an error
    return hasattr(builtins, 'get_ipython')


def _run(given: CommandLine, codes: Mapping[str, int]) -> int:
    try:
        level, workers, scheduler_url = _log_level(given), _workers(given), _scheduler_url(given)
        concurrency = _at_least_one('concurrency', given.concurrency or str(USUAL_CONCURRENCY))
        task = given.get_task_obj()
    except ValueError as error:
        _print(str(error))
        return _USAGE_ERROR
    if isinstance(task, TaskOnKart) and task.delete_unnecessary_output_files:
        delete_local_unnecessary_outputs(task)
        return 0
    options = BuildOptions(
        workers=workers,
        executor=given.executor,
        concurrency=concurrency,
        scheduler_url=scheduler_url,
        log_level=level,
        listeners=(log_printer(level),),
        value_wanted=False,
        durable=given.durable,
        on_code_change=given.on_code_change,
        on_version_change=given.on_version_change,
        rerun=given.rerun,
    )
    try:
        report = run_build(task, options)
    except Exception as error:
        _print(str(error) if isinstance(error, KartError) else traceback.format_exc().rstrip())
        return codes['scheduling_error']
    _show(report, level)
    return _code(report, codes)


def _core(given: CommandLine, name: str, default: str) -> str:
    """What the command line or the configuration says of an option of luigi's section ``[core]``."""
    config: Any = luigi.configuration.get_config()
    return given.option(name) or str(config.get('core', name, default))


def _log_level(given: CommandLine) -> int:
    """The level that is asked for; luigi's default, DEBUG, shows every library's."""
    return log_level_named(_core(given, 'log_level', 'INFO'))


def _workers(given: CommandLine) -> int:
    return _at_least_one('workers', _core(given, 'workers', '1'))


def _at_least_one(option: str, text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise CommandLineError(f'--{option} must be a number from 1 up, not {text!r}.')
    return int(text)


def _scheduler_url(given: CommandLine) -> str | None:
    """The central scheduler, if one is named; luigi's default, one on this computer, counts as none."""
    if _core(given, 'local_scheduler', 'false').lower() == 'true':
        return None
    url, host = (
        _core(given, name, _core(given, f'default_{name}', '')) for name in ('scheduler_url', 'scheduler_host')
    )
    if url or not host:
        return url or None
    return f'http://{host}:{_core(given, "scheduler_port", _core(given, "default_scheduler_port", "8082"))}'


def _return_codes(set_retcode: bool) -> dict[str, int]:
    config = luigi.configuration.get_config()
    return {name: config.getint('retcode', name, code if set_retcode else 0) for name, code in _GOKART_CODES.items()}


def _show(report: BuildReport, level: int) -> None:
    for failure in report.failures:
        if not isinstance(failure.error, KartError):
            _print(failure.mask(''.join(traceback.format_exception(failure.error)).rstrip()))
    if report.failures:
        _print(str(build_error(report)))
    elif level <= logging.INFO:
        _print(display.render(report, 'text'))


def _code(report: BuildReport, codes: Mapping[str, int]) -> int:
    kinds = {
        'missing_data' if isinstance(failure.error, ExternalTaskMissingError) else 'task_failed'
        for failure in report.failures
    }
    return max((codes[kind] for kind in kinds), default=0)


def _print(text: str) -> None:
    sys.stderr.write(f'{text}\n')
