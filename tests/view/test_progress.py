"""How far a build is, in words and as a bar."""

from __future__ import annotations

from collections.abc import Mapping

from kartnb.model import BuildStarted, BuildStatus, Plan, TaskState, TaskStateChanged, WorkersStarting
from kartnb.view.live import progress, progress_html, progress_text
from tests.machine import cost
from tests.view.graphs import MISSING, Evaluate, Load, Train, generated, node
from tests.view.markup import Skeleton


def _plan() -> Plan:
    trained = [node(Train(depth=i), TaskState.MISSING, [0], MISSING) for i in range(3)]
    root = node(Evaluate(), TaskState.MISSING, [1, 2, 3], MISSING)
    return Plan((node(Load(), TaskState.CACHED), *trained, root), '/w')


def _status(
    plan: Plan,
    states: Mapping[str, TaskState] | None = None,
    began: Mapping[str, float] | None = None,
    seconds: Mapping[str, float] | None = None,
) -> BuildStatus:
    """Return the status of a build at 100 s in which tasks have entered states, begun and taken so long."""
    status = BuildStatus()
    status.apply(BuildStarted('b', plan, 0.0))
    for key, state in (states or {}).items():
        start = (began or {}).get(key, 100.0)
        if state in (TaskState.RUNNING, TaskState.DONE, TaskState.FAILED):
            status.apply(TaskStateChanged('b', key, TaskState.RUNNING, time=start))
        if state is not TaskState.RUNNING:
            status.apply(TaskStateChanged('b', key, state, time=start + (seconds or {}).get(key, 0.0)))
    return status


def test_before_the_first_task_nothing_is_promised() -> None:
    state = progress(_status(_plan()), 100.0)
    assert state.words == 'running 0/4'
    assert progress_text(state) == '[····················] running 0/4'


def test_while_workers_start_it_says_so() -> None:
    status = _status(_plan())
    status.apply(WorkersStarting('b', 2))
    assert progress(status, 100.0).words == 'running 0/4 · starting 2 workers'
    status.apply(WorkersStarting('b', 2, 2.8))
    assert progress(status, 100.0).words == 'running 0/4 · starting 2 workers, about 3 s'
    status.apply(WorkersStarting('b', 2, 0.4))
    assert progress(status, 100.0).words == 'running 0/4 · starting 2 workers'
    status.apply(WorkersStarting('b', 1))
    assert progress(status, 100.0).words == 'running 0/4 · starting a worker'
    status.apply(TaskStateChanged('b', _plan().nodes[1].key, TaskState.RUNNING))
    assert 'starting' not in progress(status, 100.0).words


def test_a_running_task_is_named_with_its_time_and_the_rest_is_estimated() -> None:
    plan = _plan()
    keys = [n.key for n in plan]
    states = {keys[1]: TaskState.DONE, keys[2]: TaskState.RUNNING, keys[3]: TaskState.QUEUED}
    state = progress(_status(plan, states, {keys[2]: 96.0}, {keys[1]: 8.0}), 100.0)
    assert state.words == 'running 1/4 · Train (4 s) · about 20 s left'
    assert state.percentage == 25


def test_recorded_times_are_believed_first() -> None:
    plan = _plan()
    keys = [n.key for n in plan]
    expected = dict(zip(keys, (99.0, 10.0, 10.0, 10.0, 60.0), strict=True))
    assert progress(_status(plan), 100.0, expected).remaining == 90
    assert progress(_status(plan), 100.0, expected, workers=4).remaining == 60


def test_it_says_for_whom_tasks_wait_and_when_a_wait_is_long() -> None:
    plan = _plan()
    status = _status(plan)
    for n, holder in zip(plan.nodes[1:4], ('pid 4711 on host-a', 'pid 4711 on host-a', 'pid\x1b 12'), strict=True):
        status.apply(TaskStateChanged('b', n.key, TaskState.WAITING, time=100.0, holder=holder))
    soon, later = progress(status, 159.0), progress(status, 400.0)
    assert soon.words == 'running 0/4 · ‖ 2 waiting for pid 4711 on host-a · ‖ 1 waiting for pid␛ 12'
    assert later.words == (
        'running 0/4 · ‖ 2 waiting for pid 4711 on host-a, for 5 min now: if that hangs, end it'
        ' · ‖ 1 waiting for pid␛ 12, for 5 min now'
    )
    assert dict(Skeleton(progress_html(later)).values)['aria-valuetext'] == later.words
    assert str(status.progress()).startswith('0/4 · ‖ 2 waiting for pid 4711 on host-a')
    status.apply(TaskStateChanged('b', plan.root.key, TaskState.WAITING, time=100.0))
    assert progress(status, 100.0).words.endswith('· 1 more waiting')


def test_without_any_time_to_go_by_nothing_is_said() -> None:
    plan = _plan()
    assert progress(_status(plan), 100.0, {plan.nodes[1].key: 3.0}).remaining is None


def test_failures_are_told_and_the_end_is_the_end() -> None:
    plan = _plan()
    keys = [n.key for n in plan]
    states = dict.fromkeys(keys[1:], TaskState.DONE) | {keys[3]: TaskState.FAILED, keys[4]: TaskState.BLOCKED}
    state = progress(_status(plan, states, seconds=dict.fromkeys(keys[1:3], 1.0)), 100.0)
    assert state.words == 'finished 4/4 · ✗ 1 failed, ⊘ 1 blocked'
    assert state.percentage == 100


def test_an_overrunning_task_gives_no_negative_time() -> None:
    plan = Plan((node(Load(), TaskState.MISSING, (), MISSING),), '/w')
    key = plan.root.key
    status = _status(plan, {key: TaskState.RUNNING}, {key: 0.0})
    assert progress(status, 100.0, {key: 5.0}).words == 'running 0/1 · Load (1 min 40 s)'


def test_many_running_tasks_are_counted() -> None:
    plan = _plan()
    states = {n.key: TaskState.RUNNING for n in plan.nodes[1:]}
    assert progress(_status(plan, states), 100.0).words.endswith('· 2 more')


def test_nothing_to_run() -> None:
    plan = Plan((node(Load(), TaskState.CACHED),), '/w')
    state = progress(_status(plan), 100.0)
    assert state.words == 'nothing to run'
    assert state.percentage == 100


def test_the_bar_is_named_for_screen_readers() -> None:
    plan = _plan()
    states = {plan.nodes[1].key: TaskState.DONE, plan.nodes[2].key: TaskState.FAILED}
    skeleton = Skeleton(progress_html(progress(_status(plan, states), 100.0)))
    values = dict(skeleton.values)
    assert values['role'] == 'progressbar'
    assert (values['aria-valuenow'], values['aria-valuemin'], values['aria-valuemax']) == ('2', '0', '4')
    assert values['aria-valuetext'] == 'running 2/4 · ✗ 1 failed'
    assert [value for name, value in skeleton.values if name == 'style'] == ['width:25.0%', 'width:25.0%']
    assert values['aria-valuetext'] in skeleton.text


def test_it_is_cheap() -> None:
    plan = generated(10_000)
    status = _status(plan, {n.key: TaskState.DONE for n in plan.nodes[:5_000]})
    assert cost(lambda: progress(status, 100.0, {n.key: 1.0 for n in plan})) < 15
