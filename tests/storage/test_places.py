"""Names that Windows forbids, places that fsspec reaches, metadata on Google Cloud Storage, and gokart's logs."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pytest

from kartnb.errors import MissingPackageError, MissingResultError, StorageError, UnreadableResultError
from kartnb.storage import files, filesystem, places, remote
from kartnb.storage.files import storage_error, windows_problem
from kartnb.storage.filesystem import file_system
from kartnb.storage.formats.models import make_model_target
from kartnb.storage.peek import unread_types
from kartnb.storage.run_records import RecordedResult
from kartnb.storage.targets import has_labels, make_target, object_labels


@pytest.mark.parametrize(
    'path, problem',
    [
        ('results/model.pkl', None),
        ('C:\\results\\model.pkl', None),
        ('./resources/../a.b/日本.csv', None),
        ('results/aux.csv', "reserves the name 'aux.csv'"),
        ('COM1/a.csv', "reserves the name 'COM1'"),
        ('results/nul', "reserves the name 'nul'"),
        ('results/a:b.csv', "forbids ':'"),
        ('results/what?.csv', "forbids '?'"),
        ('results/a|b/c.csv', "forbids '|'"),
        ('results/a\tb.csv', r"forbids '\t'"),
        ('results/a /b.csv', 'may not end in a space or a full stop'),
        ('results/a./b.csv', 'may not end in a space or a full stop'),
        ('x' * 300 + '.csv', 'characters of its full path Windows allows 259'),
    ],
)
def test_what_windows_forbids(path: str, problem: str | None) -> None:
    said = windows_problem(path)
    if problem is None:
        assert said is None
    else:
        assert said is not None
        assert problem in said


def test_windows_is_asked_before_anything_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, 'ON_WINDOWS', True)
    monkeypatch.setattr(filesystem, 'ON_WINDOWS', True)
    with pytest.raises(StorageError, match="Windows, which forbids ':'"):
        file_system('a').write_bytes('results/a:b.csv', b'')
    assert not Path('results').exists()


def test_an_error_is_translated_once() -> None:
    error = storage_error(OSError(28, 'No space'), 'a', 'written')
    assert storage_error(error, 'b', 'read') is error
    assert error.errno == 28
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.path, again.errno) == (StorageError, str(error), 'a', 28)


@pytest.fixture
def memory() -> Iterator[Any]:
    store = fsspec.filesystem('memory')
    yield store
    store.store.clear()
    store.pseudo_dirs[:] = ['']


@pytest.mark.parametrize(
    'name, value',
    [
        ('a.pkl', {'a': 1}),
        ('a.txt', ['x']),
        ('a.gz', ['x']),
        ('a.png', b'x'),
        ('a.npz', np.arange(3)),
        ('a.csv', pd.DataFrame({'a': [1]})),
        ('a.json', pd.DataFrame({'a': [1]})),
        ('a.parquet', pd.DataFrame({'a': [1]})),
        ('a.feather', pd.DataFrame({'a': [1], 'b': ['x']})),
    ],
)
def test_results_on_an_object_store(memory: Any, name: str, value: Any) -> None:
    target = make_target(f'memory://shelf/deep/{name}', 'x')
    assert not target.exists()
    target.dump(value)
    assert target.exists()
    loaded = target.load()
    assert loaded.equals(value) if isinstance(value, pd.DataFrame) else np.array_equal(loaded, value)
    assert memory.ls('shelf/deep', detail=False) == [f'/shelf/deep/{name.replace(".", "_x.")}']
    assert target.last_modification_time().tzinfo is None
    assert file_system(target.path()).size(target.path()) > 0
    target.remove()
    assert not target.exists()
    assert os.listdir() == []


def test_models_on_an_object_store(memory: Any) -> None:
    def save(model: str, path: str) -> None:
        Path(path).write_text(model)

    target = make_model_target('memory://shelf/a.zip', 'tmp', save, lambda path: Path(path).read_text())
    target.dump('model')
    assert target.load() == 'model'
    target.remove()
    assert not target.exists()


def test_a_failed_dump_to_an_object_store_keeps_the_old_result(memory: Any) -> None:
    target = make_target('memory://shelf/a.pkl')
    target.dump('old')
    place = file_system(target.path())

    def write_half() -> None:
        with place.writing(target.path()) as file:
            file.write(b'half')
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert target.load() == 'old'
    assert memory.ls('shelf', detail=False) == ['/shelf/a.pkl']


def test_what_is_missing_on_an_object_store(memory: Any) -> None:
    for act in (make_target('memory://shelf/a.pkl').load, make_target('memory://shelf/a.pkl').last_modification_time):
        with pytest.raises(MissingResultError, match=r'memory://shelf/a\.pkl does not exist'):
            act()
    assert file_system('memory://shelf').names('memory://nowhere') == set()


def test_whole_objects_are_uploaded_where_the_store_shows_them_whole(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, '_OBJECT_STORES', {'memory'})
    moved: list[str] = []
    monkeypatch.setattr(type(memory), 'mv', lambda self, *paths, **_: moved.extend(paths))
    make_target('memory://shelf/a.pkl').dump([1])
    file_system('memory://shelf/b').write_bytes('memory://shelf/b', b'x')
    assert make_target('memory://shelf/a.pkl').load() == [1]
    assert file_system('memory://shelf/b').read_bytes('memory://shelf/b') == b'x'
    assert moved == []


@pytest.mark.parametrize(
    'path, install',
    [('s3://bucket/a.pkl', "'kartnb[s3]'"), ('gs://bucket/a.pkl', "'kartnb[gcs]'"), ('az://b/a', 'adlfs')],
)
def test_a_missing_package_is_named(path: str, install: str) -> None:
    script = f"""
