"""What counts as code, and what does not."""

from __future__ import annotations

import argparse
import ast
import dis
import inspect
import linecache
import sys
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from kartnb.task.code.parts import instructions_of, parts_from_json, print_of_parts
from kartnb.task.code.prints import CodePrint, Printer, print_of_function
from tests.planning.notebook import Notebook, forget_classes, forget_modules, write_module

TASK = """
class Train(kartnb.TaskOnKart):
    {top}

    def run(self):
        self.dump({expression})
"""


@pytest.fixture
def notebook() -> Iterator[Notebook]:
    """Return a notebook that is forgotten afterwards."""
    yield Notebook()
    forget_classes()
    forget_modules(['own_helpers'])


def _task(expression: str, top: str = '') -> str:
    return TASK.format(expression=expression, top=top)


def _print(notebook: Notebook, name: str = 'Train') -> CodePrint:
    return Printer().print_of(notebook[name])


_WRAPPED = """
import functools
def deco(f):
    @functools.wraps(f)
    def w(): return f()
    return w
@deco
def f(): return {}
"""
_VALIDATED = """
import pydantic
class P(pydantic.BaseModel):
    x: int = 1
    @pydantic.field_validator('x')
    def check(cls, value): return {}
"""
_ACCESSOR = """
import pandas
vars(pandas.Series).get('mine') and delattr(pandas.Series, 'mine')
@pandas.api.extensions.register_series_accessor('mine')
class Mine:
    def __init__(self, series): pass
    def f(self): return {}
"""
_SERIALIZED = """
class V:
    def gokart_serialize(self): return ''
    @classmethod
    def gokart_deserialize(cls, text): return cls()
    def m(self): return {}
"""
#: A cell before and after, and what the task uses of it: all of these are changes.
CHANGES = {
    'function': ('def f(x): return x + 1', 'def f(x): return x + 2', 'f(1)'),
    'function of a function': (
        'def g(): return 1\ndef f(): return g()',
        'def g(): return 2\ndef f(): return g()',
        'f()',
    ),
    'recursion': ('def f(n): return n and f(n - 1)', 'def f(n): return n and f(n - 2)', 'f(4)'),
    'number': ('K = 1', 'K = 2', 'K'),
    'number of another type': ('K = 1', 'K = 1.0', 'K'),
    'text': ("K = 'a'", "K = 'b'", 'K'),
    'nested containers': ("K = {'a': [1, (2, {3})]}", "K = {'a': [1, (2, {4})]}", 'K'),
    'array': ('import numpy\nK = numpy.arange(3)', 'import numpy\nK = numpy.arange(1, 4)', 'K'),
    'frame': (
        "import pandas\nK = pandas.DataFrame({'a': [1]})",
        "import pandas\nK = pandas.DataFrame({'a': [2]})",
        'K',
    ),
    'lambda': ('f = lambda x: x', 'f = lambda x: -x', 'f(1)'),
    'two lambdas on a line': ('f, g = lambda: 1, lambda: 2', 'f, g = lambda: 1, lambda: 3', 'f() + g()'),
    'lambdas in a dict': ("F = {'a': lambda x: x}", "F = {'a': lambda x: x + 1}", "F['a'](1)"),
    'partial': (
        'import functools\nf = functools.partial(max, 1)',
        'import functools\nf = functools.partial(max, 2)',
        'f(0)',
    ),
    'cached function': (
        'import functools\n@functools.lru_cache\ndef f(): return 1',
        'import functools\n@functools.lru_cache\ndef f(): return 2',
        'f()',
    ),
    'wrapped function': (_WRAPPED.format(1), _WRAPPED.format(2), 'f()'),
    'decorator': (
        'def deco(f):\n    def w(): return f() + 1\n    return w\n@deco\ndef f(): return 1',
        'def deco(f):\n    def w(): return f() + 2\n    return w\n@deco\ndef f(): return 1',
        'f()',
    ),
    'bound method': (
        'class H:\n    def __init__(self, k): self.k = k\n    def m(self): return self.k\nf = H(1).m',
        'class H:\n    def __init__(self, k): self.k = k\n    def m(self): return self.k\nf = H(2).m',
        'f()',
    ),
    'method of a dict': ("f = {'a': 1}.get", "f = {'a': 2}.get", "f('a')"),
    'attribute of a function': ('def f(): return f.k\nf.k = 1', 'f.k = 2', 'f()'),
    'attribute that another function reads': ('def f(): pass\nf.k = 1', 'f.k = 2', 'f.k'),
    'lambdas that change places': (
        "F = {'a': lambda x: x, 'b': lambda x: -x}",
        "F = {'b': lambda x: x, 'a': lambda x: -x}",
        "F['a'](1)",
    ),
    'closures that change places': (
        'def make(k):\n    def f(): return k\n    return f\nF = [make(1), make(2)]',
        'F = [make(2), make(1)]',
        'F[0]()',
    ),
    'functions that change names': (
        'def f(): return 1\ndef g(): return 2\none, two = f, g',
        'one, two = g, f',
        'one() - two()',
    ),
    'what a bound method of a library belongs to': (
        'from sklearn.linear_model import Ridge\nfit = Ridge(alpha=1).fit',
        'fit = Ridge(alpha=2).fit',
        'fit',
    ),
    'function in an object of a library, which is a library function': (
        'from sklearn.metrics import f1_score, make_scorer, r2_score\nS = make_scorer(f1_score)',
        'S = make_scorer(r2_score)',
        'S',
    ),
    'argument of a library object that holds a function': (
        'import numpy\ndef g(x): return x\nf = numpy.vectorize(g, otypes=[float])',
        'f = numpy.vectorize(g, otypes=[int])',
        'f(1)',
    ),
    'type expression': ('import typing\nK = typing.Optional[int]', 'K = typing.Optional[str]', 'K'),
    'file in memory': ("import io\nK = io.BytesIO(b'a')", "K = io.BytesIO(b'b')", 'K'),
    'single dispatch': (
        'import functools\n@functools.singledispatch\ndef f(x): return 0\n@f.register\ndef _(x: int): return 1',
        'import functools\n@functools.singledispatch\ndef f(x): return 0\n@f.register\ndef _(x: int): return 2',
        'f(1)',
    ),
    'validator of a pydantic field': (_VALIDATED.format('value'), _VALIDATED.format('-value'), 'P(x=3).x'),
    'attribute of a dataclass that is no field': (
        'import dataclasses\n@dataclasses.dataclass\nclass H:\n    x: int = 1\n    K = 1',
        'import dataclasses\n@dataclasses.dataclass\nclass H:\n    x: int = 1\n    K = 2',
        'H.K',
    ),
    'metaclass': (
        'class M(type):\n    def __call__(cls): return 1\nclass H(metaclass=M): pass',
        'class M(type):\n    def __call__(cls): return 2\nclass H(metaclass=M): pass',
        'H()',
    ),
    'function in an object of a library': (
        'import numpy\nf = numpy.vectorize(lambda x: x)',
        'import numpy\nf = numpy.vectorize(lambda x: x + 1)',
        'f(1)',
    ),
    'closure': (
        'def make(k):\n    def f(): return k\n    return f\nf = make(1)',
        'def make(k):\n    def f(): return k\n    return f\nf = make(2)',
        'f()',
    ),
    'default': ('K = 1\ndef f(x=K): return x', 'K = 2\ndef f(x=K): return x', 'f()'),
    'keyword default': ('K = 1\ndef f(*, x=K): return x', 'K = 2\ndef f(*, x=K): return x', 'f()'),
    'method of a class': (
        'class H:\n    def m(self): return 1',
        'class H:\n    def m(self): return 2',
        'H().m()',
    ),
    'base of a class': (
        'class G:\n    def m(self): return 1\nclass H(G): pass',
        'class G:\n    def m(self): return 2\nclass H(G): pass',
        'H().m()',
    ),
    'namespace': ('import types\nK = types.SimpleNamespace(a=1)', 'K.a = 2', 'K.a'),
    'property': (
        'class H:\n    @property\n    def p(self): return 1',
        'class H:\n    @property\n    def p(self): return 2',
        'H().p',
    ),
    'dataclass': (
        'import dataclasses\n@dataclasses.dataclass\nclass H:\n    x: int = 1',
        'import dataclasses\n@dataclasses.dataclass\nclass H:\n    x: int = 2',
        'H().x',
    ),
    'dataclass value': (
        'import dataclasses\n@dataclasses.dataclass\nclass H:\n    x: int\nK = H(1)',
        'import dataclasses\n@dataclasses.dataclass\nclass H:\n    x: int\nK = H(2)',
        'K.x',
    ),
    'enumeration': (
        'import enum\nclass E(enum.Enum):\n    A = 1',
        'import enum\nclass E(enum.Enum):\n    A = 2',
        'E.A.value',
    ),
    'constant of another task': (
        'class Other(kartnb.TaskOnKart):\n    K = 1',
        'class Other(kartnb.TaskOnKart):\n    K = 2',
        'Other.K',
    ),
    'decorator of wrapt': (
        'import wrapt\n@wrapt.decorator\ndef deco(f, of, args, named): return f(*args) + 1\n@deco\ndef f(): return 1',
        'import wrapt\n@wrapt.decorator\ndef deco(f, of, args, named): return f(*args) + 2\n@deco\ndef f(): return 1',
        'f()',
    ),
    'curried function': (
        'import toolz\n@toolz.curry\ndef g(a, b): return a - b\nf = g(1)',
        'import toolz\n@toolz.curry\ndef g(a, b): return b - a\nf = g(1)',
        'f(2)',
    ),
    'argument of a curried function': (
        'import toolz\n@toolz.curry\ndef g(a, b): return a - b\nf = g(1)',
        'f = g(2)',
        'f(2)',
    ),
    "function under a library's name": (
        'import textwrap\ndef g(): return 1\ntextwrap.of_mine = g',
        'import textwrap\ndef g(): return 2\ntextwrap.of_mine = g',
        'textwrap.of_mine()',
    ),
    'function among the builtins': (
        'import builtins\nbuiltins.of_mine = lambda: 1',
        'import builtins\nbuiltins.of_mine = lambda: 2',
        'of_mine()',
    ),
    'method of a class of a library': (
        'import pandas\npandas.DataFrame.of_mine = lambda self: 1',
        'import pandas\npandas.DataFrame.of_mine = lambda self: 2',
        'self.load().of_mine()',
    ),
    'accessor': (_ACCESSOR.format(1), _ACCESSOR.format(2), 'self.load().mine.f()'),
    'registered class': (
        'import abc\nclass A(abc.ABC): pass\nclass X: pass\nclass Y: pass\nA.register(X)',
        'import abc\nclass A(abc.ABC): pass\nclass X: pass\nclass Y: pass\nA.register(Y)',
        'isinstance(X(), A)',
    ),
    'in a comprehension': ('K = 1', 'K = 2', '[K for _ in range(3)]'),
    'in a nested function': ('K = 1', 'K = 2', '(lambda: (lambda: K)())()'),
    'the method of an enumeration that is a parameter': (
        'import enum\nclass E(enum.Enum):\n    A = 1\n    def f(self): return 1',
        'import enum\nclass E(enum.Enum):\n    A = 1\n    def f(self): return 2',
        'self.x.f()',
        'x = luigi.EnumParameter(enum=E)',
    ),
    'what an object that is a parameter does': (
        'class O:\n    def f(self): return 1',
        'class O:\n    def f(self): return 2',
        'self.x.f()',
        'x = luigi.Parameter(default=O())',
    ),
    "one's own parameter": (
        'class Mine(luigi.IntParameter):\n    def parse(self, text): return int(text)',
        'class Mine(luigi.IntParameter):\n    def parse(self, text): return int(text) * 2',
        'self.x',
        'x = Mine(default=1)',
    ),
    'functions that a library has composed': (
        'import toolz\ndef f(a): return a\ndef g(a): return a + 1\nh = toolz.compose(f, g)',
        'import toolz\ndef f(a): return a\ndef g(a): return a + 2\nh = toolz.compose(f, g)',
        'h(1)',
    ),
    'a function in an object of C': (
        'import numpy\ndef f(a): return a + 1\nu = numpy.frompyfunc(f, 1, 1)',
        'import numpy\ndef f(a): return a + 2\nu = numpy.frompyfunc(f, 1, 1)',
        'u(1)',
    ),
    'a function that replaces one of a library': (
        'import fractions\ndef mine(a): return 1\nfractions.gone = mine',
        'import fractions\ndef mine(a): return 2\nfractions.gone = mine',
        'fractions.gone(1)',
    ),
    'the default of a context variable': (
        "import contextvars\nv = contextvars.ContextVar('v', default=1)",
        "import contextvars\nv = contextvars.ContextVar('v', default=2)",
        'v.get()',
    ),
    'Japanese names': ('倍率 = 1', '倍率 = 2', '倍率'),
}


