"""Modules that change after their import, on disk or in memory: workers run what is loaded."""

from __future__ import annotations

import importlib
import itertools
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import kartnb
from kartnb.execution.workers import process_pool
from kartnb.task.code import loaded
from tests.planning.notebook import Notebook, forget_classes

TASKS = """
import kartnb
import {helpers}

class {cls}(kartnb.TaskOnKart):
    n = kartnb.luigi.IntParameter(default=1)

    def run(self):
        self.dump(({value}, {helpers}.helped()))
"""
HELPERS = """
FACTOR = {value}

def helped():
    return FACTOR
"""
_numbers = itertools.count(1)
Edit = Callable[..., None]


class Project:
    """A module with a task, and one with a helper."""

    def __init__(self, folder: Path) -> None:
        number = next(_numbers)
        self.folder = folder
        self.names = (f'churn_tasks_{number}', f'churn_helpers_{number}')
        self.write(1, 1)
        self.tasks, self.helpers = map(importlib.import_module, reversed(self.names))
        self.tasks, self.helpers = self.helpers, self.tasks

    def write(self, value: int, helped: int, cls: str = 'Churn', also: str = '') -> None:
        tasks, helpers = self.names
        (self.folder / f'{helpers}.py').write_text(HELPERS.format(value=helped))
        text = TASKS.format(helpers=helpers, value=value, cls=cls) + also
        (self.folder / f'{tasks}.py').write_text(text)
        # an edit within one step of the clock
        for name in self.names:
            os.utime(self.folder / f'{name}.py', ns=(next(_numbers) * 10**9, next(_numbers) * 10**9 + 10**18))

    def reload(self) -> None:
        importlib.reload(self.helpers)
        importlib.reload(self.tasks)

    def build(self, **options: Any) -> Any:
        return kartnb.build(self.tasks.Churn(), **options)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, 'dont_write_bytecode', True)
    found = Project(tmp_path)
    yield found
    for name in found.names:
        sys.modules.pop(name, None)


@pytest.fixture(params=['nursery', 'loky', 'spawned', 'dask'])
def workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Options of a build; the workers of the last two live longer than it."""
    if request.param == 'nursery':
        yield {'workers': 2}
    elif request.param == 'loky':
        monkeypatch.setattr(process_pool, '_CAN_FORK', False)
        yield {'workers': 2}
        process_pool.retire_workers()
    elif request.param == 'spawned':
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context('spawn')) as pool:
            yield {'executor': pool}
    else:
        distributed = pytest.importorskip('distributed')
        with (
            distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None, host='127.0.0.1') as x,
            distributed.Client(x) as client,
        ):
            yield {'executor': client}


def test_workers_run_what_is_loaded(project: Project, workers: dict[str, Any]) -> None:
    project.write(2, 2)
    assert project.build(**workers) == (1, 1)
    project.write(3, 3, cls='Renamed')
    assert project.build(**workers, rerun=True) == (1, 1)
    project.write(4, 4)
    project.reload()
    assert project.build(**workers, rerun=True) == (4, 4)
    project.write(5, 5)
    assert project.build(**workers, rerun=True) == (4, 4)


def test_a_class_of_a_notebook_uses_what_is_loaded(project: Project, workers: dict[str, Any]) -> None:
    notebook = Notebook()
    notebook.run(f'import {project.names[1]} as h\nfrom {project.names[1]} import helped')
    cell = 'class Here(kartnb.TaskOnKart):\n    def run(self):\n        self.dump((h.helped(), helped()))'
    notebook.run(cell)
    try:
        project.write(2, 2)
        assert kartnb.build(notebook['Here'](), **workers) == (1, 1)
        project.reload()
        notebook.run(f'from {project.names[1]} import helped')
        assert kartnb.build(notebook['Here'](), **workers) == (2, 2)
    finally:
        forget_classes()


def test_an_edit_during_a_build(project: Project) -> None:
    notebook = Notebook()
    notebook.names['edit'] = None
    notebook.run(f'import {project.names[0]} as tasks')
    notebook.run(
        """
class Edits(kartnb.TaskOnKart):
    def run(self):
        for path, text in texts.items():
            open(path, 'w').write(text)
        self.dump(0)

class After(kartnb.TaskOnKart):
    n = luigi.IntParameter()
    def requires(self):
        return Edits()
    def run(self):
        import churn
        self.dump(churn.Churn().n)