import sys
sys.modules['s3fs'] = sys.modules['gcsfs'] = sys.modules['adlfs'] = None
from kartnb.storage.filesystem import file_system
try:
    file_system({path!r})
except ImportError as error:
    print(type(error).__name__, error)
sys.modules['fsspec'] = None
try:
    file_system({path!r})
except ImportError as error:
    print(type(error).__name__, error)
"""
    environment = {**os.environ, 'PYTHONPATH': str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, env=environment)
    first, second = done.stdout.splitlines()
    for line in (first, second):
        assert line.startswith(MissingPackageError.__name__)
        assert line.endswith(f'pip install {install}')
    assert 'fsspec' in second


def test_labels_are_gokarts() -> None:
    @dataclass
    class Output:
        name: str

        def serialize(self) -> dict[str, str]:
            return {'__gokart_task_name': self.name, '__gokart_output_path': f'{self.name}.pkl'}

    labels = object_labels({'n': 1, 'empty': '', 'owner': 'task'}, {'owner': 'me'}, {'in': [Output('A')]})
    assert labels == {
        'owner': 'me',
        'n': '1',
        '__required_task_outputs': '{"in": [{"__gokart_task_name": "A", "__gokart_output_path": "A.pkl"}]}',
    }
    plain = object_labels({}, {}, {'__gokart_task_name': 'A'})
    assert plain == {'__required_task_outputs': '{"__gokart_task_name": "A"}'}
    many = object_labels({f'p{i}': 'x' * 1000 for i in range(20)}, {'mine': 'y' * 1000})
    assert list(many) == ['mine', 'p0', 'p1', 'p2', 'p3', 'p4', 'p5', 'p6']
    assert not has_labels('s3://bucket/a.pkl')


def test_labels_are_attached(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    attached: dict[str, Any] = {}
    monkeypatch.setattr('kartnb.storage.targets.has_labels', lambda path: True)
    monkeypatch.setattr(type(memory), 'setxattrs', lambda self, path, **labels: attached.update(labels), raising=False)
    make_target('memory://shelf/a.pkl').dump(1, task_params={'n': '1', 'content_type': 'x'}, custom_labels={'m': 2})
    assert attached == {'n': '1', 'm': '2'}


LOGS = {
    'module_versions': 'numpy==2.0\n',
    'processing_time': 0.5,
    'random_seed': {'seed': 1, 'seed_methods': ['random.seed']},
    'task_log': {'file_path': ['a.pkl']},
    'task_params': {'n': '1'},
}


@pytest.mark.parametrize('kind', places.LOG_KINDS)
def test_logs_are_written_as_gokart_writes_them(kind: places.LogKind) -> None:
    path = places.log_path('./place/', kind, 'Example', '8441')
    value = LOGS[kind]
    places.write_log(path, value)
    extension = 'txt' if kind == 'module_versions' else 'pkl'
    assert path == f'./place/log/{kind}/Example_8441.{extension}'
    assert Path(path).read_bytes() == (value.encode() if isinstance(value, str) else pickle.dumps(value, protocol=4))
    assert places.read_log(path) == value
    assert os.listdir('place/log') == [kind]


def test_a_log_may_hold_anything() -> None:
    path = places.log_path('place', 'task_log', 'A', 'x')
    places.write_log(path, {'function': lambda x: x + 1})
    assert pickle.loads(Path(path).read_bytes())['function'](1) == 2
    assert unread_types(places.read_log(path))


def test_a_missing_and_a_damaged_log() -> None:
    path = places.log_path('place', 'task_log', 'A', 'x')
    with pytest.raises(MissingResultError, match=path):
        places.read_log(path)
    os.makedirs(os.path.dirname(path))
    Path(path).write_bytes(b'\x80\x04')
    with pytest.raises(UnreadableResultError, match=f'{path} is not a readable log'):
        places.read_log(path)


def test_a_log_goes_where_the_plan_said_when_the_directory_is_left_between_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    writer = places.LogWriter('resources', 'Task', '0f')
    token = filesystem.home.set(str(tmp_path))
    try:
        writer.write('task_params', {'n': '1'})
        with filesystem.may_leave():  # as a task in a thread of another build
            (tmp_path / 'elsewhere').mkdir()
            monkeypatch.chdir(tmp_path / 'elsewhere')
            writer.write('processing_time', 1.5)
    finally:
        filesystem.home.reset(token)
        filesystem.go_back(str(tmp_path))
    found = sorted(path.name for path in tmp_path.rglob('Task_0f.pkl'))
    assert found == ['Task_0f.pkl'] * 2
    assert not list((tmp_path / 'elsewhere').iterdir())


def _versions_files(workspace: Path, *names: str) -> list[Path]:
    for name in names:
        places.LogWriter(str(workspace), name, '0f').write('module_versions', 'numpy==2.0')
    return [workspace / 'log/module_versions' / f'{name}_0f.txt' for name in names]


def test_versions_that_all_tasks_share_take_the_place_of_one_file(tmp_path: Path) -> None:
    first, second = _versions_files(tmp_path, 'First', 'Second')
    assert first.read_text() == second.read_text() == 'numpy==2.0'
    assert first.stat().st_ino == second.stat().st_ino
    places.LogWriter(str(tmp_path), 'Second', '0f').write('module_versions', 'numpy==2.1')
    assert (first.read_text(), second.read_text()) == ('numpy==2.0', 'numpy==2.1')


def _edit(file: Path) -> None:
    file.write_text('edited')


def _replace(file: Path) -> None:
    (file.parent / 'other').write_text('of another program')
    (file.parent / 'other').replace(file)


@pytest.mark.parametrize('change', [_edit, _replace, Path.unlink])
def test_versions_are_written_anew_where_the_last_file_is_another_by_now(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    (first,) = _versions_files(tmp_path, 'First')
    change(first)
    (second,) = _versions_files(tmp_path, 'Second')
    assert second.read_text() == 'numpy==2.0'
    assert not first.exists() or second.stat().st_ino != first.stat().st_ino


def test_versions_are_those_of_their_own_workspace_after_a_change_of_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ('here', 'there'):
        (tmp_path / place).mkdir()
    monkeypatch.chdir(tmp_path / 'there')
    places.LogWriter('resources', 'First', '0f').write('module_versions', 'numpy==1.0')
    monkeypatch.chdir(tmp_path / 'here')
    _versions_files(Path('resources'), 'First')
    monkeypatch.chdir(tmp_path / 'there')
    (second,) = _versions_files(Path('resources'), 'Second')
    assert second.read_text() == 'numpy==2.0'


def test_versions_are_written_for_each_task_on_a_disk_without_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: str, target: str) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), source, None, target)

    monkeypatch.setattr(os, 'link', refuse)
    first, second = _versions_files(tmp_path, 'First', 'Second')
    assert first.read_text() == second.read_text() == 'numpy==2.0'
    assert first.stat().st_ino != second.stat().st_ino


def test_durable_versions_are_no_other_name_of_a_file_that_may_be_lost(tmp_path: Path) -> None:
    (first,) = _versions_files(tmp_path, 'First')
    with filesystem.durable_writes():
        second, third = _versions_files(tmp_path, 'Second', 'Third')
    (fourth,) = _versions_files(tmp_path, 'Fourth')
    assert first.stat().st_ino != second.stat().st_ino
    assert second.stat().st_ino == third.stat().st_ino == fourth.stat().st_ino


def test_two_workspaces_share_no_file(tmp_path: Path) -> None:
    (first,) = _versions_files(tmp_path / 'one', 'First')
    (second,) = _versions_files(tmp_path / 'other', 'First')
    assert first.read_text() == second.read_text() == 'numpy==2.0'
    assert first.stat().st_ino != second.stat().st_ino


@pytest.mark.parametrize('later', [False, True])
@pytest.mark.parametrize('kept_for', [None, ('312-fedcba987654', '0123456789')])
@pytest.mark.parametrize('files', ['', 'f0f1f2f3f4'])
def test_the_name_of_a_record_says_which_result_it_is_of(
    files: str, kept_for: tuple[str, str] | None, later: bool
) -> None:
    for result_id, made_of in [('0a1b2c3d4e5f', 'abcdef0123'), ('f00000000000', '0')]:
        result = RecordedResult(result_id, '311-0123456789ab', made_of, later, kept_for, files)
        assert RecordedResult.from_suffix(result.suffix()) == result
    assert RecordedResult('0a', files=files).suffix() == 'r0a', 'without its code nothing else is known'
