"""Tasks that are held while their class is defined again, by whatever can hold them: they are those of today."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import kartnb
from kartnb.errors import OlderDefinitionError
from kartnb.planning.recorded_staleness import stale_results
from kartnb.task import held
from tests.planning.notebook import Notebook, forget_classes

A = """
class A(kartnb.TaskOnKart):
    n = luigi.IntParameter(default=1)
    def run(self):
        ran.append('A')
        self.dump({value} * self.n)
"""
RUN = """
    def run(self):
        ran.append('B')
        self.dump(('B', {loaded}))
"""
HELD = 'held = A()'
#: For each holder: the cell that makes it, and the expression of the root task.
HOLDERS = {
    'default': (
        'class B(kartnb.TaskOnKart):\n    a = kartnb.TaskInstanceParameter(default=A())' + RUN,
        'self.load("a")',
        'B()',
    ),
    'default, loaded by the attribute': (
        'class B(kartnb.TaskOnKart):\n    a = kartnb.TaskInstanceParameter(default=A())' + RUN,
        'self.a.output().load()',
        'B()',
    ),
    'list default': (
        'class B(kartnb.TaskOnKart):\n    a = kartnb.ListTaskInstanceParameter(default=[A()])' + RUN,
        'self.load()["a"][0]',
        'B()',
    ),
    'variable': (
        f'{HELD}\nclass B(kartnb.TaskOnKart):\n    a = kartnb.TaskInstanceParameter()' + RUN,
        'self.load("a")',
        'B(a=held)',
    ),
    'a task that lives': (
        f'{HELD}\nclass B(kartnb.TaskOnKart):\n    a = kartnb.TaskInstanceParameter()' + RUN + '\nb = B(a=held)',
        'self.load("a")',
        'b',
    ),
    'list': (
        f'{HELD}\nclass B(kartnb.TaskOnKart):\n    a = kartnb.ListTaskInstanceParameter()' + RUN + '\nb = B(a=[held])',
        'self.load(self.a[0])',
        'b',
    ),
    'nested': (
        f"""{HELD}
class M(kartnb.TaskOnKart):
    a = kartnb.TaskInstanceParameter()
    def run(self):
        self.dump(self.load('a'))
class B(kartnb.TaskOnKart):
    m = kartnb.TaskInstanceParameter()"""
        + RUN
        + '\nb = B(m=M(a=held))',
        'self.load("m")',
        'b',
    ),
    'global': (
        f'{HELD}\nclass B(kartnb.TaskOnKart):\n    def requires(self):\n        return held' + RUN,
        'self.load()',
        'B()',
    ),
    'global in a dict': (
        f'{HELD}\nclass B(kartnb.TaskOnKart):\n    def requires(self):\n        return dict(a=[held])' + RUN,
        'self.input()["a"][0].load()',
        'B()',
    ),
    'attribute': (
        f"""{HELD}
class B(kartnb.TaskOnKart):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.a = held"""
        + RUN
        + '\nb = B()',
        'self.a.output().load()',
        'b',
    ),
    'yield': (
        f"""{HELD}
class B(kartnb.TaskOnKart):
    def run(self):
        ran.append('B')
        target = yield held
        self.dump(('B', {{loaded}}))""",
        'target.load()',
        'B()',
    ),
}


@pytest.fixture
def notebook() -> Iterator[Notebook]:
    notebook = Notebook()
    yield notebook
    forget_classes()


def _root(notebook: Notebook, code: str) -> Any:
    return eval(code, notebook.names)


@pytest.mark.parametrize('name, workers', [(name, n) for name in HOLDERS for n in (1, 2)])
def test_a_held_task_is_that_of_today(notebook: Notebook, name: str, workers: int) -> None:
    if workers == 2:
        notebook.names['ran'] = []  # a copy of it travels
    cell, loaded, root = HOLDERS[name]
    notebook.run(A.format(value=10))
    notebook.run(cell.replace('{loaded}', loaded))
    assert kartnb.build(_root(notebook, root), workers=workers) == ('B', 10)
    first = kartnb.plan(_root(notebook, root)).root.unique_id
    notebook.run(A.format(value=20))
    assert set(stale_results().counts()) >= {'A', 'B'} - ({'B'} if name == 'yield' else set())
    planned = kartnb.plan(_root(notebook, root))
    assert planned.root.unique_id == first == _root(notebook, root).make_unique_id()
    assert all(type(node.task) is notebook['A'] for node in planned if node.name == 'A')
    assert 'stale' in str(planned.root.state)
    assert kartnb.why(_root(notebook, root))
    assert kartnb.build(_root(notebook, root), workers=workers) == ('B', 20)
    notebook.taken()
    for task in (notebook['A'](), _root(notebook, root), notebook['A'](), _root(notebook, root)):
        kartnb.build(task)
    assert notebook.taken() == []


@pytest.mark.parametrize('name', HOLDERS)
def test_the_task_alone_first(notebook: Notebook, name: str) -> None:
    """What is built by today's class is found by the holder, and not overwritten by old code."""
    cell, loaded, root = HOLDERS[name]
    notebook.run(A.format(value=10))
    notebook.run(cell.replace('{loaded}', loaded))
    assert kartnb.build(_root(notebook, root)) == ('B', 10)
    notebook.run(A.format(value=20))
    notebook.taken()
    assert kartnb.build(notebook['A']()) == 20
    assert notebook.taken() == ['A']
    assert kartnb.build(_root(notebook, root)) == ('B', 20)
    assert set(notebook.taken()) == {'B'}
    assert kartnb.build(notebook['A']()) == 20
    assert notebook.taken() == []