@pytest.mark.parametrize('kind', CHANGES)
def test_this_is_a_change(kind: str, notebook: Notebook) -> None:
    before, after, expression, *top = CHANGES[kind]
    cell = _task(expression, *top)
    notebook.run(before)
    notebook.run(cell)
    first = _print(notebook)
    assert first.unknown == ()
    assert _print(notebook).digest == first.digest, 'the same again'
    notebook.run(before)
    assert _print(notebook).digest == first.digest, 'the same cell again'
    notebook.run(after)
    if top:
        notebook.run(cell)
    assert _print(notebook).digest != first.digest


NO_CHANGES = {
    'comment': ('def f(x): return x + 1', 'def f(x):  # more\n    return (x\n            + 1)', 'f(1)'),
    'docstring': ('def f(x): return x', 'def f(x):\n    """Return x."""\n    return x', 'f(1)'),
    'another function': ('def f(): return 1\ndef g(): return 1', 'def f(): return 1\ndef g(): return 2', 'f()'),
    'a variable with the name of a local one': ('x = 1', 'x = 2', '[x for x in range(3)]'),
    'an attribute with the name of a global one': ('real = 1', 'real = 2', '(1).real'),
    'another task class': (
        'class Other(kartnb.TaskOnKart):\n    def run(self): self.dump(1)',
        'class Other(kartnb.TaskOnKart):\n    def run(self): self.dump(2)',
        'Other()',
    ),
    'a secret': ("API_TOKEN = 'a'", "API_TOKEN = 'b'", 'API_TOKEN'),
    'a secret in a dict': ("K = {'password': 'a'}", "K = {'password': 'b'}", 'K'),
    'a logger': ("import logging\nlog = logging.getLogger('a')", "import logging\nlog = logging.getLogger('b')", 'log'),
    'what the code fills': ('seen = []', 'seen = [1, 2]', 'seen.append(1) or 3'),
}


