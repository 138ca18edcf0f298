"""The memory of tasks: measured in real processes, recorded, shown, and a limit to what runs at once."""

from __future__ import annotations

import json
import linecache
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextvars import copy_context
from itertools import pairwise
from pathlib import Path
from typing import Any

import luigi
import pytest

import kartnb
from kartnb import display
from kartnb.config import BuildOptions
from kartnb.errors import TaskSettingError
from kartnb.execution.build import run_build
from kartnb.execution.memory import MemoryMeter, _left_in_groups, available_memory, memory_of
from kartnb.execution.report import BuildReport
from kartnb.history.log_store import RecordedMemory
from kartnb.history.run_record import RunRecord
from kartnb.task.code.prints import Printer
from tests.execution.luigi_settings import luigi_settings

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='platform: the peak can be reset on Linux only')
MB = 1_000_000


class Block(kartnb.TaskOnKart[tuple[float, float]]):
    """Holds so many megabytes for a while; its result says from when until when."""

    n = luigi.IntParameter(default=0)
    size = luigi.IntParameter(default=300)
    seconds = luigi.FloatParameter(default=0.0)

    def run(self) -> None:
        began = time.monotonic()
        held = b'x' * (self.size * MB)
        time.sleep(self.seconds)
        self.dump((began, time.monotonic() if held else 0.0))


class Declared(Block):
    memory: Any = '600MB'


class Wide(kartnb.TaskOnKart[list[tuple[float, float]]]):
    tasks = kartnb.ListTaskInstanceParameter()

    def run(self) -> None:
        self.dump(self.load('tasks'))


class Asking(kartnb.TaskOnKart[int]):
    """Holds megabytes before and after it asks for a larger task."""

    def run(self) -> Any:
        held = b'x' * (100 * MB)
        yield Block(size=250)
        self.dump(len(held))


class Building(kartnb.TaskOnKart[int]):
    """Builds a task in its run."""

    def run(self) -> None:
        kartnb.build(Block(size=200))
        kartnb.build(Block(size=20))
        self.dump(1)


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('KARTNB_MEMORY', raising=False)


def _report(task: Any, **options: Any) -> BuildReport:
    report = run_build(task, BuildOptions(**options))
    assert report.succeeded, report
    return report


def _record(task: Any) -> RunRecord:
    record = kartnb.Workspace().run(task).record
    assert record is not None
    return record


def _added(task: Any) -> int:
    added = _record(task).added_memory
    assert added is not None
    return added


def _overlap(spans: list[tuple[float, float]]) -> bool:
    return any(begin < end for (_, end), (begin, _) in pairwise(sorted(spans)))


@pytest.mark.parametrize('workers', [1, 2])
def test_what_a_task_takes_is_recorded_and_reported(workers: int) -> None:
    large, small = Block(size=300), Block(size=1)
    report = _report(Wide(tasks=[large, small]), workers=workers)
    assert 290 * MB < _added(large) < 340 * MB
    assert _added(small) < 30 * MB
    record = _record(large)
    assert record.peak_memory is not None
    assert record.peak_memory - _added(large) == record.memory_before
    taken = {key.partition('_')[0]: added for key, added in report.memory.items()}
    assert set(taken) == {'Block', 'Wide'}
    assert max(report.memory.values()) == _added(large)


def test_an_earlier_peak_does_not_count() -> None:
    assert len(b'x' * (400 * MB))
    _report(Block(size=100))
    assert 90 * MB < _added(Block(size=100)) < 140 * MB


def test_a_task_that_fails_has_its_memory_recorded() -> None:
    class Failing(kartnb.TaskOnKart[int]):
        def run(self) -> None:
            held = b'x' * (200 * MB)
            raise ValueError(len(held))

    run_build(Failing(), BuildOptions())
    added = kartnb.Workspace().runs(state='failed')[0].added_memory
    assert added is not None
    assert added > 190 * MB


def test_what_a_task_asks_for_is_not_its_own() -> None:
    _report(Asking())
    assert 90 * MB < _added(Asking()) < 140 * MB
    assert 240 * MB < _added(Block(size=250)) < 290 * MB


def test_what_a_task_builds_is_its_own_too() -> None:
    _report(Building())
    assert 190 * MB < _added(Building()) < 250 * MB
    assert _added(Block(size=20)) < 60 * MB


def test_tasks_in_threads_are_not_measured() -> None:
    report = _report(Wide(tasks=[Block(n=n, size=1) for n in range(3)]), executor='threads', workers=2)
    assert not report.memory
    assert _record(Block(n=1, size=1)).peak_memory is None


