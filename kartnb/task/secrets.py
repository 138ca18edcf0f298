"""What is secret, and what is shown instead: one rule for parameters, one for names, one mask.

luigi has three visibilities. PUBLIC values are shown; HIDDEN and PRIVATE ones never are. gokart makes HIDDEN values
part of the unique id, so its ``task_params`` log holds them, and a sweep may vary them; PRIVATE ones are in no file.
Where the class is unknown, as in a log of tasks that are not defined here, the name decides.

What a task prints, logs or raises may hold them too. A `Masker` knows the values of the tasks of one build and replaces
them in every text that kartnb keeps or shows of it; so it does with the token for Slack in the environment.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import enum
import html
import itertools
import json
import operator
import os
import re
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus, unquote

import luigi
from luigi.parameter import ParameterVisibility

from kartnb.task.registry import base_task

#: Shown instead of a secret value.
MASK = '••••••'

_NAME = re.compile('token|secret|passw|pwd|credential|api_?key|access_?key|private', re.IGNORECASE)
# `DBPassword2` has the words DB and Password
_WORD = re.compile(r'[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+')
_SECRET_WORD = re.compile('token|secrets?|passwords?|passwd|passwort|passphrase|pwd|pw|credentials?|apikey')
_SECRET_KEY = re.compile('(api|access|private|secret|signing|account) keys?')
_ABOUT_SECRETS = re.compile(
    '(dir|path|file|filename|name|id|count|column|col|field|index|day|hour|minute|second|header)s?'
    '|directory|folder|num|number|size|length|len|limit|min|max|mean|total|type|kind|class|url|uri|endpoint|host'
    '|pattern|regex|format|prefix|suffix|separator|sep|delimiter|encoding|vocab|indices|position|strategy|mode|model'
    '|level|policy|scheme|expiry|ttl|age|window|budget|env|variable'
)
_URL_LOGIN = re.compile(r'(?<=://)[^/@\s]+@')

_URL_PASSWORD = re.compile(r'://[^/@:\s]*:([^/@\s]+)@')

# What `Masker` leaves alone.
_SHORTEST = 4
_SHORTEST_NUMBER = 6
_NUMBER = re.compile(r'[-+.,:\d\s]*')
_COMMON = frozenset({'true', 'false', 'none', 'null', 'default', 'auto', 'localhost'})
#: Shorter values have Base64 forms that ordinary text may hold.
_SHORTEST_ENCODED = 8
_MOST_PARTS = 1000

#: Public values of these types hide nothing.
_PLAIN = frozenset({str, int, float, bool, type(None)})
_NUMBERS = (
    luigi.IntParameter,
    luigi.FloatParameter,
    luigi.BoolParameter,
    luigi.DateParameter,
    luigi.TimeDeltaParameter,
)
#: Of built-in exceptions, what their text is made of beside the attributes in their ``__dict__``.
_OF_ERRORS = ('args', 'strerror', 'filename', 'filename2', 'msg', 'text', 'object', 'reason')


def is_secret(parameter: luigi.Parameter[object]) -> bool:
    """Whether the values of a parameter are never shown: it is HIDDEN or PRIVATE.

    >>> is_secret(luigi.Parameter()), is_secret(luigi.Parameter(visibility=ParameterVisibility.HIDDEN))
    (False, True)
    """
    return bool(parameter.visibility != ParameterVisibility.PUBLIC)


def is_private(parameter: luigi.Parameter[object]) -> bool:
    """Whether the values of a parameter are written nowhere, and so cannot be varied or given back."""
    return bool(parameter.visibility == ParameterVisibility.PRIVATE)


def public_names(cls: type[luigi.Task]) -> frozenset[str]:
    """The names of the parameters of a class whose values may be shown."""
    return frozenset(name for name, parameter in cls.get_params() if not is_secret(parameter))


def is_secret_name(name: object) -> bool:
    """Whether a name is that of a secret, where only the name is known.

    >>> [is_secret_name(name) for name in ('SLACK_TOKEN', 'db_pwd', 'aws_access_key', 'private_notes', 'depth')]
    [True, True, True, True, False]
    """
    return isinstance(name, str) and _NAME.search(name) is not None


def is_secret_constant(name: object) -> bool:
    """Whether a text of this name, or under this key, is left out of code prints.

    Only whole words count, and not where the last one says that the text is about a secret and is none itself.

    >>> [is_secret_constant(name) for name in ('API_TOKEN', 'dbPassword', 'private_key', 'smtp_pwd2')]
    [True, True, True, True]
    >>> [is_secret_constant(name) for name in ('MAX_TOKENS', 'TOKENIZER', 'PWD_DIR', 'token_pattern', 'private')]
    [False, False, False, False, False]
    """
    if not isinstance(name, str):
        return False
    words = [word.lower() for word in _WORD.findall(name)]
    if not words or _ABOUT_SECRETS.fullmatch(words[-1]):
        return False
    pairs = map(' '.join, itertools.pairwise(words))
    return any(map(_SECRET_WORD.fullmatch, words)) or any(map(_SECRET_KEY.fullmatch, pairs))


def without_url_login(text: str) -> str:
    """A text whose URLs have no user names and passwords.

    >>> without_url_login('postgresql://me:pa55@host/db')
    'postgresql://…@host/db'
    """
    return _URL_LOGIN.sub('…@', text)


class Masker:
    """Replaces secret values in text: those of the HIDDEN and PRIVATE parameters of some tasks.

    Every text and number in such a value is secret, also in a list, the values of a dict, an object's attributes, JSON
    text and the password of a URL; of one parameter the first 1,000. So are the secret parameters of tasks that are
    parameters, and what a public value hides by itself: pydantic's ``SecretStr``, fields with ``repr=False``.

    A value is recognised as it is, line by line, as `repr`, JSON, HTML and URLs write it, and in Base64 from 8
    characters on. Not masked, because ordinary text holds them too, are values of fewer than 4 characters, numbers of
    fewer than 6, one character repeated, and the words true, false, none, null, default, auto and localhost. A value
    that the code itself cuts into parts is not recognised.

    Examples
    --------
    >>> class Query(luigi.Task):
    ...     login = luigi.DictParameter(visibility=ParameterVisibility.PRIVATE)
    >>> mask = Masker([Query(login={'user': 'me', 'password': 'p&ss word', 'tries': 3})])
    >>> mask('GET /?user=me&password=p%26ss+word&tries=3')
    'GET /?user=me&password=••••••&tries=3'
    """

    __slots__ = ('_forms', '_known', 'longest')

    def __init__(self, tasks: Iterable[luigi.Task] = ()) -> None:
        #: What is replaced, the longest first: one may be a part of another.
        self._forms: tuple[str, ...] = ()
        self._known: dict[int, luigi.Task] = {}
        #: Characters of the longest text that is replaced; 0 when there are no secrets.
        self.longest = 0
        self.add(tasks)

    @classmethod
    def of_values(cls, values: Iterable[object]) -> Masker:
        """A masker of values that are secret without being those of a task.

        >>> Masker.of_values(['hunter2'])("luigi.Parameter(default='hunter2')")
        "luigi.Parameter(default='••••••')"
        """
        masker = cls()
        masker._learn(part for value in values for part in _parts(value, True) if isinstance(part, str))
        return masker

    @classmethod
    def of_build(cls, tasks: Iterable[luigi.Task]) -> Masker:
        """A masker of the secrets of tasks, and of those that the environment holds now."""
        masker = cls(tasks)
        masker._learn(filter(None, map(os.environ.get, _secret_variables())))
        return masker

    def add(self, tasks: Iterable[luigi.Task]) -> None:
        """Mask the secrets of these tasks too."""
        # nearly all classes have none, which is known of the class
        found = [secret for task in tasks if _watched(type(task)) for secret in self._secrets_of(task)]
        if found:
            self._learn(found)

    def _secrets_of(self, task: luigi.Task) -> Iterator[str]:
        pending = [task]
        while pending:
            task = pending.pop()
            if id(task) in self._known:
                continue
            self._known[id(task)] = task
            values = task.param_kwargs
            for name, secret in _watched(type(task)):
                value = values.get(name)
                if secret or type(value) not in _PLAIN:
                    for part in _parts(value, secret):
                        if isinstance(part, str):
                            yield part
                        else:
                            pending.append(part)

    def _learn(self, secrets: Iterable[str]) -> None:
        found = {*secrets}
        if not found:
            return
        forms = {form for secret in found for form in _forms(secret)}.union(self._forms)
        # replaced as a whole: another thread may be masking
        self._forms = tuple(sorted(forms, key=lambda form: (-len(form), form)))
        self.longest = max(map(len, self._forms), default=0)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self._forms,)

    def __bool__(self) -> bool:
        return bool(self._forms)

    def __call__(self, text: str) -> str:
        """A text with the mask in the place of secrets."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        return text

    def value(self, value: Any) -> Any:
        """A value with the texts in it masked, in lists, tuples and dicts too; the same object if that changes nothing.

        >>> Masker.of_values(['hunter2']).value({'url': 'http://me:hunter2@host', 'rows': 3})
        {'url': 'http://me:••••••@host', 'rows': 3}
        """
        kind = type(value)
        if not self._forms:
            return value
        if kind is str:
            return self(value)
        if kind is bytes:
            masked = self(value.decode('utf-8', 'surrogateescape')).encode('utf-8', 'surrogateescape')
            return value if masked == value else masked
        if kind not in (list, tuple, dict):
            return value
        parts = [part for item in value.items() for part in item] if kind is dict else value
        hidden = [self.value(part) for part in parts]
        if all(map(operator.is_, hidden, parts)):
            return value
        return dict(zip(hidden[::2], hidden[1::2], strict=True)) if kind is dict else kind(hidden)

    def hide_in(self, error: BaseException) -> None:
        """Mask the arguments, attributes and notes of an exception in place, and of those that led to it.

        So they are masked wherever it goes: to event handlers, through pickles, into anybody's traceback. Where the
        text of an exception is made of something else, it is masked only as kartnb writes it.
        """
        pending, seen = [error] if self._forms else [], set[int]()
        while pending:
            error = pending.pop()
            seen.add(id(error))
            for name in (*_OF_ERRORS, *getattr(error, '__dict__', ())):
                with contextlib.suppress(Exception):  # whatever attributes of a user's class do
                    value = getattr(error, name, None)
                    masked = self.value(value)
                    if masked is not value:
                        setattr(error, name, masked)
            causes = (error.__cause__, error.__context__, *getattr(error, 'exceptions', ()))
            pending += [cause for cause in causes if isinstance(cause, BaseException) and id(cause) not in seen]


