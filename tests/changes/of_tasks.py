"""Kinds of change in tasks that a task requires, holds or asks for, and in what a task is."""

from __future__ import annotations

from typing import Any

from tests.changes.kinds import Kind, cached, noticed, unseen

_A = 'class A(kartnb.TaskOnKart):\n    def run(self): self.dump({})'
_A_VERSIONS = [_A.format(n) for n in (1, 2)]
_HOLDS = """
class T(kartnb.TaskOnKart):
    a = {}
    def run(self): self.dump({})
"""
_REQUIRES = 'class T(kartnb.TaskOnKart):\n    def requires(self): return {}\n    def run(self): self.dump({})'
_ASKS = 'class T(kartnb.TaskOnKart):\n    def run(self):\n        a = yield {}\n        self.dump({})'
_UPSTREAM = 'an upstream'


def _upstream(title: str, task: str, runs: tuple[str, ...] = ('A', 'T'), **more: Any) -> Kind:
    """A task that the root needs somehow is defined again."""
    return noticed(title, *_A_VERSIONS, task=task, runs=runs, **{'because': _UPSTREAM, **more})


def _identity(title: str, before: str, after: str, values: tuple[Any, Any] = (1, 2), **more: Any) -> Kind:
    """The task becomes one with another id or file: it is missing."""
    return noticed(title, before, after, task='pass', values=values, because='output missing', **more)


