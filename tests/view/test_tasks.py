"""A task, a build in the background and a failed build, as they show themselves; and the inspection of a task."""

from __future__ import annotations

import logging
from typing import Any

import luigi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from IPython.lib.pretty import pretty

import kartnb
from kartnb.inspection.logs import Logs, TaskLine
from kartnb.model import TaskState
from kartnb.view.inspect import Inspection, Inspector, inspection_html, inspection_text
from tests.machine import cost
from tests.view.hostile import ATTACKS, TEXTS, hostile_plan
from tests.view.markup import Skeleton
from tests.view.test_hostile import _check_text

THREE = st.lists(TEXTS, min_size=3, max_size=3)


class Item(kartnb.TaskOnKart[int]):
    number = luigi.IntParameter()
    token = luigi.Parameter(default='s3cret', visibility=luigi.parameter.ParameterVisibility.PRIVATE)

    def run(self) -> None:
        print('working')
        self.dump(self.number)


class All(kartnb.TaskOnKart[int]):
    upto = luigi.IntParameter(default=3)

    def requires(self) -> Any:
        return [Item(number=i) for i in range(self.upto)]

    def run(self) -> None:
        raise AssertionError('looking must not run anything')


class NoPlan(kartnb.TaskOnKart[int]):
    def requires(self) -> Any:
        raise ValueError('no <b>plan</b>')


class Wild(kartnb.TaskOnKart[str]):
    text = luigi.Parameter()


def test_a_task_shows_its_plan_and_itself() -> None:
    text, html = pretty(All()), Skeleton(All()._repr_html_())
    for part in ('Plan of All[', '4 tasks: ○ 4 missing'):
        assert part in text
        assert part in html.text
    assert All().make_unique_id() in html.text
    assert 's3cret' not in text + html.text
    assert pretty([Item(number=1)]).startswith('[Item[')


def test_a_task_that_cannot_be_planned_says_why() -> None:
    assert 'The plan could not be made: ValueError: no <b>plan</b>' in Skeleton(NoPlan()._repr_html_()).text


def test_a_large_graph_is_not_planned_for_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('kartnb.view.inspect.MOST_TASKS', 10)
    task = All(upto=50)
    assert cost(lambda: pretty(task)) < 6
    assert 'This task requires many others' in pretty(task)
    assert 'This task requires many others' in Skeleton(task._repr_html_()).text


def test_a_task_elsewhere_is_not_asked_for() -> None:
    assert 'not on this computer' in pretty(Item(number=1, workspace_directory='s3://bucket/prefix'))


@settings(max_examples=40, deadline=None)
@given(TEXTS)
def test_a_task_shows_any_text_as_text(text: str) -> None:
    html = Wild(text=text)._repr_html_()
    assert Skeleton(html).tags == Skeleton(Wild(text='a')._repr_html_()).tags
    _check_text(pretty(Wild(text=text)))


def test_a_background_build_and_a_failure_show_themselves() -> None:
    handle = kartnb.build(Item(number=1), background=True, executor='threads', log_level=logging.CRITICAL)
    handle.wait()
    assert pretty(handle).startswith('✓ Build of Item[')
    assert 'succeeded' in Skeleton(handle._repr_html_()).text
    with pytest.raises(kartnb.GokartBuildError) as caught:
        kartnb.build(All(), log_level=logging.CRITICAL)
    assert pretty(caught.value).startswith('✗ Build of All[')
    assert 'looking must not run' in Skeleton(str(caught.value._repr_html_())).text
    assert pretty([caught.value]).startswith('[GokartBuildError(')


def test_an_inspection_tells_all() -> None:
    kartnb.build(Item(number=7))
    found = kartnb.inspect(Item(number=7))
    text, html = repr(found), Skeleton(found._repr_html_()).text
    for part in ('● cached', 'number = 7  ★', 'working', 'class Item(', '✓ done', "gokart's log: processing time"):
        assert part in text
        assert ' '.join(part.split()) in html
    assert found.to_dict()['name'] == 'Item'
    assert 's3cret' not in text + html


def test_an_inspection_in_a_larger_plan_knows_what_requires_it() -> None:
    plan = kartnb.plan(All())
    found = kartnb.inspect(plan.nodes[0].key, plan)
    assert 'Required by' in repr(found)
    with pytest.raises(KeyError):
        kartnb.inspect(Item(number=99), plan)
    with pytest.raises(TypeError, match='task class'):
        kartnb.inspect(Item)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXTS, min_size=5, max_size=5))
def test_inspections_show_any_text_as_text(texts: list[str]) -> None:
    found, benign = (_inspection(t) for t in (texts, ['a', 'b', 'c', 'd', 'e']))
    html = Skeleton(inspection_html(found))
    assert {tag for tag, _ in html.tags} == {tag for tag, _ in Skeleton(inspection_html(benign)).tags}
    inspection_html(found).encode()
    _check_text(inspection_text(found))


def _inspection(texts: list[str]) -> Inspection:
    plan = hostile_plan(texts)
    inspector = Inspector(plan)
    return Inspection(inspector.brief(plan.nodes[0].key), inspector.details(plan.nodes[0].key))


@settings(max_examples=60, deadline=None)
@given(THREE)
def test_logs_show_any_text_as_text(texts: list[str]) -> None:
    found, benign = (_logs(t) for t in (texts, ['a', 'b', 'c']))
    assert Skeleton(found._repr_html_()).tags == Skeleton(benign._repr_html_()).tags
    _check_text(repr(found))


def _logs(texts: list[str]) -> Logs:
    name, text, path = texts
    lines = [TaskLine(1.0, name, name, 'log', 30, text, text), TaskLine(2.0, name, name, 'stdout', 0, '', text)]
    return Logs(name, lines, {'a': path, 'b': path})


@pytest.mark.parametrize('attack', ATTACKS)
def test_outputs_show_any_text_as_text(attack: str) -> None:
    found = kartnb.outputs(hostile_plan([attack]))
    benign = kartnb.outputs(hostile_plan(['a']))
    assert Skeleton(found._repr_html_()).tags == Skeleton(benign._repr_html_()).tags
    _check_text(repr(found))
    assert all(output.state in TaskState for output in found)
