"""%kart_runs, %kart_diff, %kart_clean, %kart_accept and %kart_adopt in a real kernel."""

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


def test_results_are_accepted_taken_over_and_bounded(kernel: Kernel) -> None:
    cell = CELL.strip()
    kernel.ok(cell)
    kernel.ok('kartnb.build(Train())')
    kernel.ok(cell.replace("'depth': self.depth", "'depth': self.depth + 0"))
    assert 'Accepted as results of the present code: Train[' in (
        kernel.ok('%kart_accept Train --why "adds nothing"').value or ''
    )
    assert kernel.ok('kartnb.plan(Train()).to_run()').value == '()'
    assert 'was made by the present code' in (kernel.ok('%kart_accept Train()').value or '')
    kernel.ok(cell.replace('Train', 'Fit').replace("'depth': self.depth", "'depth': self.depth + 0"))
    assert 'Taken over from __main__.Train: Fit[' in (kernel.ok('%kart_adopt Fit --of __main__.Train').value or '')
    assert kernel.ok('kartnb.plan(Fit()).to_run()').value == '()'
    kernel.ok('kartnb.build(Fit(), rerun=True)')
    assert 'Nothing to remove' in (kernel.ok('%kart_clean --keep 20GB').value or '')
    assert 'more than the limit of 1: nothing else can be removed' in (kernel.ok('%kart_clean --keep 1B').value or '')
    assert 'Removed ' in (kernel.ok('%kart_clean --keep 1B --remove').value or '')


def test_what_is_wrong_is_one_line(run: Run) -> None:
    assert run('%kart_runs /nowhere').strip().endswith('is not a workspace: the directory does not exist')
    assert 'is not a time' in run('%kart_runs . --since sometime')
    assert 'unknown option --tsk: did you mean --task?' in run('%kart_runs --tsk a')
    assert 'invalid choice' in run('%kart_runs --state lost')
    assert 'needs one or two results' in run('%kart_diff')
    assert '%kart_accept needs a task or a class' in run('%kart_accept')
    assert '%kart_adopt needs a class and what it was' in run('%kart_adopt')
    assert 'accept needs a TaskOnKart, or a class of them, not 3' in run('%kart_accept 3')
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
    assert {'--keep', '--keep-age', '--keep-bytes'} <= set(kernel.complete('%kart_clean --ke'))
    kernel.ok(CELL.strip())
    assert 'Train' in kernel.complete('%kart_accept Tra')
    assert {'--why', '--workspace'} <= set(kernel.complete('%kart_accept Train --'))
    assert 'Train' in kernel.complete('%kart_adopt Tra')
    assert '--of' in kernel.complete('%kart_adopt Train --o')
