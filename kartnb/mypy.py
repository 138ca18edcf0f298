"""A plugin for mypy: parameters may be annotated with the type of their values, ``n: int = luigi.IntParameter()``.

It replaces ``gokart.mypy``: ``plugins = ["kartnb.mypy"]``.

Notes
-----
From gokart. Calls of task classes need no plugin, here: mypy knows from luigi which parameters they take.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from mypy.plugin import FunctionContext, Plugin
from mypy.types import AnyType, Type, TypeOfAny, get_proper_type

_PARAMETER = re.compile(r'(luigi|kartnb|gokart)\.([\w.]+\.)?\w*Parameter')


class ParameterPlugin(Plugin):
    """Lets the call of a parameter class be a value of any type where the type of the value is declared."""

    def get_function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        """The hook for calls of parameter classes."""
        return _value_type if _PARAMETER.fullmatch(fullname) else None


def plugin(version: str) -> type[Plugin]:
    """What mypy asks a plugin for."""
    return ParameterPlugin


def _value_type(context: FunctionContext) -> Type:
    given = context.default_return_type
    expected = _expected(context)
    if expected is None or isinstance(get_proper_type(expected), AnyType):
        return given
    name = getattr(getattr(get_proper_type(expected), 'type', None), 'fullname', '')
    return given if _PARAMETER.fullmatch(name) else AnyType(TypeOfAny.special_form)


def _expected(context: FunctionContext) -> Type | None:
    """The type of the place that the parameter is assigned to, if it is declared."""
    checker = getattr(context.api, 'expr_checker', None)
    contexts: list[Type | None] = getattr(checker, 'type_context', [])
    return contexts[-1] if contexts else None