""".replace('import churn', f'import {project.names[0]} as churn')
    )
    notebook.run('class All(luigi.WrapperTask):\n    def requires(self):\n        return [End(n=n) for n in range(4)]')
    notebook.run(
        """
class End(kartnb.TaskOnKart):
    n = luigi.IntParameter()
    def requires(self):
        return Edits()
    def run(self):
        import time
        time.sleep(0.2)
        self.dump(tasks.helpers())
"""
    )
    try:
        notebook.names['texts'] = {
            str(project.folder / f'{project.names[0]}.py'): 'def helpers():\n    return "new"\n',
        }
        project.write(1, 1, also='\ndef helpers():\n    return "old"\n')
        project.reload()
        kartnb.build(notebook['All'](), workers=2, return_value=False)
        assert {kartnb.build(notebook['End'](n=n)) for n in range(4)} == {'old'}
    finally:
        forget_classes()


def test_a_change_on_disk_is_said_once_before_a_build(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert kartnb.plan(project.tasks.Churn()).notes == ()
    project.write(1, 2)
    note = (
        f'{project.names[1]} has changed on disk since it was imported; reload it (importlib.reload, %autoreload) or '
        'restart to use it'
    )
    planned = kartnb.plan(project.tasks.Churn())
    assert planned.notes == (note,)
    assert f'{note}.' in str(planned)
    assert f'{note}.' in planned._repr_html_()
    capsys.readouterr()
    assert project.build() == (1, 1)
    assert capsys.readouterr().err.count('has changed on disk') == 1
    assert project.build() == (1, 1)
    assert 'has changed on disk' not in capsys.readouterr().err, 'it has been told already'
    project.write(1, 3)
    assert project.build() == (1, 1)
    assert capsys.readouterr().err.count('has changed on disk') == 1, 'it has changed again'
    project.write(1, 2)
    importlib.reload(project.helpers)
    assert kartnb.plan(project.tasks.Churn()).notes == ()
    assert [str(node.state) for node in kartnb.plan(project.tasks.Churn())] == ['stale'], 'it is being worked on'
    assert project.build() == (1, 2)


def test_formatting_comments_and_what_is_not_reached_are_not_said(project: Project, tmp_path: Path) -> None:
    path = tmp_path / f'{project.names[1]}.py'
    path.write_text('"""Help."""\n# of course\n' + path.read_text().replace('return FACTOR', 'return (FACTOR)'))
    assert kartnb.plan(project.tasks.Churn()).notes == ()

    class Other(kartnb.TaskOnKart[int]):
        def run(self) -> None:
            self.dump(1)

    project.write(2, 2)
    assert kartnb.plan(Other()).notes == ()
    assert len(kartnb.plan(project.tasks.Churn()).notes) == 2


def test_the_policy_for_a_module_that_is_not_worked_on(project: Project) -> None:
    assert project.build() == (1, 1)
    project.write(2, 2)
    kept = [node for node in kartnb.plan(project.tasks.Churn()) if 'code changed' in node.note]
    assert kept == []
    importlib.reload(project.helpers)
    assert [str(node.state) for node in kartnb.plan(project.tasks.Churn())] == ['stale']
    assert [str(node.state) for node in kartnb.plan(project.tasks.Churn(), on_code_change='warn')] == ['cached']


def test_a_module_whose_code_is_not_known_any_more(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaded, '_modules', {})
    monkeypatch.setattr(loaded, '_looked_at', {})
    monkeypatch.setattr(loaded, '_seen', (0, ''))
    project.write(2, 2)  # before kartnb has seen the modules
    with pytest.raises(kartnb.GokartBuildError) as caught:
        project.build(workers=2)
    sentence = str(caught.value)
    assert f'{project.names[0]} (' in sentence
    assert 'has changed on disk since it was imported' in sentence
    assert 'reload it (importlib.reload, %autoreload) or restart, or build without workers' in sentence
    assert project.build() == (1, 1)


def test_compiled_code_tells_what_was_loaded(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, 'dont_write_bytecode', False)
    project.write(6, 6)
    project.reload()
    monkeypatch.setattr(loaded, '_modules', {})
    monkeypatch.setattr(loaded, '_looked_at', {})
    monkeypatch.setattr(loaded, '_seen', (0, ''))
    project.write(7, 7)
    assert project.build(workers=2) == (6, 6)
    assert len(kartnb.plan(project.tasks.Churn()).notes) == 2


def test_a_package_with_its_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / 'churn_package'
    (folder / 'inner').mkdir(parents=True)
    (folder / '__init__.py').write_text('from .inner import Read')
    (folder / 'data.txt').write_text('data')
    (folder / 'inner' / '__init__.py').write_text(
        'import importlib.resources as r\nimport kartnb\nfrom . import later_imported\n\n'
        'class Read(kartnb.TaskOnKart):\n    def run(self):\n        from . import only_in_run\n'
        '        self.dump((r.files("churn_package").joinpath("data.txt").read_text(), only_in_run.x, __file__))\n'
    )
    (folder / 'inner' / 'later_imported.py').write_text('x = 1')
    (folder / 'inner' / 'only_in_run.py').write_text('x = 2')
    monkeypatch.syspath_prepend(str(tmp_path))
    package = importlib.import_module('churn_package')
    try:
        assert kartnb.build(package.Read(), workers=2) == ('data', 2, str(folder / 'inner' / '__init__.py'))
    finally:
        for name in [name for name in sys.modules if name.startswith('churn_package')]:
            del sys.modules[name]


def test_a_module_in_the_place_of_an_installed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ('site-packages', 'project'):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'in_its_place.py').write_text('')
        with monkeypatch.context() as patched:
            patched.syspath_prepend(str(tmp_path / name))
            importlib.import_module('in_its_place')
            assert ('in_its_place' in loaded.loaded_modules()) is (name == 'project')
            del sys.modules['in_its_place']


# --- What was set in a module since its import ------------------------------------------------------------------------

SETTINGS = """
import dataclasses
import enum
import os

