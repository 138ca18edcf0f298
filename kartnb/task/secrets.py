"""What is secret, and what is shown instead: one rule for parameters, one for names, one mask.

luigi has three visibilities. PUBLIC values are shown; HIDDEN and PRIVATE ones never are. gokart makes HIDDEN values
part of the unique id, so its ``task_params`` log holds them, and a sweep may vary them; PRIVATE ones are in no file.
Where the class is unknown, as in a log of tasks that are not defined here, the name decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import luigi
from luigi.parameter import ParameterVisibility

#: Shown instead of a secret value.
MASK = '••••••'

_CONSTANT = 'token|secret|passw|pwd|credential|api_?key|access_?key|private_?key'
_CONSTANT_NAME = re.compile(_CONSTANT, re.IGNORECASE)
_NAME = re.compile(f'{_CONSTANT}|private', re.IGNORECASE)
_URL_LOGIN = re.compile(r'(?<=://)[^/@\s]+@')
#: Shorter values would mask ordinary text that happens to hold them.
_SHORTEST_MASKED = 3


def is_secret(parameter: luigi.Parameter[object]) -> bool:
    """Whether the values of a parameter are never shown: it is HIDDEN or PRIVATE.

    >>> is_secret(luigi.Parameter()), is_secret(luigi.Parameter(visibility=ParameterVisibility.HIDDEN))
    (False, True)
    """
    return bool(parameter.visibility != ParameterVisibility.PUBLIC)


def is_private(parameter: luigi.Parameter[object]) -> bool:
    """Whether the values of a parameter are written nowhere, and so cannot be varied or given back."""
    return bool(parameter.visibility == ParameterVisibility.PRIVATE)


def public_names(cls: type[luigi.Task]) -> frozenset[str]:
    """The names of the parameters of a class whose values may be shown."""
    return frozenset(name for name, parameter in cls.get_params() if not is_secret(parameter))


def is_secret_name(name: object) -> bool:
    """Whether a name is that of a secret, where only the name is known.

    >>> [is_secret_name(name) for name in ('SLACK_TOKEN', 'db_pwd', 'aws_access_key', 'private_notes', 'depth')]
    [True, True, True, True, False]
    """
    return isinstance(name, str) and _NAME.search(name) is not None


def is_secret_constant(name: object) -> bool:
    """Whether a constant of this name, or under this key, is left out of code prints.

    It is `is_secret_name` without the bare word 'private', which programmers use for what is not secret. A kept result
    is stale when its print changes, so what counts here can only change together with the version of the prints.

    >>> is_secret_constant('private_key'), is_secret_constant('private_members')
    (True, False)
    """
    return isinstance(name, str) and _CONSTANT_NAME.search(name) is not None


def masked(text: str, values: Iterable[str]) -> str:
    """A text with secret values replaced by the mask.

    >>> masked("luigi.Parameter(default='hunter2')", ['hunter2'])
    "luigi.Parameter(default='••••••')"
    """
    for value in values:
        if len(value) >= _SHORTEST_MASKED:
            text = text.replace(value, MASK)
    return text


def without_url_login(text: str) -> str:
    """A text whose URLs have no user names and passwords.

    >>> without_url_login('postgresql://me:pa55@host/db')
    'postgresql://…@host/db'
    """
    return _URL_LOGIN.sub('…@', text)
