"""`kartnb.run`: a task from the command line, with gokart's options and return codes."""

from __future__ import annotations

import argparse
import builtins
import configparser
import difflib
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn

import luigi
import luigi.lock
from luigi.parameter import ParameterException
from luigi.task_register import Register, TaskClassAmbigiousException, TaskClassNotFoundException

from kartnb import display
from kartnb._luigi import (
    CommandLineParser,
    option_names,
    registered_family,
    registered_tasks,
    set_command_line,
)
from kartnb.cli.reporting import PrintingReporter, Reporter, reporter_for
from kartnb.config import (
    CODE_CHANGE_POLICIES,
    EXECUTOR_NAMES,
    USUAL_CONCURRENCY,
    VERSION_POLICIES,
    BuildOptions,
    log_level_named,
)
from kartnb.errors import (
    CommandLineError,
    ExecutorChoiceError,
    ExternalTaskMissingError,
    KartError,
    LoggingConfigError,
    MissingPackageError,
    StorageError,
    TaskDisabledError,
)
from kartnb.execution.build import Build
from kartnb.execution.limits import gokart_worker
from kartnb.execution.report import BuildReport, TaskFailure, build_error
from kartnb.history.clean import delete_local_unnecessary_outputs
from kartnb.interrupts import in_main_thread
from kartnb.notify.slack import SlackConfig, configured_slack
from kartnb.planning.task_info import make_tree_info, tree_info
from kartnb.storage.remote import GCSConfig, S3Config
from kartnb.task.base import TaskOnKart
from kartnb.task.secrets import is_secret
from kartnb.testing.frames import runs_on_empty_frames, test_run

#: Classes whose parameters are options, beside luigi's own and the tasks'.
_OPTION_CLASSES = (tree_info, test_run, SlackConfig, GCSConfig, S3Config, gokart_worker)
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

    option_classes = _OPTION_CLASSES

    def __init__(self, args: list[str]) -> None:
        try:
            super().__init__(args)
        except TaskClassNotFoundException as error:
            name = str(error).removeprefix('No task ').partition('. ')[0]
            raise CommandLineError(_unknown_task(name)) from None
        except TaskClassAmbigiousException as error:
            raise CommandLineError(_ambiguous_task(str(error).split("'")[1])) from None

    def option(self, name: str, section: str = 'core') -> str | None:
        """What was given for an option of one of luigi's sections; None where nothing was."""
        value = getattr(self.known_args, f'{section}_{name}', None)
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


#: Errors that are not of a task, but of what was to run it.
_NOT_OF_TASKS = (ExecutorChoiceError, MissingPackageError, LoggingConfigError, StorageError)
#: The return codes that gokart gives luigi, where they are 0.
_GOKART_CODES = {
    'already_running': 10,
    'missing_data': 20,
    'not_run': 30,
    'task_failed': 40,
    'scheduling_error': 50,
}
_UNHANDLED = 4  # luigi's, for what is no failure of a task
_USAGE_ERROR = 2
_LARGEST_CODE = 255  # of a process
_TREE_MODES = ('', 'simple', 'all')


