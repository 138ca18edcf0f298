"""Two notebooks in one folder share the directory of results, and leave each other's results alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from kartnb.history import makers
from tests.notebook.kernel import ROOT, Kernel, running_kernel

Open = Callable[[str], Kernel]

TASKS = """%%kart
class Load(TaskOnKart):
    n = luigi.IntParameter(default=1)
    def run(self):
        self.dump({code})

class Train(TaskOnKart):
    n = luigi.IntParameter(default=1)
    def requires(self):
        return Load(n=self.n)
    def run(self):
        self.dump(self.load())
"""


@pytest.fixture
def open_notebook(tmp_path: Path) -> Iterator[Open]:
    """Start the kernel of a notebook as Jupyter's server does; all are in one folder."""
    folder = tmp_path / 'work'
    folder.mkdir()
    with ExitStack() as kernels:

        def start(name: str) -> Kernel:
            file = folder / name
            file.touch()
            place = tmp_path / f'settings-{name}'
            kernel = kernels.enter_context(running_kernel(place, folder, JPY_SESSION_NAME=str(file)))
            kernel.ok('%load_ext kartnb')
            return kernel

        yield start


def _makers(folder: Path) -> set[str]:
    records = [json.loads(path.read_text()) for path in (folder / 'resources/log/run_record').rglob('*~r*.json')]
    return {os.path.basename(record['notebook']) for record in records}


def test_a_worker_of_a_kernel_without_a_file_has_the_name_of_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, 'argv', ['/usr/lib/ipykernel_launcher.py', '-f', '/run/kernel-0a1b2c3d-4e5f.json'])
    monkeypatch.setattr(sys, 'modules', {name: module for name, module in sys.modules.items() if name != 'ipykernel'})
    assert makers._session.__wrapped__() == 'kernel 0a1b2c3d'


def test_a_notebook_speaks_of_its_own_results(open_notebook: Open) -> None:
    report, other = open_notebook('report.ipynb'), open_notebook('other.ipynb')
    report.ok(TASKS.format(code='self.n'))
    report.ok('for n in range(3):\n    kartnb.build(Train(n=n))')
    card = other.ok(TASKS.format(code='self.n + 10')).html[0]
    assert 'Other code made results of report.ipynb (6): building the same tasks here replaces them.' in card
    assert 'Makes ' not in card
    other.ok('kartnb.build([Train(n=n) for n in (7, 8)][0])\nkartnb.build(Train(n=8))')
    shown = other.ok('%kart_clean Train(n=8)').value or ''
    assert shown.startswith('2 entries can be removed')
    assert '6 results of report.ipynb are left alone: --all (everything=True) includes them' in shown
    assert 'made by' not in shown
    everything = other.ok('%kart_clean Train(n=8) --all')
    assert (everything.value or '').count('report.ipynb') == 6
    assert everything.html[0].count('report.ipynb') == 6
    assert 'left alone' not in everything.html[0]
    other.ok('%kart_clean Train(n=8) --remove')
    assert report.ok('[Train(n=n).complete() for n in range(3)]').value == '[True, True, True]'
    changed = other.ok(TASKS.format(code='self.n + 11')).html[0]
    assert 'Makes 2 results stale: ' in changed
    other.ok('%kart_clean Train(n=8) --all --remove')
    assert report.ok('[Train(n=n).complete() for n in range(3)]').value == '[False, False, False]'


def test_what_another_notebook_uses_stays(open_notebook: Open) -> None:
    report, other = open_notebook('report.ipynb'), open_notebook('other.ipynb')
    report.ok(TASKS.format(code='self.n'))
    report.ok('kartnb.build(Load(n=1)); kartnb.build(Load(n=2))')
    other.ok(TASKS.format(code='self.n'))
    other.ok('kartnb.build(Train(n=1))')
    shown = report.ok('%kart_clean Load(n=3) --remove').value or ''
    assert shown.startswith('Removed 1 entry')
    assert '1 result of other.ipynb and 1 result that other.ipynb uses are left alone' in shown
    assert other.ok('%kart_build Train(n=1)').value == '1'
    assert 'Makes 2 results stale: ' in other.ok(TASKS.format(code='self.n + 1')).html[0], 'what it uses counts too'


