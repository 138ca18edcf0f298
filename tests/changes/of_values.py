"""Kinds of change in values that code reads: constants, objects, names of libraries, secrets."""

from __future__ import annotations

from typing import Any

from tests.changes.kinds import Kind, cached, noticed, unknown


def _values(
    title: str, before: str, after: str, values: tuple[Any, Any], uses: str = 'K', setup: str = '', **more: Any
) -> Kind:
    """A name `K` that has another value."""
    return noticed(title, f'K = {before}', f'K = {after}', uses, values=values, setup=setup, **more)


def _shown(title: str, before: str, after: str, uses: str, setup: str = '', **more: Any) -> Kind:
    """A name `K` whose value is another one; what the task makes of it is 1 before and 2 after."""
    return noticed(title, f'K = {before}', f'K = {after}', uses, setup=setup, **more)


CONSTANTS: list[Kind] = [
    _values('a number', '1', '2', (1, 2)),
    _values('a whole number that becomes a decimal one', '1', '1.0', (1, 1.0)),
    _values('a truth value that becomes a number', 'True', '1', (True, 1)),
    _values('the last bit of a number', '0.1', '0.10000000000000002', (0.1, 0.10000000000000002)),
    _values('the sign of zero', '0.0', '-0.0', (0.0, -0.0)),
    _values('a text', "'a'", "'b'", ('a', 'b')),
    _values('the end of a long text', "'a' * 10_000", "'a' * 9_999 + 'b'", ('a', 'b'), 'K[-1]'),
    _values('text that becomes bytes', "'a'", "b'a'", ('a', b'a')),
    _values('None', 'None', '0', (None, 0)),
    _values('an item of a list', '[1, 1]', '[1, 2]', ([1, 1], [1, 2])),
    _values('a list that becomes a tuple', '[1]', '(1,)', ([1], (1,))),
    _values(
        'something deep in containers',
        "{'a': [1, (2, {3})]}",
        "{'a': [1, (2, {4})]}",
        ({'a': [1, (2, {3})]}, {'a': [1, (2, {4})]}),
    ),
    _values('the order of a dict', "{'a': 1, 'b': 2}", "{'b': 2, 'a': 1}", (['a', 'b'], ['b', 'a']), 'list(K)'),
    cached('the order of a set', "K = {'a', 'b', 'c'}", "K = {'c', 'b', 'a'}", 'len(K) - 2'),
    _values('a frozen set', "frozenset('a')", "frozenset('b')", ('a', 'b'), 'min(K)'),
    _values(
        'a deque',
        'deque([1, 2], 3)',
        'deque([1, 2], 2)',
        (3, 2),
        'K.maxlen',
        'from collections import deque',
    ),
    _values(
        'the factory of a defaultdict',
        'defaultdict(int)',
        'defaultdict(list)',
        (0, []),
        'K.copy()[7]',
        'from collections import defaultdict',
    ),
    _values('a Counter', "Counter('aab')", "Counter('abb')", (2, 1), "K['a']", 'from collections import Counter'),
    _values(
        'an OrderedDict',
        'OrderedDict(a=1)',
        'OrderedDict(a=2)',
        (1, 2),
        "K['a']",
        'from collections import OrderedDict',
    ),
    _values(
        'a ChainMap', "ChainMap({'a': 1})", "ChainMap({'a': 2})", (1, 2), "K['a']", 'from collections import ChainMap'
    ),
    _values(
        'a read-only mapping',
        "types.MappingProxyType({'a': 1})",
        "types.MappingProxyType({'a': 2})",
        (1, 2),
        "K['a']",
        'import types',
    ),
    _values('a namespace', 'types.SimpleNamespace(a=1)', 'types.SimpleNamespace(a=2)', (1, 2), 'K.a', 'import types'),
    _values(
        'an attribute of a namespace that is set later',
        '1',
        '2',
        (1, 2),
        'N.a',
        'import types\nN = types.SimpleNamespace()',
        task='N.a = K' + '\nclass T(kartnb.TaskOnKart):\n    def run(self): self.dump(N.a)',
        places=('restart',),
    ),
    _values('a range', 'range(1, 9)', 'range(2, 9)', (1, 2), 'K[0]'),
    _values('a slice', 'slice(0, 1)', 'slice(1, 2)', (1, 2), '[1, 2][K][0]'),
    _values('a complex number', '1j', '2j', (1j, 2j)),
    _values(
        'the digits of a Decimal',
        "Decimal('1.0')",
        "Decimal('1.00')",
        ('1.0', '1.00'),
        'str(K)',
        'from decimal import Decimal',
    ),
    _values(
        'a Fraction', 'Fraction(1, 2)', 'Fraction(1, 3)', ('1/2', '1/3'), 'str(K)', 'from fractions import Fraction'
    ),
    _values('a date', 'date(2026, 1, 1)', 'date(2026, 1, 2)', (1, 2), 'K.day', 'from datetime import date'),
    _values(
        'a time zone',
        'timezone.utc',
        'timezone(timedelta(hours=1))',
        (0.0, 3600.0),
        'K.utcoffset(None).total_seconds()',
        'from datetime import timedelta, timezone',
    ),
    _values(
        'a zone of `zoneinfo`',
        "ZoneInfo('Asia/Tokyo')",
        "ZoneInfo('Europe/Paris')",
        ('Asia/Tokyo', 'Europe/Paris'),
        'K.key',
        'from zoneinfo import ZoneInfo',
    ),
    _values('a path', "Path('a')", "Path('b')", ('a', 'b'), 'K.name', 'from pathlib import Path'),
    _values('a UUID', 'UUID(int=1)', 'UUID(int=2)', (1, 2), 'K.int', 'from uuid import UUID'),
    _values(
        'the flags of a regular expression',
        "re.compile('a')",
        "re.compile('a', re.I)",
        (False, True),
        "K.match('A') is not None",
        'import re',
    ),
    _values('a numpy array', 'np.arange(3)', 'np.arange(1, 4)', (0, 1), 'int(K[0])', 'import numpy as np'),
    _values(
        'the type of a numpy array',
        'np.ones(1)',
        "np.ones(1, 'f4')",
        ('float64', 'float32'),
        'str(K.dtype)',
        'import numpy as np',
    ),
    _values('the shape of a numpy array', 'np.ones((1, 2))', 'np.ones((2, 1))', (1, 2), 'len(K)', 'import numpy as np'),
    _values('a numpy number', 'np.int64(1)', 'np.int64(2)', (1, 2), 'int(K)', 'import numpy as np'),
    _values(
        'a pandas table',
        "pd.DataFrame({'a': [1]})",
        "pd.DataFrame({'a': [2]})",
        (1, 2),
        'int(K.a[0])',
        'import pandas as pd',
    ),
    _values(
        'the index of a pandas table',
        'pd.Series([0], index=[1])',
        'pd.Series([0], index=[2])',
        (1, 2),
        'int(K.index[0])',
        'import pandas as pd',
    ),
    _values(
        'the name of a column',
        "pd.DataFrame({'a': [1]})",
        "pd.DataFrame({'b': [1]})",
        ('a', 'b'),
        'str(K.columns[0])',
        'import pandas as pd',
    ),
    _values(
        'the categories of a column',
        "pd.Categorical(['a'], ['a', 'b'])",
        "pd.Categorical(['a'], ['b', 'a'])",
        ('a', 'b'),
        'str(K.categories[0])',
        'import pandas as pd',
    ),
    _values(
        'a pandas Timestamp',
        "pd.Timestamp('2026-01-01')",
        "pd.Timestamp('2026-01-02')",
        (1, 2),
        'K.day',
        'import pandas as pd',
    ),
    _values(
        'a polars table',
        "pl.DataFrame({'a': [1]})",
        "pl.DataFrame({'a': [2]})",
        (1, 2),
        "K['a'][0]",
        'import polars as pl',
    ),
    _values(
        'an array of `array`',
        "array('i', [1])",
        "array('i', [2])",
        (1, 2),
        'K[0]',
        'from array import array',
    ),
    unknown(
        'a table that is too large to compare',
        'K = numpy.zeros(2_000_000)',
        'K = numpy.ones(2_000_000)',
        'int(K[0]) + 1',
        setup='import numpy',
    ),
    unknown('an iterator', 'K = iter([1])', 'K = iter([2])', 'list(K)[0]'),
]

