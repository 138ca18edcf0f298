"""What goes on in a thread of its own while the caller does something else: waited for, awaited, stopped."""

from __future__ import annotations

import asyncio
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from typing import Any, Literal, Self, TypeAlias

from kartnb import display

#: An awaiting cell is interrupted no sooner than its event loop ticks.
_TICK_SECONDS = 0.05

Status: TypeAlias = Literal['running', 'done', 'failed', 'stopped']


class Handle(ABC):
    """Work that goes on in a thread of its own.

    It can be awaited, also in a notebook cell: ``value = await handle``.
    """

    #: What goes on, in a word.
    _what = 'work'

    def __init__(self) -> None:
        self._error: BaseException | None = None
        self._ended = threading.Event()
        self._callbacks: list[Callable[[Any], object]] = []
        self._gate = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f'kartnb-{self._what}', daemon=True)

    @abstractmethod
    def _work(self) -> None:
        """Do it, in the thread of the handle."""

    @abstractmethod
    def _stop(self) -> None:
        """Ask it to end."""

    @abstractmethod
    def _value(self) -> Any:
        """What it gives in the end."""

    @property
    @abstractmethod
    def _about(self) -> str:
        """The name of the class whose tasks it runs."""

    @property
    @abstractmethod
    def status(self) -> Status:
        """How it stands."""

    @property
    @abstractmethod
    def progress(self) -> object:
        """How far it is; as text, in a few words."""

    def done(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self._ended.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it has ended, for at most `timeout` seconds; gives whether it has."""
        return self._ended.wait(timeout)

    def stop(self, *, wait: bool = True) -> None:
        """Stop it: worker processes end at once, in threads the running tasks are waited for."""
        self._stop()
        if wait:
            self._ended.wait()

    def add_done_callback(self, callback: Callable[[Self], object]) -> None:
        """Call `callback` with this handle when it has ended, in the thread of the work; at once if it has."""
        with self._gate:
            if not self._ended.is_set():
                self._callbacks.append(callback)
                return
        callback(self)

    def _await_value(self, timeout: float | None) -> Any:
        __tracebackhide__ = True
        if not self._ended.wait(timeout):
            raise TimeoutError(f'The {self._what} has not ended after {timeout} s: {self.progress}.')
        if self._error is not None:
            raise self._error
        return self._value()

    def __await__(self) -> Generator[Any, None, Any]:
        return self._awaited().__await__()

    async def _awaited(self) -> Any:
        try:
            while not self._ended.is_set():
                await asyncio.sleep(_TICK_SECONDS)
        except asyncio.CancelledError:
            self.stop(wait=False)
            raise
        return self._await_value(None)

    def __repr__(self) -> str:
        # here and not in a subclass: there IPython would take it before the form of `_repr_pretty_`
        return f'<{type(self).__name__} of {self._about}: {self.status}, {self.progress}>'

    def _ipython_display_(self) -> None:
        display.show_live(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(display.render(self, 'text') if len(printer.stack) == 1 else repr(self))

    def _repr_html_(self) -> str:
        return display.render(self, 'html')

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error = error
        with self._gate:
            self._ended.set()
            callbacks = list(self._callbacks)
        for callback in callbacks:
            try:
                callback(self)
            except Exception:
                logging.getLogger('kartnb').exception('A callback of a background %s failed', self._what)