@pytest.mark.parametrize('name', HOLDERS)
def test_a_new_parameter_with_a_default(notebook: Notebook, name: str) -> None:
    cell, loaded, root = HOLDERS[name]
    notebook.run(A.format(value=10))
    notebook.run(cell.replace('{loaded}', loaded))
    assert kartnb.build(_root(notebook, root)) == ('B', 10)
    notebook.run(A.format(value=20).replace('    def', '    m = luigi.IntParameter(default=3)\n    def', 1))
    planned = kartnb.plan(_root(notebook, root))
    if name != 'yield':
        assert planned.nodes[0].unique_id == notebook['A']().make_unique_id()
    assert kartnb.build(_root(notebook, root)) == ('B', 20)


GONE = (
    'class A(kartnb.TaskOnKart):\n    k = luigi.IntParameter(default=1)\n    def run(self):\n        self.dump(self.k)'
)
DEMANDING = A.replace('    def', '    m = luigi.IntParameter()\n    def', 1).format(value=20)
TEXT = A.replace('luigi.IntParameter(default=1)', 'luigi.Parameter(default="1")').format(value=20)


@pytest.mark.parametrize('name', HOLDERS)
@pytest.mark.parametrize(
    'again, why',
    [
        (GONE, "today's A has no parameter 'n'"),
        (DEMANDING, "today's A needs a value for its new parameter 'm'"),
        (TEXT, "today's A has a parameter 'n' of another type"),
    ],
)
def test_where_it_cannot_be_a_sentence_says_what_to_run(notebook: Notebook, name: str, again: str, why: str) -> None:
    cell, loaded, root = HOLDERS[name]
    notebook.run(A.format(value=10))
    notebook.run(cell.replace('{loaded}', loaded))
    assert kartnb.build(_root(notebook, root)) == ('B', 10)
    notebook.run(again)
    advice = 'run the cell of B again|run the cell that makes .*held again'
    notebook.taken()
    if name != 'yield':
        with pytest.raises(OlderDefinitionError, match=why) as caught:
            kartnb.plan(_root(notebook, root))
        assert caught.match(advice)
        with pytest.raises(OlderDefinitionError, match=why):
            kartnb.build(_root(notebook, root))
    else:
        with pytest.raises(kartnb.KartError, match=why):
            kartnb.build(_root(notebook, root), rerun=True)
    assert 'A' not in notebook.taken()
    assert repr(_root(notebook, root))


def test_plain_luigi_tasks(notebook: Notebook) -> None:
    cell = (
        'class P(luigi.Task):\n    n = luigi.IntParameter(default={n})\n    def complete(self):\n        return {n} > 0'
    )
    notebook.run(cell.format(n=1))
    notebook.run('held = P()\nclass B(luigi.WrapperTask):\n    def requires(self):\n        return held')
    notebook.run(cell.format(n=2))
    [held_task, _] = kartnb.plan(notebook['B']())
    assert held_task.task is notebook['P'](n=1)
    assert kartnb.plan(notebook['held']).root.task is notebook['P'](n=1)


def test_equal_numbers_of_another_type_are_taken(notebook: Notebook) -> None:
    notebook.run(A.format(value=10))
    notebook.run(HELD)
    notebook.run(A.replace('IntParameter', 'FloatParameter').format(value=20))
    assert kartnb.build(notebook['held']) == 20


def test_a_chain_of_held_tasks_is_taken_without_recursion(notebook: Notebook) -> None:
    notebook.run(A.format(value=10))
    notebook.run('class S(kartnb.TaskOnKart):\n    a = kartnb.TaskInstanceParameter(significant=False)\n    run = None')
    task = notebook['A']()
    for _ in range(3000):
        task = notebook['S'](a=task)
    notebook.run(A.format(value=20))
    found = held.today(task)
    for _ in range(3000):
        found = found.a
    assert found is notebook['A']()


