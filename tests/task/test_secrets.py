"""PRIVATE values appear nowhere; HIDDEN ones only in the `task_params` log, which identity and `restore` need."""

from __future__ import annotations

import enum
import io
import json
import logging
import pickle
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gokart
import luigi
import pytest
from luigi.configuration.cfg_parser import LuigiConfigParser
from luigi.parameter import ParameterVisibility

import kartnb

PRIVATE, HIDDEN = ParameterVisibility.PRIVATE, ParameterVisibility.HIDDEN
PASSWORD, TOKEN = 'pa55w0rd', 't0k3n'


class Query(kartnb.TaskOnKart):
    table = luigi.Parameter(default='users')
    password = luigi.Parameter(default=PASSWORD, visibility=PRIVATE)
    token = luigi.Parameter(default=TOKEN, visibility=HIDDEN)
    key = luigi.Parameter(default=PASSWORD, visibility=PRIVATE, significant=False)

    def run(self) -> None:
        logging.getLogger('a.library').error('rows of %s', self.table)
        self.dump([1, 2, 3])


class RawQuery(luigi.Task):
    table = luigi.Parameter(default='raw')
    password = luigi.Parameter(default=PASSWORD, visibility=PRIVATE)
    token = luigi.Parameter(default=TOKEN, visibility=HIDDEN)

    def output(self) -> Any:
        return luigi.LocalTarget('raw.txt')

    def run(self) -> None:
        with self.output().open('w') as file:
            file.write('raw')


class Report(kartnb.TaskOnKart):
    query = kartnb.TaskInstanceParameter(default=Query())
    more = kartnb.ListTaskInstanceParameter(default=[Query(table='orders')])
    password = luigi.Parameter(default=PASSWORD, visibility=PRIVATE)

    def requires(self) -> Any:
        return {'query': self.query, 'more': self.more, 'raw': RawQuery()}

    def run(self) -> None:
        self.dump(len(self.load('query')))


class Failing(Report):
    def run(self) -> None:
        raise ValueError('no rows')


class Silent(Report):
    def run(self) -> None:
        pass


def has_no_secret(text: str) -> None:
    assert PASSWORD not in text
    assert TOKEN not in text


@pytest.mark.parametrize(
    'show',
    [repr, str, lambda task: str(task.get_info()), lambda task: task.task_id],
    ids=['repr', 'str', 'info', 'task_id'],
)
@pytest.mark.parametrize('task', [Query(), Report(), Report(query=Query(table='x'))], ids=['query', 'report', 'other'])
def test_representations(show: Callable[[Any], str], task: Any) -> None:
    has_no_secret(show(task))
    assert 'users' in show(Query())


def test_gokart_shows_them() -> None:
    class Shown(gokart.TaskOnKart):
        password = luigi.Parameter(default=PASSWORD, visibility=PRIVATE)

    assert PASSWORD in repr(Shown())
    assert PASSWORD in str(Shown().get_info())


