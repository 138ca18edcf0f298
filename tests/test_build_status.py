"""How a build stands, from its events alone."""

from __future__ import annotations

from dataclasses import replace

from kartnb.model import (
    HELD,
    BuildFinished,
    BuildStarted,
    BuildStatus,
    Event,
    Plan,
    PlanGrew,
    TaskOutput,
    TaskProgress,
    TaskState,
    TaskStateChanged,
    Wait,
    WorkersStarting,
)
from tests.view.graphs import pipeline

PLAN = pipeline()  # of its five tasks, one is cached
LOAD, TRAIN, SECOND, CACHED, ROOT = (node.key for node in PLAN)


def status_after(*events: Event) -> BuildStatus:
    """Return the status after some events; counts kept by the way must be those that are counted in the end."""
    status, kept = BuildStatus(), BuildStatus(keep_counts=True)
    for event in (BuildStarted('b', PLAN, 100.0), *events):
        status.apply(event)
        kept.apply(event)
        assert (kept.counts(), kept.progress()) == (status.counts(), status.progress())
    return status


def changed(key: str, state: TaskState, time: float = 100.0, error: str = '') -> TaskStateChanged:
    return TaskStateChanged('b', key, state, error, time)


def test_a_build_that_has_begun_stands_as_it_was_planned() -> None:
    status = status_after()
    assert str(status.progress()) == '0/4'
    assert [status.state(node) for node in PLAN] == [node.state for node in PLAN]
    assert (status.elapsed(103.0), status.ended) == (3.0, None)


def test_a_task_is_timed_from_its_start_to_its_end() -> None:
    status = status_after(
        changed(LOAD, TaskState.RUNNING, 101.0),
        TaskProgress('b', LOAD, 40.0, 'reading'),
        TaskProgress('b', LOAD, None, 'writing'),
        changed(LOAD, TaskState.DONE, 103.5),
    )
    activity = status.activities[LOAD]
    assert (activity.started, activity.seconds) == (101.0, 2.5)
    assert (activity.percentage, activity.message) == (40.0, 'writing')
    assert str(status.progress()) == '1/4'


def test_progress_counts_what_the_build_runs_and_names_what_is_running() -> None:
    status = status_after(
        changed(LOAD, TaskState.DONE), changed(TRAIN, TaskState.RUNNING), changed(SECOND, TaskState.FAILED, error='no')
    )
    assert str(status.progress()) == '2/4 · Train'
    assert dict(status.progress().counts) == {
        TaskState.DONE: 1,
        TaskState.RUNNING: 1,
        TaskState.FAILED: 1,
        TaskState.MISSING: 1,
    }
    assert status.activities[SECOND].error == 'no', 'it failed before it ran'


def test_a_result_that_another_process_has_made_meanwhile_counts_as_ended() -> None:
    assert str(status_after(changed(TRAIN, TaskState.CACHED)).progress()) == '1/4'


def test_a_task_that_was_not_to_run_takes_part_as_soon_as_the_build_takes_it_up() -> None:
    assert str(status_after(changed(CACHED, TaskState.FAILED, error='gone')).progress()) == '1/5'


def test_a_second_try_begins_its_time_anew() -> None:
    status = status_after(
        changed(LOAD, TaskState.RUNNING, 101.0),
        changed(LOAD, TaskState.QUEUED, 102.0, 'ValueError: no'),
        changed(LOAD, TaskState.RUNNING, 110.0),
        changed(LOAD, TaskState.DONE, 111.0),
    )
    assert (status.activities[LOAD].seconds, status.activities[LOAD].error) == (1.0, '')


def test_what_is_printed_changes_nothing() -> None:
    status, same = status_after(TaskOutput('b', LOAD, 'stdout', 'hello')), status_after()
    assert (status.states, status.activities) == (same.states, same.activities)


def test_the_end_gives_the_states_of_all_tasks_and_stops_the_clock() -> None:
    done = dict.fromkeys((LOAD, TRAIN, SECOND, ROOT), TaskState.DONE) | {CACHED: TaskState.CACHED}
    status = status_after(WorkersStarting('b', 2), BuildFinished('b', done, 105.0))
    assert status.elapsed(999.0) == 5.0
    now = status.plan_now()
    assert now is not None
    assert {node.key: node.state for node in now} == done


def test_a_plan_that_grows_keeps_the_states() -> None:
    small = Plan(PLAN.nodes[:1], PLAN.workspace)
    status = BuildStatus()
    for event in (BuildStarted('b', small, 1.0), changed(LOAD, TaskState.DONE), PlanGrew('b', PLAN)):
        status.apply(event)
    assert str(status.progress()) == '1/4'


def test_the_next_build_of_a_search_begins_anew() -> None:
    status = status_after(changed(LOAD, TaskState.DONE), WorkersStarting('b', 2), BuildStarted('c', PLAN, 200.0))
    assert (status.states, status.activities, status.starting_workers) == ({}, {}, 0)
    assert status.started == 200.0


HOLDER = 'pid 4711 on host-a (report.ipynb), since 14:02'


def waiting(key: str, holder: str = HOLDER, time: float = 100.0) -> TaskStateChanged:
    return TaskStateChanged('b', key, TaskState.WAITING, time=time, holder=holder)


def test_a_task_that_waits_names_who_has_it_until_it_goes_on() -> None:
    status = status_after(waiting(LOAD), waiting(TRAIN, time=101.0))
    assert status.waits == {LOAD: Wait(HOLDER, 100.0), TRAIN: Wait(HOLDER, 101.0)}
    now = status.plan_now()
    assert now is not None
    assert [node.note for node in now] == [f'waiting for {HOLDER}', f'waiting for {HOLDER}', '', '', '']
    for following in (TaskState.RUNNING, TaskState.CACHED, TaskState.QUEUED, TaskState.INTERRUPTED):
        status = status_after(waiting(LOAD), changed(LOAD, following))
        assert (status.waits, status.progress().waits) == ({}, ())


def test_a_wait_begins_anew_with_another_holder_only() -> None:
    status = status_after(waiting(LOAD), waiting(LOAD, time=130.0))
    assert status.waits == {LOAD: Wait(HOLDER, 100.0)}
    status.apply(waiting(LOAD, 'pid 12 on host-b', 140.0))
    assert status.waits == {LOAD: Wait('pid 12 on host-b', 140.0)}


def test_nothing_waits_when_the_build_is_over() -> None:
    assert status_after(waiting(LOAD), BuildFinished('b', {LOAD: TaskState.QUEUED}, 105.0)).waits == {}


def test_the_note_of_the_plan_on_who_runs_a_task_is_over_when_the_build_takes_it_up() -> None:
    noted = replace(PLAN[LOAD], note=f'cannot tell; {HELD}: {HOLDER}')
    assert noted.in_state(TaskState.QUEUED).note == noted.note
    assert noted.in_state(TaskState.DONE).note == 'cannot tell'
