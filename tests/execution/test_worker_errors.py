"""An exception arrives from a worker as it was raised there: class, text, attributes, notes, causes, and lines."""

from __future__ import annotations

import argparse
import configparser
import importlib
import json
import re
import subprocess
import sys
import tarfile
import threading
import traceback
import urllib.error
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import kartnb
from kartnb.execution.workers import task_pickler
from kartnb.execution.workers.sent_errors import ByAttributes
from kartnb.execution.workers.transport import WorkerClasses
from tests.task.cells import Notebook

CELL = """
import dataclasses, json, subprocess, threading

class Refused(Exception):
    pass

class Odd(Exception):
    def __init__(self, code, *, reason):
        super().__init__(f'{code}: {reason}')
        self.code, self.reason = code, reason

class Slotted(ValueError):
    __slots__ = ('place',)

    def __init__(self, place):
        self.place = place

    def __str__(self):
        return f'at {self.place}'

@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    code: int
    place: str = 'here'

class Locked(Exception):
    def __init__(self, text):
        self.lock = threading.Lock()
        self.text = text

    def __str__(self):
        return self.text if hasattr(self.lock, 'acquire') else 'lost'

class Taken(Exception):
    def __init__(self, lock):
        super().__init__('taken')
        self.lock = lock

    def __str__(self):
        return f'{self.lock.locked()}'

class Own(Exception):
    def __init__(self, a, b):
        self.a, self.b = a, b

    def __str__(self):
        return f'{self.a}-{self.b}'

    def __reduce__(self):
        return Own, (self.a, self.b)

class OwnAndWrong(Own):
    def __reduce__(self):
        return Own, (self.a, self.b)

class OldFile(FileNotFoundError):
    def __init__(self, name):
        super().__init__(2, 'No such old file', name)

def local():
    class Q(Exception):
        pass
    raise Q('local')

def chained():
    try:
        try:
            {}['a']
        except KeyError as error:
            error.add_note('a note')
            raise Odd(3, reason='inner') from error
    except Odd:
        raise Refused('outer')

def hidden():
    try:
        1 / 0
    except ZeroDivisionError:
        raise Refused('no context') from None

def group():
    try:
        1 / 0
    except ZeroDivisionError as error:
        raise ExceptionGroup('several', [error, ExceptionGroup('inner', [Odd(1, reason='x'), OldFile('a')])])

def failing(function, *arguments, **named):
    def fail():
        raise function(*arguments, **named)
    return fail

WAYS = {
    'global': failing(Refused, 'no'),
    'other arguments': failing(Odd, 4, reason='odd'),
    'slots': failing(Slotted, 'the slot'),
    'a frozen dataclass': failing(Frozen, 3),
    'a lock in it': failing(Locked, 'text'),
    'a text of a lock': lambda: failing(Taken, threading.Lock())(),
    'a lock as argument': lambda: failing(ValueError, 'text', threading.Lock())(),
    'own way': failing(Own, 1, 2),
    'own way that gives another class': failing(OwnAndWrong, 1, 2),
    'OSError': lambda: open('nowhere'),
    'a kind of OSError': failing(OldFile, 'old.txt'),
    'KeyError': lambda: {}['key'],
    'unicode': lambda: b'\\xff'.decode(),
    'encode': lambda: '\\ud800'.encode(),
    'syntax': lambda: compile('x = = 3', 'f.py', 'exec'),
    'json': lambda: json.loads('{"a": }'),
    'process': lambda: subprocess.run(['false'], check=True),
    'timeout': failing(subprocess.TimeoutExpired, ['a'], 3),
    'import': lambda: __import__('not_there'),
    'attribute': lambda: (1).nothing,
    'name': lambda: not_defined,
    'local': local,
    'chained': chained,
    'hidden': hidden,
    'group': group,
}

class Failing(kartnb.TaskOnKart):
    way = luigi.Parameter()

    def run(self):
        WAYS[self.way]()

class Failures(kartnb.TaskOnKart):
    def requires(self):
        return [Failing(way=way) for way in WAYS]
"""


@pytest.fixture(scope='module')
def raised(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[BaseException, BaseException]]:
    """What each way raises inline and in a worker."""
    notebook = Notebook()
    notebook.run(CELL)
    place = str(tmp_path_factory.mktemp('workspace'))
    found = []
    for workers in (1, 2):
        with pytest.raises(kartnb.GokartBuildError) as caught:
            kartnb.build(notebook.Failures(workspace_directory=place), workers=workers)
        found.append({failure.parameters[0][1]: failure.error for failure in caught.value.report.failures})
    assert found[0].keys() == found[1].keys() == notebook.WAYS.keys()
    return {way: (found[0][way], found[1][way]) for way in found[0]}


