"""The parameters that gokart has logged, made fit to be shown: packed tasks unpacked, secrets left out."""

from __future__ import annotations

import bz2
import functools
import json
import re
from typing import Any

from luigi.parameter import ParameterVisibility

from kartnb.task import registry

HIDDEN = '••••••'
_SECRET = re.compile(r'token|passw|secret|credential|api_?key|private', re.IGNORECASE)
_MOST_BYTES = 1 << 20
_DEEPEST = 5


def shown_text(task: str, name: str, text: str) -> str:
    """A logged parameter as it may be shown.

    gokart's logs hold HIDDEN parameters too. Where the class is defined here it tells which ones those are; where it is
    not, parameters with the names of secrets count as hidden.
    """
    if _is_hidden(task, name):
        return HIDDEN
    if text.startswith(('{"type"', '["{')):
        return _unpacked(text)
    return text


def _is_hidden(task: str, name: str) -> bool:
    public = _public_names(task, registry.definition_epoch())
    return _SECRET.search(name) is not None if public is None else name not in public


@functools.lru_cache(maxsize=1000)
def _public_names(task: str, _: int) -> frozenset[str] | None:
    classes: list[Any] = [cls for cls in registry.task_classes() if task in (cls.__name__, cls.get_task_family())]
    if not classes:
        return None
    shared = [{n for n, p in cls.get_params() if p.visibility == ParameterVisibility.PUBLIC} for cls in classes]
    return frozenset.intersection(*map(frozenset, shared))


@functools.lru_cache(maxsize=10_000)
def _unpacked(text: str) -> str:
    try:
        given = json.loads(text)
        if isinstance(given, list):
            return '[' + ', '.join(_task_text(json.loads(item), 0) for item in given) + ']'
        return _task_text(given, 0)
    except (ValueError, TypeError, OSError, KeyError, RecursionError):
        return text


def _task_text(form: Any, depth: int) -> str:
    task = str(form['type'])
    packed = bz2.BZ2Decompressor().decompress(bytes.fromhex(form['params']), _MOST_BYTES)
    inner = {str(name): value for name, value in json.loads(packed).items()}
    return f'{task}({", ".join(f"{name}={_inner_text(task, name, value, depth)}" for name, value in inner.items())})'


def _inner_text(task: str, name: str, value: Any, depth: int) -> str:
    if _is_hidden(task, name):
        return HIDDEN
    if isinstance(value, str) and value.startswith('{"type"'):
        return _task_text(json.loads(value), depth + 1) if depth < _DEEPEST else '…'
    return str(value)