LIBRARY: list[Kind] = [
    _shown('a function of a library under an alias', 'min', 'max', 'K([1, 2])'),
    noticed(
        '`from … import a as m`, another name',
        'from statistics import median_low as m',
        'from statistics import median_high as m',
        'm([1, 2])',
    ),
    noticed(
        '`import … as m`, another module',
        'import math as m',
        'import cmath as m',
        'm.sqrt(1)',
        values=(1.0, 1 + 0j),
    ),
    noticed(
        'a class of a library under an alias',
        'from fractions import Fraction as M',
        'from decimal import Decimal as M',
        'type(M(1)).__name__',
        values=('Fraction', 'Decimal'),
    ),
    noticed(
        'an estimator of sklearn under an alias',
        'from sklearn.linear_model import Ridge as M',
        'from sklearn.linear_model import Lasso as M',
        'type(M()).__name__',
        values=('Ridge', 'Lasso'),
    ),
    noticed(
        'a function of numpy under an alias',
        'F = np.min',
        'F = np.max',
        'int(F([1, 2]))',
        setup='import numpy as np',
    ),
    noticed(
        'a ufunc of numpy',
        'F = np.minimum',
        'F = np.maximum',
        'int(F(1, 2))',
        setup='import numpy as np',
    ),
    noticed(
        'a type of numpy',
        'F = np.float64',
        'F = np.float32',
        'str(np.dtype(F))',
        values=('float64', 'float32'),
        setup='import numpy as np',
    ),
    noticed(
        'a list of functions of libraries',
        'F = [np.sum, np.min]',
        'F = [np.sum, np.max]',
        'int(F[1]([1, 2]))',
        setup='import numpy as np',
    ),
    noticed(
        'a dict of functions of libraries',
        "F = {'a': np.min}",
        "F = {'a': np.max}",
        "int(F['a']([1, 2]))",
        setup='import numpy as np',
    ),
    noticed('a tuple of classes of libraries', 'F = (int, str)', 'F = (int, float)', 'F[1](1)', values=('1', 1.0)),
    noticed(
        'a partial of a library function',
        'F = partial(np.sort, axis=0)',
        'F = partial(np.sort, axis=1)',
        'int(F(np.array([[2, 1]]))[0, 0])',
        values=(2, 1),
        setup='from functools import partial\nimport numpy as np',
    ),
    noticed(
        'the function in a partial of a library function',
        'F = partial(np.min)',
        'F = partial(np.max)',
        'int(F([1, 2]))',
        setup='from functools import partial\nimport numpy as np',
    ),
    noticed(
        'a class attribute that is a library function',
        *(
            f'import statistics\nclass T(kartnb.TaskOnKart):\n    M = statistics.{name}\n'
            f'    def run(self): self.dump(type(self).M([1, 2]))'
            for name in ('median_low', 'median_high')
        ),
        task='pass',
    ),
    noticed(
        'a default that is a library function', 'def f(g=min): return g(1, 2)', 'def f(g=max): return g(1, 2)', 'f()'
    ),
    noticed(
        'a name in a closure that is a library function',
        'f = make(min)',
        'f = make(max)',
        'f()',
        setup='def make(g):\n    return lambda: g(1, 2)',
    ),
    noticed(
        'a function of `operator`',
        'from operator import add as op',
        'from operator import mul as op',
        'op(1, 1)',
        values=(2, 1),
    ),
    noticed(
        'a method of a built-in type',
        'F = str.upper',
        'F = str.lower',
        "F('a')",
        values=('A', 'a'),
    ),
    noticed('a method of a text', "F = 'a'.join", "F = 'b'.join", "F(['', ''])", values=('a', 'b')),
    noticed(
        'a submodule under an alias',
        'import xml.sax as m',
        'import xml.dom as m',
        'm.__name__',
        values=('xml.sax', 'xml.dom'),
    ),
    noticed(
        'an exception class',
        'E = KeyError',
        'E = ValueError',
        'E.__name__',
        values=('KeyError', 'ValueError'),
    ),
    noticed(
        'a level of `logging` (a number)',
        'L = logging.INFO',
        'L = logging.DEBUG',
        'L',
        values=(20, 10),
        setup='import logging',
    ),
    noticed(
        "a library function becomes one's own",
        'from statistics import median_low as m',
        'def m(x): return 2',
        'm([1, 2])',
    ),
    noticed("the base class of one's own class", 'class H(dict): pass', 'class H(list): pass', 'H()', values=({}, [])),
]