TASKS: list[Kind] = [
    _upstream('a task that `requires` names', _REQUIRES.format('A()', 'self.load()')),
    _upstream(
        'one of several required tasks',
        'class Other(kartnb.TaskOnKart):\n    def run(self): self.dump(0)\n'
        + _REQUIRES.format("{'a': A(), 'o': Other()}", "self.load('a') + self.load('o')"),
    ),
    _upstream(
        'a task two steps above',
        'class B(kartnb.TaskOnKart):\n    def requires(self): return A()\n'
        '    def run(self): self.dump(self.load())\n' + _REQUIRES.format('B()', 'self.load()'),
        runs=('A', 'B', 'T'),
    ),
    _upstream(
        'a held task: the default of a parameter',
        _HOLDS.format('kartnb.TaskInstanceParameter(default=A())', "self.load('a')"),
    ),
    _upstream(
        'a held task: a variable',
        'held = A()\n' + _HOLDS.format('kartnb.TaskInstanceParameter()', "self.load('a')"),
        root='T(a=held)',
    ),
    _upstream(
        'held tasks: a list',
        'held = [A()]\n' + _HOLDS.format('kartnb.ListTaskInstanceParameter()', "self.load('a')[0]"),
        root='T(a=held)',
    ),
    _upstream(
        'a held task in a held task',
        'class B(kartnb.TaskOnKart):\n'
        '    a = kartnb.TaskInstanceParameter()\n    def run(self): self.dump(self.load("a"))\nheld = B(a=A())\n'
        + _HOLDS.format('kartnb.TaskInstanceParameter()', "self.load('a')"),
        runs=('A', 'B', 'T'),
        root='T(a=held)',
    ),
    _upstream(
        'a held task: a variable that `requires` names', 'held = A()\n' + _REQUIRES.format('held', 'self.load()')
    ),
    _upstream('a held task: a whole pipeline', _REQUIRES.format('A()', 'self.load()') + '\nheld = T()', root='held'),
    _upstream('a task that `run` asks for by `yield`', _ASKS.format('A()', 'a.load()')),
    _upstream('a list of tasks that `run` asks for', _ASKS.format('[A()]', 'a[0].load()')),
    _upstream(
        'a task that `run` asks for, in threads',
        _ASKS.format('A()', 'a.load()'),
        options={'executor': 'threads'},
    ),
    _upstream('a task that `run` asks for, in workers', _ASKS.format('A()', 'a.load()'), options={'workers': 2}),
    _upstream(
        'a held task that `run` asks for, in workers',
        'held = A()\n' + _HOLDS.format('kartnb.TaskInstanceParameter()', '(yield self.a).load()'),
        root='T(a=held)',
        options={'workers': 2},
        places=('kernel',),
    ),
    noticed(
        'which task `requires` names',
        'U = A',
        'U = B',
        setup=f'{_A.format(1)}\n{_A.format(2).replace("A(", "B(")}',
        task=_REQUIRES.format('U()', 'self.load()'),
        runs=('B', 'T'),
        because='',
    ),
    noticed(
        'a required task is recomputed with other contents',
        'K = 1',
        'K = 2',
        task=_A.format('K') + '\n' + _REQUIRES.format('A()', 'self.load()'),
        runs=('A', 'T'),
        because=_UPSTREAM,
    ),
    cached(
        'a required task is recomputed with the same contents',
        _A.format('0 + 1'),
        _A.format('1 + 0'),
        task=_REQUIRES.format('A()', 'self.load()'),
        runs=('A',),
    ),
    cached(
        'a table that is recomputed with the same contents',
        *(
            f'import pandas as pd\nclass A(kartnb.TaskOnKart):\n'
            f"    def run(self): self.dump(pd.DataFrame({{'a': {text}}}))"
            for text in ('[1]', '[2 - 1]')
        ),
        task=_REQUIRES.format('A()', "int(self.load()['a'][0])"),
        runs=('A',),
    ),
    cached(
        'the same contents, two steps above',
        _A.format('0 + 1'),
        _A.format('1 + 0'),
        task='class B(kartnb.TaskOnKart):\n    def requires(self): return A()\n'
        '    def run(self): self.dump(self.load())\n' + _REQUIRES.format('B()', 'self.load()'),
        runs=('A',),
    ),
    noticed(
        'one step gives the same contents, another does not',
        _A.format('(0, 1)'),
        _A.format('(0, 2)'),
        task='class B(kartnb.TaskOnKart):\n    def requires(self): return A()\n'
        '    def run(self): self.dump(self.load()[0])\n'
        + _REQUIRES.format('[A(), B()]', 'self.load()[0][1] + self.load()[1]'),
        runs=('A', 'B', 'T'),
        because=_UPSTREAM,
    ),
    cached(
        'the same contents of a task that `run` asks for',
        _A.format('0 + 1'),
        _A.format('1 + 0'),
        task=_ASKS.format('A()', 'a.load()'),
        runs=('A',),
    ),
    _identity(
        'the default of a parameter',
        *(
            f'class T(kartnb.TaskOnKart):\n    n = luigi.IntParameter({n})\n    def run(self): self.dump(self.n)'
            for n in (1, 2)
        ),
    ),
    _identity(
        'a parameter more',
        *(
            f'class T(kartnb.TaskOnKart):\n{line}    def run(self): self.dump(1)'
            for line in ('', '    n = luigi.IntParameter(1)\n')
        ),
        values=(1, 1),
    ),
    cached(
        'a parameter more that is not significant',
        *(
            f'class T(kartnb.TaskOnKart):\n{line}    def run(self): self.dump(1)'
            for line in ('', '    n = luigi.IntParameter(1, significant=False)\n')
        ),
        task='pass',
    ),
    _identity(
        'the file of the result',
        *(
            f"class T(kartnb.TaskOnKart):\n    def output(self): return self.make_target('{name}.pkl')\n"
            f'    def run(self): self.dump(1)'
            for name in 'ab'
        ),
        returns=False,
        values=(1, 1),
    ),
    _identity(
        'the class is renamed',
        *(
            f'class {name}(kartnb.TaskOnKart):\n    def run(self): self.dump({n})'
            for name, n in (('One', 1), ('Two', 2))
        ),
        root='(globals().get("Two") or One)()',
        runs=('Two',),
        places=('restart',),
    ),
    unseen(
        'the policy of the class is `ignore`, as in gokart',
        *(
            f"class T(kartnb.TaskOnKart):\n    on_code_change = 'ignore'\n    def run(self): self.dump({n})"
            for n in (1, 2)
        ),
        task='pass',
    ),
    cached(
        'a required task that is not needed any more has gone',
        *(f'K = {n}' for n in (1, 1)),
        task=_A.format(1) + '\n' + _REQUIRES.format('A()', 'self.load()'),
    ),
]
