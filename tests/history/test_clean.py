"""`kartnb.clean`: what no root needs is removed on request, and everything else stays."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import Any

import luigi
import pytest

import kartnb
from kartnb.history.gather import take_inventory
from kartnb.history.select import Bounds
from kartnb.storage import census
from tests.view.markup import Skeleton

#: The workspace: each test has its own working directory.
place = Path('resources')


class Source(kartnb.TaskOnKart):
    n = luigi.IntParameter(1)

    def run(self) -> None:
        self.dump('x' * self.n)


class Result(kartnb.TaskOnKart):
    n = luigi.IntParameter(1)

    def requires(self) -> Any:
        return Source(n=self.n)

    def run(self) -> None:
        yield Source(n=self.n + 100)
        print('a line')
        self.dump(self.load())


def _files() -> set[str]:
    return {str(path.relative_to(place)) for path in place.rglob('*') if path.is_file()}


def test_what_no_root_needs_is_removed_on_request() -> None:
    kartnb.build(Result(n=1))
    needed = _files()
    kartnb.build(Result(n=2))
    (place / 'mine.csv').write_text('a,b')
    (place / 'download_0f8a1e535d6e08afe59f40696f6010c5.bin').write_bytes(b'mine')
    mine = {'mine.csv', 'download_0f8a1e535d6e08afe59f40696f6010c5.bin'}
    found = kartnb.clean(Result(n=1))
    assert {(item.run.task, item.run.parameters['n']) for item in found.items if item.run} == {
        ('Result', '2'), ('Source', '2'), ('Source', '102'),
    }  # fmt: skip
    assert _files() > needed | mine
    assert 'Nothing has been removed yet' in repr(found)
    size = sum((place / path).stat().st_size for path in _files() - needed - mine)
    assert found.size == size
    found.remove()
    assert _files() == needed | mine
    assert repr(found).startswith('Removed 3 entries')
    assert kartnb.build(Result(n=1)) == 'x'


def test_what_several_roots_need_stays() -> None:
    for n in (1, 2, 3):
        kartnb.build(Source(n=n))
    roots = [Source(n=1), Source(n=2)]
    for given in (roots, [roots], [iter(roots)], [Source(n=1), [Source(n=2)]]):
        found = kartnb.clean(*given)
        assert [item.run.parameters['n'] for item in found.items if item.run] == ['3']


def test_removing_at_once_and_again_does_no_harm() -> None:
    kartnb.build(Result(n=1))
    kartnb.build(Result(n=2))
    assert len(kartnb.clean(Result(n=1), remove=True)) == 3
    assert repr(kartnb.clean(Result(n=1))).startswith('Nothing to remove')


def test_replaced_results_are_bounded() -> None:
    for _ in range(3):
        kartnb.build(Source(n=5), rerun=True)
    superseded = [run for run in kartnb.Workspace().runs() if run.state == 'superseded']
    assert len(superseded) == 2
    assert kartnb.Workspace().load(superseded[0].result_id) == 'xxxxx'
    assert len(kartnb.clean(keep_age='1h')) == 0
    assert len(kartnb.clean(keep_number=1)) == 1
    assert len(kartnb.clean(keep_bytes=0)) == 2
    assert [item.run.result_id for item in kartnb.clean(keep_number=1).items if item.run] == [superseded[1].result_id]
    before = _files()
    kartnb.clean(remove=True)
    assert before - _files() == {path for path in before if 'superseded/' in path}
    assert not list((place / 'log/superseded').iterdir())
    assert kartnb.build(Source(n=5)) == 'xxxxx'


def test_a_workspace_is_brought_below_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    for n in (3000, 1000, 2000):
        kartnb.build(Source(n=n))
    kartnb.build(Source(n=2000), rerun=True)
    total = take_inventory(str(place)).size

    def found(*roots: Any, **options: Any) -> list[tuple[str, str]]:
        return [(item.kind, item.run.parameters['n']) for item in kartnb.clean(*roots, **options).items if item.run]

    assert found(keep=total) == []
    assert found(keep=total - 1) == [('superseded', '2000')]  # replaced results go first, then the oldest
    below = total - kartnb.clean(keep=total - 1).size - 1
    assert sorted(found(keep=below)) == [('not needed', '3000'), ('superseded', '2000')]
    assert sorted(found(Source(n=3000), keep=below))[0] == ('not needed', '1000')
    assert 'more than the limit of 0: nothing else can be removed' in repr(kartnb.clean(Source(n=3000), keep=0))
    monkeypatch.setenv('KARTNB_WORKSPACE_LIMIT', f'{total - 1} B')
    assert found() == [('superseded', '2000')]
    assert len(found(Source(n=2000))) == 3  # who names roots says what is needed
    kartnb.clean(keep=below, remove=True)
    assert take_inventory(str(place)).size <= below
    monkeypatch.setenv('KARTNB_WORKSPACE_LIMIT', 'some')
    with pytest.raises(kartnb.KartError, match="KARTNB_WORKSPACE_LIMIT must be a number of bytes, such as '20 GB'"):
        kartnb.clean()


def test_what_is_used_lately_stays_longer() -> None:
    kartnb.build(Source(n=1))
    kartnb.build(Source(n=500))
    kartnb.build(Result(n=1))  # made from the older one
    total = take_inventory(str(place)).size
    first = kartnb.clean(keep=total - 1).items
    assert [item.run.parameters['n'] for item in first if item.run] == ['500']


def test_a_result_that_was_modified_meanwhile_stays() -> None:
    kartnb.build(Source(n=1))
    kartnb.build(Source(n=2))
    found = kartnb.clean(Source(n=1))
    path = Source(n=2).output().path()
    os.utime(path, (1, 1))
    found.remove()
    assert os.path.exists(path)
    assert 'was modified since it was listed' in repr(found)


def test_results_without_a_record_are_counted_only_when_asked_for() -> None:
    kartnb.build(Source(n=1))
    kartnb.build(Source(n=2, should_dump_supplementary_log_files=False))
    for path in (place / 'log/run_record').rglob('Source*'):
        path.unlink()
    found = kartnb.clean(Source(n=1))
    assert [item.kind for item in found.items] == ['code']
    assert found.notes == ('1 result without a record or log stays; unrecorded=True includes such results',)
    assert len(kartnb.clean(Source(n=1), unrecorded=True)) == 2


def test_files_outside_of_the_workspace_stay(tmp_path: Path) -> None:
    class Elsewhere(kartnb.TaskOnKart):
        def output(self) -> Any:
            return self.make_target(str(tmp_path / 'outside.txt'))

        def run(self) -> None:
            self.dump('kept')

    kartnb.build(Elsewhere())
    kartnb.clean(Source(), remove=True)
    assert list(tmp_path.glob('outside_*.txt'))


def test_gokarts_function_keeps_what_it_must() -> None:
    kartnb.build(Result(n=1))
    kartnb.build(Result(n=2))
    (place / 'mine.csv').write_text('a,b')
    kartnb.delete_local_unnecessary_outputs(Result(n=1))
    assert Result(n=1).complete()
    assert not Result(n=2).complete()
    assert (place / 'mine.csv').exists()


def test_results_of_others_and_of_unknown_origin_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('KARTNB_NOTEBOOK', '/a/report.ipynb')
    kartnb.build(Source(n=1))
    kartnb.build(Source(n=2), rerun=True)
    kartnb.build(Source(n=3), rerun=True)
    monkeypatch.setenv('KARTNB_NOTEBOOK', '/b/<i>report.ipynb')
    kartnb.build(Source(n=3), rerun=True)
    kartnb.build(Source(n=4))
    for path in (place / 'log/run_record').rglob('Source*'):
        if path.name.startswith(f'Source_{Source(n=1).make_unique_id()}'):
            path.unlink()
    found = kartnb.clean(Source(n=5))
    assert {item.run.parameters['n'] for item in found.items if item.run} == {'3', '4'}
    left = {item.notebook: (item.made, item.used) for item in found.left_alone}
    assert left == {'/a/report.ipynb': (2, 0), '': (1, 0)}, 'the replaced result is of who made it'
    assert '2 results of report.ipynb and 1 result of unknown origin are left alone: --all' in repr(found)
    before = _files()
    found.remove()
    assert Source(n=1).complete()
    assert not Source(n=3).complete()
    everything = kartnb.clean(Source(n=5), everything=True)
    assert not everything.left_alone
    assert {item.run.parameters['n'] for item in everything.items if item.run} == {'1', '2', '3'}
    assert 'made by' in repr(everything)
    assert before > _files()
    kartnb.delete_local_unnecessary_outputs(Source(n=5))
    assert not Source(n=1).complete(), 'as in gokart, whoever made it'


def test_remote_workspaces_are_cleared_up() -> None:
    for n in (1, 2):
        kartnb.build(Source(n=n, workspace_directory='memory://clean/w'))
    kartnb.clean(Source(n=1, workspace_directory='memory://clean/w'), remove=True)
    assert [run.parameters['n'] for run in kartnb.Workspace('memory://clean/w').runs()] == ['1']


@pytest.mark.parametrize(
    'roots, options, words',
    [
        ([Source], {}, 'clean needs tasks'),
        (['Source'], {}, "not 'Source' .str."),
        ([[Source(), None]], {}, 'not None'),
        ([[]], {}, 'empty list of tasks'),
        ([Source(), Source(workspace_directory='other')], {}, 'different workspaces'),
        ([], {'keep_age': 'long'}, 'is not a duration'),
        ([], {'keep_number': -1}, 'is not a number of results'),
        ([], {'keep_bytes': 'much'}, 'is not a number of bytes'),
        ([], {'keep': 'much'}, 'is not a number of bytes'),
        ([], {'workspace': 'nowhere'}, 'is not a workspace'),
    ],
)
def test_what_makes_no_sense_is_one_sentence(roots: list[Any], options: dict[str, Any], words: str) -> None:
    with pytest.raises(kartnb.KartError, match=words):
        kartnb.clean(*roots, **options)


def test_bounds_hold_together() -> None:
    now = dt.datetime.now(dt.UTC)
    results = [('a', now, 10), ('a', now, 10), ('b', now - dt.timedelta(days=3), 10), ('b', now, 100)]
    assert Bounds.of(None, None, None).kept(results) == [False] * 4
    assert Bounds.of('1 day', 1, '1kB').kept(results) == [True, False, False, True]
    assert Bounds.of(None, None, 25).kept(results) == [True, True, False, False]


def test_text_and_html_say_the_same() -> None:
    kartnb.build(Result(n=1))
    kartnb.build(Source(n=3), rerun=True)
    found = kartnb.clean(Result(n=1))
    html = Skeleton(found._repr_html_()).text
    for line in repr(found).split('\n'):
        for cell in filter(None, line.split('  ')):
            assert cell.strip() in html


def test_a_full_disk_is_warned_of_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census, '_LEAST_SHARE', 2)
    monkeypatch.setattr(census, '_LEAST_BYTES', 1 << 80)
    monkeypatch.setattr(census, '_warned', set())
    with caplog.at_level('WARNING', 'kartnb'):
        kartnb.build(Source(n=1))
        kartnb.build(Source(n=2))
    assert [record.getMessage().startswith('The disk of') for record in caplog.records] == [True]
