"""`adopt`: a class that was moved or renamed keeps its results."""

from __future__ import annotations

import html
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kartnb
from kartnb.errors import TaskArgumentError
from kartnb.history.run_record import RunRecord
from kartnb.model import HELD, TaskState, split_note
from kartnb.storage.run_lock import intent_text
from kartnb.storage.run_records import RecordDirectory
from kartnb.view.graph_svg import plan_svg
from tests.task.cells import Notebook

BEST = """
class {name}(kartnb.TaskOnKart):
    n = luigi.IntParameter(default=1)

    def run(self):
        print('running')
        self.dump(self.n * {factor})
"""
REPORT = """
class Report(kartnb.TaskOnKart):
    def requires(self):
        return {name}()

    def run(self):
        self.dump(self.load() + 1)
"""


@pytest.fixture(autouse=True)
def forget_modules() -> Iterator[None]:
    """Leave no module behind that a test has imported."""
    before = {*sys.modules}
    yield
    for name in [name for name in sys.modules if name not in before and name.startswith('shop_')]:
        del sys.modules[name]


def _module(module: str, name: str = 'Best', factor: int = 10) -> Notebook:
    notebook = Notebook(module)
    notebook.run(BEST.format(name=name, factor=factor))
    return notebook


def _report(best: Notebook, name: str = 'Best') -> Any:
    reports = Notebook('reports_of_adopt')
    reports.names[name] = getattr(best, name)
    reports.run(REPORT.format(name=name))
    return reports.Report


def _to_run(task: Any) -> list[str]:
    return [node.name for node in kartnb.plan(task, on_code_change='rerun').to_run()]


def _note(task: Any) -> str:
    return kartnb.plan(task)[task].note


def test_a_moved_class_is_found_and_taken_over() -> None:
    old = _module('shop_old.train')
    assert kartnb.build(_report(old)()) == 11
    new = _module('shop_new.features')
    report = _report(new)
    told = str(kartnb.why(new.Best()))
    assert told.count("kartnb.adopt(Best, of='shop_old.train.Best')") == 1
    assert 'no run of Best is recorded' not in told
    done = kartnb.adopt(new.Best, of='shop_old.train.Best')
    assert len(done.tasks) == 1
    assert _to_run(report()) == []
    assert kartnb.build(report(), on_code_change='rerun') == 11
    assert 'running' in str(kartnb.logs(new.Best()))
    [path] = Path('resources/log/run_record/shop_new/features').glob('Best_*~r*.json')
    record = RunRecord.from_json(path.read_text())
    assert (record.module, record.accepted['why']) == ('shop_new.features', 'taken over from shop_old.train.Best')
    assert 'already' in str(kartnb.adopt(new.Best, of='shop_old.train.Best'))


def test_a_renamed_class_is_found_by_the_id_under_its_old_name() -> None:
    old = _module('shop_renamed')
    kartnb.build(old.Best(n=1))
    kartnb.build(old.Best(n=2))
    new = _module('shop_renamed', 'Chosen')
    assert _to_run(new.Chosen(n=2)) == ['Chosen']
    done = kartnb.adopt(new.Chosen, of='shop_renamed.Best')
    assert len(done.tasks) == 2
    assert _to_run(new.Chosen(n=2)) == []
    assert kartnb.build(new.Chosen(n=2), on_code_change='rerun') == 20


def test_other_code_stays_other_code() -> None:
    kartnb.build(_module('shop_code').Best())
    new = _module('shop_code', 'Chosen', factor=30)
    kartnb.adopt(new.Chosen, of='shop_code.Best')
    assert _to_run(new.Chosen()) == ['Chosen']
    assert kartnb.plan(new.Chosen(), on_code_change='warn').to_run() == ()


def test_what_cannot_be_taken_over_is_said() -> None:
    new = _module('shop_wrong')
    Path('resources').mkdir()
    with pytest.raises(kartnb.StorageError, match=r'No result of shop_gone\.Best is recorded'):
        kartnb.adopt(new.Best, of='shop_gone.Best')
    for wrong in ('Best', 'shop_wrong.Best', 3):
        with pytest.raises(TaskArgumentError, match='of must name the module and the class that Best was'):
            kartnb.adopt(new.Best, of=wrong)  # type: ignore[arg-type]
    with pytest.raises(TaskArgumentError, match='adopt needs a class of tasks'):
        kartnb.adopt(new.Best(), of='shop_gone.Best')  # type: ignore[arg-type]


def test_a_plan_names_the_result_of_a_class_that_was_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    source = tmp_path / 'shop_on_disk.py'
    source.write_text('import kartnb\nclass Best(kartnb.TaskOnKart):\n    def run(self): self.dump(1)\n')
    kartnb.build(importlib.import_module('shop_on_disk').Best())
    new = Notebook('shop_of_disk')
    new.run('class Best(kartnb.TaskOnKart):\n    def run(self): self.dump(1)')
    assert _note(new.Best()) == '', 'the other class is still there'
    source.write_text('')
    told = "a result of shop_on_disk.Best with the same parameters exists: kartnb.adopt(Best, of='shop_on_disk.Best')"
    assert _note(new.Best()) == told
    assert told in repr(kartnb.plan(new.Best()))
    planned = kartnb.plan(new.Best())
    assert told in html.unescape(planned._repr_html_())
    assert '>exists under another name: adopt<' in plan_svg(planned)
    assert planned.with_states({planned.root.key: TaskState.DONE}).root.note == '', 'it has a result of its own now'
    kartnb.adopt(new.Best, of='shop_on_disk.Best')
    assert (_note(new.Best()), _to_run(new.Best())) == ('', [])


def test_a_plan_names_the_result_of_a_class_that_was_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    source = tmp_path / 'shop_rename.py'
    source.write_text('import kartnb, luigi\n' + BEST.format(name='Best', factor=10))
    module = importlib.import_module('shop_rename')
    kartnb.build(module.Best(n=2))
    new = _module('shop_renaming', 'Chosen')
    assert _note(new.Chosen(n=2)) == '', 'the other class is still there'
    source.write_text('import kartnb, luigi\n' + BEST.format(name='Chosen', factor=10))
    told = "a result of shop_rename.Best with the same parameters exists: kartnb.adopt(Chosen, of='shop_rename.Best')"
    assert _note(importlib.reload(module).Chosen(n=2)) == told
    assert _note(new.Chosen(n=2)) == told
    assert _note(new.Chosen(n=3)) == '', 'it has never been run'


def test_who_runs_a_moved_task_is_still_said() -> None:
    kartnb.build(_module('shop_held_before').Best())
    new = _module('shop_held')
    slot = RecordDirectory('./resources/', 'shop_held').slot(f'Best_{new.Best().make_unique_id()}')
    lock: Any = slot.lock('abc')
    lock.announce(intent_text((), '', ''))
    try:
        node = kartnb.plan(new.Best()).root
        before, held = split_note(node.note)
        assert before.startswith('a result of shop_held_before.Best')
        assert held.startswith(HELD)
    finally:
        lock.release()
