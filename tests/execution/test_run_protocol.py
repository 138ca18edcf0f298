"""The protocol of a run: what fails leaves nothing behind, what another build has done is seen, names fit."""

from __future__ import annotations

import errno
import logging
import mmap
import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import luigi
import pandas as pd
import pytest

import kartnb
from kartnb.errors import StorageError
from kartnb.model import BuildStatus
from kartnb.storage import run_lock
from kartnb.storage.run_lock import Holder, RunLock, RunMark, holder_of, lock_run
from kartnb.storage.targets import InMemoryCacheRepository
from tests.storage.test_locks import server as _server

redis_server = _server
VALUE: Any = 'first'
FAILS: type[BaseException] | None = None


class Step(kartnb.TaskOnKart[Any]):
    on_code_change = 'rerun'

    def run(self) -> None:
        self.dump(VALUE)
        if FAILS is not None:
            raise FAILS


class After(kartnb.TaskOnKart[Any]):
    on_code_change = 'rerun'

    def requires(self) -> Any:
        return Step()

    def run(self) -> None:
        self.dump(['after', self.load()])


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / 'resources'


def build(value: Any, fails: type[BaseException] | None = None, task: Any = None, **options: Any) -> Any:
    """Build with another constant in the module, which counts as code."""
    globals()['VALUE'], globals()['FAILS'] = value, fails
    return kartnb.build(task or Step(), **options)


def marks() -> list[Path]:
    return [path for path in Path('resources').rglob('*') if 'running' in path.name or path.name.endswith('.kart-tmp')]


@pytest.mark.parametrize('options', [{}, {'executor': 'threads'}], ids=str)
@pytest.mark.parametrize('error', [ValueError, SystemExit, MemoryError])
def test_what_a_failed_run_has_written_is_not_a_result(error: type[BaseException], options: dict[str, Any]) -> None:
    with pytest.raises(kartnb.GokartBuildError):
        build('of a failed run', error, **options)
    assert not Path(Step().output().path()).exists()
    assert [str(node.state) for node in kartnb.plan(Step())] == ['missing']
    assert build('second') == 'second'
    with pytest.raises(kartnb.GokartBuildError):
        build('third', error, **options)
    assert build('second') == 'second'
    assert marks() == []


class PlainFile(kartnb.TaskOnKart[Any]):
    """Writes the file of luigi's target in place, as tasks do that are told its path."""

    on_code_change = 'rerun'

    def output(self) -> Any:
        return luigi.LocalTarget('plain.txt')

    def run(self) -> None:
        with open('plain.txt', 'w') as file:
            file.write(VALUE)
            file.flush()
            if FAILS is not None:
                raise FAILS


class PlainDirectory(PlainFile):
    def output(self) -> Any:
        return {'directory': luigi.LocalTarget('parts'), 'file': super().output()}

    def run(self) -> None:
        os.makedirs('parts')
        Path('parts', 'one').write_text(VALUE)
        super().run()


def by_luigi(task: Any) -> bool:
    return bool(luigi.build([task], local_scheduler=True, log_level='CRITICAL'))


@pytest.mark.parametrize('error', [ValueError, SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize('task', [PlainDirectory, PlainFile])
def test_what_a_failed_run_has_written_to_a_target_of_luigi_is_not_a_result(task: Any, error: Any) -> None:
    with pytest.raises((kartnb.GokartBuildError, KeyboardInterrupt)):
        build('half', error, task=task())
    assert not Path('plain.txt').exists()
    assert not Path('parts').exists()
    assert [str(node.state) for node in kartnb.plan(task())] == ['missing']
    if error is ValueError:
        assert not by_luigi(task())
    assert not task().complete()
    build('whole', task=task(), return_value=False)
    assert Path('plain.txt').read_text() == 'whole'
    assert [str(node.state) for node in kartnb.plan(task())] == ['cached']


@pytest.mark.parametrize('size', [1, 1 << 21], ids=['copied', 'large'])
@pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt])
def test_a_failed_run_leaves_the_earlier_file_of_a_target_of_luigi(size: int, error: Any) -> None:
    build('first' * size, task=PlainFile(), return_value=False)
    with pytest.raises((kartnb.GokartBuildError, KeyboardInterrupt)):
        build('half', error, task=PlainFile())
    assert Path('plain.txt').read_text() == 'first' * size
    globals()['VALUE'], globals()['FAILS'] = 'first' * size, None
    assert [str(node.reason) for node in kartnb.plan(PlainFile())] == ['None']
    assert marks() == []


