"""A shell in this process for what is quick, a real kernel for what only a real kernel shows."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell
from luigi.task_register import Register
from traitlets.config import Config

from tests.notebook.kernel import Kernel, running_kernel

Run = Callable[[str], str]


@pytest.fixture
def bare_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    """Return a text shell without the extension; the process is afterwards as it was."""
    monkeypatch.setenv('IPYTHONDIR', str(tmp_path / 'ipython'))
    monkeypatch.setitem(sys.modules, '__main__', sys.modules['__main__'])
    monkeypatch.setattr(sys, 'excepthook', sys.excepthook)
    # IPython leaves `_` alone where Python has one, and a doctest that ran before leaves one
    monkeypatch.delattr(builtins, '_', raising=False)
    registered, names = list(Register._reg), set(vars(builtins))
    config = Config(InteractiveShell={'colors': 'nocolor'}, HistoryManager={'enabled': False})
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=config)
    yield shell
    InteractiveShell.clear_instance()
    Register._reg[:] = registered
    for name in set(vars(builtins)) - names:
        delattr(builtins, name)


@pytest.fixture
def shell(bare_shell: InteractiveShell) -> Iterator[InteractiveShell]:
    """Return a text shell with the extension loaded."""
    bare_shell.run_line_magic('load_ext', 'kartnb')
    yield bare_shell
    bare_shell.run_line_magic('unload_ext', 'kartnb')


@pytest.fixture
def run(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a cell and give all that it printed, on both streams."""

    def run_cell(code: str) -> str:
        capsys.readouterr()
        shell.run_cell(code, store_history=True)
        printed = capsys.readouterr()
        return printed.out + printed.err

    return run_cell


@pytest.fixture(scope='module')
def module_kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """Share one kernel among all tests of a module; use `kernel`, which cleans up between them."""
    place = tmp_path_factory.mktemp('kernel')
    (place / 'work').mkdir()
    with running_kernel(place, place / 'work') as kernel:
        kernel.ok('%load_ext kartnb')
        yield kernel


@pytest.fixture
def kernel(module_kernel: Kernel, tmp_path: Path) -> Kernel:
    """Return a kernel in a new directory, with the extension loaded and nothing defined by earlier tests."""
    module_kernel.ok('%reset -f')
    module_kernel.ok(f'import os; os.chdir({str(tmp_path)!r}); del os')
    return module_kernel
