"""Settings that hold for a process: what happens to results whose code has changed."""

from __future__ import annotations

import os
from typing import Literal, TypeAlias

import luigi

from kartnb.errors import TaskSettingError

#: What happens to a result whose code has changed: it is made anew, or kept with a warning, or kept as in gokart.
CodeChangePolicy: TypeAlias = Literal['rerun', 'warn', 'ignore']
CODE_CHANGE_POLICIES: tuple[CodeChangePolicy, ...] = ('rerun', 'warn', 'ignore')
#: The environment variable, and the section and name in luigi's configuration.
ENVIRONMENT = 'KARTNB_ON_CODE_CHANGE'
SECTION, OPTION = 'kartnb', 'on_code_change'

_session: CodeChangePolicy | None = None


def checked_policy(value: object, where: str = OPTION) -> CodeChangePolicy:
    """The value, when it is a policy.

    Raises
    ------
    TaskSettingError
        When it is none.
    """
    if value not in CODE_CHANGE_POLICIES:
        raise TaskSettingError(f"{where} must be 'rerun', 'warn' or 'ignore', not {value!r:.60}.")
    return value


def set_session_policy(value: str) -> None:
    """Set the policy of this session; '' for none."""
    global _session
    _session = checked_policy(value) if value else None


def configured_policy() -> CodeChangePolicy | None:
    """The policy of the session, the environment or luigi's configuration, the first that says one; or None.

    Raises
    ------
    TaskSettingError
        When one of them says what is no policy.
    """
    if _session is not None:
        return _session
    value = os.environ.get(ENVIRONMENT)
    if value:
        return checked_policy(value.strip().lower(), f'The environment variable {ENVIRONMENT}')
    value = luigi.configuration.get_config().get(SECTION, OPTION, None)
    return checked_policy(value.strip().lower(), f'[{SECTION}] {OPTION} in the configuration') if value else None
