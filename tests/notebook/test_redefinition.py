"""A class that is defined again is the one that runs, whichever way a task comes to it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.notebook.kernel import Kernel, running_kernel

LEAF = """%%kart
class Leaf(TaskOnKart):
    number = luigi.IntParameter(default=1)

    def run(self):
        self.dump({value})
"""
TOPS = """%%kart
class ByRequires(TaskOnKart):
    def requires(self):
        return Leaf(number=1)

    def run(self):
        self.dump(self.load() + 1000)

class ByYield(TaskOnKart):
    def run(self):
        leaf = yield Leaf(number=2)
        self.dump(leaf.load() + 1000)

class ByParameter(TaskOnKart):
    leaf = TaskInstanceParameter()
    more = ListTaskInstanceParameter(default=[])

    def run(self):
        self.dump(self.load('leaf') + 1000)
"""
BUILDS = {
    'ByRequires()': 1001,
    'ByYield()': 1002,
    'ByParameter(leaf=Leaf(number=3))': 1003,
    'ByParameter(leaf=Leaf(number=4), more=[Leaf(number=5)])': 1004,
}


@pytest.mark.parametrize('build', BUILDS)
def test_a_cell_that_ran_again_counts(build: str, kernel: Kernel) -> None:
    kernel.ok(LEAF.format(value='self.number'))
    kernel.ok(TOPS)
    assert kernel.ok(f'%kart_build {build}').value == str(BUILDS[build])
    kernel.ok(LEAF.format(value='self.number * 10'))
    kernel.ok('!rm -r resources')
    assert kernel.ok(f'%kart_build {build}').value == str(_times_ten(BUILDS[build]))


@pytest.mark.parametrize('times', [1, 3])
def test_names_resolve_to_the_newest_class(times: int, kernel: Kernel) -> None:
    for _ in range(times + 1):
        kernel.ok(LEAF.format(value='1'))
        kernel.ok(LEAF.replace('%%kart', '').format(value='2'))
    kernel.ok('parameter = kartnb.TaskInstanceParameter()')
    assert kernel.ok('type(parameter.parse(parameter.serialize(Leaf()))) is Leaf').value == 'True'


def test_an_instance_of_the_older_class_is_built_as_todays(kernel: Kernel) -> None:
    kernel.ok(LEAF.format(value='self.number'))
    kernel.ok(TOPS)
    kernel.ok('old = Leaf(number=7)')
    kernel.ok(LEAF.format(value='self.number * 10'))
    assert kernel.ok('%kart_build old').value == '70'
    assert kernel.ok('%kart_build ByParameter(leaf=old)').value == '1070'


def test_a_dependency_that_changed_its_parameters_is_asked_anew(kernel: Kernel) -> None:
    kernel.ok(LEAF.format(value='self.number'))
    kernel.ok(TOPS)
    kernel.ok('top = ByRequires()')
    before = kernel.ok('top.make_unique_id()').value
    kernel.ok(LEAF.format(value='self.number').replace('default=1)', 'default=1)\n    more = luigi.Parameter("x")'))
    assert kernel.ok('top.make_unique_id()').value != before
    assert kernel.ok('%kart_build top').value == '1001'


MODULE = 'import luigi\nfrom kartnb import TaskOnKart, TaskInstanceParameter, ListTaskInstanceParameter\n' + (
    LEAF + TOPS
).replace('%%kart', '')


@pytest.fixture
def reloading(tmp_path: Path) -> Iterator[Kernel]:
    """Return a kernel with `%autoreload 2` and a module of tasks."""
    (tmp_path / 'work').mkdir()
    (tmp_path / 'work' / 'pipeline.py').write_text(MODULE.format(value='self.number'))
    with running_kernel(tmp_path, tmp_path / 'work') as kernel:
        kernel.ok('%load_ext kartnb\n%load_ext autoreload\n%autoreload 2')
        kernel.ok('import pipeline\nfrom pipeline import Leaf, ByRequires, ByYield, ByParameter')
        yield kernel


def test_autoreload_counts(reloading: Kernel, tmp_path: Path) -> None:
    for build, value in BUILDS.items():
        assert reloading.ok(f'%kart_build {build}').value == str(value)
    reloading.ok('old = Leaf(number=3)')
    time.sleep(1.1)  # autoreload looks at whole seconds
    (tmp_path / 'work' / 'pipeline.py').write_text(MODULE.format(value='self.number * 10'))
    reloading.ok('!rm -r resources')
    for build, value in BUILDS.items():
        assert reloading.ok(f'%kart_build {build}').value == str(_times_ten(value))
    assert reloading.ok('%kart_build pipeline.ByParameter(leaf=pipeline.Leaf(number=6))').value == '1060'
    assert reloading.ok('%kart_build ByParameter(leaf=old)').value == '1030'


def _times_ten(value: int) -> int:
    return 1000 + (value - 1000) * 10


def test_results_of_the_older_class_are_made_anew_one_and_all(kernel: Kernel) -> None:
    kernel.ok(LEAF.format(value='self.number'))
    kernel.ok(TOPS)
    for build, value in BUILDS.items():
        assert kernel.ok(f'%kart_build {build}').value == str(value)
    card = kernel.ok(LEAF.format(value='self.number * 10'))
    assert 'Makes 9 results stale: Leaf ×5, ByParameter ×2' in card.html[0]
    for build, value in BUILDS.items():
        assert kernel.ok(f'%kart_build {build}').value == str(_times_ten(value)), 'made anew without being asked for'


def test_a_task_that_is_asked_for_later_cannot_be_rerun_alone(kernel: Kernel) -> None:
    kernel.ok(LEAF.format(value='self.number'))
    kernel.ok(TOPS)
    kernel.ok('%kart_build ByYield()')
    cell = kernel.run('%kart_build --rerun-from Leaf ByYield()')
    assert 'Nothing to rerun is called Leaf: the tasks of this plan are ByYield.' in cell.stderr
    assert 'If one of them requires it while it runs, name that one too.' in cell.stderr
