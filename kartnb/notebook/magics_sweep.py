"""The magics of sweeps.

::

    %kart_sweep Train depth=1:10 lr=0.01,0.1 --metric accuracy --workers 4

builds a task for each point of the grid, and compares them. ``%kart_sweep --help`` lists the options. ::

    %kart_interact Train depth=1:10 lr=0.01,0.1,1

shows a slider for each parameter, and the result of the task with their values.

The values on a line: ``1:10`` is a range that includes both ends, ``0:1:0.1`` one with a step, ``0.001:1:log`` a
logarithmic one; ``a,b`` are several values; a bracket starts a Python expression. The parameter reads each value.
"""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import luigi
from IPython.core.error import UsageError
from IPython.core.magic import Magics, magics_class

from kartnb.notebook.arguments import (
    BRACKETS,
    DURABLE,
    KEEP_SUPERSEDED,
    LOG_LEVEL,
    WORKERS,
    option,
    whole_number,
    words_of,
)
from kartnb.notebook.command import Given, kart_magic

if TYPE_CHECKING:
    from kartnb.sweeps.space import Template

_ASSIGNED = re.compile(r'(?P<name>[^\W\d]\w*(?:\.[^\W\d]\w*)*)=(?!=)(?P<text>.*)', re.DOTALL)
_MOST_DATES = 100_000


@magics_class
class SweepMagics(Magics):
    """Many tasks that differ in their parameters: `%kart_sweep`, `%kart_interact`."""

    @kart_magic(
        option(
            '--metric',
            'what to compare by: names of numbers in the result, separated by commas, or a function of the result',
            metavar='NAME',
        ),
        option('--minimize', 'the smallest metric is best, not the largest'),
        option('--sample', 'build N random points', metavar='N', type=whole_number),
        option('--seed', 'seed of the sample or the search', metavar='N', type=int, default=0),
        option('--search', 'search for the best metric with Optuna'),
        option('--trials', 'how many points the search tries in total', metavar='N', type=whole_number),
        WORKERS,
        option('--rerun', 'run all points even if they are complete'),
        option('--background', 'sweep in the background, and give a handle at once'),
        option('--dry-run', 'show what would run, and run nothing'),
        DURABLE,
        KEEP_SUPERSEDED,
        LOG_LEVEL,
        takes_space=True,
    )
    def kart_sweep(self, given: Given) -> Any:
        """Build a task for each point of a grid, and compare them: `%kart_sweep TASK NAME=VALUES … [options]`.

        ::

            depth=1:10  depth=0:1:0.1   a range that includes both ends, with a step
            lr=0.001:1:log              a logarithmic range, for --sample and --search
            lr=0.01,0.1                 several values
            layers=[[8], [8, 8]]        a bracket starts a Python expression
            data.rows=100,1000          a parameter of the task that a parameter holds

        The value of the magic is the sweep: ``found = %kart_sweep …``, then ``found.plot()``.
        """
        __tracebackhide__ = True
        from kartnb.sweeps.sweep import BackgroundSweep, sweep

        options = given.options
        found = sweep(
            *_task_and_space(given),
            metric=_metric(options.metric, given),
            direction='minimize' if options.minimize else 'maximize',
            sample=options.sample,
            seed=options.seed,
            sampler='optuna' if options.search else None,
            trials=options.trials,
            workers=options.workers,
            rerun=options.rerun,
            background=options.background,
            dry_run=options.dry_run,
            durable=options.durable or None,
            keep_superseded=options.keep_superseded,
            log_level=options.log_level or logging.ERROR,
        )
        if isinstance(found, BackgroundSweep):
            from kartnb.notebook.progress import show_started

            show_started(found, given.shell)
        return found

    @kart_magic(
        option('--auto', 'build what is missing automatically'),
        option('--keep', 'let a build go on when the controls are moved on'),
        option('--output', 'what to show of a result: a function that takes it', metavar='FUNCTION'),
        WORKERS,
        takes_space=True,
        keeps_value=True,
    )
    def kart_interact(self, given: Given) -> Any:
        """Show controls for parameters, and the result for them: `%kart_interact TASK [NAME=VALUES …] [options]`.

        ::

            depth=1:10      a slider; 0:1:0.1 with a step, 0.001:1:log logarithmic
            lr=0.01,0.1,1   choices; a single value has no control

        Without values, every parameter of the task has a control. The value of the magic has ``task`` and ``result()``.
        """
        __tracebackhide__ = True
        from kartnb.notebook.interact import interact

        options = given.options
        task, space = _task_and_space(given)
        output = None if options.output is None else given.value(options.output)
        if output is not None and not callable(output):
            raise UsageError(f'%kart_interact: --output takes a function, and {options.output} is not one')
        return interact(task, space, auto=options.auto, keep=options.keep, workers=options.workers, output=output)


