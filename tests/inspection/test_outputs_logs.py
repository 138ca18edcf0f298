"""`kartnb.outputs` and `kartnb.logs`: what they find, how they are sorted, filtered and shown."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import luigi
import pytest

import kartnb
from kartnb.view.live import logs_coloured
from tests.view.graphs import Free, Load, node
from tests.view.markup import Skeleton


class Words(kartnb.TaskOnKart[list[str]]):
    count = luigi.IntParameter(default=2)
    token = luigi.Parameter(default='s3cret', visibility=luigi.parameter.ParameterVisibility.PRIVATE)

    def output(self) -> Any:
        return {'all': self.make_target('words.txt'), 'first': self.make_target('first.pkl')}

    def run(self) -> None:
        print(f'{self.count} words')
        logging.getLogger('mine').warning('careful\nwith it')
        self.dump(['a', 'b'], 'all')
        self.dump('a', 'first')


class 報告(kartnb.TaskOnKart[int]):
    def requires(self) -> Any:
        return [Words(count=2), Words(count=5)]

    def run(self) -> None:
        print('報告')
        logging.getLogger('mine').error('bad')
        self.dump(1)


class Fails(kartnb.TaskOnKart[int]):
    def requires(self) -> Any:
        return 報告()

    def run(self) -> None:
        print('before it fails')
        raise ValueError('no')


@pytest.fixture
def built() -> kartnb.TaskOnKart[int]:
    kartnb.build(報告(), log_level=logging.CRITICAL)
    return 報告()


def test_every_output_is_a_row(built: Any) -> None:
    found = kartnb.outputs(built)
    assert [(output.task, output.format, output.exists) for output in found] == [
        ('報告', 'pkl', True),
        *[('Words', 'txt', True), ('Words', 'pkl', True)] * 2,
    ]
    assert found[0].size == Path(found[0].path).stat().st_size
    assert found[-1].load() == 'a'
    assert 's3cret' not in repr(found) + found._repr_html_() + repr(found[1])
    frame = found.to_dataframe()
    assert list(frame['format']) == ['pkl', 'txt', 'pkl', 'txt', 'pkl']
    assert frame['parameters'][1]['count'] in ('2', '5')


def test_outputs_that_are_not_made_say_so() -> None:
    found = kartnb.outputs(報告())
    assert not any(output.exists for output in found)
    assert 'not created' in repr(found)
    assert found.to_dataframe()['size'].isna().all()
    with pytest.raises(kartnb.StorageError):
        found[0].load()


def test_outputs_are_sorted_and_filtered(built: Any) -> None:
    found = kartnb.outputs(built)
    assert found.sort('task', descending=True)[0].task == '報告'
    sizes = [output.size for output in found.sort('size')]
    assert sizes == sorted(sizes)
    assert len(found.filter('COUNT=5')) == 2
    assert len(found.filter(format='.txt', state='cached')) == 2
    assert len(found.filter(task='Words', existing=False)) == 0
    assert len(found[1:3]) == 2
    with pytest.raises(kartnb.FilterError, match='the states are cached'):
        found.filter(state='chached')
    with pytest.raises(kartnb.FilterError, match='the columns are task'):
        found.sort('colour')


def test_a_result_is_loaded_by_its_path(built: Any) -> None:
    for output in kartnb.outputs(built):
        assert kartnb.load_result(output.path) == output.load()
        assert eval(output.load_code) == output.load()
    with pytest.raises(kartnb.StorageError):
        kartnb.load_result('nowhere.pkl')


def test_results_in_memory_are_outputs_too() -> None:
    from kartnb.storage.targets import make_in_memory_target

    class InMemory(kartnb.TaskOnKart[int]):
        def output(self) -> Any:
            return make_in_memory_target('inspected_test_key')

        def run(self) -> None:
            self.dump(3)

    kartnb.build(InMemory())
    (output,) = kartnb.outputs(InMemory())
    assert (output.exists, output.size, output.load()) == (True, None, 3)


def test_outputs_text_and_html_say_the_same(built: Any) -> None:
    found = kartnb.outputs(built)
    text, html = repr(found), Skeleton(found._repr_html_()).text
    for output in found:
        assert output.path in text
        assert output.path in html
    assert '5 outputs of 報告[' in text
    assert '5 outputs of 報告[' in html


def test_many_outputs_are_bounded() -> None:
    nodes = [node(Free(text=f'{i}<b>' + 'x' * 3000), name=f'T{i}', outputs=['y' * 3000]) for i in range(500)]
    found = kartnb.outputs(kartnb.Plan((*nodes, node(Load())), '/w'))
    assert len(found) == 501
    assert '… 301 more' in repr(found)
    assert len(found._repr_html_()) < 300_000


def test_logs_of_a_task_are_its_own(built: Any) -> None:
    found = kartnb.logs(built)
    assert [(line.source, line.level, line.text) for line in found] == [('stdout', 0, '報告'), ('log', 40, 'bad')]
    assert repr(found).splitlines()[0] == 'Log of 報告: 2 lines, 1 error'
    (path,) = found.files.values()
    assert f'full log: {path}' in repr(found)
    assert len(kartnb.logs(built, level='error')) == 1
    assert len(kartnb.logs(built, grep='BAD|NOTHING')) == 1


def test_logs_of_a_plan_are_interleaved(built: Any) -> None:
    found = kartnb.logs(kartnb.plan(built))
    times = [line.time for line in found]
    assert times == sorted(times)
    assert len(found) == 6
    assert len(found.filter(task='Words')) == 4
    assert len(found.filter(task='Words', level=logging.INFO, grep='words$')) == 2
    assert set(found.to_dataframe().columns) >= {'time', 'task', 'text'}


def test_logs_of_a_build_are_those_of_that_build(built: Any) -> None:
    with pytest.raises(kartnb.GokartBuildError) as caught:
        kartnb.build(Fails(), log_level=logging.CRITICAL)
    assert [line.text for line in kartnb.logs(caught.value)] == ['before it fails', 'ValueError: no']
    assert [line.text for line in kartnb.logs(caught.value.report)] == ['before it fails', 'ValueError: no']
    assert [line.text for line in kartnb.logs(Fails(), level='error')] == ['ValueError: no']
    handle = kartnb.build(Words(count=2), rerun=True, background=True, executor='threads', log_level=logging.CRITICAL)
    handle.wait()
    assert [line.text for line in kartnb.logs(handle)] == ['2 words', 'careful\nwith it']
    assert len(kartnb.outputs(handle)) == 2


def test_logs_text_and_html_say_the_same(built: Any) -> None:
    found = kartnb.logs(kartnb.plan(built))
    html = Skeleton(found._repr_html_()).text
    for line in repr(found).splitlines():
        for word in line.split():
            assert word in html


def test_levels_are_coloured_in_terminals(built: Any) -> None:
    coloured = logs_coloured(kartnb.logs(built))
    assert re.search('\x1b\\[31m.*ERROR.*bad\x1b\\[0m', coloured)
    assert re.sub('\x1b\\[[0-9;]*m', '', coloured) == repr(kartnb.logs(built))


def test_many_lines_are_bounded_and_name_the_file() -> None:
    class Loud(kartnb.TaskOnKart[int]):
        def run(self) -> None:
            for i in range(3000):
                print(i, '<b>' * 200)
            self.dump(1)

    kartnb.build(Loud(), log_level=logging.CRITICAL)
    found = kartnb.logs(Loud())
    assert len(found) == 3000
    assert re.search(r'… 2,\d{3} earlier lines', repr(found))
    assert len(found._repr_html_()) < 180_000
    assert '2999 ' in repr(found)


def test_a_silent_task_says_so() -> None:
    class Silent(kartnb.TaskOnKart[int]):
        def run(self) -> None:
            self.dump(1)

    kartnb.build(Silent())
    assert repr(kartnb.logs(Silent())) == 'Log of Silent: 0 lines\nNothing was printed or logged.'
    assert len(kartnb.logs(Load())) == 0


@pytest.mark.parametrize('ask', [kartnb.outputs, kartnb.logs])
def test_what_is_nothing_of_kartnb_is_refused_in_one_sentence(ask: Any) -> None:
    with pytest.raises(TypeError, match='Expected a task, a plan or a build'):
        ask(3)
    with pytest.raises(TypeError, match='Words is a task class'):
        ask(Words)


@pytest.mark.parametrize('wrong', [{'level': 'LOUD'}, {'grep': '['}])
def test_wrong_filters_are_one_sentence(built: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(kartnb.FilterError):
        kartnb.logs(built, **wrong)