NO_SECRETS = Masker()
#: Environment variables that hold secrets, beside the one that the configuration names.
_named: set[str] = set()


def name_secret(variable: str) -> None:
    """Let builds of this process mask the value of an environment variable from now on."""
    _named.add(variable)


def _secret_variables() -> set[str]:
    config: Any = luigi.configuration.get_config()
    # gokart's section and its default; the class of it is not loaded in most builds
    return {str(config.get('SlackConfig', 'token_name', 'SLACK_TOKEN')), *_named}


def _unpickled(forms: tuple[str, ...]) -> Masker:
    masker = Masker()
    masker._forms, masker.longest = forms, max(map(len, forms), default=0)
    return masker


_watched_by_class: weakref.WeakKeyDictionary[type, tuple[tuple[str, bool], ...]] = weakref.WeakKeyDictionary()


def _watched(cls: type[luigi.Task]) -> tuple[tuple[str, bool], ...]:
    """The parameters of a class whose values may hold secrets, each with whether all of the value is one."""
    found = _watched_by_class.get(cls)
    if found is None:
        shared = vars(base_task())
        found = tuple(
            (name, is_secret(parameter))
            for name, parameter in cls.get_params()
            if is_secret(parameter) or not (isinstance(parameter, _NUMBERS) or shared.get(name) is parameter)
        )
        _watched_by_class[cls] = found
    return found


