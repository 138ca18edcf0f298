"""A build runs what is missing, gives the value, and writes gokart's files."""

from __future__ import annotations

import logging
import os
import pickle
import random
from pathlib import Path
from typing import Any

import luigi
import numpy as np
import pytest

import kartnb
from kartnb.errors import (
    CyclicRequirementsError,
    ExternalTaskMissingError,
    RequirementError,
    SharedOutputError,
    StorageError,
    TaskArgumentError,
    TaskNotDumpedError,
    UnknownOptionError,
    UnreadableResultError,
)
from kartnb.model import BuildFinished, BuildStarted, LogLine, TaskState, TaskStateChanged

ran: list[str] = []


@pytest.fixture(autouse=True)
def nothing_ran_yet() -> None:
    ran.clear()


class Number(kartnb.TaskOnKart[int]):
    value = luigi.IntParameter()

    def run(self) -> None:
        ran.append(f'Number({self.value})')
        self.dump(self.value)


class Sum(kartnb.TaskOnKart[int]):
    numbers = luigi.ListParameter()

    def requires(self) -> Any:
        return [Number(value=value) for value in self.numbers]

    def run(self) -> None:
        ran.append('Sum')
        self.dump(sum(self.load()))


class Doubled(kartnb.TaskOnKart[int]):
    def requires(self) -> Any:
        return Sum(numbers=[1, 2])

    def run(self) -> None:
        ran.append('Doubled')
        self.dump(2 * self.load())


def test_the_value_comes_back_and_nothing_runs_twice() -> None:
    assert kartnb.build(Sum(numbers=[1, 2])) == 3
    assert ran == ['Number(1)', 'Number(2)', 'Sum']
    assert kartnb.build(Sum(numbers=[1, 2])) == 3
    assert len(ran) == 3


def test_without_return_value_nothing_is_loaded() -> None:
    assert kartnb.build(Number(value=1), return_value=False) is None


def test_files_are_gokarts_and_plain_pickles(workspace: Path) -> None:
    class Example(kartnb.TaskOnKart):
        def run(self) -> None:
            self.dump('Hello, world!')

    Example.__module__ = '__main__'
    kartnb.build(Example())
    name = 'Example_8441c59b5ce0113396d53509f19371fb'
    files = {str(path.relative_to(workspace)) for path in workspace.rglob('*') if path.is_file()}
    kinds = {
        'module_versions': 'txt',
        'processing_time': 'pkl',
        'random_seed': 'pkl',
        'task_log': 'pkl',
        'task_params': 'pkl',
    }
    expected = {f'__main__/{name}.pkl', *(f'log/{kind}/{name}.{extension}' for kind, extension in kinds.items())}
    assert {file for file in files if not file.startswith('log/run_record/')} == expected
    assert pickle.loads((workspace / f'__main__/{name}.pkl').read_bytes()) == 'Hello, world!'


def test_the_five_logs_say_what_happened(workspace: Path) -> None:
    task = Number(value=7)
    kartnb.build(task)
    stem = f'Number_{task.make_unique_id()}'

    def read(kind: str) -> Any:
        return pickle.loads((workspace / f'log/{kind}/{stem}.pkl').read_bytes())

    assert read('task_params') == {'value': '7'}
    assert read('random_seed') == {
        'seed': int(task.make_unique_id(), 16) % (2**32 - 1),
        'seed_methods': ['random.seed', 'numpy.random.seed'],
    }
    assert 0 < read('processing_time') < 5
    assert read('task_log') == {'file_path': [f'./resources/{__name__.replace(".", "/")}/{stem}.pkl']}
    versions = (workspace / f'log/module_versions/{stem}.txt').read_text().splitlines()
    assert f'numpy=={np.__version__}' in versions
    assert f'luigi=={luigi.__version__}' in versions
    assert versions == sorted(versions)


