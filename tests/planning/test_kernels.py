"""Two real kernels on one workspace: modules edited under `%autoreload 2`, cells run again, real restarts."""

from __future__ import annotations

import ast
import contextlib
import itertools
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.notebook.kernel import Kernel, running_kernel
from tests.planning.oracle import Oracle, Rule

BEGIN = """
%load_ext kartnb
%load_ext autoreload
%autoreload 2
import os, sys; sys.path.insert(0, '')
import kartnb, luigi
import story_helpers
from story_helpers import shift
ran = []
"""
CELLS = {
    'scale': 'SCALE = {scale}',
    'helper': 'def helper(x):\n    return x * SCALE + {helper}',
    'A': """
class A(kartnb.TaskOnKart):
    n = luigi.IntParameter(default=1)
    def run(self):
        ran.append(f'A{{self.n}}')
        self.dump(helper(self.n) + {A})
""",
    'B': """
class B(kartnb.TaskOnKart):
    def requires(self):
        return A(n=1)
    def run(self):
        ran.append('B')
        self.dump(self.load() + {B} + shift(1))
""",
    'C': """
class C(kartnb.TaskOnKart):
    def requires(self):
        return [A(n=2), B()]
    def run(self):
        ran.append('C')
        self.dump(sum(self.load()) + {C})
""",
}
HELPERS = 'def shift(x):\n    return x + {shift}\n'
RULES = {
    'A1': Rule(lambda w, _: w['scale'] + w['helper'] + w['A'], code=('A', 'scale', 'helper')),
    'A2': Rule(lambda w, _: 2 * w['scale'] + w['helper'] + w['A'], code=('A', 'scale', 'helper')),
    'B': Rule(lambda w, inputs: inputs[0] + w['B'] + 1 + w['shift'], ('A1',), code=('B', 'shift')),
    'C': Rule(lambda w, inputs: sum(inputs) + w['C'], ('A2', 'B'), code=('C',)),
}
CALLS = {'A1': 'A(n=1)', 'A2': 'A(n=2)', 'B': 'B()', 'C': 'C()'}
_seconds = itertools.count(1)


class Story:
    """An oracle, and two notebooks that show the same cells."""

    def __init__(self, kernels: list[Kernel], place: Path) -> None:
        self.kernels = kernels
        self.place = place
        self.oracle = Oracle(RULES, dict.fromkeys(('scale', 'helper', 'A', 'B', 'C', 'shift'), 1))
        self.write_helpers()
        for kernel in kernels:
            self.begin(kernel)

    def begin(self, kernel: Kernel) -> None:
        kernel.ok(BEGIN)
        self.run_cells(kernel)

    def run_cells(self, kernel: Kernel) -> None:
        for cell in CELLS.values():
            kernel.ok(cell.format(**self.oracle.world))

    def write_helpers(self) -> None:
        path = self.place / 'story_helpers.py'
        path.write_text(HELPERS.format(**self.oracle.world))
        later = path.stat().st_mtime + next(_seconds)  # autoreload compares times in seconds
        os.utime(path, (later, later))

    def edit(self, name: str, value: int) -> None:
        self.oracle.world[name] = value
        if name == 'shift':
            self.write_helpers()
            return
        for kernel in self.kernels:
            kernel.ok(CELLS[name].format(**self.oracle.world))

    def build(self, kernel: Kernel, task: str, rerun: bool = False) -> None:
        again = task if rerun else ''
        must, may = self.oracle.must_run(task, again), self.oracle.may_run(task, again)
        kernel.ok('ran.clear()')
        shown = kernel.ok(f'value = kartnb.build({CALLS[task]}, rerun={rerun}, log_level=100); (value, ran)').value
        assert shown is not None
        value, ran = ast.literal_eval(shown)
        assert value == self.oracle.pure(task)
        assert must <= set(ran) <= may
        assert len(set(ran)) == len(ran), 'a task has run twice'
        for name in ran:
            self.oracle.has_run(name)
        records = ', '.join(f'{name!r}: kartnb.Workspace().run({CALLS[name]}).record' for name in self.oracle.results)
        placed = kernel.ok(f'{{name: record.result_id for name, record in {{{records}}}.items()}}').value
        self.oracle.settle(ast.literal_eval(placed or '{}'))


@pytest.fixture(scope='module')
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Kernel]]:
    place = tmp_path_factory.mktemp('kernels')
    (place / 'work').mkdir()
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(running_kernel(place, place / 'work')) for _ in range(2)]


def _restart(kernel: Kernel) -> None:
    kernel.manager.restart_kernel(now=True)
    kernel.client.wait_for_ready(timeout=60)


@pytest.mark.parametrize('seed', [1, 2, 3])
def test_a_story_of_two_kernels(seed: int, kernels: list[Kernel], tmp_path: Path) -> None:
    for kernel in kernels:
        kernel.ok(f'%reset -f\nimport os, sys; os.chdir({str(tmp_path)!r}); sys.modules.pop("story_helpers", None)')
    story, chosen = Story(kernels, tmp_path), random.Random(seed)
    story.build(kernels[0], 'C')
    for step in range(8):
        kernel = chosen.choice(kernels)
        what = chosen.choice(['edit', 'edit', 'edit', 'rerun', 'cells', 'delete'])
        if step == 2:
            story.edit('shift', 1 + story.oracle.world['shift'] % 3)
        elif what == 'edit':
            story.edit(chosen.choice(list(story.oracle.world)), chosen.randint(1, 3))
        elif what == 'rerun':
            story.build(kernel, chosen.choice(list(RULES)), rerun=True)
        elif what == 'cells':
            story.run_cells(kernel)
        else:
            name = chosen.choice(sorted(story.oracle.placed))
            kernel.ok(f'os.path.exists(p := {CALLS[name]}.output().path()) and os.unlink(p)')
            story.oracle.delete(name)
        if step == 4:
            _restart(kernel)
            kernel.ok(f'import os; os.chdir({str(tmp_path)!r})')
            story.begin(kernel)
        story.build(chosen.choice(kernels), chosen.choice(list(RULES)))
    story.build(kernels[1], 'C')