def _parts(value: object, secret: bool) -> Iterator[str | luigi.Task]:
    """The secret texts in a value of a parameter, and the tasks in it."""
    pending = deque([(value, secret)])
    for _ in range(_MOST_PARTS):
        if not pending:
            return
        value, secret = pending.popleft()
        if isinstance(value, luigi.Task):
            yield value
        elif isinstance(value, str):
            if secret:
                yield value
                pending.extend((inner, True) for inner in _inside(value))
        elif isinstance(value, bytes):
            if secret:
                yield from (value.decode('utf-8', 'replace'), repr(value)[2:-1], value.hex())
        elif hasattr(value, 'get_secret_value'):  # of pydantic
            pending.append((value.get_secret_value(), True))
        elif isinstance(value, enum.Enum):
            pending.append((value.value, secret))
        elif isinstance(value, Mapping | list | tuple | set | frozenset):
            items = value.values() if isinstance(value, Mapping) else value
            pending.extend((item, secret) for item in itertools.islice(items, _MOST_PARTS))
        elif value is not None and not isinstance(value, type):
            attributes = _attributes(value, secret)
            pending.extend(attributes)
            if secret and not attributes:
                with contextlib.suppress(Exception):  # whatever a class of the user's does
                    yield str(value)


def _inside(text: str) -> list[object]:
    """What a text holds that is secret by itself: the values in JSON, the password in a URL."""
    inside: list[object] = []
    if text.lstrip()[:1] in ('{', '['):
        with contextlib.suppress(ValueError, RecursionError):
            inside.append(json.loads(text))
    for password in _URL_PASSWORD.findall(text):
        inside += [password, unquote(password)]
    return inside


