"""The error of a build: which tasks failed, with which parameters, and the line of the user's code to look at."""

from __future__ import annotations

import linecache
import os
import sysconfig
import traceback
from collections.abc import Mapping
from typing import Any

from kartnb import display
from kartnb.errors import KartError
from kartnb.execution.report import BuildReport, TaskFailure

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
        self, message: str, raised_exceptions: Mapping[str, list[BaseException]], report: BuildReport | None = None
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
        shown = display.format_traceback(cause)
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
    """Raise the error of a build with failures.

    Raises
    ------
    GokartBuildError
        When there are any. Its traceback ends in the user's frame, so that a debugger stops there.
    """
    __tracebackhide__ = True
    if report.failures:
        cause = report.failures[0].error
        raise build_error(report).with_traceback(cause.__traceback__) from cause


def user_code_location(error: BaseException) -> str:
    """The innermost line of the user's own code on a traceback, as ``file:line in function: code``, or ''."""
    found = [frame for frame in traceback.extract_tb(error.__traceback__) if is_user_code(frame.filename)]
    if not found:
        return ''
    frame = found[-1]
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
    blocked = sum(state.value == 'blocked' for state in (node.state for node in report.plan))
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
    lines.append(f'    {_said(failure.error)}')
    if failure.location:
        lines.append(f'    at {failure.location}')
    return lines


def _said(error: BaseException) -> str:
    """An exception as one line, without its notes."""
    text = ' '.join(str(error).split())
    return f'{type(error).__name__}: {text}' if text else type(error).__name__
