"""Results that are stale by age, where their class says how long they count."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

import kartnb
from kartnb.errors import TaskSettingError
from kartnb.model import TaskState
from kartnb.planning import expiry
from tests.task.cells import Notebook

CELL = """
from datetime import timedelta

class Base(kartnb.TaskOnKart):
    expires = {expires}

class Prices(Base):
    def run(self):
        self.dump(VALUE)

class Report(kartnb.TaskOnKart):
    def requires(self):
        return Prices()

    def run(self):
        self.dump(self.load() + 1)

class Asks(kartnb.TaskOnKart):
    def run(self):
        prices = yield Prices()
        self.dump(prices.load() * 2)
"""


def _notebook(expires: str = 'timedelta(days=1)') -> Notebook:
    notebook = Notebook()
    notebook.names['VALUE'] = 1
    notebook.run(CELL.format(expires=expires))
    return notebook


def _later(monkeypatch: pytest.MonkeyPatch, hours: float) -> None:
    now = time.time
    monkeypatch.setattr(expiry.time, 'time', lambda: now() + hours * 3600)


def _states(task: Any, **options: Any) -> dict[str, str]:
    return {node.name: node.why if node.will_run else str(node.state) for node in kartnb.plan(task, **options)}


def test_an_old_result_and_what_is_made_from_it_is_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = _notebook()
    assert kartnb.build(notebook.Report()) == 2
    assert kartnb.build(notebook.Asks()) == 2
    assert kartnb.plan(notebook.Report()).to_run() == ()
    with monkeypatch.context() as patch:
        _later(patch, 26)
        assert _states(notebook.Prices()) == {'Prices': 'expired: made 26 h ago, expires after 1 day'}
        assert kartnb.plan(notebook.Report()).root.state is TaskState.STALE
        assert 'made 26 h ago' in str(kartnb.why(notebook.Report()))
        assert kartnb.plan(notebook.Asks()).root.will_run
        # gokart's behaviour for code is not a wish to keep results for ever
        assert kartnb.plan(notebook.Prices(), on_code_change='ignore').root.will_run
        assert kartnb.plan(notebook.Report(), on_code_change='ignore').root.is_conditional
        notebook.names['VALUE'] = 5
        assert kartnb.build(notebook.Report(), on_code_change='ignore') == 6
    assert kartnb.plan(notebook.Report()).to_run() == ()


def test_an_expired_result_is_made_again_once(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = _notebook('timedelta(milliseconds=400)')
    assert kartnb.build(notebook.Report()) == 2
    time.sleep(0.5)
    notebook.names['VALUE'] = 5
    # the value is not a part of the code: `on_code_change` has nothing to do with it
    assert kartnb.build(notebook.Report(), on_code_change='warn') == 6
    notebook.run(CELL.format(expires='timedelta(days=1)'))
    assert kartnb.plan(notebook.Report(), on_code_change='rerun').to_run() == ()


def test_a_result_without_a_record_is_as_old_as_its_file() -> None:
    notebook = _notebook()
    kartnb.build(notebook.Prices())
    path = Path(notebook.Prices().output().path())
    for record in Path('resources/log/run_record').rglob('Prices*.json'):
        record.unlink()
    assert kartnb.plan(notebook.Prices()).to_run() == ()
    os.utime(path, (time.time() - 3 * 86400,) * 2)
    assert _states(notebook.Prices()) == {'Prices': 'expired: made 3 days ago, expires after 1 day'}


@pytest.mark.parametrize('expires', ['3600', "'1 day'", 'timedelta(days=-1)'])
def test_anything_but_a_duration_is_refused(expires: str) -> None:
    notebook = _notebook(expires)
    with pytest.raises(TaskSettingError, match=r'Prices\.expires must be a duration such as timedelta\(days=1\)'):
        kartnb.plan(notebook.Prices())


def test_a_parameter_of_that_name_counts_where_it_is_a_duration() -> None:
    notebook = Notebook()
    notebook.run("""
from datetime import timedelta

class Dated(kartnb.TaskOnKart):
    expires = luigi.Parameter(default='2026-01-01')

    def run(self):
        self.dump(1)

class Lasting(kartnb.TaskOnKart):
    expires = luigi.TimeDeltaParameter(default=timedelta(0))

    def run(self):
        self.dump(1)
""")
    assert kartnb.build(notebook.Dated()) == kartnb.build(notebook.Lasting()) == 1
    assert kartnb.plan(notebook.Dated()).to_run() == ()
    assert [node.name for node in kartnb.plan(notebook.Lasting()).to_run()] == ['Lasting']


def test_duration_texts() -> None:
    assert [expiry.duration_text(x) for x in (0, 119, 3600 * 47, 86400, 86400 * 2.5)] == [
        '0 s', '119 s', '47 h', '1 day', '2.5 days',
    ]  # fmt: skip
