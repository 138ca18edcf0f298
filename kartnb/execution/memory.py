"""Memory: what a run takes is measured, and what tasks need is compared with what there is.

Measured is the resident memory of the whole process, from the moment at which the code of the task begins. Worker
processes run one task at a time. In a notebook, what it holds is there before, so that the rise is the task's. Tasks in
threads are not measured, because nobody can tell them apart; children of a task do not count.
"""

from __future__ import annotations

import functools
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar, Token
from numbers import Real
from typing import NamedTuple

import luigi

from kartnb.config import configured_memory
from kartnb.errors import HistoryError, TaskSettingError
from kartnb.history.log_store import RecordedMemory
from kartnb.history.select import byte_count

if sys.platform != 'win32':
    from resource import RUSAGE_SELF, getrusage

# ----- what a run takes -----------------------------------------------------------------------------------------------


class MemoryUse(NamedTuple):
    """The resident memory of a process when a task began, and at most until its end; bytes."""

    before: int
    peak: int

    @property
    def added(self) -> int:
        """How much it was at most above the beginning."""
        return max(self.peak - self.before, 0)

    def with_later(self, later: MemoryUse | None) -> MemoryUse:
        """The same until the end of what the task did later."""
        return self if later is None else MemoryUse(self.before, max(self.peak, later.peak))


class MemoryMeter:
    """Measures the memory of this process until `end`.

    Within it another one may begin and end, of a task that is built by the task. Runs beside each other cannot be told
    apart: neither gives anything then, and none that is not `alone`, in one of several threads.
    """

    __slots__ = ('_before', '_is_shared', '_peak', '_token')

    def __init__(self, alone: bool) -> None:
        self._is_shared = not alone or bool(_under_way and _under_way[-1] is not _innermost.get())
        if self._is_shared:
            _let_all_be_shared()
            self._before = self._peak = 0
        else:
            for outer in _under_way:
                outer._peak = max(outer._peak, _peak_reader()())
            self._before = self._peak = _peak_from_now()
        self._token: Token[MemoryMeter | None] = _innermost.set(self)
        _under_way.append(self)

    def end(self) -> MemoryUse | None:
        """What was measured; None where nothing is known."""
        if _under_way[-1] is not self:  # another one began later and goes on
            _let_all_be_shared()
        _under_way.remove(self)
        _innermost.reset(self._token)
        if self._is_shared or not self._before:
            return None
        return MemoryUse(self._before, max(self._peak, _peak_reader()()))


def _let_all_be_shared() -> None:
    for meter in _under_way:
        meter._is_shared = True


#: The meters of the runs under way, the innermost last; and the one of the run that this code belongs to.
_under_way: list[MemoryMeter] = []
_innermost: ContextVar[MemoryMeter | None] = ContextVar('kartnb_innermost_meter', default=None)


def _peak_from_now() -> int:
    """Let the peak of this process count from now on; gives the memory of now, 0 where either is not possible."""
    return _peak_reader()() if _reset_peak() else 0


def _reset_peak() -> bool:
    # on Linux only; opened each time, because in a forked process a descriptor would be that of the parent
    try:
        file = os.open('/proc/self/clear_refs', os.O_WRONLY)
    except OSError:
        return False
    try:
        return os.write(file, b'5') == 1
    except OSError:
        return False
    finally:
        os.close(file)


@functools.cache
def _peak_reader() -> Callable[[], int]:
    """What reads the peak of this process, since it was last reset, in bytes: the quick way where that is exact."""
    exact = _peak_of_status()
    # what this process was before `exec`, or its parent before `vfork`, counts there too
    return _peak_of_usage if _peak_of_usage() < exact + _SLACK else _peak_of_status


#: Bytes by which two readings of the same memory may differ: the kernel counts in parts, one for each processor.
_SLACK = 4 << 20


def _peak_of_usage() -> int:
    return getrusage(RUSAGE_SELF).ru_maxrss * 1024


def _peak_of_status() -> int:
    try:
        return _kilobytes('/proc/self/status', 'VmHWM') * 1024
    except (OSError, ValueError):
        return 0


def _kilobytes(path: str, name: str) -> int:
    with open(path, encoding='ascii', errors='replace') as file:
        for line in file:
            if line.startswith(f'{name}:'):
                return int(line.split()[1])
    raise ValueError(f'{path} has no {name}')


# ----- what there is --------------------------------------------------------------------------------------------------


def available_memory() -> int | None:
    """Bytes of memory that can be used now: of the computer, or of the control group where that is less."""
    left = [_left_on_computer(), *_left_in_groups('/proc/self/cgroup', '/sys/fs/cgroup')]
    known = [number for number in left if number is not None]
    return min(known, default=None)