class Nested:
    def __init__(self):
        self.rate = 1

class Settings:
    shared = 1
    def __init__(self):
        self.rate = 1
        self.nested = Nested()
    def scale(self):
        return 1

@dataclasses.dataclass
class Options:
    depth: int = 1

class Colour(enum.Enum):
    RED = 1

settings = Settings()
alias = settings
LIMIT = 1
COMPUTED = int('1')
NAMES = ['a']
TABLE = {'a': 1}
AGAIN = [0]
AGAIN.append(1)
UNSET = None
TOKEN = 'first'
HELD = [TABLE]
_calls = 0

def factor():
    return 1

def plain():
    global _calls
    _calls += 1
    return _calls

def found():
    return (
        LIMIT, COMPUTED, NAMES, TABLE, AGAIN, UNSET, TOKEN, HELD[0]['a'], Colour(1).name, factor(), Options.depth,
        Options().depth, Settings.shared, settings.rate, settings.nested.rate, alias is settings, settings.scale(),
    )
"""
SET = """
own.LIMIT = 5
own.COMPUTED = 5
own.NAMES.append('b')
own.TABLE['a'] = 5
own.AGAIN.append(2)
own.UNSET = 'set'
own.TOKEN = 's3cret'
own.factor = lambda: BY_NAME
own.Options.depth = 5
own.Settings.shared = 5
own.Settings.scale = lambda self: BY_NAME
own.settings.rate = 5
own.settings.nested.rate = 5
"""
SET_BACK = """
own.LIMIT = 1
own.TABLE['a'] = 1
own.factor = before
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Notebook, Any]]:
    """A notebook with a task that tells what it finds in a module, and the module."""
    name = f'own_settings_{next(_numbers)}'
    (tmp_path / f'{name}.py').write_text(SETTINGS)
    monkeypatch.syspath_prepend(str(tmp_path))
    notebook = Notebook()
    notebook.run(f'import {name} as own\nBY_NAME = 5\nbefore = own.factor')
    notebook.run('class Found(kartnb.TaskOnKart):\n    def run(self):\n        self.dump(own.found())')
    yield notebook, sys.modules[name]
    forget_classes()
    del sys.modules[name]


def test_workers_find_what_was_set_in_a_module(settings: tuple[Notebook, Any], workers: dict[str, Any]) -> None:
    notebook, module = settings

    def build() -> Any:
        made = kartnb.build(notebook['Found'](), **workers, rerun=True)
        assert made == module.found()
        return made

    assert build()[0] == 1
    notebook.run(SET)
    assert build()[:2] == (5, 5)
    notebook.run(SET_BACK)
    assert build()[:2] == (1, 5)


