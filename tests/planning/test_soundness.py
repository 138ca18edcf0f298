"""Whatever is changed, in whatever order: never a wrong value, and nothing is run that need not be.

A model without files says what a build must give and what it must run. It knows a result by the code and by the results
that it was made from, and works out naively what is stale.
"""

from __future__ import annotations

import os
import pickle
import tempfile
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

import kartnb
from tests.planning.notebook import Notebook, forget_classes, forget_modules, write_module

MODULE = 'kart_soundness_helpers'
CELLS = {
    'scale': 'SCALE = {scale}',
    'helper': 'def helper(x):\n    {comment}\n    return x * SCALE + {helper}',
    'A': """
class A(kartnb.TaskOnKart):
    n = luigi.IntParameter(default=1)

    def run(self):
        {comment}
        ran.append(f'A{{self.n}}')
        self.dump(helper(self.n) + {A})
""",
    'B': """
class B(kartnb.TaskOnKart):
    def requires(self):
        return A(n=1)

    def run(self):
        ran.append('B')
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
        ran.append('C')
        self.dump(sum(self.load()) + self.PLUS)
""",
    'D': """
class D(kartnb.TaskOnKart):
    n = luigi.IntParameter(default=0)

    def requires(self):
        return {{'b': B(), 'c': C()}}

    def run(self):
        ran.append(f'D{{self.n}}')
        self.dump(self.load('b') + self.load('c') + self.n * (lambda x: x + {D})(1))
""",
    'E': """
class E(kartnb.TaskOnKart):
    def requires(self):
        return A(n=2)

    def run(self):
        more = yield B()
        ran.append('E')
        self.dump(self.load() + more.load() + {E})
""",
}
HELPERS = '# {comment}\ndef shift(x):\n    return x + {shift}\n'
#: What each task requires, and the constants that its code reaches.
REQUIRES = {
    'A1': (),
    'A2': (),
    'B': ('A1',),
    'C': ('A2', 'B'),
    'D0': ('B', 'C'),
    'D5': ('B', 'C'),
    'E': ('A2', 'B'),
}
#: What a plan sees of these: E asks for the rest while it runs.
DECLARES = {**REQUIRES, 'E': ('A2',)}
REACHES = {'A': ('A', 'scale', 'helper'), 'B': ('B', 'shift'), 'C': ('C',), 'D': ('D',), 'E': ('E',)}
NAMES = ('scale', 'helper', 'A', 'B', 'C', 'D', 'E', 'shift')
Code = tuple[int, ...]


@dataclass(frozen=True)
class Result:
    """A result: which one, its value, and the code and the results that it was made from."""

    token: int
    value: int
    code: Code
    #: None where it is not known: of one that was there before what it requires was made anew.
    inputs: tuple[int, ...] | None
    #: What is known of what it needs.
    needs: tuple[str, ...]
    #: Code and inputs for which it is kept too.
    kept_for: tuple[Code, tuple[int, ...]] | None = None
    #: Whether another program has written it, and no build has used it yet.
    foreign: bool = False
    #: What it was written over.
    before: Result | None = None