def test_a_notebook_that_was_renamed_or_moved_keeps_its_results(open_notebook: Open, tmp_path: Path) -> None:
    for way in ('renamed', 'moved'):
        before = open_notebook(f'{way}.ipynb')
        before.ok(TASKS.format(code='self.n'))
        before.ok(f'kartnb.build(Load(n={len(way)}))')
    work = tmp_path / 'work'
    (work / 'renamed.ipynb').rename(work / 'analysis.ipynb')
    (work / 'moved.ipynb').unlink()
    after = open_notebook('analysis.ipynb')
    after.ok(TASKS.format(code='self.n'))
    shown = after.ok('%kart_clean Load(n=1)').value or ''
    assert 'n=7' in shown
    assert '1 result of moved.ipynb is left alone' in shown
    (work / 'deeper').mkdir()
    moved = open_notebook('deeper/moved.ipynb')
    moved.ok(f'import os; os.chdir({str(work)!r})')
    moved.ok(TASKS.format(code='self.n'))
    shown = moved.ok('%kart_clean Load(n=1)').value or ''
    assert 'n=5' in shown
    assert '1 result of renamed.ipynb is left alone' in shown


@pytest.mark.parametrize('options', ['', '--workers 2', '--executor threads', '--background'])
def test_every_executor_knows_whose_build_it_is(options: str, open_notebook: Open, tmp_path: Path) -> None:
    kernel = open_notebook('report.ipynb')
    kernel.ok(TASKS.format(code='self.n'))
    kernel.ok(f'done = %kart_build {options} Train(n=1)\ngetattr(done, "wait", int)()')
    assert _makers(tmp_path / 'work') == {'report.ipynb'}


def test_a_front_end_without_names_gives_each_kernel_its_own(tmp_path: Path) -> None:
    with running_kernel(tmp_path / 'one', tmp_path) as one, running_kernel(tmp_path / 'two', tmp_path) as two:
        for kernel in (one, two):
            kernel.ok('%load_ext kartnb')
            kernel.ok(TASKS.format(code='self.n'))
        one.ok('kartnb.build(Load(n=1)); kartnb.build(Load(n=2))')
        shown = two.ok('%kart_clean Load(n=1)').value or ''
        assert 'Nothing to remove' in shown
        assert '1 result of kernel ' in shown
        # as VS Code does when it starts a kernel
        two.ok('__vsc_ipynb_file__ = "/somewhere/report.ipynb"')
        two.ok('kartnb.build(Load(n=3))')
    assert 'report.ipynb' in _makers(tmp_path)


SCRIPT = """
import kartnb
class Number(kartnb.TaskOnKart):
    def run(self):
        self.dump(1)
if __name__ == '__main__':
    kartnb.{call}
"""


@pytest.mark.parametrize(
    'command, call, maker',
    [
        (['fit.py'], 'build(Number())', 'fit.py'),
        (['fit.py'], 'build(Number(), workers=2)', 'fit.py'),
        (['-m', 'fit'], 'build(Number())', 'fit.py'),
        (['fit.py', 'Number', '--local-scheduler'], 'run()', 'fit.py'),
        (['-c', 'import fit, kartnb; kartnb.build(fit.Number())'], '', 'python -c'),
        (['-m', 'IPython', '-c', 'import fit, kartnb; kartnb.build(fit.Number())'], '', 'ipython'),
        (['-m', 'IPython', 'fit.py'], 'build(Number())', 'fit.py'),
    ],
)
def test_scripts_and_sessions_have_names(command: list[str], call: str, maker: str, tmp_path: Path) -> None:
    (tmp_path / 'fit.py').write_text(SCRIPT.format(call=call or '__name__'))
    inherited = {name: value for name, value in os.environ.items() if name != 'KARTNB_NOTEBOOK'}
    own = {'PYTHONPATH': str(ROOT), 'IPYTHONDIR': str(tmp_path / 'ipython')}
    done = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, env={**inherited, **own}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert _makers(tmp_path) == {maker}
