"""What a call costs on the machine of just now: no test may depend on absolute time."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time

_LINES = 'a = [b + 1 for b in c]\n' * 1_000


def cost(call: Callable[[], object]) -> float:
    """CPU time of a call, as a multiple of what the machine takes to compile 1,000 short lines."""
    before = _seconds(_compile)
    spent = _seconds(call)
    return spent / max(before, _seconds(_compile))


def _compile() -> None:
    compile(_LINES, '', 'exec')


def _seconds(call: Callable[[], object]) -> float:
    start = process_time()
    call()
    return process_time() - start
