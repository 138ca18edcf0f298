"""`%kart_sweep` and `%kart_interact`: their lines, their completion, and what they say of bad input."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from kartnb.notebook.arguments import words_of
from kartnb.notebook.magics_sweep import SweepMagics
from tests.notebook.conftest import Run
from tests.notebook.kernel import Kernel

DEFINE = """
import kartnb, luigi, os
class Rows(kartnb.TaskOnKart):
    rows = luigi.IntParameter(default=5)
    def run(self):
        self.dump(self.rows)
class Fit(kartnb.TaskOnKart):
    data = kartnb.TaskInstanceParameter(default=Rows())
    depth = luigi.IntParameter(description='how deep')
    rate = luigi.FloatParameter(default=0.1)
    day = luigi.DateParameter(default=None)
    name = luigi.Parameter(default='')
    def run(self):
        self.dump({'score': self.depth / (1 + self.rate) + self.load('data')})
"""


@pytest.fixture
def defined(run: Run, tmp_path: Path) -> Run:
    run(DEFINE + f'os.chdir({str(tmp_path)!r})')
    return run


def test_a_line_is_taken_apart() -> None:
    words = words_of("Fit(a, b)  x=[1, 2] y='a b' --metric s")
    assert [word.text for word in words] == ['Fit(a, b)', 'x=[1, 2]', "y='a b'", '--metric', 's']
    given = SweepMagics.kart_sweep.parser.split('--workers 2 Fit depth=1:3 --dry-run rate=0.1,1 --metric score')
    assert (given.expression, given.options.workers, given.options.dry_run) == ('Fit depth=1:3 rate=0.1,1', 2, True)


@pytest.mark.parametrize(
    'values, points',
    [
        ('depth=1:4', 4),
        ('depth=1:9:2', 5),
        ('depth=2', 1),
        ("depth=1 name='a,b',c", 2),
        ('depth=1,3,5 rate=0:1:0.25', 15),
        ('depth=[1, 2]', 2),
        ('depth=(1,)', 1),
        ('depth=1:2 data.rows=1,2', 4),
        ('depth=1:1000 --sample 7', 7),
        ('depth=1 rate=0.001:1:log --sample 3', 3),
        ('depth=1 day=2024-01-30:2024-02-02', 4),
    ],
)
def test_values_on_the_line(defined: Run, values: str, points: int) -> None:
    said = defined(f'found = %kart_sweep Fit {values} --dry-run\nprint(len(found.points), "points")')
    assert f'{points} points' in said


def test_a_sweep_in_a_terminal(defined: Run) -> None:
    said = defined('%kart_sweep Fit(depth=1) depth=1:3 --metric score --minimize')
    assert '3 points of Fit: ○ 3 missing · 4 will run' in said
    assert 'best score: 5.909 with depth=1 (point 0)' in said
    assert 'nothing will run' in defined('%kart_sweep Fit depth=1:3 --dry-run')


@pytest.mark.parametrize(
    'line, message',
    [
        ('', 'needs a task class and values'),
        ('Fit dpth=1:3', "Fit has no parameter 'dpth': did you mean 'depth'?"),
        ('Fitt depth=1:3', "name 'Fitt' is not defined: did you mean Fit?"),
        ('Fit depth=a:b', 'depth=a:b is not a range of numbers'),
        ('Fit depth=x', "Fit.depth takes a whole number, not 'x'."),
        ('Fit depth=', 'depth= needs values'),
        ('Fit depth=1:2 depth=3', "'depth' is given twice"),
        ('Fit depth=1:2 rate', "'rate' is not a parameter with values"),
        ('Fit depth=1:1000 rate=0:1:0.001', '1,001,000 points'),
        ('Fit rate=1:2', "Fit needs a value for 'depth'"),
        ('Fit depth=1:2 --metrik score', 'unknown option --metrik: did you mean --metric?'),
        ('Fit depth=1:2 --metric scor', "did you mean 'score'?"),
        ('Rows', 'Say which parameters vary'),
        ('3 depth=1', 'A task class is needed'),
    ],
)
def test_bad_input_is_one_line(defined: Run, line: str, message: str) -> None:
    said = defined(f'%kart_sweep {line}')
    assert message in said
    assert 'Traceback' not in said
    assert len(re.findall('UsageError', said)) == 1


def test_help(run: Run) -> None:
    assert '--sample N' in run('%kart_sweep --help')
    assert '--auto' in run('%kart_interact --help')


def test_interact_in_a_terminal_says_what_there_is(defined: Run) -> None:
    said = defined('held = %kart_interact Fit depth=1:5 rate=0.1,1')
    assert 'Fit(depth=1, rate=0.1)' in said
    assert '○ missing' in said
    assert '%kart_build Fit(depth=1)' in said
    defined('held.controls[0].input.value = 4; held.moved()')
    assert '4' in defined('print(held.task.depth)')
    defined('held = %kart_interact Fit(depth=3) ;')
    assert '3' in defined('print(held.task.depth)'), 'a semicolon loses the value'
    assert "did you mean 'depth'?" in defined('%kart_interact Fit dpth=1:5')
    assert 'takes a function' in defined('%kart_interact Fit depth=1:5 --output 3')


def test_a_sweep_in_the_background_of_a_kernel(kernel: Kernel) -> None:
    kernel.ok(DEFINE)
    begun = kernel.ok('held = %kart_sweep Fit depth=1:4 --metric score --background\nheld')
    assert begun.widgets == 1
    assert '<BackgroundSweep of Fit' in begun.stdout
    kernel.ok('found = held.result()')
    deadline = time.monotonic() + 60
    while (begun.widgets or 'best score:' not in begun.html[-1]) and time.monotonic() < deadline:
        kernel.ok('import time; time.sleep(0.1)')
    assert begun.widgets == 0  # nothing is left of the button
    assert 'best score: 8.636 with depth=4' in begun.html[-1]
    assert 'data:image/png' in begun.html[-1]
    assert len(kernel.ok('held').outputs) == 1


def test_an_interrupted_sweep_keeps_what_has_finished_on_the_page(kernel: Kernel) -> None:
    kernel.ok(
        'import kartnb, luigi, time\nclass Long(kartnb.TaskOnKart):\n    n = luigi.IntParameter()\n'
        '    def run(self):\n        time.sleep(120 if self.n == 2 else 0)\n        self.dump(self.n)'
    )
    cell = kernel.run('kartnb.sweep(Long, n=range(4))', interrupt_after=8)
    assert 'of 4 points are done and kept; sweep again to continue' in cell.traceback
    assert 'the same sweep continues from there' in cell.html[0]
    assert 'to stop: interrupt the kernel' not in cell.html[0]


def test_in_a_kernel(kernel: Kernel) -> None:
    kernel.ok(DEFINE)
    assert set(kernel.complete('%kart_sweep Fit de')) >= {'depth='}
    assert 'depth=' not in kernel.complete('%kart_sweep Fit depth=1:3 ')
    assert '--metric' in kernel.complete('%kart_sweep Fit depth=1:3 --m')
    cell = kernel.ok('%kart_sweep Fit depth=1:3 --metric score')
    assert [output['type'] for output in cell.outputs] == ['display_data', 'execute_result']
    assert '✓ 3 done' in cell.outputs[0]['data']['text/plain']
    assert 'kartnb-best' in cell.outputs[1]['data']['text/html']
    picture = kernel.ok('_.plot()')
    assert picture.outputs[0]['data']['image/png']
    shown = kernel.ok('kartnb.interact(Fit, depth=(1, 5))')
    kinds = [set(output['data']) for output in shown.outputs]
    assert kinds[0] == {'text/plain', 'text/html'}
    assert 'application/vnd.jupyter.widget-view+json' in kinds[1]
    assert 'cached' in shown.outputs[0]['data']['text/html']
