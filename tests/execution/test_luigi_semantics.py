"""What luigi's users rely on holds in a build of kartnb: see the table in docs/luigi.md."""

from __future__ import annotations

import logging
import os
import re
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import luigi
import pytest
from luigi.util import common_params, delegates, inherits, requires

import kartnb
from kartnb.errors import ExternalTaskMissingError, TaskArgumentError, TaskDisabledError
from kartnb.model import TaskProgress, TaskState
from tests.execution.luigi_settings import luigi_settings

EVENTS = ('START', 'PROGRESS', 'SUCCESS', 'FAILURE', 'PROCESSING_TIME')


@pytest.fixture(autouse=True)
def handlers_as_before() -> Iterator[None]:
    callbacks = luigi.Task._event_callbacks
    before = {cls: {event: set(found) for event, found in events.items()} for cls, events in callbacks.items()}
    yield
    callbacks.clear()
    callbacks.update(before)


def _logbook(place: Path) -> tuple[Any, Any]:
    """A handler of every event of a running task, which writes to a file, and a reader of what it wrote."""
    file = place / 'events'

    def handler_of(name: str) -> Any:
        def handle(task: Any, *rest: Any) -> None:
            told = rest[-1] if rest and not isinstance(rest[-1], float) else ''
            with file.open('a') as events:
                events.write(f'{name} {type(task).__name__} {os.getpid()} {told}\n')

        return handle

    def read() -> list[tuple[str, str, int, str]]:
        lines = [line.split(' ', 3) for line in file.read_text().splitlines()]
        return [(event, task, int(pid), told) for event, task, pid, told in lines]

    return handler_of, read


def _lively() -> tuple[Any, Any]:
    class Lively(kartnb.TaskOnKart):
        def run(self) -> None:
            self.trigger_event(luigi.Event.PROGRESS, self, 'half way')
            self.dump(os.getpid())

    class Failing(kartnb.TaskOnKart):
        def run(self) -> None:
            raise ValueError('no')

    return Lively, Failing


@pytest.mark.parametrize('executor', ['inline', 'threads', 'processes'])
@pytest.mark.parametrize('where', ['its class', 'luigi.Task'])
def test_handlers_fire_where_the_task_runs(executor: str, where: str, tmp_path: Path) -> None:
    lively, failing = _lively()
    handler_of, read = _logbook(tmp_path)
    for cls in [lively, failing] if where == 'its class' else [luigi.Task]:
        for name in EVENTS:
            cls.event_handler(getattr(luigi.Event, name))(handler_of(name))
    pid = kartnb.build(lively(), executor=executor, workers=2)
    with pytest.raises(kartnb.GokartBuildError):
        kartnb.build(failing(), executor=executor, workers=2)
    assert (pid == os.getpid()) == (executor != 'processes')
    events = read()
    of_lively = [(event, told) for event, task, where_pid, told in events if task == 'Lively' and where_pid == pid]
    assert of_lively == [('START', ''), ('PROGRESS', 'half way'), ('PROCESSING_TIME', ''), ('SUCCESS', '')]
    assert [(event, told) for event, task, _, told in events if task == 'Failing'] == [('START', ''), ('FAILURE', 'no')]
    if executor == 'processes':
        assert os.getpid() not in [where_pid for *_, where_pid, _ in events]


def test_a_handler_that_was_removed_does_not_fire_in_workers(tmp_path: Path) -> None:
    lively, _ = _lively()
    handler_of, read = _logbook(tmp_path)
    kept = lively.event_handler(luigi.Event.START)(handler_of('kept'))
    removed = lively.event_handler(luigi.Event.START)(handler_of('removed'))
    lively.remove_event_handler(luigi.Event.START, removed)
    kartnb.build(lively(), executor='processes', workers=2)
    assert [event for event, *_ in read()] == ['kept']
    lively.remove_event_handler(luigi.Event.START, kept)