@dataclass
class Model:
    """What is in the workspace, as far as it matters."""

    constants: dict[str, int]
    results: dict[str, Result] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    earlier: dict[str, list[Result]] = field(default_factory=dict)
    tokens: Any = field(default_factory=count)

    def code(self, task: str) -> Code:
        return tuple(self.constants[name] for name in REACHES[task[0]])

    def inputs(self, needs: tuple[str, ...]) -> tuple[int, ...]:
        return tuple(self.results[other].token if other in self.results else -1 for other in needs)

    def needs(self, task: str) -> tuple[str, ...]:
        return self.results[task].needs if task in self.results else REQUIRES[task]

    def pure(self, task: str) -> int:
        """What a task gives without any cache."""
        return self.value(task, {other: self.pure(other) for other in REQUIRES[task]})

    def value(self, task: str, inputs: dict[str, int]) -> int:
        c = self.constants
        if task[0] == 'A':
            return int(task[1]) * c['scale'] + c['helper'] + c['A']
        if task == 'B':
            return inputs['A1'] + c['B'] + 1 + c['shift']
        if task == 'D5':
            return inputs['B'] + inputs['C'] + 5 * (1 + c['D'])
        return sum(inputs.values()) + (0 if task == 'D0' else c[task])

    def upstream(self, root: str, needs: dict[str, tuple[str, ...]] = REQUIRES) -> list[str]:
        """A task and all that it needs, upstream first."""
        found: dict[str, None] = {}
        for other in needs[root]:
            found.update(dict.fromkeys(self.upstream(other, needs)))
        return [*found, root]

    def outdated(self, task: str) -> bool:
        result = self.results.get(task)
        if any(self.outdated(other) for other in self.needs(task)):
            return True
        if result is None or result.foreign:
            return False
        kept_code, kept_inputs = result.kept_for or (result.code, result.inputs)
        if self.code(task) not in (result.code, kept_code):
            return True
        return result.inputs is not None and self.inputs(result.needs) not in (result.inputs, kept_inputs)

    def to_run(self, root: str, rerun: str = '') -> set[str]:
        """What a build of a task must run."""
        tasks = self.upstream(root)
        runs: set[str] = set()
        for task in tasks:  # upstream first: what is asked to run again takes all with it that is made from it
            runs |= {task} if task == rerun or runs.intersection(DECLARES[task]) else set()
        if root in self.missing or root not in self.results or self.outdated(root):
            runs.add(root)
        while True:
            more = {other for task in runs for other in REQUIRES[task] if self._must_run(other)}
            more |= {task for task in tasks if runs.intersection(self.needs(task)) and self._knows_inputs(task)}
            more |= {root} if runs else set()
            if more <= runs:
                return runs
            runs |= more

    def _must_run(self, task: str) -> bool:
        return task in self.missing or task not in self.results or self.outdated(task)

    def _knows_inputs(self, task: str) -> bool:
        result = self.results.get(task)
        return result is not None and not result.foreign and result.inputs is not None

    def build(self, root: str, rerun: str = '') -> tuple[int, set[str]]:
        """Build a task; gives its value and what has run."""
        runs = self.to_run(root, rerun)
        self.adopt(self.upstream(root, REQUIRES if root in runs else DECLARES), runs)
        for task in self.upstream(root):
            if task in runs:
                self._run(task)
        return self.results[root].value, runs

    def overwrite(self, task: str, value: int) -> None:
        """Another program writes a result; what holds at its first use counts as what it was made by and from."""
        known = self.results[task]
        before = known.before if known.foreign else known
        self.results[task] = Result(next(self.tokens), value, (), (), DECLARES[task], foreign=True, before=before)

    def delete(self, task: str) -> None:
        """A result is gone; nobody knows any more of what was written unseen."""
        known = self.results[task]
        if known.foreign and known.before is not None:
            self.results[task] = known.before
        self.missing.add(task)

    def adopt(self, tasks: list[str], runs: set[str]) -> None:
        for task in tasks:
            result = self.results.get(task)
            if result is not None and result.foreign and task not in self.missing:
                inputs = None if runs.intersection(result.needs) else self.inputs(result.needs)
                self.results[task] = replace(result, code=self.code(task), inputs=inputs, foreign=False)

    def _run(self, task: str) -> None:
        value = self.value(task, {other: self.results[other].value for other in REQUIRES[task]})
        if task in self.results and task not in self.missing:
            self.earlier.setdefault(task, []).append(self.results[task])
        needs = REQUIRES[task]
        self.results[task] = Result(next(self.tokens), value, self.code(task), self.inputs(needs), needs)
        self.missing.discard(task)

    def restore(self, task: str) -> None:
        self.adopt(self.upstream(task, DECLARES), self.to_run(task))
        result = self.earlier[task].pop()
        if task not in self.missing:
            self.earlier[task].append(self.results[task])
        # what it asked for while it ran counts as it was then: of that, a restored result is not kept for another one
        now = self.inputs(result.needs)
        inputs = tuple(
            new if need in DECLARES[task] else old
            for need, new, old in zip(result.needs, now, result.inputs or now, strict=True)
        )
        self.results[task] = replace(result, kept_for=(self.code(task), inputs))
        self.missing.discard(task)


