"""Many coroutines of tasks at once, in one event loop: of kartnb's own, in a thread, or the one of a notebook."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import threading
import time
import warnings
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import Future, wait
from typing import Any

from kartnb.errors import TaskTimeoutError
from kartnb.execution.recording import Outcome, TaskRun
from kartnb.execution.task_run import advance_here, close
from kartnb.execution.workers.settings import options_in_use
from kartnb.interrupts import held_interrupts

logger = logging.getLogger('kartnb')
#: Seconds between two looks whether cancelled coroutines have ended, and until a warning says that they have not.
_LOOK_SECONDS = 0.05
_PATIENCE = 1.0
#: Seconds after which a loop of kartnb's own stops, whatever still runs in it.
_GRACE = 10.0


class CoroutinePool:
    """Runs coroutines of tasks in an event loop; the caller sees to it that there are not too many.

    Without a `loop` it runs one of its own in a thread. The `options` of libraries hold in each coroutine. `deliver` is
    given the key and the outcome of each run; None when it was cancelled from outside.
    """

    def __init__(
        self,
        deliver: Callable[[str, Outcome | None], None],
        options: Mapping[str, bytes],
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._deliver = deliver
        self._options = options
        self._loop = loop
        self._thread: threading.Thread | None = None
        self._running: dict[str, tuple[TaskRun, asyncio.Task[Outcome | None], contextvars.Context]] = {}
        #: Runs whose generators wait for what they have yielded.
        self._suspended: dict[str, TaskRun] = {}
        self._is_closing = False

    def start(self, run: TaskRun) -> None:
        """Start a run, or let it go on."""
        with held_interrupts():
            loop = self._loop or self._own_loop()
        try:
            loop.call_soon_threadsafe(self._begin, run)
        except RuntimeError:  # somebody has closed it
            self._deliver(run.item.key, None)

    def end(self, key: str, error: BaseException) -> None:
        """Cancel a run, with this error as its outcome."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._cancel, key, error)

    def close(self) -> None:
        """Cancel all runs, wait until they have ended, and end a loop of its own; a second call waits no more."""
        loop, again, self._is_closing = self._loop, self._is_closing, True
        if loop is None:
            return
        if not again and not loop.is_closed():
            _wait_for(asyncio.run_coroutine_threadsafe(self._wind_up(), loop), loop, self._warn, self._thread)
        if self._thread is not None and self._thread.is_alive():
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join(_PATIENCE)
        if not loop.is_running():
            self._leave_behind()

    def _own_loop(self) -> asyncio.AbstractEventLoop:
        loop = self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, args=(loop,), daemon=True, name='kartnb-async')
        self._thread.start()
        return loop

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            with options_in_use(self._options):
                while not self._is_closing:  # a task may stop the loop
                    loop.run_forever()
        finally:
            loop.close()

    def _leave_behind(self) -> None:
        """Close what is left in a loop that has stopped: it will never go on."""
        for run, task, context in list(self._running.values()):
            coroutine: Any = task.get_coro()
            try:
                context.run(coroutine.close)
            except Exception:
                logger.exception('%s could not be closed', run.item.key)
            close(run)
        self._running.clear()

    def _begin(self, run: TaskRun) -> None:
        key = run.item.key
        self._suspended.pop(key, None)
        context = contextvars.copy_context()
        coroutine = self._outcome(run)
        task = asyncio.get_running_loop().create_task(coroutine, name=f'kartnb {key}', context=context)
        self._running[key] = (run, task, context)
        task.add_done_callback(functools.partial(self._take, run))

    async def _outcome(self, run: TaskRun) -> Outcome | None:
        try:
            with options_in_use(self._options):  # some belong to the context, and others to the thread
                return await advance_here(run)
        except KeyboardInterrupt as error:
            if error is run.ended_by:
                return None
            if self._thread is not None:  # raised by the task: no signal comes to another thread than the main one
                return Outcome(run.spent, error=error)
            raise

    def _take(self, run: TaskRun, task: asyncio.Task[Outcome | None]) -> None:
        self._running.pop(run.item.key, None)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            outcome: Outcome | None = Outcome(run.spent, error=error)
        elif task.cancelled():  # before it began
            outcome = Outcome(0.0, error=run.ended_by) if isinstance(run.ended_by, TaskTimeoutError) else None
        else:
            outcome = task.result()
        if outcome is not None and outcome.requirements is not None:
            self._suspended[run.item.key] = run
        if outcome is not None or not self._is_closing:
            self._deliver(run.item.key, outcome)

    def _cancel(self, key: str, error: BaseException) -> None:
        if key in self._running:
            run, task, _ = self._running[key]
            run.ended_by = error
            task.cancel()

    async def _wind_up(self) -> None:
        """Cancel what runs, and close what is suspended; of a loop of its own also what tasks have left in it."""
        for key in list(self._running):
            self._cancel(key, KeyboardInterrupt())
        ending: set[asyncio.Task[Any]] = {task for _, task, _ in self._running.values()}
        if self._thread is not None:
            left = asyncio.all_tasks() - ending - {asyncio.current_task()}
            for task in left:
                task.cancel()
            ending |= left
        if ending:
            await asyncio.wait(ending)
        for key, run in self._suspended.items():
            try:
                if isinstance(run.generator, AsyncGenerator):
                    await run.generator.aclose()
            except Exception:
                logger.exception('%s could not be closed', key)
        if self._thread is not None:
            loop = asyncio.get_running_loop()
            await loop.shutdown_asyncgens()
            await loop.shutdown_default_executor()

    def _warn(self) -> None:
        names = ', '.join(sorted(self._running)) or 'a thread that a task has started'
        warnings.warn(f'The build ends when this does, which goes on although it was cancelled: {names}.', stacklevel=2)


def _wait_for(
    ending: Future[None],
    loop: asyncio.AbstractEventLoop,
    warn: Callable[[], None],
    own: threading.Thread | None,
) -> None:
    """Wait until a loop has come to an end of this, or does not run any more."""
    began = time.monotonic()
    has_warned = False
    while not wait([ending], _LOOK_SECONDS).done:
        waited = time.monotonic() - began
        if waited > _PATIENCE and (not loop.is_running() or (own is not None and waited > _GRACE)):
            return
        if waited > _PATIENCE and not has_warned:
            has_warned = True
            warn()
