"""Names of gokart's that its users override and call: what plans, workers and notebooks make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import luigi
import pytest

import kartnb


class Source(kartnb.TaskOnKart):
    def run(self) -> None:
        self.dump(1)


class Doubled(kartnb.TaskOnKart):
    def requires(self) -> Any:
        return Source()

    def run(self) -> None:
        self.dump(self.load() * 2)


def states(task: Any) -> dict[str, str]:
    return {node.name: str(node.state) for node in kartnb.plan(task)}


class TestRerunState:
    def test_it_asks_for_one_run_of_the_task_and_of_what_follows(self) -> None:
        task = Doubled()
        kartnb.build(task)
        before = Path(Source().output().path()).stat().st_mtime_ns
        Source()._rerun_state = True
        assert not Source().complete()
        assert states(task) == {'Source': 'stale', 'Doubled': 'stale'}
        assert Path(Source().output().path()).exists(), 'looking deletes nothing'
        kartnb.build(task)
        assert Path(Source().output().path()).stat().st_mtime_ns > before
        assert not Source()._rerun_state
        assert states(task) == {'Source': 'cached', 'Doubled': 'cached'}

    def test_false_takes_the_parameter_back(self) -> None:
        task = Doubled(rerun=True)
        kartnb.build(task)
        assert states(task)['Doubled'] == 'stale', 'the parameter asks for a run in each build'
        task._rerun_state = False
        assert states(task)['Doubled'] == 'cached'

    @pytest.mark.parametrize('executor', ['threads', 'processes'])
    def test_it_is_taken_back_after_a_run_in_a_worker(self, executor: str) -> None:
        kartnb.build(Doubled())
        Source()._rerun_state = True
        kartnb.build(Doubled(), executor=executor, workers=2)
        assert not Source()._rerun_state
        assert states(Doubled())['Source'] == 'cached'

    def test_a_task_may_ask_for_it_when_it_is_made(self) -> None:
        class Forced(kartnb.TaskOnKart):
            force = luigi.BoolParameter(significant=False)

            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                self._rerun_state = self.force

            def run(self) -> None:
                self.dump(1)

        kartnb.build(Forced())
        task = Forced(force=True)
        assert states(task) == {'Forced': 'stale'}
        kartnb.build(task)
        assert states(task) == {'Forced': 'cached'}

    def test_a_task_of_an_older_definition_asks_for_todays(self) -> None:
        def define() -> Any:
            class Again(kartnb.TaskOnKart):
                def run(self) -> None:
                    self.dump(1)

            return Again

        task = define()()
        kartnb.build(task)
        define()
        assert states(task) == {'Again': 'cached'}
        task._rerun_state = True
        assert task._rerun_state
        assert states(task) == {'Again': 'stale'}
        kartnb.build(task)
        assert not task._rerun_state
        assert states(task) == {'Again': 'cached'}


class TestInWorkers:
    def test_overrides_are_obeyed(self) -> None:
        class Chooser(kartnb.TaskOnKart):
            def requires(self) -> Any:
                return {'a': Source(), 'b': Doubled()}

            def output(self) -> Any:
                return {'first': self.make_target('first.pkl')}

            def _get_input_targets(self, target: Any) -> Any:
                return self.input()['b'] if target is None else super()._get_input_targets(target)

            def _get_output_target(self, target: Any) -> Any:
                return super()._get_output_target(target or 'first')

            def _get_random_seed(self) -> int:
                return 5

            def run(self) -> None:
                self.dump([self.load(), self.load('a'), self.rng.integers(1000)])

        here = kartnb.build(Chooser())
        there = kartnb.build(Chooser(), executor='processes', workers=2, rerun=True)
        assert here == there
        assert here['first'][:2] == [2, 1]


class TestConfiguration:
    def test_a_section_that_changes_gives_another_task(self, tmp_path: Path) -> None:
        class Sized(kartnb.TaskOnKart):
            size = luigi.IntParameter(default=1)

            @classmethod
            def _add_configuration(cls, kwargs: dict[str, Any], section: str) -> None:
                super()._add_configuration(kwargs, section)
                super()._add_configuration(kwargs, 'Sizes')

        before = Sized()
        (tmp_path / 'more.cfg').write_text('[Sizes]\nsize=4\n')
        kartnb.add_config(str(tmp_path / 'more.cfg'))
        assert (before.size, Sized().size, Sized(size=2).size) == (1, 4, 2)
        assert Sized() is Sized()

    def test_it_may_be_assigned_to_a_class_and_taken_away(self) -> None:
        class Plain(kartnb.TaskOnKart):
            size = luigi.IntParameter(default=1)

        assert Plain().size == 1
        Plain._add_configuration = classmethod(lambda cls, kwargs, section: kwargs.setdefault('size', 3))  # type: ignore
        assert Plain().size == 3
        del Plain._add_configuration
        assert Plain().size == 1


def test_an_id_that_is_no_number_seeds_too() -> None:
    class Named(kartnb.TaskOnKart):
        def make_unique_id(self) -> str:
            return 'the-one'

        def run(self) -> None:
            self.dump(float(self.rng.random()))

    assert 0 <= Named()._get_random_seed() < 2**32 - 1
    assert kartnb.build(Named()) == kartnb.build(Named(), rerun=True)
