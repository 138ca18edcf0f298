"""%kart_runs, %kart_diff and %kart_clean in a real kernel."""

from __future__ import annotations

from tests.notebook.conftest import Run
from tests.notebook.kernel import Kernel

CELL = """
%%kart
class Train(TaskOnKart):
    depth = luigi.IntParameter(default=3)
    def run(self):
        self.dump({'depth': self.depth, '名前': '日本'})
"""


def test_the_history_is_a_table_with_ways_on(kernel: Kernel) -> None:
    kernel.ok(CELL.strip())
    kernel.ok('for depth in (3, 5):\n    kartnb.build(Train(depth=depth))')
    shown = kernel.ok('%kart_runs --sort depth')
    assert '2 recorded results' in shown.html[-1]
    assert 'depth=5' in shown.html[-1]
    assert shown.value is not None
    assert 'depth=5' in shown.value
    assert (
        kernel.ok('table = %kart_runs --task Train --where depth=5\ntable.to_dataframe().depth.tolist()').value == '[5]'
    )
    assert "'日本'" in (kernel.ok('kartnb.Workspace().load(0)').value or '')
    assert 'depth: 3 → 5' in (kernel.ok('%kart_diff Train(depth=3) Train(depth=5)').value or '')
    first = (kernel.ok('kartnb.Workspace().runs()[0].unique_id').value or '').strip("'")
    assert 'No known differences' in (kernel.ok(f'%kart_diff {first[:8]} {first}').value or '')
    assert 'Nothing has been removed yet' in (kernel.ok('%kart_clean Train(depth=5)').value or '')
    for several in ('Train(depth=5) Train( depth=3 )', '[Train(depth=d) for d in (3, 5)]', 'Train(depth=5), Train()'):
        assert 'Nothing to remove' in (kernel.ok(f'%kart_clean {several} --keep-number 1').value or '')
    assert 'Removed ' in (kernel.ok('%kart_clean Train(depth=5) --remove').value or '')
    assert '1 recorded result:' in (kernel.ok('%kart_runs').value or '')


def test_what_is_wrong_is_one_line(run: Run) -> None:
    assert run('%kart_runs /nowhere').strip().endswith('is not a workspace: the directory does not exist')
    assert 'is not a time' in run('%kart_runs . --since sometime')
    assert 'unknown option --tsk: did you mean --task?' in run('%kart_runs --tsk a')
    assert 'invalid choice' in run('%kart_runs --state lost')
    assert 'needs one or two results' in run('%kart_diff')
    assert "Nothing(): name 'Nothing' is not defined: run the cell that defines it first." in run(
        '%kart_diff Nothing() deadbeef'
    )
    assert 'is not a duration' in run('%kart_clean --workspace . --keep-age long')
    assert 'cannot read Train( Train()' in run('%kart_clean Train( Train()')
    assert 'empty list of tasks' in run('%kart_clean []')
    assert 'clean needs tasks' in run('%kart_clean 3 4')
    for printed in (run('%kart_runs /nowhere'), run('%kart_clean --workspace /nowhere')):
        assert len(printed.strip().split('\n')) == 1


def test_tab_offers_options_and_states(kernel: Kernel) -> None:
    assert '--since' in kernel.complete('%kart_runs --s')
    assert 'superseded' in kernel.complete('%kart_runs --state su')
    assert '--remove' in kernel.complete('%kart_clean --re')