KILLED_PLAIN = """
import os, sys, kartnb
from kartnb import luigi
class Killed(kartnb.TaskOnKart):
    def output(self):
        return luigi.LocalTarget('plain.txt')
    def run(self):
        with open('plain.txt', 'w') as file:
            file.write(sys.argv[1])
            file.flush()
            if sys.argv[1] == 'die':
                os._exit(9)
if sys.argv[2] == 'luigi':
    luigi.build([Killed()], local_scheduler=True, log_level='CRITICAL')
else:
    print(*[str(node.state) for node in kartnb.plan(Killed())])
    kartnb.build(Killed(), return_value=False, log_level=50)
print(open('plain.txt').read())
"""


@pytest.mark.parametrize('again', ['kartnb', 'luigi'])
@pytest.mark.parametrize('dying', ['kartnb', 'luigi'])
def test_what_a_killed_run_has_written_to_a_target_of_luigi_is_not_a_result(
    dying: str, again: str, tmp_path: Path
) -> None:
    def run(value: str, by: str = 'kartnb') -> list[str]:
        command = [sys.executable, '-c', KILLED_PLAIN, value, by]
        return subprocess.run(
            command, cwd=tmp_path, env=_environment(), capture_output=True, text=True, timeout=60
        ).stdout.split()

    assert run('die', dying)[1:] == []
    assert (tmp_path / 'plain.txt').read_text() == 'die'
    assert run('whole', again)[-1:] == ['whole']
    assert run('other', 'luigi') == ['whole']
    assert run('other') == ['cached', 'whole']


def test_an_adopted_result_that_is_replaced_leaves_one_record() -> None:
    build('first', task=After())
    for record in Path('resources/log/run_record').rglob('*~r*.json'):
        record.unlink()  # as gokart leaves a workspace
    Path(Step().output().path()).unlink()
    assert build('second', task=After(), rerun=[Step]) == ['after', 'second']
    names = [path.name.partition('~')[0] for path in Path('resources/log/run_record').rglob('*~r*.json')]
    assert sorted(names) == sorted({f'{type(task).__name__}_{task.make_unique_id()}' for task in (Step(), After())})


def test_an_interrupted_run_leaves_the_earlier_result() -> None:
    build('first', task=After())
    record = next(Path('resources/log/run_record').rglob('Step_*~r*.json')).name
    with pytest.raises(KeyboardInterrupt):
        build('second', KeyboardInterrupt, After())
    assert next(Path('resources/log/run_record').rglob('Step_*~r*.json')).name == record
    assert build('first', task=After()) == ['after', 'first']
    assert next(Path('resources/log/run_record').rglob('Step_*~r*.json')).name == record, 'it was not run again'
    assert marks() == []


KILLED = """
import os, sys, kartnb
class Killed(kartnb.TaskOnKart):
    def run(self):
        self.dump(sys.argv[1])
        if sys.argv[1] == 'die':
            os.kill(os.getpid(), 9)
print(kartnb.build(Killed(), workers=int(sys.argv[2])), kartnb.plan(Killed()).to_run())
"""


@pytest.mark.parametrize('workers', [1, 2])
def test_what_a_killed_run_has_written_is_not_a_result(workers: int) -> None:
    Path('killed.py').write_text(KILLED)

    def run(word: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, 'killed.py', word, str(workers)]
        return subprocess.run(command, capture_output=True, text=True, timeout=90)

    assert run('die').returncode != 0
    assert run('live').stdout == 'live ()\n'
    assert marks() == []


