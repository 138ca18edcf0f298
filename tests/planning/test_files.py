"""Files that runs read: what is seen of them, and what becomes of results when they have changed."""

from __future__ import annotations

import functools
import glob
import json
import multiprocessing
import os
import pickle
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from runpy import run_path
from typing import Any

import luigi
import numpy
import pandas
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import pytest
from pyarrow.csv import read_csv as read_natively

import kartnb
from kartnb.capture import cached_reads
from kartnb.errors import FileInputError, ParameterValueError
from kartnb.execution.report import GokartBuildError
from kartnb.history.run_record import RunRecord
from kartnb.model import ReasonKind, TaskState
from kartnb.planning.known_results import KnownResults
from kartnb.planning.planner import draw_up
from kartnb.storage.file_inputs import FileInput, compare, look_at, shown_path
from kartnb.storage.targets import make_target
from kartnb.task.base import TaskOnKart
from tests.planning.notebook import Notebook, forget_classes

DATA = Path('data')


def _in_thread(read: Callable[[], Any]) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(read()))
    thread.start()
    thread.join()
    return found[0]


def _from_database() -> list[Any]:
    database = sqlite3.connect('data/sales.db')
    try:
        return database.execute('select * from sales').fetchall()
    finally:
        database.close()


def _in_directory() -> str:
    before = os.getcwd()
    os.chdir('data')
    try:
        return Path('sales.csv').read_text()
    finally:
        os.chdir(before)


def _unpickled() -> Any:
    with open('data/sales.pkl', 'rb') as file:
        return pickle.load(file)


READ: dict[str, Callable[[], Any]] = {
    'open': lambda: Path('data/sales.csv').read_text(),
    'pandas': lambda: pandas.read_csv('data/sales.csv').sum().sum(),
    'numpy': lambda: numpy.load('data/sales.npy').sum(),
    'mapped': lambda: int(numpy.load('data/sales.npy', mmap_mode='r').sum()),
    'raw': lambda: numpy.fromfile('data/sales.npy', dtype='u1').sum(),
    'pickle': _unpickled,
    'json': lambda: json.loads(Path('data/sales.json').read_bytes()),
    'sqlite': _from_database,
    'descriptor': lambda: os.read(os.open('data/sales.csv', os.O_RDONLY), 1000),
    'absolute': lambda: Path('data/sales.csv').absolute().read_text(),
    'thread': lambda: _in_thread(lambda: Path('data/sales.csv').read_text()),
    'pool': lambda: next(ThreadPoolExecutor(1).map(lambda path: Path(path).read_text(), ['data/sales.csv'])),
    'copied': lambda: Path(shutil.copy('data/sales.csv', 'copy.csv')).read_text(),
    'moved directory': _in_directory,
    'both ways': lambda: open('data/sales.csv', 'r+').read(),  # noqa: SIM115
    'script': lambda: run_path('data/settings.py')['VALUE'],
    'source as text': lambda: Path('data/settings.py').read_text(),
    'parquet by pandas': lambda: pandas.read_parquet('data/sales.parquet').sum().sum(),
    'parquet by pyarrow': lambda: pyarrow.parquet.ParquetFile(source='data/sales.parquet').read().to_pydict(),
    'parquet, several': lambda: pyarrow.parquet.ParquetDataset(['data/sales.parquet']).read().to_pydict(),
    'japanese': lambda: Path('data/売上 2026.csv').read_text(),
    'link': lambda: Path('data/link.csv').read_text(),
    'names': lambda: sorted(os.listdir('data/days')),
    'scan': lambda: sorted(entry.name for entry in os.scandir('data/days')),
    'walk': lambda: [sorted(names) for _, _, names in os.walk('data/days')],
    'iterdir': lambda: sorted(path.name for path in Path('data/days').iterdir()),
    'pattern': lambda: sorted(glob.glob('data/days/*.csv')),
    'deep pattern': lambda: sorted(glob.glob('data/**/*.csv', recursive=True)),
    'path pattern': lambda: sorted(map(str, Path('data').glob('days/*.csv'))),
    'deep path pattern': lambda: sorted(map(str, Path('data').rglob('*.csv'))),
}


def _write(value: int) -> None:
    """Write the data of a project, from a number."""
    days = DATA / 'days'
    shutil.rmtree(DATA, ignore_errors=True)
    days.mkdir(parents=True)
    frame = pandas.DataFrame({'day': [1, 2], 'amount': [10, value]})
    for path in (DATA / 'sales.csv', DATA / '売上 2026.csv', DATA / f'sales-{value}.csv', days / f'{value}.csv'):
        frame.to_csv(path, index=False)
    (DATA / 'link.csv').symlink_to(f'sales-{value}.csv')
    frame.to_pickle(DATA / 'sales.pkl')
    frame.to_parquet(DATA / 'sales.parquet')
    numpy.save(DATA / 'sales.npy', numpy.array([10, value]))
    (DATA / 'sales.json').write_text(json.dumps({'amount': value}))
    (DATA / 'settings.py').write_text(f'VALUE = {value}\n')
    database = sqlite3.connect(DATA / 'sales.db')
    database.execute('create table sales (amount)')
    database.execute('insert into sales values (?)', (value,))
    database.commit()
    database.close()


class Read(TaskOnKart[str]):
    """Reads the data in one of many ways."""

    how = luigi.Parameter()

    def run(self) -> None:
        self.dump(str(READ[self.how]()))


class Doubled(TaskOnKart[str]):
    how = luigi.Parameter(default='open')

    def requires(self) -> Any:
        return Read(how=self.how)

    def run(self) -> None:
        self.dump(self.load() * 2)


def _reason(task: luigi.Task, **options: Any) -> str:
    return str(kartnb.plan(task, **options).root.reason or '')


def _state(task: luigi.Task, **options: Any) -> TaskState:
    return kartnb.plan(task, **options).root.state


def _note(task: luigi.Task) -> str:
    return kartnb.plan(task).root.note


def _record(task: TaskOnKart[Any]) -> RunRecord:
    graph, _ = draw_up(task)
    results: KnownResults = graph.results
    record = results.record(graph.vertex_of(task))
    assert record is not None
    return record


