"""Which parameters of a task are shown where, and how their values are written."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from typing import Any

import luigi

from kartnb.execution.planning.plan import Node
from kartnb.task.identity import id_of
from kartnb.view.clean import abbreviated, one_line, short_id

Pairs = tuple[tuple[str, str], ...]


def shown(task: luigi.Task) -> Pairs:
    """The public parameters of a task as pairs of name and text, those that are part of its identity first."""
    from kartnb.task import shown_parameters

    found = sorted(shown_parameters(task), key=lambda parameter: not parameter.significant)
    return tuple((parameter.name, parameter.text) for parameter in found)


def telling(nodes: Sequence[Node]) -> list[Pairs]:
    """For each of some tasks of one class the parameters that tell it apart first, then its other significant ones.

    Examples
    --------
    >>> telling([])
    []
    """
    return [apart + rest for apart, rest in _split(nodes)]


def telling_apart(nodes: Sequence[Node]) -> list[Pairs]:
    """For each of some tasks of one class only the parameters that tell it apart."""
    return [apart for apart, _ in _split(nodes)]


def _split(nodes: Sequence[Node]) -> list[tuple[Pairs, Pairs]]:
    """For each task the parameters that tell it apart, and its other significant ones."""
    from kartnb.task import shown_parameters

    sets = [shown_parameters(node.task) for node in nodes]
    texts: dict[str, set[str]] = {}
    for parameters in sets:
        for parameter in parameters:
            texts.setdefault(parameter.name, set()).add(parameter.text)
    found = []
    for parameters in sets:
        apart = tuple((p.name, p.text) for p in parameters if len(texts[p.name]) > 1)
        rest = tuple((p.name, p.text) for p in parameters if len(texts[p.name]) == 1 and p.significant)
        found.append((apart, rest))
    return found


def short(pairs: Pairs, limit: int = 28) -> list[str]:
    """Each parameter as ``name=text``, cut for a small place."""
    return [f'{one_line(name, limit)}={abbreviated(text, limit)}' for name, text in pairs]


def listed(pairs: Pairs, limit: int = 200) -> str:
    """All parameters on one line, ids in full, at most `limit` characters of it."""
    return one_line(
        ', '.join(f'{one_line(name, limit)}={one_line(text, limit)}' for name, text in pairs[:limit]), limit
    )


def value_text(value: Any, limit: int = 40) -> str:
    """A parameter value in a cell."""
    if isinstance(value, float):
        return number_text(value)
    if isinstance(value, luigi.Task):
        return f'{type(value).__name__}[{short_id(id_of(value))}]'
    if isinstance(value, tuple) and any(isinstance(item, luigi.Task) for item in value):
        return one_line(', '.join(value_text(item, limit) for item in value), limit)
    return one_line(value.name if isinstance(value, enum.Enum) else str(value), limit)


def number_text(value: float) -> str:
    """A number in few digits: ``0.9123``, ``12,345``, ``1e-05``."""
    if isinstance(value, int) or (math.isfinite(value) and value == int(value) and abs(value) < 1e15):
        return f'{int(value):,}' if abs(value) >= 10_000 else str(int(value))
    return f'{value:.4g}'
