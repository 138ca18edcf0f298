"""How a build ended: the report, the error that it raises, and the place in the user's code to look at."""

from __future__ import annotations

import functools
import linecache
import os
import sysconfig
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType, TracebackType
from typing import Any

import luigi

from kartnb import display
from kartnb.errors import KartError, described
from kartnb.model import Node, Plan, TaskState
from kartnb.task.base import TaskOnKart
from kartnb.task.describe import shown_parameters
from kartnb.task.identity import known_id
from kartnb.task.results import workspace_of
from kartnb.task.secrets import NO_SECRETS, Masker

_NOT_BEGUN = (TaskState.MISSING, TaskState.STALE, TaskState.QUEUED)


@dataclass(frozen=True, slots=True)
class TaskFailure:
    """One task that failed."""

    key: str
    name: str
    unique_id: str
    #: Pairs of name and text, without secret ones.
    parameters: tuple[tuple[str, str], ...]
    #: What its code raised; the traceback starts in the user's code.
    error: BaseException = field(repr=False)
    #: The user's line to look at, as ``file:line in function``; '' when no user code is on the stack.
    location: str
    #: What it raised in earlier tries of the same build (`retry_count`), in order.
    earlier: tuple[BaseException, ...] = field(default=(), repr=False)
    #: Masks the secrets of the build's tasks.
    mask: Masker = field(default=NO_SECRETS, repr=False)

    @property
    def text(self) -> str:
        """The type and the text of the error, with secrets masked."""
        return self.mask(described(self.error))

    @property
    def line(self) -> str:
        """The error with its notes as one line, with secrets masked."""
        return error_line(self.error, self.mask)


@dataclass(frozen=True, eq=False, repr=False)
class BuildReport(display.Displayed):
    """How a build ended.

    Attributes
    ----------
    build_id
        A random id, the same as in the build's events and run records.
    planned
        The plan when the build began, with what running tasks have asked for.
    plan
        The plan with the final state of every node.
    seconds
        Wall-clock time of the whole build.
    durations
        Seconds that each task ran, by node key; tasks that did not run are not in it.
    failures
        The tasks that failed, in the order of their failing.
    states
        The final states of the tasks, by node key.
    memory
        How many bytes of memory each task took at most beside what its process had before, by node key, where known.
    tries
        What tasks raised in tries that were followed by another one, by node key, in order.
    began
        Whether there was a plan; else the root task alone is in it, and has failed with what was in the way.
    mask
        Masks the secrets of the build's tasks.
    """

    build_id: str
    planned: Plan
    seconds: float
    durations: Mapping[str, float]
    failures: tuple[TaskFailure, ...]
    states: Mapping[str, TaskState] = field(default_factory=dict)
    memory: Mapping[str, int] = field(default_factory=dict)
    tries: Mapping[str, Sequence[BaseException]] = field(default_factory=dict)
    began: bool = True
    mask: Masker = NO_SECRETS

    @functools.cached_property
    def plan(self) -> Plan:
        """The plan with the final state of every node."""
        return self.planned.with_states(self.states)  # made when somebody asks: most callers want a value

    @property
    def succeeded(self) -> bool:
        """Whether the root task is complete."""
        return not self.failures and not self.interrupted

    @property
    def interrupted(self) -> bool:
        """Whether the build was stopped before its end."""
        return any(
            node.state is TaskState.INTERRUPTED or (node.will_run and node.state in _NOT_BEGUN) for node in self.plan
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {'text/plain': repr(self), 'text/html': self._repr_html_()}


_NOT_USER_CODE = tuple(
    os.path.normcase(os.path.join(path, ''))
    for path in {
        os.path.dirname(os.path.dirname(__file__)),
        *(sysconfig.get_paths()[name] for name in ('stdlib', 'platstdlib', 'purelib', 'platlib')),
    }
)


class GokartBuildError(KartError):
    """A build failed.

    It is chained to the first exception that a task raised, and its traceback ends in the user's code.

    Attributes
    ----------
    raised_exceptions
        The exceptions by the unique id of the task that raised them.
    report
        How the build ended, or None.
    """

    def __init__(
        self,
        message: str,
        raised_exceptions: Mapping[str, list[BaseException]] = MappingProxyType({}),
        report: BuildReport | None = None,
    ) -> None:
        super().__init__(message)
        self.raised_exceptions = dict(raised_exceptions)
        self.report = report

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.args[0], self.raised_exceptions))

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        alone = self.report is not None and len(printer.stack) == 1
        printer.text(display.render(self.report, 'text') if alone else repr(self))

    def _repr_html_(self) -> str | None:
        return None if self.report is None else display.render(self.report, 'html')

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the traceback of the user's own exception, then the message."""
        cause = self.__cause__ or self
        mask = self.report.failures[0].mask if self.report is not None else NO_SECRETS
        shown = [mask(line) for line in display.format_traceback(cause)]
        return [*shown, *([''] if shown else []), f'{type(self).__name__}: {self}']


class HasLockedTaskException(KartError):  # noqa: N818 - gokart's name
    """Another process still held the lock of a task after the last try."""