def _age(*paths: str | Path, seconds: float = 60.0) -> None:
    """Let files be older, so that their times can be relied on."""
    for path in paths:
        status = os.stat(path)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - int(seconds * 1e9)))


@pytest.mark.parametrize('how', READ)
def test_a_file_that_has_changed_makes_the_result_stale(how: str) -> None:
    _write(1)
    first = kartnb.build(Read(how=how))
    assert _state(Read(how=how)) is TaskState.CACHED
    _write(2)
    plan = kartnb.plan(Read(how=how))
    assert plan.root.state is TaskState.STALE, _record(Read(how=how)).files
    assert plan.root.reason is not None
    assert plan.root.reason.kind is ReasonKind.FILE_CHANGED
    assert kartnb.build(Read(how=how)) != first
    assert _state(Read(how=how)) is TaskState.CACHED


@pytest.mark.parametrize('how', READ)
def test_files_that_were_written_again_with_the_same_contents_are_the_same(how: str) -> None:
    _write(1)
    kartnb.build(Read(how=how))
    _write(1)
    assert _state(Read(how=how)) is TaskState.CACHED, _reason(Read(how=how))


@pytest.mark.parametrize('options', [{'workers': 2}, {'executor': 'threads', 'workers': 2}])
def test_workers_see_what_their_tasks_read(options: dict[str, Any]) -> None:
    _write(1)
    ways = [Read(how=how) for how in ('open', 'pandas', 'thread', 'names')]
    for task in ways:
        kartnb.build(task, **options)
    assert {_state(task) for task in ways} == {TaskState.CACHED}
    _write(2)
    assert {_state(task) for task in ways} == {TaskState.STALE}


def test_a_library_that_is_imported_while_a_task_runs_tells_what_it_reads() -> None:
    _write(1)
    script = """
import kartnb, sys

class Read(kartnb.TaskOnKart[int]):
    def run(self) -> None:
        import pandas
        self.dump(int(pandas.read_parquet('data/sales.parquet').sum().sum()))

assert 'pandas.io.parquet' not in sys.modules
print(kartnb.build(Read()))
"""
    Path('script.py').write_text(script)
    for value in (1, 2):
        _write(value)
        environment = {**os.environ, 'PYTHONPATH': str(Path(kartnb.__file__).parents[1])}
        done = subprocess.run(
            [sys.executable, 'script.py'], capture_output=True, text=True, check=True, env=environment
        )
        assert int(done.stdout) == 13 + value


def test_what_is_downstream_of_a_changed_file_follows() -> None:
    _write(1)
    first = kartnb.build(Doubled())
    _write(2)
    assert kartnb.build(Doubled()) != first


def test_the_reason_names_the_file() -> None:
    _write(1)
    for how in ('open', 'absolute', 'pattern', 'names'):
        kartnb.build(Read(how=how))
    Path('data/sales.csv').write_text('day,amount\n')
    assert _reason(Read(how='open')) == _reason(Read(how='absolute')) == 'data/sales.csv changed'
    for name in ('3.csv', '4.csv', '.5.csv.swp'):
        Path('data/days', name).touch()
    assert _reason(Read(how='pattern')) == 'data/days/*.csv: 2 new files'
    assert _reason(Read(how='names')) == 'data/days: 2 new files'
    for name in ('1.csv', '3.csv', '4.csv'):
        Path('data/days', name).unlink()
    assert _reason(Read(how='pattern')) == 'data/days/*.csv: 1 file is gone'
    os.remove('data/sales.csv')
    assert _reason(Read(how='open')) == 'data/sales.csv is gone'
    os.mkdir('data/sales.csv')
    assert _reason(Read(how='open')) == 'data/sales.csv is a directory now'
    assert 'data/sales.csv is a directory now' in str(kartnb.why(Read(how='open')))


def test_a_pipe_where_the_file_was_is_not_waited_for() -> None:
    _write(1)
    kartnb.build(Read(how='open'))
    os.remove('data/sales.csv')
    os.mkfifo('data/sales.csv')
    assert _reason(Read(how='open')) == 'data/sales.csv is not a file any more'


def test_an_unreadable_file_is_told_of() -> None:
    if os.geteuid() == 0:
        pytest.skip('platform: root may read everything')
    _write(1)
    kartnb.build(Read(how='open'))
    os.chmod('data/sales.csv', 0)
    os.utime('data/sales.csv')
    assert 'cannot tell whether this has changed: data/sales.csv' in kartnb.plan(Read(how='open')).root.note


def test_the_same_size_and_time_with_other_contents_are_noticed() -> None:
    _write(1)
    _age('data/sales.csv')
    kartnb.build(Read(how='open'))
    status = os.stat('data/sales.csv')
    text = Path('data/sales.csv').read_text()
    Path('data/sales.csv').write_text(text.replace('1', '7'))
    os.utime('data/sales.csv', ns=(status.st_atime_ns, status.st_mtime_ns))
    assert _reason(Read(how='open')) == 'data/sales.csv changed'