def _task_and_space(given: Given) -> tuple[type[luigi.Task] | luigi.Task, dict[str, Any]]:
    """The task at the beginning of a line, and the values by parameter name."""
    from kartnb.sweeps.space import Template

    expression, texts = _split_space([word.text for word in words_of(given.expression)])
    if not expression:
        raise UsageError(f'%{given.magic} needs a task class and values, such as %{given.magic} MyTask depth=1:10')
    task = given.value(expression)
    template = Template(task)
    return task, {name: _values_of(template, name, text, given.value) for name, text in texts.items()}


def _metric(text: str | None, given: Given) -> Any:
    """The value of `--metric`: a function of the user's, a name, or several."""
    if text is None:
        return None
    found = given.names.get(text)
    if callable(found):
        return found
    names = [word.text for word in words_of(text, ',')]
    return names if len(names) > 1 else text


def _split_space(words: list[str]) -> tuple[str, dict[str, str]]:
    """The expression that gives the task, and the texts of the values by parameter name.

    Raises UsageError when a parameter is given twice, or something else follows the first one.
    """
    first = next((i for i, word in enumerate(words) if _ASSIGNED.fullmatch(word)), len(words))
    texts: dict[str, str] = {}
    for word in words[first:]:
        found = _ASSIGNED.fullmatch(word)
        if found is None:
            raise UsageError(f'{word!r} is not a parameter with values: write NAME=1:10, NAME=a,b or NAME=[…]')
        if found['name'] in texts:
            raise UsageError(f'{found["name"]!r} is given twice')
        texts[found['name']] = found['text']
    return ' '.join(words[:first]), texts


def _values_of(template: Template, name: str, text: str, evaluate: Callable[[str], Any]) -> Any:
    """The values of a parameter that a text gives: a list, a range, a slider, or a single value.

    Raises UsageError when the text cannot be read, and SweepError or ParameterValueError when the parameter does not
    exist or does not take a value.
    """
    from kartnb.task.values import number_type

    parameter = template.parameter(name)
    if not text:
        raise UsageError(f'{name}= needs values, such as {name}=1:10, {name}=a,b or {name}=[…]')
    if text[0] in BRACKETS:
        return evaluate(text)
    if text[0] in '\'"':
        parts = [word.text for word in words_of(text, ',')]
        return [ast.literal_eval(part) if part[0] in '\'"' else part for part in parts]
    ends = text.split(':')
    if len(ends) in (2, 3) and number_type(parameter) is not None:
        return _numbers(name, text, ends)
    if len(ends) == 2 and isinstance(parameter, luigi.DateParameter):
        first, last = (template.settle(name, end) for end in ends)
        return list(_dates(parameter, first, last))
    return [template.settle(name, part.strip()) for part in text.split(',')]


def _numbers(name: str, text: str, ends: list[str]) -> Any:
    from kartnb.task.values import slider

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
    raise UsageError(
        f'{name}={whole} is not a range of numbers: write {name}=1:10, {name}=0:1:0.1 or {name}=0.001:1:log'
    )


def _dates(parameter: Any, first: Any, last: Any) -> Iterator[Any]:
    for _ in range(_MOST_DATES):
        if first > last:
            return
        yield first
        first = parameter.next_in_enumeration(first)