def _left_on_computer() -> int | None:
    try:
        return _kilobytes('/proc/meminfo', 'MemAvailable') * 1024
    except (OSError, ValueError):
        pass
    psutil = sys.modules.get('psutil')  # as in Jupyter, which needs it
    if psutil is not None:
        return int(psutil.virtual_memory().available)
    try:
        return os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    except (AttributeError, OSError, ValueError):
        return None


def _left_in_groups(groups: str, root: str) -> Iterator[int]:
    """What the control groups that the file `groups` lists leave this process; they are directories below `root`."""
    try:
        with open(groups, encoding='utf-8') as file:
            lines = [line.strip().split(':', 2) for line in file]
    except (OSError, UnicodeDecodeError):
        return
    for _, controllers, path in (line for line in lines if len(line) == 3):
        if not controllers:
            names, place = ('memory.max', 'memory.current', 'inactive_file'), root
        elif 'memory' in controllers.split(','):
            names, place = ('memory.limit_in_bytes', 'memory.usage_in_bytes', 'total_inactive_file'), f'{root}/memory'
        else:
            continue
        parts = path.strip('/').split('/')
        # a limit of a group holds for those below it; in a container the path may begin outside of it
        for length in range(len(parts) + 1):
            left = _left_in_group('/'.join([place, *parts[:length]]), *names)
            if left is not None:
                yield left


def _left_in_group(folder: str, limit_name: str, used_name: str, reclaimable: str) -> int | None:
    try:
        limit, used = (_number_in(f'{folder}/{name}') for name in (limit_name, used_name))
        with open(f'{folder}/memory.stat', encoding='ascii') as file:
            cached = next((int(line.split()[1]) for line in file if line.split()[:1] == [reclaimable]), 0)
    except (OSError, ValueError):  # 'max' is no limit
        return None
    return max(limit - max(used - cached, 0), 0)


def _number_in(path: str) -> int:
    with open(path, encoding='ascii') as file:
        return int(file.read())


# ----- what tasks need ------------------------------------------------------------------------------------------------

#: The resource that memory is; luigi's configuration and tasks cannot have this name.
MEMORY = 'memory of this computer'
#: What earlier runs took counts from this share of the memory on.
_LARGE = 1 / 8


class MemoryNeeds:
    """How much memory the tasks of one build need, as they say or as earlier runs took.

    Raises `TaskSettingError` when the limit in the environment or the configuration is not an amount.
    """

    def __init__(self) -> None:
        text, where = configured_memory()
        self._given = _bytes_of(text, where) if text else None
        self._limit: int | None = None
        self._recorded = RecordedMemory()
        self._warned: set[type] = set()

    def begin(self) -> Mapping[str, float]:
        """Let the tasks of a build share the memory of now; gives the limit as one of resources."""
        self._limit = self._given or available_memory()
        return {} if self._limit is None else {MEMORY: self._limit}

    def need(self, task: luigi.Task) -> int:
        """What a task is to be given of the memory, in bytes: all of it at most; 0 where that is not limited.

        Raises `TaskSettingError` when its attribute `memory` is not an amount.
        """
        need = memory_of(task)
        if self._limit is None:
            return 0
        if need is None:
            need = self._recorded.bytes(task, round(self._limit * _LARGE)) or 0
        if need <= self._limit:
            return need
        if type(task) not in self._warned:
            self._warned.add(type(task))
            warnings.warn(
                f'{type(task).__name__} needs {_gigabytes(need)} of memory, and there are {_gigabytes(self._limit)}: '
                'it runs while no other large task does, and may fail.',
                stacklevel=2,
            )
        return self._limit


def memory_of(task: luigi.Task) -> int | None:
    """The bytes of memory that the attribute `memory` of a task says it needs; None where it has none.

    A luigi parameter of this name, a method, a text without a number, or another object has a meaning of its own.

    Raises `TaskSettingError` for a text or a number that is not an amount.

    >>> class Large(luigi.Task):
    ...     memory = '1.5 GB'
    >>> memory_of(Large())
    1500000000
    """
    if isinstance(getattr(type(task), 'memory', None), luigi.Parameter):
        return None
    given = getattr(task, 'memory', None)
    if isinstance(given, bool) or not isinstance(given, str | Real):
        return None
    if isinstance(given, str) and not any(map(str.isdigit, given)):
        return None  # such as the name of a file
    return _bytes_of(given, f'{type(task).__name__}.memory')


def _bytes_of(given: str | Real, where: str) -> int:
    """An amount of memory above 0, in bytes."""
    try:
        amount = byte_count(given if isinstance(given, str) else int(float(given)))
    except (HistoryError, OverflowError, ValueError):
        amount = 0
    if amount < 1:
        raise TaskSettingError(
            f"{where} must be an amount of memory such as '3GB', or a number of bytes, not {given!r:.60}."
        )
    return amount


def _gigabytes(number: int) -> str:
    return f'{number / 1e9:,.3g} GB'
