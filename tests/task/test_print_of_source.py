"""A code print is a function of the source: equal in every process, and another one after each edit that matters."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.fork_server import ROOT, fork_server

#: Imports a module in some way, and writes the prints of its task.
TOLD = """
import importlib, json, runpy, sys
sys.path.insert(0, {place!r})
for name in {first!r}:
    importlib.import_module(name)
import kartnb
from kartnb.task.code.prints import Printer
tasks = {how}
told = Printer().print_of(tasks['Task'])
print(json.dumps([told.digest, list(told.unknown), list(told.packages), told.to_json()]))
"""
#: Ways in which one module comes into a process.
IMPORTED = "vars(importlib.import_module('prog.tasks'))"
AS_SCRIPT = "runpy.run_module('prog.tasks', run_name='__main__')"
RELOADED = "vars(importlib.reload(importlib.import_module('prog.tasks')))"


class Program:
    """A package of three modules that is made at random, and edits of it that change what its task does."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        names = [f'n{i}' for i in range(self._random.randint(4, 8))]
        self._random.shuffle(names)
        self._numbers = {name: self._random.randint(1, 9) for name in names}
        self._made_by = {name: self._random.choice(MAKERS) for name in names}
        self._where = {name: self._random.choice(('tools', 'extra')) for name in names}
        self._way = self._random.choice(('top', 'inside', 'star'))

    def modules(self) -> dict[str, str]:
        """The source of each module."""
        texts = {'tools': _HEAD, 'extra': _HEAD}
        for name, number in self._numbers.items():
            texts[self._where[name]] += self._made_by[name](name, number)
        imports = [f'from prog.{self._where[name]} import {name}' for name in self._numbers]
        if self._way == 'star':
            imports = ['from prog.tools import *', 'from prog.extra import *']
        inside = self._way == 'inside'
        body = '; '.join([*(imports if inside else ()), f'self.dump([{", ".join(f"{n}()" for n in self._numbers)}])'])
        top = '' if inside else '\n'.join(imports)
        texts['tasks'] = f'import kartnb\n{top}\nclass Task(kartnb.TaskOnKart):\n    def run(self):\n        {body}\n'
        return texts

    def edits(self) -> Iterator[str]:
        """Change one name after the other, and give the names."""
        for name in self._numbers:
            self._numbers[name] += 1
            yield name


_HEAD = 'import collections, dataclasses, enum, functools, math, operator\nimport numpy as np\n'


def _function(name: str, number: int) -> str:
    return f'def {name}(): return {number}\n'


def _constant(name: str, number: int) -> str:
    return f'K_{name} = {{"a": [{number}, {{"x", "y", "z"}}], "b": frozenset("pqr")}}\ndef {name}(): return K_{name}\n'


def _class(name: str, number: int) -> str:
    return (
        f'@dataclasses.dataclass(slots=True)\nclass C_{name}:\n    x: int = {number}\n    y: set = dataclasses.field('
        f'default_factory=set)\n    def m(self): return self.x\ndef {name}(): return C_{name}().m()\n'
    )


def _enumeration(name: str, number: int) -> str:
    members = f'    A = {number}\n    B = frozenset("abc")\n'
    return f'class E_{name}(enum.Enum):\n{members}def {name}(): return E_{name}.A.value\n'


def _closure(name: str, number: int) -> str:
    return f'def make_{name}(k):\n    def f(): return k\n    return f\n{name} = make_{name}({number})\n'


def _lambdas(name: str, number: int) -> str:
    return f'F_{name} = {{"b": lambda: {number}, "a": lambda: 0}}\ndef {name}(): return F_{name}["b"]()\n'


def _library(name: str, number: int) -> str:
    which = ('np.mean', 'np.median', 'max', 'operator.itemgetter(0)', 'math.fsum')[number % 5]
    return f'L_{name} = [len, {which}]\ndef {name}(): return L_{name}[1]([1, 2, 9])\n'


def _cached(name: str, number: int) -> str:
    return f'@functools.lru_cache(maxsize=None)\ndef {name}(x={number}):\n    """Give x."""\n    return x\n'


def _array(name: str, number: int) -> str:
    return f'A_{name} = np.arange({number})\ndef {name}(): return A_{name}.sum()\n'


MAKERS: list[Callable[[str, int], str]] = [
    _function,
    _constant,
    _class,
    _enumeration,
    _closure,
    _lambdas,
    _library,
    _cached,
    _array,
]


def _write(program: Program, place: Path) -> None:
    (place / 'prog').mkdir(parents=True, exist_ok=True)
    for name, text in {'__init__': '', **program.modules()}.items():
        (place / 'prog' / f'{name}.py').write_text(text)


class Tell(Protocol):
    """Gives what a new process says of the print of a program."""

    def __call__(
        self, place: Path, how: str = ..., seed: int = ..., first: tuple[str, ...] = ..., where: Path | None = ...
    ) -> list[Any]: ...