def test_a_handler_that_cannot_be_sent_is_warned_of_and_the_task_runs(tmp_path: Path) -> None:
    lively, _ = _lively()
    file = (tmp_path / 'open').open('w')

    @lively.event_handler(luigi.Event.SUCCESS)
    def write(task: Any) -> None:
        file.write('done')

    with file, pytest.warns(UserWarning, match=r'The handler .*write of Lively does not fire in worker processes'):
        kartnb.build(lively(), executor='processes', workers=2)


def test_a_handler_that_raises_does_not_hurt_the_task(caplog: pytest.LogCaptureFixture) -> None:
    lively, _ = _lively()

    @lively.event_handler(luigi.Event.START)
    def fail(task: Any) -> None:
        raise ValueError('in the handler')

    with caplog.at_level(logging.ERROR, 'luigi-interface'):
        assert kartnb.build(lively()) == os.getpid()
    assert 'in the handler' in caplog.text


def test_dependency_events_and_broken_task() -> None:
    heard: list[tuple[str, ...]] = []

    class There(luigi.ExternalTask):
        def output(self) -> Any:
            return luigi.LocalTarget(__file__)

    class Broken(kartnb.TaskOnKart):
        def requires(self) -> Any:
            raise ValueError('in requires')

        def make_unique_id(self) -> str:
            return 'broken'

    class Root(kartnb.TaskOnKart):
        broken = luigi.BoolParameter()

        def requires(self) -> Any:
            return [There(), *([Broken()] if self.broken else [])]

        def run(self) -> None:
            self.dump(1)

    def note(event: str, *tasks: Any) -> None:
        heard.append((event.rpartition('.')[2], *(type(task).__name__ for task in tasks)))

    for event in (luigi.Event.DEPENDENCY_DISCOVERED, luigi.Event.DEPENDENCY_PRESENT, luigi.Event.BROKEN_TASK):
        luigi.Task.event_handler(event)(lambda *tasks, event=event: note(event, *tasks))
    kartnb.build(Root(broken=False))
    assert heard == [('present', 'There'), ('discovered', 'Root', 'There')]
    heard.clear()
    with pytest.raises(ValueError, match='in requires'):
        kartnb.build(Root(broken=True))
    assert heard == [('broken', 'Broken', 'ValueError')]
    heard.clear()
    with pytest.raises(ValueError, match='in requires'):
        kartnb.plan(Root(broken=True))
    assert heard == [], 'only a build fires events'


class WithFlag(luigi.Task):
    """A task whose `complete` does not look at outputs."""

    place = luigi.Parameter()

    def complete(self) -> bool:
        return Path(self.place).exists()

    def run(self) -> None:
        Path(self.place).write_text('done')


def test_an_overridden_complete_decides(tmp_path: Path) -> None:
    flag = tmp_path / 'flag'
    task = WithFlag(place=str(flag))
    assert [str(node.state) for node in kartnb.plan(task)] == ['missing']
    kartnb.build(task, return_value=False)
    assert flag.read_text() == 'done'
    flag.write_text('before')
    assert [str(node.state) for node in kartnb.plan(task)] == ['cached']
    kartnb.build(task, return_value=False)
    assert flag.read_text() == 'before'