UNDER_WAY = """
import os, sys, time, kartnb
class UnderWay(kartnb.TaskOnKart):
    on_code_change = sys.argv[1]
    def run(self):
        if os.path.exists('half'):
            self.dump('other')
            return
        self.dump('half')
        open('half', 'w').close()
        while not os.path.exists('go'):
            time.sleep(0.01)
        self.dump('whole')
if sys.argv[2] == 'plan':
    print(*[(str(node.state), node.why) for node in kartnb.plan(UnderWay())])
else:
    print(kartnb.build(UnderWay(), rerun=sys.argv[2] == 'rerun'))
"""


@pytest.mark.parametrize('policy, how', [('rerun', 'build'), ('ignore', 'rerun')])
def test_what_a_run_under_way_has_written_is_not_a_result(policy: str, how: str) -> None:
    Path('under_way.py').write_text(UNDER_WAY)

    def start(what: str) -> subprocess.Popen[str]:
        command = [sys.executable, 'under_way.py', policy, what]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, text=True, stdout=pipe, stderr=pipe, env=_environment())

    def outcome(process: subprocess.Popen[str]) -> str:
        shown, said = process.communicate(timeout=60)
        assert 'Recomputed' not in said or process is not second
        return shown.strip()

    second = None

    if how == 'rerun':
        Path('half').touch()
        assert outcome(start('build')) == 'other'
        Path('half').unlink()
    first = start(how)
    while not Path('half').exists() and first.poll() is None:
        time.sleep(0.01)
    assert 'another build is running it' in (planned := outcome(start('plan')))
    assert 'cached' not in planned
    second = start('build')
    time.sleep(1)
    Path('go').touch()
    assert [outcome(first), outcome(second)] == ['whole', 'whole']
    Path('go').unlink()
    Path('half').unlink()
    third = start('rerun')
    while not Path('half').exists() and third.poll() is None:
        time.sleep(0.01)
    third.kill()
    third.wait()
    assert 'cached' not in outcome(start('plan'))
    assert outcome(start('build')) == 'whole'
    assert marks() == []


def test_a_value_in_memory_of_a_failed_run_is_forgotten() -> None:
    from kartnb.storage.locks import make_task_lock_params
    from kartnb.storage.targets import InMemoryTarget

    class InMemory(kartnb.TaskOnKart[Any]):
        fails = luigi.BoolParameter(significant=False)

        def output(self) -> Any:
            return InMemoryTarget('the key', make_task_lock_params('the key', None))

        def run(self) -> None:
            self.dump(['failed' if self.fails else 'whole'])
            if self.fails:
                raise ValueError

    InMemoryCacheRepository().clear()
    with pytest.raises(kartnb.GokartBuildError):
        kartnb.build(InMemory(fails=True))
    assert not InMemory().complete()
    assert kartnb.build(InMemory()) == ['whole']
    with pytest.raises(kartnb.GokartBuildError):
        kartnb.build(InMemory(fails=True), rerun=True)
    assert kartnb.build(InMemory()) == ['whole']
    InMemoryCacheRepository().clear()


def test_a_result_that_cannot_be_kept_is_not_replaced(workspace: Path) -> None:
    build('first')
    (workspace / 'log/superseded').write_text('a file where the directory belongs')
    with pytest.raises(kartnb.GokartBuildError) as told:
        build('second')
    assert isinstance(told.value.__cause__, StorageError)
    assert build('first') == 'first'


@pytest.mark.parametrize('name', ['模' * 60, 'L' * 190], ids=['60 kanji', '190 letters'])
def test_long_class_names_fit(name: str) -> None:
    def run(self: Any) -> None:
        print('a line')
        self.dump(self.n)

    long = type(name, (kartnb.TaskOnKart,), {'n': luigi.IntParameter(), 'run': run, '__module__': __name__})
    assert kartnb.build(long(n=1)) == 1
    assert kartnb.build(long(n=1), rerun=True) == 1
    assert kartnb.plan(long(n=1)).to_run() == ()
    runs = kartnb.Workspace('resources').runs()
    assert {run.task for run in runs} == {name}
    assert 'a line' in str(kartnb.logs(long(n=1)))
    assert kartnb.restore_result(long(n=1)).result_id
    assert kartnb.plan(long(n=1)).to_run() == ()
    names = [path.name for path in Path('resources').rglob('*')]
    assert max(len(os.fsencode(name)) for name in names) <= 255


