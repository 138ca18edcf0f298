"""Ten thousand tasks: planned, built, drawn and built again; and tasks nested in tasks, which do not get that far."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

import kartnb
from benchmarks.shapes import SHAPES, make_root
from kartnb.model import TaskState
from kartnb.planning.graph import DEEP
from kartnb.storage.run_records import present_records

#: One shape is as large as it gets; the others show what depends on the shape.
SIZES = dict.fromkeys(SHAPES, 3000) | {'layered': 10_000}


@pytest.mark.parametrize('shape, size', SIZES.items())
def test_thousands_of_tasks_are_planned_built_drawn_and_built_again(shape: str, size: int) -> None:
    class WithoutLogs(kartnb.TaskOnKart[int]):
        should_dump_supplementary_log_files = kartnb.luigi.BoolParameter(default=False, significant=False)

    task = make_root(WithoutLogs, shape, size)
    kartnb.build(task, return_value=False)
    plan = kartnb.plan(task)
    assert len(plan) >= size - 10
    assert plan.counts() == {TaskState.CACHED: len(plan)}
    assert len(plan._repr_html_()) < 1_000_000
    assert f'{len(plan):,}' in repr(plan) or str(len(plan)) in repr(plan)
    ran: list[Any] = []
    kartnb.build(task, return_value=False, listeners=[lambda event: ran.append(getattr(event, 'state', None))])
    assert TaskState.RUNNING not in ran


def _nested(depth: int) -> Any:
    class Source(kartnb.TaskOnKart[int]):
        def run(self) -> None:
            self.dump(0)

    class Held(kartnb.TaskOnKart[int]):
        data = kartnb.TaskInstanceParameter()

        def run(self) -> None:
            self.dump(1)

    task: Any = Source()
    for _ in range(depth):
        task = Held(data=task)
    return task


def test_a_build_of_deeply_nested_tasks_warns_once_and_says_what_to_do_instead() -> None:
    with pytest.warns(UserWarning, match=r'levels deep.*Make the upstream tasks in requires\(\)') as warned:
        kartnb.build(_nested(DEEP), return_value=False)
    assert len([warning for warning in warned if 'levels deep' in str(warning.message)]) == 1


def test_tasks_that_are_nested_a_little_warn_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert kartnb.build(_nested(10)) == 1


def test_records_are_listed_again_only_when_something_was_written() -> None:
    class Noted(kartnb.TaskOnKart[int]):
        n = kartnb.luigi.IntParameter()

        def run(self) -> None:
            self.dump(1)

    kartnb.build(Noted(n=1))
    stem = f'Noted_{Noted(n=1).make_unique_id()}'
    assert present_records('./resources/', __name__).result_id(stem)
    kartnb.build(Noted(n=2))
    assert present_records('./resources/', __name__).result_id(f'Noted_{Noted(n=2).make_unique_id()}')
    kartnb.build(Noted(n=1), rerun=True)
    again = present_records('./resources/', __name__).result_id(stem)
    assert again
    assert any(again in path.name for path in Path('resources/log/run_record').rglob('Noted_*'))
