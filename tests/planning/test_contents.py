"""Contents decide: what was recomputed with the same contents, and earlier results that code and inputs give again."""

from __future__ import annotations

import functools
import logging
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import luigi
import pytest

import kartnb
from kartnb.config import BuildOptions
from kartnb.execution.build import run_build
from kartnb.model import TaskState
from kartnb.notebook.monitor import BuildMonitor
from kartnb.planning.estimate import cutoff_line
from kartnb.storage.superseded import superseded_results
from kartnb.view.graph_svg import plan_svg
from kartnb.view.live import bar_segments
from kartnb.view.words import left_alone
from tests.planning.notebook import Notebook, forget_classes, forget_modules, write_module

LOAD = """
class Load(kartnb.TaskOnKart):
    def run(self):
        {more}
        ran.append('Load')
        self.dump({value})
"""
REST = """
class Clean(kartnb.TaskOnKart):
    def requires(self):
        return Load()

    def run(self):
        ran.append('Clean')
        self.dump(self.load() * 10)

class Other(kartnb.TaskOnKart):
    def run(self):
        ran.append('Other')
        self.dump(7)

class Train(kartnb.TaskOnKart):
    n = luigi.IntParameter(default=0)

    def requires(self):
        return [Clean(), Other()]

    def run(self):
        ran.append('Train')
        self.dump(sum(self.load()) + self.n)

class Compare(kartnb.TaskOnKart):
    def requires(self):
        return [Train(n=n) for n in range(3)]

    def run(self):
        ran.append('Compare')
        self.dump(self.load())
"""
ALL = ['Clean', 'Compare', 'Load', 'Other', 'Train', 'Train', 'Train']


@pytest.fixture
def notebook() -> Iterator[Notebook]:
    """Return a notebook of a small pipeline; afterwards it is forgotten."""
    made = Notebook()
    made.run(LOAD.format(value=1, more='1'))
    made.run(REST)
    yield made
    forget_classes()


def _build(notebook: Notebook, **options: Any) -> tuple[Any, list[str]]:
    value = kartnb.build(notebook['Compare'](), **options)
    return value, sorted(notebook.taken())


def _load(notebook: Notebook, value: Any, more: str = '1') -> None:
    notebook.run(LOAD.format(value=value, more=more))