@pytest.mark.parametrize('kind', NO_CHANGES)
def test_this_is_no_change(kind: str, notebook: Notebook) -> None:
    before, after, expression = NO_CHANGES[kind]
    if kind == 'what the code fills':
        notebook.run('def f():\n    seen.append(1)\n    return 3')
        expression = 'f()'
    notebook.run(before)
    notebook.run(_task(expression))
    first = _print(notebook)
    notebook.run(after)
    assert _print(notebook).digest == first.digest
    assert 's3cret' not in first.to_json()


def test_parameters_and_how_a_task_runs_do_not_count(notebook: Notebook) -> None:
    cell = (
        'class Train(kartnb.TaskOnKart):\n    n = luigi.IntParameter({n})\n    priority = {n}\n    def run(self): pass'
    )
    notebook.run(cell.format(n=1))
    first = _print(notebook)
    notebook.run(cell.format(n=2))
    assert _print(notebook).digest == first.digest


def test_methods_attributes_and_own_base_classes_count(notebook: Notebook) -> None:
    cell = (
        'class Base(kartnb.TaskOnKart):\n    K = {k}\n    def helper(self): return {h}\n'
        'class Train(Base):\n    @property\n    def p(self): return {p}\n    class Inner:\n        X = {x}\n'
    )
    values = dict.fromkeys('khpx', 1)
    notebook.run(cell.format(**values))
    known = {_print(notebook).digest}
    for name in values:
        notebook.run(cell.format(**{**values, name: 2}))
        known.add(_print(notebook).digest)
    assert len(known) == 5