@pytest.fixture(scope='module')
def tell() -> Iterator[Tell]:
    """What new processes say, of one of two hash seeds."""
    with fork_server('import kartnb.task.code.prints, numpy', 0) as even, fork_server('import kartnb, numpy', 7) as odd:

        def told(
            place: Path, how: str = IMPORTED, seed: int = 0, first: tuple[str, ...] = (), where: Path | None = None
        ) -> list[Any]:
            script = TOLD.format(place=str(place), how=how, first=first)
            printed = (even, odd)[seed % 2].run(script, place) if where is None else _printed(script, where)
            found: list[Any] = json.loads(printed or '')
            return found

        yield told


def _printed(script: str, place: Path) -> str:
    """What a script prints in a process that was started there, where configuration files are looked for."""
    command = [sys.executable, '-W', 'ignore', '-c', script]
    environment = os.environ | {'PYTHONPATH': str(ROOT), 'IPYTHONDIR': str(place / 'ipython')}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize('seed', range(4))
def test_equal_source_gives_an_equal_print(tell: Tell, seed: int, tmp_path: Path) -> None:
    program = Program(seed)
    _write(program, tmp_path)
    told = tell(tmp_path)
    assert told[1] == []
    assert tell(tmp_path, seed=7, first=('pandas', 'prog.extra', 'prog.tools')) == told
    assert tell(tmp_path, AS_SCRIPT, seed=9) == told
    assert tell(tmp_path, RELOADED, seed=7, first=('prog.extra',)) == told
    _write(program, tmp_path / 'elsewhere')
    assert tell(tmp_path / 'elsewhere', seed=10) == told


@pytest.mark.parametrize('seed', range(4))
def test_every_edit_that_matters_changes_the_print(tell: Tell, seed: int, tmp_path: Path) -> None:
    program = Program(seed)
    _write(program, tmp_path)
    seen = [tell(tmp_path)[0]]
    for name in program.edits():
        _write(program, tmp_path)
        digest = tell(tmp_path)[0]
        assert digest not in seen, name
        seen.append(digest)


RELOADING = """
import sys
sys.path.insert(0, '.')
import kartnb
%load_ext autoreload
%autoreload 2
import prog.tasks
from kartnb.task.code.prints import Printer
"""


def test_autoreload_gives_the_print_of_a_new_process(tell: Tell, tmp_path: Path) -> None:
    source = 'import kartnb\ndef f(): return {0}\nclass H:\n    def m(self):\n        """One."""\n        return {0}\n'
    task = 'class Task(kartnb.TaskOnKart):\n    def run(self):\n        self.dump((f(), H().m()))\n'
    (tmp_path / 'prog').mkdir()
    (tmp_path / 'prog' / '__init__.py').write_text('')
    module = tmp_path / 'prog' / 'tasks.py'
    module.write_text(source.format(1) + task)
    edited = source.format(2) + task.replace('self.dump', 'x = 1; self.dump')
    cells = [
        RELOADING,
        'Printer().print_of(prog.tasks.Task).digest',
        f'import time; time.sleep(0.1); open({str(module)!r}, "w").write({edited!r}); None',
        'f"print {Printer().print_of(prog.tasks.Task).digest}"',
    ]
    script = (
        'from IPython.core.interactiveshell import InteractiveShell\nshell = InteractiveShell.instance()\n'
        f'for cell in {cells!r}:\n    done = shell.run_cell(cell, store_history=True)\n    done.raise_error()\n'
    )
    digest = _printed(script, tmp_path).rpartition("'print ")[2].strip().rstrip("'")
    assert digest == tell(tmp_path)[0]


@pytest.mark.parametrize('found_by', ['its project', 'the configuration', 'where it came from'])
def test_an_installed_package_of_ones_own_counts_as_its_source_does(tell: Tell, found_by: str, tmp_path: Path) -> None:
    program = Program(1)
    project = tmp_path / 'project'
    _write(program, project / 'src')
    told = tell(project / 'src')
    site = tmp_path / 'lib' / 'site-packages'
    _write(program, site)
    info = site / 'prog_of_mine-1.0.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: prog-of-mine\nVersion: 1.0\n')
    (info / 'RECORD').write_text('prog/__init__.py,,\nprog/tasks.py,,\nprog_of_mine-1.0.dist-info/METADATA,,\n')
    assert tell(site, where=tmp_path)[0] != told[0], 'a package of somebody else'
    if found_by == 'its project':
        (tmp_path / 'pyproject.toml').write_text('[project]\nname = "prog_of_mine"\n')
    elif found_by == 'the configuration':
        (tmp_path / 'luigi.cfg').write_text('[kartnb]\npackages = prog\n')
    else:
        (info / 'direct_url.json').write_text('{"url": "file:///wheels/prog.whl", "archive_info": {}}')
    assert tell(site, where=tmp_path) == told
