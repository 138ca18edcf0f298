"""What a task prints, logs, raises, reports or notes of its secrets is masked wherever kartnb keeps or shows it."""

from __future__ import annotations

import base64
import dataclasses
import json
import logging
import os
import pickle
import subprocess
import sys
import textwrap
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import luigi
import pytest
from luigi.parameter import ParameterVisibility

import kartnb
from kartnb.capture.lines import LONGEST_LINE
from kartnb.task.secrets import MASK, Masker

PRIVATE, HIDDEN = ParameterVisibility.PRIVATE, ParameterVisibility.HIDDEN
PASSWORD, TOKEN = 'hun-ter2&"x\'', 'tok/en+12345'
KEY = '-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\nAg==\n-----END KEY-----\n'
LEAKS = (PASSWORD, TOKEN, 'hun-ter2', 'MIIEvQ', 'hkiG9w0')


@dataclasses.dataclass
class Login:
    user: str
    password: str = dataclasses.field(repr=False)


class Source(kartnb.TaskOnKart[int]):
    key = luigi.Parameter(default=KEY, visibility=PRIVATE)
    where = luigi.Parameter()

    def run(self) -> None:
        self.dump(1)


class Upload(kartnb.TaskOnKart[int]):
    """Tells its secrets in the way that `how` names."""

    how = luigi.Parameter()
    login = luigi.DictParameter(default={'user': 'me', 'password': PASSWORD}, visibility=PRIVATE)
    token = luigi.Parameter(default=TOKEN, visibility=HIDDEN)
    source = kartnb.TaskInstanceParameter()

    def run(self) -> None:
        WAYS[self.how](self)
        self.dump(len(self.how))


def printed(task: Upload) -> None:
    print('password', task.login['password'], task.login)
    sys.stdout.write(f'token {task.token[:5]}')
    sys.stdout.write(f'{task.token[5:]}\n')
    print(task.source.key)
    print(textwrap.indent(task.source.key, '> '), file=sys.stderr)
    print('x' * (LONGEST_LINE - 5), end='')
    print(task.token[:7], end='')
    print(task.token[7:])
    sys.stderr.write(f'\r10% of {task.token}\r')
    sys.stderr.write(f'\r20% of {task.token}\n')


def by_another_program(task: Upload) -> None:
    os.write(1, f'c {task.token}\n'.encode())
    subprocess.run([sys.executable, '-c', 'import sys; print(sys.argv[1])', task.login['password']], check=True)


def logged(task: Upload) -> None:
    logging.getLogger('a.library').error('with %s and\n%s', json.dumps(dict(task.login)), task.source.key)
    try:
        raise ValueError(task.token)
    except ValueError:
        logging.getLogger('a.library').exception('failed')


def encoded(task: Upload) -> None:
    password = task.login['password']
    print(quote(password), quote_plus(password), repr(password), json.dumps({'p': password}))
    print(base64.b64encode(f'me:{password}'.encode()).decode(), base64.b64encode(task.token.encode()).decode())


def reported(task: Upload) -> None:
    task.set_status_message(f'sends {task.token}')  # type: ignore[misc]
    task.set_tracking_url(f'http://me:{quote(task.login["password"])}@host/')  # type: ignore[misc]
    task.task_log['url'] = [f'http://{task.token}@host']


class OddError(Exception):
    """Makes its text of what no one else knows of."""

    def __init__(self, task: Upload) -> None:
        super().__init__()
        self.given = [task]

    def __str__(self) -> str:
        return f'odd {self.given[0].token}'

    def __reduce__(self) -> Any:
        return OddError, (self.given[0],)


def raised(task: Upload) -> None:
    try:
        raise ConnectionError(13, 'denied', f'ftp://{task.token}')
    except OSError as error:
        error.add_note(f'with {task.login["password"]}')
        raise ValueError(f'login {task.login} failed', {'key': [task.source.key]}) from error


def raised_oddly(task: Upload) -> None:
    raise OddError(task)


WAYS: dict[str, Callable[[Upload], None]] = {
    way.__name__: way for way in (printed, by_another_program, logged, encoded, reported, raised, raised_oddly)
}


