"""Held tasks, edited modules and scripts in a real kernel."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.notebook.kernel import ROOT, Kernel, running_kernel

A = """%%kart
class A(kartnb.TaskOnKart):
    n = kartnb.luigi.IntParameter(default=1)
    def run(self):
        ran.append('A')
        self.dump({value})
"""
B = """%%kart
class B(kartnb.TaskOnKart):
    a = kartnb.TaskInstanceParameter(default=A())
    def run(self):
        ran.append('B')
        self.dump(('B', self.load('a')))
"""
MODULE = """
import kartnb

def helped():
    return {value}

class A(kartnb.TaskOnKart):
    n = kartnb.luigi.IntParameter(default=1)
    def run(self):
        self.dump(({value}, helped()))

class B(kartnb.TaskOnKart):
    a = kartnb.TaskInstanceParameter(default=A())
    def run(self):
        self.dump(('B', self.load('a')))
"""
_seconds = itertools.count(1)


@pytest.fixture(scope='module')
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    place = tmp_path_factory.mktemp('held')
    (place / 'work').mkdir()
    with running_kernel(place, place / 'work') as kernel:
        yield kernel


@pytest.fixture
def kernel(shared: Kernel, tmp_path: Path) -> Kernel:
    shared.ok(f'%reset -f\nimport os, sys; os.chdir({str(tmp_path)!r}); sys.path.insert(0, os.getcwd())')
    shared.ok('%load_ext kartnb\nimport kartnb\nran = []')
    return shared


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    later = path.stat().st_mtime + next(_seconds)  # autoreload compares times in seconds
    os.utime(path, (later, later))


def _value(kernel: Kernel, code: str) -> str:
    return kernel.ok(code).value or ''


def test_the_card_why_and_the_build_speak_of_the_same_tasks(kernel: Kernel) -> None:
    kernel.ok(A.format(value=10))
    kernel.ok(B)
    assert _value(kernel, 'kartnb.build(B())') == "('B', 10)"
    card = kernel.ok(A.format(value=20)).outputs[-1]['data']['text/plain']
    assert 'Makes 2 results stale: A, B' in card
    assert 'stale A' in _value(kernel, 'kartnb.why(B())')
    assert _value(kernel, '[str(node.state) for node in kartnb.plan(B())]') == "['stale', 'stale']"
    for workers in (1, 2):
        assert _value(kernel, f'kartnb.build(B(), workers={workers})') == "('B', 20)"
    assert _value(kernel, 'ran.clear(), kartnb.build(A()), kartnb.build(B()), ran') == "(None, 20, ('B', 20), [])"


def test_the_card_the_plan_and_the_build_name_the_cell(kernel: Kernel) -> None:
    kernel.ok(A.format(value=10))
    kernel.ok(B)
    kernel.ok('held = [A(n=2)]')
    gone = "is a task of an older definition of A, and today's A has no parameter 'n': run the cell"
    card = kernel.ok(A.format(value=20).replace('n = ', 'k = ')).outputs[-1]['data']['text/plain']
    assert f'The default of B.a {gone} of B again.' in ' '.join(card.split())
    assert f'held {gone} that makes held again.' in ' '.join(card.split())
    for call in ('plan', 'build', 'why'):
        error = kernel.run(f'kartnb.{call}(B())').error
        assert error is not None
        assert error['evalue'] == f'The default of B.a {gone} of B again.'
    kernel.ok(B)
    assert _value(kernel, 'kartnb.build(B())') == "('B', 20)"


@pytest.mark.parametrize('how', ['autoreload', 'reload', 'reload, imported by name'])
def test_a_module_that_is_reloaded(kernel: Kernel, tmp_path: Path, how: str) -> None:
    name = f'reloaded_{next(_seconds)}'
    path = tmp_path / f'{name}.py'
    _write(path, MODULE.format(value=1))
    if how == 'autoreload':
        kernel.ok('%load_ext autoreload\n%autoreload 2')
    kernel.ok(f'import importlib, {name} as m\nfrom {name} import A, B\nheld = B()')
    for workers, value in ((1, 2), (2, 3)):
        assert _value(kernel, 'kartnb.build(held)') == f"('B', ({value - 1}, {value - 1}))"
        _write(path, MODULE.format(value=value))
        if how != 'autoreload':
            assert f'{name} has changed on disk' in kernel.ok('kartnb.build(held)').stderr
            kernel.ok('importlib.reload(m);')
        if 'by name' not in how:
            kernel.ok('A, B = m.A, m.B')
        build = f'kartnb.build(held, workers={workers}), kartnb.build(A()), kartnb.build(B())'
        expected = f"(('B', ({value}, {value})), ({value}, {value}), ('B', ({value}, {value})))"
        assert _value(kernel, build) == expected
    if how == 'autoreload':
        kernel.ok('%autoreload 0')
    planned = f'import kartnb, {name} as m; print([str(x.state) for x in kartnb.plan(m.B(), on_code_change="rerun")])'
    environment = {**os.environ, 'PYTHONPATH': f'{ROOT}{os.pathsep}{tmp_path}'}
    fresh = subprocess.run(
        [sys.executable, '-c', planned], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    assert fresh.stdout.strip() == "['cached', 'cached']"


def test_a_script_that_is_run_again(kernel: Kernel, tmp_path: Path) -> None:
    path = tmp_path / 'script.py'
    _write(path, MODULE.format(value=1))
    kernel.ok(f'%run {path.name}')
    kernel.ok('held = B()')
    assert _value(kernel, 'kartnb.build(held)') == "('B', (1, 1))"
    _write(path, MODULE.format(value=2))
    kernel.ok(f'%run {path.name}')
    for workers in (1, 2):
        assert _value(kernel, f'kartnb.build(held, workers={workers})') == "('B', (2, 2))"
    assert _value(kernel, '[str(node.state) for node in kartnb.plan(B())]') == "['cached', 'cached']"


def test_sliders_of_a_held_task(kernel: Kernel) -> None:
    kernel.ok(A.format(value=10))
    kernel.ok(B)
    kernel.ok('panel = kartnb.interact(B(), {"a.n": [1, 2]}, auto=True)')
    kernel.ok(A.format(value=20))
    assert _value(kernel, 'kartnb.build(panel.task)') == "('B', 20)"
