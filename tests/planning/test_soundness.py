"""Whatever is changed, in whatever order: never a wrong value, and nothing is run that need not be.

An oracle without a cache says what each build must give, what it must run, and what it may run at most. A seed makes up
the work of a person: cells and modules are edited, put back and run again, in two notebooks on one workspace and after
restarts; files change, time passes, results are deleted, runs fail and are interrupted.

``KARTNB_SOUNDNESS=500`` tries that many stories instead of a few.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import kartnb
from kartnb.model import TaskState, TaskStateChanged
from tests.planning.notebook import Notebook, forget_classes, forget_modules, write_module
from tests.planning.oracle import Oracle, Rule

STORIES = int(os.environ.get('KARTNB_SOUNDNESS', '0'))
STEPS = 60
MODULE = 'kart_soundness_helpers'
START = """
import os
from datetime import timedelta
def boom(name):
    fault = os.environ.get('FAULT', '')
    if fault == name + ' fails':
        raise ValueError(name)
    if fault == name + ' is interrupted':
        raise KeyboardInterrupt
"""
CELLS = {
    'pick': 'from statistics import {pick} as pick',
    'scale': 'SCALE = {scale}',
    'helper': 'def helper(x):\n    {comment}\n    return x * SCALE + {helper}',
    'A': """
class A(kartnb.TaskOnKart):
    n = luigi.IntParameter(default=1)

    def run(self):
        {comment}
        boom(f'A{{self.n}}')
        x = helper(self.n)
        self.dump(pick([x, x + 1]) + {A})
""",
    'B': """
class B(kartnb.TaskOnKart):
    def requires(self):
        return A(n=1)

    def run(self):
        boom('B')
        self.dump(self.load() + self.plus() + helpers.shift(1))

    def plus(self):
        {comment}
        return {B}
""",
    'C': """
class C(kartnb.TaskOnKart):
    PLUS = {C}

    def requires(self):
        return [A(n=2), B()]

    def run(self):
        boom('C')
        self.dump(sum(self.load()) + self.PLUS)
""",
    'D': """
class D(kartnb.TaskOnKart):
    n = luigi.IntParameter(default=0)

    def requires(self):
        return {{'b': B(), 'c': C()}}

    def run(self):
        boom(f'D{{self.n}}')
        self.dump(self.load('b') + self.load('c') + self.n * (lambda x: x + {D})(1))
""",
    'E': """
class E(kartnb.TaskOnKart):
    def requires(self):
        return A(n=2)

    def run(self):
        more = yield B()
        boom('E')
        self.dump(self.load() + more.load() + {E})
""",
    'F': """
class F(kartnb.TaskOnKart):
    def run(self):
        boom('F')
        self.dump(int(open('data.txt').read()) + {F})
""",
    'P': """
