"""An expression that fails is one line, unless the user's own functions fail inside."""

from __future__ import annotations

import re

import pytest

from tests.notebook.conftest import Run

TASKS = """%%kart
class Train(TaskOnKart):
    depth = luigi.IntParameter()

class Deep(TaskOnKart):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        raise OSError('deep inside')

class Plain:
    pass

def pipeline():
    return {}['missing']
"""


@pytest.fixture
def tasks(run: Run) -> Run:
    """Return `run` with the classes defined."""
    run(TASKS)
    return run


@pytest.mark.parametrize('magic', ['kart_build', 'kart_graph'])
@pytest.mark.parametrize(
    'expression, line',
    [
        ('', '%{magic} needs an expression that gives a task, such as %{magic} MyTask(…)'),
        ('Train(depth=1', "%{magic} cannot read Train(depth=1: '(' was never closed"),
        ('Train(depth=1) Train(depth=2)', '%{magic} cannot read Train(depth=1) Train(depth=2): invalid syntax'),
        ('a = Train(depth=1)', '%{magic} takes an expression: write a = %{magic} Train(depth=1)'),
        ('del Train', '%{magic} takes one expression that gives a task, not del Train'),
        ('Train(depth=1); Train(depth=2)', '%{magic} takes one expression that gives a task, not'),
        ('Trian(depth=1)', "Trian(depth=1): name 'Trian' is not defined: did you mean Train?"),
        ('Evaluate()', "Evaluate(): name 'Evaluate' is not defined: run the cell that defines it first."),
        ('1 / 0', '1 / 0: ZeroDivisionError: division by zero'),
        ('Train()', "Train needs a value for 'depth': Train(depth=…)."),
        ('Train(dpeth=1)', "Train has no parameter 'dpeth': did you mean 'depth'?"),
        ('Train', '%{magic}: Train is a task class: make a task of it, Train(…).'),
        ('Plain', '%{magic}: Plain is not a task class: derive it from kartnb.TaskOnKart.'),
        ('[Train(depth=1)]', '%{magic}: One task is needed, not several'),
        ("'text'", "%{magic}: A task is needed, such as MyTask(…), not 'text' (str)."),
        ('None', '%{magic}: A task is needed, such as MyTask(…), not None (NoneType).'),
        ('Train(\x00', '%{magic} cannot read'),
        ('--lo=1 Train(depth=1)', '%{magic}: unknown option --lo=1'),
    ],
)
def test_misuse_is_one_line(magic: str, expression: str, line: str, tasks: Run) -> None:
    shown = tasks(f'%{magic} {expression}')
    assert shown.startswith(f'UsageError: {line.format(magic=magic)}')
    assert shown.count('\n') == 1


def test_a_long_expression_is_not_repeated_in_full(tasks: Run) -> None:
    assert len(tasks(f'%kart_build Trian(depth="{"x" * 1000}")')) < 200


@pytest.mark.parametrize(
    'expression, place, error',
    [
        ('pipeline()', r"-> 14 +return {}\['missing'\]", "KeyError: 'missing'"),
        ('Deep()', r"-> 8 +raise OSError\('deep inside'\)", 'OSError: deep inside'),
        ('Train(depth=pipeline())', r"-> 14 +return {}\['missing'\]", "KeyError: 'missing'"),
    ],
)
def test_the_users_own_code_is_shown_where_it_fails(expression: str, place: str, error: str, tasks: Run) -> None:
    shown = tasks(f'%kart_build {expression}')
    assert re.search(place, shown)
    assert shown.rstrip().endswith(error)
    assert 'kartnb' not in shown
    assert '<expression>' not in shown


def test_an_expression_below_takes_the_line_above_for_options_only(tasks: Run) -> None:
    shown = tasks('%%kart_build Train(depth=1)\nTrain(depth=2)')
    assert shown == (
        'UsageError: %%kart_build takes its expression from the lines below: '
        'write %kart_build Train(depth=1) for one line\n'
    )
