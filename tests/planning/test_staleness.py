"""What becomes of results whose code or inputs have changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kartnb
from kartnb.config import set_session_policy
from kartnb.model import ReasonKind, TaskState
from kartnb.storage.filesystem import _Local
from kartnb.storage.run_records import RecordDirectory
from kartnb.task.code.parts import PYTHON
from tests.planning.notebook import Notebook, forget_classes
from tests.view.markup import Skeleton

LOAD = """
class Load(kartnb.TaskOnKart):
    def run(self):
        ran.append('Load')
        self.dump({value})
"""
TRAIN = """
class Train(kartnb.TaskOnKart):
    depth = luigi.IntParameter(default=5)

    def requires(self):
        return Load()

    def run(self):
        ran.append('Train')
        self.dump(self.load() * self.depth)
"""
BOTH = """
class Both(kartnb.TaskOnKart):
    def requires(self):
        return [Load(), Train()]

    def run(self):
        ran.append('Both')
        self.dump(self.load())
"""


@pytest.fixture
def notebook() -> Iterator[Notebook]:
    """Return a notebook with two tasks; afterwards it is forgotten."""
    made = Notebook()
    made.run(LOAD.format(value=1))
    made.run(TRAIN)
    yield made
    forget_classes()
    set_session_policy('')


def _states(task: Any, **options: Any) -> dict[str, str]:
    return {node.name: f'{node.state} {node.why}'.strip() for node in kartnb.plan(task, **options)}


def _records(stem: str) -> list[Path]:
    return sorted(Path('resources/log/run_record').rglob(f'{stem}*.json'))


@pytest.mark.parametrize('executor', [None, 'threads', 'processes'])
def test_changed_code_is_run_again_in_every_executor(executor: str | None, notebook: Notebook) -> None:
    assert kartnb.build(notebook['Train'](), executor=executor) == 5
    notebook.run(LOAD.format(value=2))
    assert _states(notebook['Train']()) == {
        'Load': 'stale code changed: Load.run',
        'Train': 'stale an upstream result may change: Load',
    }
    assert kartnb.build(notebook['Train'](), executor=executor) == 10
    assert _states(notebook['Train']()) == {'Load': 'cached', 'Train': 'cached'}
    assert kartnb.restore_result(notebook['Train']()).replaced != ''
    assert kartnb.build(notebook['Train'](), executor=executor) == 5


def test_a_workspace_elsewhere(notebook: Notebook) -> None:
    notebook.run(LOAD.replace('kartnb.TaskOnKart', 'Base').format(value=1), {'Base': _in_memory('one')})
    task = notebook['Load']()
    assert kartnb.build(task) == 1
    notebook.run(LOAD.replace('kartnb.TaskOnKart', 'Base').format(value=2))
    assert kartnb.build(notebook['Load']()) == 2
    kartnb.restore_result(notebook['Load']())
    assert kartnb.build(notebook['Load']()) == 1


def _in_memory(name: str) -> Any:
    class Base(kartnb.TaskOnKart):
        workspace_directory = kartnb.luigi.Parameter(f'memory://stale/{name}', significant=False)

    return Base


def test_an_upstream_that_was_rebuilt_on_its_own(notebook: Notebook) -> None:
    kartnb.build(notebook['Train']())
    kartnb.build(notebook['Load'](), rerun=True)
    assert _states(notebook['Train']())['Train'] == 'cached', 'it has the same contents'
    assert notebook.taken() == ['Load', 'Train', 'Load']
    notebook.run(LOAD.format(value=2))
    kartnb.build(notebook['Load']())
    assert _states(notebook['Train']())['Train'] == 'stale made from an older upstream result: Load'
    kartnb.build(notebook['Train']())
    assert notebook.taken() == ['Load', 'Train']


def test_staleness_goes_through_what_is_missing_and_missing_does_not_travel(notebook: Notebook) -> None:
    kartnb.build(notebook['Train']())
    Path(notebook['Load']().output().path()).unlink()
    assert _states(notebook['Train']()) == {'Load': 'not needed', 'Train': 'cached'}
    notebook.run(LOAD.format(value=3))
    assert _states(notebook['Train']())['Train'] == 'stale an upstream result may change: Load'
    assert kartnb.build(notebook['Train']()) == 15


def test_policies(notebook: Notebook, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kartnb.build(notebook['Train']())
    notebook.run(LOAD.format(value=2))

    def will_run(**options: Any) -> bool:
        return bool(kartnb.plan(notebook['Train'](), **options).to_run())

    assert will_run()
    assert not will_run(on_code_change='ignore')
    assert not will_run(on_code_change='warn')
    config = tmp_path / 'luigi.cfg'
    config.write_text('[kartnb]\non_code_change=warn\n')
    kartnb.luigi.configuration.add_config_path(str(config))
    assert not will_run()
    monkeypatch.setenv('KARTNB_ON_CODE_CHANGE', 'rerun')
    assert will_run()
    set_session_policy('ignore')
    assert not will_run()
    notebook['Load'].on_code_change = notebook['Train'].on_code_change = 'rerun'
    assert will_run()
    assert not will_run(on_code_change='ignore')
    with pytest.raises(
        kartnb.KartError, match="on_code_change must be 'rerun', 'warn', 'error' or 'ignore', not 'often'"
    ):
        kartnb.build(notebook['Train'](), on_code_change='often')
    monkeypatch.setenv('KARTNB_ON_CODE_CHANGE', 'nonsense')
    set_session_policy('')
    with pytest.raises(kartnb.KartError, match='The environment variable KARTNB_ON_CODE_CHANGE must be'):
        will_run()
    kartnb.luigi.configuration.get_config().remove_section('kartnb')


def test_what_changes_is_said_before_anything_runs(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    kartnb.build(notebook['Train']())
    assert capsys.readouterr().err == ''
    notebook.run(LOAD.format(value=2).replace('ran.append', 'print("runs"); ran.append'))
    kartnb.build(notebook['Train'](), on_code_change='warn')
    kept = "Kept although their code has changed: Load (Load.run). To recompute them: on_code_change='rerun'.\n"
    assert capsys.readouterr().err == kept
    kartnb.build(notebook['Train']())
    told = capsys.readouterr().err
    assert (
        told == 'Recomputed because code or inputs changed: Load (code changed: Load.run); '
        'then, if the contents change: Train.\n'
    )


def test_a_result_of_another_notebook(
    notebook: Notebook, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv('KARTNB_NOTEBOOK', 'notebooks/解析.ipynb')
    kartnb.build(notebook['Load']())
    monkeypatch.setenv('KARTNB_NOTEBOOK', 'notebooks/other.ipynb')
    notebook.run(LOAD.format(value=2))
    kartnb.build(notebook['Load']())
    assert 'Results of others are replaced: Load (解析.ipynb, ' in capsys.readouterr().err


def test_a_result_without_a_record_is_adopted_at_its_first_use(notebook: Notebook) -> None:
    kartnb.build(notebook['Train']())
    for path in [*_records('Load'), *_records('Train')]:
        path.unlink()
    notebook.run(LOAD.format(value=2))
    notebook.taken()
    assert kartnb.build(notebook['Train']()) == 5
    assert notebook.taken() == []
    record = kartnb.Workspace().run(notebook['Train']()).record
    assert record is not None
    assert (record.state, len(record.inputs), bool(record.result_id)) == ('adopted', 1, True)
    assert kartnb.build(notebook['Train']()) == 5
    notebook.run(LOAD.format(value=3))
    assert kartnb.build(notebook['Train']()) == 15


def test_a_result_without_a_record_stays_when_only_its_input_has_to_be_made_again(notebook: Notebook) -> None:
    notebook.run(BOTH)
    kartnb.build(notebook['Both']())
    for path in [*_records('Load'), *_records('Train'), *_records('Both')]:
        path.unlink()
    for name in ('Load', 'Both'):
        Path(notebook[name]().output().path()).unlink()
    notebook.taken()
    kartnb.build(notebook['Both']())
    assert sorted(notebook.taken()) == ['Both', 'Load']
    assert kartnb.plan(notebook['Both']()).to_run() == ()
    notebook.run(LOAD.format(value=3))
    assert {node.name for node in kartnb.plan(notebook['Both']()).to_run()} == {'Load', 'Train', 'Both'}


def test_what_was_brought_back_is_kept_until_the_code_changes_again(notebook: Notebook) -> None:
    kartnb.build(notebook['Load']())
    notebook.run(LOAD.format(value=2))
    kartnb.build(notebook['Load']())
    done = kartnb.restore_result(notebook['Load']())
    assert f'result {done.result_id} is restored. {done.replaced}, which it replaces, is kept' in repr(done)
    assert _states(notebook['Load']()) == {'Load': 'cached restored, and kept until the code changes again'}
    assert kartnb.build(notebook['Load']()) == 1
    notebook.run(LOAD.format(value=1))
    assert _states(notebook['Load']()) == {'Load': 'cached'}, 'this is the code that made it'
    notebook.run(LOAD.format(value=3))
    assert kartnb.build(notebook['Load']()) == 3
    kartnb.restore_result(notebook['Load'](), done.replaced, keep=False)
    assert _states(notebook['Load']())['Load'].startswith('stale will be brought back from ')
    assert kartnb.build(notebook['Load']()) == 3
    with pytest.raises(kartnb.StorageError, match='No result nothing of Load_'):
        kartnb.restore_result(notebook['Load'](), 'nothing')
    with pytest.raises(kartnb.StorageError, match='No earlier result of Train'):
        kartnb.restore_result(notebook['Train']())


def test_a_run_that_fails_leaves_the_earlier_result_whole(notebook: Notebook) -> None:
    cell = """