OBJECTS: list[Kind] = [
    noticed(
        'a field of a dataclass',
        *(f'@dataclass\nclass H:\n    x: int = {n}' for n in (1, 2)),
        'H().x',
        setup='from dataclasses import dataclass',
    ),
    noticed(
        'the factory of a field',
        *(f'@dataclass\nclass H:\n    x: list = field(default_factory=lambda: [{n}])' for n in (1, 2)),
        'H().x',
        values=([1], [2]),
        setup='from dataclasses import dataclass, field',
    ),
    noticed(
        'a dataclass with slots',
        *(f'@dataclass(slots=True)\nclass H:\n    x: int = {n}' for n in (1, 2)),
        'H().x',
        setup='from dataclasses import dataclass',
    ),
    noticed(
        'the options of a dataclass',
        '@dataclass\nclass H:\n    x: int = 1',
        '@dataclass(order=True)\nclass H:\n    x: int = 1',
        'hasattr(H, "__gt__") and H.__lt__ is not object.__lt__',
        values=(False, True),
        setup='from dataclasses import dataclass',
    ),
    noticed(
        'an object of a dataclass',
        'K = H(1)',
        'K = H(2)',
        'K.x',
        setup='from dataclasses import dataclass\n@dataclass(frozen=True)\nclass H:\n    x: int',
    ),
    noticed(
        'an object of a dataclass with slots',
        'K = H(1)',
        'K = H(2)',
        'K.x',
        setup='from dataclasses import dataclass\n@dataclass(slots=True)\nclass H:\n    x: int',
    ),
    noticed(
        'a method of a dataclass',
        *(f'@dataclass\nclass H:\n    x: int = 0\n    def m(self): return {n}' for n in (1, 2)),
        'H().m()',
        setup='from dataclasses import dataclass',
    ),
    noticed(
        'a field of an attrs class',
        *(f'@attrs.define\nclass H:\n    x: int = {n}' for n in (1, 2)),
        'H().x',
        setup='import attrs',
    ),
    noticed(
        'a converter of an attrs class',
        *(f'@attrs.define\nclass H:\n    x: int = attrs.field(default=0, converter=lambda x: {n})' for n in (1, 2)),
        'H().x',
        setup='import attrs',
    ),
    noticed(
        'an object of an attrs class',
        'K = H(1)',
        'K = H(2)',
        'K.x',
        setup='import attrs\n@attrs.frozen\nclass H:\n    x: int',
    ),
    noticed(
        'a field of a pydantic model',
        *(f'class H(pydantic.BaseModel):\n    x: int = {n}' for n in (1, 2)),
        'H().x',
        setup='import pydantic',
    ),
    noticed(
        'a bound of a pydantic field',
        *(f'class H(pydantic.BaseModel):\n    x: int = pydantic.Field(0, ge={n})' for n in (0, 1)),
        'check()',
        values=(True, False),
        setup="""
import pydantic
def check():
    try:
        return bool(H(x=0)) or True
    except ValueError:
        return False
""",
    ),
    noticed(
        'a validator of a pydantic model',
        *(
            f'class H(pydantic.BaseModel):\n    x: int\n    @pydantic.field_validator("x")\n    @classmethod\n'
            f'    def check(cls, x): return {n}'
            for n in (1, 2)
        ),
        'H(x=0).x',
        setup='import pydantic',
    ),
    noticed(
        'an object of a pydantic model',
        'K = H(x=1)',
        'K = H(x=2)',
        'K.x',
        setup='import pydantic\nclass H(pydantic.BaseModel):\n    x: int',
    ),
    noticed(
        'a member of an enumeration',
        *(f'class E(enum.Enum):\n    A = {n}' for n in (1, 2)),
        'E.A.value',
        setup='import enum',
    ),
    noticed(
        'which member of an enumeration',
        'K = E.A',
        'K = E.B',
        'K.value',
        setup='import enum\nclass E(enum.Enum):\n    A = 1\n    B = 2',
    ),
    noticed(
        'the order of an enumeration with `auto`',
        *(
            f'class E(enum.Enum):\n    {names} = enum.auto()'
            for names in ('A = enum.auto()\n    B', 'B = enum.auto()\n    A')
        ),
        'E.A.value',
        setup='import enum',
    ),
    noticed(
        'flags',
        'K = E.A',
        'K = E.A | E.B',
        'K.value',
        values=(1, 3),
        setup='import enum\nclass E(enum.Flag):\n    A = 1\n    B = 2',
    ),
    noticed(
        'a default of a named tuple',
        *(f'class H(NamedTuple):\n    x: int = {n}' for n in (1, 2)),
        'H().x',
        setup='from typing import NamedTuple',
    ),
    noticed(
        'an object of a named tuple',
        'K = H(1)',
        'K = H(2)',
        'K.x',
        setup="from collections import namedtuple\nH = namedtuple('H', 'x')",
    ),
    noticed(
        'the keys of a TypedDict',
        *(f'class H(TypedDict):\n    {name}: int' for name in 'ab'),
        'list(H.__annotations__)',
        values=(['a'], ['b']),
        setup='from typing import TypedDict',
    ),
    noticed(
        'an object with attributes',
        'K = H(1)',
        'K = H(2)',
        'K.x',
        setup='class H:\n    def __init__(self, x): self.x = x',
    ),
    noticed(
        'an attribute of a text of a class of its own',
        *(f'K = H("a")\nK.x = {n}' for n in (1, 2)),
        'K.x',
        setup='class H(str): pass',
    ),
    noticed(
        'an object with slots',
        'K = H(1)',
        'K = H(2)',
        'K.x',
        setup='class H:\n    __slots__ = ("x",)\n    def __init__(self, x): self.x = x',
    ),
    noticed(
        'an object in an object',
        'K = H(H(1))',
        'K = H(H(2))',
        'K.x.x',
        setup='class H:\n    def __init__(self, x): self.x = x',
    ),
    noticed(
        'an object that holds itself',
        'K = H(1)',
        'K = H(2)',
        'K.me.x',
        setup='class H:\n    def __init__(self, x): self.x = x; self.me = self',
    ),
    noticed("a list of one's own class", 'K = H([1])', 'K = H([2])', 'K[0]', setup='class H(list): pass'),
    noticed(
        "a list of one's own class with attributes",
        'K = H(); K.x = 1',
        'K = H(); K.x = 2',
        'K.x',
        setup='class H(list): pass',
    ),
    noticed(
        'a bound method of an object',
        'f = H(1).m',
        'f = H(2).m',
        'f()',
        setup='class H:\n    def __init__(self, x): self.x = x\n    def m(self): return self.x',
    ),
    noticed(
        'a generic class',
        *(f'class H(Generic[X]):\n    k = {n}' for n in (1, 2)),
        'H[int].k',
        setup="from typing import Generic, TypeVar\nX = TypeVar('X')",
    ),
    noticed(
        'an abstract class',
        *(
            f'class G(abc.ABC):\n    def m(self): return {n}\n    @abc.abstractmethod\n    def a(self): ...\n'
            f'class H(G):\n    def a(self): pass'
            for n in (1, 2)
        ),
        'H().m()',
        setup='import abc',
    ),
    noticed(
        'the parameters of an estimator of sklearn',
        'K = Ridge(alpha=1)',
        'K = Ridge(alpha=2)',
        'K.alpha',
        setup='from sklearn.linear_model import Ridge',
    ),
    noticed(
        'a pipeline of sklearn',
        *(f'K = make_pipeline(StandardScaler(), Ridge(alpha={n}))' for n in (1, 2)),
        "K.get_params()['ridge__alpha']",
        setup='from sklearn.linear_model import Ridge\nfrom sklearn.pipeline import make_pipeline\n'
        'from sklearn.preprocessing import StandardScaler',
    ),
    noticed(
        "an estimator of one's own",
        *(
            f'class M(BaseEstimator):\n    def __init__(self, a=0): self.a = a\n'
            f'    def predict(self): return {n}\nK = M()'
            for n in (1, 2)
        ),
        'K.predict()',
        setup='from sklearn.base import BaseEstimator',
    ),
    noticed(
        'an expression of polars',
        "K = pl.col('a')",
        "K = pl.col('b')",
        "pl.DataFrame({'a': 1, 'b': 2}).select(K).item()",
        setup='import polars as pl',
    ),
    noticed(
        'a schema of polars',
        "K = pl.Schema({'a': pl.Int8})",
        "K = pl.Schema({'a': pl.Int16})",
        "str(K['a'])",
        values=('Int8', 'Int16'),
        setup='import polars as pl',
    ),
    noticed(
        'a schema of pyarrow',
        "K = pa.schema({'a': pa.int8()})",
        "K = pa.schema({'a': pa.int16()})",
        "str(K.field('a').type)",
        values=('int8', 'int16'),
        setup='import pyarrow as pa',
    ),
    noticed(
        'a table of pyarrow',
        "K = pa.table({'a': [1]})",
        "K = pa.table({'a': [2]})",
        "K['a'][0].as_py()",
        setup='import pyarrow as pa',
    ),
    noticed(
        '`itemgetter`',
        'K = itemgetter(0)',
        'K = itemgetter(1)',
        'K([1, 2])',
        setup='from operator import itemgetter',
    ),
    noticed(
        '`attrgetter`',
        "K = attrgetter('real')",
        "K = attrgetter('imag')",
        'K(1 + 2j)',
        values=(1.0, 2.0),
        setup='from operator import attrgetter',
    ),
    noticed(
        '`methodcaller`',
        "K = methodcaller('count', 1)",
        "K = methodcaller('count', 2)",
        'K([1, 2, 2])',
        setup='from operator import methodcaller',
    ),
    noticed(
        'a template of jinja2',
        "K = jinja2.Template('1{{ x }}')",
        "K = jinja2.Template('2{{ x }}')",
        'K.render()',
        values=('1', '2'),
        setup='import jinja2',
    ),
    noticed(
        'a template of `string`',
        "K = Template('1')",
        "K = Template('2')",
        'K.substitute()',
        values=('1', '2'),
        setup='from string import Template',
    ),
    noticed(
        'a compiled `struct`',
        "K = Struct('<h')",
        "K = Struct('>h')",
        "K.unpack(b'\\x01\\x00')[0]",
        values=(1, 256),
        setup='from struct import Struct',
    ),
    noticed(
        'the seed of a numpy Generator',
        'K = np.random.default_rng(1)',
        'K = np.random.default_rng(2)',
        'copy.deepcopy(K).integers(9, size=4).tolist()',
        values=([4, 4, 6, 8], [7, 2, 0, 2]),
        setup='import copy\nimport numpy as np',
    ),
    noticed(
        'the seed of `random.Random`',
        'K = Random(1)',
        'K = Random(2)',
        'copy.copy(K).randrange(99)',
        values=(17, 7),
        setup='import copy\nfrom random import Random',
    ),
    noticed(
        'the arguments of a command line',
        'K = Namespace(n=1)',
        'K = Namespace(n=2)',
        'K.n',
        setup='from argparse import Namespace',
    ),
]