def test_own_modules_count_in_every_way_of_importing(notebook: Notebook, tmp_path: Path) -> None:
    source = 'K = {k}\ndef inner(): return K\ndef f(): return inner()\n'
    prints = []
    for k in (1, 2):
        module = write_module('own_helpers', source.format(k=k), tmp_path)
        notebook.run('f = helpers.f', {'helpers': module})
        for expression in ('helpers.f()', 'f()'):
            notebook.run(_task(expression))
            prints.append(_print(notebook).digest)
        notebook.run(_task('0').replace('self.dump', 'from own_helpers import f as g; self.dump(g()), '))
        prints.append(_print(notebook).digest)
        notebook.run(_task('0').replace('self.dump', 'import own_helpers as o; self.dump(o.f()), '))
        prints.append(_print(notebook).digest)
    assert len(set(prints)) == 8


def test_a_file_that_was_edited_after_the_import_is_not_believed(notebook: Notebook, tmp_path: Path) -> None:
    module = write_module('own_helpers', 'def f():\n    return 1\n', tmp_path)
    (tmp_path / 'own_helpers.py').write_text('def f():\n    return 2\n')
    notebook.run(_task('helpers.f()'), {'helpers': module})
    told = _print(notebook)
    assert [part.kind for part in told.parts if part.name == 'f'] == ['code']
    module = write_module('own_helpers', 'def f():\n    return 2\n', tmp_path)
    notebook.names['helpers'] = module
    assert _print(notebook).digest != told.digest


