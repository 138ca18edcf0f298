"""Options before and after the expression; what is wrong with them is one line."""

from __future__ import annotations

import logging

import pytest
from IPython.core.error import UsageError

from kartnb.notebook.magics import KartMagics

PARSER = KartMagics.kart_build.parser


@pytest.mark.parametrize(
    'line',
    [
        '--log-level DEBUG --no-value --rerun-from A --rerun-from B Task(n=1)',
        '--log-level=debug --no-value --rerun-from=A --rerun-from=B Task(n=1)',
        'Task(n=1) --log-level 10 --no-value --rerun-from A --rerun-from B',
        '--no-value --rerun-from A Task(n=1)   --log-level=DEBUG --rerun-from=B ',
    ],
)
def test_options_stand_before_and_after_the_expression(line: str) -> None:
    given = PARSER.split(line)
    assert given.expression == 'Task(n=1)'
    assert vars(given.options).items() >= {'help': False, 'log_level': logging.DEBUG}.items()
    assert (given.options.no_value, given.options.rerun, given.options.rerun_from) == (True, False, ['A', 'B'])


@pytest.mark.parametrize(
    'expression',
    [
        "Task(text='--rerun')",
        "Task(text='a --rerun', n=-1)",
        'Task(n=3 - 1)',
        'tasks[-1]',
        'Task(\n    a=1,\n)',
        'a if b else c  # --rerun of this?',
    ],
)
def test_an_expression_is_left_as_it_stands(expression: str) -> None:
    assert PARSER.split(f'--no-value {expression}').expression == expression


@pytest.mark.parametrize('line', ["--keep-superseded '2, 3 days' T()", 'T() --keep-superseded="2, 3 days"'])
def test_quotes_hold_a_value_together(line: str) -> None:
    given = PARSER.split(line)
    assert (given.options.keep_superseded, given.expression) == ('2, 3 days', 'T()')


def test_two_dashes_end_the_options() -> None:
    assert PARSER.split('--rerun -- -Task()').expression == '-Task()'


@pytest.mark.parametrize(
    'line, message',
    [
        ('--log-level LOUD T()', "--log-level: 'LOUD' is not a log level: use one of DEBUG, INFO"),
        ('--log-level', '--log-level: expected one argument'),
        ('T() --log-level', '--log-level: expected one argument'),
        ('--norerun T()', 'unknown option --norerun: did you mean --rerun?'),
        ('T() --novalue', 'unknown option --novalue: did you mean --no-value?'),
        ('--xyz T()', 'unknown option --xyz: the options are --help, --log-level'),
        ('-x T()', 'unknown option -x'),
        ('--rerun=3 T()', '--rerun: ignored explicit argument'),
        ('--log T()', 'unknown option --log: did you mean --log-level?'),
    ],
)
def test_misuse_is_one_line(line: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        PARSER.split(line)
    assert str(raised.value).startswith('%kart_build: ')
    assert message in str(raised.value)
    assert '\n' not in str(raised.value)
    assert type(raised.value) is UsageError, 'IPython shows a subclass with a whole traceback'
