"""`accept`: results are kept although their code has changed, and their records say who decided it and why."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import kartnb
from kartnb.errors import OutdatedResultError, TaskArgumentError
from kartnb.history.makers import commit_at
from kartnb.history.run_record import RunRecord
from tests.task.cells import Notebook

CELL = """
class Rows(kartnb.TaskOnKart):
    n = luigi.IntParameter(default=1)

    def run(self):
        self.dump({rows})

class Fit(kartnb.TaskOnKart):
    n = luigi.IntParameter(default=1)

    def requires(self):
        return Rows(n=self.n)

    def run(self):
        self.dump({fit})
"""


def _notebook(rows: str = 'self.n', fit: str = 'self.load() + 1') -> Notebook:
    notebook = Notebook()
    notebook.run(CELL.format(rows=rows, fit=fit))
    return notebook


def _record(name: str) -> RunRecord:
    [path] = Path('resources/log/run_record').rglob(f'{name}_*~r*.json')
    return RunRecord.from_json(path.read_text())


def _to_run(task: Any) -> list[str]:
    return [node.name for node in kartnb.plan(task, on_code_change='rerun').to_run()]


def test_an_accepted_result_counts_as_one_of_the_present_code() -> None:
    kartnb.build(_notebook().Fit())
    notebook = _notebook(fit='1 + self.load()')
    assert _to_run(notebook.Fit()) == ['Fit']
    done = kartnb.accept(notebook.Fit(), why='the sum\nis the same')
    assert str(done).startswith('Accepted as results of the present code: Fit[')
    assert kartnb.build(notebook.Fit(), on_code_change='rerun') == 2
    assert _to_run(notebook.Fit()) == []
    assert 'the sum is the same' in str(kartnb.why(notebook.Fit()))
    assert str(kartnb.accept(notebook.Fit)) == 'Nothing was accepted: the only result of Fit was accepted before.'
    record = _record('Fit')
    assert record.accepted['why'] == 'the sum is the same'
    assert all(record.accepted[name] for name in ('user', 'when', 'code'))
    assert record.accepted['code'] != record.code
    assert _to_run(_notebook().Fit()) == [], 'nor does the code run that has made it'
    # other code is neither
    other = _notebook(fit='2 + self.load()')
    assert _to_run(other.Fit()) == ['Fit']
    assert 'the sum is the same' in str(kartnb.why(other.Fit(), on_code_change='rerun'))
    assert kartnb.build(other.Fit(), on_code_change='rerun') == 3
    assert _record('Fit').accepted == {}
    for fit in ('1 + self.load()', 'self.load() + 1'):
        assert kartnb.plan(_notebook(fit=fit).Fit(), on_code_change='rerun').to_run() == (), 'it comes back'
    assert kartnb.build(_notebook(fit='1 + self.load()').Fit(), on_code_change='rerun') == 2
    assert 'restored' not in str(kartnb.plan(_notebook().Fit()))


def test_all_results_of_a_class_that_are_stale_by_code_only() -> None:
    first = _notebook()
    for n in (1, 2, 3):
        kartnb.build(first.Fit(n=n))
    kartnb.build(_notebook(rows='self.n * 5').Rows(n=3), on_code_change='rerun')
    notebook = _notebook(rows='self.n * 5', fit='1 + self.load()')
    done = kartnb.accept(notebook.Fit, why='same')
    assert len(done.tasks) == 2
    assert len(done.left) == 1
    assert 'was made from other inputs than those of now' in str(done)
    assert kartnb.accept(notebook.Fit).tasks == ()
    assert _to_run(notebook.Fit(n=3)) == ['Fit']
    assert _to_run(notebook.Fit(n=1))[0] == 'Rows'
    assert len(kartnb.accept(notebook.Rows).tasks) == 2
    assert _to_run(notebook.Fit(n=1)) == []


def test_what_is_not_accepted_is_said() -> None:
    notebook = _notebook()
    with pytest.raises(kartnb.StorageError, match='has no recorded result to accept: build it'):
        kartnb.accept(notebook.Fit())
    assert str(kartnb.accept(notebook.Fit)) == ('Nothing was accepted: no result of Fit is recorded in ./resources/.')
    kartnb.build(notebook.Fit())
    assert 'was made by the present code' in str(kartnb.accept(notebook.Fit()))
    assert str(kartnb.accept(notebook.Fit)) == (
        'Nothing was accepted: the only result of Fit was made by the present code.'
    )
    kartnb.build(notebook.Rows(), rerun=True)
    kartnb.build(_notebook(rows='7').Rows(), on_code_change='rerun')
    assert 'other inputs' in str(kartnb.accept(_notebook(rows='7', fit='0').Fit()))
    for wrong in (3, int, 'Fit'):
        with pytest.raises(TaskArgumentError, match='accept needs a TaskOnKart'):
            kartnb.accept(wrong)  # type: ignore[arg-type]
    with pytest.raises(TaskArgumentError, match='why must be a text'):
        kartnb.accept(notebook.Fit(), why=3)  # type: ignore[arg-type]


def test_a_build_can_refuse_results_of_other_code() -> None:
    kartnb.build(_notebook().Fit())
    notebook = _notebook(rows='self.n * 2')
    with pytest.raises(OutdatedResultError, match=r'Rows \(Rows\.run\).*kartnb\.accept'):
        kartnb.build(notebook.Fit(), on_code_change='error')
    assert not kartnb.plan(notebook.Fit(), on_code_change='error').to_run()
    kartnb.accept(notebook.Rows())
    assert kartnb.build(notebook.Fit(), on_code_change='error') == 2
    report = kartnb.build(notebook.Fit(n=2), on_code_change='error')
    assert report == 5


def test_the_command_line_accepts_and_refuses(tmp_path: Path) -> None:
    module = tmp_path / 'shop_for_accept.py'

    def write(value: str) -> None:
        module.write_text(
            'import kartnb\n\n\nclass Sold(kartnb.TaskOnKart):\n    def run(self):\n'
            f'        self.dump({value})\n\n\nclass Sum(kartnb.TaskOnKart):\n    def requires(self):\n'
            '        return Sold()\n\n    def run(self):\n        self.dump(self.load())\n'
        )

    def call(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env={**os.environ, 'PYTHONPATH': f'{Path(kartnb.__file__).parents[1]}{os.pathsep}{tmp_path}'},
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout + done.stderr

    def run(*options: str) -> tuple[int, str]:
        code = f'import kartnb; kartnb.run({["Sum", "--module=shop_for_accept", "--local-scheduler", *options]!r})'
        return call('-c', code)

    write('1')
    assert run()[0] == 0
    write('2 - 1')
    code, text = run('--on-code-change=error')
    assert code
    assert 'Sold (Sold.run)' in text
    code, text = run()
    assert "1 result was kept although its code has changed (on_code_change='warn')" in text
    code, text = call('-m', 'kartnb', 'accept', 'shop_for_accept:Sold', '--why', 'the same')
    assert (code, text.startswith('Accepted as results of the present code: Sold[')) == (0, True)
    assert run('--on-code-change=error')[0] == 0
    assert call('-m', 'kartnb', 'accept', 'shop_for_accept:Nothing')[0] == 2
    assert 'no class of tasks Nothing' in call('-m', 'kartnb', 'accept', 'shop_for_accept:Nothing')[1]
    assert '2 done' in run('--rerun-from=Sold')[1]
    assert 'Nothing to rerun is called Bought' in run('--rerun-from=Sold,Bought')[1]


def _git(place: Path, *arguments: str) -> str:
    who = ['-c', 'user.name=a', '-c', 'user.email=a@b']
    return subprocess.run(
        ['git', *who, *arguments], cwd=place, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_a_record_names_user_and_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = tmp_path / 'repository'
    (repository / 'inner').mkdir(parents=True)
    _git(repository, 'init', '-q', '-b', 'main')
    assert commit_at(str(repository)) == ''
    (repository / 'file').write_text('1')
    _git(repository, 'add', '.')
    _git(repository, 'commit', '-q', '-m', 'one')
    commit = _git(repository, 'rev-parse', 'HEAD')
    assert commit_at(str(repository / 'inner')) == commit[:12]
    _git(repository, 'pack-refs', '--all')
    _git(repository, 'worktree', 'add', '-q', str(tmp_path / 'tree'), '-b', 'other')
    assert commit_at(str(tmp_path / 'tree')) == commit[:12]
    _git(repository, 'checkout', '-q', '--detach')
    (repository / 'deep').mkdir()
    assert commit_at(str(repository / 'deep')) == commit[:12]
    assert commit_at(str(tmp_path)) == ''
    monkeypatch.setenv('KARTNB_NOTEBOOK', str(repository / 'report.ipynb'))
    kartnb.build(_notebook().Rows())
    record = _record('Rows')
    assert (record.user != '', record.commit) == (True, commit[:12])
    assert f'commit {commit[:12]}' in repr(kartnb.inspect(_notebook().Rows()))
    assert kartnb.Workspace().runs()[0].commit == commit[:12]