def test_runs_that_cross_each_other_are_not_measured() -> None:
    one, other = copy_context(), copy_context()
    first, second = one.run(MemoryMeter, alone=True), other.run(MemoryMeter, alone=True)
    assert [one.run(first.end), other.run(second.end)] == [None, None]
    assert MemoryMeter(alone=True).end() is not None


@pytest.mark.parametrize('how', ['processes', 'threads', 'pool'])
def test_large_tasks_do_not_run_at_once(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('KARTNB_MEMORY', '1GB')
    task = Wide(tasks=[Declared(n=n, size=1, seconds=0.1) for n in range(4)])
    if how == 'pool':
        with ProcessPoolExecutor(2) as pool:
            spans = kartnb.build(task, executor=pool)
    else:
        spans = kartnb.build(task, executor=how, workers=2)
    assert not _overlap(spans)


def test_tasks_that_fit_run_at_once() -> None:
    with luigi_settings('kartnb', memory='1.3 GB'):
        task = Wide(tasks=[Declared(n=n, size=1, seconds=0.3) for n in range(4)])
        assert _overlap(kartnb.build(task, executor='threads', workers=2))


@pytest.mark.parametrize('limit, together', [('400MB', False), ('100GB', True)])
def test_what_the_last_run_took_counts_where_it_was_much(
    limit: str, together: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = [Block(n=n, size=250, seconds=0.3) for n in range(3)]
    _report(Wide(tasks=tasks[:2]))
    monkeypatch.setenv('KARTNB_MEMORY', limit)
    # the third has not run: it is as large as others of its class
    spans = kartnb.build(Wide(tasks=tasks), rerun='Block', executor='threads', workers=3)
    assert _overlap(spans) is together


def test_the_own_record_goes_before_those_of_the_class() -> None:
    small, large, unknown = Block(size=1), Block(size=200), Block(size=2)
    _report(Wide(tasks=[small, large]))
    recorded = RecordedMemory()
    assert recorded.bytes(large, 100 * MB) == _added(large)
    assert recorded.bytes(small, 100 * MB) is None
    assert recorded.bytes(unknown, 100 * MB) == _added(large)
    assert recorded.bytes(unknown, 900 * MB) is None


def test_a_task_that_needs_more_than_there_is_runs_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('KARTNB_MEMORY', '0.5 GB')
    task = Wide(tasks=[Declared(n=n, size=1, seconds=0.1) for n in range(3)])
    with pytest.warns(UserWarning, match=r'^Declared needs 0\.6 GB of memory, and there are 0\.5 GB') as caught:
        spans = kartnb.build(task, executor='threads', workers=2)
    assert not _overlap(spans)
    assert len([warning for warning in caught if 'of memory' in str(warning.message)]) == 1


@pytest.mark.parametrize(
    'given, expected',
    [
        ('3GB', 3_000_000_000),
        ('512 MB', 512 * MB),
        ('1.5GiB', 3 << 29),
        (1024, 1024),
        (2e9, 2_000_000_000),
        (None, None),
    ],
)
def test_amounts(given: Any, expected: int | None) -> None:
    class Sized(kartnb.TaskOnKart[int]):
        memory = given

    assert memory_of(Sized()) == expected


@pytest.mark.parametrize('options', [{}, {'executor': 'threads', 'workers': 2}], ids=['inline', 'threads'])
@pytest.mark.parametrize('given', ['3 parsecs', -1, 0, float('nan'), float('inf'), '-2GB'])
def test_what_is_not_an_amount_is_said(given: Any, options: dict[str, Any]) -> None:
    class Odd(kartnb.TaskOnKart[int]):
        memory = given

        def run(self) -> None:
            self.dump(1)

    with pytest.raises(
        kartnb.GokartBuildError, match=r"Odd\.memory must be an amount of memory such as '3GB'"
    ) as caught:
        kartnb.build(Odd(), **options)
    assert isinstance(caught.value.__cause__, TaskSettingError)


def test_a_limit_that_is_not_an_amount_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('KARTNB_MEMORY', 'all')
    with pytest.raises(TaskSettingError, match='KARTNB_MEMORY must be an amount of memory'):
        kartnb.build(Block(size=1))


def test_other_meanings_of_the_name_are_left_alone() -> None:
    class Parameter(kartnb.TaskOnKart[int]):
        memory = luigi.IntParameter(default=-3)

        def run(self) -> None:
            self.dump(self.memory)

    class Method(kartnb.TaskOnKart[int]):
        def memory(self) -> int:
            return 7

        def run(self) -> None:
            self.dump(self.memory())

    class Other(kartnb.TaskOnKart[int]):
        memory = ('a', 'b')

        def run(self) -> None:
            self.dump(len(self.memory))

    class Named(kartnb.TaskOnKart[str]):
        memory = 'chat.json'

        def run(self) -> None:
            self.dump(self.memory)

    tasks = [Parameter(), Method(), Other(), Named()]
    assert kartnb.build(Wide(tasks=tasks), executor='threads', workers=2) == [-3, 7, 2, 'chat.json']


def test_a_property_and_an_attribute_of_the_instance_count() -> None:
    class Computed(kartnb.TaskOnKart[int]):
        n = luigi.IntParameter()

        @property
        def memory(self) -> str:
            return f'{self.n} GB'

    class Plain(kartnb.TaskOnKart[int]):
        pass

    task: Any = Plain()
    task.memory = '2kB'
    assert [memory_of(Computed(n=2)), memory_of(task)] == [2_000 * MB, 2_000]


def _class(amount: str, result: str) -> type:
    text = f'class Fit(kartnb.TaskOnKart):\n    memory = {amount}\n    def run(self):\n        self.dump({result})\n'
    namespace: dict[str, Any] = {'kartnb': kartnb, '__name__': '__main__'}
    name = f'<{amount} {result}>'
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    exec(compile(text, name, 'exec'), namespace)
    found: type = namespace['Fit']
    return found


@pytest.mark.parametrize(
    'result, amounts, equal',
    [
        ('1', ("'3GB'", "'4 GiB'"), True),
        ('self.memory', ("'3GB'", "'4 GiB'"), False),
        ('1', ("'a.txt'", "'b.txt'"), False),
    ],
)
def test_another_amount_is_not_another_code(result: str, amounts: tuple[str, str], equal: bool) -> None:
    one, other = (Printer().print_of(_class(amount, result)).digest for amount in amounts)
    assert (one == other) is equal


def test_records_without_memory_and_with_damaged_numbers() -> None:
    _report(Block(size=1))
    values = json.loads(_record(Block(size=1)).to_json())
    old = {name: value for name, value in values.items() if 'memory' not in name}
    assert RunRecord.from_json(json.dumps(old)).added_memory is None
    with pytest.raises(ValueError, match='damaged'):
        RunRecord.from_json(json.dumps({**values, 'peak_memory': 'much'}))


def test_the_memory_of_a_task_is_shown() -> None:
    task = Block(size=300)
    report = _report(Wide(tasks=[task, Block(size=1)]))
    size = f'{_added(task) / MB:.1f} MB'
    for shown in (display.render(report, 'text'), display.render(report, 'html')):
        assert f'most memory: Block[{task.make_unique_id()[:8]}] {size}' in shown
    inspected = kartnb.inspect(task)
    for shown in (repr(inspected), inspected._repr_html_()):
        assert f'memory +{size}, to a peak of' in shown.replace('\n', ' ')
    frame = kartnb.Workspace().runs('Block').to_dataframe()
    assert _added(task) in frame['added_memory'].tolist()
    assert (frame['peak_memory'] >= frame['added_memory']).all()


@pytest.mark.parametrize('again', [False, True])
def test_a_sweep_shows_the_memory_of_its_points(again: bool) -> None:
    for _ in range(1 + again):
        found = kartnb.sweep(Block, size=[1, 200], metric=lambda result: result[1] - result[0])
    added = found[1].memory
    assert added is not None
    assert added == _added(Block(size=200))
    assert f'{added / MB:.1f} MB' in display.render(found, 'text')
    assert f'<td>{added / MB:.1f} MB</td>' in display.render(found, 'html')


def test_control_groups_limit_what_is_available(tmp_path: Path) -> None:
    assert (available_memory() or 0) > 0
    new, old = tmp_path / 'new/app', tmp_path / 'old/memory/app/job'
    for folder, names, number in (
        (new, ('memory.max', 'memory.current', 'inactive_file'), '900'),
        (new.parent, ('memory.max', 'memory.current', 'inactive_file'), 'max'),
        (old, ('memory.limit_in_bytes', 'memory.usage_in_bytes', 'total_inactive_file'), '700'),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / names[0]).write_text(number)
        (folder / names[1]).write_text('500\n')
        (folder / 'memory.stat').write_text(f'anon 3\n{names[2]} 100\n')
    (tmp_path / 'v2').write_text('0::/app/inner\n')
    (tmp_path / 'v1').write_text('4:cpu,memory:/app/job\n3:cpuset:/\n')
    assert list(_left_in_groups(str(tmp_path / 'v2'), str(tmp_path / 'new'))) == [500]
    assert list(_left_in_groups(str(tmp_path / 'v1'), str(tmp_path / 'old'))) == [300]
    assert list(_left_in_groups(str(tmp_path / 'none'), str(tmp_path))) == []