@pytest.mark.parametrize('options', [{}, {'workers': 2}, {'executor': 'async'}, {'executor': 'threads'}])
def test_a_task_that_builds_itself_says_so(options: Any) -> None:
    class Selfish(kartnb.TaskOnKart):
        def run(self) -> None:
            self.dump(kartnb.build(Selfish(), **options))

    with pytest.raises(kartnb.GokartBuildError, match='built while it runs'):
        kartnb.build(Selfish())


def test_a_forked_child_does_not_hold_the_lock(tmp_path: Path) -> None:
    lock = lock_run(str(tmp_path), 'Step_1', '0a')
    assert isinstance(lock, RunLock)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, b'.')  # from here on it has let go
        time.sleep(60)
        os._exit(0)
    os.read(reading, 1)
    lock.abandon()
    try:
        again = lock_run(str(tmp_path), 'Step_1', '0b')
        assert isinstance(again, RunLock)
        assert again.was_broken
        again.release()
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_who_makes_the_file_may_lock_it_after_a_run_that_died(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try_lock, result = run_lock.try_lock, Path(Step().output().path())

    def after_another_run(descriptor: int) -> bool:
        monkeypatch.setattr(run_lock, 'try_lock', try_lock)
        (mark,) = workspace.rglob('Step_*~running.json')  # it has opened this too, and locked it first
        mark.write_text(run_lock.intent_text((str(result),), '', ''))
        result.parent.mkdir(parents=True, exist_ok=True)
        result.write_bytes(pickle.dumps('of the run that died'))
        return try_lock(descriptor)

    monkeypatch.setattr(run_lock, 'try_lock', after_another_run)
    assert build('first', task=After()) == ['after', 'first']
    assert run_lock.try_lock is try_lock
    assert marks() == []


def test_looking_does_not_take_a_lock(tmp_path: Path) -> None:
    lock = lock_run(str(tmp_path), 'Step_1', '0a')
    assert isinstance(lock, RunLock)
    lock.announce(run_lock.intent_text(('x',), '', 'report.ipynb'))
    seen: list[Any] = []
    thread = threading.Thread(
        target=lambda: seen.extend([holder_of(lock.path), lock_run(str(tmp_path), 'Step_1', '0b')])
    )
    thread.start()
    thread.join()
    assert all(isinstance(holder, Holder) and holder.pid == os.getpid() for holder in seen)
    assert seen[0].notebook == 'report.ipynb'
    lock.release()
    assert holder_of(lock.path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_locks_is_used_and_told(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> bool:
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(run_lock, 'try_lock', refuse)
    monkeypatch.setattr(run_lock, '_lockless', set())
    assert build('first', task=After()) == ['after', 'first']
    assert isinstance(lock_run(f'{workspace}/log/run_record/{__name__.replace(".", "/")}', 'X_1', '0a'), RunMark)
    with pytest.raises(kartnb.GokartBuildError):
        build('second', ValueError)
    assert build('first', task=After()) == ['after', 'first']
    assert marks() == []
    assert 'twice' in run_lock.sharing_of(str(workspace), redis=False)


def test_locks_beside_the_file_work_as_on_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock, '_LOCKS_BESIDE', True)
    monkeypatch.setattr(run_lock, '_HAS_PWRITE', False)
    first = lock_run(str(tmp_path), 'Step_1', '0a')
    assert isinstance(first, RunLock)
    first.announce(run_lock.intent_text((), '', ''))
    seen: list[Any] = []
    thread = threading.Thread(
        target=lambda: seen.extend([holder_of(first.path), lock_run(str(tmp_path), 'Step_1', '0b')])
    )
    thread.start()
    thread.join()
    assert all(isinstance(holder, Holder) and holder.pid == os.getpid() for holder in seen), seen
    first.finish('Step_1~r0a.json', '{"task": "Step"}')
    assert holder_of(first.path) is None
    assert (tmp_path / 'Step_1~r0a.json').read_text().startswith('{"intent": ')
    assert build('first', task=After()) == ['after', 'first']
    assert build('second', task=After()) == ['after', 'second']


def test_with_redis_a_stale_result_is_replaced(redis_server: Any) -> None:
    port = redis_server.connection_pool.connection_kwargs['port']

    def task() -> Any:
        return Step(redis_host='127.0.0.1', redis_port=port)

    assert build('first', task=task()) == 'first'
    assert build('second', task=task()) == 'second'
    assert redis_server.keys() == []
    with pytest.raises(kartnb.GokartBuildError):
        build('third', ValueError, task())
    assert redis_server.keys() == []
    assert build('second', task=task()) == 'second'


def test_an_input_that_is_replaced_meanwhile_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr('kartnb.execution.build.time.sleep', pauses.append)
    tries: list[int] = []

    class Slow(kartnb.TaskOnKart[Any]):
        def requires(self) -> Any:
            return Step()

        def run(self) -> None:
            found = self.load()
            if not tries:  # another build replaces the input while this task runs
                other = threading.Thread(target=lambda: build('other'))
                other.start()
                other.join()
            tries.append(1)
            self.dump(found)

    globals()['VALUE'], globals()['FAILS'] = 'first', None
    assert kartnb.build(Slow()) == 'other', 'it is tried again with what is there by then'
    assert len(tries) == 2
    assert 1 in pauses


def test_a_task_may_remove_or_change_its_input() -> None:
    class Careful(kartnb.TaskOnKart[Any]):
        how = luigi.Parameter(significant=False)

        def requires(self) -> Any:
            return Step()

        def run(self) -> None:
            found = self.load()
            path = Path(self.input().path())
            path.unlink() if self.how == 'remove' else path.write_bytes(pickle.dumps('changed'))
            self.dump(found)

    build('first')
    assert kartnb.build(Careful(how='remove')) == 'first'
    assert build('first') == 'first'
    assert kartnb.build(Careful(how='change'), rerun=True) == 'first'


class Disturbed(kartnb.TaskOnKart[Any]):
    """Something happens while it runs, or just after."""

    on_code_change = 'rerun'

    def run(self) -> None:
        if FAILS is FileNotFoundError:
            shutil.rmtree('resources')
        self.dump(VALUE)
        if FAILS is PermissionError:
            os.rename('resources/log', 'log')
        if FAILS is ChildProcessError:
            child = os.fork()
            if child == 0:
                sys.exit(0)
            os.waitpid(child, 0)

    def on_success(self) -> None:
        if FAILS is NotADirectoryError:
            os.chdir('/')


@pytest.mark.parametrize('earlier', [False, True], ids=['first run', 'second run'])
@pytest.mark.parametrize('options', [{}, {'executor': 'threads'}], ids=str)
@pytest.mark.parametrize('gone', [FileNotFoundError, PermissionError])
def test_a_workspace_that_goes_away_leaves_no_result_of_the_run(
    gone: type[BaseException], options: dict[str, Any], earlier: bool
) -> None:
    if earlier:
        build('first', task=Disturbed(), **options)
    with pytest.raises(kartnb.GokartBuildError, match='was removed or renamed while the task ran; build again'):
        build('second', gone, Disturbed(), **options)
    assert build('third', task=Disturbed(), **options) == 'third'
    assert marks() == []


@pytest.mark.filterwarnings('ignore:.* left the working directory')
@pytest.mark.parametrize('options', [{}, {'executor': 'threads'}], ids=str)
def test_a_task_that_leaves_the_directory_when_it_has_succeeded_has_its_result(options: dict[str, Any]) -> None:
    assert build('first', NotADirectoryError, Disturbed(), **options) == 'first'
    assert not kartnb.plan(Disturbed()).to_run()
    assert marks() == []


class WrittenAgain(kartnb.TaskOnKart[str]):
    """Its result is written again when `run` has ended."""

    how = luigi.Parameter()

    def run(self) -> None:
        self.dump('short')
        if self.how == 'mapped':  # the time of the file may stay as it is
            with open(self.output().path(), 'r+b') as file, mmap.mmap(file.fileno(), 0) as content:
                place = content.find(b'short')
                content[place : place + 5] = b'other'

    def on_success(self) -> None:
        if self.how == 'on_success':
            self.dump('a longer value')


@WrittenAgain.event_handler(luigi.Event.PROCESSING_TIME)
def write_again(task: Any, _: float) -> None:
    if task.how == 'event':
        task.dump('a longer value')


@pytest.mark.parametrize('how', ['mapped', 'on_success', 'event'])
def test_the_record_is_of_what_the_users_code_has_written_last(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kartnb.build(WrittenAgain(how=how)) == ('other' if how == 'mapped' else 'a longer value')
    shutil.copytree('resources', 'copy/resources', copy_function=shutil.copyfile)
    monkeypatch.chdir('copy')  # times are others there, so the content is compared
    (node,) = kartnb.plan(WrittenAgain(how=how))
    assert (str(node.state), node.note) == ('cached', '')


class LinkToNowhere(kartnb.TaskOnKart[int]):
    def run(self) -> None:
        place = self.output().path()
        os.makedirs(os.path.dirname(place))
        os.symlink(os.path.basename(place), place)


@pytest.mark.skipif(os.name == 'nt', reason='platform: links take a privilege')
def test_an_output_that_cannot_be_followed_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    kartnb.build(LinkToNowhere(), return_value=False)
    assert 'ended without writing its output' in caplog.text
    os.unlink(LinkToNowhere().output().path())
    shutil.rmtree(os.path.dirname(LinkToNowhere().output().path()))
    with pytest.raises(kartnb.GokartBuildError, match='ended without writing its output'):
        kartnb.build(LinkToNowhere())


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='platform: there is no fork')
def test_a_forked_child_that_leaves_through_the_build_takes_nothing_back(workspace: Path) -> None:
    code = 'import tests.execution.test_run_protocol as own, sys; own.build("mine", ChildProcessError, own.Disturbed())'
    code += '; print("parent", own.marks(), own.kartnb.plan(own.Disturbed()).to_run())'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=60, env=_environment())
    assert done.stdout.splitlines() == ['parent [] ()'], done.stderr
    assert 'put back' not in done.stderr


def _environment() -> dict[str, str]:
    return os.environ | {'PYTHONPATH': str(Path(__file__).parents[2])}


@pytest.mark.parametrize('part', [0, 0.5])
def test_a_zip_file_that_was_cut_short_is_made_again(part: float) -> None:
    class Frame(kartnb.TaskOnKart[pd.DataFrame]):
        def output(self) -> Any:
            return self.make_large_data_frame_target()

        def run(self) -> None:
            self.dump(pd.DataFrame({'a': range(5_000)}))

    kartnb.build(Frame())
    path = Path(Frame().output().path())
    status = path.stat()
    os.truncate(path, int(status.st_size * part))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert [str(node.state) for node in kartnb.plan(Frame()).to_run()] == ['stale']
    assert len(kartnb.build(Frame())) == 5_000


def test_a_task_that_waits_has_not_run_and_the_log_says_for_whom(caplog: pytest.LogCaptureFixture) -> None:
    taken: list[Any] = []
    place = f'resources/log/run_record/{__name__.replace(".", "/")}'
    other = threading.Thread(target=lambda: taken.append(lock_run(place, f'Step_{Step().make_unique_id()}', '0a')))
    other.start()
    other.join()
    threading.Timer(0.5, taken[0].release).start()
    events: list[Any] = []
    with caplog.at_level('INFO', 'kartnb'):
        build('first', listeners=[events.append], log_level=logging.INFO)
    status = BuildStatus()
    seen = []
    for event in events:
        status.apply(event)
        seen.append((str(status.states.get(getattr(event, 'key', ''))), len(status.activities)))
    assert ('waiting', 0) in seen
    assert any('waits for another process' in record.getMessage() for record in caplog.records)