class Two(kartnb.TaskOnKart):
    def output(self):
        return {{'a': self.make_target('a.txt'), 'b': self.make_target('b.txt')}}

    def run(self):
        self.dump('{value}', 'a')
        {fail}
        self.dump('{value}', 'b')
"""
    notebook.run(cell.format(value=1, fail=''))
    assert kartnb.build(notebook['Two']()) == {'a': ['1'], 'b': ['1']}
    notebook.run(cell.format(value=2, fail='1 / 0'))
    with pytest.raises(kartnb.GokartBuildError):
        kartnb.build(notebook['Two']())
    assert kartnb.build(notebook['Two'](), on_code_change='ignore') == {'a': ['1'], 'b': ['1']}
    assert not any(Path('resources/log/superseded').iterdir())
    notebook.run(cell.format(value=2, fail=''))
    assert kartnb.build(notebook['Two']()) == {'a': ['2'], 'b': ['2']}
    kartnb.restore_result(notebook['Two']())
    assert kartnb.build(notebook['Two']()) == {'a': ['1'], 'b': ['1']}


def test_results_of_another_python(notebook: Notebook) -> None:
    kartnb.build(notebook['Load']())
    [record] = _records('Load')
    made_by = json.loads(record.read_text())['code']
    elsewhere = '399b-000000000000'
    record.rename(record.with_name(record.name.replace(made_by, elsewhere)))
    code = Path('resources/log/run_record/code')
    kept = (code / f'{made_by}.code').read_text()
    assert 'made under another Python' in _states(notebook['Load']())['Load'], 'its source was not kept'
    (code / f'{elsewhere}.code').write_text(kept)
    assert _states(notebook['Load']()) == {'Load': 'cached'}
    notebook.run(LOAD.format(value=2))
    assert _states(notebook['Load']()) == {'Load': 'stale code changed: Load.run'}


def test_results_that_an_older_kartnb_recorded(notebook: Notebook) -> None:
    kartnb.build(notebook['Load']())
    [record] = _records('Load')
    made_by = json.loads(record.read_text())['code']
    code = Path('resources/log/run_record/code')
    kept = json.loads((code / f'{made_by}.code').read_text())
    older = f'{PYTHON}-000000000000'
    record.rename(record.with_name(record.name.replace(made_by, older)))
    cannot_tell = {
        'Load': 'cached cannot tell whether the code has changed: the result was recorded by an older kartnb'
    }
    assert _states(notebook['Load']()) == cannot_tell, 'its source was not kept'
    kept['parts'] = [part for part in kept['parts'] if part['kind'] == 'source']
    (code / f'{older}.code').write_text(json.dumps(kept))
    assert _states(notebook['Load']()) == cannot_tell
    notebook.run(LOAD.format(value=2))
    assert _states(notebook['Load']()) == {'Load': 'stale code changed: Load.run'}


def test_hidden_source_is_compared_by_its_bytecode(notebook: Notebook) -> None:
    for value in (1, 1, 2):
        exec(compile(LOAD.format(value=value), '<nowhere>', 'exec'), notebook.names)
        assert kartnb.build(notebook['Load']()) == value
    assert notebook.taken() == ['Load', 'Load']


def test_what_is_not_compared_is_said(notebook: Notebook) -> None:
    notebook.run("API_TOKEN = 'abc'\nclass Load(kartnb.TaskOnKart):\n    def run(self): self.dump(API_TOKEN)")
    kartnb.build(notebook['Load']())
    assert _states(notebook['Load']()) == {'Load': 'cached not compared: API_TOKEN'}
    assert not any('abc' in path.read_text() for path in Path('resources/log').rglob('*.code'))


def test_what_is_not_compared_hides_nothing_else(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    polars = pytest.importorskip('polars')
    Path('sales.csv').write_text('n\n1\n')
    notebook.names['polars'] = polars
    notebook.run(
        "API_TOKEN = 'abc'\nclass Load(kartnb.TaskOnKart):\n"
        "    def run(self): self.dump(len(API_TOKEN) + polars.read_csv('sales.csv')['n'].sum())"
    )
    assert kartnb.build(notebook['Load']()) == 4
    state = _states(notebook['Load']())['Load']
    assert state.startswith('cached cannot tell whether this has changed: polars.read_csv')
    assert state.endswith('; not compared: API_TOKEN')
    capsys.readouterr()
    kartnb.build(notebook['Load']())
    assert 'The result counts as cached' in capsys.readouterr().err


@pytest.mark.parametrize(
    'text', [b'', b'{', b'[]', b'\xff', b'{"format_version": 99}', b'{"format_version": 1, "inputs": 3}']
)
def test_damaged_records_are_no_traceback(text: bytes, notebook: Notebook) -> None:
    kartnb.build(notebook['Train']())
    kartnb.build(notebook['Load'](), rerun=True)
    for path in Path('resources/log/run_record').rglob('*.*'):
        path.write_bytes(text)
    notebook.run(TRAIN.replace('* self', '+ self'))
    assert 'stale' in repr(kartnb.why(notebook['Train']()))
    assert kartnb.build(notebook['Train']()) == 6


def test_planning_opens_no_file_where_all_is_up_to_date(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    kartnb.build(notebook['Train']())

    def refuse(self: Any, path: str, *rest: Any) -> Any:
        raise AssertionError(f'{path} was opened')

    for name in ('read_bytes', 'open_read', 'size', 'modified', 'stamp'):
        monkeypatch.setattr(_Local, name, refuse)
    assert kartnb.plan(notebook['Train']()).to_run() == ()


def test_a_name_tells_what_a_plan_compares(notebook: Notebook) -> None:
    kartnb.build(notebook['Train']())
    directory = RecordDirectory('./resources/', '__main__')
    task = notebook['Train']()
    record = json.loads(_records('Train')[0].read_text())
    result = directory.result(f'Train_{task.make_unique_id()}')
    assert result is not None
    assert (result.result_id, result.made_by) == (record['result_id'], record['code'])


def test_why_tells_the_difference_the_parameters_and_the_cause(notebook: Notebook) -> None:
    kartnb.build(notebook['Train']())
    assert 'nothing will run, nothing is stale' in repr(kartnb.why(notebook['Train']()))
    notebook.run(LOAD.format(value='"<b>二</b>"'))
    told = kartnb.why(notebook['Train'](depth=6))
    load, train = told
    assert load.nodes[0].state is TaskState.STALE
    assert [change.name for change in load.code] == ['Load.run']
    assert '-    self.dump(1)' in load.code[0].diff
    assert [(p.name, p.before, p.now) for p in train.parameters] == [('depth', '5', '6')]
    text = repr(told)
    assert 'depth: 5 → 6' in text
    assert '+    self.dump("<b>二</b>")' in text
    html = ' '.join(Skeleton(told._repr_html_()).text.split())
    assert '<b>' in html, 'escaped'
    for line in text.split('\n'):
        assert ' '.join(line.replace(':', ' ').split()) in ' '.join(html.replace(':', ' ').split())


def test_why_names_the_upstream_and_the_newer_input(notebook: Notebook) -> None:
    kartnb.build(notebook['Train']())
    notebook.run(LOAD.format(value=2))
    reasons = [node.reason for explanation in kartnb.why(notebook['Train']()) for node in explanation.nodes]
    assert [reason and reason.kind for reason in reasons] == [ReasonKind.CODE_CHANGED, ReasonKind.UPSTREAM_MAY_CHANGE]
    kartnb.build(notebook['Load']())
    [explanation] = kartnb.why(notebook['Train']())
    assert explanation.reason == 'made from an older upstream result: Load'
    assert 'Load was made' in explanation.details[1]


def test_an_older_definition_says_so(notebook: Notebook) -> None:
    old = notebook['Train'](depth=7)
    assert 'older' not in repr(old)
    notebook.run(TRAIN)
    assert repr(old).endswith(" – of an older definition of Train: a build takes it as today's Train")
    assert 'of an older definition of Train' in old._repr_html_()
    new = old.clone(notebook['Train'])
    assert (type(new), new.depth) == (notebook['Train'], 7)
    assert 'older' not in repr(new)


def test_records_keep_no_secret_constant(notebook: Notebook) -> None:
    notebook.run("API_TOKEN = 's3cret'\nURL = 'https://me:s3cret@example.org/'")
    notebook.run(LOAD.format(value='(API_TOKEN and 1, URL and 2)'))
    kartnb.build(notebook['Load']())
    files = [path for path in Path('resources/log').rglob('*') if path.is_file()]
    assert not [path for path in files if b's3cret' in path.read_bytes()]
    [code] = Path('resources/log/run_record/code').iterdir()
    assert 'Load.run' in [part['name'] for part in json.loads(code.read_text())['parts']]


def test_a_row_of_the_history_can_be_brought_back() -> None:
    class Coin(kartnb.TaskOnKart[int]):
        def run(self) -> None:
            self.dump(len(list(Path().glob('flip*'))))

    assert kartnb.build(Coin()) == 0
    Path('flip').touch()
    assert kartnb.build(Coin(), rerun=True) == 1
    workspace = kartnb.Workspace()
    (replaced,) = workspace.runs(state='superseded')
    assert replaced.result_id in str(kartnb.restore_result(replaced))
    assert kartnb.build(Coin()) == 0
    (present,) = workspace.runs(state='cached')
    with pytest.raises(kartnb.KartError, match='only a superseded result can be restored'):
        kartnb.restore_result(present)