@pytest.mark.parametrize('path', ['data', 'data/*.csv'])
def test_the_same_sizes_and_times_below_a_directory_are_noticed(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(1)
    _age(*(file for file in DATA.rglob('*') if file.is_file()))
    monkeypatch.setattr('kartnb.storage.file_inputs.settled_time', lambda moment: moment)
    recorded = look_at(path)
    assert compare(recorded).answer == 'same'
    status = os.stat('data/sales.csv')
    Path('data/sales.csv').write_text(Path('data/sales.csv').read_text().replace('10', '70'))
    os.utime('data/sales.csv', ns=(status.st_atime_ns, status.st_mtime_ns))
    assert compare(recorded).answer == 'changed'


def test_a_file_that_was_replaced_by_renaming_is_noticed() -> None:
    _write(1)
    _age('data/sales.csv')
    kartnb.build(Read(how='open'))
    Path('new.csv').write_text(Path('data/sales.csv').read_text().replace('10', '20'))
    shutil.copystat('data/sales.csv', 'new.csv')
    os.replace('new.csv', 'data/sales.csv')
    assert _state(Read(how='open')) is TaskState.STALE


def test_a_plan_asks_once_for_each_file(monkeypatch: pytest.MonkeyPatch) -> None:
    _write(1)
    _age('data/sales.csv')
    kartnb.build(Doubled())
    seen: list[str] = []
    stat = os.stat

    def counted(path: Any, *args: Any, **kwargs: Any) -> os.stat_result:
        seen.append(str(path))
        return stat(path, *args, **kwargs)

    monkeypatch.setattr('os.stat', counted)
    assert _state(Doubled()) is TaskState.CACHED
    assert seen.count('data/sales.csv') == 1


# --- What is read where nobody sees it -------------------------------------------------------------------------------


def _in_children() -> Any:
    with multiprocessing.get_context('fork').Pool(1) as pool:
        return pool.map(os.path.getsize, ['data/sales.csv'])


def _imported_late() -> Any:
    import pyarrow.dataset as late

    return late.dataset('data/sales.parquet').to_table().to_pydict()


UNSEEN: dict[str, tuple[Callable[[], Any], str]] = {
    'module': (lambda: pyarrow.csv.read_csv('data/sales.csv').to_pydict(), 'pyarrow.csv.read_csv'),
    'name': (lambda: read_natively('data/sales.csv').to_pydict(), 'pyarrow.read_csv'),
    'table': (lambda: BY_KIND['feather']('data/sales.feather'), 'pyarrow.feather.read_table'),
    'late': (_imported_late, 'pyarrow.dataset.dataset'),
    'command': (lambda: subprocess.run(['cat', 'data/sales.csv'], capture_output=True), 'subprocess.run'),
    'children': (_in_children, 'another process'),
    'seen': (lambda: pyarrow.parquet.read_table('data/sales.parquet').to_pydict(), ''),
    'idle': (lambda: pyarrow.array([1]).to_pylist() if DATA else os.system('true'), ''),
}
BY_KIND = {'feather': pyarrow.feather.read_table}


@pytest.mark.parametrize('how', UNSEEN)
def test_readers_that_are_not_seen_are_told_of(how: str) -> None:
    _write(1)
    pandas.DataFrame({'a': [1]}).to_feather('data/sales.feather')
    read, name = UNSEEN[how]

    class Unseen(TaskOnKart[str]):
        declares = luigi.BoolParameter(default=False)

        def run(self) -> None:
            if self.declares:
                self.reads('data')
            self.dump(str(read()))

    kartnb.build(Unseen())
    what = 'read and write' if how == 'children' else 'read'
    which = 'those it reads' if how == 'children' else 'them'
    note = f'{name} (it may {what} files that kartnb does not see: name {which} with self.reads)'
    told = f'cannot tell whether this has changed: {note}' if name else ''
    assert kartnb.plan(Unseen()).root.note == told
    kartnb.build(Unseen(declares=True))
    assert kartnb.plan(Unseen(declares=True)).root.note == ''


class UnwillingPath(str):
    def startswith(self, *args: Any) -> bool:
        raise RuntimeError('not now')


def test_what_cannot_be_noted_is_told_of() -> None:
    _write(1)

    class Unwilling(TaskOnKart[str]):
        def run(self) -> None:
            with open(UnwillingPath('data/sales.csv')) as file:
                self.dump(file.read())

    kartnb.build(Unwilling())
    assert 'a file or directory (kartnb could not see which: RuntimeError: not now)' in _note(Unwilling())


# --- What was read for an earlier task --------------------------------------------------------------------------------


@functools.cache
def sales(name: str = 'sales') -> str:
    return Path(f'data/{name}.csv').read_text()


@functools.cache
def squared(value: int) -> int:
    return value**2


class FirstOfCache(TaskOnKart[str]):
    def run(self) -> None:
        self.dump(sales() + str(squared(3)))


class SecondOfCache(TaskOnKart[str]):
    def run(self) -> None:
        self.dump(sales() + str(squared(3)))


@pytest.mark.parametrize('options', [{}, {'executor': 'threads', 'workers': 2}])
def test_what_a_cache_gives_counts_for_the_second_task_too(options: dict[str, Any]) -> None:
    sales.cache_clear()
    cached_reads._notes.clear()
    cached_reads._filled_before.clear()
    _write(1)
    squared(3)
    for task in (FirstOfCache(), SecondOfCache()):
        kartnb.build(task, **options)
        assert _state(task) is TaskState.CACHED
        assert kartnb.plan(task).root.note == ''
    _write(2)
    assert _reason(FirstOfCache()) == _reason(SecondOfCache()) == 'data/sales.csv changed'


@functools.cache
def all_sales() -> str:
    frame = pandas.read_parquet('data/sales.parquet')
    names = sorted(os.listdir('data'))
    database = sqlite3.connect('data/cached.db')
    rows = database.execute('select * from sales').fetchall()
    database.close()
    return f'{frame} {names} {rows} {os.path.exists("extra") and open("extra").read()}'


class AllOfCache(TaskOnKart[str]):
    n = luigi.IntParameter()

    def run(self) -> None:
        self.dump(all_sales())


@pytest.mark.parametrize('changed', ['sales.parquet', 'cached.db', 'new.csv'])
def test_what_a_cache_gives_counts_however_it_was_read(changed: str) -> None:
    all_sales.cache_clear()
    cached_reads._notes.clear()
    _write(1)
    pandas.DataFrame({'a': [1]}).to_parquet('data/sales.parquet')
    with sqlite3.connect('data/cached.db') as database:
        database.execute('create table sales as select 1 as a')
    for n in (1, 2):
        kartnb.build(AllOfCache(n=n))
        assert _state(AllOfCache(n=n)) is TaskState.CACHED
    if changed == 'cached.db':
        with sqlite3.connect('data/cached.db') as database:
            database.execute('insert into sales values (2)')
    elif changed == 'sales.parquet':
        pandas.DataFrame({'a': [2]}).to_parquet('data/sales.parquet')
    else:
        Path('data/new.csv').touch()
    for n in (1, 2):
        assert _state(AllOfCache(n=n)) is TaskState.STALE


def test_a_cache_that_was_filled_before_any_task_used_it_is_told_of() -> None:
    sales.cache_clear()
    cached_reads._notes.clear()
    cached_reads._filled_before.clear()
    _write(1)
    sales()
    kartnb.build(FirstOfCache())
    assert kartnb.plan(FirstOfCache()).root.note == (
        'cannot tell whether this has changed: sales (it had values in its cache before a task used it, '
        'and may have read files for them)'
    )


class Early(TaskOnKart[str]):
    """Reads a file before it runs."""

    how = luigi.Parameter()
    limit = 1

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.how == 'init':
            self.rows = Path('data/sales.csv').read_text()

    @functools.cached_property
    def header(self) -> str:
        return Path('data/sales.csv').read_text()

    def requires(self) -> Any:
        self.twice = self.how * 2
        if self.how == 'property':
            assert self.header
        return []

    def run(self) -> None:
        self.total = self.how == 'init' and self.rows
        self.dump(f'{self.total}{self.twice}{self.header}{self.limit}')


@pytest.mark.parametrize('how', ['init', 'property', 'plain', 'outside'])
def test_what_was_put_on_a_task_before_its_run_is_told_of(how: str) -> None:
    name = {'init': 'rows', 'property': 'header', 'outside': 'limit'}.get(how)
    _write(1)
    task = Early(how=how)
    if how == 'outside':
        task.limit = 5
    kartnb.build(task)
    set_by = 'set on the task, not by a parameter' if how == 'outside' else 'set before the run, maybe from a file'
    told = f'cannot tell whether this has changed: Early.{name} (it was {set_by})' if name else ''
    vars(task).pop('header', None)
    assert kartnb.plan(task).root.note.split('; ')[0] == told


def test_what_is_put_on_a_task_after_its_run_is_told_of() -> None:
    _write(1)
    task = Early(how='later')
    kartnb.build(task)
    for name, value in (('limit', 5), ('how', 'init')):
        setattr(task, name, value)
        assert f'Early.{name} (it was set on the task, not by a parameter)' in kartnb.plan(task).root.note


# --- What does not count --------------------------------------------------------------------------------------------


class Odd(TaskOnKart[Any]):
    """Does something with files that are not its inputs."""

    what = luigi.Parameter()

    def run(self) -> None:
        getattr(self, self.what)()
        self.dump(1)

    def writes_and_reads(self) -> None:
        Path('made.txt').write_text('made')
        Path('made.txt').read_text()

    def renames_and_reads(self) -> None:
        Path('.made').write_text('made')
        os.replace('.made', 'made.txt')
        Path('made.txt').read_text()

    def uses_temporary_files(self) -> None:
        import tempfile

        with tempfile.TemporaryDirectory(dir='.') as directory:
            Path(directory, 'a').write_text('a')
            subprocess.run(['touch', Path(directory, 'b')], check=True)
            os.listdir(directory)
            Path(directory, 'b').read_text()

    def appends(self) -> None:
        with open('log.txt', 'a') as file:
            file.write('line')

    def imports(self) -> None:
        sys.path.insert(0, os.getcwd())
        try:
            __import__('some_module_of_a_test')
        finally:
            sys.path.remove(os.getcwd())

    def imports_a_package(self) -> None:
        import importlib.metadata

        importlib.metadata.version('luigi')
        Path(luigi.__file__).read_text()

    def imports_a_package_by_the_backport(self) -> None:
        metadata = pytest.importorskip('importlib_metadata')  # Dask brings it; finds all packages once it is imported
        metadata.FastPath.__new__.cache_clear()
        metadata.version('luigi')

    def looks_at_the_system(self) -> None:
        Path('/etc/hostname').exists() and Path('/etc/hostname').read_text()
        os.listdir('/proc/self')

    def removes_what_it_has_read(self) -> None:
        Path('inbox.txt').read_text()
        os.remove('inbox.txt')

    def lists_what_it_makes(self) -> None:
        Path('lists').mkdir(exist_ok=True)
        Path('lists/a.txt').write_text('a')
        os.listdir('lists')
        Path('lists/b.txt').write_text('b')
        glob.glob('lists/*')
        Path('lists/c.txt').write_text('c')


@pytest.mark.parametrize('what', [name for name in vars(Odd) if '_' in name.strip('_') and name[0] != '_'][:-1])
def test_what_is_not_an_input(
    what: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path_factory.mktemp('path') / 'gone'))  # as a cluster of Dask's leaves it
    Path('some_module_of_a_test.py').write_text('VALUE = 1\n')
    Path('inbox.txt').write_text('text')
    kartnb.build(Odd(what=what))
    assert [file.path for file in _record(Odd(what=what)).files if file.path != 'subprocess.run'] == []