@pytest.fixture
def everything(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """All that was logged, printed or written so far, the logs of parameters apart."""
    caplog.set_level(logging.DEBUG)

    def collected() -> str:
        files = [file for file in Path.cwd().rglob('*') if file.is_file() and file.parent.name != 'task_params']
        read = capfd.readouterr()
        contents = [f'{file} {file.read_bytes().decode("latin-1")}' for file in files]
        return '\n'.join([caplog.text, read.out, read.err, *contents])

    return collected


def test_a_build_that_succeeds(everything: Callable[[], str]) -> None:
    events: list[Any] = []
    assert kartnb.build(Report(), log_level=logging.DEBUG, listeners=[events.append]) == 3
    written = everything()
    assert 'rows of users' in written
    assert 'run_record' in written
    has_no_secret(written)
    has_no_secret(str(events))


@pytest.mark.parametrize('cls', [Failing, Silent])
def test_a_build_that_fails(cls: Any, everything: Callable[[], str]) -> None:
    with pytest.raises(kartnb.GokartBuildError) as caught:
        kartnb.build(cls(), log_level=logging.DEBUG)
    has_no_secret(str(caught.value))
    has_no_secret(str(caught.value.report))
    has_no_secret('\n'.join(caught.value._render_traceback_()))
    has_no_secret(everything())


def test_the_logged_parameters(resources: Path) -> None:
    kartnb.build(Query())
    (file,) = (resources / 'log' / 'task_params').iterdir()
    assert pickle.loads(file.read_bytes()) == {'table': 'users', 'token': TOKEN}
    kartnb.build(Report())
    for file in (resources / 'log' / 'task_params').iterdir():
        assert PASSWORD not in str(pickle.loads(file.read_bytes()))


def test_the_run_record_is_readable_and_clean(resources: Path) -> None:
    kartnb.build(Query())
    records = [json.loads(file.read_text()) for file in (resources / 'log' / 'run_record').rglob('*.json')]
    assert [record['parameters'] for record in records] == [{'table': 'users'}]


def test_plans_in_every_form() -> None:
    plan = kartnb.plan(Report())
    for text in (repr(plan), str(plan), plan._repr_html_(), *plan._repr_mimebundle_().values(), plan.root.outputs[0]):
        has_no_secret(text)
    for node in plan:
        has_no_secret(node.key)
        has_no_secret(str(node.reason))
        has_no_secret(repr(node))


def test_restore_brings_hidden_values_back_and_private_ones_by_default() -> None:
    task = Query(table='t', token='other', password='unknown')
    kartnb.build(task)
    restored = Query.restore(task.make_unique_id())
    assert (restored.table, restored.token, restored.password) == ('t', 'other', PASSWORD)


def test_a_changed_private_value_finds_the_old_result() -> None:
    assert Query(password='a').make_unique_id() == Query(password='b').make_unique_id()
    assert Query(token='a').make_unique_id() != Query(token='b').make_unique_id()
    assert Query(password='a').password == 'a'
    assert Query(password='b').password == 'b'


class Colour(enum.Enum):
    RED = 1


class Picky(kartnb.TaskOnKart):
    text = luigi.Parameter(default='', visibility=PRIVATE)
    number = luigi.OptionalIntParameter(default=None, visibility=HIDDEN)
    choice = luigi.ChoiceParameter(default='a', choices=['a'], visibility=PRIVATE)
    day = luigi.DateParameter(default=None, visibility=PRIVATE)
    colour = luigi.EnumParameter(default=Colour.RED, enum=Colour, visibility=PRIVATE)
    task = kartnb.TaskInstanceParameter(default=Query(), visibility=PRIVATE)
    tasks = kartnb.ListTaskInstanceParameter(default=[], visibility=PRIVATE)


class Secretive(str):
    """A value that is not of the expected type, but shows itself."""

    __slots__ = ()


@pytest.mark.parametrize(
    'values', [{'choice': PASSWORD}, {'day': PASSWORD}, {'task': PASSWORD}, {'tasks': [PASSWORD]}], ids=str
)
def test_messages_about_wrong_values(values: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        Picky(**values)
    has_no_secret(str(caught.value))
    assert repr(next(iter(values))) in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize('values', [{'text': 5511}, {'number': '5511'}], ids=str)
def test_warnings_about_wrong_values(values: dict[str, Any]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        Picky(**values)
    assert len(caught) == 1
    assert 'must not be of type' in str(caught[0].message)
    assert '5511' not in str(caught[0].message)


def test_messages_about_configured_values(configuration: LuigiConfigParser) -> None:
    configuration.set('Picky', 'day', PASSWORD)
    with pytest.raises(ValueError, match='cannot be read') as caught:
        Picky()
    has_no_secret(str(caught.value))
    assert caught.value.__cause__ is None


class Named(kartnb.TaskOnKart):
    task = kartnb.TaskInstanceParameter()


@pytest.mark.parametrize(
    'question',
    [
        lambda: Named(task=RawQuery()),
        lambda: Named(task=[Query()]),
        lambda: Report().load(RawQuery(table='not required')),
        lambda: Report().load(Query(table='not required')),
        lambda: Query(pasword=PASSWORD),
        lambda: Query('a', workspace_directory=PASSWORD),
        lambda: kartnb.build(Query(), rerun='Qery'),
        lambda: kartnb.build([Query()]),
        lambda: kartnb.build(Query),
    ],
)
def test_messages_about_wrong_tasks(question: Callable[[], Any]) -> None:
    with pytest.raises(Exception, match=r'.') as caught:
        question()
    has_no_secret(str(caught.value))


def test_gokart_tells_the_secret_of_a_plain_task() -> None:
    class GokartNamed(gokart.TaskOnKart):
        task = gokart.TaskInstanceParameter()

    with pytest.raises(TypeError, match=PASSWORD):
        GokartNamed(task=RawQuery())


def test_log_lines_of_tasks_do_not_hold_them() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logging.getLogger().addHandler(handler)
    try:
        kartnb.build(Report(), log_level=logging.DEBUG)
        Query().run()
    finally:
        logging.getLogger().removeHandler(handler)
    assert 'is skipped' in stream.getvalue()
    has_no_secret(stream.getvalue())