@pytest.mark.parametrize('way', re.findall(r"^    '(.+?)': ", CELL, re.MULTILINE))
def test_what_is_shown_of_an_exception_is_the_same_as_inline(way: str, raised: Any) -> None:
    inline, arrived = raised[way]
    assert isinstance(arrived, type(inline)) or way == 'local', 'so that `except` finds it'
    assert type(arrived).__qualname__ == type(inline).__qualname__
    assert str(arrived) == str(inline) or way == 'a lock as argument', 'locks have addresses'
    assert _shown(arrived) == _shown(inline)


def _shown(error: BaseException) -> list[str]:
    lines = ''.join(traceback.format_exception(error)).splitlines()
    return [line for line in lines if '_thread.lock' not in line]


def test_attributes_arrive(raised: Any) -> None:
    assert vars(raised['other arguments'][1]) == {'code': 4, 'reason': 'odd'}
    assert raised['slots'][1].place == 'the slot'
    assert raised['own way'][1].b == 2
    error = raised['a kind of OSError'][1]
    assert (error.errno, error.strerror, error.filename) == (2, 'No such old file', 'old.txt')
    assert raised['OSError'][1].filename == 'nowhere'
    error = raised['syntax'][1]
    assert (error.text, error.lineno, error.offset, error.filename) == ('x = = 3\n', 1, 5, 'f.py')
    error = raised['unicode'][1]
    assert (error.object, error.start, error.encoding) == (b'\xff', 0, 'utf-8')
    assert isinstance(raised['json'][1], json.JSONDecodeError)
    assert raised['json'][1].pos == 6
    assert isinstance(raised['process'][1], subprocess.CalledProcessError)
    assert raised['process'][1].returncode == 1
    assert raised['import'][1].name == 'not_there'
    assert raised['a lock in it'][1].text == 'text'
    assert 'lock' in repr(raised['a lock in it'][1].lock), 'what cannot be sent shows what it was'


def test_causes_and_notes_arrive(raised: Any) -> None:
    error = raised['chained'][1]
    assert error.__cause__ is None
    assert not error.__suppress_context__
    assert error.__context__.__cause__.__notes__ == ['a note']
    assert raised['hidden'][1].__suppress_context__
    assert isinstance(raised['hidden'][1].__context__, ZeroDivisionError)
    group = raised['group'][1]
    first, inner = group.exceptions
    assert first.__traceback__ is not None
    assert [type(error).__name__ for error in inner.exceptions] == ['Odd', 'OldFile']


STDLIB = (
    'argparse asyncio binascii bdb bz2 calendar configparser concurrent.futures copy csv ctypes dataclasses decimal '
    'email.errors fractions ftplib getopt getpass gzip html http.client http.cookiejar http.cookies imaplib inspect '
    'ipaddress json locale logging lzma mailbox marshal multiprocessing multiprocessing.shared_memory netrc nntplib '
    'optparse pdb pickle pickletools platform plistlib poplib pydoc pyexpat queue re runpy sched select shelve shutil '
    'signal smtplib socket sqlite3 ssl statistics string struct subprocess sys tabnanny tarfile telnetlib tempfile '
    'termios threading tokenize tomllib traceback unittest unittest.case urllib.error urllib.parse uu uuid warnings '
    'wave weakref webbrowser xml.dom xml.etree.ElementTree xml.parsers.expat xml.sax xmlrpc.client zipfile zipimport '
    'zlib zoneinfo xdrlib aifc curses dbm dbm.dumb graphlib contextlib importlib.metadata importlib.resources '
)


PLAIN = [kind.__reduce__ for kind in (BaseException, OSError, ImportError)]


def _all_exceptions() -> list[type[BaseException]]:
    for name in STDLIB.split():
        try:
            importlib.import_module(name)
        except ImportError:  # of another version of Python, or not on this system
            continue
    found: dict[type[BaseException], None] = {}
    waiting: list[type[BaseException]] = [BaseException]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        root = kind.__module__.partition('.')[0]
        if root in sys.stdlib_module_names or root == 'builtins':
            found[kind] = None
    return list(found)


SPECIAL: dict[Any, tuple[Any, ...]] = {
    argparse.ArgumentError: (None, 'text'),
    configparser.MissingSectionHeaderError: ('file', 3, 'line'),
    json.JSONDecodeError: ('text', 'document', 2),
    urllib.error.HTTPError: ('http://nowhere', 404, 'Not found', None, None),
}


def _examples(kind: type[BaseException]) -> Iterator[BaseException]:
    """Exceptions of a class, made in the ways that it takes."""
    if kind in SPECIAL:
        yield kind(*SPECIAL[kind])
        return
    for arguments in (
        (),
        ('text',),
        ('text', 2),
        (2, 'text', 'file'),
        ('utf-8', b'\xff', 0, 1, 'reason'),
        ('utf-8', 'x', 0, 1, 'reason'),
        ('x', 0, 1, 'reason'),
        ('text', [ValueError('inner'), KeyError('k')]),
        ('text', ('f.py', 3, 4, 'x = = 3\n', 3, 6)),
        ('a', 'b', 'c'),
        (tarfile.TarInfo('name'),),
        (tarfile.TarInfo('name'), 'path'),
    ):
        try:
            yield kind(*arguments)
        except Exception:  # the class takes others
            continue


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_every_exception_of_the_standard_library_arrives() -> None:
    kinds = _all_exceptions()
    assert len(kinds) > 150
    untested = []
    for kind in kinds:
        examples = list(_examples(kind))
        if not examples:
            untested.append(kind)
        for error in examples:
            if type(error).__reduce__ in PLAIN:
                error.__dict__['more'] = 1
            arrived = WorkerClasses().loads(task_pickler.dumps(error))
            assert type(arrived) is type(error)
            assert _told(arrived) == _told(error)
    assert len(untested) <= 5, untested  # such as classes that take a parser


