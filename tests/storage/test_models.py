"""Models and large frames in zip files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kartnb.errors import StorageError, UnreadableResultError, WrongValueError
from kartnb.storage.formats.models import LargeDataFrameProcessor, ModelTarget, make_model_target
from kartnb.storage.targets import TargetOnKart
from tests.storage.examples import frames
from tests.storage.notebook import Notebook, notebook

__all__ = ['notebook']


def save(model: Any, path: str) -> None:
    np.save(path, model)


def load(path: str) -> Any:
    return np.load(f'{path}.npy')


def model_target(path: str = 'models/a.zip') -> TargetOnKart:
    return make_model_target(path, 'tmp', save, load, 'x')


def large_target(max_byte: int = 1000) -> TargetOnKart:
    large = LargeDataFrameProcessor(max_byte)
    return make_model_target('large.zip', 'tmp', large.save, large.load)


def test_a_model_is_kept_with_the_function_that_loads_it() -> None:
    target = model_target()
    assert target.path() == 'models/a_x.zip'
    assert not target.exists()
    target.dump(np.arange(3))
    with zipfile.ZipFile(target.path()) as archive:
        assert archive.namelist() == ['load_function.pkl', 'model.pkl.npy']
    assert list(target.load()) == [0, 1, 2]
    assert list(make_model_target('models/a.zip', 'tmp', None, None, 'x').load()) == [0, 1, 2]
    assert os.listdir('tmp') == []
    assert os.listdir('models') == ['a_x.zip']


def test_a_model_that_is_a_directory() -> None:
    def save_directory(model: dict[str, str], path: str) -> None:
        os.makedirs(os.path.join(path, 'empty'))
        for name, text in model.items():
            Path(path, name).write_text(text)

    def load_directory(path: str) -> dict[str, str]:
        assert os.listdir(os.path.join(path, 'empty')) == []
        return {file.name: file.read_text() for file in Path(path).iterdir() if file.is_file()}

    target = make_model_target('a.zip', 'tmp', save_directory, load_directory)
    target.dump({'a': '1', 'b': '2'})
    assert target.load() == {'a': '1', 'b': '2'}


def test_a_zip_can_be_removed_and_made_again() -> None:
    """gokart's `rerun=True` does nothing for zip targets: it cannot remove them."""
    target = model_target()
    target.dump(np.arange(3))
    target.remove()
    assert not target.exists()
    target.dump(np.arange(4))
    assert len(target.load()) == 4


def test_a_dump_that_fails_keeps_the_old_result() -> None:
    def fail(model: Any, path: str) -> None:
        Path(path).write_text('half')
        raise KeyboardInterrupt

    target = model_target()
    target.dump(np.arange(3))
    with pytest.raises(KeyboardInterrupt):
        make_model_target('models/a.zip', 'tmp', fail, load, 'x').dump(1)
    assert list(target.load()) == [0, 1, 2]
    assert os.listdir('tmp') == []


SLOW = """
import sys, time
from kartnb.storage.formats.models import make_model_target
def save(model, path):
    open(path, 'w').write('half')
    print('saving', flush=True)
    time.sleep(60)
make_model_target('a.zip', 'tmp', save, None).dump(1)
"""


def test_a_kill_leaves_no_zip_and_its_litter_is_swept() -> None:
    """gokart leaves a corrupt zip that counts as complete for ever."""
    writer = subprocess.Popen(
        [sys.executable, '-c', SLOW],
        stdout=subprocess.PIPE,
        env={**os.environ, 'PYTHONPATH': str(Path(__file__).parents[2])},
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == b'saving\n'
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    assert len(os.listdir('tmp')) == 1
    target = make_model_target('a.zip', 'tmp', save, load)
    assert not target.exists()
    target.dump(np.arange(2))
    assert list(target.load()) == [0, 1]
    assert os.listdir('tmp') == []


def test_users_of_one_model_do_not_share_a_directory() -> None:
    """gokart's temporary directory is named by the path alone: two processes break each other."""
    target = model_target()
    target.dump(np.zeros(10_000))
    failures: list[BaseException] = []

    def use(value: int) -> None:
        try:
            for _ in range(10):
                model_target().dump(np.full(10_000, value))
                assert len(set(model_target().load())) == 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=use, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert os.listdir('tmp') == []


def test_a_load_function_of_a_notebook_keeps_its_imports(notebook: Notebook) -> None:
    """gokart's loses them in another process."""
    notebook.run(
        'import json, os\n'
        'SUFFIX = ".json"\n'
        'def save(model, path): json.dump(model, open(path + SUFFIX, "w"))\n'
        'def load(path): return json.load(open(path + SUFFIX))\n'
    )
    save_it, load_it = notebook['save'], notebook['load']
    make_model_target('a.zip', 'tmp', save_it, load_it).dump([1, 2])  # type: ignore[arg-type]
    script = "from kartnb.storage.formats.models import *\nprint(make_model_target('a.zip', 'tmp', None, None).load())"
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', script],
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(Path(__file__).parents[2])},
    )
    assert done.stdout == '[1, 2]\n', done.stderr