def test_libraries_count_by_their_names(notebook: Notebook) -> None:
    notebook.run('import json, numpy as np\nfrom numpy import sin\nfrom pathlib import Path')
    notebook.run(_task('(json.dumps(1), np.sin(1), sin(2), len([]), Path(), print)'))
    told = _print(notebook)
    assert {part.name: part.text for part in told.parts if part.kind == 'value'} == {
        'Train is a': 'TaskOnKart',
        'Path': 'pathlib.Path',
        'json': 'json',
        'np': 'numpy',
        'sin': 'numpy.sin',
    }
    assert told.unknown == ()
    assert told.packages == ('numpy',)


def test_hidden_source_counts_by_its_bytecode(notebook: Notebook) -> None:
    prints = []
    for value in (1, 1, 2):
        exec(compile(f'def f(): return {value}', '<nowhere>', 'exec'), notebook.names)
        notebook.run(_task('f()'))
        told = _print(notebook)
        assert [part.kind for part in told.parts if part.name == 'f'] == ['code']
        prints.append(told.digest)
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize(
    'value', ['numpy.zeros(10**7)', 'list(range(10**6))', '(i for i in [1])', 'numpy.random.default_rng()']
)
def test_large_and_odd_constants_cannot_be_told(value: str, notebook: Notebook) -> None:
    notebook.run(f'import numpy\nK = {value}')
    notebook.run(_task('K'))
    [why] = _print(notebook).unknown
    assert why.startswith('K cannot be compared: ')


