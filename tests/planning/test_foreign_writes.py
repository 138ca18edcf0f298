"""Results that another program modifies under their records: noticed, used as they are, and never a storm of runs."""

from __future__ import annotations

import os
import pickle
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import kartnb
from kartnb.config import set_session_policy
from kartnb.storage.filesystem import _Local
from tests.planning.notebook import Notebook, forget_classes

CELL = """
class Load(kartnb.TaskOnKart):
    def run(self):
        ran.append('Load')
        self.dump('one')

class Train(kartnb.TaskOnKart):
    def requires(self):
        return Load()

    def run(self):
        ran.append('Train')
        self.dump(self.load() * 2)

class Ask(kartnb.TaskOnKart):
    def run(self):
        given = yield Train()
        ran.append('Ask')
        self.dump(given.load() + '!')
"""
GOKART = """
import sys
import gokart
class Load(gokart.TaskOnKart):
    def run(self):
        self.dump(sys.argv[1])
gokart.build(Load(rerun=True), log_level=50)
"""


@pytest.fixture
def notebook() -> Iterator[Notebook]:
    """Return a notebook with two tasks; afterwards it is forgotten."""
    made = Notebook()
    made.run(CELL)
    yield made
    forget_classes()
    set_session_policy('')


def _states(task: Any, **options: Any) -> dict[str, str]:
    return {node.name: f'{node.state} {node.why}'.strip() for node in kartnb.plan(task, **options)}


def _overwrite(task: Any, value: Any) -> Path:
    """Write a result as any program would; gives its path."""
    path = Path(task.output().path())
    before = path.stat().st_mtime_ns
    while path.stat().st_mtime_ns == before:
        path.write_bytes(pickle.dumps(value))
    return path


def _build(notebook: Notebook, name: str = 'Train') -> tuple[Any, list[str]]:
    value = kartnb.build(notebook[name]())
    return value, notebook.taken()


FOREIGN = 'cached modified outside kartnb; using the file as it is'


def test_gokart_runs_a_task_again(notebook: Notebook, capfd: pytest.CaptureFixture[str]) -> None:
    _build(notebook)
    for value in ('two', 'two', 'six'):  # of one size
        command = [sys.executable, '-W', 'ignore', '-c', GOKART, value]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        capfd.readouterr()
        if value == 'two' and _states(notebook['Train']())['Load'] == 'cached':
            assert _build(notebook) == ('twotwo', []), 'gokart wrote the same again'
            continue
        assert _states(notebook['Train']()) == {
            'Load': FOREIGN,
            'Train': 'stale made from an older upstream result: Load',
        }
        assert _build(notebook) == (value * 2, ['Train'])
        assert 'Modified outside kartnb; using the files as they are: Load.' in capfd.readouterr().err
        assert _states(notebook['Train']()) == {'Load': 'cached', 'Train': 'cached'}
    runs = kartnb.Workspace().runs('Load')
    assert [run.record.state for run in runs if run.record] == ['adopted']


def test_what_was_asked_for_while_a_task_ran(notebook: Notebook) -> None:
    assert _build(notebook, 'Ask') == ('oneone!', ['Load', 'Train', 'Ask'])
    _overwrite(notebook['Train'](), 'mine')
    assert _states(notebook['Ask']()) == {'Ask': 'stale made from an older upstream result: Train'}
    assert _build(notebook, 'Ask') == ('mine!', ['Ask'])
    assert _build(notebook, 'Ask') == ('mine!', [])
    _overwrite(notebook['Load'](), 'x')
    assert _build(notebook, 'Ask') == ('xx!', ['Train', 'Ask'])


def test_a_code_change_after_it_is_noticed(notebook: Notebook) -> None:
    _build(notebook)
    _overwrite(notebook['Load'](), 'x')
    assert 'was modified since' in kartnb.Workspace().run(notebook['Load']()).error
    assert _build(notebook) == ('xx', ['Train'])
    assert [run.error for run in kartnb.Workspace().runs()] == ['', '', '']
    notebook.run(CELL.replace("'one'", "'two'"))
    assert _build(notebook) == ('twotwo', ['Load', 'Train'])


def test_what_another_program_wrote_is_kept_when_it_is_replaced(notebook: Notebook) -> None:
    _build(notebook)
    _overwrite(notebook['Load'](), 'mine')
    assert kartnb.build(notebook['Load'](), rerun=True) == 'one'
    assert 'is restored' in str(kartnb.restore_result(notebook['Load']()))
    assert kartnb.build(notebook['Load']()) == 'mine'
    _overwrite(notebook['Load'](), 'late')
    kartnb.restore_result(notebook['Load']())
    assert kartnb.build(notebook['Load']()) == 'one'
    kartnb.restore_result(notebook['Load']())
    assert kartnb.build(notebook['Load']()) == 'late'


def test_nothing_is_compared_where_that_is_said(notebook: Notebook) -> None:
    _build(notebook)
    _overwrite(notebook['Load'](), 'x')
    assert _states(notebook['Train'](), on_code_change='ignore') == {'Load': 'cached', 'Train': 'cached'}


