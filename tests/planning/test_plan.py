"""The plan says what a build would do, and why."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import luigi
import pytest

import kartnb
from kartnb.model import ReasonKind, TaskState


class Load(kartnb.TaskOnKart):
    def run(self) -> None:
        self.dump('data')


class Clean(kartnb.TaskOnKart):
    strict = luigi.BoolParameter(default=False, significant=False)
    timed = luigi.BoolParameter(default=False, significant=False)

    def requires(self) -> Any:
        return Load()

    def run(self) -> None:
        self.dump('clean')


class Train(kartnb.TaskOnKart):
    depth = luigi.IntParameter(3)

    def requires(self) -> Any:
        return {'data': Clean(), 'again': [Load(), Clean()]}

    def run(self) -> None:
        self.dump('model')


def _states(plan: kartnb.Plan) -> dict[str, str]:
    return {node.name: node.state.value for node in plan}


def test_nothing_is_cached_at_first_and_everything_afterwards() -> None:
    plan = kartnb.plan(Train())
    assert [node.name for node in plan] == ['Load', 'Clean', 'Train']
    assert _states(plan) == dict.fromkeys(['Load', 'Clean', 'Train'], 'missing')
    assert [node.reason.kind for node in plan.to_run() if node.reason] == [ReasonKind.OUTPUT_MISSING] * 3
    kartnb.build(Train())
    assert _states(kartnb.plan(Train())) == dict.fromkeys(['Load', 'Clean', 'Train'], 'cached')
    assert kartnb.plan(Train()).to_run() == ()
    assert _states(plan) == dict.fromkeys(['Load', 'Clean', 'Train'], 'missing'), 'a plan does not change'


def test_the_plan_is_by_demand() -> None:
    kartnb.build(Train())
    Path(Load().output().path()).unlink()
    assert _states(kartnb.plan(Train())) == {'Load': 'not needed', 'Clean': 'cached', 'Train': 'cached'}
    Path(Clean().output().path()).unlink()
    assert _states(kartnb.plan(Train())) == {'Load': 'not needed', 'Clean': 'not needed', 'Train': 'cached'}
    Path(Train().output().path()).unlink()
    assert _states(kartnb.plan(Train())) == {'Load': 'missing', 'Clean': 'missing', 'Train': 'missing'}


def test_rerun_travels_downstream() -> None:
    kartnb.build(Train())
    plan = kartnb.plan(Train(), rerun=Clean)
    assert _states(plan) == {'Load': 'cached', 'Clean': 'stale', 'Train': 'stale'}
    assert str(plan[Clean()].reason) == 'rerun requested'
    assert str(plan[Train()].reason) == 'an upstream task will run: Clean'
    assert [node.name for node in kartnb.plan(Train(), rerun='Load').to_run()] == ['Load', 'Clean', 'Train']


def test_modification_time_check_names_the_newer_input() -> None:
    task = Clean(modification_time_check=True)
    kartnb.build(task)
    assert kartnb.plan(task).root.state is TaskState.CACHED
    path = Load().output().path()
    future = time.time() + 10
    os.utime(path, (future, future))
    root = kartnb.plan(task).root
    assert (root.state, root.reason and root.reason.kind, root.reason and root.reason.detail) == (
        TaskState.STALE,
        ReasonKind.INPUT_NEWER,
        path,
    )
    assert kartnb.plan(Clean()).root.state is TaskState.CACHED, 'only a task that asks for it looks at times'


def test_strict_check_wants_the_inputs_too() -> None:
    task = Clean(strict_check=True)
    kartnb.build(task)
    Path(Load().output().path()).unlink()
    assert _states(kartnb.plan(task)) == {'Load': 'missing', 'Clean': 'missing'}
    assert _states(kartnb.plan(Clean())) == {'Load': 'not needed', 'Clean': 'cached'}


def test_lookup_and_neighbours() -> None:
    plan = kartnb.plan(Train())
    load, clean, train = plan
    assert plan.root is train
    assert len(plan) == 3
    assert plan[load.key] is load
    assert plan[Clean()] is clean
    assert Clean() in plan
    assert 'nothing' not in plan
    assert plan.upstream(clean) == (load,)
    assert plan.upstream(train) == (load, clean)
    assert plan.downstream(load) == (clean, train)
    assert plan.counts() == {TaskState.MISSING: 3}
    with pytest.raises(KeyError):
        plan[Train(depth=9)]


def test_one_task_twice_is_one_node_and_one_task_in_two_workspaces_is_two() -> None:
    class Both(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return [
                Load(),
                Load(),
                Load(local_temporary_directory='./elsewhere/'),
                Load(workspace_directory='./other/'),
            ]

    plan = kartnb.plan(Both())
    assert [node.name for node in plan] == ['Load', 'Load', 'Both']
    assert plan.nodes[1].key == f'{plan.nodes[0].key}#2'


def test_the_workspace_is_absolute(tmp_path: Path) -> None:
    assert kartnb.plan(Load()).workspace == str(tmp_path / 'resources')


def test_many_tasks_in_one_directory_are_listed_not_statted(monkeypatch: pytest.MonkeyPatch) -> None:
    class Item(kartnb.TaskOnKart):
        n = luigi.IntParameter()

        def run(self) -> None:
            self.dump(self.n)

    class All(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return [Item(n=n) for n in range(200)]

        def run(self) -> None:
            self.dump(len(self.load()))

    kartnb.build(All())
    stats = 0
    original = os.path.exists

    def counting(path: Any) -> bool:
        nonlocal stats
        stats += 1
        return original(path)

    monkeypatch.setattr(os.path, 'exists', counting)
    plan = kartnb.plan(All())
    assert plan.counts() == {TaskState.CACHED: 201}
    assert stats < 20


def test_a_plan_is_a_data_frame_too() -> None:
    kartnb.build(Clean())
    frame = kartnb.plan(Train()).to_dataframe()
    assert frame['task'].tolist() == ['Load', 'Clean', 'Train']
    assert frame['state'].tolist() == ['cached', 'cached', 'missing']
    assert frame['reason'].isna().tolist() == [True, True, False]
    assert frame['requires'].tolist()[2] == frame['key'].tolist()[1::-1]


def test_a_chain_of_20_000_tasks_is_planned_and_built() -> None:
    class Link(kartnb.TaskOnKart):
        n = luigi.IntParameter()

        def requires(self) -> Any:
            return Link(n=self.n - 1) if self.n else []

        def run(self) -> None:
            self.dump(self.n)

    settings = {'should_dump_supplementary_log_files': False}
    plan = kartnb.plan(Link(n=19_999))
    assert len(plan) == 20_000
    assert len(repr(plan)) < 100_000
    assert kartnb.build(Link(n=4_999, **settings)) == 4_999
