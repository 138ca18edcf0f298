"""The magics in a real kernel: pictures, progress, interrupts, the debugger, Tab."""

from __future__ import annotations

import json
import queue
import re
from collections.abc import Iterable

import pytest

from kartnb.notebook.command import parsers_of
from kartnb.notebook.extension import MAGICS
from tests.notebook.kernel import Kernel

PARSERS = {name: parser for magics in MAGICS for name, parser in parsers_of(magics).items()}

SLOW = """%%kart
import time

class Slow(TaskOnKart):
    number = luigi.IntParameter()
    seconds = luigi.FloatParameter(default=0.4, significant=False)

    def run(self):
        print(f'slow {self.number}')
        time.sleep(self.seconds)
        self.dump(self.number)

class All(TaskOnKart):
    upto = luigi.IntParameter(default=4)
    seconds = luigi.FloatParameter(default=0.4, significant=False)

    def requires(self):
        return [Slow(number=i, seconds=self.seconds) for i in range(self.upto)]

    def run(self):
        self.dump(sum(self.load()))
"""


def test_a_build_is_a_picture_the_prints_and_the_value(kernel: Kernel) -> None:
    kernel.ok(SLOW)
    cell = kernel.ok('%kart_build All(seconds=0)')
    kinds = [output['type'] for output in cell.outputs]
    assert kinds == ['display_data', 'display_data', 'stream', 'execute_result']
    assert cell.widgets == 1
    assert cell.stdout == 'slow 0\nslow 1\nslow 2\nslow 3\n'
    assert cell.value == '6'
    (html,) = cell.html
    assert '<img src="data:image/svg+xml;base64,' in html
    assert '5 done' in html
    assert '<script' not in html
    assert 'http' not in re.sub(r'base64,[^"]*', '', html)
    text = cell.outputs[0]['data']['text/plain']
    assert '5 tasks: ✓ 5 done' in text


def test_progress_is_seen_while_the_build_runs_and_not_after(kernel: Kernel) -> None:
    kernel.ok(SLOW)
    cell = kernel.ok('%kart_build --no-value All(upto=5)')
    shown = [_html(message) for message in cell.messages if message['content'].get('data', {}).get('text/html')]
    before = [html for html in shown[:-1] if '6 done' not in html]
    progress = [re.search(r'running (\d)/6', html) for html in before]
    assert all(progress), 'what is shown before the end is progress'
    steps = [int(found[1]) for found in progress if found]
    assert steps == sorted(steps)
    assert len(set(steps)) >= 4
    assert len(shown) <= 2 + 2.2 / 0.25, 'at most four or five times a second'
    assert '6 done' in shown[-1]
    assert 'progressbar' not in cell.html[0]


def test_a_cached_build_is_shown_once(kernel: Kernel) -> None:
    kernel.ok(SLOW)
    kernel.ok('%kart_build All(seconds=0)')
    cell = kernel.ok('%kart_build All(seconds=0)')
    assert cell.stdout == ''
    assert 'nothing' in cell.html[0] or '5 cached' in cell.html[0]
    assert cell.value == '6'


def test_a_graph_is_its_own_output(kernel: Kernel) -> None:
    kernel.ok(SLOW)
    cell = kernel.ok('%kart_graph All()')
    assert [output['type'] for output in cell.outputs] == ['display_data', 'display_data']
    assert cell.widgets == 1
    assert '<img src="data:image/svg+xml;base64,' in cell.html[0]
    assert '5 missing' in cell.html[0]


def test_log_lines_go_to_standard_error(kernel: Kernel) -> None:
    kernel.ok(SLOW)
    kernel.ok('import logging')
    cell = kernel.ok('%kart_build --log-level INFO Slow(number=1, seconds=0)')
    assert 'INFO: kartnb: Slow_' in cell.stderr
    assert kernel.ok('%kart_build Slow(number=2, seconds=0)').stderr == ''
    assert kernel.ok('logging.getLogger().level, logging.getLogger().handlers').value == '(30, [])'


def test_plots_of_a_task_appear_in_its_cell(kernel: Kernel) -> None:
    kernel.ok('%matplotlib inline')
    kernel.ok(
        '%%kart\nimport matplotlib.pyplot as plt\nclass Plot(TaskOnKart):\n'
        '    def run(self):\n        plt.plot([1, 2])\n        plt.show()\n        self.dump(1)'
    )
    assert any('image/png' in output.get('data', {}) for output in kernel.ok('%kart_build Plot()').outputs)