class P(kartnb.TaskOnKart):
    def requires(self):
        return F()

    def run(self):
        boom('P')
        self.dump(self.load() // 2 + {P})
""",
    'Q': """
class Q(kartnb.TaskOnKart):
    def requires(self):
        return [P(), A(n=1)]

    def run(self):
        boom('Q')
        self.dump(sum(self.load()) + {Q})
""",
    'H': """
class H(kartnb.TaskOnKart):
    a = kartnb.TaskInstanceParameter(default=A(n=1))

    def run(self):
        boom('H')
        self.dump(self.load('a') + {H})
""",
    'held': 'held = A(n=2)',
    'K': """
class K(kartnb.TaskOnKart):
    a = kartnb.TaskInstanceParameter()

    def run(self):
        boom('K')
        self.dump(self.load('a') + {K})
""",
    'X': """
class X(kartnb.TaskOnKart):
    expires = timedelta(hours=10)

    def requires(self):
        return F()

    def run(self):
        boom('X')
        self.dump(self.load() + {X})
""",
    'Y': """
class Y(kartnb.TaskOnKart):
    def requires(self):
        return [X(), Q()]

    def run(self):
        boom('Y')
        self.dump(sum(self.load()) + {Y})
""",
}
HELPERS = '# {comment}\ndef shift(x):\n    return x + {shift}\n'
_A_CODE = ('A', 'scale', 'helper', 'pick')


def _a(n: int) -> Rule:
    return Rule(lambda w, _: n * w['scale'] + w['helper'] + (w['pick'] == 'median_high') + w['A'], code=_A_CODE)


def _sum(name: str, *requires: str, **more: Any) -> Rule:
    return Rule(lambda w, inputs: sum(inputs) + w[name], requires, code=(name,), **more)


RULES = {
    'A1': _a(1),
    'A2': _a(2),
    'B': Rule(lambda w, inputs: inputs[0] + w['B'] + 1 + w['shift'], ('A1',), code=('B', 'shift')),
    'C': _sum('C', 'A2', 'B'),
    'D0': Rule(lambda w, inputs: sum(inputs), ('B', 'C'), code=('D',)),
    'D5': Rule(lambda w, inputs: sum(inputs) + 5 * (1 + w['D']), ('B', 'C'), code=('D',)),
    'E': Rule(lambda w, inputs: sum(inputs) + w['E'], ('A2',), ('B',), code=('E',)),
    'F': Rule(lambda w, _: w['data.txt'] + w['F'], code=('F',), files=('data.txt',)),
    'P': Rule(lambda w, inputs: inputs[0] // 2 + w['P'], ('F',), code=('P',)),
    'Q': _sum('Q', 'P', 'A1'),
    'H': _sum('H', 'A1'),
    'K': _sum('K', 'A2'),
    'X': _sum('X', 'F', expires=10),
    'Y': _sum('Y', 'X', 'Q'),
}
NUMBERS = ('scale', 'helper', 'shift', 'data.txt', *(name for name in CELLS if len(name) == 1))
_real_time = time.time


class Person:
    """A person at work in one of two notebooks; what is chosen at random comes from one source."""

    def __init__(self, directory: Path, chosen: random.Random) -> None:
        self.directory = directory
        self.chosen = chosen
        world = {**dict.fromkeys(NUMBERS, 1), 'pick': 'median_low'}
        self.oracle = Oracle(RULES, world)
        self.other = {**world, 'C': 2, 'A': 3}
        self.comments = 0
        #: Whether builds may be in worker processes, whose clock is the real one.
        self.has_workers = False
        #: What was done, for who reads a failure.
        self.log: list[str] = []
        self._before: tuple[str, Any] | None = None
        self._write_data()
        self._new_process()

    def do_something(self) -> None:
        """Change something, or several things, and build a task."""
        changes: dict[Callable[[], None], int] = {
            self.edit: 8,
            self.undo: 4,
            self.edit_what_does_not_count: 1,
            self.restart: 1,
            self.turn_to_the_other_notebook: 2,
            self.delete: 1,
            self.let_time_pass: 0 if self.has_workers else 1,
        }
        for _ in range(self.chosen.choice([1, 1, 1, 2, 3])):
            self._one_of(changes)()
        self._one_of({self.build: 8, self.rerun: 1, self.build_with_a_fault: 2})()

    def _one_of(self, ways: dict[Callable[[], None], int]) -> Callable[[], None]:
        return self.chosen.choices(list(ways), list(ways.values()))[0]

    # ----- changes --------------------------------------------------------------------------------------------------

    def edit(self) -> None:
        """Edit a method, a helper, a constant, an import, a module or a file, and run the cell or load it again."""
        name = self.chosen.choice([*NUMBERS, 'pick', 'data.txt', 'data.txt'])
        self._before = name, self.oracle.world[name]
        names = ['median_low', 'median_high']
        self._edit(name, self.chosen.choice(names) if name == 'pick' else self.chosen.randint(1, 3))

    def undo(self) -> None:
        """Take the last edit back."""
        if self._before is not None:
            self._edit(*self._before)

    def edit_what_does_not_count(self) -> None:
        """Edit a comment, or touch the file."""
        self.comments += 1
        name = self.chosen.choice([*CELLS, 'shift', 'data.txt'])
        self._edit(name, self.oracle.world.get(name))

    def _edit(self, name: str, value: Any) -> None:
        self.log.append(f'{name} = {value}')
        if name in self.oracle.world:
            self.oracle.world[name] = value
        if name == 'data.txt':
            self._write_data()
        elif name == 'shift':
            self._load_helpers()
        else:
            self._run_cell(name)

    def delete(self) -> None:
        """Delete the file of a result."""
        if self.oracle.placed:
            name = self.chosen.choice(sorted(self.oracle.placed))
            self.log.append(f'delete {name}')
            Path(self._task(name).output().path()).unlink(missing_ok=True)
            self.oracle.delete(name)

    def let_time_pass(self) -> None:
        """Let some hours pass."""
        self.oracle.hour += self.chosen.choice([1, 11])
        self.log.append(f'it is hour {self.oracle.hour}')
        passed = self.oracle.hour * 3600
        time.time = lambda: _real_time() + passed

    def restart(self) -> None:
        """Restart the kernel, and run all cells."""
        self.log.append('restart')
        self._new_process()

    def turn_to_the_other_notebook(self) -> None:
        """Turn to a notebook with other code on the same workspace; the file is one for both."""
        self.log.append('the other notebook')
        before = self.oracle.world
        self.oracle.world, self.other = {**self.other, 'data.txt': before['data.txt']}, before
        self._before = None
        self._new_process()

    def _new_process(self) -> None:
        forget_classes()
        forget_modules([MODULE])
        self.notebook = Notebook()
        self.notebook.run(START)
        self._load_helpers()
        for name in CELLS:
            self._run_cell(name)

    def _run_cell(self, name: str) -> None:
        self.notebook.run(CELLS[name].format(**self.oracle.world, comment=f'# {self.comments}'))

    def _load_helpers(self) -> None:
        source = HELPERS.format(**self.oracle.world, comment=self.comments)
        self.notebook.names['helpers'] = write_module(MODULE, source, self.directory)

    def _write_data(self) -> None:
        (self.directory / 'data.txt').write_text(str(self.oracle.world['data.txt']))

    # ----- builds ---------------------------------------------------------------------------------------------------

    def build(self, name: str = '', again: str = '') -> None:
        """Build a task, and see that the value is right and that no task has run in vain."""
        name = name or self.chosen.choice(list(RULES))
        executors: list[dict[str, Any]] = [{}, {}, {'executor': 'threads'}]
        options = self.chosen.choice([*executors, {'workers': 2}] if self.has_workers else executors)
        self.log.append(f'build {name}, {again and f"rerun {again}, "}{options}')
        must, may = self.oracle.must_run(name, again), self.oracle.may_run(name, again)
        states: dict[str, TaskState] = {}
        value = self._run(name, states, again, **options)
        assert value == self.oracle.pure(name), 'a wrong value'
        ran = {task for task, state in states.items() if state is TaskState.DONE}
        assert must <= ran, f'{sorted(must - ran)} must run'
        assert ran <= may, f'{sorted(ran - may)} need not run'
        self._settle(ran)
        planned = kartnb.plan(self._task(name))
        assert planned.to_run() == (), f'a second build would run {planned}'

    def rerun(self) -> None:
        """Build a task, and let one run again of those that a plan knows."""
        name = self.chosen.choice(list(RULES))
        asked = {other for task in self.oracle.upstream(name) for other in RULES[task].asks}
        known = [task for task in self.oracle.upstream(name) if not asked & self.oracle.downstream(task)]
        self.build(name, self.chosen.choice(known or [name]))

    def build_with_a_fault(self) -> None:
        """Build while one of the tasks cannot run; what has run before it counts, and nothing else has changed."""
        name = self.chosen.choice(list(RULES))
        broken = self.chosen.choice(self.oracle.upstream(name))
        fault = self.chosen.choice(['fails', 'is interrupted'])
        self.log.append(f'build {name}, {broken} {fault}')
        must, may = self.oracle.must_run(name), self.oracle.may_run(name)
        states: dict[str, TaskState] = {}
        os.environ['FAULT'] = f'{broken} {fault}'
        try:
            self._run(name, states)
        except (kartnb.KartError, KeyboardInterrupt):
            assert broken in may
            assert states[broken] in (TaskState.FAILED, TaskState.INTERRUPTED)
        else:
            assert broken not in must
        finally:
            del os.environ['FAULT']
        done = {task for task, state in states.items() if state is TaskState.DONE}
        assert done <= may
        self._settle(done)

    def _run(self, name: str, states: dict[str, TaskState], again: str = '', **options: Any) -> Any:
        """Build a task, and note the states of the tasks that are begun."""
        names = {f'{task[0]}_{self._task(task).make_unique_id()}': task for task in self.oracle.upstream(name)}

        def listen(event: object) -> None:
            if isinstance(event, TaskStateChanged) and (names[event.key] in states or event.state is TaskState.RUNNING):
                states[names[event.key]] = event.state

        rerun = [self._task(again)] if again else False
        return kartnb.build(self._task(name), rerun=rerun, listeners=[listen], log_level=100, **options)

    def _task(self, name: str) -> Any:
        cls = self.notebook[name[0]]
        if name == 'K':
            return cls(a=self.notebook['held'])
        return cls(n=int(name[1:])) if name[1:] else cls()

    def _settle(self, ran: set[str]) -> None:
        for task in ran:
            self.oracle.has_run(task)
        placed = {}
        for task in self.oracle.results:
            record = kartnb.Workspace().run(self._task(task)).record
            if record is not None:
                placed[task] = record.result_id
        self.oracle.settle(placed)


@pytest.fixture
def _as_before() -> Iterator[None]:
    yield
    time.time = _real_time
    os.environ.pop('FAULT', None)
    forget_classes()
    forget_modules([MODULE])


@pytest.mark.usefixtures('_as_before')
@pytest.mark.parametrize('seed', range(STORIES or 6))
def test_a_story(seed: int, tmp_path: Path) -> None:
    person = Person(tmp_path, random.Random(seed))
    person.has_workers = seed % 5 == 4
    try:
        for _ in range(STEPS):
            person.do_something()
    except Exception as error:
        error.add_note('\n'.join(person.log))
        raise
    assert person.log