def run(cmdline_args: Sequence[str] | None = None, set_retcode: bool = True) -> None:
    """Run the task that a command line names, and end the process with a return code.

    Parameters
    ----------
    cmdline_args
        For instance ``['Train', '--depth=5', '--local-scheduler']``; by default those of this process. Options are
        luigi's: a task's parameters (``--depth 5``), another task's (``--Clean-rows 100``), ``--module``,
        ``--workers``, ``--log-level``, ``--logging-conf-file``, ``--no-lock``, ``--help``; gokart's
        ``--tree-info-mode``, ``--delete-unnecessary-output-files``, ``--test-run-pandas`` and
        ``--SlackConfig-channel``; and ``--durable``, ``--executor``, ``--concurrency``, ``--on-code-change``,
        ``--on-version-change`` and ``--rerun-from Class,Class``, as in `build`. A central scheduler decides what runs
        if the options or luigi's configuration name one, and ``--local-scheduler`` is not among them.
    set_retcode
        Whether gokart's return codes hold where neither options (``--retcode-task-failed 7``) nor the section
        ``[retcode]`` of luigi's configuration say otherwise; without them they are 0, as luigi's.

    Raises
    ------
    SystemExit
        With 0 when the task is complete, 10 when the same command is running already, 20 when external data are
        missing, 30 when the task did not get to run, 40 when a task failed, 50 when the tasks could not be planned, 4
        when something else went wrong, 2 when the command line is wrong. A cell of a notebook goes on instead of ending
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
            code = _run(given, _return_codes(given, set_retcode), is_own=cmdline_args is None)
    except (CommandLineError, ParameterException, configparser.Error) as error:
        _print(' '.join(str(error).split()))
        code = _USAGE_ERROR
    if code or not _is_in_a_cell():
        sys.exit(code)


def _is_in_a_cell() -> bool:
    # IPython makes this known to all modules for as long as a cell runs; there SystemExit is shown as an error
    return hasattr(builtins, 'get_ipython')


def _run(given: CommandLine, codes: Mapping[str, int], is_own: bool) -> int:
    """Do what a command line asks for; `is_own` says that it is the one of this process."""
    try:
        options = _options(given)
        task = given.get_task_obj()
    except ValueError as error:
        _print(str(error))
        return _USAGE_ERROR
    reporter: Reporter = PrintingReporter(options.log_level)
    try:
        if _does_something_else(task, reporter):
            return 0
        reporter = reporter_for(_core(given, 'logging_conf_file', ''), options.log_level)
        report = _reported(task, options, reporter, is_free=_is_no_command(is_own) or _is_alone(given))
    except CommandLineError:
        raise
    except Exception as error:
        reporter.complain(str(error) if isinstance(error, KartError) else traceback.format_exc().rstrip())
        return codes['unhandled_exception' if isinstance(error, _NOT_OF_TASKS) else 'scheduling_error']
    if report is None:
        return codes['already_running']
    _show(report, reporter)
    return _code(report, codes) or _trial_code(task)


def _reported(task: luigi.Task, options: BuildOptions, reporter: Reporter, is_free: bool) -> BuildReport | None:
    """Build a task, or not if the command is running already, and tell Slack of it."""
    slack = configured_slack()
    notify = () if slack is None else (slack,)
    options = replace(options, log_level=reporter.level, listeners=(reporter.listener(),), notify=notify)
    if is_free:
        build = Build(task, options)
        with _stopped_by_signal(build):
            return build.run()
    if slack is not None:
        slack.tell_of_no_build(task)
    return None


def _trial_code(task: luigi.Task) -> int:
    """Run the tasks on empty data frames if that was asked for; gives the code."""
    trial = test_run()
    return int(trial.pandas and not runs_on_empty_frames(task, trial.namespace))


def _options(given: CommandLine) -> BuildOptions:
    return BuildOptions(
        workers=_at_least_one('workers', _core(given, 'workers', '1')),
        executor=given.executor,
        concurrency=_at_least_one('concurrency', given.concurrency or str(USUAL_CONCURRENCY)),
        scheduler_url=_scheduler_url(given),
        # luigi's own default, DEBUG, shows every library's
        log_level=log_level_named(_core(given, 'log_level', 'INFO')),
        value_wanted=False,
        durable=given.durable,
        on_code_change=given.on_code_change,
        on_version_change=given.on_version_change,
        rerun=given.rerun,
    )


def _does_something_else(task: luigi.Task, reporter: Reporter) -> bool:
    """Write the tree of the task, or delete what it does not need, where that is asked for instead of a run."""
    asked = tree_info()
    if asked.mode not in _TREE_MODES:
        raise CommandLineError(f'--tree-info-mode must be "simple" or "all", not {asked.mode!r:.80}.')
    if asked.mode:
        asked.output().dump(make_tree_info(task, details=asked.mode == 'all'))
        reporter.say(f'The tree of {type(task).__name__} is in {asked.output().path()}.')
    elif isinstance(task, TaskOnKart) and task.delete_unnecessary_output_files:
        _delete_what_is_not_needed(task, reporter)
    else:
        return False
    return True


def _delete_what_is_not_needed(task: TaskOnKart[Any], reporter: Reporter) -> None:
    workspace = task.workspace_directory
    if '://' in workspace:
        reporter.complain(
            f'--delete-unnecessary-output-files deletes nothing in {workspace}, which is not a local directory: '
            'kartnb.clean(task, remove=True) does.'
        )
    elif not os.path.exists(workspace):
        reporter.say(f'{workspace} does not exist: there is nothing to delete.')
    else:
        delete_local_unnecessary_outputs(task)


def _is_no_command(is_own: bool) -> bool:
    """Whether the command of this process does not say which tasks it runs: that of a kernel, or of a test's worker."""
    return _is_in_a_cell() or (not is_own and '-c' in sys.orig_argv)