def test_captured_builds_can_be_shown_later(kernel: Kernel) -> None:
    kernel.ok(SLOW)
    assert kernel.ok('%%capture kept\n%kart_build All(seconds=0)').outputs == []
    cell = kernel.ok('kept.show()')
    assert '5 done' in cell.html[-1]
    assert 'slow 0' in cell.stdout


def test_a_value_is_not_lost_where_nothing_can_be_drawn(kernel: Kernel) -> None:
    kernel.ok(SLOW)
    kernel.ok('import sys; kept = sys.modules.pop("pygraphviz", None); sys.modules["pygraphviz"] = None')
    try:
        cell = kernel.ok('%kart_build All(seconds=0)')
    finally:
        kernel.ok('sys.modules["pygraphviz"] = kept or sys.modules.pop("pygraphviz")')
    assert cell.value == '6'
    assert '5 done' in cell.html[0]
    assert 'Graphs cannot be drawn and are shown as text' in cell.stderr


def test_an_interrupted_build_can_be_gone_on_with(kernel: Kernel) -> None:
    kernel.ok(SLOW)
    cell = kernel.run('%kart_build All(seconds=1)', interrupt_after=1.5)
    assert cell.error is not None
    assert cell.error['ename'] == 'KeyboardInterrupt'
    assert 'time.sleep(self.seconds)' in cell.traceback
    assert 'kartnb/' not in cell.traceback
    assert '1 interrupted' in cell.html[0]
    assert '1 done' in cell.html[0]
    after = kernel.ok('%kart_build All(seconds=0)')
    assert after.value == '6'
    assert 'slow 0' not in after.stdout, 'what had ended is kept'
    kernel.ok('import threading, time')
    threads = '[t.name for t in threading.enumerate() if "kartnb" in t.name]'
    kernel.ok(f'while "kartnb details" in {threads}:\n    time.sleep(0.1)')  # the graph reads files for a moment
    assert kernel.ok(threads).value == '[]'
    assert kernel.ok('import glob; glob.glob("resources/**/*tmp*", recursive=True)').value == '[]'


def test_a_failure_names_the_cell_and_the_debugger_lands_in_it(kernel: Kernel) -> None:
    kernel.ok('%%kart\nclass Fails(TaskOnKart):\n    def run(self):\n        local = 41\n        local / 0\n')
    cell = kernel.run('%kart_build Fails()')
    assert cell.error is not None
    assert cell.error['ename'] == 'GokartBuildError'
    assert re.search(r'Cell In\[\d+\], line 5, in Fails.run\(self\)', cell.traceback)
    assert re.search(r'at Cell In\[\d+\]:5 in run: local / 0', cell.traceback)
    assert 'kartnb/' not in cell.traceback
    assert '1 failed' in cell.html[0]
    assert 'ZeroDivisionError' not in cell.html[0], 'the failure is shown once'
    assert '42' in _debug(kernel, 'p local + 1').splitlines()


@pytest.mark.parametrize('options', ['--workers 2', '--executor my_pool', '--workers 2 --background'])
def test_a_failure_in_another_process_names_the_cell_too(options: str, kernel: Kernel) -> None:
    kernel.ok(
        '%%kart\ndef halve(value):\n    return value / 0\n\n'
        'class Fails(TaskOnKart):\n    def run(self):\n        halve(41)\n'
    )
    kernel.ok(
        'import concurrent.futures, multiprocessing, sys\n'
        'sys.modules["__main__"].__spec__ = None  # the reset of this kernel has removed it\n'
        'my_pool = concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))'
    )
    if '--background' in options:
        kernel.ok(f'handle = %kart_build {options} Fails()')
        cell = kernel.run('handle.result()')
    else:
        cell = kernel.run(f'%kart_build {options} Fails()')
    assert re.search(r'Cell In\[\d+\], line 7, in Fails.run\(', cell.traceback)
    assert re.search(r'Cell In\[\d+\], line 3, in halve\(', cell.traceback)
    assert '----> 3     return value / 0' in cell.traceback
    assert '----> 7         halve(41)' in cell.traceback
    assert re.search(r'at Cell In\[\d+\]:3 in halve: return value / 0', cell.traceback)
    printed = re.sub(r'\x1b\[[0-9;]*m', '', _debug(kernel, 'up'))
    assert '----> 3     return value / 0' in printed
    assert '----> 7         halve(41)' in printed
    kernel.ok('my_pool.shutdown()')


def test_a_syntax_error_in_a_cell(kernel: Kernel) -> None:
    cell = kernel.run('%%kart\nclass A(TaskOnKart:\n    pass')
    assert cell.status == 'error'
    assert re.search(r'Cell In\[\d+\], line 2', cell.traceback)
    assert 'kartnb' not in cell.traceback