def has_no_secret(text: str) -> None:
    found = [leak for leak in LEAKS for form in (leak, repr(leak)[1:-1], quote(leak)) if form in text]
    assert found == [], text[max(text.find(found[0]) - 200, 0) :][:400]
    for data in (PASSWORD, TOKEN):
        assert base64.b64encode(data.encode()).decode() not in text


def written() -> str:
    """All that lies in the workspace, the parameters that identity needs apart."""
    files = [file for file in Path('resources').rglob('*') if file.is_file() and file.parent.name != 'task_params']
    return '\n'.join(f'{file} {file.read_bytes().decode("utf-8", "replace")}' for file in files)


EXECUTORS: dict[str, Callable[[], dict[str, Any]]] = {
    'inline': dict,
    'threads': lambda: {'executor': 'threads'},
    'processes': lambda: {'workers': 2},
    'foreign': lambda: {'executor': ThreadPoolExecutor(1)},
}


@pytest.mark.parametrize('executor', EXECUTORS)
@pytest.mark.parametrize('how', [way for way in WAYS if 'raised' not in way])
def test_what_is_kept_and_sent_holds_no_secret(how: str, executor: str) -> None:
    events: list[Any] = []
    task = Upload(how=how, source=Source(where='here'))
    kartnb.build(task, listeners=[events.append], log_level=logging.INFO, **EXECUTORS[executor]())
    kept = written() + str(events)
    assert MASK in kept
    has_no_secret(kept)
    has_no_secret(repr(kartnb.logs(task)))


@pytest.mark.parametrize('executor', EXECUTORS)
@pytest.mark.parametrize('how', ['raised', 'raised_oddly'])
def test_no_text_of_an_error_holds_a_secret(how: str, executor: str) -> None:
    events: list[Any] = []
    with pytest.raises(kartnb.GokartBuildError, match=MASK) as caught:
        kartnb.build(Upload(how=how, source=Source(where='here')), listeners=[events.append], **EXECUTORS[executor]())
    error = caught.value
    shown = [
        str(error),
        *error._render_traceback_(),
        error._repr_html_(),
        repr(error.report),
        repr(error.report.failures),
    ]
    kept = written()
    assert MASK in kept
    for text in (kept, str(events), *shown):
        has_no_secret(text)


@pytest.mark.parametrize('executor', EXECUTORS)
def test_the_exceptions_themselves_hold_no_secret(executor: str) -> None:
    """So nothing leaks where Python itself writes them, or a handler of the user's."""
    with pytest.raises(kartnb.GokartBuildError) as caught:
        kartnb.build(Upload(how='raised', source=Source(where='here')), **EXECUTORS[executor]())
    text = ''.join(traceback.format_exception(caught.value))
    assert 'ConnectionError' in text
    has_no_secret(text)
    has_no_secret(repr(caught.value.raised_exceptions))


def test_what_a_task_has_noted_is_otherwise_as_gokart_writes_it() -> None:
    task = Upload(how='reported', source=Source(where='here'))
    kartnb.build(task)
    (file,) = [file for file in Path('resources/log/task_log').iterdir() if file.name.startswith('Upload')]
    assert pickle.loads(file.read_bytes()) == {'url': [f'http://{MASK}@host'], 'file_path': [task.output().path()]}
    assert task.task_log['url'] == [f'http://{TOKEN}@host']


class Asking(kartnb.TaskOnKart[str]):
    how = luigi.Parameter()

    def run(self) -> Any:
        upload = Upload(how=self.how, source=Source(where='later'))
        yield upload
        print('asked for', upload.token)
        raise ValueError(upload.token)


@pytest.mark.parametrize('executor', ['inline', 'processes'])
def test_secrets_of_tasks_that_are_asked_for_later(executor: str) -> None:
    with pytest.raises(kartnb.GokartBuildError, match=MASK) as caught:
        kartnb.build(Asking(how='printed'), **EXECUTORS[executor]())
    has_no_secret(written() + str(caught.value) + repr(caught.value.__cause__))
    assert f'asked for {MASK}' in written()


# luigi warns of values that are no text
pytestmark = pytest.mark.filterwarnings('ignore:Parameter "')


