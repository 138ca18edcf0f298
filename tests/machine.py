"""What tests ask the machine of: the cost of a call, as no test may depend on absolute time, and its processes."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from time import process_time

_LINES = 'a = [b + 1 for b in c]\n' * 1_000


def cost(call: Callable[[], object]) -> float:
    """CPU time of a call, as a multiple of what the machine takes to compile 1,000 short lines."""
    gc.disable()  # a collection would look at what all earlier tests have left
    try:
        before = _seconds(_compile)
        spent = _seconds(call)
        return spent / max(before, _seconds(_compile))
    finally:
        gc.enable()


def is_alive(pid: int) -> bool:
    """Say whether a process runs; one that ended and waits for its parent does not."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except (FileNotFoundError, ProcessLookupError):  # the latter when it ends between the opening and the reading
        return False


def _compile() -> None:
    compile(_LINES, '', 'exec')


def _seconds(call: Callable[[], object]) -> float:
    start = process_time()
    call()
    return process_time() - start