def test_large_frames_keep_the_order_of_their_rows() -> None:
    """gokart reads the pieces in the order of the directory."""
    frame = pd.DataFrame({'n': np.arange(3000), 's': [f'row {i}' for i in range(3000)]})
    target = large_target()
    target.dump(frame)
    with zipfile.ZipFile(target.path()) as archive:
        assert len(archive.namelist()) == 50
    pd.testing.assert_frame_equal(target.load(), frame)


@pytest.mark.parametrize('max_byte', [8, 100, 2**26])
@pytest.mark.parametrize('name', frames())
def test_large_frames_of_every_kind(name: str, max_byte: int) -> None:
    frame = frames()[name]
    target = large_target(max_byte)
    target.dump(frame)
    pd.testing.assert_frame_equal(target.load(), frame)


def test_a_large_frame_is_a_frame() -> None:
    with pytest.raises(WrongValueError, match='takes a pandas DataFrame, not list'):
        large_target().dump([1])
    assert not Path('large.zip').exists()


def test_a_missing_piece_is_noticed() -> None:
    target = large_target(100)
    target.dump(pd.DataFrame({'n': np.arange(100)}))
    with zipfile.ZipFile(target.path()) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if name != 'data_3.pkl'}
    with zipfile.ZipFile(target.path(), 'w') as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(UnreadableResultError, match=r'large\.zip'):
        target.load()


def test_a_damaged_zip_is_named() -> None:
    target = model_target()
    target.dump(np.arange(3))
    data = Path(target.path()).read_bytes()
    for damaged in (data[: len(data) // 2], b'no zip', b''):
        Path(target.path()).write_bytes(damaged)
        with pytest.raises(UnreadableResultError, match=r'models/a_x\.zip cannot be read.*rerun=True'):
            target.load()
    assert os.listdir('tmp') == []


def test_members_cannot_leave_their_directory() -> None:
    target = model_target()
    target.dump(np.arange(3))
    with zipfile.ZipFile(target.path(), 'a') as archive:
        archive.writestr('../../escaped.txt', 'x')
    target.load()
    assert not list(Path().rglob('../escaped.txt'))
    assert sorted(os.listdir()) == ['models', 'tmp']


def test_an_error_of_the_load_function_is_the_users() -> None:
    def fail(path: str) -> Any:
        raise ZeroDivisionError

    model_target().dump(np.arange(3))
    with pytest.raises(ZeroDivisionError):
        make_model_target('models/a.zip', 'tmp', save, fail, 'x').load()


def test_a_missing_model_and_a_missing_save_function() -> None:
    with pytest.raises(FileNotFoundError, match=r'models/a_x\.zip does not exist'):
        model_target().load()
    with pytest.raises(TypeError, match='without a save_function'):
        make_model_target('a.zip', 'tmp', None, load).dump(1)


def test_a_temporary_directory_that_cannot_be_made() -> None:
    Path('tmp').write_text('')
    with pytest.raises(StorageError, match='tmp'):
        model_target().dump(np.arange(3))


def test_a_model_target_is_a_plain_file() -> None:
    target = ModelTarget('a.zip', 'tmp/a', load, save)
    assert target.is_plain_file
    assert repr(target) == "ModelTarget('a.zip')"


def test_a_file_that_the_save_function_did_not_write_is_named() -> None:
    target = make_model_target('a.zip', 'tmp', lambda model, path: None, load, 'x')
    target.dump(np.arange(3))
    with pytest.raises(
        UnreadableResultError, match=r"a_x\.zip has no 'model\.pkl\.npy', which its load function reads"
    ):
        target.load()
