"""Whatever goes wrong in a cell is one clear sentence, and the kernel is as usable as before."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.notebook.kernel import Kernel

TASKS = """%%kart
class Fine(TaskOnKart):
    number = luigi.IntParameter(default=1)

    def run(self):
        self.dump(self.number)

class NoTask:
    pass

class DumpsNothing(TaskOnKart):
    def run(self):
        pass

class Chicken(TaskOnKart):
    def requires(self):
        return Egg()

class Egg(TaskOnKart):
    def requires(self):
        return Chicken()

class RequiresText(TaskOnKart):
    def requires(self):
        return {'x': 'text'}

class YieldsText(TaskOnKart):
    def run(self):
        yield 'text'

class RequiresWrongly(TaskOnKart):
    def requires(self):
        return Fine(numbr=2)

class Reads(TaskOnKart):
    def requires(self):
        return Fine()

    def run(self):
        self.dump(self.load() + 1)

class CannotPickle(TaskOnKart):
    def run(self):
        self.dump({'half': 'x' * 1_000_000, 'rest': (number for number in [1])})

class UnknownFormat(TaskOnKart):
    def output(self):
        return self.make_target('table.xlsx')

    def run(self):
        self.dump(1)
"""


@pytest.fixture
def tasks(kernel: Kernel) -> Kernel:
    """Return a kernel with the classes defined."""
    kernel.ok(TASKS)
    return kernel


@pytest.mark.parametrize(
    'line, sentence',
    [
        ('%kart_build NoTask', 'NoTask is not a task class: derive it from kartnb.TaskOnKart.'),
        ('%kart_build NoTask()', 'A task is needed, such as MyTask(…), not <__main__.NoTask object'),
        ('%kart_build Fine', 'Fine is a task class: make a task of it, Fine(…).'),
        ('%kart_build Fien()', "name 'Fien' is not defined: did you mean Fine?"),
        ('%kart_build Fine(nubmer=1)', "Fine has no parameter 'nubmer': did you mean 'number'?"),
        ('%kart_build --relaunch Fine()', 'unknown option --relaunch'),
        ('%kart_build --log-level LOUD Fine()', "'LOUD' is not a log level: use one of DEBUG"),
        ('%kart_build --rerun-from Fien Fine()', 'Nothing to rerun is called Fien: the tasks of this plan are Fine.'),
        ('%kart_build Chicken()', 'Chicken requires itself: Chicken → Egg → Chicken.'),
        ('%kart_graph Chicken()', 'Chicken requires itself: Chicken → Egg → Chicken.'),
        ('%kart_build RequiresText()', "RequiresText.requires() gives 'text' (str), which is not a task"),
        ('%kart_graph RequiresText()', "RequiresText.requires() gives 'text' (str), which is not a task"),
        ('%kart_build DumpsNothing()', 'DumpsNothing.run() ended without writing its output ./resources/'),
        ('%kart_build YieldsText()', "YieldsText.run() yields 'text' (str), which is not a task"),
        ('%kart_build RequiresWrongly()', "Fine has no parameter 'numbr': did you mean 'number'?"),
        ('%kart_build UnknownFormat()', '.xlsx'),
        ('%kart_build CannotPickle()', 'generator'),
        ('kartnb.build(Fine)', 'Fine is a task class: make a task of it, Fine(…).'),
        ('kartnb.build(Fine(), return_vlaue=True)', "build has no option 'return_vlaue': did you mean 'return_value'?"),
    ],
)  # fmt: skip
def test_a_clear_sentence_and_nothing_else_happens(line: str, sentence: str, tasks: Kernel, tmp_path: Path) -> None:
    cell = tasks.run(line)
    assert cell.status == 'error'
    assert sentence in cell.traceback + cell.stderr
    assert not re.search(r'kartnb/|site-packages', cell.traceback), 'no machinery is shown'
    assert [
        file
        for file in (tmp_path / 'resources').rglob('*')
        if '__main__' in file.parts and file.is_file() and 'log' not in file.parts
    ] == []
    assert tasks.ok('%kart_build Fine(number=42)').value == '42'


def test_an_unwritable_workspace(tasks: Kernel, tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('')
    cell = tasks.run("%kart_build Fine(workspace_directory='file')")
    assert cell.status == 'error'
    assert re.search(r'^StorageError: file/\S+ cannot be \w+, a file lies where', cell.traceback)
    assert 'kartnb/' not in cell.traceback
    assert tasks.ok('%kart_build Fine()').value == '1'


@pytest.mark.parametrize('damage', [b'not a pickle', None])
def test_an_unreadable_result_is_named_with_what_to_do(damage: bytes | None, tasks: Kernel, tmp_path: Path) -> None:
    tasks.ok('%kart_build Fine()')
    (file,) = (tmp_path / 'resources/__main__').glob('Fine_*.pkl')
    file.write_bytes(file.read_bytes()[:-2] if damage is None else damage)
    for line in ('%kart_build Fine()', '%kart_build Reads()'):
        cell = tasks.run(line)
        assert cell.status == 'error'
        assert f'./resources/__main__/{file.name} cannot be read' in cell.traceback
        assert 'rerun' in cell.traceback
        assert 'kartnb/' not in cell.traceback
    assert tasks.ok('%kart_build --rerun-from Fine Reads()').value == '2'


def test_a_result_that_is_empty_is_made_again(tasks: Kernel, tmp_path: Path) -> None:
    tasks.ok('%kart_build Fine()')
    (file,) = (tmp_path / 'resources/__main__').glob('Fine_*.pkl')
    file.write_bytes(b'')  # as a power loss leaves it
    assert tasks.ok('%kart_build Fine()').value == '1'


def test_a_workspace_that_cannot_be_made(tasks: Kernel) -> None:
    cell = tasks.run(f"%kart_build Fine(workspace_directory='{os.devnull}/x')")
    assert cell.status == 'error'
    assert 'StorageError: ' in cell.traceback
    assert len(cell.traceback.splitlines()) == 1
