"""`restore_result` of runs whose tasks cannot be planned any more: the files come back by their records."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import kartnb
from kartnb.history.runs import Run
from kartnb.storage.run_records import RecordDirectory
from tests.task.cells import Notebook

TASKS = """
class {upstream}(kartnb.TaskOnKart):
    def run(self):
        self.dump(10)


class Report(kartnb.TaskOnKart):
    step = luigi.IntParameter(default=1)

    def requires(self):
        return Upstream()

    def output(self):
        return {{'sum': self.make_target('sum.pkl'), 'text': self.make_target('text.txt')}}

    def run(self):
        self.dump(self.load() + {more}, 'sum')
        self.dump('report', 'text')
"""
#: Each test has classes of a module of its own, which no other has defined in this process.
MODULES = [f'reports_to_restore_{number}' for number in range(7)]


def _notebook(module: str, upstream: str = 'Upstream', tasks: str = TASKS, more: int = 1) -> Notebook:
    notebook = Notebook(module)
    notebook.run(tasks.format(upstream=upstream, more=more))
    return notebook


def _make_workspaces() -> None:
    for module in MODULES:
        Path(module).mkdir()
        with contextlib.chdir(module):
            for more in (0, 1):
                kartnb.build(_notebook(module, more=more).Report(), on_code_change='rerun')


@pytest.fixture(scope='module')
def workspaces(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """Workspaces that another process has left: here the classes of their tasks are not defined."""
    directory = tmp_path_factory.mktemp('workspaces')
    code = 'from tests.inspection.test_restore import _make_workspaces; _make_workspaces()'
    path = {**os.environ, 'PYTHONPATH': str(repository)}
    subprocess.run([sys.executable, '-c', code], cwd=directory, env=path, check=True, timeout=120)
    return directory


def _replaced(workspaces: Path, module: str) -> Run:
    shutil.copytree(workspaces / module / 'resources', 'resources')
    return _superseded()


def _superseded(workspace: str | None = None) -> Run:
    [run] = kartnb.Workspace(workspace).runs('Report', state='superseded')
    return run


def _present() -> Any:
    [run] = kartnb.Workspace().runs('Report', state='cached')
    return run.load()


def test_the_upstream_class_is_gone(workspaces: Path) -> None:
    run = _replaced(workspaces, MODULES[0])
    _notebook(MODULES[0], 'Renamed')
    done = str(kartnb.restore_result(run))
    assert f'result {run.result_id} is restored' in done
    assert "name 'Upstream' is not defined" in done
    assert f"load('{run.result_id}') gives the value" in done
    assert kartnb.Workspace().load(run.result_id) == [10, ['report']]
    # and back again: what was there is kept in its turn
    again = kartnb.restore_result(_superseded())
    assert again.replaced == run.result_id
    assert _present() == [11, ['report']]


def test_the_class_itself_is_gone(workspaces: Path) -> None:
    run = _replaced(workspaces, MODULES[1])
    done = str(kartnb.restore_result(run))
    assert 'The class Report is not defined here' in done
    assert _present() == [10, ['report']]
    # where the classes are back with the code of then, nothing has to run
    report = _notebook(MODULES[1], more=0).Report()
    assert kartnb.plan(report, on_code_change='rerun').to_run() == ()
    assert kartnb.build(report) == {'sum': 10, 'text': ['report']}


def test_the_class_has_another_id_now(workspaces: Path) -> None:
    run = _replaced(workspaces, MODULES[2])
    _notebook(
        MODULES[2], tasks=TASKS.replace('step = luigi.IntParameter(default=1)', 'pace = luigi.IntParameter(default=1)')
    )
    assert 'the definition of Report has changed' in str(kartnb.restore_result(run))
    assert kartnb.Workspace().load(run.result_id) == [10, ['report']]


def test_a_workspace_that_was_copied(workspaces: Path) -> None:
    _replaced(workspaces, MODULES[3])
    shutil.copytree('resources', 'elsewhere')
    kartnb.restore_result(_superseded('elsewhere'))
    [run] = kartnb.Workspace('elsewhere').runs('Report', state='cached')
    assert run.load() == [10, ['report']]
    assert _present() == [11, ['report']], 'the original is as it was'


def test_a_result_that_was_modified_outside_is_not_lost(workspaces: Path) -> None:
    run = _replaced(workspaces, MODULES[4])
    [text] = Path('resources').rglob('text_*.txt')
    text.write_text('by hand, and longer')
    with pytest.raises(kartnb.StorageError, match='was modified outside kartnb, and would be lost'):
        kartnb.restore_result(run)
    assert text.read_text() == 'by hand, and longer'
    text.unlink()
    kartnb.restore_result(run)
    assert text.read_text() == 'report'


def test_a_record_that_names_files_outside_the_workspace_restores_nothing(workspaces: Path) -> None:
    run = _replaced(workspaces, MODULES[5])
    [manifest] = Path('resources/log/superseded').rglob('superseded.json')
    content = json.loads(manifest.read_text())
    for name in (str(Path.cwd() / 'secret.txt'), './resources/../secret.txt'):
        content['files'][1][0] = name
        manifest.write_text(json.dumps(content))
        with pytest.raises(kartnb.StorageError, match='outside the workspace'):
            kartnb.restore_result(run)
    assert not Path('secret.txt').exists()


def test_a_task_that_is_being_run_is_left_alone(workspaces: Path) -> None:
    run = _replaced(workspaces, MODULES[6])
    lock: Any = RecordDirectory('resources', MODULES[6]).slot(f'Report_{run.unique_id}').lock('abc')
    try:
        with pytest.raises(kartnb.StorageError, match='is being run by'):
            kartnb.restore_result(run)
    finally:
        lock.release()
    kartnb.restore_result(run)
    with pytest.raises(kartnb.StorageError, match='is not kept any more'):
        kartnb.restore_result(run)