SECRETS: list[Kind] = [
    noticed('MAX_TOKENS = 100', 'MAX_TOKENS = 1', 'MAX_TOKENS = 2', 'MAX_TOKENS'),
    noticed(
        'TOKENIZER',
        "TOKENIZER = 'a'",
        "TOKENIZER = 'b'",
        'TOKENIZER',
        values=('a', 'b'),
    ),
    noticed('n_tokens', 'n_tokens = 1', 'n_tokens = 2', 'n_tokens'),
    noticed('PWD_DIR', 'PWD_DIR = 1', 'PWD_DIR = 2', 'PWD_DIR'),
    noticed('a list TOKENS', 'TOKENS = [1]', 'TOKENS = [2]', 'TOKENS', values=([1], [2])),
    noticed(
        "{'max_tokens': 1}",
        "K = {'max_tokens': 1}",
        "K = {'max_tokens': 2}",
        "K['max_tokens']",
    ),
    noticed(
        'a class attribute max_tokens',
        *(
            f'class T(kartnb.TaskOnKart):\n    max_tokens = {n}\n    def run(self): self.dump(self.max_tokens)'
            for n in (1, 2)
        ),
        task='pass',
    ),
    noticed(
        'a dataclass field max_tokens',
        'K = C(1)',
        'K = C(2)',
        'K.max_tokens',
        setup='from dataclasses import dataclass\n@dataclass\nclass C:\n    max_tokens: int',
    ),
    noticed(
        'a default of an argument `tokens`', 'def f(tokens=1): return tokens', 'def f(tokens=2): return tokens', 'f()'
    ),
    noticed(
        'a function `count_tokens`', 'def count_tokens(): return 1', 'def count_tokens(): return 2', 'count_tokens()'
    ),
    noticed(
        'a number with the name of a secret',
        'PASSWORD_LENGTH = 1',
        'PASSWORD_LENGTH = 2',
        'PASSWORD_LENGTH',
    ),
    noticed(
        'a secretary',
        "SECRETARY = 'a'",
        "SECRETARY = 'b'",
        'SECRETARY',
        values=('a', 'b'),
    ),
    cached('a secret', "API_TOKEN = 'one'", "API_TOKEN = 'other'", 'API_TOKEN and 1'),
    cached('a secret in a dict', "K = {'password': 'one', 'n': 1}", "K = {'password': 'other', 'n': 1}", "K['n']"),
    cached(
        'a secret of a class',
        "class C:\n    db_password = 'one'\n    n = 1",
        "class C:\n    db_password = 'other'\n    n = 1",
        'C.n and C.db_password and 1',
    ),
    cached('the login in a URL', "K = 'postgres://me:pa55@host/db'", "K = 'postgres://me:changed@host/db'", 'K and 1'),
]