class Looks(TaskOnKart[str]):
    """Looks for a file that may be missing, and reads through a link that it makes."""

    def run(self) -> None:
        try:
            found = Path('extra.csv').read_text()
        except FileNotFoundError:
            found = 'nothing'
            Path('made.csv').write_text('made')
        for link, make in (('hard.csv', os.link), ('soft.csv', os.symlink)):
            Path(link).unlink(missing_ok=True)
            make('sales.csv', link)
            found += Path(link).read_text()
        self.dump(found)


def test_what_was_missing_and_what_is_behind_a_link_counts() -> None:
    Path('sales.csv').write_text('1')
    assert kartnb.build(Looks()) == 'nothing11'
    assert _state(Looks()) is TaskState.CACHED, _reason(Looks())
    Path('sales.csv').write_text('2')
    assert _reason(Looks()) == 'sales.csv changed'
    Path('sales.csv').write_text('1')
    Path('extra.csv').touch()
    assert _reason(Looks()) == 'extra.csv is new'
    assert kartnb.build(Looks()) == '11'
    assert _state(Looks()) is TaskState.CACHED


def test_a_run_that_lists_what_it_makes_stays_cached() -> None:
    kartnb.build(Odd(what='lists_what_it_makes'))
    assert _state(Odd(what='lists_what_it_makes')) is TaskState.CACHED, _reason(Odd(what='lists_what_it_makes'))
    Path('lists/d.txt').write_text('d')
    assert _state(Odd(what='lists_what_it_makes')) is TaskState.STALE


