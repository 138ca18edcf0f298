"""`%kart_output`, `%kart_log` and what is shown of tasks, in a text shell and in a real kernel."""

from __future__ import annotations

import re

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

from kartnb.inspection.outputs import COLUMNS
from tests.notebook.conftest import Run
from tests.notebook.kernel import Kernel

PIPELINE = """%%kart
import logging

class Numbers(TaskOnKart):
    count = luigi.IntParameter(default=3)

    def run(self):
        print('counting <b>')
        logging.getLogger('mine').warning('only %d', self.count)
        self.dump(list(range(self.count)))

class Sum(TaskOnKart):
    numbers = TaskInstanceParameter(default=Numbers())

    def run(self):
        self.dump(sum(self.load('numbers')))
"""


@pytest.fixture
def built(run: Run) -> Run:
    """Return `run` with the pipeline built."""
    run(PIPELINE)
    run('%kart_build Sum()')
    return run


def test_outputs_are_a_table(built: Run, shell: InteractiveShell) -> None:
    shown = built('%kart_output Sum()')
    assert re.search(r'2 outputs of Sum\[\w+\]: 2 created, \d+ B', shown)
    assert re.search(r'● cached +Numbers +count=3 +\w{8} +pkl +\d+ B', shown)
    assert len(shell.user_ns['_']) == 2
    assert '1 output ' in built('%kart_output --filter numbers_ Sum()')
    assert '0 outputs' in built('%kart_output Sum() --state not-needed')
    built('%kart_output --sort size --descending Sum()')
    sizes = [output.size for output in shell.user_ns['_']]
    assert sizes == sorted(sizes, reverse=True)


def test_a_result_is_previewed(built: Run) -> None:
    assert 'Sum: int\n3' in built('%kart_output --preview Sum()')
    assert 'has not been created yet' in built('%kart_output --preview Numbers(count=9)')


def test_logs_are_lines(built: Run, shell: InteractiveShell) -> None:
    shown = built('%kart_log Numbers()')
    assert 'Log of Numbers: 2 lines, 1 warning' in shown
    assert 'counting <b>' in shown
    assert 'full log: ./resources/log/run_record/__main__/Numbers_' in shown
    assert '1 line' in built('%kart_log --level WARNING Numbers()')
    assert '0 lines' in built('%kart_log --grep nothing Numbers()')
    built('plan = %kart_graph Sum()')
    assert 'Log of tasks of Sum: 2 lines' in built('%kart_log plan')


@pytest.mark.parametrize(
    'line, said',
    [
        ('%kart_log', '%kart_log needs an expression'),
        ('%kart_log Numbers', 'Numbers is a task class'),
        ('%kart_log 3', 'Expected a task, a plan or a build'),
        ('%kart_log --level LOUD Numbers()', 'not a log level'),
        ('%kart_log --grep [ Numbers()', 'not a regular expression'),
        ('%kart_output --sort colour Numbers()', "invalid choice: 'colour'"),
        ('%kart_output --colour Numbers()', 'unknown option --colour'),
        ('%kart_output Numbrs()', 'did you mean Numbers?'),
    ],
)
def test_wrong_use_is_one_line(built: Run, line: str, said: str) -> None:
    shown = built(line)
    assert said in shown
    assert 'Traceback' not in shown


def test_options_complete(shell: InteractiveShell) -> None:
    def offered(line: str) -> list[str]:
        with provisionalcompleter():
            return [completion.text for completion in shell.Completer.completions(line, len(line))]

    assert '--grep' in offered('%kart_log --')
    assert 'WARNING' in offered('%kart_log --level ')
    assert set(offered('%kart_output --sort ')) == set(COLUMNS)


def test_a_task_is_its_plan_alone_and_one_line_in_a_list(built: Run) -> None:
    shown = built('Sum()')
    assert 'Plan of Sum[' in shown
    assert '└─ ● cached Numbers[' in shown
    assert re.search(r'\[Sum\[\w{32}\]\(.*\)\]\n', built('[Sum()]'))


def test_a_failed_build_and_one_in_the_background_are_shown(built: Run) -> None:
    built('class Bad(TaskOnKart):\n    def run(self):\n        raise ValueError("no")')
    built('try:\n    kartnb.build(Bad())\nexcept Exception as error:\n    kept = error')
    assert '✗ Build of Bad[' in built('kept')
    built('handle = kartnb.build(Sum(), background=True, executor="threads"); handle.wait()')
    assert '✓ Build of Sum[' in built('handle')


def test_in_a_notebook_they_are_html(kernel: Kernel) -> None:
    kernel.ok(PIPELINE)
    kernel.ok('%kart_build Sum()')
    (task,) = kernel.ok('Sum()').html
    assert '<img src="data:image/svg+xml;base64,' in task
    assert 'is part of the unique id' in task
    (log,) = kernel.ok('%kart_log Numbers()').html
    assert 'counting &lt;b&gt;' in log
    shown = kernel.ok('%kart_output Sum()')
    (outputs,) = shown.html
    assert outputs.count('● cached') == 2
    assert 'application/vnd.jupyter.widget-view+json' in shown.outputs[1]['data']
    assert shown.outputs[1]['data']['text/html'] == '', 'exports show nothing in the place of what is live'
    assert kernel.ok('len(_)').value == '2'
    (result,) = kernel.ok('%kart_output --preview Numbers()').html
    assert 'list of 3 items' in result
    begun = kernel.ok('%kart_build --background Sum(numbers=Numbers(count=2))')
    assert sum('data:image/svg+xml' in html for html in begun.html) <= 1
    assert '<BackgroundBuild of Sum' in begun.stdout
    for html in (task, log, outputs, result):
        assert '<script' not in html
