"""`%%kart` runs a cell as IPython runs one, and shows a card of its task classes."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import luigi
import pytest
from IPython.core.interactiveshell import InteractiveShell
from luigi.task_register import Register

import kartnb
from tests.notebook.conftest import Run

NUMBERS = '''%%kart
class Numbers(TaskOnKart):
    """Count upwards.

    At length.
    """
    count = luigi.IntParameter(default=5)
    token = luigi.Parameter('s3cret', visibility=luigi.parameter.ParameterVisibility.PRIVATE)

    def run(self):
        self.dump(list(range(self.count)))
'''


def test_the_names_of_pipelines_are_known_without_an_import(run: Run, shell: InteractiveShell) -> None:
    names = 'luigi, kartnb, TaskOnKart, TaskInstanceParameter, ListTaskInstanceParameter, ExplicitBoolParameter'
    more = 'SerializableParameter, ZonedDateSecondParameter, IntParameter, Parameter, DateParameter, EnumParameter'
    assert run(f'%%kart\n{names}, {more}').startswith('Out[')
    assert shell.user_ns['luigi'] is luigi
    assert shell.user_ns['TaskOnKart'] is kartnb.TaskOnKart
    assert run('%who').strip() == 'Interactive namespace is empty.', "what is lent is not listed as the user's own"


def test_a_name_of_the_users_own_stays(run: Run, shell: InteractiveShell) -> None:
    run('luigi = "mine"')
    run('%%kart\n1')
    assert shell.user_ns['luigi'] == 'mine'


def test_names_are_lent_by_a_kart_cell_only(run: Run) -> None:
    assert 'NameError' in run('TaskOnKart')


@pytest.mark.parametrize(
    'body, printed',
    [
        ('6 * 7', '42'),
        ('6 * 7;', ''),
        ('6 * 7  # comment', '42'),
        ('x = 6 * 7', ''),
        ('if True:\n    6 * 7', ''),
        ('# nothing', ''),
        ('print("one")\n"two"', "one\nOut[1]: 'two'"),
        ('!echo from the shell', 'from the shell'),
        ('%%timeit -n1 -r1\npass', '1 loop'),
        ('y = %who_ls\ny', '[]'),
    ],
)
def test_a_cell_runs_as_an_ordinary_one(body: str, printed: str, run: Run) -> None:
    shown = run(f'%%kart\n{body}')
    assert printed in shown if printed else shown == ''


def test_the_value_of_the_last_expression_is_kept(run: Run, shell: InteractiveShell) -> None:
    run('%%kart\n6 * 7')
    assert shell.user_ns['_'] == 42


def test_the_source_of_methods_is_to_be_had(run: Run, shell: InteractiveShell) -> None:
    run(NUMBERS)
    assert inspect.getsource(shell.user_ns['Numbers'].run).strip().startswith('def run(self):')


def test_the_card_says_what_is_new_changed_and_unchanged(run: Run) -> None:
    assert run(NUMBERS) == '+ new Numbers(count=5): Count upwards.\n'
    assert run(NUMBERS) == '= unchanged Numbers(count=5): Count upwards.\n'
    assert run(NUMBERS.replace('count)))', 'count)))  # a comment')).startswith('= unchanged')
    assert run(NUMBERS.replace('range(self', 'range(1, self')) == '~ changed Numbers(count=5): Count upwards.\n'


def test_a_cell_that_failed_changes_nothing_for_the_card(run: Run) -> None:
    changed = NUMBERS.replace('%%kart', '').replace('range(self', 'range(1, self')
    run(NUMBERS)
    run('1 / 0\n' + changed)
    assert run(NUMBERS.replace('range(self', 'range(1, self')).startswith('~ changed Numbers')


def test_defaults_are_on_the_card_as_one_gives_them(run: Run) -> None:
    run('%%kart\nclass One(TaskOnKart): pass')
    shown = run(
        '%%kart\nclass Many(TaskOnKart):\n    one = TaskInstanceParameter(default=One())\n'
        '    all = ListTaskInstanceParameter(default=[One(), One()])\n'
        '    none = ListTaskInstanceParameter(default=[])\n'
        '    day = luigi.OptionalParameter(default=None)\n    odd = luigi.IntParameter(default=object())\n'
    )
    assert shown.startswith('+ new Many(one=One(…), all=[One(…), One(…)], none=[], day=None, odd=')


def test_secret_parameters_are_not_on_the_card(run: Run) -> None:
    assert 's3cret' not in run(NUMBERS)
    assert 'token' not in run(NUMBERS)


def test_the_card_of_a_changed_class_says_what_becomes_of_its_results(run: Run) -> None:
    run(NUMBERS)
    run('%kart_build Numbers()')
    shown = run(NUMBERS.replace('range(self', 'range(1, self'))
    assert 'Makes 1 result stale: Numbers. Changed: Numbers.run. Recomputing takes under 1 s.' in shown
    assert '[1, 2, 3, 4]' in run('%kart_build Numbers()')


def test_the_card_names_a_constant_that_has_changed(run: Run) -> None:
    cell = '%%kart\nMAX_TOKENS = 100\nclass Cut(TaskOnKart):\n    def run(self): self.dump(MAX_TOKENS)'
    run(cell)
    run('%kart_build Cut()')
    assert 'Changed: MAX_TOKENS 100 → 200.' in run(cell.replace('100', '200'))


def test_the_card_says_what_an_earlier_cell_has_made_stale(run: Run) -> None:
    cell = '%%kart\nclass Cut(TaskOnKart):\n    def run(self): self.dump(MAX_TOKENS)'
    run('MAX_TOKENS = 100')
    run(cell)
    run('%kart_build Cut()')
    run('MAX_TOKENS = 200')
    shown = run(cell)
    assert '= unchanged Cut' in shown
    assert '1 result stale before this cell was run: Cut. Changed: MAX_TOKENS 100 → 200.' in shown
    assert 'stale' not in run(cell.replace('Cut', 'Other'))
    run('%kart_build Cut()')
    assert 'stale' not in run(cell)


def test_classes_of_ordinary_cells_are_known_to_the_card(run: Run) -> None:
    run(NUMBERS.replace('%%kart', 'import kartnb, luigi\nfrom kartnb import TaskOnKart'))
    assert run(NUMBERS).startswith('= unchanged Numbers')


def test_classes_are_found_where_python_defines_them(run: Run) -> None:
    shown = run(
        '%%kart\n'
        'try:\n    class Tried(TaskOnKart): pass\nexcept ImportError:\n    class Excepted(TaskOnKart): pass\n'
        'def make():\n    class Inner(TaskOnKart): pass\n    return Inner\n'
        'class Plain: pass\n'
        'class OfLuigi(luigi.Task): pass\n'
    )
    assert shown == '+ new Tried()\n+ new OfLuigi()\n'


def test_a_cell_without_task_classes_has_no_card(run: Run) -> None:
    assert run('%%kart\nx = 1') == ''


def test_a_card_says_once_which_modules_of_its_classes_have_changed_on_disk(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    source = tmp_path / 'shop_of_a_cell.py'
    source.write_text('def f(): return 1\n')
    try:
        uses = '%%kart\nimport shop_of_a_cell\nclass A(TaskOnKart):\n    def run(self): self.dump(shop_of_a_cell.f())'
        assert 'on disk' not in run(uses)
        source.write_text('def f(): return 100\n')
        assert run('%%kart\nx = 1') == ''
        assert 'on disk' not in run(NUMBERS), 'its class does not reach the module'
        assert 'shop_of_a_cell has changed on disk' in run(uses)
        assert 'on disk' not in run(uses)
        assert 'on disk' not in run('%kart_build A()')
        source.write_text('def f(): return 1000\n')
        assert run('%kart_build A()').count('on disk') == 1
    finally:
        sys.modules.pop('shop_of_a_cell', None)


def test_a_class_that_is_defined_again_replaces_the_older_one(run: Run, shell: InteractiveShell) -> None:
    cell = '%%kart\nclass A(TaskOnKart): pass\nclass B(luigi.Task): pass\n'
    run(cell)
    run(cell)
    run(cell.replace('%%kart', ''))
    mine = [cls for cls in Register._reg if cls.__name__ in 'AB' and cls.__module__ == '__main__']
    assert mine == [shell.user_ns['A'], shell.user_ns['B']]


def test_an_error_is_one_clean_traceback(run: Run) -> None:
    shown = run('%%kart\nclass A(TaskOnKart): pass\ndef f():\n    return 1 / 0\nf()')
    assert shown.count('Traceback') == 1
    assert shown.count('ZeroDivisionError') == 2, 'in the head and at the end'
    assert 'Cell In[1], line 5' in shown
    assert 'Cell In[1], line 4, in f()' in shown
    assert 'kartnb' not in shown
    assert 'run_cell_magic' not in shown


def test_a_syntax_error_is_shown_as_that_of_a_cell(run: Run) -> None:
    shown = run('%%kart\nx = 1\nclass A(TaskOnKart:\n    pass')
    assert 'Cell In[1], line 3' in shown
    assert 'SyntaxError' in shown
    assert 'kartnb' not in shown


def test_the_line_of_the_magic_takes_nothing(run: Run) -> None:
    assert run('%%kart Numbers\nx = 1') == "UsageError: %%kart takes nothing on its line: remove 'Numbers'\n"


def test_help(run: Run) -> None:
    assert 'new or changed' in run('%%kart --help\nx = 1')