#: Parameters, before and after a change of a class of their values.
PARAMETERS = {
    'members of an enumeration': ('import enum\nclass E(enum.Enum):\n    A = {}', 'luigi.EnumParameter(enum=E)'),
    'methods of an enumeration': (
        'import enum\nclass E(enum.Enum):\n    A = 0\n    def m(self): return {}',
        'luigi.EnumListParameter(enum=E)',
    ),
    'class of the values': (_SERIALIZED, 'kartnb.SerializableParameter(object_type=V)'),
    'class of the default': ('class V(str):\n    def m(self): return {}', "luigi.Parameter(default=V('a'))"),
    'class of the parameter': ('class P(luigi.Parameter):\n    def normalize(self, x): return x or {}', 'P()'),
}


@pytest.mark.parametrize('kind', PARAMETERS)
def test_the_classes_of_the_values_of_parameters_count(kind: str, notebook: Notebook) -> None:
    cell, parameter = PARAMETERS[kind]
    task = f'class Train(kartnb.TaskOnKart):\n    x = {parameter}\n    def run(self): self.dump(self.x)'
    prints = []
    for number in (1, 1, 2):
        notebook.run(cell.format(number))
        notebook.run(task)
        prints.append(_print(notebook))
    assert prints[0].digest == prints[1].digest != prints[2].digest
    assert [told.unknown for told in prints] == [()] * 3


def test_a_class_that_was_defined_again_since_counts_where_a_parameter_holds_the_older_one(notebook: Notebook) -> None:
    made = sys.modules['own_helpers'] = types.ModuleType('own_helpers')
    vars(made).update(luigi=notebook['luigi'], kartnb=notebook['kartnb'])
    notebook.names = vars(made)
    cell, parameter = PARAMETERS['members of an enumeration']
    notebook.run(cell.format(1))
    notebook.run(f'class Train(kartnb.TaskOnKart):\n    x = {parameter}')
    first = _print(notebook)
    notebook.run(cell.format(2))
    assert _print(notebook).digest != first.digest


@pytest.mark.parametrize(
    'expression, by',
    [
        ('pydoc.locate("K")', 'pydoc.locate'),
        ('pkgutil.resolve_name("a:K")', 'pkgutil.resolve_name'),
        ('util.spec_from_file_location("a", "a.py")', 'importlib.util.spec_from_file_location'),
        ('importlib.metadata.entry_points()', 'importlib.metadata.entry_points'),
        ('look("K")', 'eval'),
        ('Base.__subclasses__()', '__subclasses__'),
        ('spec.loader.exec_module(0)', 'exec_module'),
    ],
)
def test_functions_that_look_names_up_are_known(expression: str, by: str, notebook: Notebook) -> None:
    notebook.run('import importlib.metadata, pkgutil, pydoc\nfrom importlib import util\nlook = eval')
    notebook.run('class Base: pass\nspec = Base')
    notebook.run(_task(expression))
    [told] = _print(notebook).unknown
    assert told.endswith(f'up by {by}')


def test_a_function_under_a_librarys_name_that_is_imported_when_it_is_needed(notebook: Notebook) -> None:
    notebook.run('import textwrap\ntextwrap.of_mine = lambda: 1')
    inside = 'from textwrap import of_mine; self.dump(of_mine()), '
    notebook.run(_task('0').replace('self.dump', inside))
    first = _print(notebook)
    notebook.run('textwrap.of_mine = lambda: 2')
    assert _print(notebook).digest != first.digest


def test_what_a_module_computes_counts_and_cannot_be_told(notebook: Notebook) -> None:
    made = types.ModuleType('own_helpers')
    sys.modules['own_helpers'] = made
    prints = []
    for number in (1, 2):
        notebook.run(f'def of(name): return {number}\nmade.__getattr__ = of', {'made': made})
        notebook.run(_task('made.thing'))
        prints.append(_print(notebook))
    assert prints[0].digest != prints[1].digest
    assert prints[0].unknown == ('own_helpers.__getattr__ computes what thing is',)


