"""Where tasks run."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

P = ParamSpec('P')
R = TypeVar('R')


class InlineExecutor(Executor):
    """Runs what is submitted at once, in the calling thread, so that prints, plots and the debugger work as usual."""

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Call `fn`; the future that comes back is done. KeyboardInterrupt is not kept in it but raised."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future
