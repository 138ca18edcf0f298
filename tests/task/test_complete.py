"""When a task counts as complete: outputs, `rerun`, `strict_check`, `modification_time_check`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import luigi
import pytest

import kartnb

runs: list[str] = []


@pytest.fixture(autouse=True)
def _no_runs_yet() -> None:
    runs.clear()


class Source(kartnb.TaskOnKart):
    n = luigi.IntParameter(default=1)

    def run(self) -> None:
        runs.append(f'Source {self.n}')
        self.dump(self.n)


class Middle(kartnb.TaskOnKart):
    def requires(self) -> Any:
        return {'source': Source()}

    def run(self) -> None:
        runs.append('Middle')
        self.dump(self.load('source') + 1)


class End(kartnb.TaskOnKart):
    def requires(self) -> Any:
        return Middle()

    def run(self) -> None:
        runs.append('End')
        self.dump(self.load() + 1)


def built(task: Any, **options: Any) -> list[str]:
    """Which tasks a build runs."""
    runs.clear()
    kartnb.build(task, **options)
    return list(runs)


def touch(task: Any, seconds: float) -> None:
    """Let a task's result be older (below 0) or newer than it is."""
    path = task.output().path()
    then = os.stat(path).st_mtime + seconds
    os.utime(path, (then, then))


class TestOutputs:
    def test_a_task_is_complete_when_all_outputs_exist(self) -> None:
        class Two(kartnb.TaskOnKart):
            def output(self) -> Any:
                return {'a': self.make_target('a.pkl'), 'b': [self.make_target('b.pkl')]}

        task = Two()
        assert not task.complete()
        task.dump(1, 'a')
        assert not task.complete()
        task.dump(1, task.output()['b'][0])
        assert task.complete()

    def test_a_task_without_outputs_runs_each_time(self) -> None:
        class Effect(kartnb.TaskOnKart):
            def output(self) -> Any:
                return []

            def run(self) -> None:
                runs.append('Effect')

        assert not Effect().complete()
        assert built(Effect()) == ['Effect']
        assert built(Effect()) == ['Effect']

    def test_a_complete_task_hides_what_is_upstream(self) -> None:
        assert built(End()) == ['Source 1', 'Middle', 'End']
        Path(Source().output().path()).unlink()
        assert built(End()) == []
        assert kartnb.plan(End())['Source_' + Source().make_unique_id()].state.value == 'not needed'

    def test_run_itself_skips_a_complete_task(self, caplog: pytest.LogCaptureFixture) -> None:
        kartnb.build(Source())
        runs.clear()
        Source().run()
        assert runs == []
        assert 'is skipped: already complete' in caplog.text
        Source(complete_check_at_run=False).run()
        assert runs == ['Source 1']

    def test_run_itself_does_not_ask_a_complete_that_was_set_on_the_instance(self) -> None:
        task = Source(n=5)
        asked: list[bool] = []
        task.complete = lambda: bool(asked.append(True))  # type: ignore[method-assign]
        task.run()  # as a test that counts the questions of a scheduler expects it
        task.run()
        assert runs == ['Source 5']
        assert asked == []


class TestRerun:
    def test_it_runs_again_with_what_is_downstream(self) -> None:
        built(End())
        assert built(End(rerun=True)) == ['End']
        assert built(End(), rerun=Middle()) == ['Middle', 'End']
        assert built(End(), rerun='Source') == ['Source 1', 'Middle', 'End']
        assert built(End(), rerun=[Source, End]) == ['Source 1', 'Middle', 'End']
        assert built(End()) == []

    def test_each_build_of_such_an_instance_runs_it(self) -> None:
        task = Source(rerun=True)
        assert built(task) == ['Source 1']
        assert built(task) == ['Source 1']

    def test_a_requirement_that_is_to_be_rerun(self) -> None:
        class Downstream(kartnb.TaskOnKart):
            def requires(self) -> Any:
                return Source(rerun=True)

            def run(self) -> None:
                runs.append('Downstream')
                self.dump(self.load())

        assert built(Downstream()) == ['Source 1', 'Downstream']
        assert built(Downstream()) == ['Source 1', 'Downstream']

    def test_looking_deletes_nothing(self) -> None:
        built(Source())
        task = Source(rerun=True)
        for look in (
            repr,
            str,
            kartnb.plan,
            lambda task: kartnb.plan(task)._repr_html_(),
            lambda task: task.complete(),
        ):
            look(task)
            assert Source().output().exists()
            assert not task.complete()

    def test_what_is_not_in_the_plan(self) -> None:
        with pytest.raises(kartnb.KartError, match=r'Nothing to rerun is called Sorce: the tasks of this plan are'):
            kartnb.build(End(), rerun='Sorce')