def _is_alone(given: CommandLine) -> bool:
    """Whether no more processes than ``--lock-size`` run the same command; luigi's files say so, gokart's too."""
    settings: Any = luigi.interface.core()
    if settings.no_lock:
        return True
    signal_number = getattr(signal, 'SIGUSR1', None) if settings.take_lock else None
    said = io.StringIO()
    try:
        _forget_own_process(settings.lock_pid_dir)
        with redirect_stdout(said):
            is_free = luigi.lock.acquire_for(settings.lock_pid_dir, settings.lock_size, signal_number)
    except OSError:  # another user's directory, perhaps; each task is run once without this lock too
        return True
    if not is_free:
        _print(f'The same command is running already: {said.getvalue().strip()}. To run it all the same: --no-lock.')
    return bool(is_free)


def _forget_own_process(directory: str) -> None:
    """Take this process from the file of those that run its command: an earlier run of it has ended."""
    own, _, file = luigi.lock.get_info(directory)
    if os.path.exists(file):
        with open(file, encoding='utf-8') as opened:
            lines = opened.read().split()
        if str(own) in lines:
            with open(file, 'w', encoding='utf-8') as opened:
                opened.writelines(f'{line}\n' for line in lines if line != str(own))


@contextmanager
def _stopped_by_signal(build: Build) -> Iterator[None]:
    """Let ``--take-lock`` of another process end a build, as luigi's workers do: by SIGUSR1."""
    number = getattr(signal, 'SIGUSR1', None)
    if number is None or not in_main_thread():
        yield
        return
    # in a thread: the build may be waiting for the lock of its queue here
    earlier = signal.signal(number, lambda *_: threading.Thread(target=build.stop).start())
    try:
        yield
    finally:
        signal.signal(number, earlier if earlier is not None else signal.SIG_DFL)


def _core(given: CommandLine, name: str, default: str) -> str:
    """What the command line or the configuration says of an option of luigi's section ``[core]``."""
    config: Any = luigi.configuration.get_config()
    return given.option(name) or str(config.get('core', name, default))


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


def _return_codes(given: CommandLine, set_retcode: bool) -> dict[str, int]:
    usual = {name: code if set_retcode else 0 for name, code in _GOKART_CODES.items()}
    usual['unhandled_exception'] = _UNHANDLED
    return {name: _return_code(given, name, code) for name, code in usual.items()}


def _return_code(given: CommandLine, name: str, usual: int) -> int:
    """The code for an ending: what its option says, else the section ``[retcode]``, else the usual one."""
    text = given.option(name, 'retcode')
    if text is None:
        return int(luigi.configuration.get_config().getint('retcode', name, usual))
    if not text.isdigit() or int(text) > _LARGEST_CODE:
        option = f'--retcode-{name.replace("_", "-")}'
        raise CommandLineError(f'{option} must be a number from 0 to {_LARGEST_CODE}, not {text!r:.40}.')
    return int(text)


def _show(report: BuildReport, reporter: Reporter) -> None:
    for failure in report.failures:
        if not isinstance(failure.error, KartError):
            reporter.complain(failure.mask(''.join(traceback.format_exception(failure.error)).rstrip()))
    if report.failures:
        reporter.complain(str(build_error(report)))
    else:
        reporter.say(display.render(report, 'text'))


def _code(report: BuildReport, codes: Mapping[str, int]) -> int:
    kinds = {_kind(report, failure) for failure in report.failures}
    if not kinds and not report.succeeded:  # it was stopped
        kinds = {'not_run'}
    return max((codes[kind] for kind in kinds), default=0)


def _kind(report: BuildReport, failure: TaskFailure) -> str:
    if isinstance(failure.error, ExternalTaskMissingError):
        return 'missing_data'
    if isinstance(failure.error, TaskDisabledError):
        return 'not_run'
    # a task that was not going to run, but for its complete(), which failed
    return 'task_failed' if report.planned[failure.key].will_run else 'scheduling_error'


def _print(text: str) -> None:
    sys.stderr.write(f'{text}\n')
