"""`kartnb.graph`, and what a live graph sends and answers, without a browser."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import kartnb
from kartnb.errors import TaskArgumentError
from kartnb.model import BuildStarted, LogLine, Plan, PlanGrew, TaskOutput, TaskState, TaskStateChanged
from kartnb.notebook import live_graph
from kartnb.notebook.live_graph import LiveGraph
from kartnb.notebook.monitor import MAX_LINES, MAX_TASKS_WITH_LINES, BuildMonitor
from kartnb.view.words import LETTERS
from tests.notebook.conftest import Run
from tests.notebook.kernel import Kernel
from tests.view.graphs import generated, pipeline, sweep

WITHOUT_IPYTHON = """
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in ('IPython', 'anywidget', 'ipywidgets'):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NotInstalled())
import kartnb

class Load(kartnb.TaskOnKart):
    pass

graph = kartnb.graph(Load())
print('1 missing' in repr(graph), '<img' in graph._repr_html_(), 'IPython' in sys.modules)
"""
TASKS = """%%kart
import time

class Step(TaskOnKart):
    number = luigi.IntParameter()

    def run(self):
        print('step', self.number)
        time.sleep(SECONDS)
        self.dump(self.number)

class Steps(TaskOnKart):
    def requires(self):
        return [Step(number=i) for i in range(4)]

    def run(self):
        self.dump(0)
