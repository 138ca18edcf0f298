"""How `kartnb.run` reports: on standard error, or through the logging that luigi's settings configure.

The settings are luigi's: ``--logging-conf-file`` or ``[core] logging_conf_file``, the section ``[logging]`` of a TOML
configuration, and ``[core] no_configure_logging``. What they say of the logger ``gokart`` holds for ``kartnb`` too.
"""

from __future__ import annotations

import logging
import logging.config
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from configparser import NoSectionError
from typing import Any

import luigi
from luigi.configuration import LuigiConfigParser
from luigi.freezing import recursively_unfreeze

from kartnb.capture.capture import is_enabled
from kartnb.errors import LoggingConfigError, described
from kartnb.execution.build import change_teller, log_printer
from kartnb.model import Event, Listener, LogLine, TaskStateChanged

logger = logging.getLogger('kartnb')

#: What was configured last in this process: again, it would empty files that handlers have begun.
_configured: object = None


class Reporter(ABC):
    """Tells how a run goes; `level` is that of the logged lines which its build captures."""

    level: int

    @abstractmethod
    def listener(self) -> Listener:
        """What is given the events of the build."""

    @abstractmethod
    def say(self, text: str) -> None:
        """Tell something that is of interest."""

    @abstractmethod
    def complain(self, text: str) -> None:
        """Tell what went wrong."""


class PrintingReporter(Reporter):
    """Writes to standard error."""

    def __init__(self, level: int) -> None:
        self.level = level

    def listener(self) -> Listener:
        return log_printer(self.level)

    def say(self, text: str) -> None:
        if self.level <= logging.INFO:
            _print(text)

    def complain(self, text: str) -> None:
        _print(text)


class LoggingReporter(Reporter):
    """Logs, where logging is configured; an error that this shows nobody goes to standard error too."""

    def __init__(self) -> None:
        self.level = min(logging.getLogger().level or logging.DEBUG, logging.INFO)

    def listener(self) -> Listener:
        tell_changes = change_teller(logger.warning)
        own = os.getpid()

        def hear(event: Event) -> None:
            if isinstance(event, LogLine):
                # this process's own lines have been to its handlers
                if event.process != own:
                    _hand_on(event)
            elif not isinstance(event, TaskStateChanged):
                tell_changes(event)

        return hear

    def say(self, text: str) -> None:
        logger.info('%s', text)

    def complain(self, text: str) -> None:
        logger.error('%s', text)
        if not _is_seen():
            _print(text)


def reporter_for(conf_file: str, level: int) -> Reporter:
    """Configure logging as luigi's settings say, and give what reports then.

    `conf_file` is luigi's ``logging_conf_file``, '' for none; `level` holds where nothing is configured. Raises
    LoggingConfigError when a configuration cannot be used.
    """
    configuration: Any = luigi.configuration.get_config()
    if configuration.getboolean('core', 'no_configure_logging', False):
        # without a handler Python shows warnings alone
        return LoggingReporter() if logger.hasHandlers() else PrintingReporter(max(level, logging.WARNING))
    if conf_file:
        if not os.path.isfile(conf_file):
            raise LoggingConfigError(f'The logging configuration {conf_file} was not found: see logging_conf_file.')
        _configure(
            conf_file,
            (os.path.abspath(conf_file), os.stat(conf_file).st_mtime_ns),
            lambda: logging.config.fileConfig(conf_file, disable_existing_loggers=False),
        )
        return LoggingReporter()
    section = _section(configuration)
    if section is not None:
        _configure('section [logging]', repr(section), lambda: logging.config.dictConfig(section))
        return LoggingReporter()
    return PrintingReporter(level)


def _section(configuration: Any) -> dict[str, Any] | None:
    """What the section ``[logging]`` says; a ``luigi.cfg`` has none that luigi reads."""
    if isinstance(configuration, LuigiConfigParser):
        return None
    try:
        found: dict[str, Any] = recursively_unfreeze(configuration['logging'])
    except (TypeError, KeyError, NoSectionError):
        return None
    return found


def _configure(name: str, key: object, configure: Callable[[], object]) -> None:
    global _configured
    if _configured == key:
        return
    before = {each.name: _rules(each) for each in _loggers('kartnb')}
    try:
        configure()
    except Exception as error:  # whatever a handler of the user's raises
        raise LoggingConfigError(f'The logging configuration {name} cannot be used: {described(error)}.') from error
    _configured = key
    for theirs in _loggers('gokart'):
        ours = logging.getLogger('kartnb' + theirs.name.removeprefix('gokart'))
        is_named_itself = _rules(ours) != before.get(ours.name, _NO_RULES)
        if _rules(theirs) != _NO_RULES and not is_named_itself:
            ours.setLevel(theirs.level)
            ours.handlers, ours.propagate, ours.disabled = [*theirs.handlers], theirs.propagate, theirs.disabled


_NO_RULES: tuple[int, list[logging.Handler], bool] = (logging.NOTSET, [], True)


def _rules(rules_of: logging.Logger) -> tuple[int, list[logging.Handler], bool]:
    return rules_of.level, [*rules_of.handlers], rules_of.propagate


def _loggers(name: str) -> list[logging.Logger]:
    """A logger and those below it, where there are any."""
    known = list(logging.Logger.manager.loggerDict.items())
    return [found for each, found in known if isinstance(found, logging.Logger) and f'{each}.'.startswith(f'{name}.')]


def _hand_on(line: LogLine) -> None:
    """Give a line from a worker process to the handlers of this one."""
    source = logging.getLogger(line.logger)
    if is_enabled(source, line.level):
        record = source.makeRecord(line.logger, line.level, '', 0, '%s', (line.text,), None)
        record.created, record.process = line.time, line.process
        record.msecs = int(line.time % 1 * 1000)
        source.handle(record)


def _is_seen() -> bool:
    """Whether somebody sees errors that are logged: they go to a stream which is not a file."""
    if logger.disabled or not logger.isEnabledFor(logging.ERROR):
        return False
    at: logging.Logger | None = logger
    while at is not None:
        for handler in at.handlers:
            if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
                return True
        at = at.parent if at.propagate else None
    return False


def _print(text: str) -> None:
    sys.stderr.write(f'{text}\n')
