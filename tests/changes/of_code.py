"""Kinds of change in a person's own code, in a notebook."""

from __future__ import annotations

from tests.changes.kinds import Kind, cached, noticed, unknown

_RUN = """
class T(kartnb.TaskOnKart):
    def run(self):
        self.dump({})
"""
_BASES = """
class Left:
    def value(self): return 1
class Right:
    def value(self): return 2
class H({}): pass
"""
_DECORATED = """
def plus({0}):
    def decorate(f):
        def wrapper(*args):
            return f(*args) + {1}
        return wrapper
    return decorate
@plus(0)
def f(): return 0
"""

CODE: list[Kind] = [
    noticed('the `run` of the task itself', _RUN.format(1), _RUN.format(2), task='pass'),
    noticed(
        'a method of the task',
        *(
            f'class T(kartnb.TaskOnKart):\n    def run(self): self.dump(self.m())\n    def m(self): return {n}'
            for n in (1, 2)
        ),
        task='pass',
    ),
    noticed('a function', 'def f(): return 1', 'def f(): return 2', 'f()'),
    noticed(
        'a function that a function calls', 'def g(): return 1', 'def g(): return 2', 'f()', setup='def f(): return g()'
    ),
    noticed(
        'two functions that call each other',
        'def odd(n): return n and even(n - 1)',
        'def odd(n): return n and 2 * even(n - 1)',
        'even(2)',
        setup='def even(n): return odd(n - 1) if n else 1',
    ),
    noticed(
        'a function that is only handed on',
        'def f(x): return x',
        'def f(x): return 2 * x',
        'list(map(f, [1]))',
        values=([1], [2]),
    ),
    noticed('a nested function', *(f'def f():\n    def g(): return {n}\n    return g()' for n in (1, 2)), 'f()'),
    noticed(
        'a value in a closure',
        'f = make(1)',
        'f = make(2)',
        'f()',
        setup='def make(k):\n    def f(): return k\n    return f',
    ),
    noticed(
        'a function that makes functions',
        *(f'def make():\n    def f(): return {n}\n    return f' for n in (1, 2)),
        'make()()',
    ),
    noticed('a default of an argument', 'def f(x=1): return x', 'def f(x=2): return x', 'f()'),
    noticed(
        'a value that is a default of an argument', 'D = 1\ndef f(x=D): return x', 'D = 2\ndef f(x=D): return x', 'f()'
    ),
    noticed(
        'a value that is a default of a keyword',
        'D = 1\ndef f(*, x=D): return x',
        'D = 2\ndef f(*, x=D): return x',
        'f()',
    ),
    noticed('a decorator', _DECORATED.format('k', 1), _DECORATED.format('k', 2), 'f()'),
    noticed(
        'the argument of a decorator',
        _DECORATED.format('k', 'k').replace('@plus(0)', '@plus(1)'),
        _DECORATED.format('k', 'k').replace('@plus(0)', '@plus(2)'),
        'f()',
    ),
    noticed(
        'which decorator a function has',
        *(
            f'def one(f): return lambda: 1\ndef two(f): return lambda: 2\n@{name}\ndef f(): return 0'
            for name in ('one', 'two')
        ),
        'f()',
    ),
    noticed(
        'a decorator of `run`',
        *(
            f'def deco(f):\n    def run(self): return self.dump({n})\n    return run\n'
            'class T(kartnb.TaskOnKart):\n    @deco\n    def run(self): self.dump(0)'
            for n in (1, 2)
        ),
        task='pass',
    ),
    noticed(
        'a wrapped function (`functools.wraps`)',
        *(
            'import functools\ndef deco(f):\n    @functools.wraps(f)\n    def w(): return f()\n    return w\n'
            f'@deco\ndef f(): return {n}'
            for n in (1, 2)
        ),
        'f()',
    ),
    noticed(
        'a cached function (`lru_cache`)',
        *(f'import functools\n@functools.lru_cache\ndef f(): return {n}' for n in (1, 2)),
        'f()',
    ),
    noticed(
        'the arguments of a partial function',
        'f = functools.partial(max, 1)',
        'f = functools.partial(max, 2)',
        'f(0)',
        setup='import functools',
    ),
    noticed(
        'the function in a partial function',
        *(f'def g(x): return x + {n}\nf = functools.partial(g, 0)' for n in (1, 2)),
        'f()',
        setup='import functools',
    ),
    noticed('a lambda', 'f = lambda: 1', 'f = lambda: 2', 'f()'),
    noticed(
        'the second of two lambdas on a line', 'f, g = lambda: 0, lambda: 1', 'f, g = lambda: 0, lambda: 2', 'f() + g()'
    ),
    noticed('a lambda in a dict', "F = {'a': lambda: 1}", "F = {'a': lambda: 2}", "F['a']()"),
    noticed(
        'the order of a list of functions',
        'F = [one, two]',
        'F = [two, one]',
        'F[0]()',
        setup='def one(): return 1\ndef two(): return 2',
    ),
    noticed('a name in a comprehension', 'K = 1', 'K = 2', 'sum(K for _ in range(1))'),
    noticed('a generator', 'def f(): yield 1', 'def f(): yield 2', 'next(f())'),
    noticed(
        'an async function',
        'async def f(): return 1',
        'async def f(): return 2',
        'f()',
        task='import asyncio\nclass T(kartnb.TaskOnKart):\n    def run(self):\n'
        '        self.dump(asyncio.new_event_loop().run_until_complete(f()))',
    ),
    noticed(
        'a context manager',
        *(f'import contextlib\n@contextlib.contextmanager\ndef f(): yield {n}' for n in (1, 2)),
        'f().__enter__()',
    ),
    noticed(
        'a class attribute of the task',
        *(f'class T(kartnb.TaskOnKart):\n    N = {n}\n    def run(self): self.dump(self.N)' for n in (1, 2)),
        task='pass',
    ),
    noticed(
        "a task of one's own that the task inherits from",
        *(f'class Base(kartnb.TaskOnKart):\n    def value(self): return {n}' for n in (1, 2)),
        task='class T(Base):\n    def run(self): self.dump(self.value())',
        places=('restart',),
    ),
    noticed(
        'a mixin of the task',
        *(
            f'class Mixin:\n    def value(self): return {n}\nclass T(Mixin, kartnb.TaskOnKart):\n'
            f'    def run(self): self.dump(self.value())'
            for n in (1, 2)
        ),
        task='pass',
    ),
    noticed('the order of the base classes', _BASES.format('Left, Right'), _BASES.format('Right, Left'), 'H().value()'),
    noticed(
        'what `super()` finds',
        *(f'class G:\n    def m(self): return {n}\nclass H(G):\n    def m(self): return super().m()' for n in (1, 2)),
        'H().m()',
    ),
    noticed('a method of a class', *(f'class H:\n    def m(self): return {n}' for n in (1, 2)), 'H().m()'),
    noticed('a property', *(f'class H:\n    @property\n    def p(self): return {n}' for n in (1, 2)), 'H().p'),
    noticed(
        'a cached property',
        *(f'import functools\nclass H:\n    @functools.cached_property\n    def p(self): return {n}' for n in (1, 2)),
        'H().p',
    ),
    noticed(
        'a class method and a static method',
        *(
            f'class H:\n    @classmethod\n    def c(cls): return cls.s()\n    @staticmethod\n    def s(): return {n}'
            for n in (1, 2)
        ),
        'H.c()',
    ),
    noticed('an operator of a class', *(f'class H:\n    def __add__(self, x): return {n}' for n in (1, 2)), 'H() + 0'),
    noticed(
        '`__getattr__` of a class', *(f'class H:\n    def __getattr__(self, x): return {n}' for n in (1, 2)), 'H().any'
    ),
    noticed(
        'a special attribute of a class',
        *(f'class H:\n    __array_priority__ = {n}' for n in (1, 2)),
        'H().__array_priority__',
    ),
    noticed(
        'a special method that a class takes away',
        'class H(list):\n    pass',
        'class H(list):\n    __iter__ = None',
        'f()',
        setup='def f():\n    try: return len([*iter(H()), 1])\n    except TypeError: return 2',
    ),
    noticed(
        'a method of a logger',
        *(f'class H(logging.Logger):\n    def level_of(self): return {n}\nlog = H("x")' for n in (1, 2)),
        'log.level_of()',
        setup='import logging',
    ),
    noticed(
        'a descriptor',
        *(f'class D:\n    def __get__(self, *a): return {n}\nclass H:\n    x = D()' for n in (1, 2)),
        'H().x',
    ),
    noticed(
        'a metaclass',
        *(f'class M(type):\n    def __call__(cls): return {n}\nclass H(metaclass=M): pass' for n in (1, 2)),
        'H()',
    ),
    noticed(
        '`__init_subclass__`',
        *(f'class G:\n    def __init_subclass__(cls): cls.k = {n}\nclass H(G): pass' for n in (1, 2)),
        'H.k',
    ),
    noticed(
        'a decorator of a class',
        *(f'def deco(cls):\n    cls.m = lambda self: {n}\n    return cls\n@deco\nclass H: pass' for n in (1, 2)),
        'H().m()',
    ),
    noticed('a class made by `type(…)`', *(f"H = type('H', (), {{'m': lambda self: {n}}})" for n in (1, 2)), 'H().m()'),
    noticed(
        'a method given to a class later',
        'def m(self): return 1\nH.m = m',
        'def m(self): return 2\nH.m = m',
        'H().m()',
        setup='class H: pass',
    ),
    noticed(
        'a task class made by `type(…)`',
        *(f"def run(self): self.dump({n})\nT = type('T', (kartnb.TaskOnKart,), {{'run': run}})" for n in (1, 2)),
        task='pass',
    ),
    noticed(
        'a task class made by `types.new_class`',
        *(
            'import types\ndef body(ns):\n'
            f"    def run(self): self.dump({n})\n    ns['run'] = run\n"
            f"T = types.new_class('T', (kartnb.TaskOnKart,), {{}}, body)"
            for n in (1, 2)
        ),
        task='pass',
    ),
    noticed(
        'a task class made by a function',
        *(
            f'def make(n):\n    class T(kartnb.TaskOnKart):\n        def run(self): self.dump(n)\n'
            f'    return T\nT = make({n})'
            for n in (1, 2)
        ),
        task='pass',
    ),
    noticed(
        'an implementation of `singledispatch`',
        *(
            f'import functools\n@functools.singledispatch\ndef f(x): return 0\n@f.register\ndef _(x: int): return {n}'
            for n in (1, 2)
        ),
        'f(7)',
    ),
    noticed('an attribute of a function', 'f.k = 1', 'f.k = 2', 'f()', setup='def f(): return f.k'),
    noticed(
        'a `match` statement',
        *(f'def f(x):\n    match x:\n        case [a, *_]: return a + {n}\n        case _: return 0' for n in (0, 1)),
        'f([1])',
    ),
    noticed(
        'a constant of another task class',
        'class Other(kartnb.TaskOnKart):\n    N = 1',
        'class Other(kartnb.TaskOnKart):\n    N = 2',
        'Other.N',
    ),
    noticed(
        'a local variable is renamed',
        'def f():\n    a = 1\n    return a',
        'def f():\n    b = 1\n    return b',
        'f()',
        values=(1, 1),
    ),
    noticed('a function is renamed', 'def f(): return 1\nF = f', 'def g(): return 1\nF = g', 'F()', values=(1, 1)),
    noticed('a function made by `exec`', "exec('def f(): return 1')", "exec('def f(): return 2')", 'f()'),
    unknown('a value that is looked up by `globals()`', 'K = 1', 'K = 2', "globals()['K']"),
    unknown('a value that is looked up by `eval`', 'K = 1', 'K = 2', "eval('K')"),
    unknown(
        'a value that the code itself changes',
        'M = {1: 1}',
        'M = {1: 2}',
        'f()',
        setup='def f():\n    M[0] = M.get(0, 0)\n    return M[1]',
    ),
]

