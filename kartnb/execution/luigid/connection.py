"""Reaching luigi's central scheduler (`luigid`), and saying clearly when it cannot be reached."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import luigi
from luigi.rpc import RemoteScheduler, RPCError

from kartnb._luigi import set_patience, silence_retries
from kartnb.errors import SchedulerError

#: How often, and how many seconds apart, a request is tried while a build runs: a scheduler may be started anew.
_TRIES, _WAIT_SECONDS = 10, 1
_FIRST_TIMEOUT_SECONDS = 5.0


def connect(url: str) -> Any:
    """The scheduler at a URL; it is asked something at once, so that a wrong URL is known within seconds.

    Raises
    ------
    SchedulerError
        When no scheduler of luigi's answers there.
    """
    if not isinstance(url, str) or not url.startswith(('http://', 'https://', 'http+unix://')):
        raise SchedulerError(f'scheduler_url must be a URL such as http://127.0.0.1:8082, not {url!r:.80}.')
    scheduler: Any = RemoteScheduler(url, connect_timeout=_FIRST_TIMEOUT_SECONDS)
    be_quick(scheduler)
    silence_retries(scheduler)
    try:
        answer = scheduler.is_pause_enabled()
    except RPCError as error:
        scheduler.close()
        raise SchedulerError(
            f"luigi's scheduler cannot be reached at {url}: start luigid there, or mend the URL ({_cause(error)})."
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        scheduler.close()
        raise SchedulerError(f"What answers at {url} is no scheduler of luigi's: mend the URL.") from error
    if not isinstance(answer, dict) or 'enabled' not in answer:
        raise SchedulerError(f"What answers at {url} is no scheduler of luigi's: mend the URL.")
    _be_patient(scheduler)
    return scheduler


def _be_patient(scheduler: Any) -> None:
    """From now on, try as luigi's configuration says, or else for some seconds (luigi's own default is minutes)."""
    config = luigi.configuration.get_config()
    tries = config.getint('core', 'rpc-retry-attempts', _TRIES)
    pause = config.getint('core', 'rpc-retry-wait', _WAIT_SECONDS)
    set_patience(scheduler, tries, config.getfloat('core', 'rpc-connect-timeout', 10.0), pause)


def be_quick(scheduler: Any) -> None:
    """Try once from now on: there is nothing to wait for any more."""
    set_patience(scheduler, 1, _FIRST_TIMEOUT_SECONDS)


@contextmanager
def scheduler_errors(url: str) -> Iterator[None]:
    """Within the block, losing the scheduler is an error that says so.

    Raises
    ------
    SchedulerError
        When the scheduler does not answer any more.
    """
    try:
        yield
    except RPCError as error:
        raise SchedulerError(
            f"luigi's scheduler at {url} does not answer any more ({_cause(error)}); what has finished is kept."
        ) from error


def _cause(error: RPCError) -> str:
    cause = error.sub_exception
    return f'{type(cause).__name__}: {cause!s:.160}' if cause is not None else str(error)