def test_misuse_fails_a_headless_run_with_one_line(kernel: Kernel) -> None:
    for line in ('%kart_build', '%kart_build --nope 1', '%kart_build 1', '%%kart x\n1', '%kart_graph 1/0'):
        cell = kernel.run(line)
        assert cell.status == 'error'
        assert cell.error is None
        assert cell.stderr.startswith('UsageError: ')
        assert len(cell.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    'line, offered',
    [
        ('%kart_b', ['%kart_build', '%%kart_build']),
        ('%kart_build -', sorted(PARSERS['kart_build'].options)),
        ('x = %kart_build --n', ['--no-value', '--notify']),
        ('%kart_build --executor ', ['async', 'inline', 'my_pool', 'processes', 'threads']),
        ('%%kart_build --no-value --re', ['--rerun', '--rerun-from']),
        ('%kart_graph --', sorted(PARSERS['kart_graph'].options)),
        ('%kart_build --log-level ', ['CRITICAL', 'DEBUG', 'ERROR', 'INFO', 'WARNING']),
        ('%kart_build --log-level=D', ['DEBUG']),
        ('%kart_build --rerun-from=S', ['Slow']),
        ('%kart_build Sl', ['Slow']),
        ('%kart_build --log-level DEBUG Sl', ['Slow']),
        ('total = %kart_graph Al', ['All']),
        ('%kart_build Slow(', ['number=', 'seconds=']),
        ('%kart_build Slow(number=2, ', ['seconds=']),
        ('%kart_build Slow(number=2, sec', ['seconds=']),
        ('%%kart_build\nSlow(\n    numb', ['number=']),
        ('%kart_build a_var', ['a_variable']),
        ('%kart_build Slow(number=a_var', ['a_variable']),
        ('%kart_build a_variable.bit_l', ['bit_length']),
        ('%%kart\nimport tim', ['time', 'timeit']),
    ],
)  # fmt: skip
def test_tab_offers(line: str, offered: list[str], kernel: Kernel) -> None:
    kernel.ok(SLOW)
    kernel.ok('a_variable = 2\nfrom concurrent.futures import ThreadPoolExecutor\nmy_pool = ThreadPoolExecutor(1)')
    assert kernel.complete(line) == offered


def test_tab_offers_the_magics_of_cells(kernel: Kernel) -> None:
    offered = kernel.complete('%%kar')
    assert {'%%kart', '%%kart_build', '%%kart_graph'} <= set(offered) <= {f'%%{name}' for name in PARSERS}


def test_tab_offers_task_names_to_run_again(kernel: Kernel) -> None:
    kernel.ok(SLOW)
    assert {'All', 'Slow'} <= set(kernel.complete('%kart_build --rerun-from '))


def test_tab_offers_nothing_of_kartnb_elsewhere(kernel: Kernel) -> None:
    assert '--log-level' not in kernel.complete('%time --')
    assert 'DEBUG' not in kernel.complete('x = "%kart_build --log-level "\nD')


def test_the_notebook_is_in_the_record(kernel: Kernel) -> None:
    kernel.ok('%unload_ext kartnb')
    kernel.ok('__vsc_ipynb_file__ = "/home/me/work.ipynb"')
    kernel.ok('%load_ext kartnb')
    kernel.ok(SLOW)
    kernel.ok('%kart_build Slow(number=1, seconds=0)')
    (record,) = _records(kernel)
    assert record['notebook'] == '/home/me/work.ipynb'


def _records(kernel: Kernel) -> list[dict[str, object]]:
    kernel.ok(
        'import glob, json; records = [json.load(open(f)) for f in glob.glob("resources/log/run_record/*/*.json")]'
    )
    found: list[dict[str, object]] = json.loads(kernel.ok('print(json.dumps(records))').stdout)
    return found


def _html(message: dict[str, dict[str, dict[str, str]]]) -> str:
    return message['content']['data']['text/html']


def _debug(kernel: Kernel, *commands: str) -> str:
    """Run `%debug`, answer its prompts, and give what it printed."""
    kernel.client.execute('%debug', allow_stdin=True)
    for command in (*commands, 'q'):
        kernel.client.get_stdin_msg(timeout=20)
        kernel.client.input(command)
    kernel.client.get_shell_msg(timeout=20)
    return ''.join(_streams(kernel))


def _streams(kernel: Kernel) -> Iterable[str]:
    while True:
        try:
            message = kernel.client.get_iopub_msg(timeout=0.5)
        except queue.Empty:
            return
        if message['msg_type'] == 'stream':
            yield message['content']['text']
