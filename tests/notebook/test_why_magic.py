"""`%kart_why` explains, and the policy can be set for the session."""

from __future__ import annotations

from IPython.core.interactiveshell import InteractiveShell

from kartnb.config import configured_policy
from tests.notebook.conftest import Run

CELL = """%%kart
def scaled(x):
    return x * {factor}

class Load(TaskOnKart):
    def run(self):
        self.dump(scaled(21))
"""


def test_the_reason_is_shown_and_the_policy_obeyed(run: Run) -> None:
    run(CELL.format(factor=1))
    assert 'New: no run of Load is recorded in this workspace.' in run('%kart_why Load()')
    assert '21' in run('%kart_build Load()')
    assert 'nothing will run, nothing is stale' in run('%kart_why Load()')
    assert 'Makes 1 result stale: Load.' in run(CELL.format(factor=2))
    shown = run('%kart_why Load()')
    assert 'code changed: scaled' in shown
    assert '+    return x * 2' in shown
    assert "the result is kept, because on_code_change is 'warn'" in run('%kart_why --on-code-change warn Load()')
    run("%config KartMagics.on_code_change = 'ignore'")
    assert 'nothing is stale' in run('%kart_why Load()')
    assert '21' in run('%kart_build Load()')
    run("%config KartMagics.on_code_change = ''")
    built = run('%kart_build Load()')
    assert 'Recomputed because code or inputs changed: Load (code changed: scaled).' in built
    assert '42' in built


def test_wrong_use_is_one_line(run: Run) -> None:
    assert 'UsageError' in run('%kart_why --on-code-change often Load()')
    assert 'UsageError' in run('%kart_why 3')


def test_the_policy_ends_with_the_extension(bare_shell: InteractiveShell) -> None:
    bare_shell.run_line_magic('load_ext', 'kartnb')
    bare_shell.run_line_magic('config', "KartMagics.on_code_change = 'warn'")
    assert configured_policy() == 'warn'
    bare_shell.run_line_magic('unload_ext', 'kartnb')
    assert configured_policy() is None
