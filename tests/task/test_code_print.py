"""What counts as code, and what does not."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kartnb.task.code_parts import parts_from_json, print_of_parts
from kartnb.task.code_print import CodePrint, Printer
from tests.planning.notebook import Notebook, forget_classes, forget_modules, write_module

TASK = """
class Train(kartnb.TaskOnKart):
    def run(self):
        self.dump({expression})
"""


@pytest.fixture
def notebook() -> Iterator[Notebook]:
    """Return a notebook that is forgotten afterwards."""
    yield Notebook()
    forget_classes()
    forget_modules(['own_helpers'])


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
    'in a comprehension': ('K = 1', 'K = 2', '[K for _ in range(3)]'),
    'in a nested function': ('K = 1', 'K = 2', '(lambda: (lambda: K)())()'),
    'Japanese names': ('倍率 = 1', '倍率 = 2', '倍率'),
}


@pytest.mark.parametrize('kind', CHANGES)
def test_this_is_a_change(kind: str, notebook: Notebook) -> None:
    before, after, expression = CHANGES[kind]
    notebook.run(before)
    notebook.run(TASK.format(expression=expression))
    first = _print(notebook)
    assert first.unknown == ()
    assert _print(notebook).digest == first.digest, 'the same again'
    notebook.run(before)
    assert _print(notebook).digest == first.digest, 'the same cell again'
    notebook.run(after)
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
    notebook.run(TASK.format(expression=expression))
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
            notebook.run(TASK.format(expression=expression))
            prints.append(_print(notebook).digest)
        notebook.run(
            TASK.format(expression='0').replace('self.dump', 'from own_helpers import f as g; self.dump(g()), ')
        )
        prints.append(_print(notebook).digest)
        notebook.run(TASK.format(expression='0').replace('self.dump', 'import own_helpers as o; self.dump(o.f()), '))
        prints.append(_print(notebook).digest)
    assert len(set(prints)) == 8


def test_a_file_that_was_edited_after_the_import_is_not_believed(notebook: Notebook, tmp_path: Path) -> None:
    module = write_module('own_helpers', 'def f():\n    return 1\n', tmp_path)
    (tmp_path / 'own_helpers.py').write_text('def f():\n    return 2\n')
    notebook.run(TASK.format(expression='helpers.f()'), {'helpers': module})
    told = _print(notebook)
    assert [part.kind for part in told.parts if part.name == 'f'] == ['code']
    module = write_module('own_helpers', 'def f():\n    return 2\n', tmp_path)
    notebook.names['helpers'] = module
    assert _print(notebook).digest != told.digest


def test_libraries_do_not_count(notebook: Notebook) -> None:
    notebook.run('import json, numpy as np\nfrom numpy import sin\nfrom pathlib import Path')
    notebook.run(TASK.format(expression='(json.dumps(1), np.sin(1), sin(2), len([]), Path(), print)'))
    assert {part.name for part in _print(notebook).parts} == {'Train is a', 'Train.run'}
    assert _print(notebook).unknown == ()


def test_hidden_source_cannot_be_told(notebook: Notebook) -> None:
    exec(compile('def f(): return 1', '<nowhere>', 'exec'), notebook.names)
    notebook.run(TASK.format(expression='f()'))
    assert _print(notebook).unknown == ('the source of f is not available',)


@pytest.mark.parametrize(
    'value', ['numpy.zeros(10**7)', 'list(range(10**6))', '(i for i in [1])', 'numpy.random.default_rng()']
)
def test_large_and_odd_constants_cannot_be_told(value: str, notebook: Notebook) -> None:
    notebook.run(f'import numpy\nK = {value}')
    notebook.run(TASK.format(expression='K'))
    [why] = _print(notebook).unknown
    assert why.startswith('K cannot be compared: ')


@pytest.mark.parametrize('expression', ["globals()['K']", "eval('K')", "exec('print(K)')"])
def test_names_that_are_looked_up_while_the_code_runs_cannot_be_told(expression: str, notebook: Notebook) -> None:
    notebook.run('K = 1\nclass Net:\n    def eval(self): return 1\nnet = Net()')
    notebook.run(TASK.format(expression=expression))
    assert _print(notebook).unknown == (f'Train.run looks names up by {expression.partition("(")[0]}',)
    notebook.run(TASK.format(expression='net.eval()'))
    assert _print(notebook).unknown == ()


def test_an_attribute_of_a_function_that_the_code_counts_with_is_no_change(notebook: Notebook) -> None:
    notebook.run('def f():\n    f.calls += 1\n    return 3\nf.calls = 0')
    notebook.run(TASK.format(expression='f()'))
    first = _print(notebook)
    notebook.names['f']()
    assert _print(notebook).digest == first.digest


def test_a_value_that_the_code_changes_and_reads_cannot_be_told(notebook: Notebook) -> None:
    notebook.run('memo = {}\ndef f(n):\n    memo[n] = memo.get(n, 0) + 1\n    return memo[n]')
    notebook.run(TASK.format(expression='f(1)'))
    assert _print(notebook).unknown == ('memo is changed by the code itself',)


def test_the_print_can_be_made_again_from_what_is_kept(notebook: Notebook) -> None:
    for before, _, expression in CHANGES.values():
        notebook.run(before)
        notebook.run(TASK.format(expression=expression))
        told = _print(notebook)
        assert print_of_parts(parts_from_json(told.to_json())) == told.digest


@pytest.mark.parametrize('text', ['', '[]', '{}', '{"parts": 1}', '{"parts": [{"name": 1}]}', '{"parts": [1]}'])
def test_what_holds_no_parts_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r'.'):
        parts_from_json(text)


def test_twenty_classes_cost_twenty_prints(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    from kartnb.task import code_print

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
    notebook.run(TASK.format(expression='made.K'), {'made': made})
    first = _print(notebook)
    made.K = 2  # type: ignore[attr-defined]
    assert _print(notebook).digest != first.digest


def test_what_raises_when_it_is_looked_at_cannot_be_told(notebook: Notebook) -> None:
    notebook.run('class Odd:\n    def __getattribute__(self, name): raise RuntimeError(name)\nK = Odd()')
    notebook.run(TASK.format(expression='K'))
    assert _print(notebook).unknown