class Soundness(RuleBasedStateMachine):
    """A person at work in one or two notebooks."""

    @initialize()
    def start(self) -> None:
        self.directory = Path(tempfile.mkdtemp())
        os.chdir(self.directory)
        self.model = Model(dict.fromkeys(NAMES, 1))
        self.comments = 0
        self.other = dict.fromkeys(NAMES, 1)
        self.other['C'] = 2
        #: Whether there are values that the present code may not give.
        self.restored = False
        self._new_process()

    def teardown(self) -> None:
        forget_classes()
        forget_modules([MODULE])

    def _new_process(self) -> None:
        forget_classes()
        forget_modules([MODULE])
        self.notebook = Notebook()
        self._load_helpers()
        for name in CELLS:
            self._run_cell(name)

    def _run_cell(self, name: str) -> None:
        self.notebook.run(CELLS[name].format(**self.model.constants, comment=f'# {self.comments}'))

    def _load_helpers(self) -> None:
        source = HELPERS.format(**self.model.constants, comment=self.comments)
        self.notebook.names['helpers'] = write_module(MODULE, source, self.directory)

    def _task(self, name: str) -> Any:
        cls = self.notebook[name[0]]
        return cls(n=int(name[1:])) if name[1:] else cls()

    @rule(name=st.sampled_from(NAMES), value=st.integers(1, 3))
    def edit(self, name: str, value: int) -> None:
        """Edit a method, a helper, a constant or a module, and run the cell or load the module again."""
        self.model.constants[name] = value
        self._load_helpers() if name == 'shift' else self._run_cell(name)

    @rule(name=st.sampled_from([*CELLS, 'module']))
    def edit_a_comment(self, name: str) -> None:
        self.comments += 1
        self._load_helpers() if name == 'module' else self._run_cell(name)

    @rule(name=st.sampled_from(list(REQUIRES)))
    def build(self, name: str) -> None:
        self._build(name)

    @rule(name=st.sampled_from(list(REQUIRES)), data=st.data())
    def rerun(self, name: str, data: st.DataObject) -> None:
        known = [task for task in self.model.upstream(name) if not (name == 'E' and task in ('A1', 'B'))]
        again = data.draw(st.sampled_from(known))
        self._build(name, again)

    def _build(self, name: str, again: str = '') -> None:
        expected, runs = self.model.build(name, again)
        if again:
            runs_again = [self._task(again)]
            value = kartnb.build(self._task(name), rerun=runs_again, log_level=100)
        else:
            value = kartnb.build(self._task(name), log_level=100)
        ran = self.notebook.taken()
        assert value == expected
        assert sorted(ran) == sorted(runs), f'{name} after {again or "no rerun"}'
        if not self.restored:
            assert value == self.model.pure(name)
        planned = kartnb.plan(self._task(name))
        assert planned.to_run() == (), f'a second build would run {planned}'

    @precondition(lambda self: self.model.results)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.results)))
        path = Path(self._task(name).output().path())
        path.unlink(missing_ok=True)
        self.model.delete(name)

    @precondition(lambda self: set(self.model.results) - self.model.missing)
    @rule(data=st.data(), value=st.integers(1000, 2000))
    def write_with_another_program(self, data: st.DataObject, value: int) -> None:
        name = data.draw(st.sampled_from(sorted(set(self.model.results) - self.model.missing)))
        path = Path(self._task(name).output().path())
        content, before = pickle.dumps(value), path.stat().st_mtime_ns
        if content == path.read_bytes():
            return
        while path.stat().st_mtime_ns == before:
            path.write_bytes(content)
        self.model.overwrite(name, value)
        self.restored = True

    @precondition(lambda self: any(self.model.earlier.values()))
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(task for task, found in self.model.earlier.items() if found)))
        kartnb.restore_result(self._task(name))
        self.model.restore(name)
        self.restored = True

    @rule()
    def restart(self) -> None:
        self._new_process()

    @rule()
    def turn_to_the_other_notebook(self) -> None:
        self.model.constants, self.other = self.other, self.model.constants
        self._new_process()


Soundness.TestCase.settings = settings(
    max_examples=50,
    stateful_step_count=25,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestSoundness = Soundness.TestCase