"""


def traits(live: LiveGraph, name: str) -> Any:
    """Return what the front end has."""
    return json.loads(getattr(live.widget, name))


def answers(live: LiveGraph, **message: Any) -> list[dict[str, Any]]:
    """Send a message as the front end does, and give the answers."""
    sent: list[dict[str, Any]] = []
    live.widget.send = lambda content, buffers=None: sent.append(content)
    live.widget._handle_custom_msg(message, [])
    return sent


def monitored(plan: Plan) -> BuildMonitor:
    monitor = BuildMonitor()
    monitor(BuildStarted('b', plan))
    return monitor


def test_a_graph_is_a_plan_that_is_text_in_a_terminal(run: Run) -> None:
    run(TASKS.replace('SECONDS', '0'))
    shown = run('kartnb.graph(Steps())')
    assert '5 will run' in shown
    assert '└─ ○ missing Step[' in shown
    assert 'True' in run('isinstance(kartnb.graph(Steps()), kartnb.Plan)')


def test_a_graph_takes_a_task_or_a_plan_and_nothing_else(tmp_path: Path) -> None:
    plan = pipeline()
    assert kartnb.graph(plan).nodes == plan.nodes
    with pytest.raises(TaskArgumentError):
        kartnb.graph('Train')  # type: ignore[arg-type]
    kartnb.graph(plan).save(tmp_path / 'graph.svg')
    assert (tmp_path / 'graph.svg').read_text().startswith('<svg')


def test_a_graph_of_a_build_in_the_background_is_live_and_stored_when_it_ends(kernel: Kernel) -> None:
    kernel.ok(TASKS.replace('SECONDS', '0.2'))
    cell = kernel.ok("build = kartnb.build(Steps(), background=True, executor='threads'); kartnb.graph(build)")
    assert cell.widgets == 1
    kernel.ok('build.result()')
    for _ in range(50):
        kernel.ok('import time; time.sleep(0.1)')
        stored = next(output['data']['text/plain'] for output in cell.outputs if 'data' in output)
        if '5 done' in cell.html[0] and 'done' in stored:
            break
    assert '5 tasks: ✓ 5 done' in stored
    assert kernel.ok('build').widgets == 1, 'the handle draws itself'


def test_the_value_of_a_background_build_is_not_shown_twice(kernel: Kernel) -> None:
    kernel.ok(TASKS.replace('SECONDS', '0'))
    assert kernel.ok('%kart_build --background --executor threads Steps()').widgets == 1


def test_it_can_be_switched_off(kernel: Kernel) -> None:
    kernel.ok(TASKS.replace('SECONDS', '0'))
    kernel.ok('%config KartMagics.live_graph = False')
    try:
        assert kernel.ok('%kart_build Steps()').widgets == 0
        graph = kernel.ok('%kart_graph Steps()')
        assert [output['type'] for output in graph.outputs] == ['execute_result']
    finally:
        kernel.ok('%config KartMagics.live_graph = True')


def test_without_ipython_a_graph_is_its_stored_picture(tmp_path: Path, repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, '-c', WITHOUT_IPYTHON],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(repository)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == 'True True False', done.stderr


def test_without_anywidget_the_stored_picture_is_shown(kernel: Kernel) -> None:
    kernel.ok(TASKS.replace('SECONDS', '0'))
    kernel.ok('import importlib.util; find = importlib.util.find_spec')
    kernel.ok("importlib.util.find_spec = lambda name, *rest: None if name == 'anywidget' else find(name, *rest)")
    try:
        cell = kernel.ok('%kart_build Steps()')
        assert cell.widgets == 0
        assert '5 done' in cell.html[0]
    finally:
        kernel.ok('importlib.util.find_spec = find')


def test_a_failed_build_stores_the_last_lines_of_what_failed(kernel: Kernel) -> None:
    kernel.ok('%%kart\nclass Fails(TaskOnKart):\n    def run(self):\n        print("almost <there>")\n        1 / 0')
    cell = kernel.run('%kart_build Fails()')
    assert 'Last lines of' in cell.html[0]
    assert 'almost &lt;there&gt;' in cell.html[0]
    assert 'almost <there>' in cell.outputs[0]['data']['text/plain']


def test_stored_size_is_bounded(kernel: Kernel) -> None:
    kernel.ok(TASKS.replace('range(4)', 'range(300)').replace('SECONDS', '0'))
    cell = kernel.ok('%kart_build --no-value Steps()')
    stored = sum(len(json.dumps(output['data'])) for output in cell.outputs if 'data' in output)
    assert stored < 100_000


def test_the_front_end_gets_states_runs_and_lines() -> None:
    plan = pipeline()
    monitor = monitored(plan)
    live = LiveGraph(plan, 'key', monitor)
    first = plan.nodes[0].key
    monitor(TaskStateChanged('b', first, TaskState.RUNNING))
    monitor(TaskOutput('b', first, 'stdout', 'one\ntwo'))
    monitor(LogLine('b', first, logging.ERROR, 'mine', 'three'))
    monitor(TaskStateChanged('b', first, TaskState.FAILED, 'ValueError: no'))
    live.push()
    assert live.widget.states[0] == LETTERS[TaskState.FAILED]
    assert live.widget.status['phase'] == 'running'
    live.end('failed')
    record = traits(live, 'record')
    assert record['runs']['0']['error'] == 'ValueError: no'
    assert [(line['text'], line['level']) for line in record['lines']] == [('one', 0), ('two', 0), ('three', 40)]
    assert live.widget.status['phase'] == 'failed'
    live.close()


def test_what_is_remembered_of_a_talkative_build_is_bounded() -> None:
    plan = sweep(MAX_TASKS_WITH_LINES + 40)
    monitor = monitored(plan)
    for node in plan:
        monitor(TaskOutput('b', node.key, 'stdout', '\n'.join(['x' * 100_000] * (MAX_LINES + 20))))
    lines = monitor.record()['lines']
    assert len(lines) == MAX_TASKS_WITH_LINES * MAX_LINES
    assert max(len(line['text']) for line in lines) <= 300
    assert len(monitor.changes()['lines']) <= 200


def test_a_plan_that_grows_is_redrawn() -> None:
    small, large = pipeline(), sweep(5)
    monitor = monitored(small)
    live = LiveGraph(small, 'key', monitor)
    monitor(PlanGrew('b', large))
    live.push()
    assert len(live.widget.states) == len(large)
    assert len(traits(live, 'tasks')['name']) == len(large)
    assert {i for box in traits(live, 'scene')['boxes'] for i in box['members']} == set(range(len(large)))
    live.close()


def test_messages_open_focus_and_leave() -> None:
    live = LiveGraph(sweep(100), 'key')
    answers(live, kind='expand', position=3, view='v')
    assert len(traits(live, 'scene')['boxes']) == 102
    assert len(traits(live, 'scene')['frames']) == 1
    answers(live, kind='collapse', position=3)
    answers(live, kind='focus', position=3, direction='upstream')
    assert len(traits(live, 'scene')['boxes']) == 2
    answers(live, kind='whole')
    assert len(traits(live, 'scene')['boxes']) == 3
    live.close()


@pytest.mark.parametrize(
    'message',
    [{}, {'kind': 'expand'}, {'kind': 'focus', 'position': 10**9}, {'kind': 'load', 'position': 'x'}, {'kind': ['?']}],
)
def test_messages_that_mean_nothing_do_nothing(message: dict[str, Any]) -> None:
    live = LiveGraph(pipeline(), 'key')
    before = live.widget.scene
    assert answers(live, view='v', number=3, **message) == [{'kind': 'answer', 'view': 'v', 'number': 3}]
    assert live.widget.scene == before
    live.close()


def test_stop_is_asked_for_once() -> None:
    plan = pipeline()
    asked: list[int] = []
    live = LiveGraph(plan, 'key', monitored(plan), lambda: asked.append(1))
    answers(live, kind='stop')
    answers(live, kind='stop')
    assert asked == [1]
    assert live.widget.status['phase'] == 'stopping'
    live.close()


def test_a_build_that_has_ended_cannot_be_stopped() -> None:
    plan = pipeline()
    live = LiveGraph(plan, 'key', monitored(plan), lambda: pytest.fail('it was stopped'))
    live.end('done')
    answers(live, kind='stop')
    live.close()


def test_a_result_is_loaded_on_demand_and_escaped(tmp_path: Path) -> None:
    class Said(kartnb.TaskOnKart[str]):
        def run(self) -> None:
            self.dump('<script>1</script>')

    task = Said(workspace_directory=str(tmp_path))
    live = LiveGraph(kartnb.plan(task), 'key')
    (missing,) = answers(live, kind='load', position=0, view='v')
    assert 'has not been created yet' in missing['html']
    kartnb.build(task)
    (shown,) = answers(live, kind='load', position=0, view='v')
    assert '&lt;script&gt;' in shown['html']
    assert '<script' not in shown['html']
    live.close()


def test_details_of_the_drawn_tasks_come_along_and_end_their_thread() -> None:
    live = LiveGraph(pipeline(), 'key')
    live.load_details()
    for _ in range(100):
        if traits(live, 'details'):
            break
        time.sleep(0.05)
    assert set(traits(live, 'details')) == {'0', '1', '2', '3', '4'}
    assert 'class Load' in traits(live, 'details')['0']['source']['text']
    live.close()


def test_a_plan_says_about_how_long_it_takes_where_that_is_known(tmp_path: Path) -> None:
    class Slow(kartnb.TaskOnKart[int]):
        number = kartnb.luigi.IntParameter()

        def run(self) -> None:
            time.sleep(0.06)
            self.dump(self.number)

    kartnb.build(Slow(number=1, workspace_directory=str(tmp_path)))
    plan = kartnb.plan(Slow(number=2, workspace_directory=str(tmp_path)))
    live = LiveGraph(plan, 'key')
    live.load_details()
    for _ in range(100):
        if traits(live, 'details'):
            break
        time.sleep(0.05)
    assert live.widget.status['remaining'] == pytest.approx(0.1, abs=0.06)
    live.close()
    monitor = monitored(plan)
    monitor.load_estimates()
    assert monitor.progress().remaining is not None


def test_only_so_many_live_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_graph, '_MAX_LIVE', 3)
    monkeypatch.setattr(live_graph, '_live_graphs', [])
    lives = [LiveGraph(pipeline(), f'key{i}') for i in range(5)]
    assert [live.widget.comm is None for live in lives] == [True, True, False, False, False]
    for live in lives:
        live.close()


def test_ten_thousand_tasks_stay_within_bounds() -> None:
    live = LiveGraph(generated(10_000, 400), 'key')
    scene = traits(live, 'scene')
    assert len(scene['boxes']) <= 150
    assert len(scene['arrows']) <= 400
    assert len(live.widget.tasks) < 3_000_000
    live.close()


def test_no_thread_is_left_behind(run: Run) -> None:
    run(TASKS.replace('SECONDS', '0'))
    run('%kart_build Steps()')
    run('kartnb.graph(Steps())')
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith('kartnb')] == []