def test_a_mock_cannot_be_told(notebook: Notebook) -> None:
    notebook.run('import textwrap\nfrom unittest import mock')
    notebook.run(_task('textwrap.of_mine()'))
    with mock.patch.object(textwrap, 'of_mine', create=True):
        assert _print(notebook).unknown == ('textwrap.of_mine is a mock',)


@pytest.mark.parametrize('expression', ["globals()['K']", "eval('K')", "exec('print(K)')"])
def test_names_that_are_looked_up_while_the_code_runs_cannot_be_told(expression: str, notebook: Notebook) -> None:
    notebook.run('K = 1\nclass Net:\n    def eval(self): return 1\nnet = Net()')
    notebook.run(_task(expression))
    assert _print(notebook).unknown == (f'Train.run looks names up by {expression.partition("(")[0]}',)
    notebook.run(_task('net.eval()'))
    assert _print(notebook).unknown == ()


def test_a_function_in_the_annotation_of_a_field_has_no_address(notebook: Notebook) -> None:
    notebook.run('import pydantic, typing\ndef f(v): return v')
    notebook.run('class M(pydantic.BaseModel):\n    x: typing.Annotated[int, pydantic.AfterValidator(f)] = 1')
    notebook.run(_task('M().x'))
    assert ' at 0x' not in _print(notebook).to_json()


def test_an_attribute_of_a_function_that_the_code_counts_with_is_no_change(notebook: Notebook) -> None:
    notebook.run('def f():\n    f.calls += 1\n    return 3\nf.calls = 0')
    notebook.run(_task('f()'))
    first = _print(notebook)
    notebook.names['f']()
    assert _print(notebook).digest == first.digest


def test_a_value_that_the_code_changes_and_reads_cannot_be_told(notebook: Notebook) -> None:
    notebook.run('memo = {}\ndef f(n):\n    memo[n] = memo.get(n, 0) + 1\n    return memo[n]')
    notebook.run(_task('f(1)'))
    assert _print(notebook).unknown == ('memo is changed by the code itself',)


def test_the_state_of_a_generator_counts_as_it_was_at_first(notebook: Notebook) -> None:
    for library, make in (('random', 'random.Random({})'), ('numpy', 'numpy.random.RandomState({})')):
        notebook.run(f'import {library}\nK = {make.format(1)}')
        notebook.run(_task('K'))
        first = _print(notebook)
        notebook.run('K.uniform(0, 1)')
        assert _print(notebook).digest == first.digest, 'the task itself may have taken a number'
        notebook.run(f'K = {make.format(2)}')
        assert _print(notebook).digest != first.digest


def test_the_print_of_a_function(notebook: Notebook) -> None:
    notebook.run('import math\nK = 1\ndef score(x): return math.sqrt(x) + K')
    first = print_of_function(notebook['score'])
    notebook.run('def score(x):\n    """Score."""\n    return math.sqrt(x) + K')
    assert print_of_function(notebook['score']).digest == first.digest
    notebook.run('K = 2')
    assert print_of_function(notebook['score']).digest != first.digest
    digests = {print_of_function(function).digest for function in (max, min, notebook['score'].__call__, lambda x: x)}
    assert len(digests) == 4


def test_the_print_can_be_made_again_from_what_is_kept(notebook: Notebook) -> None:
    for before, _, expression, *_top in CHANGES.values():
        notebook.run(before)
        notebook.run(_task(expression))
        told = _print(notebook)
        assert print_of_parts(parts_from_json(told.to_json())) == told.digest


@pytest.mark.parametrize('text', ['', '[]', '{}', '{"parts": 1}', '{"parts": [{"name": 1}]}', '{"parts": [1]}'])
def test_what_holds_no_parts_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r'.'):
        parts_from_json(text)