def build_error(report: BuildReport) -> GokartBuildError:
    """The error of a report with failures."""
    raised: dict[str, list[BaseException]] = {}
    for failure in report.failures:
        raised.setdefault(failure.unique_id, []).extend([*failure.earlier, failure.error])
    return GokartBuildError('\n'.join(_sentences(report)), raised, report)


def raise_failures(report: BuildReport) -> None:
    """Raise the `GokartBuildError` of a build with failures.

    Its traceback ends in the user's frame, so that a debugger stops there.
    """
    __tracebackhide__ = True
    if report.failures:
        cause = report.failures[0].error
        raise build_error(report).with_traceback(cause.__traceback__) from cause


def failure_of(node: Node, error: BaseException, earlier: tuple[BaseException, ...], mask: Masker) -> TaskFailure:
    """The failure of a task with an error."""
    parameters = tuple((parameter.name, parameter.text) for parameter in shown_parameters(node.task))
    location = mask(user_code_location(error))
    return TaskFailure(node.key, node.name, node.unique_id, parameters, error, location, earlier, mask)


def report_of_no_build(task: luigi.Task, error: BaseException, seconds: float) -> BuildReport:
    """The report of a build that could not be planned because of an error, or was interrupted meanwhile."""
    # to make an id now, requirements would be asked again, which are often what was in the way
    unique_id = (known_id(task) or '') if isinstance(task, TaskOnKart) else str(task.task_id)
    state = TaskState.FAILED if isinstance(error, Exception) else TaskState.INTERRUPTED
    name, mask = type(task).__name__, Masker.of_build([task])
    root = Node(task, f'{name}_{unique_id}', name, unique_id, state)
    failures = (failure_of(root, error, (), mask),) if state is TaskState.FAILED else ()
    plan = Plan((root,), workspace_of(task))
    return BuildReport('', plan, seconds, {}, failures, {root.key: state}, began=False, mask=mask)


def user_code_location(error: BaseException) -> str:
    """The innermost line of the user's own code on a traceback, as ``file:line in function: code``, or ''.

    Code without a source, such as a function that cloudpickle has brought, counts only where nothing else is there.
    """
    found = [frame for frame in traceback.extract_tb(error.__traceback__) if is_user_code(frame.filename)]
    if not found:
        return ''
    frame = next((frame for frame in reversed(found) if frame.line), found[-1])
    line = (frame.line or linecache.getline(frame.filename, frame.lineno or 0)).strip()
    place = f'{display.source_name(frame.filename)}:{frame.lineno} in {frame.name}'
    return f'{place}: {line}' if line else place


def is_user_code(filename: str) -> bool:
    """Whether a file is neither kartnb's nor Python's own nor an installed package's."""
    if filename.startswith('<frozen'):
        return False
    return not os.path.normcase(os.path.abspath(filename)).startswith(_NOT_USER_CODE)


def _sentences(report: BuildReport) -> list[str]:
    count = len(report.failures)
    lines = ['1 task failed' if count == 1 else f'{count} tasks failed']
    blocked = sum(node.state is TaskState.BLOCKED for node in report.plan)
    if blocked:
        lines[0] += f', and {blocked} that {"needs" if blocked == 1 else "need"} its result did not run'
    lines[0] += ':'
    for failure in report.failures[:10]:
        lines.extend(_described(failure))
    if count > 10:
        lines.append(f'  … and {count - 10} more, in error.report.failures')
    return lines


def _described(failure: TaskFailure) -> list[str]:
    parameters = ', '.join(f'{name}={text}' for name, text in failure.parameters)
    lines = [f'  {failure.name}({parameters}) [{failure.unique_id}]']
    lines.append(f'    {" ".join(failure.text.split())}')
    if failure.location:
        lines.append(f'    at {failure.location}')
    return lines


def error_line(error: BaseException, mask: Masker = NO_SECRETS) -> str:
    """An exception with its notes as one line of at most 300 characters."""
    text = ' '.join(mask(''.join(traceback.format_exception_only(error))).split())
    return text if len(text) <= 300 else f'{text[:299]}…'


def trim_traceback(error: BaseException) -> None:
    """Let an exception's traceback begin in the user's code; for kartnb's own errors let it end there too."""
    frames = entries_of(error.__traceback__)
    outside = [i for i, entry in enumerate(frames) if not is_kartnbs(entry)]
    if not outside:
        return
    kept = frames[outside[0] :]
    if isinstance(error, KartError):
        kept[outside[-1] - outside[0]].tb_next = None
    error.with_traceback(kept[0])  # a frozen dataclass takes no assignment


def entries_of(trace: TracebackType | None) -> list[TracebackType]:
    """The entries of a traceback, outermost first."""
    found = []
    while trace is not None:
        found.append(trace)
        trace = trace.tb_next
    return found


def module_of(entry: TracebackType) -> str:
    """The module whose code an entry of a traceback is in."""
    return str(entry.tb_frame.f_globals.get('__name__', ''))


def is_kartnbs(entry: TracebackType) -> bool:
    """Whether an entry of a traceback is in kartnb's own code."""
    return module_of(entry).partition('.')[0] == 'kartnb'
