"""Notebook classes and functions, between processes of gokart and kartnb."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

DEFINITIONS = """
import abc, collections, dataclasses, enum, functools, sys, typing, warnings
warnings.simplefilter('ignore')
import numpy as np

class Plain:
    def __init__(self, x): self.x = x
    def twice(self): return self.x * 2

class Child(Plain):
    def twice(self): return super().twice() + 1

class Outer:
    class Inner:
        y = 1

class Slots:
    __slots__ = ('a',)
    def __init__(self): self.a = 4

class Colour(enum.Enum):
    RED = 1

@dataclasses.dataclass
class Row:
    a: int
    b: list = dataclasses.field(default_factory=list)

class Named(typing.NamedTuple):
    a: int
    b: str = 'x'

T = typing.TypeVar('T')
class Box(typing.Generic[T]):
    def __init__(self): self.v = 3

class Base(abc.ABC):
    @abc.abstractmethod
    def f(self): ...
class Derived(Base):
    def f(self): return 7

NUMBER = 5
def add(a, b=2, *, c=3): return a + b + c + NUMBER
def outer(k):
    def inner(x): return x * k
    return inner
def factorial(n): return 1 if n == 0 else n * factorial(n - 1)
def array(n): return np.arange(n)
def local():
    class Plain:
        z = 42
    return Plain()
"""
# expression -> what must hold of the loaded value v, with the definitions there
CASES = {
    'Plain(1)': 'type(v) is Plain and v.twice() == 2',
    '[{"deep": Plain(2)}]': 'type(v[0]["deep"]) is Plain',
    'Child(3)': 'type(v) is Child and v.twice() == 7',
    'Outer.Inner()': 'type(v) is Outer.Inner',
    'Slots()': 'type(v) is Slots and v.a == 4',
    'Row(1, [2])': 'v == Row(1, [2])',
    'Named(1)': 'type(v) is Named and v == Named(1)',
    'Box()': 'type(v) is Box and v.v == 3',
    'Derived()': 'type(v) is Derived and v.f() == 7',
    'local()': 'v.z == 42 and type(v) is not Plain',
    'Plain': 'v is Plain',
    'add': 'v(1) == 11',
    'lambda x: x + NUMBER': 'v(1) == 6',
    'outer(3)': 'v(2) == 6',
    'factorial': 'v(4) == 24',
    'array': 'len(v(3)) == 3',
    'collections.defaultdict(lambda: 3, a=1)': 'v["b"] == 3',
    'functools.partial(add, 1)': 'v() == 11',
    'Plain(2).twice': 'v() == 4',
}
# what gokart cannot do with its own files, or not with the classes that are there
ENUM = {'Colour.RED': 'v is Colour.RED'}
ANY_CLASS = {
    'Slots()': 'v.a == 4',
    'Outer.Inner()': 'v.y == 1',
    'local()': 'True',
    'Plain': 'v(1).twice() == 2',
    '[{"deep": Plain(2)}]': 'v[0]["deep"].twice() == 4',
    'Row(1, [2])': 'v.a == 1',
    'Named(1)': 'v.a == 1',
    'Box()': 'v.v == 3',
}
WRITE = """
for i, expression in enumerate(CASES):
    make_target(f'{i}.pkl').dump(eval(expression))
"""
READ = """
for i, (expression, holds) in enumerate(CASES.items()):
    v = make_target(f'{i}.pkl').load()
    assert eval(holds), (expression, v)
"""
MAKERS = {
    'gokart': 'from gokart.target import make_target\n',
    'kartnb': 'from kartnb.storage.targets import make_target\n',
}
NO_DILL = 'import sys\nsys.modules["dill"] = sys.modules["gokart"] = None\n'


def run(*parts: str, cases: dict[str, str]) -> None:
    Path('script.py').write_text('\n'.join([*parts[:-1], f'CASES = {cases!r}', parts[-1]]))
    environment = {**os.environ, 'PYTHONPATH': str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, 'script.py'], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize('prelude', ['', NO_DILL], ids=['with dill', 'without dill'])
def test_kartnb_reads_gokarts(prelude: str) -> None:
    run(DEFINITIONS, MAKERS['gokart'], WRITE, cases=CASES)
    # dill forgets the body of a class that is local to a function
    read = {**CASES, 'local()': 'type(v) is not Plain'}
    run(prelude, DEFINITIONS, MAKERS['kartnb'], READ, cases=read)


def test_kartnb_reads_an_enum_that_gokart_cannot_read() -> None:
    run(DEFINITIONS, MAKERS['gokart'], WRITE, cases=ENUM)
    run(NO_DILL, DEFINITIONS, MAKERS['kartnb'], READ, cases=ENUM)


def test_gokart_reads_kartnbs() -> None:
    run(DEFINITIONS, MAKERS['kartnb'], WRITE, cases={**CASES, **ENUM})
    run(DEFINITIONS, MAKERS['gokart'], READ, cases={**CASES, **ANY_CLASS, 'Colour.RED': 'v.name == "RED"'})


def test_kartnb_reads_its_own() -> None:
    run(DEFINITIONS, MAKERS['kartnb'], WRITE, cases={**CASES, **ENUM})
    run(DEFINITIONS, MAKERS['kartnb'], READ, cases={**CASES, **ENUM})


def test_gokart_gives_objects_of_another_class() -> None:
    """What kartnb must do better: nested objects come back as instances of a class that nobody knows."""
    cases = {'[{"deep": Plain(2)}]': 'type(v[0]["deep"]) is not Plain'}
    run(DEFINITIONS, MAKERS['gokart'], WRITE, cases=cases)
    run(DEFINITIONS, MAKERS['gokart'], READ, cases=cases)