NO_CODE: list[Kind] = [
    cached('a comment', 'def f(): return 1', 'def f():  # more\n    # and more\n    return 1', 'f()'),
    cached('a docstring', 'def f(): return 1', 'def f():\n    """Give one."""\n    return 1', 'f()'),
    cached('the docstring of a class', 'class H:\n    k = 1', 'class H:\n    """One."""\n    k = 1', 'H.k'),
    cached(
        'formatting: lines, brackets, quotes',
        "def f(): return {'a': 1}['a']",
        'def f():\n    return (\n        {"a": 1}["a"]\n    )',
        'f()',
    ),
    cached(
        'an annotation of an argument',
        'def f(x=1): return x',
        'def f(x: int = 1) -> int: return x',
        'f()',
    ),
    cached('an import that is not used', 'def f(): return 1', 'import json\ndef f(): return 1', 'f()'),
    cached(
        'a function that is not used',
        'def f(): return 1\ndef g(): return 1',
        'def f(): return 1\ndef g(): return 2',
        'f()',
    ),
    cached(
        'the order of definitions',
        'def f(): return 1\ndef g(): return 1',
        'def g(): return 1\ndef f(): return 1',
        'f()',
    ),
    cached('the place of a definition in a cell', 'def f(): return 1', '\n\n\nx = 5\ndef f(): return 1', 'f()'),
    cached('a variable with the name of a local one', 'x = 1', 'x = 2', 'sum(x for x in [1])'),
    cached('a variable with the name of an attribute', 'real = 1', 'real = 2', '(1).real'),
    cached('a parenthesis more', 'def f(): return 1', 'def f(): return (1)', 'f()'),
    cached(
        'priority, resources, retries',
        *(
            f'class T(kartnb.TaskOnKart):\n    priority = {n}\n    retry_count = {n}\n'
            f'    resources = {{"a": 1 / {n}}}\n    def run(self): self.dump(1)'
            for n in (1, 2)
        ),
        task='pass',
    ),
    cached(
        'another task class',
        *(f'class Other(kartnb.TaskOnKart):\n    def run(self): self.dump({n})' for n in (1, 2)),
        'Other and 1',
    ),
    cached(
        'a logger, its name and level',
        "import logging\nlog = logging.getLogger('a')",
        "import logging\nlog = logging.getLogger('b')\nlog.setLevel(10)",
        'log.debug("x") or 1',
    ),
    cached(
        'a lock',
        'import threading\nlock = threading.Lock()',
        'import threading\nlock = threading.Lock()',
        'lock.__class__ and 1',
    ),
    cached(
        'a list that the code only fills',
        'seen = []',
        'seen = [1, 2]',
        'f()',
        setup='def f():\n    seen.append(1)\n    return 1',
    ),
]