@pytest.mark.parametrize('executor', [None, 'threads', 'processes'])
def test_what_is_downstream_of_the_same_contents_stays_cached(
    executor: str | None, notebook: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _build(notebook) == ([17, 18, 19], ALL)
    _load(notebook, 1, more='2')
    plan = kartnb.plan(notebook['Compare']())
    assert [node.name for node in plan if node.will_run and not node.is_conditional] == ['Load']
    assert '1 will run, 5 more if the contents change' in repr(plan)
    assert '1 will run, 5 more if the contents change' in plan._repr_html_()
    seen: list[Any] = []
    monitor = BuildMonitor()
    value = kartnb.build(notebook['Compare'](), executor=executor, listeners=[seen.append, monitor])
    assert value == [17, 18, 19]
    _check_views_of_a_cutoff(monitor)
    assert 'Load recomputed, same contents: 5 tasks stay cached.' in capsys.readouterr().err
    changes = [(event.key.partition('_')[0], event.state) for event in seen if hasattr(event, 'holder')]
    assert changes[-5:] == [(name, TaskState.CACHED) for name in ('Clean', 'Train', 'Train', 'Train', 'Compare')]
    assert {name for name, state in changes if state is TaskState.DONE} == {'Load'}
    assert kartnb.plan(notebook['Compare']()).to_run() == ()


def _check_views_of_a_cutoff(monitor: BuildMonitor) -> None:
    """The whole bar is filled, and boxes say what was left out, and why."""
    header = monitor.header('done')
    assert sum(number for _, number in header['bar']) == header['total'] == 6
    assert round(sum(share for _, share, _ in bar_segments(monitor.progress()))) == 100
    now = monitor.plan_now()
    assert now is not None
    picture = plan_svg(now)
    assert picture.count('>recomputed, same contents<') == 1
    assert picture.count('>same contents upstream<') == 5
    assert 'recomputed, same contents' in now._repr_html_()
    assert left_alone(now) == ['Load recomputed, same contents: 5 tasks stay cached.']


def test_a_cutoff_by_what_another_build_has_recomputed_names_it(notebook: Notebook) -> None:
    _build(notebook)
    _load(notebook, 1, more='2')
    plan = kartnb.plan(notebook['Compare']())
    assert cutoff_line(plan.with_states({node.key: TaskState.CACHED for node in plan})) == (
        'Load recomputed by another build, same contents: 5 tasks stay cached.'
    )


def test_what_is_missing_and_not_needed_is_left_out(notebook: Notebook) -> None:
    _build(notebook)
    for task in (notebook['Clean'](), notebook['Other']()):
        Path(task.output().path()).unlink()
    _load(notebook, 1, more='2')
    assert _build(notebook) == ([17, 18, 19], ['Load'])
    _load(notebook, 2)
    assert _build(notebook) == ([27, 28, 29], ALL), 'now they are needed'


def test_values_without_an_order_just_run(notebook: Notebook) -> None:
    _load(notebook, "__import__('random').SystemRandom().random()")
    first, _ = _build(notebook)
    _load(notebook, "__import__('random').SystemRandom().random() + 1")
    second, ran = _build(notebook)
    assert first != second
    assert ran == [name for name in ALL if name != 'Other']


def test_a_rerun_that_was_asked_for_runs_what_is_downstream(notebook: Notebook) -> None:
    _build(notebook)
    _, ran = _build(notebook, rerun='Load')
    assert ran == [name for name in ALL if name != 'Other']


@pytest.mark.parametrize('executor', [None, 'processes'])
def test_code_that_comes_back_runs_nothing(
    executor: str | None, notebook: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    _build(notebook)
    _load(notebook, 2)
    assert _build(notebook)[0] == [27, 28, 29]
    for _ in range(2):
        _load(notebook, 1)
        plan = kartnb.plan(notebook['Compare']())
        assert plan.to_run() == ()
        assert plan.root.why.startswith('will be brought back from ')
        assert 'nothing will run, 6 will be brought back' in repr(plan)
        assert plan.root.state is TaskState.STALE, 'what lies there is the other result'
        assert 'brought back from ' in str(kartnb.why(notebook['Compare']()))
        capsys.readouterr()
        assert _build(notebook, executor=executor) == ([17, 18, 19], [])
        assert 'Brought back from ' in capsys.readouterr().err
        assert set(kartnb.plan(notebook['Compare']()).counts()) == {TaskState.CACHED}
        assert ', brought back 20' in str(kartnb.why(notebook['Compare']()))
        assert ', brought back 20' in kartnb.why(notebook['Compare']())._repr_html_()
        _load(notebook, 2)
        assert _build(notebook, executor=executor) == ([27, 28, 29], [])


def test_downstream_comes_back_when_other_code_gives_the_earlier_contents(notebook: Notebook) -> None:
    _build(notebook)
    _load(notebook, 2)
    _build(notebook)
    _load(notebook, '3 - 2')
    report = run_build(notebook['Compare'](), BuildOptions(log_level=logging.ERROR))
    assert notebook.taken() == ['Load']
    assert report.succeeded
    assert {node.name for node in report.plan if node.note.startswith('brought back')} == {'Clean', 'Train', 'Compare'}
    assert 'Brought back from ' in repr(report)
    assert 'Brought back from ' in report._repr_html_()
    assert _build(notebook) == ([17, 18, 19], [])


def test_a_variant_that_was_damaged_is_not_taken(notebook: Notebook) -> None:
    _build(notebook)
    _load(notebook, 2)
    _build(notebook)
    [kept] = superseded_results('./resources/', f'Load_{notebook["Load"]().make_unique_id()}')
    (Path(kept.directory) / kept.files[0][1]).write_bytes(pickle.dumps(9))
    _load(notebook, 1)
    assert _build(notebook) == ([17, 18, 19], ['Load']), 'and what was made from it comes back'


def test_results_of_another_module_are_not_taken(notebook: Notebook) -> None:
    _build(notebook)
    _load(notebook, 2)
    _build(notebook)
    for kept in superseded_results('./resources/'):
        manifest = Path(kept.directory) / 'superseded.json'
        manifest.write_text(manifest.read_text().replace('"__main__"', '"elsewhere"'))
    _load(notebook, 1)
    assert _build(notebook)[1] == [name for name in ALL if name != 'Other']


@pytest.mark.parametrize('executor', [None, 'threads', 'processes'])
@pytest.mark.parametrize('requires', ['[Load(), Middle()]', 'Load()', '[]'])
def test_what_was_left_out_is_made_when_a_running_task_asks_for_it(
    requires: str, executor: str | None, notebook: Notebook
) -> None:
    def define(factor: int) -> None:
        notebook.run(f"""
class Middle(kartnb.TaskOnKart):
    def run(self):
        load = yield Load()
        self.dump(load.load() * {factor})

class Root(kartnb.TaskOnKart):
    def requires(self):
        return {requires}

    def run(self):
        load = yield Load()
        middle = yield Middle()
        self.dump(load.load() + middle.load())
""")

    define(10)
    assert kartnb.build(notebook['Root'](), executor=executor) == 11
    define(20)
    Path(notebook['Load']().output().path()).unlink()
    assert kartnb.build(notebook['Root'](), executor=executor) == 21
    assert kartnb.plan(notebook['Root']()).to_run() == ()


@pytest.mark.parametrize('parameter', ["luigi.Parameter('{}', significant=False)", "luigi.Parameter('{}')"])
@pytest.mark.parametrize('visible', [True, False])
def test_a_task_that_cannot_be_told_by_its_record_is_left_to_the_run_that_asks_for_it(
    visible: bool, parameter: str, notebook: Notebook
) -> None:
    hidden = '' if visible else ', visibility=luigi.parameter.ParameterVisibility.PRIVATE'
    parameter = parameter.replace(')', f'{hidden})')

    def define(given: str, plus: int) -> None:
        notebook.run(f"""
class Given(kartnb.TaskOnKart):
    given = {parameter.format('default')}

    def run(self):
        self.dump(f'{{self.given}} {{2 + {plus} - {plus}}}')

class Asks(kartnb.TaskOnKart):
    given = luigi.Parameter('{given}', significant=False)

    def run(self):
        given = yield Given(given=self.given)
        self.dump(given.load())
""")

    for given, plus in (('a', 1), ('a', 2), ('default', 3), ('default', 4)):
        define(given, plus)
        value = kartnb.build(notebook['Asks']())
        assert value in (f'{given} 2', 'a 2')
        assert value == kartnb.build(notebook['Given'](given=given)) or 'significant' in parameter


def test_later_requests_wait_for_what_earlier_ones_give(notebook: Notebook) -> None:
    notebook.run("""
class Which(kartnb.TaskOnKart):
    def run(self):
        self.dump('Old')

class Old(kartnb.TaskOnKart):
    def run(self):
        ran.append('Old')
        self.dump('old')

class New(kartnb.TaskOnKart):
    def run(self):
        self.dump('new')

class Asks(kartnb.TaskOnKart):
    def run(self):
        which = yield Which()
        value = yield (Old() if which.load() == 'Old' else New())
        self.dump(value.load())
""")
    assert kartnb.build(notebook['Asks']()) == 'old'
    notebook.taken()
    notebook.run("""
class Which(kartnb.TaskOnKart):
    def run(self):
        self.dump('New')

class Old(kartnb.TaskOnKart):
    def run(self):
        raise ValueError('nobody asks for it any more')
""")
    assert kartnb.build(notebook['Asks']()) == 'new'
    notebook.run("""
class Which(kartnb.TaskOnKart):
    def run(self):
        self.dump('New'[:])

class New(kartnb.TaskOnKart):
    def run(self):
        ran.append('New')
        self.dump('new'[:])
""")
    report = run_build(notebook['Asks'](), BuildOptions(log_level=logging.ERROR))
    assert sorted(node.name for node in report.plan if node.state is TaskState.DONE) == ['New', 'Which']


_BESIDE = {
    'text': "pathlib.Path('report.txt').write_text(str(value))",
    'renamed': "pathlib.Path('new').write_text(str(value)); pathlib.Path('new').replace('report.txt')",
    'link': "pathlib.Path(f'of_{{value}}').touch(); pathlib.Path('report.txt').unlink(missing_ok=True); "
    "pathlib.Path('report.txt').symlink_to(f'of_{{value}}'); pathlib.Path('report.txt').write_text(str(value))",
}
_REPORTS = """
class Reports(kartnb.TaskOnKart):
    def run(self):
        import pathlib
        value = {value}
        ran.append('Reports')
        {beside}
        with open('log.txt', 'a') as log:
            log.write('ran')
        self.dump(value)
"""


@pytest.mark.parametrize('executor', [None, 'processes'])
@pytest.mark.parametrize('beside', _BESIDE)
def test_a_result_does_not_come_back_without_the_files_that_its_run_wrote_beside_it(
    beside: str, executor: str | None, notebook: Notebook
) -> None:
    def build(value: object) -> bool:
        notebook.run(_REPORTS.format(value=value, beside=_BESIDE[beside].format()))
        before = Path('log.txt').stat().st_size
        assert kartnb.build(notebook['Reports'](), executor=executor) == eval(str(value))
        assert Path('report.txt').read_text() == str(eval(str(value)))
        return Path('log.txt').stat().st_size > before

    Path('log.txt').touch()
    assert build(1)
    assert build(2)
    notebook.run(_REPORTS.format(value=1, beside=_BESIDE[beside].format()))
    assert 'of what its run wrote beside it, report.txt changed' in str(kartnb.why(notebook['Reports']()))
    assert build(1)
    assert build('2 - 1'), 'other code, which wrote the same'
    assert not build(1), 'report.txt is what that run had written'


#: What a run writes beside its result, and how another task reads that.
_WRITES = {
    'a target': ("self.make_target('a.pkl', False).dump(value)", "self.make_target('a.pkl', False).load()"),
    'Parquet': ("pd.DataFrame({'a': [value]}).to_parquet('a.parquet')", "int(pd.read_parquet('a.parquet').a[0])"),
    'a directory': (
        "shutil.rmtree('out', True); os.mkdir('out'); [open(f'out/{i}', 'w').close() for i in range(value)]",
        "len(os.listdir('out'))",
    ),
    'a directory that is moved': (
        "os.mkdir('new'); open('new/a', 'w').write(str(value)); shutil.rmtree('old', True); os.rename('new', 'old')",
        "int(open('old/a').read())",
    ),
    'a database': (
        '_write_database(value)',
        "sqlite3.connect('a.db').execute('select a from t').fetchone()[0]",
    ),
    'a file that is removed first': (
        "os.path.exists('a.csv') and os.unlink('a.csv'); open('a.csv', 'a').write(str(value))",
        "int(open('a.csv').read())",
    ),
    'nothing': (
        "value == 1 and os.path.exists('a') and os.unlink('a'); value == 2 and open('a', 'w').close()",
        "1 + os.path.exists('a')",
    ),
}


@pytest.mark.parametrize('kind', _WRITES)
def test_what_is_read_is_of_the_code_that_comes_back(kind: str, notebook: Notebook) -> None:
    writes, reads = _WRITES[kind]
    for value in (1, 2, 1, 2, 2):
        notebook.run(f"""
import os, shutil, sqlite3
import pandas as pd

def _write_database(value):
    with sqlite3.connect('a.db') as database:
        database.execute('drop table if exists t')
        database.execute(f'create table t as select {{value}} as a')

class Writes(kartnb.TaskOnKart):
    def run(self):
        value = {value}
        {writes}
        self.dump(value)

class Reads(kartnb.TaskOnKart):
    def requires(self):
        return Writes()

    def run(self):
        self.dump({reads})
""")
        assert kartnb.build(notebook['Reads']()) == value


def test_what_a_failed_run_has_written_over_is_made_again(notebook: Notebook) -> None:
    def define(text: str) -> None:
        notebook.run(f"""
class Writes(kartnb.TaskOnKart):
    def run(self):
        with open('report.txt', 'w') as file:
            file.write('half of ')
            file.flush()
            file.write({text})
        self.dump(1)

class Reads(kartnb.TaskOnKart):
    def requires(self):
        return Writes()

    def run(self):
        self.dump(open('report.txt').read())
""")

    define("'it'")
    assert kartnb.build(notebook['Reads']()) == 'half of it'
    define('1 / 0')
    with pytest.raises(kartnb.GokartBuildError):
        kartnb.build(notebook['Reads'](), log_level=logging.CRITICAL)
    define("'it'")
    assert 'report.txt changed by a run that failed' in str(kartnb.why(notebook['Writes']()))
    assert kartnb.build(notebook['Reads']()) == 'half of it'
    assert kartnb.plan(notebook['Reads']()).to_run() == ()


def test_the_record_says_that_a_result_came_back(notebook: Notebook) -> None:
    _build(notebook)
    _load(notebook, 2)
    _build(notebook)
    _load(notebook, 1)
    _build(notebook)
    [run] = [run for run in kartnb.Workspace().runs() if run.task == 'Load' and run.state == 'cached']
    assert run.record is not None
    assert run.record.brought_back > run.record.ended


def test_two_notebooks_with_other_code_take_turns(notebook: Notebook) -> None:
    _build(notebook)
    for turn in range(6):
        _load(notebook, turn % 2 + 1)
        value, ran = _build(notebook)
        assert value == ([17, 18, 19] if turn % 2 == 0 else [27, 28, 29])
        assert ran == ([name for name in ALL if name != 'Other'] if turn == 1 else [])


_ASKS = {
    'yields': 'target = yield Middle()\n        self.dump(target.load() + 1)',
    'builds': 'self.dump(kartnb.build(Middle()) + 1)',
}
_ASKING = """
class Middle(kartnb.TaskOnKart):
    def requires(self):
        return Load()

    def run(self):
        ran.append('Middle')
        self.dump(self.load() * 10)

class Asking(kartnb.TaskOnKart):
    def run(self):
        ran.append('Asking')
        {asks}
"""


@pytest.mark.parametrize('asks', _ASKS)
def test_what_a_run_asked_for_comes_back_with_what_was_made_from_it(
    asks: str, notebook: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook.run(_ASKING.format(asks=_ASKS[asks]))
    assert kartnb.build(notebook['Asking']()) == 11
    _load(notebook, 2)
    assert kartnb.build(notebook['Asking']()) == 21
    notebook.taken()
    for value in (1, 2, 1):
        _load(notebook, value)
        assert kartnb.plan(notebook['Asking']()).root.why.startswith('will be brought back from ')
        capsys.readouterr()
        assert kartnb.build(notebook['Asking']()) == value * 10 + 1
        assert capsys.readouterr().err.count('Brought back from ') == 1
        assert notebook.taken() == []
        assert kartnb.build(notebook['Middle']()) == value * 10
        assert notebook.taken() == [], 'it has come back too, and what it requires'


_TOP = """
class Top(kartnb.TaskOnKart):
    def requires(self):
        return [Asking(), Middle()]

    def run(self):
        self.dump(sum(self.load()))
"""


@pytest.mark.parametrize('executor', [None, 'threads', 'processes'])
@pytest.mark.parametrize('asks', _ASKS)
def test_a_task_does_not_run_when_what_it_asked_for_has_the_same_contents(
    asks: str, executor: str | None, notebook: Notebook
) -> None:
    def build() -> tuple[int, list[str]]:
        options = BuildOptions(executor=executor, log_level=logging.ERROR)
        report = run_build(notebook['Top'](), options)
        ran = sorted(node.name for node in report.plan if node.state is TaskState.DONE)
        return kartnb.build(notebook['Top']()), ran

    notebook.run(_ASKING.format(asks=_ASKS[asks]))
    notebook.run(_TOP)
    assert build()[0] == 21
    _load(notebook, '2 - 1')
    plan = kartnb.plan(notebook['Top']())
    assert [node.name for node in plan if node.will_run and not node.is_conditional] == ['Load']
    assert '1 will run, 3 more if the contents change' in repr(plan)
    assert build() == (21, ['Load'])
    _load(notebook, 3)
    assert build() == (61, ['Asking', 'Load', 'Middle', 'Top'])
    assert kartnb.plan(notebook['Top']()).to_run() == ()


def test_a_task_whose_earlier_requests_change_asks_anew(notebook: Notebook) -> None:
    notebook.run("""
class Which(kartnb.TaskOnKart):
    def run(self):
        self.dump(1)

class Number(kartnb.TaskOnKart):
    n = luigi.IntParameter()

    def run(self):
        ran.append(f'Number {self.n}')
        self.dump(self.n)

class Asks(kartnb.TaskOnKart):
    def run(self):
        which = yield Which()
        number = yield Number(n=which.load())
        ran.append('Asks')
        self.dump(number.load())
""")
    assert kartnb.build(notebook['Asks']()) == 1
    notebook.run('class Which(kartnb.TaskOnKart):\n    def run(self): self.dump(2)')
    notebook.taken()
    assert kartnb.build(notebook['Asks']()) == 2
    assert notebook.taken() == ['Number 2', 'Asks']
    record = next(run.record for run in kartnb.Workspace().runs() if run.task == 'Asks' and run.state == 'cached')
    assert record is not None
    assert sorted(item.task for item in record.inputs) == ['Number', 'Which'], 'Number(1) is no input of it'
    assert kartnb.plan(notebook['Asks']()).to_run() == ()


_BEST = """
import kartnb

class Best(kartnb.TaskOnKart):
    def run(self):
        self.dump({value})

class Shared(Best):
    def output(self):
        return self.make_target('shared.pkl')
"""


@pytest.fixture
def modules(tmp_path: Path) -> Iterator[list[Any]]:
    """Return two modules with classes of the same names, and other code, and one more with the code of the first."""
    names = {'first_best': 1, 'second_best': 2, 'moved_best': 1}
    yield [write_module(name, _BEST.format(value=value), tmp_path) for name, value in names.items()]
    forget_modules(names)


@pytest.mark.parametrize('asks', _ASKS)
def test_a_class_of_another_module_is_not_the_one_that_was_asked_for(
    asks: str, notebook: Notebook, modules: list[Any]
) -> None:
    first, second, moved = modules
    notebook.run(_ASKING.format(asks=_ASKS[asks]))
    notebook.names['Middle'] = first.Best
    assert kartnb.build(notebook['Asking']()) == 2
    notebook.names['Middle'] = second.Best
    assert kartnb.build(notebook['Asking']()) == 3
    notebook.taken()
    notebook.names['Middle'] = moved.Best
    assert kartnb.build(notebook['Asking']()) == 2
    assert notebook.taken() == [], 'a class that was only moved is the same'


def test_a_result_that_a_class_of_another_module_has_made_is_said_to_be_its(
    modules: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, moved = modules
    assert kartnb.build(first.Shared()) == 1
    plan = kartnb.plan(second.Shared(), on_code_change='warn')
    assert plan.root.why.startswith('code changed: the result is that of first_best.Shared; ')
    assert kartnb.build(second.Shared(), on_code_change='warn') == 1
    assert 'the result is that of first_best.Shared' in capsys.readouterr().err
    assert kartnb.build(second.Shared(), on_code_change='rerun') == 2
    assert 'second_best.Shared' in kartnb.plan(first.Shared()).root.why
    assert kartnb.build(first.Shared(), on_code_change='rerun') == 1
    assert kartnb.plan(moved.Shared()).root.why == ''


@pytest.mark.parametrize(
    'one, other',
    [
        ('[Load(), Other()]', '[Other(), Load()]'),
        ("{'a': Load(), 'b': Other()}", "{'b': Load(), 'a': Other()}"),
        ('[[Load()], Other()]', '[Load(), [Other()]]'),
        ('Load()', '[Load()]'),
        ('[Load(), Load()]', '[Load()]'),
        ("{'a': Load()}", '[Load()]'),
    ],
)
def test_where_an_input_is_in_requires_counts(
    one: str, other: str, notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `requires` gives may depend on what is no code, such as an environment variable."""
    notebook.run(
        'import os\n'
        'class Shaped(kartnb.TaskOnKart):\n'
        f'    def requires(self): return {one} if os.environ["KARTNB_TEST_SHAPE"] == "one" else {other}\n'
        '    def run(self):\n'
        "        ran.append('Shaped')\n"
        '        self.dump(self.load())\n'
    )
    shaped, values = notebook['Shaped'](), []
    for shape in ('one', 'other', 'one'):
        monkeypatch.setenv('KARTNB_TEST_SHAPE', shape)
        values.append(kartnb.build(shaped))
    assert values[0] == values[2] != values[1]
    assert notebook.taken().count('Shaped') == 2, 'the first comes back'
    assert kartnb.plan(shaped).to_run() == ()


class Source(kartnb.TaskOnKart[Any]):
    number = 1

    def run(self) -> None:
        self.dump(Source.number)


class Keeping(kartnb.TaskOnKart[Any]):
    n = luigi.IntParameter(default=1)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.filled: list[int] = []

    def requires(self) -> Any:
        return Source()

    @functools.cached_property
    def loaded(self) -> int:
        return self.load()  # type: ignore[no-any-return]

    def prepare(self) -> None:
        self.seen = [*getattr(self, 'seen', []), self.load()]
        self.n += 1
        self.filled.append(self.n)

    def run(self) -> None:
        self.prepare()
        self.dump((self.loaded, self.seen, self.filled))


@pytest.mark.parametrize('options', [{}, {'executor': 'threads'}, {'workers': 2}], ids=str)
def test_a_run_begins_without_what_the_one_before_it_has_put_on_its_task(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a kernel it is the same instance that runs again."""
    assert kartnb.build(Keeping()) == (1, [1], [2])
    assert Keeping().loaded == 1, 'a person may look at it'
    plan = kartnb.plan(Keeping())
    assert 'loaded' not in str(plan)
    assert 'seen' not in str(plan)
    monkeypatch.setattr(Source, 'number', 2)
    kartnb.build(Source(), rerun=True)
    assert kartnb.build(Keeping(), **options) == (2, [2], [2])
    assert kartnb.build(Keeping(), rerun=True, **options) == (2, [2], [2])


_NUMBER = 'NUMBER = {}'
_KEEPS = """
import functools
from collections import deque

class Keeps(kartnb.TaskOnKart):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.number, self.found, self.lists = NUMBER, deque(), {'a': []}

    @functools.cached_property
    def cached(self):
        return NUMBER

    def run(self):
        self.found.append(NUMBER)
        self.lists['a'].append(NUMBER)
        self.dump((self.number, self.cached, list(self.found), self.lists))
"""


@pytest.mark.parametrize('executor', [None, 'processes'])
def test_a_run_begins_as_if_its_task_had_just_been_made(executor: str | None, notebook: Notebook) -> None:
    notebook.run(_NUMBER.format(1))
    notebook.run(_KEEPS)
    for number in (1, 2):
        notebook.run(_NUMBER.format(number))
        assert notebook['Keeps']().cached in (1, 2)
        value = kartnb.build(notebook['Keeps'](), executor=executor)
        assert value == (number, number, [number], {'a': [number]})


def test_a_class_may_leave_out_what_cannot_be_pickled(notebook: Notebook) -> None:
    notebook.run("""
import threading

class Locks(kartnb.TaskOnKart):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.lock, self.number = threading.Lock(), 1

    def __getstate__(self):
        state = super().__getstate__()
        del state['lock']
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        self.lock = threading.Lock()

    def run(self):
        with self.lock:
            self.dump(self.number)
""")
    assert kartnb.build(notebook['Locks'](), executor='processes') == 1


def test_what_was_set_on_a_task_before_its_run_stays(notebook: Notebook) -> None:
    notebook.run(_NUMBER.format(1))
    notebook.run(_KEEPS)
    task = notebook['Keeps']()
    task.number = 5
    assert kartnb.build(task)[0] == 5


@pytest.mark.parametrize('asks', _ASKS)
def test_what_a_run_asks_for_in_another_workspace_counts(asks: str, notebook: Notebook) -> None:
    asks = _ASKS[asks].replace('Middle()', "Load(workspace_directory='./other/')")
    for value in (1, 2, '3 - 1', 1):
        _load(notebook, value)
        notebook.run(_ASKING.format(asks=asks))
        assert kartnb.build(notebook['Asking']()) == eval(str(value)) + 1


@pytest.mark.parametrize('policy', ['warn', 'error'])
def test_results_of_other_code_that_a_run_has_asked_for_are_told(
    policy: str, notebook: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook.run(_ASKING.format(asks=_ASKS['yields'].replace('Middle()', 'Load()')))
    kartnb.build(notebook['Asking']())
    _load(notebook, 2)
    if policy == 'error':
        with pytest.raises(kartnb.errors.OutdatedResultError, match=r'Asking \(Load\.run\)'):
            kartnb.build(notebook['Asking'](), on_code_change=policy)
        return
    assert kartnb.build(notebook['Asking'](), on_code_change=policy) == 2
    assert 'Kept although their code has changed: Asking (Load.run)' in capsys.readouterr().err


def test_the_file_of_another_class_is_not_taken_for_the_result(notebook: Notebook) -> None:
    for name in ('One', 'Two'):
        notebook.run(f"""
class {name}(kartnb.TaskOnKart):
    def output(self):
        return self.make_target('a.pkl', use_unique_id=False)

    def run(self):
        self.dump('{name}')
""")
    assert kartnb.build(notebook['One']()) == 'One'
    assert 'the result is that of One' in kartnb.plan(notebook['Two']()).root.why
    assert kartnb.build(notebook['Two']()) == 'Two'
    assert kartnb.plan(notebook['Two']()).to_run() == ()


def test_functions_with_a_cache_and_cached_properties_travel_to_workers(notebook: Notebook) -> None:
    notebook.run("""
import functools

@functools.lru_cache(maxsize=None, typed=True)
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)

class Cached(kartnb.TaskOnKart):
    @functools.cached_property
    def data(self):
        return fib(20)

    def run(self):
        self.dump((self.data, fib.cache_info().misses, fib.__name__, fib.cache_parameters()))
""")
    value = kartnb.build(notebook['Cached'](), executor='processes')
    assert value == (6765, 21, 'fib', {'maxsize': None, 'typed': True})