def test_twenty_classes_cost_twenty_prints(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    from kartnb.task.code import prints as code_print

    explored: list[Any] = []
    reach = code_print.Reach

    def counted(cls: type) -> Any:
        explored.append(cls)
        return reach(cls)

    monkeypatch.setattr(code_print, 'Reach', counted)
    printer = Printer()
    for number in range(20):
        notebook.run(f'class T{number}(kartnb.TaskOnKart):\n    def run(self): pass')
    for _ in range(50):
        for number in range(20):
            printer.print_of(notebook[f'T{number}'])
    assert len(explored) == 20


def test_a_module_made_by_hand_is_ones_own(notebook: Notebook) -> None:
    made = types.ModuleType('own_helpers')
    sys.modules['own_helpers'] = made
    made.K = 1  # type: ignore[attr-defined]
    notebook.run(_task('made.K'), {'made': made})
    first = _print(notebook)
    made.K = 2  # type: ignore[attr-defined]
    assert _print(notebook).digest != first.digest


def test_what_raises_when_it_is_looked_at_cannot_be_told(notebook: Notebook) -> None:
    notebook.run('class Odd:\n    def __getattribute__(self, name): raise RuntimeError(name)\nK = Odd()')
    notebook.run(_task('K'))
    assert _print(notebook).unknown


def test_a_cell_that_imports_what_it_uses_has_a_source(notebook: Notebook) -> None:
    """IPython compiles each statement of a cell alone, which gives another code for `math.floor`."""
    cell = f'import math\n{_task("math.floor(1.5)")}'
    statements = ast.parse(cell).body
    linecache.cache['<a cell>'] = (len(cell), None, cell.splitlines(keepends=True), '<a cell>')
    for statement in statements:
        exec(compile(ast.Module([statement], []), '<a cell>', 'exec'), notebook.names)
    told = _print(notebook)
    assert [part.kind for part in told.parts if part.name == 'Train.run'] == ['source']
    notebook.run(cell)
    assert _print(notebook).digest == told.digest


NAMING = frozenset(
    f'{what}_{where}'
    for what in ('LOAD', 'STORE', 'IMPORT')
    for where in ('GLOBAL', 'NAME', 'ATTR', 'METHOD', 'FAST', 'DEREF', 'CONST', 'FROM')
) - {'STORE_ATTR'}


def _told_by_dis(code: types.CodeType) -> Iterator[tuple[str, Any]]:
    for item in dis.get_instructions(code):
        first, _, second = item.opname.partition('_FAST_')
        if second in NAMING:  # in Python 3.13, two in one
            yield from zip((f'{first}_FAST', second), item.argval, strict=True)
        elif item.opname in NAMING:
            yield item.opname, item.argval


def test_instructions_are_those_that_dis_tells() -> None:
    source = inspect.getsource(argparse) + 'x = [' + ', '.join(f'name{n}.item{n}' for n in range(600)) + ']\n'
    pending = [compile(source, '<file>', 'exec')]
    for code in pending:
        pending += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
        assert [item for item in instructions_of(code) if item[0] in NAMING] == [*_told_by_dis(code)]
    assert len(pending) > 50


def test_form_feeds_do_not_shift_the_text_of_functions(notebook: Notebook) -> None:
    notebook.run('A = 1\n\x0c\n\x0c\nB = 2\ndef f(x):\n    return x + A\n' + _task('f(1)'))
    assert {'def f(x):\n    return x + A'} == {part.text for part in _print(notebook).parts if part.name == 'f'}


def test_a_file_is_checked_for_edits_once_a_print(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook.run('def f(x): return g(x)\ndef g(x): return x\n' + _task('f(1)'))
    checked: list[str] = []
    monkeypatch.setattr(linecache, 'checkcache', checked.append)
    _print(notebook)
    assert len(checked) == 1