@pytest.mark.parametrize('answer', ['an error', None])
def test_a_complete_that_fails_fails_its_own_task_only(answer: str | None) -> None:
    heard = []

    class Unsure(kartnb.TaskOnKart):
        def complete(self) -> Any:
            if answer == 'an error':
                raise OSError('no network')
            return answer

        def run(self) -> None:
            raise AssertionError('nobody knows whether it has to run')

    class Sure(kartnb.TaskOnKart):
        def run(self) -> None:
            self.dump('sure')

    class Root(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return [Unsure(), Sure()]

        def run(self) -> None:
            raise AssertionError('it is blocked')

    Unsure.event_handler(luigi.Event.BROKEN_TASK)(lambda task, error: heard.append(error))
    message = 'no network' if answer else r'Unsure\.complete\(\) gives None: it must give True or False'
    with pytest.raises(kartnb.GokartBuildError, match=message) as caught:
        kartnb.build(Root())
    assert heard == [caught.value.__cause__]
    assert Sure().complete()
    assert caught.value.report is not None
    states = {node.name: node.state for node in caught.value.report.plan}
    assert states == {'Unsure': TaskState.FAILED, 'Sure': TaskState.DONE, 'Root': TaskState.BLOCKED}
    with pytest.raises(OSError if answer else TypeError, match=message):
        kartnb.plan(Root())


def test_external_tasks_of_every_kind_are_looked_for_and_never_run(tmp_path: Path) -> None:
    there = tmp_path / 'there.txt'

    class Made(luigi.Task):
        name = luigi.Parameter()

        def output(self) -> Any:
            return luigi.LocalTarget(str(tmp_path / self.name))

        def run(self) -> None:
            raise AssertionError('made outside')

    class Outside(kartnb.TaskOnKart, luigi.ExternalTask):
        def output(self) -> Any:
            return self.make_target(str(there), use_unique_id=False)

    class Late(luigi.task.externalize(Made)):  # type: ignore[misc]
        pass

    class Root(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return [Outside(), luigi.task.externalize(Made(name='there.txt')), Late(name='there.txt')]

        def run(self) -> None:
            self.dump([target.exists() for target in self.input()])

    with pytest.raises(kartnb.GokartBuildError, match='is made outside of this pipeline') as caught:
        kartnb.build(Root())
    assert isinstance(caught.value.__cause__, ExternalTaskMissingError)
    there.write_text('here I am')
    assert kartnb.build(Root(), workers=2) == [True, True, True]


def test_a_wrapper_of_kartnb_is_complete_with_what_it_wraps() -> None:
    class Part(kartnb.TaskOnKart):
        n = luigi.IntParameter()

        def run(self) -> None:
            self.dump(self.n)

    class Everything(luigi.WrapperTask, kartnb.TaskOnKart):
        def requires(self) -> Any:
            return [Part(n=n) for n in range(3)]

    kartnb.build(Everything(), return_value=False)
    assert Everything().complete()
    assert kartnb.plan(Everything()).to_run() == ()


def test_luigis_class_decorators_work_on_kartnbs_tasks() -> None:
    class Base(kartnb.TaskOnKart):
        n = luigi.IntParameter(default=3)

        def run(self) -> None:
            self.dump(self.n)

    @inherits(Base)
    class Inheriting(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return self.clone(Base)

        def run(self) -> None:
            self.dump(self.n + self.load())

    @requires(Base)
    class Requiring(kartnb.TaskOnKart):
        def run(self) -> None:
            self.dump(10 * self.load())

    @delegates
    class Delegating(kartnb.TaskOnKart):
        def subtasks(self) -> Any:
            return [Base(n=1), Base(n=2)]

        def run(self) -> None:
            self.dump([task.load() for task in self.deps_loaded()])

        def deps_loaded(self) -> Any:
            return [task.output() for task in self.subtasks()]

    assert kartnb.build(Inheriting(n=4)) == 8
    assert kartnb.build(Requiring(n=5)) == 50
    assert common_params(Inheriting(n=4), Base) == {'n': 4, **common_params(Inheriting(n=4), kartnb.TaskOnKart)}
    assert kartnb.build(Delegating()) == [1, 2]


@pytest.mark.parametrize('executor', ['inline', 'threads', 'processes'])
def test_what_a_task_reports_is_heard_while_it_runs(executor: str) -> None:
    class Reporting(kartnb.TaskOnKart):
        def run(self) -> None:
            self.set_status_message('reading')
            self.set_progress_percentage(40)
            self.set_tracking_url('http://127.0.0.1/job')
            self.dump(self.scheduler_messages is None)

    heard: list[Any] = []

    def listen(event: Any) -> None:
        if isinstance(event, TaskProgress):
            heard.append((event.message, event.percentage, event.tracking_url))

    assert kartnb.build(Reporting(), executor=executor, workers=2, listeners=[listen]) is True
    assert heard == [('reading', None, None), (None, 40.0, None), (None, None, 'http://127.0.0.1/job')]
    assert Reporting().set_status_message is None


def test_a_task_that_accepts_messages_gets_none() -> None:
    class Listening(kartnb.TaskOnKart):
        accepts_messages = True

        def run(self) -> None:
            self.dump(self.scheduler_messages.empty())

    assert kartnb.build(Listening()) is True


@pytest.mark.parametrize('executor', ['inline', 'processes'])
def test_on_success_and_on_failure_are_called(executor: str, tmp_path: Path) -> None:
    class Good(kartnb.TaskOnKart):
        def run(self) -> None:
            self.dump(1)

        def on_success(self) -> None:
            (tmp_path / 'success').touch()

    class Bad(kartnb.TaskOnKart):
        def run(self) -> None:
            raise ValueError('the reason')

        def on_failure(self, exception: Exception) -> str:
            (tmp_path / 'failure').write_text(str(exception))
            return 'told'

    kartnb.build(Good(), executor=executor, workers=2)
    with pytest.raises(kartnb.GokartBuildError):
        kartnb.build(Bad(), executor=executor, workers=2)
    assert (tmp_path / 'success').exists()
    assert (tmp_path / 'failure').read_text() == 'the reason'


def test_what_an_urgent_task_needs_is_urgent_too() -> None:
    order: list[str] = []

    class Step(kartnb.TaskOnKart):
        name = luigi.Parameter()
        upstream = kartnb.ListTaskInstanceParameter(default=[])
        urgency = luigi.IntParameter(default=0)

        @property
        def priority(self) -> int:
            return self.urgency

        def run(self) -> None:
            order.append(self.name)
            self.dump(self.name)

    usual = [Step(name=f'usual {n}') for n in range(3)]
    late = Step(name='late', urgency=-1)
    urgent = Step(name='urgent', urgency=9, upstream=[Step(name='needed')])
    kartnb.build(Step(name='root', upstream=[late, *usual, urgent]))
    assert order == ['needed', 'urgent', 'usual 0', 'usual 1', 'usual 2', 'late', 'root']


def test_a_disabled_task_is_not_run_and_said() -> None:
    class Off(kartnb.TaskOnKart):
        disabled = True

        def run(self) -> None:
            raise AssertionError('disabled')

    with pytest.raises(kartnb.GokartBuildError, match='Off is disabled') as caught:
        kartnb.build(Off())
    assert isinstance(caught.value.__cause__, TaskDisabledError)


def test_tasks_with_batch_parameters_run_one_by_one() -> None:
    class Day(kartnb.TaskOnKart):
        day = luigi.IntParameter(batch_method=max)
        max_batch_size = 10

        def run(self) -> None:
            self.dump(self.day)

    class Week(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return [Day(day=day) for day in range(7)]

        def run(self) -> None:
            self.dump(self.load())

    assert kartnb.build(Week()) == list(range(7))


@pytest.mark.parametrize(
    'options',
    [['--local-scheduler'], [], ['--workers=1'], ['--local-scheduler', '--scheduler-url=http://127.0.0.1:1']],
    ids=str,
)
def test_the_command_line_runs_locally_unless_it_names_a_scheduler(options: list[str]) -> None:
    class FromTheCommandLine(kartnb.TaskOnKart):
        run_by = luigi.Parameter(default='')

        def run(self) -> None:
            self.dump(os.getpid())

    with pytest.raises(SystemExit) as caught:
        kartnb.run(['FromTheCommandLine', '--no-lock', '--run-by', str(options), '--log-level=ERROR', *options])
    assert caught.value.code == 0
    assert FromTheCommandLine(run_by=str(options)).output().load() == os.getpid()


def test_the_table_of_the_documentation_names_tests_that_exist(repository: Path) -> None:
    named = set(re.findall(r'`(test_\w+)`', (repository / 'docs/luigi.md').read_text()))
    written = set()
    for file in (repository / 'tests/execution').glob('test_*.py'):
        written.update(re.findall(r'^def (test_\w+)', file.read_text(), re.MULTILINE))
    assert named - written == set()
    assert len(named) > 40


def test_no_mail_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    from luigi import notifications

    sent: list[Any] = []
    monkeypatch.setattr(notifications, 'send_error_email', lambda *mail: sent.append(mail))

    class Owned(kartnb.TaskOnKart):
        owner_email = 'owner@example.org'

        def run(self) -> None:
            raise ValueError

    with pytest.raises(kartnb.GokartBuildError):
        kartnb.build(Owned())
    assert sent == []


def test_dynamic_requirements_of_luigis_class_and_of_plain_tasks(tmp_path: Path) -> None:
    class Asked(luigi.Task):
        n = luigi.IntParameter()

        def output(self) -> Any:
            return luigi.LocalTarget(str(tmp_path / f'{self.n}.txt'))

        def run(self) -> None:
            time.sleep(0.01)
            with self.output().open('w') as file:
                file.write(str(self.n))

    class Asking(luigi.Task):
        def output(self) -> Any:
            return luigi.LocalTarget(str(tmp_path / 'sum.txt'))

        def run(self) -> Any:
            one = yield Asked(n=1)
            more = yield luigi.DynamicRequirements([Asked(n=2), Asked(n=3)])
            values = [int(target.open().read()) for target in [one, *more]]
            with self.output().open('w') as file:
                file.write(str(sum(values)))

    for workers in (1, 2):
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', ResourceWarning)
            kartnb.build(Asking(), workers=workers, return_value=False)
        assert (tmp_path / 'sum.txt').read_text() == '6'
        for file in tmp_path.glob('*.txt'):
            file.unlink()


def test_a_run_may_have_to_make_its_task_complete(tmp_path: Path) -> None:
    class Idle(WithFlag):
        def run(self) -> None:
            pass

    task = Idle(place=str(tmp_path / 'flag'))
    kartnb.build(task, return_value=False)
    with (
        luigi_settings('worker', check_complete_on_run='true'),
        pytest.raises(kartnb.GokartBuildError, match=r'Idle\.run\(\) ended, and its complete\(\) still gives False'),
    ):
        kartnb.build(task, return_value=False)


class Day(luigi.Task):
    """A task that needs the one of the day before, for ever."""

    place = luigi.Parameter()
    day = luigi.IntParameter()

    def requires(self) -> Any:
        assert self.day > 0, 'a day without end'
        return Day(place=self.place, day=self.day - 1)

    def output(self) -> Any:
        return luigi.LocalTarget(f'{self.place}/{self.day}.txt')

    def run(self) -> None:
        with self.output().open('w') as file:
            file.write('done')


def test_a_complete_plain_task_is_not_asked_what_it_requires(tmp_path: Path) -> None:
    place = str(tmp_path)

    class Report(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return Day(place=place, day=3)

        def run(self) -> None:
            self.dump('report')

    (tmp_path / '1.txt').write_text('there')
    assert [node.name for node in kartnb.plan(Report())] == ['Day', 'Day', 'Day', 'Report']
    assert kartnb.build(Report()) == 'report'
    assert sorted(path.name for path in tmp_path.glob('*.txt')) == ['1.txt', '2.txt', '3.txt']
    assert (tmp_path / '1.txt').read_text() == 'there'
    # the unique id of the report needs no more of the day than its parameters
    assert [str(node.state) for node in kartnb.plan(Report())] == ['not needed', 'cached']
    kartnb.build(Day(place=place, day=5), return_value=False)
    assert (tmp_path / '5.txt').read_text() == 'done'


def test_a_complete_task_that_is_asked_to_run_again_is_asked_what_it_requires(tmp_path: Path) -> None:
    for day in range(3):
        (tmp_path / f'{day}.txt').write_text('there')
    task = Day(place=str(tmp_path), day=2)
    kartnb.build(task, rerun=True, return_value=False)
    assert [(tmp_path / f'{day}.txt').read_text() for day in range(3)] == ['there', 'there', 'done']


def test_a_requires_that_fails_fails_its_own_plain_task_only(tmp_path: Path) -> None:
    heard = []
    day = Day(place=str(tmp_path), day=0)

    class Sure(kartnb.TaskOnKart):
        def run(self) -> None:
            self.dump('sure')

    class Both(luigi.WrapperTask):
        def requires(self) -> Any:
            return [day, Sure()]

    Day.event_handler(luigi.Event.BROKEN_TASK)(lambda task, error: heard.append((task, str(error))))
    with pytest.raises(kartnb.GokartBuildError, match='a day without end'):
        kartnb.build(Both())
    assert [task for task, _ in heard] == [day]
    assert Sure().complete()
    with pytest.raises(AssertionError, match='a day without end'):
        kartnb.plan(Both())
    day.output().open('w').close()
    kartnb.build(Both(), return_value=False)


def test_an_external_task_is_not_asked_what_it_requires(tmp_path: Path) -> None:
    class Given(luigi.ExternalTask):
        def requires(self) -> Any:
            raise AssertionError('made outside')

        def output(self) -> Any:
            return luigi.LocalTarget(str(tmp_path / 'given.txt'))

    with pytest.raises(kartnb.GokartBuildError) as caught:
        kartnb.build(Given(), return_value=False)
    assert isinstance(caught.value.__cause__, ExternalTaskMissingError)
    (tmp_path / 'given.txt').write_text('there')
    kartnb.build(Given(), return_value=False)


@pytest.mark.parametrize('executor', ['inline', 'processes', 'async'])
def test_a_callback_says_whether_dynamic_requirements_are_complete(executor: str, tmp_path: Path) -> None:
    (tmp_path / '1.txt').write_text('there')

    class Bulk(kartnb.TaskOnKart):
        days = luigi.ListParameter()
        is_async = luigi.BoolParameter()

        def run(self) -> Any:
            targets = yield self.asked()
            self.dump([os.path.basename(target.path) for target in targets])

        def asked(self) -> Any:
            tasks = [Day(place=str(tmp_path), day=day) for day in self.days]

            def are_complete(is_complete: Any) -> bool:
                with open(tmp_path / 'calls', 'a') as calls:
                    calls.write('x')
                return bool(is_complete(tasks[0]))

            return luigi.DynamicRequirements(tasks, are_complete)

    class Awaiting(Bulk):
        async def run(self) -> Any:  # type: ignore[override]
            targets = yield self.asked()
            self.dump([os.path.basename(target.path) for target in targets])

    cls = Awaiting if executor == 'async' else Bulk
    # the first is complete, and says so for the second, which nothing could make
    assert kartnb.build(cls(days=[1, 0]), executor=executor, workers=2) == ['1.txt', '0.txt']
    assert (tmp_path / 'calls').read_text() == 'x'
    notes = [node.note for node in kartnb.plan(cls(days=[1, 0]))]
    assert 'a callback of its own said that they are complete' in notes[0]
    assert kartnb.build(cls(days=[2]), executor=executor, workers=2) == ['2.txt']


def test_a_task_with_its_own_complete_may_have_outputs_that_are_no_targets(tmp_path: Path) -> None:
    class Odd(WithFlag):
        def output(self) -> Any:
            return ['a table', {'of': 3}, luigi.LocalTarget(str(tmp_path / 'never'))]

    task = Odd(place=str(tmp_path / 'flag'))
    assert [str(node.state) for node in kartnb.plan(task)] == ['missing']
    kartnb.build(task, return_value=False)
    assert (tmp_path / 'flag').read_text() == 'done'
    assert [str(node.state) for node in kartnb.plan(task)] == ['cached']


@pytest.mark.parametrize('base', [luigi.Task, kartnb.TaskOnKart])
@pytest.mark.parametrize('where', ['root', 'required', 'yielded'])
def test_an_init_that_does_not_call_that_of_its_base_gets_luigis_sentence(base: Any, where: str) -> None:
    class Bare(base):  # type: ignore[misc]
        def __init__(self) -> None:
            pass

    class Root(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return Bare() if where == 'required' else []

        def run(self) -> Any:
            if where == 'yielded':
                yield Bare()

    sentence = r'Task of class Bare not initialized\. Did you override __init__ and forget to call super\(\.\.\.\)'
    with pytest.raises(Exception, match=sentence) as caught:
        kartnb.build(Bare() if where == 'root' else Root(), return_value=False)
    assert isinstance(caught.value, kartnb.GokartBuildError if where == 'yielded' else TaskArgumentError)


def test_missing_external_tasks_are_looked_for_again_where_luigi_is_told_so(tmp_path: Path) -> None:
    class Outside(luigi.ExternalTask):
        def output(self) -> Any:
            return luigi.LocalTarget(str(tmp_path / 'outside.txt'))

    class Makes(kartnb.TaskOnKart):
        def run(self) -> None:
            (tmp_path / 'outside.txt').write_text('made meanwhile')
            self.dump(1)

    class Uses(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return [Outside(), Makes()]

        def run(self) -> None:
            self.dump((tmp_path / 'outside.txt').read_text())

    with pytest.raises(kartnb.GokartBuildError) as caught:
        kartnb.build(Uses())
    assert isinstance(caught.value.__cause__, ExternalTaskMissingError)
    (tmp_path / 'outside.txt').unlink()
    Makes().output().remove()
    with (
        luigi_settings('worker', retry_external_tasks='true'),
        luigi_settings('scheduler', retry_count='5', retry_delay='0.05'),
    ):
        assert kartnb.build(Uses()) == 'made meanwhile'
        (tmp_path / 'outside.txt').unlink()
        Uses().output().remove()
        with pytest.raises(kartnb.GokartBuildError) as caught:
            kartnb.build(Uses())
    assert [len(errors) for errors in caught.value.raised_exceptions.values()] == [5]


def test_an_external_task_is_waited_for_where_luigi_is_told_to_keep_alive(tmp_path: Path) -> None:
    looked = []

    class Late(luigi.ExternalTask):
        def complete(self) -> bool:
            looked.append(1)
            return len(looked) > 7

    class Uses(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return Late()

        def run(self) -> None:
            self.dump('used')

    with (
        luigi_settings('worker', retry_external_tasks='true', keep_alive='true'),
        luigi_settings('scheduler', retry_delay='0.01'),
    ):
        assert kartnb.build(Uses()) == 'used'
    assert len(looked) == 8


def test_no_more_tasks_enter_a_build_than_the_task_limit_allows() -> None:
    class Step(kartnb.TaskOnKart):
        n = luigi.IntParameter()

        def requires(self) -> Any:
            return [Step(n=self.n - 1)] if self.n else []

        def run(self) -> None:
            self.dump(self.n)

    with luigi_settings('worker', task_limit='3'):
        with pytest.raises(
            kartnb.GokartBuildError, match=r'\[worker\] task_limit lets a build take in 3 tasks'
        ) as caught:
            kartnb.build(Step(n=3))
        assert not Step(n=0).complete()
        assert caught.value.report is not None
        assert [str(caught.value.report.states[node.key]) for node in caught.value.report.plan] == [
            'failed',
            'blocked',
            'blocked',
            'blocked',
        ]
        assert kartnb.build(Step(n=2)) == 2
