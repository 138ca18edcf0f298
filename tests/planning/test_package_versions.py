"""The versions of the packages that a task reaches: in its record, and a reason where a policy says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import kartnb
from kartnb.errors import TaskSettingError
from kartnb.history import package_versions
from kartnb.history.run_record import RunRecord
from tests.task.cells import Notebook

CELL = """
import yaml

class Parsed(kartnb.TaskOnKart):
    {policy}
    n = luigi.IntParameter(default=1)

    def run(self):
        self.dump(yaml.safe_load('1'))
"""


def _task(policy: str = '') -> Any:
    notebook = Notebook()
    notebook.run(CELL.format(policy=policy or 'retry_count = 0'))
    return notebook.Parsed()


@pytest.fixture
def another_version(monkeypatch: pytest.MonkeyPatch) -> Any:
    def install() -> None:
        monkeypatch.setattr('yaml.__version__', '99.1')
        package_versions.versions_of.cache_clear()

    package_versions.versions_of.cache_clear()
    yield install
    package_versions.versions_of.cache_clear()


def _to_run(task: Any) -> list[str]:
    return [node.why for node in kartnb.plan(task, on_code_change='rerun').to_run()]


def test_another_version_is_a_reason_where_a_policy_says_so(
    another_version: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    yaml = pytest.importorskip('yaml')
    before = yaml.__version__
    assert kartnb.build(_task()) == 1
    [path] = Path('resources/log/run_record').rglob('Parsed_*~r*.json')
    assert RunRecord.from_json(path.read_text()).versions['pyyaml'] == before
    another_version()
    reason = f'package versions changed: pyyaml {before} → 99.1'
    assert _to_run(_task()) == []
    for policy in ("on_version_change = 'rerun'", "on_version_change = {'pyyaml': 'rerun'}"):
        assert _to_run(_task(policy)) == [reason]
    assert _to_run(_task("on_version_change = {'numpy': 'rerun'}")) == []
    changed = _task("on_version_change = 'rerun'")
    assert f'Versions since then: pyyaml {before} → 99.1' in str(kartnb.why(changed))
    kept = _task("on_version_change = 'warn'")
    assert _to_run(kept) == []
    assert (
        f"pyyaml {before} → 99.1; the result is kept, because on_version_change is 'warn'"
        in kartnb.plan(kept).root.note
    )
    monkeypatch.setenv('KARTNB_ON_VERSION_CHANGE', 'rerun')
    assert _to_run(_task()) == [reason]
    assert kartnb.build(_task(), on_version_change='ignore') == 1
    assert _to_run(_task()) == [reason]
    assert kartnb.build(_task(), on_version_change='rerun') == 1
    assert _to_run(_task()) == []


def test_what_is_no_policy_is_refused() -> None:
    kartnb.build(_task())
    with pytest.raises(TaskSettingError, match=r"Parsed\.on_version_change must be 'ignore', 'warn' or 'rerun'"):
        kartnb.plan(_task("on_version_change = 'often'"))
    with pytest.raises(TaskSettingError, match="on_version_change must be 'ignore', 'warn' or 'rerun', not 'often'"):
        kartnb.build(_task(), on_version_change='often')


def test_a_mistake_in_a_class_is_told_before_anything_runs() -> None:
    must = r"Parsed\.on_version_change must be 'ignore', 'warn' or 'rerun', not "
    for policy, told in (("'often'", "'often'"), ('True', 'True'), ("['yaml']", r"\['yaml'\]")):
        with pytest.raises(TaskSettingError, match=must + told):
            kartnb.build(_task(f'on_version_change = {policy}'))
    with pytest.raises(TaskSettingError, match=r"Parsed\.on_version_change\['yaml'\] must be"):
        kartnb.build(_task("on_version_change = {'yaml': 'often'}"))
    with pytest.raises(TaskSettingError, match=r"Parsed\.on_code_change must be 'rerun', 'warn', 'error' or 'ignore'"):
        kartnb.build(_task('on_code_change = False'))
    # what is no setting may have the name
    assert kartnb.build(_task("on_version_change = luigi.Parameter(default='often')")) == 1


def test_every_way_to_ask_takes_the_policy(another_version: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert kartnb.build(_task()) == 1
    another_version()
    assert [node.name for node in kartnb.plan(_task(), on_version_change='rerun').to_run()] == ['Parsed']
    assert '→ 99.1' in str(kartnb.why(_task(), on_version_change='rerun').plan)
    assert '→ 99.1' in str(kartnb.sweep(_task(), n=[1], dry_run=True, on_version_change='rerun').plan)


def test_the_command_line_takes_the_policy(another_version: Any, capsys: pytest.CaptureFixture[str]) -> None:
    notebook = Notebook('versions_of_a_script')
    notebook.run(CELL.format(policy='retry_count = 0').replace('Parsed', 'Scripted'))
    for option, code, replaced in (('warn', 0, 0), ('ignore', 0, 0), ('rerun', 0, 1), ('often', 2, 1)):
        with pytest.raises(SystemExit) as ended:
            kartnb.run(['Scripted', '--no-lock', '--local-scheduler', f'--on-version-change={option}'])
        assert ended.value.code == code, capsys.readouterr()
        another_version()
        assert len([*Path('resources/log').glob('superseded/*')]) == replaced
    assert '--on-version-change' in capsys.readouterr().err


def test_a_version_policy_holds_where_code_changes_are_ignored(another_version: Any) -> None:
    assert kartnb.build(_task()) == 1
    another_version()
    for options in ({'on_version_change': 'rerun'}, {}):
        policy = '' if options else "on_version_change = {'yaml': 'rerun'}"
        [node] = kartnb.plan(_task(policy), on_code_change='ignore', **options).to_run()
        assert '→ 99.1' in node.why
    assert kartnb.plan(_task(), on_code_change='ignore').to_run() == ()


def test_what_a_task_asks_for_while_it_runs_counts_by_its_versions_too(another_version: Any) -> None:
    cell = f"""{CELL}
class Asking(kartnb.TaskOnKart):
    def run(self):
        yield Parsed()
        self.dump(1)
"""
    notebook = Notebook()
    notebook.run(cell.format(policy="on_version_change = 'rerun'"))
    kartnb.build(notebook.Asking())
    assert kartnb.plan(notebook.Asking()).to_run() == ()
    another_version()
    plan = kartnb.plan(notebook.Asking())
    assert [(node.name, node.is_conditional) for node in plan.to_run()] == [('Parsed', False), ('Asking', True)]


@pytest.mark.parametrize('package, distribution', [('yaml', 'pyyaml'), ('xdist', 'pytest-xdist'), ('no_such', None)])
def test_what_is_imported_belongs_to_a_distribution(package: str, distribution: str | None) -> None:
    assert package_versions.distributions_of(package) == ((distribution,) if distribution else ())
