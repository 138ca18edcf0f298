"""Loading adds the magics once; unloading leaves the shell and the process as they were."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

import kartnb
from kartnb import display
from kartnb.errors import KartError
from kartnb.notebook.extension import load_ipython_extension, unload_ipython_extension
from tests.notebook.conftest import Run
from tests.notebook.kernel import Kernel


def _state(shell: InteractiveShell) -> dict[str, Any]:
    """Everything that an extension can add to."""
    return {
        'registry': dict(shell.magics_manager.registry),
        'line': dict(shell.magics_manager.magics['line']),
        'cell': dict(shell.magics_manager.magics['cell']),
        'matchers': list(shell.Completer.custom_matchers),
        'events': {name: list(callbacks) for name, callbacks in shell.events.callbacks.items()},
        'configurables': list(shell.configurables),
        'names': dict(shell.user_ns),
        'hidden': dict(shell.user_ns_hidden),
        'transformers': [list(shell.input_transformers_cleanup), list(shell.input_transformers_post)],
        'ast': list(shell.ast_transformers),
        'exceptions': shell.custom_exceptions,
        'front ends': list(display.front_ends),
        'errors': dict(vars(KartError)),
        'excepthook': sys.excepthook,
    }


def test_unloading_leaves_nothing_behind(bare_shell: InteractiveShell) -> None:
    before = _state(bare_shell)
    load_ipython_extension(bare_shell)
    loaded = _state(bare_shell)
    assert {name for name in before if before[name] != loaded[name]} == {
        'registry', 'line', 'cell', 'matchers', 'events', 'configurables', 'front ends', 'errors',
    }  # fmt: skip
    unload_ipython_extension(bare_shell)
    assert _state(bare_shell) == before


def test_loading_twice_is_loading_once(bare_shell: InteractiveShell) -> None:
    load_ipython_extension(bare_shell)
    loaded = _state(bare_shell)
    load_ipython_extension(bare_shell)
    assert _state(bare_shell) == loaded
    unload_ipython_extension(bare_shell)
    unload_ipython_extension(bare_shell)
    assert 'kart_build' not in bare_shell.magics_manager.magics['line']


def test_a_magic_of_the_users_own_comes_back(bare_shell: InteractiveShell) -> None:
    bare_shell.register_magic_function(lambda line: 'mine', 'line', 'kart_graph')
    load_ipython_extension(bare_shell)
    unload_ipython_extension(bare_shell)
    assert bare_shell.run_line_magic('kart_graph', '') == 'mine'


def test_what_is_added_after_loading_stays_after_unloading(shell: InteractiveShell) -> None:
    shell.register_magic_function(lambda line: 'later', 'line', 'kart_mine')
    unload_ipython_extension(shell)
    assert shell.run_line_magic('kart_mine', '') == 'later'


def test_reloading_keeps_what_the_session_made(run: Run) -> None:
    run(
        '%%kart\nclass Kept(TaskOnKart):\n    p = luigi.Parameter()\n'
        '    def run(self):\n        self.dump(luigi.__name__)'
    )
    run('%reload_ext kartnb')
    assert "'luigi'" in run("%kart_build Kept(p='x')")


def test_config_lists_the_settings(run: Run) -> None:
    assert 'KartMagics.log_level' in run('%config KartMagics')
    run('%config KartMagics.log_level = "INFO"')
    run('%%kart\nclass Chatty(TaskOnKart):\n    def run(self):\n        self.dump(1)')
    assert 'INFO: kartnb' in run('%kart_build Chatty()')


def test_config_refuses_an_unknown_level(run: Run, shell: InteractiveShell, caplog: pytest.LogCaptureFixture) -> None:
    run('%config KartMagics.log_level = "LOUD"')
    assert "expected any of ['DEBUG', 'INFO'" in caplog.text
    assert shell.run_line_magic('config', 'KartMagics.log_level') == 'ERROR'


def test_the_magics_explain_themselves(run: Run) -> None:
    for magic, word in {'%kart_build': '--log-level', '%%kart': 'new or changed', '%kart_graph': 'run nothing'}.items():
        assert word in run(f'{magic}?')


def test_public_names_are_the_extension() -> None:
    assert kartnb.load_ipython_extension is load_ipython_extension
    assert kartnb.unload_ipython_extension is unload_ipython_extension


def test_a_shell_without_widgets_has_everything_as_text(tmp_path: Path) -> None:
    cells = [
        '%load_ext kartnb',
        (
            '%%kart\nclass Half(TaskOnKart):\n    n = luigi.IntParameter()\n'
            '    def run(self):\n        self.dump({"score": self.n / 2})'
        ),
        '%kart_graph Half(n=1)',
        '%kart_build Half(n=1)',
        '%kart_sweep Half n=1:3 --metric score',
        '%kart_sweep Half n=1:3 --metric score --background',
        '_.result()',
        '%kart_output Half(n=1)',
        '%kart_log Half(n=1)',
    ]
    code = f"""
import sys
sys.modules.update(anywidget=None, ipywidgets=None)
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance(colors='nocolor')
for cell in {cells!r}:
    assert shell.run_cell(cell, store_history=True).success, cell
"""
    environment = {**os.environ, 'PYTHONPATH': str(Path(__file__).parents[2]), 'IPYTHONDIR': str(tmp_path / 'ipython')}
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'best score: 1.5 with n=3' in done.stdout


def test_loading_in_a_running_kernel_is_quick(kernel: Kernel, record_property: Callable[[str, object], None]) -> None:
    """Everything is imported anew, as in a kernel that has imported what kartnb depends on."""
    kernel.ok('%unload_ext kartnb')
    kernel.ok('import sys; [sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "kartnb"]')
    # what the machine is worth just now: the time that it takes to compile so many lines
    kernel.ok(
        'from time import process_time as now\n'
        'start = now(); _ = compile("a = [b + 1 for b in c]\\n" * 4_000, "", "exec")'
    )
    kernel.ok('unit = now() - start; start = now()\n%load_ext kartnb\nspent = now() - start')
    unit, spent = (float(kernel.ok(name).value or 'nan') for name in ('unit', 'spent'))
    record_property('measured', f'%load_ext kartnb in a running kernel: {1000 * spent:.0f} ms CPU')
    assert spent < unit, (spent, unit)