class TestStrictCheck:
    def test_a_missing_input_makes_it_incomplete(self) -> None:
        built(End())
        task = End(strict_check=True)
        assert task.complete()
        Path(Middle().output().path()).unlink()
        assert not task.complete()
        assert End().complete()
        assert built(task) == ['Middle'], 'with the contents of before, End is what a run would give'
        assert task.complete()

    def test_only_direct_inputs_count(self) -> None:
        built(End())
        Path(Source().output().path()).unlink()
        assert End(strict_check=True).complete()

    def test_an_input_that_is_strict_itself(self) -> None:
        class Strict(Middle):
            strict_check = luigi.BoolParameter(default=True, significant=False)

        class Last(kartnb.TaskOnKart):
            strict_check = luigi.BoolParameter(default=True, significant=False)

            def requires(self) -> Any:
                return Strict()

            def run(self) -> None:
                runs.append('Last')
                self.dump(self.load())

        assert built(Last()) == ['Source 1', 'Middle', 'Last']
        Path(Source().output().path()).unlink()
        assert not Last().complete()
        assert built(Last()) == ['Source 1'], 'with the contents of before, the rest is what runs would give'
        assert Last().complete()

    def test_without_requirements(self) -> None:
        built(Source())
        assert Source(strict_check=True).complete()


class TestModificationTimeCheck:
    def test_an_input_that_is_newer(self) -> None:
        built(End())
        task = End(modification_time_check=True)
        assert task.complete()
        touch(Middle(), +60)
        assert not task.complete()
        assert End().complete()
        assert End(strict_check=True).complete()
        plan = kartnb.plan(task)
        assert plan.root.state.value == 'stale'
        assert plan.root.reason is not None
        assert Middle().output().path() in str(plan.root.reason)
        touch(Middle(), -120)
        assert built(task) == []

    def test_a_build_mends_it(self) -> None:
        built(End())
        touch(End(), -60)
        assert built(End(modification_time_check=True)) == ['End']
        assert built(End(modification_time_check=True)) == []

    def test_equal_times_are_in_order(self) -> None:
        built(End())
        moment = os.stat(End().output().path()).st_mtime
        os.utime(Middle().output().path(), (moment, moment))
        assert End(modification_time_check=True).complete()

    def test_a_missing_input(self) -> None:
        built(End())
        Path(Middle().output().path()).unlink()
        assert not End(modification_time_check=True).complete()

    def test_without_requirements(self) -> None:
        built(Source())
        assert Source(modification_time_check=True).complete()

    def test_the_oldest_output_and_the_newest_input_count(self) -> None:
        class Two(kartnb.TaskOnKart):
            modification_time_check = luigi.BoolParameter(default=True, significant=False)

            def requires(self) -> Any:
                return [Source(n=1), Source(n=2)]

            def output(self) -> Any:
                return {'a': self.make_target('a.pkl'), 'b': self.make_target('b.pkl')}

            def run(self) -> None:
                runs.append('Two')
                for name in 'ab':
                    self.dump(1, name)

        assert built(Two()) == ['Source 1', 'Source 2', 'Two']
        path = Two().output()['a'].path()
        os.utime(path, (0, 0))
        assert built(Two()) == ['Two']

    def test_an_output_that_is_an_input_does_not_count(self) -> None:
        class PassesOn(kartnb.TaskOnKart):
            modification_time_check = luigi.BoolParameter(default=True, significant=False)

            def requires(self) -> Any:
                return Source()

            def output(self) -> Any:
                return self.input()

        built(Source())
        assert PassesOn().complete()
        touch(Source(), +60)
        assert PassesOn().complete()

    def test_a_plain_luigi_input(self) -> None:
        class Raw(luigi.ExternalTask):
            def output(self) -> Any:
                return luigi.LocalTarget('raw.txt')

        class Reads(kartnb.TaskOnKart):
            modification_time_check = luigi.BoolParameter(default=True, significant=False)

            def requires(self) -> Any:
                return Raw()

            def run(self) -> None:
                runs.append('Reads')
                self.dump(self.load())

        Path('raw.txt').write_text('a\n')
        assert built(Reads()) == ['Reads']
        assert built(Reads()) == []
        later = os.stat('raw.txt').st_mtime + 60
        os.utime('raw.txt', (later, later))
        assert built(Reads()) == ['Reads']