def test_results_of_required_tasks_are_not_files_that_a_run_reads() -> None:
    _write(1)
    kartnb.build(Doubled())
    assert _record(Doubled()).files == ()


class Elsewhere(TaskOnKart[int]):
    def output(self) -> Any:
        return self.make_target(os.path.abspath('elsewhere/result.pkl'), use_unique_id=False)

    def run(self) -> None:
        self.dump(1)


class UsesElsewhere(TaskOnKart[int]):
    def requires(self) -> Any:
        return Elsewhere()

    def run(self) -> None:
        self.dump(self.load() + 1)


def test_results_outside_of_the_workspace_are_not_files_that_a_run_reads() -> None:
    kartnb.build(UsesElsewhere())
    assert _record(UsesElsewhere()).files == ()


def test_what_another_thread_of_the_session_reads_is_not_the_task_s() -> None:
    _write(1)
    started, read = threading.Event(), threading.Event()

    class Waits(TaskOnKart[int]):
        def run(self) -> None:
            started.set()
            read.wait(20)
            self.dump(1)

    build = kartnb.build(Waits(), background=True, executor='threads')
    assert started.wait(20)
    Path('data/sales.csv').read_text()
    read.set()
    build.result(timeout=20)
    assert _record(Waits()).files == ()


# --- Files that change while they are read --------------------------------------------------------------------------


class Updates(TaskOnKart[int]):
    """Counts its runs in a file outside of the workspace."""

    def run(self) -> None:
        count = int(Path('count.txt').read_text()) + 1
        Path('count.txt').write_text(str(count))
        self.dump(count)


def test_of_a_file_that_a_run_updates_it_is_said_that_nobody_can_tell() -> None:
    Path('count.txt').write_text('0')
    assert kartnb.build(Updates()) == 1
    node = kartnb.plan(Updates()).root
    assert node.state is TaskState.CACHED
    assert node.note == 'cannot tell whether this has changed: count.txt (the run itself writes it)'
    assert kartnb.build(Updates()) == 1


class Appends(TaskOnKart[str]):
    """Adds a line to a file that is there, and reads it."""

    def run(self) -> None:
        with open('lines.txt', 'a') as file:
            file.write('b')
        self.dump(Path('lines.txt').read_text())


def test_what_was_in_a_file_before_a_run_adds_to_it_counts() -> None:
    Path('lines.txt').write_text('a')
    assert kartnb.build(Appends()) == 'ab'
    assert _state(Appends()) is TaskState.CACHED
    Path('lines.txt').write_text('z')
    assert kartnb.build(Appends()) == 'zb'
    assert _state(Appends()) is TaskState.CACHED


class Moves(TaskOnKart[str]):
    def run(self) -> None:
        os.replace('inbox', 'done')
        self.dump(Path('done/a.txt').read_text() if Path('done').is_dir() else Path('done').read_text())


@pytest.mark.parametrize('name', ['inbox', 'inbox/a.txt'])
def test_what_a_run_moves_away_and_reads_counts_when_it_comes_again(name: str) -> None:
    for content in ('one', 'two'):
        shutil.rmtree('done', ignore_errors=True)
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(content)
        assert kartnb.build(Moves()) == content
        assert _state(Moves()) is TaskState.CACHED


KILLED = """
import os, sys
import kartnb

value, dies = sys.argv[1], sys.argv[2:] == ['dies']


class Writes(kartnb.TaskOnKart):
    def run(self):
        open('beside.txt', 'w').write(value)
        if dies:
            os.kill(os.getpid(), 9)
        self.dump(0)


class Reads(kartnb.TaskOnKart):
    def requires(self):
        return Writes()

    def run(self):
        self.load()
        self.dump(open('beside.txt').read())


if __name__ == '__main__':
    print(kartnb.build(Reads(), **{options}))
"""


@pytest.mark.parametrize('options', [{}, {'workers': 2}], ids=['inline', 'workers'])
def test_what_a_killed_run_has_written_over_is_made_again(options: dict[str, Any]) -> None:
    Path('killed.py').write_text(KILLED.replace('{options}', repr(options)))

    def told(*arguments: str) -> str:
        command = [sys.executable, 'killed.py', *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120).stdout.strip()

    assert told('1') == '1'
    assert told('2', 'dies') == ''
    assert Path('beside.txt').read_text() == '2'
    assert told('1') == '1'


def test_who_is_killed_before_its_run_has_begun_has_written_over_nothing() -> None:
    class Logs(TaskOnKart[int]):
        def run(self) -> None:
            with open('beside.txt', 'a') as file:
                file.write('run\n')
            self.dump(1)

    kartnb.build(Logs())
    with open('beside.txt', 'a') as file:
        file.write('of somebody else\n')
    assert _state(Logs()) is TaskState.CACHED
    (record,) = Path('resources/log/run_record').rglob('Logs_*.json')
    record.with_name(f'Logs_{Logs().make_unique_id()}~running.json').touch()  # the lock, taken by a process that died
    assert kartnb.build(Logs()) == 1
    assert Path('beside.txt').read_text() == 'run\nof somebody else\n'
    assert not list(record.parent.glob('*~running*'))


def test_a_file_that_others_change_while_it_is_read_counts_as_changed() -> None:
    Path('moving.txt').write_text('1')

    class Slow(TaskOnKart[str]):
        def run(self) -> None:
            text = Path('moving.txt').read_text()
            if text == '1':
                # as another process would, which Python does not see
                descriptor = _in_thread_of_others(lambda: os.open('moving.txt', os.O_WRONLY))
                os.pwrite(descriptor, b'22', 0)
                os.close(descriptor)
            self.dump(text)

    assert kartnb.build(Slow()) == '1'
    assert _reason(Slow()) == 'moving.txt changed'
    assert kartnb.build(Slow()) == '22'
    assert _state(Slow()) is TaskState.CACHED


def _in_thread_of_others(act: Callable[[], int]) -> int:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(act()), name='kartnb test')
    thread.start()
    thread.join()
    return found[0]


