"""What public code bases do with gokart gives the same on kartnb: `public_code.py` runs on each, in its own process.

It does what redshells, gokart-pipeliner, kannon, cookiecutter-gokart and pipelines of Kaggle competitions do.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.interop.public_code import ANSWERS

_HERE = Path(__file__).parent
_STARTS = {'gokart': '', 'kartnb': 'import kartnb; kartnb.as_gokart(); '}
#: What differs from run to run, and what only kartnb writes.
_OWN = ('log/processing_time/', 'log/run_record/', 'log/superseded', 'log/module_versions/')


@dataclass(frozen=True)
class Ran:
    """A library that has run the code: what it answered, and the files that are left."""

    answers: dict[str, Any]
    place: Path

    def files(self) -> list[str]:
        found = (file.relative_to(self.place).as_posix() for file in self.place.rglob('*') if file.is_file())
        return sorted(file for file in found if not any(own in file for own in _OWN))


@pytest.fixture(scope='module')
def ran(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> dict[str, Ran]:
    places = {library: tmp_path_factory.mktemp(library) for library in _STARTS}
    paths = os.pathsep.join([str(_HERE), str(repository)])
    environment = {**os.environ, 'PYTHONPATH': paths, 'PYTHONWARNINGS': 'ignore'}
    running = {
        library: subprocess.Popen(
            [sys.executable, '-c', f'{start}import public_code; public_code.answer()'],
            cwd=places[library],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for library, start in _STARTS.items()
    }
    for process in running.values():
        output = process.communicate(timeout=600)[0]
        assert process.returncode == 0, output
    return {name: Ran(json.loads((place / 'answers.json').read_text()), place) for name, place in places.items()}


@pytest.mark.parametrize('name', [answer.__name__ for answer in ANSWERS])
def test_it_gives_the_same(ran: dict[str, Ran], name: str) -> None:
    assert ran['kartnb'].answers[name] == ran['gokart'].answers[name]


def test_each_has_run_on_its_library(ran: dict[str, Ran]) -> None:
    assert {name: each.answers['library'] for name, each in ran.items()} == {'gokart': 'gokart', 'kartnb': 'kartnb'}


def test_the_same_files_hold_the_same(ran: dict[str, Ran]) -> None:
    ours, theirs = ran['kartnb'], ran['gokart']
    assert ours.files() == theirs.files()
    compared = [file for file in ours.files() if not file.startswith('pickled/tasks/') and file != 'answers.json']
    assert len(compared) > 30
    for file in compared:
        assert _content(ours.place / file) == _content(theirs.place / file), file


def test_a_task_that_gokart_has_pickled_says_what_is_missing(ran: dict[str, Ran]) -> None:
    file = next((ran['gokart'].place / 'pickled' / 'tasks').iterdir())
    program = f'{_STARTS["kartnb"]}import gokart.target; gokart.target.make_target({str(file)!r}).load()'
    ended = subprocess.run([sys.executable, '-c', program], cwd=_HERE, capture_output=True, text=True, timeout=180)
    message = ended.stderr.splitlines()[-1]
    assert f'{file} holds a value of gokart that kartnb cannot load' in message
    assert 'task_complete_check' in message


def _content(file: Path) -> Any:
    if file.suffix == '.zip':
        with zipfile.ZipFile(file) as archive:
            # the function that loads it is pickled in two ways, and what it gives is among the answers
            return {name: archive.read(name) for name in archive.namelist() if name != 'load_function.pkl'}
    if file.suffix not in ('.pkl', '.txt') or file.stat().st_size == 0:
        return file.read_bytes()
    try:
        return pickle.loads(file.read_bytes())
    except pickle.UnpicklingError:
        return file.read_bytes()
