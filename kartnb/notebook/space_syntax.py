"""How a magic's line says which values parameters are tried with: ``depth=1:10 lr=0.01,0.1 data.rows=100:1000:log``.

``1:10`` is a range with both ends, ``0:1:0.1`` one with a step, ``0.001:1:log`` a logarithmic one; ``a,b`` are several
values; what begins with a bracket is Python. Each value is read by its parameter.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from typing import Any

import luigi
from IPython.core.error import UsageError

from kartnb.execution.sweeps.template import Template
from kartnb.notebook.sweep_arguments import BRACKETS
from kartnb.task.slider import slider
from kartnb.task.values import number_type

_ASSIGNED = re.compile(r'(?P<name>[^\W\d]\w*(?:\.[^\W\d]\w*)*)=(?!=)(?P<text>.*)', re.DOTALL)
_MOST_DATES = 100_000


def split_space(words: list[str]) -> tuple[str, dict[str, str]]:
    """The expression that gives the task, and the texts of the values by parameter name.

    Raises
    ------
    UsageError
        When a parameter is given twice, or something stands after the first one that is none.
    """
    first = next((i for i, word in enumerate(words) if _ASSIGNED.fullmatch(word)), len(words))
    texts: dict[str, str] = {}
    for word in words[first:]:
        found = _ASSIGNED.fullmatch(word)
        if found is None:
            raise UsageError(f'{word!r} is no parameter with values: write NAME=1:10, NAME=a,b or NAME=[…]')
        if found['name'] in texts:
            raise UsageError(f'{found["name"]!r} is given twice')
        texts[found['name']] = found['text']
    return ' '.join(words[:first]), texts


def values_of(template: Template, name: str, text: str, evaluate: Callable[[str], Any]) -> Any:
    """The values that a text means for a parameter: a list, a range, a slider, or a single value.

    Parameters
    ----------
    template
        Knows the parameters.
    name, text
        The parameter and the text.
    evaluate
        Gives the value of a Python expression.

    Raises
    ------
    UsageError
        When the text means nothing.
    kartnb.SweepError, kartnb.ParameterValueError
        When there is no such parameter, or it does not take a value.
    """
    parameter = template.parameter(name)
    if not text:
        raise UsageError(f'{name}= needs values, such as {name}=1:10, {name}=a,b or {name}=[…]')
    if text[0] in BRACKETS:
        return evaluate(text)
    if text[0] in '\'"':
        return [ast.literal_eval(part) if part[:1] in ('"', "'") else part for part in text.split(',')]
    ends = text.split(':')
    if len(ends) in (2, 3) and number_type(parameter) is not None:
        return _numbers(name, text, ends)
    if len(ends) == 2 and isinstance(parameter, luigi.DateParameter):
        first, last = (template.settle(name, end) for end in ends)
        return list(_dates(parameter, first, last))
    return [template.settle(name, part.strip()) for part in text.split(',')]


def _numbers(name: str, text: str, ends: list[str]) -> Any:
    log = ends[-1] == 'log'
    numbers = [_number(end, name, text) for end in (ends[:2] if log else ends)]
    if not log and len(numbers) == 2 and numbers[0] == numbers[1]:
        return [numbers[0]]
    return slider(numbers[0], numbers[1], numbers[2] if len(numbers) > 2 else None, log=log)


def _number(text: str, name: str, whole: str) -> float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise UsageError(f'{name}={whole} is no range of numbers: write {name}=1:10, {name}=0:1:0.1 or {name}=0.001:1:log')


def _dates(parameter: Any, first: Any, last: Any) -> Iterator[Any]:
    for _ in range(_MOST_DATES):
        if first > last:
            return
        yield first
        first = parameter.next_in_enumeration(first)
