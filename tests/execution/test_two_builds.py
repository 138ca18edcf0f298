"""Two builds with other code in one workspace: each uses the result that it has planned with, or none.

The other build runs, or stops, at a chosen point of the first one.
"""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import kartnb
from kartnb.errors import ResultReplacedError
from kartnb.execution.build import Build
from kartnb.planning import known_results
from kartnb.planning.known_results import KnownResults
from kartnb.storage.census import Listing
from kartnb.storage.files import ResultFiles, joint_mark
from kartnb.storage.run_lock import RunLock, holder_of
from kartnb.storage.run_records import RecordDirectory
from kartnb.storage.superseded import Superseded

VALUE: Any = 'first'


class Step(kartnb.TaskOnKart[Any]):
    on_code_change = 'rerun'

    def run(self) -> None:
        self.dump(VALUE)


class Neighbour(kartnb.TaskOnKart[Any]):
    def run(self) -> None:
        self.dump('neighbour')


class Asking(kartnb.TaskOnKart[Any]):
    on_code_change = 'rerun'

    def run(self) -> Iterator[Any]:
        target = yield Step()
        self.dump(['asked for', target.load()])


class Both(kartnb.TaskOnKart[Any]):
    on_code_change = 'rerun'

    def requires(self) -> Any:
        return [Neighbour(), Step()]

    def run(self) -> None:
        self.dump(['both', self.load()[1]])


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('kartnb.execution.build.time.sleep', lambda seconds: None)
    return tmp_path / 'resources'


def build(value: Any, task: Any = None) -> Any:
    """Build with another constant in the module, which counts as code; afterwards it is the one of before."""
    before = globals()['VALUE']
    globals()['VALUE'] = value
    try:
        return kartnb.build(task or Step())
    finally:
        globals()['VALUE'] = before


def build_elsewhere(value: Any, task: Any = None) -> None:
    """Another build begins and ends, in a thread of its own."""
    thread = threading.Thread(target=build, args=(value, task))
    thread.start()
    thread.join()


def once(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, doing: Callable[..., None]) -> list[bool]:
    """Do something before the first call of a function; gives whether it was done."""
    original, done = getattr(owner, name), []

    def replacement(*args: Any, **options: Any) -> Any:
        if not done and threading.current_thread() is threading.main_thread():
            done.append(True)
            doing(*args)
        return original(*args, **options)

    monkeypatch.setattr(owner, name, replacement)
    return done