SHARED = """
import enum
import functools
from dataclasses import dataclass, field

class Mode(enum.IntEnum):
    A = 1
    B = 2

@dataclass
class Model:
    rate: float = 0.1

@dataclass
class Config:
    model: Model = field(default_factory=Model)
    names: list = field(default_factory=list)

class Base:
    def method(self): return 1
    @staticmethod
    def static(): return 1
    @property
    def prop(self): return 1

registry = {}

def register(function):
    registry[function.__name__] = function
    return function

@register
def one(): return 1

@functools.lru_cache
def cached(): return 1

config = Config()
MODE = Mode.A

def found():
    base = Base()
    return (
        config.model.rate, config.names, int(MODE), cached(), base.method(), base.static(), base.prop, one(),
        sorted(registry), getattr(Base, 'added', None), globals().get('NEW'),
    )
"""
USES_SHARED = """
import {name} as shared
from {name} import MODE, config, one

def found():
    return shared.found(), config.model.rate, int(MODE), one(), config is shared.config
"""
SET_SHARED = """
shared.config.model.rate = 0.5
shared.config.names.append('a')
shared.Base.method = lambda self: 7
shared.Base.static = staticmethod(lambda: 8)
shared.one = lambda: 9
shared.NEW = 10
"""
SET_MORE = """
shared.MODE = shared.Mode.B
shared.Base.prop = property(lambda self: 4)
shared.cached = lambda: 5
uses.one = shared.one
"""


def test_what_was_set_in_modules_that_share_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f'own_{kind}_{next(_numbers)}' for kind in ('shared', 'uses')]
    for name, text in zip(names, (SHARED, USES_SHARED.format(name=names[0])), strict=True):
        (tmp_path / f'{name}.py').write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    notebook = Notebook()
    notebook.run(f'import {names[0]} as shared, {names[1]} as uses')
    notebook.run('class Found(kartnb.TaskOnKart):\n    def run(self):\n        self.dump(uses.found())')
    try:
        for changes in ('', SET_SHARED, SET_MORE):
            notebook.run(changes)
            expected = sys.modules[names[1]].found()
            assert kartnb.build(notebook['Found'](), workers=2, rerun=True) == expected
        assert expected == ((0.5, ['a'], 2, 5, 7, 8, 4, 9, ['one'], None, 10), 0.5, 1, 9, True)
    finally:
        forget_classes()
        for name in names:
            del sys.modules[name]


def test_a_function_that_was_replaced_and_cannot_be_sent(settings: tuple[Notebook, Any]) -> None:
    notebook, module = settings
    notebook.run('import threading\nlock = threading.Lock()\nown.factor = lambda: lock.locked()\nown.UNSET = lock')
    with pytest.raises(kartnb.GokartBuildError) as caught:
        kartnb.build(notebook['Found'](), workers=2)
    assert str(caught.value).endswith(
        f'{module.__name__}.factor was replaced by something that cannot be sent to worker processes (TypeError: '
        "cannot pickle '_thread.lock' object): change the module instead, or build without workers."
    )


def test_what_a_module_changes_by_itself_is_not_sent(settings: tuple[Notebook, Any]) -> None:
    notebook, module = settings
    notebook.run('class Calls(kartnb.TaskOnKart):\n    def run(self):\n        self.dump(own.plain())')
    assert module.plain() == 1
    assert kartnb.build(notebook['Calls'](), workers=2) == 1


def test_constants_that_autoreload_has_set_in_place(settings: tuple[Notebook, Any], workers: dict[str, Any]) -> None:
    notebook, module = settings
    assert kartnb.build(notebook['Found'](), **workers)[0] == 1
    path = Path(module.__file__)
    path.write_text(SETTINGS.replace('LIMIT = 1', 'LIMIT = 60 * 60'))
    module.LIMIT = 60 * 60  # as the autoreload of IPython 9 does, with no new spec
    assert kartnb.plan(notebook['Found']()).notes == ()
    assert kartnb.build(notebook['Found'](), **workers)[0] == 3600
    path.write_text(SETTINGS.replace('LIMIT = 1', 'LIMIT = 7'))
    assert 'has changed on disk' in kartnb.plan(notebook['Found'](), rerun=True).notes[0]
    assert kartnb.build(notebook['Found'](), **workers, rerun=True)[0] == 3600