def _copied(source: str, target: str) -> None:
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    files = [path for path in Path(target).rglob('*') if path.is_file()]
    random.Random(1).shuffle(files)
    for number, path in enumerate(files):
        os.utime(path, ns=(number * 10**9, 10**18 + number * 10**9))


def _touched(source: str, target: str) -> None:
    os.rename(source, target)
    for path in Path(target).rglob('Load*.pkl'):
        os.utime(path)


def _times_of_old_disks(source: str, target: str) -> None:
    os.rename(source, target)
    for path in Path(target).rglob('*'):
        os.utime(path, (path.stat().st_mtime // 2 * 2,) * 2)


def _cp(source: str, target: str) -> None:
    subprocess.run(['cp', '-r', source, target], check=True)


def _kept_times(source: str, target: str) -> None:
    shutil.copytree(source, target)


COPIES = (_cp, _copied, _kept_times, _times_of_old_disks)


# of a large file only the two ends are compared, so that one which was touched counts as written again
@pytest.mark.parametrize('copy, letters', [(_touched, 3), *((copy, size) for copy in COPIES for size in (3, 400_000))])
def test_copies_and_touched_files_are_what_they_were(
    copy: Callable[[str, str], None], letters: int, notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook.run(CELL.replace("'one'", f"'x' * {letters}"))
    _build(notebook, 'Ask')
    _build(notebook)
    copy('resources', 'elsewhere')
    os.rename('elsewhere', 'copied')
    monkeypatch.chdir(_in_place('copied'))
    for name in ('Train', 'Ask'):
        assert set(_states(notebook[name]()).values()) == {'cached'}
        assert _build(notebook, name)[1] == []
    seen = _Local.seen

    def refuse(self: Any, path: str) -> Any:
        raise AssertionError(f'{path} was opened')

    monkeypatch.setattr(_Local, 'seen', refuse)
    assert set(_states(notebook['Train']()).values()) == {'cached'}
    monkeypatch.setattr(_Local, 'seen', seen)
    _overwrite(notebook['Load'](), 'y' * letters)
    assert _build(notebook) == ('y' * letters * 2, ['Train'])


def _in_place(workspace: str) -> str:
    """A directory that has the workspace in the usual place."""
    os.makedirs('other')
    os.rename(workspace, 'other/resources')
    return 'other'


def test_a_large_result_that_differs_in_its_middle_only(notebook: Notebook) -> None:
    notebook.run(CELL.replace("'one'", "'x' * 1_000_000"))
    _build(notebook)
    path = Path(notebook['Load']().output().path())
    content = path.read_bytes()
    path.write_bytes(content[:500_000] + b'y' + content[500_001:])
    os.utime(path, (path.stat().st_mtime + 60,) * 2)
    assert _states(notebook['Train']())['Load'] == FOREIGN


def test_a_workspace_elsewhere(notebook: Notebook) -> None:
    class Base(kartnb.TaskOnKart):
        workspace_directory = kartnb.luigi.Parameter('memory://foreign/writes', significant=False)

    notebook.run(CELL.replace('kartnb.TaskOnKart', 'Base'), {'Base': Base})
    _build(notebook)
    assert _build(notebook) == ('oneone', [])
    notebook['Load']().output().dump('six')
    assert _states(notebook['Train']())['Load'] == FOREIGN
    assert _build(notebook) == ('sixsix', ['Train'])
    assert _build(notebook) == ('sixsix', [])


def test_a_record_that_was_made_without_marks_is_believed(notebook: Notebook) -> None:
    _build(notebook)
    [record] = Path('resources/log/run_record').rglob('Load*.json')
    record.rename(record.with_name(re.sub('-f[0-9a-f]+-c', '-c', record.name)))
    _overwrite(notebook['Load'](), 'x')
    assert _states(notebook['Train']()) == {'Load': 'cached', 'Train': 'cached'}


KILLED = """
import os, sys, kartnb
class Steps(kartnb.TaskOnKart):
    def run(self):
        self.dump('half')
        if sys.argv[1] == 'die':
            os._exit(9)
        self.dump('whole')
print(kartnb.build(Steps(), rerun=sys.argv[1] == 'die'), kartnb.plan(Steps()).to_run())
"""


def test_what_a_run_was_to_replace_that_was_killed_is_there_again() -> None:
    Path('steps.py').write_text(KILLED)

    def run(word: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, 'steps.py', word], capture_output=True, text=True, timeout=60)

    assert run('live').stdout == 'whole ()\n'
    assert run('die').returncode == 9
    again = run('live')
    assert (again.stdout, again.stderr) == ('whole ()\n', '')
    assert not list(Path('resources').rglob('*~running*'))
    assert not list(Path('resources/log/superseded').glob('*'))


def test_a_failed_run_leaves_what_was_there_with_its_time(notebook: Notebook) -> None:
    _build(notebook)
    notebook.run(CELL.replace("self.dump('one')", "self.dump('bad'); 1 / 0"))
    with pytest.raises(kartnb.GokartBuildError):
        _build(notebook)
    notebook.run(CELL)
    notebook.taken()
    assert _build(notebook) == ('oneone', [])
    assert set(_states(notebook['Train']()).values()) == {'cached'}
