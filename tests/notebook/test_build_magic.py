"""`%kart_build` and `%kart_graph` in a text shell."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

import kartnb
from tests.notebook.conftest import Run

PIPELINE = """%%kart
import logging

class Numbers(TaskOnKart):
    count = luigi.IntParameter(default=3)

    def run(self):
        logging.getLogger('mine').info('counting to %d', self.count)
        print('counting')
        self.dump(list(range(self.count)))

class Sum(TaskOnKart):
    numbers = TaskInstanceParameter(default=Numbers())

    def run(self):
        self.dump(sum(self.load('numbers')))
"""


@pytest.fixture
def pipeline(run: Run) -> Run:
    """Return `run` with the pipeline defined."""
    run(PIPELINE)
    return run


def test_a_build_shows_what_it_did_and_gives_the_value(pipeline: Run, shell: InteractiveShell) -> None:
    shown = pipeline('%kart_build Sum()')
    assert 'counting\n✓ Build of Sum[' in shown
    assert '2 tasks: ✓ 2 done' in shown
    assert 'Out[2]: 3' in shown
    assert shell.user_ns['_'] == 3
    assert '2 tasks: ● 2 cached' in pipeline('%kart_build Sum()')


def test_the_value_can_be_assigned(pipeline: Run, shell: InteractiveShell) -> None:
    assert 'Out[' not in pipeline('total = %kart_build Sum()')
    assert shell.user_ns['total'] == 3


def test_the_value_can_be_left_out(pipeline: Run, shell: InteractiveShell) -> None:
    assert 'Out[' not in pipeline('%kart_build --no-value Sum()')
    assert 'Out[' not in pipeline('%kart_build Sum();')
    assert list(Path('resources/__main__').glob('Sum_*.pkl'))


def test_an_expression_over_several_lines(pipeline: Run) -> None:
    assert 'Out[2]: 6' in pipeline('%%kart_build\nSum(\n    # four\n    numbers=Numbers(count=4),\n)\n')


def test_the_line_is_taken_as_it_stands(run: Run) -> None:
    run(
        '%%kart\nclass Said(TaskOnKart):\n    text = luigi.Parameter()\n'
        '    def run(self):\n        self.dump(self.text)'
    )
    run('x = 1')
    assert "'$x {x} {0}'" in run("%kart_build Said(text='$x {x} {0}')")


def test_the_names_of_a_function_are_known(pipeline: Run) -> None:
    run = pipeline
    run('def build(count):\n    value = %kart_build Sum(numbers=Numbers(count=count))\n    return value')
    assert ': 10' in run('build(5)')


def test_log_lines_are_shown_from_the_level_on(pipeline: Run) -> None:
    assert 'counting to' not in pipeline('%kart_build Numbers(count=1)')
    assert 'INFO: mine [Numbers]: counting to 2' in pipeline('%kart_build --log-level INFO Numbers(count=2)')
    assert 'counting to' not in pipeline('%kart_build --log-level WARNING Numbers(count=4)')
    assert 'counting to' in pipeline('%kart_build --log-level DEBUG Numbers(count=5)')


def test_rerun(pipeline: Run) -> None:
    pipeline('%kart_build Sum()')
    assert pipeline('%kart_build --rerun Sum()').count('counting') == 0
    assert pipeline('%kart_build --rerun-from Numbers Sum()').count('counting') == 1
    assert '✓ 2 done' in pipeline('%kart_build --rerun-from Numbers --rerun Sum()')
    assert (
        pipeline('%kart_build --rerun-from Number Sum()')
        == 'UsageError: %kart_build: Nothing to rerun is called Number: the tasks of this plan are Numbers, Sum.\n'
    )


def test_a_graph_runs_nothing(pipeline: Run, shell: InteractiveShell) -> None:
    shown = pipeline('%kart_graph Sum()')
    assert '2 will run' in shown
    assert 'counting' not in shown
    assert not Path('resources').exists()
    pipeline('plan = %kart_graph Sum()')
    assert isinstance(shell.user_ns['plan'], kartnb.Plan)
    assert 'Plan of Sum' in pipeline('%%kart_graph\nSum(\n)')


def test_a_failure_is_the_users_traceback_and_one_summary(run: Run) -> None:
    run(
        '%%kart\nclass Fails(TaskOnKart):\n    n = luigi.IntParameter()\n'
        '    def run(self):\n        x = self.n\n        x / 0'
    )
    run('%%kart\nclass Needs(TaskOnKart):\n    def requires(self):\n        return Fails(n=7)')
    shown = run('%kart_build Needs()')
    assert shown.count('Traceback') == 1
    assert re.search(r'-> 6 +x / 0', shown)
    assert 'Cell In[1], line 6, in Fails.run(self)' in shown
    assert shown.count('tasks: ') == 1
    summary = shown[shown.index('GokartBuildError') :].splitlines()
    assert summary[0] == 'GokartBuildError: 1 task failed, and 1 that needs its result did not run:'
    assert summary[1].startswith('  Fails(n=7) [')
    assert summary[2:4] == ['    ZeroDivisionError: division by zero', '    at Cell In[1]:6 in run: x / 0']
    assert 'kartnb/' not in shown
    assert 'magics' not in shown


def test_a_plain_build_shows_its_failure_the_same_way(run: Run) -> None:
    run('%%kart\nclass Fails(TaskOnKart):\n    def run(self):\n        1 / 0')
    shown = run('kartnb.build(Fails())')
    assert 'Cell In[1], line 4, in Fails.run(self)' in shown
    assert 'kartnb/' not in shown


def test_no_thread_is_left(pipeline: Run) -> None:
    before = set(threading.enumerate())
    pipeline('%kart_build Sum()')
    assert [thread.name for thread in set(threading.enumerate()) - before if 'kartnb' in thread.name] == []


def test_tasks_run_in_the_main_thread(run: Run) -> None:
    run(
        '%%kart\nimport threading\nclass Where(TaskOnKart):\n'
        '    def run(self):\n        self.dump(threading.current_thread().name)'
    )
    assert "'MainThread'" in run('%kart_build Where()')


def test_help(run: Run) -> None:
    assert '--rerun-from NAME' in run('%kart_build --help')
    assert 'run nothing' in run('%kart_graph -h')


def test_durable_flushes_to_the_disk(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    flush = os.fsync
    monkeypatch.setattr(os, 'fsync', lambda descriptor: (flushed.append(descriptor), flush(descriptor))[1])
    run('%%kart\nclass Kept(TaskOnKart):\n    n = luigi.IntParameter()\n    def run(self):\n        self.dump(self.n)')
    run('%kart_build Kept(n=1)')
    assert flushed == []
    run('%kart_build --durable Kept(n=2)')
    assert flushed
    flushed.clear()
    run('%kart_sweep Kept n=3,4 --durable')
    assert flushed


def test_a_build_is_reported_to_a_function(pipeline: Run, shell: InteractiveShell) -> None:
    pipeline('reports = []; report = reports.append')
    assert 'Out[' in pipeline('%kart_build --notify report Sum()')
    pipeline('handle = %kart_build --background --notify report Sum()')
    pipeline('handle.result()')
    assert [report.succeeded for report in shell.user_ns['reports']] == [True, True]


def test_where_a_report_cannot_go_is_said(pipeline: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv('SLACK_TOKEN', raising=False)
    assert '--notify slak not found: give slack, an address' in pipeline('%kart_build --notify slak Sum()')
    assert 'Slack needs a token: set the environment variable SLACK_TOKEN.' in pipeline(
        '%kart_build --notify slack Sum()'
    )
    assert 'Address 1, nowhere://…, is not one that apprise knows' in pipeline('%kart_build --notify nowhere://x Sum()')