def test_modules_that_the_task_imports_are_listed(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / 'only_in_this_task.py').write_text("__version__ = '1.2.3'\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    class Importing(kartnb.TaskOnKart):
        def run(self) -> None:
            import only_in_this_task  # type: ignore[import-not-found]

            self.dump(only_in_this_task.__version__)

    kartnb.build(Importing())
    [file] = (workspace / 'log/module_versions').iterdir()
    assert 'only_in_this_task==1.2.3' in file.read_text().splitlines()


def test_logs_can_be_switched_off_and_seeding_goes_on(workspace: Path) -> None:
    class Draw(kartnb.TaskOnKart):
        def run(self) -> None:
            self.dump((random.random(), float(np.random.rand())))

    seeded = kartnb.build(Draw())
    quiet = kartnb.build(Draw(should_dump_supplementary_log_files=False, workspace_directory='./other/'))
    assert quiet == seeded
    assert not list(Path('other').glob('log/task_params/*'))


def test_the_seed_zero_is_a_seed() -> None:
    class Draw(kartnb.TaskOnKart):
        def run(self) -> None:
            self.dump(random.random())

    assert kartnb.build(Draw(fix_random_seed_value=0)) == random.Random(0).random()


def test_a_failed_task_blocks_only_what_needs_it() -> None:
    class Broken(kartnb.TaskOnKart):
        def run(self) -> None:
            raise ValueError('no data')

    class Needing(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return Broken()

        def run(self) -> None:
            raise AssertionError('must not run')

    class Both(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return {'bad': Needing(), 'good': Number(value=1)}

    with pytest.raises(kartnb.GokartBuildError) as caught:
        kartnb.build(Both())
    error = caught.value
    assert ran == ['Number(1)']
    [[raised]] = error.raised_exceptions.values()
    assert list(error.raised_exceptions) == [Broken().make_unique_id()]
    assert error.__cause__ is raised
    assert isinstance(raised, ValueError)
    states = {node.name: node.state for node in error.report.plan}
    assert states == {
        'Broken': TaskState.FAILED,
        'Needing': TaskState.BLOCKED,
        'Number': TaskState.DONE,
        'Both': TaskState.BLOCKED,
    }
    assert kartnb.KartBuildError is kartnb.GokartBuildError


def test_the_error_says_task_parameters_id_and_line() -> None:
    class Broken(kartnb.TaskOnKart):
        depth = luigi.IntParameter()

        def run(self) -> None:
            raise ValueError('no data')  # the line to look at

    with pytest.raises(kartnb.GokartBuildError) as caught:
        kartnb.build(Broken(depth=3))
    text = str(caught.value)
    assert 'Broken(depth=3)' in text
    assert Broken(depth=3).make_unique_id() in text
    assert 'ValueError: no data' in text
    assert f'{__file__}:' in text
    assert "in run: raise ValueError('no data')  # the line to look at" in text


def test_the_traceback_ends_in_the_users_frame() -> None:
    class Broken(kartnb.TaskOnKart):
        def run(self) -> None:
            local_of_the_user = 42
            raise ValueError(local_of_the_user)

    with pytest.raises(kartnb.GokartBuildError) as caught:
        kartnb.build(Broken())
    innermost = caught.value.__traceback__
    assert innermost is not None
    while innermost.tb_next is not None:
        innermost = innermost.tb_next
    assert innermost.tb_frame.f_locals['local_of_the_user'] == 42
    cause = caught.value.__cause__
    assert cause is not None
    assert cause.__traceback__ is not None
    assert cause.__traceback__.tb_frame.f_code.co_name == 'run'


def test_a_task_that_dumps_nothing_is_named() -> None:
    class Silent(kartnb.TaskOnKart):
        def run(self) -> None:
            pass

    class After(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return Silent()

        def run(self) -> None:
            self.dump(self.load())

    for task in (Silent(), After()):
        with pytest.raises(
            kartnb.GokartBuildError, match=r'Silent\.run\(\) ended without writing its output'
        ) as caught:
            kartnb.build(task)
        assert isinstance(caught.value.__cause__, TaskNotDumpedError)


def test_a_root_whose_value_nobody_wants_may_dump_nothing(caplog: pytest.LogCaptureFixture) -> None:
    ran: list[str] = []

    class Side(kartnb.TaskOnKart):
        def output(self) -> Any:
            return {'made': self.make_target('made.txt'), 'never': self.make_target('never.txt')}

        def run(self) -> None:
            ran.append('side')
            self.dump('x', 'made')

    class Needs(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return Side()

        def run(self) -> None:
            ran.append('needs')

    for times in (1, 2):
        assert kartnb.build(Side(), return_value=False) is None
        assert ran == ['side'] * times
    assert 'Side.run() ended without writing its output ./resources/never_' in caplog.text
    (run,) = kartnb.Workspace('./resources').runs()
    assert [os.path.basename(path) for path in run.outputs] == [f'made_{Side().make_unique_id()}.txt']
    with pytest.raises(kartnb.GokartBuildError, match=r'Side\.run\(\) ended without writing its output'):
        kartnb.build(Needs(), return_value=False)
    assert 'needs' not in ran


def test_two_dependencies_that_differ_in_an_insignificant_parameter_both_run() -> None:
    class Two(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return [Number(value=1, workspace_directory='./a/'), Number(value=1, workspace_directory='./b/')]

        def run(self) -> None:
            self.dump(self.load())

    assert kartnb.build(Two()) == [1, 1]
    assert ran == ['Number(1)', 'Number(1)']


def test_a_missing_external_task_is_named() -> None:
    class Given(kartnb.TaskOnKart, luigi.ExternalTask):
        run = None

        def output(self) -> Any:
            return self.make_target('given.csv', use_unique_id=False)

    class Uses(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return Given()

        def run(self) -> None:
            self.dump(len(self.load()))

    with pytest.raises(kartnb.GokartBuildError, match=r'Given is made outside .*given\.csv does not exist') as caught:
        kartnb.build(Uses())
    assert isinstance(caught.value.__cause__, ExternalTaskMissingError)
    Path('resources').mkdir()
    Path('resources/given.csv').write_text('a\n1\n2\n')
    assert kartnb.build(Uses()) == 2


def test_several_outputs_keep_their_shape() -> None:
    class Several(kartnb.TaskOnKart):
        def output(self) -> Any:
            return {'text': self.make_target('a.txt'), 'more': [self.make_target('b.pkl'), self.make_target('c.json')]}

        def run(self) -> None:
            self.dump('x', 'text')
            more = self.output()['more']
            self.dump(1, more[0])
            self.dump({'a': [1]}, more[1])

    value = kartnb.build(Several())
    assert value['text'] == ['x']
    assert value['more'][0] == 1
    assert value['more'][1].to_dict('list') == {'a': [1]}


def test_a_task_without_outputs_runs_at_every_build() -> None:
    class Notify(kartnb.TaskOnKart):
        def output(self) -> Any:
            return []

        def run(self) -> None:
            ran.append('Notify')

    assert kartnb.build(Notify()) == []
    kartnb.build(Notify())
    assert ran == ['Notify', 'Notify']


def test_rerun_runs_each_time_with_what_is_downstream_and_keeps_results_until_replaced(workspace: Path) -> None:
    class Source(kartnb.TaskOnKart):
        def run(self) -> None:
            ran.append('Source')
            self.dump(len(ran))

    class Sink(kartnb.TaskOnKart):
        again = luigi.BoolParameter(default=False, significant=False)

        def requires(self) -> Any:
            return Source(rerun=self.again)

        def run(self) -> None:
            ran.append('Sink')
            self.dump(self.load() * 10)

    kartnb.build(Sink())
    assert kartnb.build(Sink()) == 10
    assert ran == ['Source', 'Sink']
    task = Sink(again=True)
    repr(kartnb.plan(task))
    assert len(list(workspace.rglob('S*.pkl'))) == 10, 'looking deletes nothing'
    assert kartnb.build(task) == 30
    assert kartnb.build(task) == 50
    assert ran == ['Source', 'Sink'] * 3


def test_rerun_by_keyword_names_what_is_to_run_again() -> None:
    kartnb.build(Doubled())
    ran.clear()
    kartnb.build(Doubled(), rerun=True)
    assert ran == ['Doubled']
    ran.clear()
    kartnb.build(Doubled(), rerun=Sum)
    assert ran == ['Sum', 'Doubled']
    ran.clear()
    kartnb.build(Doubled(), rerun=[Number(value=2)])
    assert ran == ['Number(2)', 'Sum', 'Doubled']
    with pytest.raises(TaskArgumentError, match='Nothing to rerun is called Summ: the tasks of this plan are Doubled'):
        kartnb.build(Doubled(), rerun='Summ')


def test_a_failing_rerun_leaves_the_old_result() -> None:
    fail = False

    class Sometimes(kartnb.TaskOnKart):
        def run(self) -> None:
            if fail:
                raise RuntimeError('not now')
            self.dump('good')

    kartnb.build(Sometimes())
    fail = True
    with pytest.raises(kartnb.GokartBuildError):
        kartnb.build(Sometimes(rerun=True))
    assert kartnb.build(Sometimes()) == 'good'


def test_dynamic_requirements_run_in_the_middle_and_the_generator_goes_on() -> None:
    class Dynamic(kartnb.TaskOnKart):
        def run(self) -> Any:
            ran.append('begin')
            first = yield Number(value=1)
            second = yield {'sum': Sum(numbers=[first.load(), 5])}
            ran.append('end')
            self.dump(second['sum'].load())

    assert kartnb.build(Dynamic()) == 6
    assert ran == ['begin', 'Number(1)', 'Number(5)', 'Sum', 'end']


def test_a_failing_dynamic_requirement_ends_the_generator() -> None:
    class Broken(kartnb.TaskOnKart):
        def run(self) -> None:
            raise ValueError('broken')

    class Dynamic(kartnb.TaskOnKart):
        def run(self) -> Any:
            try:
                yield Broken()
            finally:
                ran.append('cleaned up')

    with pytest.raises(kartnb.GokartBuildError, match='broken'):
        kartnb.build(Dynamic())
    assert ran == ['cleaned up']


def test_a_dynamic_requirement_needs_tasks_that_were_not_needed() -> None:
    class Middle(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return Number(value=3)

        def run(self) -> None:
            self.dump('middle')

    class Dynamic(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return Middle()

        def run(self) -> Any:
            yield Sum(numbers=[3])
            self.dump('dynamic')

    kartnb.build(Middle())
    Path(Number(value=3).output().path()).unlink()
    ran.clear()
    assert kartnb.build(Dynamic()) == 'dynamic'
    assert ran == ['Number(3)', 'Sum']


@pytest.mark.parametrize(
    'yielded, message',
    [('text', "yields 'text'"), (Number, r'yields <class'), (3, 'yields 3')],
)
def test_a_dynamic_requirement_that_is_no_task_is_named(yielded: Any, message: str) -> None:
    class Dynamic(kartnb.TaskOnKart):
        def run(self) -> Any:
            yield yielded

    with pytest.raises(kartnb.GokartBuildError, match=message) as caught:
        kartnb.build(Dynamic())
    assert isinstance(caught.value.__cause__, RequirementError)


def test_a_task_that_yields_its_own_downstream_is_a_cycle() -> None:
    class Dynamic(kartnb.TaskOnKart):
        def run(self) -> Any:
            yield Downstream()

    class Downstream(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return Dynamic()

    with pytest.raises(kartnb.GokartBuildError, match='Dynamic yields a task that requires Dynamic itself'):
        kartnb.build(Dynamic())


def test_plain_luigi_tasks_run_and_are_loaded_by_extension() -> None:
    class Plain(luigi.Task):
        def output(self) -> Any:
            return luigi.LocalTarget('plain.csv')

        def run(self) -> None:
            with self.output().open('w') as file:
                file.write('a\n1\n')

    class Uses(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return {'plain': Plain(), 'number': Number(value=2)}

        def run(self) -> None:
            self.dump(int(self.load('plain')['a'].sum()) + self.load('number'))

    assert kartnb.build(Uses()) == 3


def test_a_wrapper_task_is_done_when_all_that_it_wraps_is() -> None:
    class All(luigi.WrapperTask):
        def requires(self) -> Any:
            return [Number(value=1), Number(value=2)]

    kartnb.build(All(), return_value=False)
    assert ran == ['Number(1)', 'Number(2)']
    kartnb.build(All(), return_value=False)
    assert len(ran) == 2


def test_priority_decides_among_ready_tasks() -> None:
    class Ranked(kartnb.TaskOnKart):
        rank = luigi.IntParameter()

        @property
        def priority(self) -> int:
            return self.rank

        def run(self) -> None:
            ran.append(f'Ranked({self.rank})')
            self.dump(self.rank)

    class All(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return [Ranked(rank=rank) for rank in (1, 3, 2)]

        def run(self) -> None:
            self.dump(0)

    kartnb.build(All())
    assert ran == ['Ranked(3)', 'Ranked(2)', 'Ranked(1)']


def test_a_result_that_appears_meanwhile_is_not_made_again_nor_are_its_logs() -> None:
    class Meddler(kartnb.TaskOnKart):
        def run(self) -> None:
            # what another process does: the other task's result appears while this build runs
            target = Number(value=9).output()
            target.dump('from elsewhere')
            self.dump(1)

        priority = 100

    class Both(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return [Meddler(), Number(value=9)]

        def run(self) -> None:
            self.dump(self.load()[1])

    fired: list[str] = []
    handler = Number.event_handler(luigi.Event.SUCCESS)(lambda task: fired.append(task.get_task_family()))
    try:
        assert kartnb.build(Both()) == 'from elsewhere'
    finally:
        Number.remove_event_handler(luigi.Event.SUCCESS, handler)
    assert ran == []
    assert fired == []
    assert Number(value=9).get_processing_time() == 'unknown'


def test_luigis_events_fire() -> None:
    heard: list[str] = []
    events = ('START', 'SUCCESS', 'PROCESSING_TIME', 'DEPENDENCY_DISCOVERED', 'DEPENDENCY_PRESENT')
    handlers = [(getattr(luigi.Event, name), lambda *args, name=name: heard.append(name)) for name in events]
    for event, handler in handlers:
        Sum.event_handler(event)(handler)
    try:
        kartnb.build(Sum(numbers=[4]))
        assert heard == ['DEPENDENCY_DISCOVERED', 'START', 'PROCESSING_TIME', 'SUCCESS']
        heard.clear()
        kartnb.build(Sum(numbers=[4]))
        assert heard == ['DEPENDENCY_DISCOVERED', 'DEPENDENCY_PRESENT']
    finally:
        for event, handler in handlers:
            Sum.remove_event_handler(event, handler)


def test_listeners_hear_the_build_and_a_broken_one_does_not_stop_it(caplog: pytest.LogCaptureFixture) -> None:
    events: list[Any] = []

    def broken(event: Any) -> None:
        raise RuntimeError('listener')

    kartnb.build(Sum(numbers=[1]), listeners=[broken, events.append], log_level=logging.CRITICAL)
    assert 'it gets no more events' in caplog.text
    events = [event for event in events if not isinstance(event, LogLine)]
    assert isinstance(events[0], BuildStarted)
    assert isinstance(events[-1], BuildFinished)
    changes = [(event.key.split('_')[0], event.state.value) for event in events if isinstance(event, TaskStateChanged)]
    assert changes == [('Number', 'running'), ('Number', 'done'), ('Sum', 'running'), ('Sum', 'done')]
    assert set(events[-1].states.values()) == {TaskState.DONE}


def test_two_classes_with_one_output_path_are_an_error_that_names_both() -> None:
    def make(module: str) -> Any:
        class Same(kartnb.TaskOnKart):
            __qualname__ = f'In{module}.Same'

            def run(self) -> None:
                self.dump(module)

        return Same

    class Both(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return [make('A')(), make('B')()]

    with pytest.raises(SharedOutputError, match=r'InA\.Same and .*InB\.Same would both write'):
        kartnb.build(Both())


def test_a_task_may_pass_its_input_on_as_its_output() -> None:
    class Passing(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return Number(value=1)

        def output(self) -> Any:
            return self.input()

    assert kartnb.build(Passing()) == 1


@pytest.mark.parametrize(
    'task, message',
    [
        (Number, r'Number is a task class: make a task of it, Number\(…\)\.'),
        ('Number', r"A task is needed, such as MyTask\(…\), not 'Number' \(str\)\."),
        (None, r'A task is needed'),
        ([Number(value=1)], r'One task is needed, not several'),
    ],
)
def test_what_is_no_task_is_refused(task: Any, message: str) -> None:
    with pytest.raises(TaskArgumentError, match=message):
        kartnb.build(task)


def test_unknown_options_and_levels_are_refused() -> None:
    with pytest.raises(UnknownOptionError, match="build has no option 'rerunn': did you mean 'rerun'"):
        kartnb.build(Number(value=1), rerunn=True)
    with pytest.raises(TypeError, match=r"log_level must be a number such as logging\.DEBUG, not 'debug'"):
        kartnb.build(Number(value=1), log_level='debug')
    kartnb.build(Number(value=1), workers=1, no_lock=True)


def test_a_cycle_in_requires_names_the_tasks() -> None:
    class Left(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return Right()

    class Right(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return Left()

    with pytest.raises(CyclicRequirementsError, match='Left requires itself: Left → Right → Left'):
        kartnb.build(Left())


def test_an_error_in_requires_comes_as_it_is() -> None:
    class Bad(kartnb.TaskOnKart):
        def requires(self) -> Any:
            raise KeyError('column')

    with pytest.raises(KeyError, match='column'):
        kartnb.build(Bad())


def test_an_unwritable_workspace_is_said_and_nothing_is_left() -> None:
    Path('resources').write_text('a file where the workspace should be')
    with pytest.raises(StorageError, match=r'move \./resources away'):
        kartnb.build(Number(value=1))
    assert ran == [], 'the task does not run when its result could not be kept'
    Path('resources').unlink()
    assert kartnb.build(Number(value=1)) == 1


def test_a_truncated_result_is_named_with_what_to_do() -> None:
    kartnb.build(Sum(numbers=[1]))
    path = Path(Number(value=1).output().path())
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UnreadableResultError, match=str(path)):
        kartnb.build(Number(value=1))
    with pytest.raises(kartnb.GokartBuildError, match=str(path)):
        kartnb.build(Sum(numbers=[1]), rerun=True)
    assert kartnb.build(Number(value=1), rerun=True) == 1


def test_system_exit_in_a_task_is_its_failure() -> None:
    class Quits(kartnb.TaskOnKart):
        def run(self) -> None:
            raise SystemExit(3)

    with pytest.raises(kartnb.GokartBuildError, match='SystemExit: 3'):
        kartnb.build(Quits())


def test_a_long_chain_builds_without_recursion() -> None:
    class Link(kartnb.TaskOnKart):
        n = luigi.IntParameter()

        def requires(self) -> Any:
            return Link(n=self.n - 1) if self.n else []

        def run(self) -> None:
            self.dump(self.n)

    assert kartnb.build(Link(n=1500)) == 1500


def test_ready_tasks_run_in_the_same_order_each_time() -> None:
    class Leaf(kartnb.TaskOnKart):
        n = luigi.IntParameter()

        def run(self) -> None:
            order.append(self.n)
            self.dump(self.n)

    class Root(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return [Leaf(n=n) for n in (3, 1, 4, 0, 5, 2)]

        def run(self) -> None:
            self.dump(self.load())

    order: list[int] = []
    for _ in range(3):
        kartnb.build(Root(), rerun=['Leaf'])
    assert order == [3, 1, 4, 0, 5, 2] * 3
