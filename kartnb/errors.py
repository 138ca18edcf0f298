"""The exceptions of kartnb, and the text of any exception.

Every message of kartnb's is one clear sentence that says what is wrong and what to do.
"""

from __future__ import annotations

import importlib
from typing import Any


def text_of(error: BaseException) -> str:
    """The text of an exception, also of one whose ``__str__`` raises."""
    try:
        return str(error)
    except Exception:  # whatever a user's class does, the failure itself must still be shown
        return '<message not available>'


def described(error: BaseException) -> str:
    """The type and the text of an exception.

    >>> described(ValueError('no rows')), described(ValueError())
    ('ValueError: no rows', 'ValueError')
    """
    text = text_of(error)
    return f'{type(error).__name__}: {text}' if text else type(error).__name__


class KartError(Exception):
    """The base of every error that kartnb raises on purpose."""

    # KeyError, from which some of these derive too, would show the message in quotes.
    __str__ = Exception.__str__


class RequirementError(KartError, ValueError):
    """A `requires()` gives something that is not a task."""


class CyclicRequirementsError(KartError, RecursionError):
    """A task requires itself, directly or through others."""


class SharedOutputError(KartError):
    """Two different tasks of one plan would write the same file."""


class OlderDefinitionError(KartError, ValueError):
    """A task of an older definition of its class is in a plan, and today's class does not take its parameter values."""


class InputError(KartError, AssertionError, KeyError):
    """`load` was asked for an input that the task does not have."""


class OutputError(KartError, AssertionError, KeyError):
    """`dump` was asked for an output that the task does not have."""


class EmptyDumpError(KartError, AssertionError):
    """A task with `fail_on_empty_dump` dumps an empty data frame."""


class PandasTypeError(KartError):
    """A column of a dumped data frame does not have the type that its `PandasTypeConfig` asks for."""


class TaskNotDumpedError(KartError):
    """A task ended without having dumped an output that it declares."""


class ExternalTaskMissingError(KartError):
    """An external task's output is not there, so what needs it cannot run."""


class TaskArgumentError(KartError, TypeError):
    """Something that is not a task was given where a task is needed."""


class FilterError(KartError, ValueError):
    """Outputs or log lines cannot be chosen or sorted by what was given."""


class StorageError(KartError, OSError):
    """A place for results cannot be read or written: no permission, a full disk, a directory in its place, ...

    Attributes
    ----------
    path
        The place, as given.
    """

    def __init__(self, message: str, path: str = '', errno: int | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.errno = errno

    def __reduce__(self) -> tuple[type[StorageError], tuple[str, str, int | None]]:
        return type(self), (str(self), self.path, self.errno)


class MissingResultError(StorageError, FileNotFoundError):
    """A result was asked for that does not exist."""


class UnreadableResultError(KartError):
    """A file is there, but holds no value that can be read: truncated, foreign, or made with packages that are missing.

    Attributes
    ----------
    path
        The file, as given.
    """

    def __init__(self, message: str, path: str = '') -> None:
        super().__init__(message)
        self.path = path

    def __reduce__(self) -> tuple[type[UnreadableResultError], tuple[str, str]]:
        return type(self), (str(self), self.path)


class UnloadedResultError(UnreadableResultError):
    """A file is not read without being asked for: that may run code which it brings along, or take much memory."""


class FileInputError(KartError, ValueError):
    """What was given as a file that a task reads is not a path, does not exist or cannot be read."""


class UnknownFormatError(KartError, AssertionError):
    """No format is known for a file's extension."""


class WrongValueError(KartError, TypeError, ValueError, AssertionError):
    """A value cannot be kept in the format of its target."""


class MissingPackageError(KartError, ImportError):
    """An optional package is needed; the message says which one and how to install it."""


class DrawingError(KartError, NotImplementedError):
    """A graph cannot be drawn; IPython takes a `NotImplementedError` as the sign to show the text instead."""


class TaskLockException(KartError):  # noqa: N818 - gokart's name
    """Another process holds the lock of a task or a result."""


class ResultReplacedError(TaskLockException):
    """A result was replaced by another build while it was being used."""


class TransportError(KartError):
    """A task or its class cannot be sent to a worker process."""


class BuildStoppedError(KartError):
    """A background build was stopped before its end."""


class ExecutorChoiceError(KartError, ValueError):
    """An executor of the kind that was asked for does not exist, or cannot be reached."""


class WorkerError(KartError):
    """A worker process died, or is not able to run what it was sent."""


class WorkerDiedError(WorkerError):
    """The worker process that ran a task died."""


class TaskTimeoutError(WorkerError, TimeoutError):
    """A task ran longer than its `worker_timeout` allows, and was ended."""


class TaskDisabledError(KartError):
    """A task that has to run is disabled (luigi's attribute `disabled`)."""


class TaskSettingError(KartError, ValueError):
    """luigi's settings of a task (`resources`, `priority`, `retry_count`, …) or of its configuration are wrong."""


class OutdatedResultError(KartError):
    """Results whose code has changed would be used, and ``on_code_change='error'`` refuses that."""


class SchedulerError(ExecutorChoiceError):
    """luigi's central scheduler cannot be reached, or does not hand out the tasks."""


class UnknownOptionError(KartError, TypeError):
    """An option that a build does not have."""


class CommandLineError(KartError, ValueError):
    """A command line is wrong."""


class NotificationError(KartError, RuntimeError):
    """Nobody can be told how a build ended: something is not set up, or a service does not answer."""


class LoggingConfigError(KartError, ValueError):
    """A configuration of logging cannot be used."""


class HistoryError(KartError, LookupError, ValueError):
    """A question to a workspace's history finds no result, or more than one."""


class ParameterValueError(KartError, ValueError):
    """A parameter does not take a given value."""


class SweepError(KartError, ValueError):
    """A sweep cannot be made as it was asked for: too many points, an unknown parameter or metric, ..."""


def __getattr__(name: str) -> Any:
    if name in ('GokartBuildError', 'HasLockedTaskException'):  # gokart has them among its errors
        return getattr(importlib.import_module('kartnb'), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