def _told(error: BaseException) -> Any:
    """Everything that can be seen of an exception."""
    names = [name for name in dir(error) if not name.startswith('__')]
    values = {name: _text(lambda error, name=name: _plain(getattr(error, name, None)), error) for name in names}
    return _text(str, error), _text(repr, error), _text(lambda error: repr(error.args), error), values


def _text(how: Callable[..., str], error: BaseException) -> str:
    try:
        return re.sub('0x[0-9a-f]+', '…', how(error))  # the address of something in it
    except Exception as wrong:  # some need other attributes than these
        return repr(wrong)


def _plain(value: Any) -> str:
    return type(value).__name__ if callable(value) else repr(value)


def test_errors_of_libraries_arrive() -> None:
    for error in _library_errors():
        arrived = WorkerClasses().loads(task_pickler.dumps(error))
        assert type(arrived) is type(error) or type(arrived).__module__ == 'botocore.errorfactory'
        assert str(arrived) == str(error)


def _library_errors() -> Iterator[BaseException]:
    import pandas as pd
    import sklearn.linear_model

    for fail in (
        lambda: pd.DataFrame({'a': [1]})['b'],
        lambda: pd.to_datetime('no date'),
        lambda: pd.read_csv('nowhere.csv'),
        lambda: sklearn.linear_model.LinearRegression().predict([[1]]),
        lambda: sklearn.linear_model.LinearRegression().fit([[None]], [1]),
    ):
        with pytest.raises(Exception) as caught:  # noqa: PT011 - each raises another one
            fail()
        yield caught.value
    pydantic = pytest.importorskip('pydantic')
    with pytest.raises(pydantic.ValidationError) as invalid:
        pydantic.create_model('Model', a=(int, ...))(a='x')
    yield invalid.value
    exceptions = pytest.importorskip('botocore.exceptions')
    yield exceptions.ClientError({'Error': {'Code': '404', 'Message': 'Not found'}}, 'HeadObject')
    yield exceptions.EndpointConnectionError(endpoint_url='http://nowhere')


def test_an_attribute_that_cannot_be_unpickled_does_not_lose_the_exception() -> None:
    error = OSError(5, 'text', 'file')
    error.lock = threading.Lock()  # type: ignore[attr-defined]
    by_attributes = ByAttributes(error, lambda value: not isinstance(value, type(threading.Lock())))
    arrived = WorkerClasses().loads(task_pickler.dumps(by_attributes))
    assert (type(arrived), str(arrived), arrived.errno) == (OSError, str(error), 5)


def test_a_long_chain_of_causes_arrives() -> None:
    class Deep(kartnb.TaskOnKart):
        def run(self) -> None:
            error: BaseException | None = None
            for number in range(3000):
                following = ValueError(number)
                following.__cause__ = error
                error = following
            assert error is not None
            raise error

    with pytest.raises(kartnb.GokartBuildError, match='ValueError: 2999'):
        kartnb.build(Deep(), workers=2)


@pytest.mark.parametrize('workers', [1, 2])
def test_a_function_without_a_source_is_placed_where_it_is_called(workers: int) -> None:
    notebook = Notebook()
    notebook.run(
        """
import cloudpickle, pickle

def made():
    def inner():
        return 1 / 0
    return inner

SENT = cloudpickle.dumps(made())

class Calling(kartnb.TaskOnKart):
    def run(self):
        pickle.loads(SENT)()  # here
"""
    )
    with pytest.raises(kartnb.GokartBuildError) as caught:
        kartnb.build(notebook.Calling(), workers=workers)
    [failure] = caught.value.report.failures if caught.value.report is not None else []
    assert failure.location.endswith(('in run: pickle.loads(SENT)()  # here', 'in inner: return 1 / 0')), (
        failure.location
    )


class LocalError(kartnb.TaskOnKart[int]):
    def run(self) -> None:
        class OddError(Exception):
            def __reduce__(self) -> Any:
                raise RuntimeError('not to be pickled')

        raise OddError('hello')


def test_a_local_exception_that_cannot_be_pickled_keeps_its_class_and_text() -> None:
    with pytest.raises(kartnb.GokartBuildError, match='OddError: hello') as caught:
        kartnb.build(LocalError(), workers=2)
    assert "raise OddError('hello')" in str(caught.value)