def test_a_file_that_vanishes_between_plan_and_run_fails_and_leaves_the_result() -> None:
    _write(1)
    first = kartnb.build(Read(how='open'))
    os.remove('data/sales.csv')
    with pytest.raises(GokartBuildError, match='FileNotFoundError'):
        kartnb.build(Read(how='open'))
    _write(1)
    assert _state(Read(how='open')) is TaskState.CACHED
    assert kartnb.build(Read(how='open')) == first


# --- Policies, copies, records -------------------------------------------------------------------------------------


def test_policies_hold_for_files_too() -> None:
    _write(1)
    first = kartnb.build(Read(how='open'))
    _write(2)
    node = kartnb.plan(Read(how='open'), on_code_change='warn').root
    assert node.state is TaskState.CACHED
    assert node.note.endswith("data/sales.csv changed; the result is kept, because on_code_change is 'warn'")
    assert kartnb.plan(Read(how='open'), on_code_change='ignore').root.note == ''
    assert _state(Read(how='open'), on_code_change='rerun') is TaskState.STALE
    assert kartnb.build(Read(how='open'), on_code_change='warn') == first


def test_a_copy_of_a_project_counts_as_the_original(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(1)
    kartnb.build(Doubled())
    shutil.copytree(tmp_path, tmp_path.with_name(f'{tmp_path.name}-copy'), copy_function=shutil.copyfile)
    monkeypatch.chdir(tmp_path.with_name(f'{tmp_path.name}-copy'))
    assert kartnb.plan(Doubled()).to_run() == ()
    _write(2)
    assert _state(Read(how='open')) is TaskState.STALE


def test_a_restored_result_is_kept_until_the_file_changes_again() -> None:
    _write(1)
    first = kartnb.build(Read(how='open'))
    _write(2)
    assert kartnb.build(Read(how='open')) != first
    kartnb.restore_result(Read(how='open'))
    assert kartnb.build(Read(how='open')) == first
    _write(3)
    assert _reason(Read(how='open')) == 'data/sales.csv changed'


def test_the_difference_of_two_results_names_the_files() -> None:
    _write(1)
    kartnb.build(Read(how='open'))
    _write(22)
    kartnb.build(Read(how='open'))
    (change,) = kartnb.diff(Read(how='open'))['files'].changes
    assert change.name == 'data/sales.csv'
    assert 'files' in kartnb.diff(Read(how='open')).differing


def test_records_of_other_versions_do_no_harm() -> None:
    _write(1)
    kartnb.build(Read(how='open'))
    (path,) = Path('resources/log/run_record').rglob('Read_*.json')
    record = json.loads(path.read_text().replace('\n', ''))
    for files in ([{'path': 'a', 'kind': 'stream', 'size': 1, 'modified_ns': 1, 'digest': ''}], []):
        path.write_text(json.dumps({**record, 'files': files}))
        assert _state(Read(how='open')) is TaskState.CACHED
    path.write_text(json.dumps({**record, 'files': [{'path': 'a', 'kind': 'file', 'size': 'x'}]}))
    assert _state(Read(how='open')) is TaskState.CACHED


# --- Declared files --------------------------------------------------------------------------------------------------


class Native(TaskOnKart[int]):
    """Reads in native code, which Python does not see."""

    path: Any = luigi.Parameter(default='data/sales.parquet')

    def run(self) -> None:
        import polars

        self.reads(self.path)
        self.dump(polars.read_parquet(self.path).height if self.path.endswith('.parquet') else 0)


def test_a_declared_file_counts() -> None:
    _write(1)
    kartnb.build(Native())
    assert [file.path for file in _record(Native()).files] == ['data/sales.parquet']
    _write(2)
    assert _reason(Native()) == 'data/sales.parquet changed'


def test_declared_directories_and_patterns_count_with_their_contents() -> None:
    os.makedirs('parts/deep')
    for name in ('a', 'deep/b'):
        Path(f'parts/{name}.csv').write_text(name)
    for path in ('parts', 'parts/**'):
        kartnb.build(Native(path=path))
        assert _state(Native(path=path)) is TaskState.CACHED
    os.utime('parts/a.csv')
    Path('parts/deep/b.csv').write_text('deep/b')
    assert _state(Native(path='parts')) is _state(Native(path='parts/**')) is TaskState.CACHED
    Path('parts/deep/b.csv').write_text('deep/c')
    assert _reason(Native(path='parts')) == 'parts changed'
    assert _reason(Native(path='parts/**')) == 'parts/** changed'
    Path('parts/c.csv').write_text('c')
    assert _reason(Native(path='parts')) == 'parts: 1 new file'


def test_reads_gives_the_path_back() -> None:
    task = Native()
    assert task.reads(DATA) is DATA
    assert task.reads(['a', 'b']) == ['a', 'b']
    for wrong in (5, '', 'a\0b', object()):
        with pytest.raises(FileInputError, match='is not a path'):
            task.reads(wrong)


@pytest.mark.parametrize(
    'path, sentence',
    [
        ('nowhere.parquet', 'nowhere.parquet does not exist.'),
        ('nowhere/*.parquet', 'nowhere/*.parquet matches no file.'),
        ('pipe', 'pipe is neither a file nor a directory, so its contents cannot be compared.'),
    ],
)
def test_a_declared_file_that_is_not_there(path: str, sentence: str) -> None:
    os.mkfifo('pipe')
    with pytest.raises(GokartBuildError) as caught:
        kartnb.build(Native(path=path))
    assert f'FileInputError: {sentence}' in str(caught.value)


class Table(TaskOnKart[str]):
    path = kartnb.FileParameter()

    def run(self) -> None:
        self.dump(str(self.path))


class NeedsTable(TaskOnKart[str]):
    def requires(self) -> Any:
        return Table(path='table.csv')

    def run(self) -> None:
        self.dump(self.load() * 2)


def test_the_contents_of_a_file_parameter_count() -> None:
    Path('table.csv').write_text('1')
    kartnb.build(NeedsTable())
    assert kartnb.plan(NeedsTable()).to_run() == ()
    os.utime('table.csv')
    assert kartnb.plan(NeedsTable()).to_run() == ()
    Path('table.csv').write_text('2')
    assert _reason(Table(path='table.csv')) == 'table.csv changed'
    assert kartnb.plan(NeedsTable()).counts() == {TaskState.STALE: 2}


def test_a_file_parameter_has_the_id_of_its_text() -> None:
    def with_parameter(parameter: Any) -> Any:
        class Named(TaskOnKart[str]):
            path = parameter

        return Named

    Plain, Filed = with_parameter(luigi.Parameter()), with_parameter(kartnb.FileParameter())
    for path in ('a.csv', './a.csv', '~/売上.csv', r'C:\data\a.csv'):
        plain, filed = Plain(path=path), Filed(path=path)
        assert plain.to_str_params() == filed.to_str_params()
        assert plain.make_unique_id() == filed.make_unique_id()
    assert Filed(path=Path('a.csv')).path == 'a.csv'


@pytest.mark.parametrize('wrong', [5, '', ' ', None, ['a'], b'\0'])
def test_a_file_parameter_that_is_not_a_path(wrong: Any) -> None:
    with pytest.raises(ParameterValueError, match=r'^path: .* is not a path: give'):
        Table(path=wrong)


def test_a_file_parameter_that_does_not_exist_is_told_by_plan_and_build() -> None:
    sentence = 'Table.path: table.csv does not exist.'
    assert kartnb.plan(NeedsTable())[Table(path='table.csv')].note == sentence
    with pytest.raises(GokartBuildError) as caught:
        kartnb.build(NeedsTable())
    assert sentence in str(caught.value)
    Path('table.csv').write_text('1')
    first = kartnb.build(NeedsTable())
    os.remove('table.csv')
    assert _reason(Table(path='table.csv')) == 'table.csv is gone'
    with pytest.raises(GokartBuildError) as caught:
        kartnb.build(NeedsTable())
    assert sentence in str(caught.value)
    Path('table.csv').write_text('1')
    assert kartnb.plan(NeedsTable()).to_run() == ()
    assert kartnb.build(NeedsTable()) == first


def test_a_file_parameter_may_begin_at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    (tmp_path / 'home').mkdir()
    (tmp_path / 'home/売上.csv').write_text('1')
    kartnb.build(Table(path='~/売上.csv'))
    assert _state(Table(path='~/売上.csv')) is TaskState.CACHED
    (tmp_path / 'home/売上.csv').write_text('2')
    assert _reason(Table(path='~/売上.csv')) == '~/売上.csv changed'


# --- External tasks --------------------------------------------------------------------------------------------------


class Raw(luigi.ExternalTask):
    def output(self) -> Any:
        return luigi.LocalTarget('raw.csv')


class Downloaded(luigi.Task):
    def output(self) -> Any:
        return luigi.LocalTarget('downloaded.csv')

    def run(self) -> None:
        with self.output().open('w') as file:
            file.write('1')


class Uses(TaskOnKart[int]):
    later: Any = luigi.BoolParameter(default=False)

    def requires(self) -> Any:
        return [] if self.later else [Raw(), Downloaded()]

    def run(self) -> Any:
        if self.later:
            yield [Raw(), Downloaded()]
        self.dump(1)


@pytest.mark.parametrize('later', [False, True])
@pytest.mark.parametrize('options', [{}, {'workers': 2}])
def test_the_files_of_external_and_plain_tasks_count(later: bool, options: dict[str, Any]) -> None:
    Path('raw.csv').write_text('1')
    task = Uses(later=later)
    kartnb.build(task, **options)
    assert {file.path for file in _record(task).files} == {'raw.csv', 'downloaded.csv'}
    os.utime('raw.csv')
    assert _state(task) is TaskState.CACHED
    for path in ('raw.csv', 'downloaded.csv'):
        Path(path).write_text('2')
        assert _reason(task) == f'{path} changed'
        kartnb.build(task, **options)
        assert _state(task) is TaskState.CACHED


def test_the_file_of_an_external_task_that_is_gone_leaves_the_result() -> None:
    Path('raw.csv').write_text('1')
    kartnb.build(Uses())
    os.remove('raw.csv')
    node = kartnb.plan(Uses()).root
    assert (node.state, node.note) == (TaskState.CACHED, 'raw.csv is gone; the result is kept')


def test_an_adopted_result_knows_the_files_that_it_surely_was_made_from() -> None:
    Path('table.csv').write_text('1')
    task = Table(path='table.csv')
    task.dump('made by gokart')
    kartnb.build(task)
    assert [file.path for file in _record(task).files] == ['table.csv']
    Path('table.csv').write_text('2')
    assert _reason(task) == 'table.csv changed'


# --- Many, large and remote ------------------------------------------------------------------------------------------


class Many(TaskOnKart[int]):
    def run(self) -> None:
        self.dump(sum(len(path.read_text()) for path in Path('many').iterdir()))


def test_many_files_are_recorded_as_a_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('kartnb.capture.file_reads.MOST_FILES', 20)
    os.mkdir('many')
    for i in range(50):
        Path(f'many/{i}.txt').write_text('1')
    Path('many/one.csv').write_text('1')
    kartnb.build(Many())
    assert {file.path for file in _record(Many()).files} == {'many/*.txt', 'many/one.csv', 'many'}
    Path('many/7.txt').write_text('1')
    assert _state(Many()) is TaskState.CACHED
    Path('many/7.txt').write_text('2')
    assert _reason(Many()) == 'many/*.txt changed'


def test_of_a_directory_with_very_many_files_names_sizes_and_times_count(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr('kartnb.storage.file_inputs.MOST_DIGESTED', 20)
    os.mkdir('many')
    for i in range(50):
        Path(f'many/{i}.txt').write_text('1')
        _age(f'many/{i}.txt')
    time.sleep(0.2)
    kartnb.build(Native(path='many'))
    assert 'many has 50 files: their names, sizes and times are compared, not their contents.' in caplog.text
    assert _state(Native(path='many')) is TaskState.CACHED
    assert _note(Native(path='many')) == ''
    times = os.stat('many/9.txt')
    Path('many/9.txt').write_text('2')
    os.utime('many/9.txt', ns=(times.st_atime_ns, times.st_mtime_ns))
    assert _note(Native(path='many')) == (
        'cannot tell whether this has changed: many (too many or too large to be read; sizes and times are the same, '
        'but something was written since)'
    )
    Path('many/7.txt').write_text('22')
    _age('many/7.txt')
    assert _reason(Native(path='many')) == 'many changed'


class Twice(TaskOnKart[int]):
    def run(self) -> None:
        self.dump(len(os.listdir(self.reads('many'))))


def test_what_is_said_twice_is_shown_once() -> None:
    os.mkdir('many')
    kartnb.build(Twice())
    Path('many/new.txt').write_text('1')
    assert _reason(Twice()) == 'many: 1 new file'


class Bucket(TaskOnKart[str]):
    path = luigi.Parameter()

    def run(self) -> None:
        self.dump(self.reads(self.path))


@pytest.fixture
def memory() -> Iterator[Any]:
    fsspec = pytest.importorskip('fsspec')
    found = fsspec.filesystem('memory')
    yield found
    found.store.clear()


def test_urls_count(memory: Any) -> None:
    memory.pipe_file('/bucket/a.csv', b'1')
    task = Bucket(path='memory://bucket/a.csv')
    kartnb.build(task)
    assert _state(task) is TaskState.CACHED
    memory.pipe_file('/bucket/a.csv', b'22')
    assert _reason(task) == 'memory://bucket/a.csv changed'
    memory.rm_file('/bucket/a.csv')
    assert _reason(task) == 'memory://bucket/a.csv is gone'


def test_secrets_of_urls_are_not_kept() -> None:
    signed = 'https://me:pa55@host/a.csv?signature=0a1b'
    assert shown_path(signed) == 'https://…@host/a.csv?…'
    file = FileInput(shown_path(signed), 'file', 1, 1, '1-a')
    assert compare(file) == ('unknown', 'https://…@host/a.csv?… (a part of it is secret)')


class Hidden(TaskOnKart[str]):
    customer = luigi.Parameter(visibility=luigi.parameter.ParameterVisibility.PRIVATE)

    def run(self) -> None:
        self.dump(Path(f'{self.customer}.csv').read_text())


def test_a_secret_in_a_path_is_masked_and_said() -> None:
    Path('pa55word.csv').write_text('1')
    task = Hidden(customer='pa55word')
    kartnb.build(task)
    assert kartnb.plan(task).root.note == (
        'cannot tell whether this has changed: ••••••.csv (a part of its path is secret)'
    )
    assert all('pa55word' not in path.read_text() for path in Path('resources/log').rglob('*.json'))


def test_a_name_that_is_not_text_on_this_disk_does_no_harm() -> None:
    name = os.fsdecode(b'sales-\xff.csv')
    Path(name).write_text('1')
    task = Named()
    assert kartnb.build(task) == '1'
    assert 'its name is not text' in kartnb.plan(task).root.note


class Named(TaskOnKart[str]):
    def run(self) -> None:
        self.dump(next(Path().glob('sales-*.csv')).read_text())


def test_a_file_whose_name_has_an_ellipsis_is_compared() -> None:
    Path('report….csv').write_text('1')
    kartnb.build(Table(path='report….csv'))
    Path('report….csv').write_text('2')
    assert _reason(Table(path='report….csv')) == 'report….csv changed'


class Loads(TaskOnKart[Any]):
    """Loads a table that is not a result."""

    def run(self) -> None:
        self.dump(make_target('elsewhere/table.csv').load().shape)


def test_a_target_outside_of_the_workspace_that_a_run_loads_is_a_file() -> None:
    os.mkdir('elsewhere')
    Path('elsewhere/table.csv').write_text('a\n1\n')
    kartnb.build(Loads())
    assert _state(Loads()) is TaskState.CACHED
    Path('elsewhere/table.csv').write_text('a\n1\n2\n')
    assert _reason(Loads()) == 'elsewhere/table.csv changed'


def test_a_result_that_is_read_without_being_required_counts_as_a_file(tmp_path: Path) -> None:
    ran = []

    class Other(kartnb.TaskOnKart[int]):
        def run(self) -> None:
            self.dump(value)

    class Uses(kartnb.TaskOnKart[int]):
        def run(self) -> None:
            ran.append('Uses')
            self.dump(10 * Other().output().load())

    class Requires(kartnb.TaskOnKart[int]):
        def requires(self) -> Any:
            return Other()

        def run(self) -> None:
            self.dump(self.load() + Other().output().load())

    value = 1
    kartnb.build(Other())
    assert kartnb.build(Uses()) == 10
    assert kartnb.build(Requires()) == 2
    for task, files in ((Uses(), 1), (Requires(), 0)):
        graph, _ = draw_up(task)
        record = graph.results.record(graph.vertex_of(task))
        assert record is not None
        assert len(record.files) == files
    kartnb.build(Other(rerun=True))
    assert kartnb.plan(Uses()).to_run() == (), 'it has the same contents'
    value = 2
    kartnb.build(Other(rerun=True))
    assert kartnb.build(Uses()) == 20
    assert ran == ['Uses', 'Uses']


@pytest.mark.parametrize('executor', ['inline', 'threads'])
def test_what_a_build_in_run_looks_at_is_not_read_by_its_task(executor: str) -> None:
    cells = """
class Source(kartnb.TaskOnKart):
    def run(self):
        self.dump({value})

class Middle(kartnb.TaskOnKart):
    def requires(self):
        return Source()

    def run(self):
        self.dump(self.load())

class Starting(kartnb.TaskOnKart):
    def run(self):
        self.dump(kartnb.build(Middle()))
"""
    forget_classes()
    notebook = Notebook()
    for value in (1, 2):  # the second time, results are set aside
        notebook.run(cells.format(value=value))
        assert kartnb.build(notebook['Starting'](), executor=executor, rerun=True) == value
        planned = kartnb.plan(notebook['Starting']())
        assert (planned.to_run(), planned.root.note) == ((), '')
