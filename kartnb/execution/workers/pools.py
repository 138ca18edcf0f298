"""Workers that share no memory with the building process, whoever provides them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeAlias

#: What a worker is given to do: a function of the package, and its argument.
Work: TypeAlias = Callable[[bytes], bytes]


class WorkerPool(ABC):
    """Some workers.

    Attributes
    ----------
    live
        Whether they are on this computer, so that they can tell what happens while tasks run.
    can_end
        Whether one of them can be ended while it works.
    """

    live: bool = False
    can_end: bool = False

    def tell_starting(self, tell: Callable[[int], None]) -> None:  # noqa: B027 - most pools know nothing of it
        """Let somebody know how many workers are being started, whenever that changes, where it is known."""

    @abstractmethod
    def submit(self, function: Work, data: bytes) -> Any:
        """Let a worker do something; gives a future."""

    def submit_again(self, function: Work, data: bytes) -> Any:
        """As `submit`, before what waits: it has waited already."""
        return self.submit(function, data)

    def end(self, future: Any, error: BaseException) -> None:
        """End the worker that works on this future, and its children; the future gets an error."""
        raise NotImplementedError

    @abstractmethod
    def shut_down(self, at_once: bool) -> None:
        """Let go of the workers when the build has ended, or at once."""


class ForeignPool(WorkerPool):
    """The workers of an executor of the user's, which is left open.

    Parameters
    ----------
    executor
        Any executor whose workers are other processes.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def submit(self, function: Work, data: bytes) -> Any:
        return self._executor.submit(function, data)

    def shut_down(self, at_once: bool) -> None:
        """The executor is the user's."""