def test_classes_of_one_factory_stay_what_they_are(notebook: Notebook) -> None:
    notebook.run(
        """
def make(k):
    class Made(kartnb.TaskOnKart):
        def run(self):
            self.dump(k)
        def output(self):
            return self.make_target(f'made_{k}.pkl')
    return Made
one, other = make(1), make(2)
loop = []
for i in range(2):
    class Turn(kartnb.TaskOnKart):
        k = i
        def output(self):
            return self.make_target(f'turn_{self.k}.pkl')
        def run(self):
            self.dump(self.k)
    loop.append(Turn())
"""
    )
    assert [kartnb.build(notebook[name]()) for name in ('one', 'other', 'one')] == [1, 2, 1]
    assert [kartnb.build(task) for task in notebook['loop']] == [0, 1]


def test_a_factory_that_is_defined_again(notebook: Notebook) -> None:
    cell = """
def make():
    class Made(kartnb.TaskOnKart):
        def run(self):
            self.dump({value})
    return Made
Made = make()
"""
    notebook.run(cell.format(value=1))
    notebook.run('held = Made()')
    assert kartnb.build(notebook['held']) == 1
    notebook.run(cell.format(value=2))
    assert kartnb.build(notebook['held']) == 2


def test_a_class_that_derives_from_an_older_one(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    notebook.run(A.format(value=10))
    notebook.run('class B(A):\n    pass')
    assert kartnb.build(notebook['B']()) == 10
    notebook.run(A.format(value=20))
    note = 'B is defined on an older A: run the cell of B again'
    assert held.warnings([]) == [f'{note}.']
    planned = kartnb.plan(notebook['B']())
    assert (str(planned.root.state), planned.root.note) == ('cached', note)
    assert note in str(planned)
    assert kartnb.build(notebook['B']()) == 10
    assert f'{note}.' in capsys.readouterr().err
    notebook.run('class B(A):\n    pass')
    assert held.warnings([]) == []
    assert kartnb.build(notebook['B']()) == 20


def test_a_card_names_what_has_to_be_run(notebook: Notebook) -> None:
    notebook.run(A.format(value=10))
    notebook.run('class B(kartnb.TaskOnKart):\n    a = kartnb.TaskInstanceParameter(default=A())\nheld = [A(n=2)]')
    notebook.run(GONE)
    gone = "is a task of an older definition of A, and today's A has no parameter 'n'"
    assert held.warnings(notebook.names.values()) == [
        f'The default of B.a {gone}: run the cell of B again.',
        f'held {gone}: run the cell that makes held again.',
    ]


def test_a_sweep_of_a_held_task(notebook: Notebook) -> None:
    notebook.run(A.format(value=10))
    notebook.run(HELD)
    notebook.run(
        'class B(kartnb.TaskOnKart):\n    a = kartnb.TaskInstanceParameter(default=held)\n    k = luigi.IntParameter()'
        '\n    def run(self):\n        self.dump(self.load("a") + self.k)\nb = B(k=1)'
    )
    assert sorted(p.load() for p in kartnb.sweep(notebook['held'], n=[1, 2]).points) == [10, 20]
    assert sorted(p.load() for p in kartnb.sweep(notebook['b'], k=[1, 2]).points) == [11, 12]
    notebook.run(A.format(value=20))
    assert sorted(p.load() for p in kartnb.sweep(notebook['held'], n=[1, 2]).points) == [20, 40]
    assert sorted(p.load() for p in kartnb.sweep(notebook['b'], {'a.n': [1, 2]}).points) == [21, 41]
    notebook.run(GONE)
    with pytest.raises(kartnb.KartError, match="today's A has no parameter 'n'"):
        kartnb.sweep(notebook['held'], n=[1, 2])


@pytest.mark.parametrize('workers', [1, 2])
def test_a_variable_that_holds_the_older_class(notebook: Notebook, workers: int) -> None:
    notebook.names['ran'] = []
    cell = A.format(value='{value}') + "    def output(self):\n        return self.make_target('{file}')\n"
    notebook.run(cell.format(value=10, file='a.pkl'))
    notebook.run(
        'older = A\nclass B(kartnb.TaskOnKart):\n    def requires(self):\n        return older()'
        + RUN.replace('{loaded}', 'self.load()')
    )
    assert kartnb.build(notebook['B'](), workers=workers) == ('B', 10)
    notebook.run(cell.format(value=20, file='b.pkl'))
    assert kartnb.build(notebook['B'](), workers=workers) == ('B', 20)