class Wide(luigi.Task):
    secret = luigi.Parameter(visibility=PRIVATE)
    public = luigi.Parameter(default='')


class SecretText:
    """As pydantic's SecretStr."""

    def __init__(self, value: str) -> None:
        self._value = value

    def get_secret_value(self) -> str:
        return self._value


@pytest.mark.parametrize(
    'secret, text',
    [
        ('abcd', 'abcd'),
        ([1234567, ('wxyz', {'k': 'nested'})], '1234567 wxyz nested'),
        (Login('someone', 'pa55'), 'someone pa55'),
        ('{"private_key": "a\\nlong\\nkey", "id": 1234567}', 'long 1234567'),
        ('postgresql://me:p%40ss@host/db', 'p%40ss p@ss'),
        (b'by\x00tes', "b'by\\x00tes' 627900746573"),
        (SecretText('inner'), 'inner'),
        ('hunter2\n', 'hunter2'),
        (Path('/etc/pass/wd'), '/etc/pass/wd'),
    ],
    ids=range(9),
)
def test_forms_of_a_value(secret: Any, text: str) -> None:
    masked = Masker([Wide(secret=secret)])(text)
    assert set(masked) <= set(MASK + " b'"), masked


@pytest.mark.parametrize('value', ['abc', 'True', 'none', '12345', 12345, 0.5, True, None, '    ', '-----', ''])
def test_values_that_ordinary_text_holds(value: Any) -> None:
    assert not Masker([Wide(secret=value)])


def test_what_a_public_value_hides_by_itself() -> None:
    mask = Masker([Wide(secret='', public=(Login('someone', 'pa55word'), {'a': SecretText('inner')}))])
    assert mask('someone pa55word inner public') == f'someone {MASK} {MASK} public'


def test_base64_of_any_text_that_holds_the_value() -> None:
    mask = Masker.of_values(['correct horse?'])
    for before in ('', 'm', 'me', 'me:', 'you:'):
        for after in ('', '!', '!!', '!!!'):
            data = f'{before}correct horse?{after}'.encode()
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                text = encode(data).decode()
                assert MASK in mask(text)
                assert len(mask(text)) - len(MASK) <= len(text) - 16, 'at most the ends are left'


def test_the_longer_secret_goes_first() -> None:
    assert Masker.of_values(['pass', 'pass phrase'])('pass phrase, pass') == f'{MASK}, {MASK}'


def test_a_masker_travels() -> None:
    mask = pickle.loads(pickle.dumps(Masker.of_values(['hunter2'])))
    assert mask('hunter2') == MASK
    assert not pickle.loads(pickle.dumps(Masker()))


class FrozenError(Exception):
    """Its text cannot be made, and its attributes cannot be set."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)

    def __str__(self) -> str:
        raise RuntimeError('no text')

    __repr__ = __str__


class Broken(kartnb.TaskOnKart[int]):
    def run(self) -> None:
        raise FrozenError


@pytest.mark.parametrize('executor', EXECUTORS)
def test_an_exception_without_a_text_is_named_with_its_task(executor: str) -> None:
    events: list[Any] = []
    with pytest.raises(kartnb.GokartBuildError) as caught:
        kartnb.build(Broken(), listeners=[events.append], **EXECUTORS[executor]())
    error = caught.value
    for text in (str(error), repr(error.report), error._repr_html_() or ''):
        assert 'Broken' in text
        assert 'FrozenError' in text
    assert 'FrozenError' in '\n'.join(error._render_traceback_())
    assert 'FrozenError' in written()
    assert 'FrozenError' in str(events)


class Unplanned(kartnb.TaskOnKart[int]):
    token = luigi.Parameter(default=TOKEN, visibility=PRIVATE)

    def requires(self) -> Any:
        raise ConnectionError(f'no list of tables for {self.token}')


@pytest.mark.parametrize('act', [kartnb.plan, kartnb.build])
def test_what_requires_raises(act: Callable[[Any], object]) -> None:
    with pytest.raises(ConnectionError, match=f'no list of tables for {MASK}'):
        act(Unplanned())