def _attributes(value: object, secret: bool) -> list[tuple[object, bool]]:
    """The attributes of an object that are secret or may hold secrets, each with whether all of it is one."""
    cls: Any = type(value)
    fields = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else getattr(cls, '__attrs_attrs__', ())
    shown = {field.name: field.repr for field in fields}
    shown = shown or {name: field.repr for name, field in getattr(cls, 'model_fields', {}).items()}  # of pydantic
    if secret:
        shown = shown or dict.fromkeys(getattr(value, '__dict__', ()), True)
    return [(getattr(value, name, None), secret or not shown[name]) for name in shown]


def _forms(secret: str) -> Iterator[str]:
    """The forms in which a secret is recognised; none where it would mask ordinary text."""
    for text in {secret, secret.strip(), *map(str.strip, secret.splitlines())}:
        shortest = _SHORTEST_NUMBER if _NUMBER.fullmatch(text) else _SHORTEST
        if len(text) < shortest or text.lower() in _COMMON or len(set(text)) == 1:
            continue
        data = text.encode('utf-8', 'surrogatepass')
        yield from (text, repr(text)[1:-1], html.escape(text), quote(data), quote(data, safe=''), quote_plus(data))
        yield from (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
        if len(data) >= _SHORTEST_ENCODED:
            yield from _base64_forms(data)


def _base64_forms(data: bytes) -> Iterator[str]:
    """What all Base64 texts of data that holds these bytes have in common, for each place where they can begin."""
    for before in range(3):
        # the first and the last character also tell of the neighbours
        first, last = -(-before * 8 // 6), (before + len(data)) * 8 // 6
        encoded = base64.b64encode(bytes(before) + data)[first:last].decode('ascii')
        yield from (encoded, encoded.translate(_URL_SAFE))


_URL_SAFE = str.maketrans('+/', '-_')