@pytest.mark.parametrize('task', [Step(), Asking(), Both()], ids=lambda task: type(task).__name__)
def test_a_root_is_not_taken_from_a_record_that_was_listed_later(task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = build('first', task)

    def replace(planned: Any, *args: Any) -> None:
        build_elsewhere('other', task)
        known = planned._graph.results
        known._fresh(*planned._graph.vertex_of(task).place)  # as for another task of the module whose file has changed

    done = once(monkeypatch, Build, 'run_untold', replace)
    assert build('first', task) == expected
    assert done


def test_a_file_of_a_run_that_has_begun_since_the_listing_is_not_one_of_another_program(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value in ('other', 'first'):
        build(value, Both())
    os.utime(workspace / Neighbour().output().path().removeprefix('./resources/'))  # the directory is listed again
    is_there, may_go_on = threading.Event(), threading.Event()
    finish = RunLock.finish

    def pause(lock: Any, name: str, *args: Any) -> None:
        if threading.current_thread() is not threading.main_thread() and name.startswith('Step'):
            is_there.set()
            may_go_on.wait(10)
        finish(lock, name, *args)

    monkeypatch.setattr(RunLock, 'finish', pause)
    thread = threading.Thread(target=build, args=('other',))

    def begin(*args: Any) -> None:
        thread.start()
        is_there.wait(10)
        globals()['VALUE'] = 'first'  # what the other build has planned with is in its plan

    original = Listing.mark

    def mark(listing: Listing, path: str) -> str:
        if 'Step' in path and not thread.ident:
            begin()
        return original(listing, path)

    monkeypatch.setattr(Listing, 'mark', mark)
    plan = kartnb.plan(Both())
    may_go_on.set()
    thread.join()
    step = next(node for node in plan if node.name == 'Step')
    assert (str(step.state), str(step.reason)) == ('stale', 'a run has not ended, or was broken off')
    assert build('first', Both()) == ['both', 'first']


def roll_back(file: Path, mark: Path) -> None:
    file.unlink()
    mark.unlink()


def end_well(file: Path, mark: Path) -> None:
    roll_back(file, mark)
    build_elsewhere('first')


def end_and_begin_again(file: Path, mark: Path) -> None:
    mark.unlink()
    RecordDirectory.is_under_way = lambda directory, stem: True  # type: ignore[method-assign]


def leave(file: Path, mark: Path) -> None:
    mark.unlink()


@pytest.mark.parametrize(
    'meanwhile, state',
    [(roll_back, 'missing'), (end_well, 'cached'), (end_and_begin_again, 'stale'), (leave, 'cached')],
)
def test_a_run_that_ends_between_the_looks_for_files_and_records(
    meanwhile: Callable[[Path, Path], None], state: str, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kartnb.build(Neighbour())
    monkeypatch.setattr(RecordDirectory, 'is_under_way', RecordDirectory.is_under_way)
    (record,) = (workspace / 'log/run_record').rglob('Neighbour_*~r*.json')
    file = Path(Step().output().path())
    file.write_bytes(pickle.dumps('made by a run that was killed'))
    mark = record.with_name(f'Step_{Step().make_unique_id()}~running.json')
    mark.touch()
    done = once(monkeypatch, KnownResults, '_fresh', lambda *args: meanwhile(file, mark))
    plan = kartnb.plan(Step())
    assert done
    assert str(plan.root.state) == state


def test_times_are_noted_of_the_file_that_was_compared(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ('other', 'first'):
        build(value)
    (path,) = [found for found in workspace.rglob('Step_*.pkl') if 'log' not in found.parts]
    os.utime(path)

    def replace(*args: Any) -> None:
        build_elsewhere('other')
        build_elsewhere('first')
        os.utime(path, ns=(1, 1))

    done = once(monkeypatch, known_results, 'examine', replace)
    assert build('first') == 'first'
    assert done
    (record,) = (workspace / 'log/run_record').rglob('Step_*~r*.json')
    status = path.stat()
    assert f'-f{joint_mark([f"{status.st_size}.{status.st_mtime_ns}"])}-' in record.name


def test_a_result_of_what_is_being_replaced_is_not_up_to_date(workspace: Path) -> None:
    build('other', Asking())
    (record,) = (workspace / 'log/run_record').rglob('Step_*~r*.json')
    record.rename(record.with_name(f'{record.name.partition("~")[0]}~running.json'))  # just before its end
    plan = kartnb.plan(Asking())
    assert str(next(iter(plan)).state) == 'stale'


def test_the_copy_of_what_was_brought_back_is_removed_under_the_lock_of_its_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for value in ('first', 'other'):
        build(value)
    locked, remove = [], Superseded.remove

    def look(kept: Superseded) -> None:
        locked.append(holder_of(f'resources/log/run_record/{kept.module.replace(".", "/")}/{kept.stem}~running.json'))
        remove(kept)

    monkeypatch.setattr(Superseded, 'remove', look)
    assert build('first') == 'first'
    assert locked
    assert None not in locked


@pytest.mark.parametrize('how', ['brought back', 'of a run', 'of a failed run', 'changed'])
def test_what_becomes_of_files_while_they_are_used(how: str, tmp_path: Path) -> None:
    """A result that was replaced and brought back has the same name, size and times, and is noticed all the same."""
    file, record = tmp_path / 'a.pkl', tmp_path / 'a~r1.json'
    file.write_text('first')
    record.write_text('{}')
    os.utime(file, ns=(1, 1))
    files = ResultFiles('A', (str(file),), joint_mark(['5.1']), str(record))
    used = files.begin_use(None)
    if how == 'of a run':  # of the same size and time as the recorded one
        (tmp_path / 'new').write_text('other')
        os.utime(tmp_path / 'new', ns=(1, 1))
        (tmp_path / 'new').rename(file)
        (tmp_path / 'a~running.json').write_text('{}')
        with pytest.raises(ResultReplacedError):
            files.begin_use(None)
    elif how == 'changed':
        file.write_text('another')
        files.end_use(None, used, 0)
        return
    else:
        kept = file if how == 'brought back' else record
        (tmp_path / 'new').write_bytes(kept.read_bytes())
        os.utime(tmp_path / 'new', ns=(1, 1))
        (tmp_path / 'new').rename(file)
        beside = tmp_path / ('new' if how == 'brought back' else 'a~failed.json')
        beside.write_text('{}')
        if how == 'brought back':
            beside.rename(record)
    with pytest.raises(ResultReplacedError):
        files.end_use(None, used, 0)


def test_a_run_that_was_killed_meanwhile_is_rolled_back_before_its_result_is_used(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build('first')
    (record,) = (workspace / 'log/run_record').rglob('Step_*~r*.json')
    (file,) = [found for found in workspace.rglob('Step_*.pkl') if 'log' not in found.parts]

    def break_off(*args: Any) -> None:
        data = file.read_bytes()
        file.unlink()
        file.write_bytes(data)  # put there by the run of the mark, as far as can be told
        record.with_name(f'{record.name.partition("~")[0]}~running.json').write_text('{}')

    done = once(monkeypatch, Build, 'result', break_off)
    assert build('first') == 'first'
    assert done
    assert not list(workspace.rglob('*~running.json'))
