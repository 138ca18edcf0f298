"""`kartnb.run`: a task from the command line, with gokart's options and return codes."""

from __future__ import annotations

import builtins
import logging
import sys
import traceback
from collections.abc import Mapping, Sequence

import luigi
from luigi.cmdline_parser import CmdlineParser
from luigi.parameter import ParameterException
from luigi.task_register import TaskClassException

from kartnb import display
from kartnb.errors import ExternalTaskMissingError, KartError
from kartnb.events import Listener
from kartnb.execution.build import log_printer, run_build
from kartnb.execution.build_error import build_error
from kartnb.execution.options import log_level_named
from kartnb.execution.report import BuildReport

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
        ``--log-level``, ``--help``. The task runs in this process, with or without ``--local-scheduler``.
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
        with CmdlineParser.global_instance(args) as parser:
            code = _run(parser, _return_codes(set_retcode))
    except (TaskClassException, ParameterException) as error:
        _say(str(error))
        code = _USAGE_ERROR
    if code or not _is_in_a_cell():
        sys.exit(code)


def _is_in_a_cell() -> bool:
    # IPython makes this known to all modules for as long as a cell runs; there SystemExit is shown as an error
    return hasattr(builtins, 'get_ipython')


def _run(parser: CmdlineParser, codes: Mapping[str, int]) -> int:
    try:
        level = _log_level(parser)
        task = parser.get_task_obj()
    except ValueError as error:
        _say(str(error))
        return _USAGE_ERROR
    listeners: tuple[Listener, ...] = (log_printer(level),)
    try:
        report = run_build(task, log_level=level, listeners=listeners, value_wanted=False)
    except Exception as error:
        _say(str(error) if isinstance(error, KartError) else traceback.format_exc().rstrip())
        return codes['scheduling_error']
    _show(report, level)
    return _code(report, codes)


def _log_level(parser: CmdlineParser) -> int:
    """The level that the command line or the configuration asks for; luigi's default, DEBUG, shows every library's."""
    asked = getattr(parser.known_args, 'core_log_level', None)
    config = luigi.configuration.get_config()
    return log_level_named(asked or config.get('core', 'log_level', 'INFO'))


def _return_codes(set_retcode: bool) -> dict[str, int]:
    config = luigi.configuration.get_config()
    return {name: config.getint('retcode', name, code if set_retcode else 0) for name, code in _GOKART_CODES.items()}


def _show(report: BuildReport, level: int) -> None:
    for failure in report.failures:
        error = failure.error
        if not isinstance(error, KartError):
            _say(''.join(traceback.format_exception(error)).rstrip())
    if report.failures:
        _say(str(build_error(report)))
    elif level <= logging.INFO:
        _say(display.render(report, 'text'))


def _code(report: BuildReport, codes: Mapping[str, int]) -> int:
    kinds = {
        'missing_data' if isinstance(failure.error, ExternalTaskMissingError) else 'task_failed'
        for failure in report.failures
    }
    return max((codes[kind] for kind in kinds), default=0)


def _say(text: str) -> None:
    sys.stderr.write(f'{text}\n')
