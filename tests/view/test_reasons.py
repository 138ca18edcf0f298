"""A reason is told in words that are true in the state of its task, everywhere the same."""

from __future__ import annotations

import html
from dataclasses import replace

import pytest

from kartnb.model import HELD, BuildStatus, Plan, ReasonKind, TaskState, TaskStateChanged
from kartnb.view.graph_svg import plan_svg
from kartnb.view.html import plan_html
from kartnb.view.inspect import Inspector, brief_sections
from kartnb.view.scene import task_facts
from kartnb.view.words import INSTEAD, PAST, reason_text
from tests.view.graphs import pipeline


def test_every_reason_has_words_for_afterwards() -> None:
    assert set(PAST) == set(ReasonKind)


@pytest.mark.parametrize(
    'state, words, heading',
    [
        (TaskState.MISSING, 'an upstream task will run', 'Why it runs'),
        (TaskState.QUEUED, 'an upstream task will run', 'Why it runs'),
        (TaskState.RUNNING, 'an upstream task ran', 'Why it runs'),
        (TaskState.DONE, 'an upstream task ran', 'Why it ran'),
        (TaskState.FAILED, 'an upstream task ran', 'Why it ran'),
        (TaskState.BLOCKED, INSTEAD[TaskState.BLOCKED], 'Why it does not run'),
        (TaskState.CACHED, INSTEAD[TaskState.CACHED], 'Why it does not run'),
    ],
)
def test_text_html_picture_and_inspector_agree(state: TaskState, words: str, heading: str) -> None:
    plan = pipeline()
    plan = plan.with_states({node.key: state for node in plan})
    assert reason_text(plan.root).startswith(words)
    for told in (repr(plan), html.unescape(plan_html(plan)), plan_svg(plan)):
        assert words in told
        assert ('will run' in told.replace('4 will run', '')) == ('will' in words)
    brief = Inspector(plan).brief(plan.root.key)
    assert next(brief_sections(brief)).heading == heading
    assert brief['reason'].startswith(words)


HOLDER = 'pid 4711 on host-a (report.ipynb), since 14:02'


def _everywhere(plan: Plan) -> list[str]:
    """How each view tells the reason of a task."""
    brief = Inspector(plan).brief(plan.root.key)
    return [repr(plan), html.unescape(plan_html(plan)), html.unescape(plan_svg(plan)), brief['reason']]


def test_every_view_says_for_whom_a_task_waits() -> None:
    status = BuildStatus(pipeline())
    status.apply(TaskStateChanged('b', pipeline().root.key, TaskState.WAITING, holder=HOLDER))
    plan = status.plan_now()
    assert plan is not None
    assert all(f'waiting for {HOLDER}; an upstream task will run' in told for told in _everywhere(plan))


def test_who_runs_a_task_is_told_first_and_until_the_build_takes_it_up() -> None:
    planned = pipeline()
    held = f'{HELD}: {HOLDER}'
    plan = Plan((*planned.nodes[:-1], replace(planned.root, note=held)), planned.workspace)
    assert all(f'{held}; an upstream task will run' in told for told in _everywhere(plan))
    assert plan.root.why == f'{held}; an upstream task will run: Load'
    assert task_facts(plan)['reason'][-1][2:4] == ('', held)
    assert all(HELD in told for told in _everywhere(plan.with_states({plan.root.key: TaskState.QUEUED})))
    assert not any(HELD in told for told in _everywhere(plan.with_states({plan.root.key: TaskState.DONE})))


def test_the_live_graph_is_told_both_words_and_no_path_twice() -> None:
    told = task_facts(pipeline())
    assert told['kinds']['output missing'] == 'output was missing'
    assert told['reason'][-1][0] == 'an upstream task will run'
    assert told['reason'][3] is None
