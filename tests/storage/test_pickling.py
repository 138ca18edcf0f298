"""Pickles: any value, streamed, readable everywhere, and objects of notebook classes of the class that is there now."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kartnb.errors import MissingPackageError, UnreadableResultError, WrongValueError
from kartnb.storage import pickling
from kartnb.storage.targets import make_target
from kartnb.storage.unpickling import RequiredTask, TaskInfo
from tests.storage.examples import assert_equal, objects
from tests.storage.notebook import Notebook, notebook

__all__ = ['notebook']

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize('name', objects())
def test_every_value_comes_back(name: str) -> None:
    value = objects()[name]
    pickled = pickling.dumps(value)
    assert_equal(pickling.loads(pickled), value)
    assert_equal(pickle.loads(pickled), value)


def test_plain_text_has_the_bytes_of_protocol_4() -> None:
    for value in ('Hello, world!', b'', 3, 0.5, None, True):
        assert pickling.dumps(value) == pickle.dumps(value, protocol=4)


@pytest.mark.parametrize(
    'shape', ['whole', 'by column', 'rows', 'columns', 'reversed', 'wide', 'days', 'scattered days']
)
def test_large_arrays_of_every_layout(shape: str) -> None:
    array = np.arange(3_000_000.0).reshape(1500, 2000)
    array = {
        'whole': array,
        'by column': np.asfortranarray(array),
        'rows': array[::2],
        'columns': array[:, 10:1500],
        'reversed': array[::-1, ::-1],
        'wide': array.reshape(1, 2, 1_500_000)[:, :, ::2],
        'days': array.astype('M8[s]'),
        'scattered days': array.astype('M8[s]')[:, 5:],
    }[shape]
    pickled = pickling.dumps({'before': 'x', 'array': array, 'again': array})
    for loaded in (pickling.loads(pickled), pickle.loads(pickled)):
        np.testing.assert_array_equal(loaded['array'], array)
        assert loaded['array'].dtype == array.dtype
        assert loaded['again'] is loaded['array']
        assert loaded['array'].flags.writeable


def test_a_slice_of_a_frame_does_not_carry_the_whole() -> None:
    frame = pd.DataFrame(np.random.default_rng(0).random((200_000, 10)))
    piece = frame.iloc[1000:150_000, 2:7]
    pickled = pickling.dumps(piece)
    pd.testing.assert_frame_equal(pickling.loads(pickled), piece)
    assert len(pickled) < 149_000 * 5 * 8 * 1.01


MEMORY = """
import resource, sys
import numpy as np, pandas as pd
from kartnb.storage.targets import make_target
megabytes = 200
rows = megabytes * 2**20 // 80
class Kept:
    def __init__(self, frame): self.frame = frame
    def __getitem__(self, rows): return Kept(self.frame.iloc[rows])
value = {
    'array': lambda: np.ones(rows * 10),
    'frame': lambda: pd.DataFrame(np.ones((rows, 10))),
    'slice': lambda: pd.DataFrame(np.ones((rows, 12))).iloc[5:, :10],
    'by value': lambda: Kept(pd.DataFrame(np.ones((rows, 12))).iloc[5:, :10]),
    'npz': lambda: np.ones(rows * 10),
    'feather': lambda: pd.DataFrame(np.ones((rows, 10)), columns=list('abcdefghij')),
}[sys.argv[1]]()
extension = sys.argv[1] if sys.argv[1] in ('npz', 'feather') else 'pkl'
small = make_target('small.' + extension)
small.dump(value[:10])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
make_target('large.' + extension).dump(value)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 / megabytes)
"""


@pytest.mark.skipif(sys.platform != 'linux', reason='platform: memory is measured as Linux tells it')
@pytest.mark.parametrize('kind', ['array', 'frame', 'slice', 'by value', 'npz', 'feather'])
def test_large_values_are_not_copied_to_be_written(kind: str) -> None:
    done = run(MEMORY, kind)
    assert float(done) <= (0.4 if kind == 'feather' else 0.1)  # Arrow's pool keeps what it needed for a piece


def run(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, '-c', script, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(REPOSITORY)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


CELL = """
import enum, dataclasses, typing, collections, abc
import numpy as np

class Point:
    def __init__(self, x): self.x = x
    def where(self): return ('first', self.x)

class Outer:
    class Inner:
        name = 'first'

class Slots:
    __slots__ = ('a',)
    def __init__(self): self.a = 1

class Colour(enum.Enum):
    RED = 1

@dataclasses.dataclass
class Row:
    a: int

class Named(typing.NamedTuple):
    a: int

T = typing.TypeVar('T')
class Box(typing.Generic[T]):
    pass

class Base(abc.ABC):
    @abc.abstractmethod
    def f(self): ...
class Derived(Base):
    def f(self): return super().__class__

class Shown(Point):
    def where(self): return super().where()

def local():
    class Point:
        kind = 'local'
    return Point()

def total(values):
    return np.sum(values) + len(Point(1).where())
"""
EXPRESSIONS = (
    'Point(1)',
    'Outer.Inner()',
    'Slots()',
    'Colour.RED',
    'Row(1)',
    'Named(1)',
    'Box()',
    'Derived()',
    'Shown(2)',
)


def value_of(notebook: Notebook, expression: str) -> Any:
    return eval(expression, notebook.main.__dict__)


@pytest.mark.parametrize('expression', EXPRESSIONS)
def test_objects_come_back_as_instances_of_the_class_that_is_there_now(notebook: Notebook, expression: str) -> None:
    notebook.run(CELL)
    old = value_of(notebook, expression)
    pickled = pickling.dumps([{'deep': old}])
    same = pickling.loads(pickled)[0]['deep']
    assert type(same) is type(old)
    notebook.run(CELL.replace('first', 'second'))
    new = pickling.loads(pickled)[0]['deep']
    assert type(new) is type(value_of(notebook, expression))
    assert type(new) is not type(old)


def test_methods_are_those_of_the_new_class(notebook: Notebook) -> None:
    notebook.run(CELL)
    point, shown = pickling.dumps(value_of(notebook, 'Point(1)')), pickling.dumps(value_of(notebook, 'Shown(2)'))
    notebook.run(CELL.replace('first', 'second'))
    assert pickling.loads(point).where() == ('second', 1)
    assert pickling.loads(shown).where() == ('second', 2)


def test_without_the_class_its_objects_bring_it_along(notebook: Notebook) -> None:
    notebook.run(CELL)
    pickled = pickling.dumps([value_of(notebook, 'Shown(2)'), value_of(notebook, 'total')])
    notebook.main.__dict__.clear()
    shown, total = pickling.loads(pickled)
    assert shown.where() == ('first', 2)
    assert total([1, 2]) == 5


@pytest.mark.parametrize('slots', ["('a', 'b')", "('a', '__b', '__dict__')", "'a'", "['a', '__weakref__']"])
def test_slots_go_through_another_process(notebook: Notebook, slots: str) -> None:
    cell = (
        f'class Slots:\n    __slots__ = {slots}\n    def __init__(self): self.a = 1\n    def one(self): return self.a'
    )
    notebook.run(cell)
    has_dict = hasattr(value_of(notebook, 'Slots()'), '__dict__')
    Path('a.pkl').write_bytes(pickling.dumps(value_of(notebook, 'Slots()')))
    run(
        'import pickle\nfrom kartnb.storage import pickling\nfound = pickle.load(open("a.pkl", "rb"))\n'
        f'assert found.one() == 1 and hasattr(found, "__dict__") == {has_dict}\n'
        'open("b.pkl", "wb").write(pickling.dumps(found))'
    )
    found = pickling.loads(Path('b.pkl').read_bytes())
    assert type(found) is notebook['Slots']
    assert found.one() == 1


def test_a_local_class_is_not_taken_for_the_global_one_of_its_name(notebook: Notebook) -> None:
    notebook.run(CELL)
    loaded = pickling.loads(pickling.dumps(value_of(notebook, 'local()')))
    assert loaded.kind == 'local'
    assert type(loaded) is not notebook['Point']


def test_another_process_reads_what_a_notebook_wrote(notebook: Notebook) -> None:
    notebook.run(CELL)
    Path('a.pkl').write_bytes(pickling.dumps([value_of(notebook, 'Point(1)'), value_of(notebook, 'total')]))
    script = 'import pickle\npoint, total = pickle.load(open("a.pkl", "rb"))\nprint(point.where(), total([1, 2]))'
    assert run(script) == "('first', 1) 5\n"


def test_code_keeps_its_file_name(notebook: Notebook) -> None:
    notebook.run(CELL)
    Path('a.pkl').write_bytes(
        pickling.dumps([value_of(notebook, 'Point(1)'), value_of(notebook, 'lambda: [1 for _ in ()]')])
    )
    script = """
import pickle
point, function = pickle.load(open("a.pkl", "rb"))
codes = [point.where.__code__, function.__code__]
codes += [constant for constant in function.__code__.co_consts if hasattr(constant, "co_filename")]
print(*sorted({code.co_filename for code in codes}))
"""
    assert run(script) == '<cell> <string>\n'


def test_text_that_only_looks_like_the_notebook_is_no_reason_for_cloudpickle() -> None:
    for value in ('./resources/__main__/a.pkl', ['x' * 300_000 + '\x8c\x08__main__']):
        assert b'cloudpickle' not in pickling.dumps(value)
        assert pickling.loads(pickling.dumps(value)) == value
    assert pickling.loads(pickling.dumps(['__main__'])) == ['__main__']


def test_classes_of_modules_stay_references() -> None:
    pickled = pickling.dumps([Point(1), Point])
    assert b'cloudpickle' not in pickled
    point, cls = pickling.loads(pickled)
    assert cls is Point
    assert point.x == 1


class Point:
    def __init__(self, x: int) -> None:
        self.x = x


def test_what_stands_for_gokarts_classes_is_pickled_under_gokarts_names() -> None:
    info = TaskInfo('A', 'u', [], {}, '1s', 'COMPLETE', {}, [RequiredTask('B', 'v')], [])
    pickled = pickling.dumps(pd.DataFrame({'info': [info]}))
    assert b'gokart.tree.task_info_formatter' in pickled
    assert b'kartnb' not in pickled
    assert pickling.loads(pickled)['info'][0] == info


@pytest.mark.parametrize('value', [threading.Lock(), (x for x in ()), [lambda: threading.Lock(), threading.Lock()]])
def test_a_value_that_cannot_be_pickled(value: Any) -> None:
    with pytest.raises(WrongValueError, match=r'a value of type \w+ cannot be pickled: ') as caught:
        pickling.dumps(value)
    assert caught.value.__cause__ is not None


def test_an_error_of_the_disk_is_not_taken_for_one_of_the_value() -> None:
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(28, 'No space left on device')

    with pytest.raises(OSError, match='No space left'):
        pickling.dump([1], Full())


def test_a_file_that_takes_a_part_at_a_time() -> None:
    class Slow(io.BytesIO):
        def write(self, data: Any) -> int:
            return super().write(memoryview(data).cast('B')[:1000])

    file = Slow()
    array = np.arange(500_000)[::2]
    pickling.dump(['x' * 5000, b'y' * 200_000, array], file)
    assert_equal(pickle.loads(file.getvalue())[2], array)


def test_a_file_that_cannot_seek(notebook: Notebook) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    notebook.run(CELL)
    file = Pipe()
    pickling.dump(value_of(notebook, 'Point(1)'), file)
    assert pickling.load(Pipe(file.getvalue())).x == 1


def test_bytes_after_the_end_are_noticed() -> None:
    Path('a.pkl').write_bytes(pickle.dumps('mine') + b'yours')
    with pytest.raises(UnreadableResultError, match='bytes follow after the end'):
        make_target('a.pkl').load()


def test_an_empty_file_is_named() -> None:
    Path('a.pkl').touch()
    with pytest.raises(UnreadableResultError, match=r'a\.pkl cannot be read'):
        make_target('a.pkl').load()


def test_a_class_that_nobody_defined() -> None:
    Path('a.pkl').write_bytes(b'\x80\x04\x8c\x08__main__\x8c\x07Unknown\x93.')
    with pytest.raises(UnreadableResultError, match='Unknown is not defined here: run the cell that defines it'):
        make_target('a.pkl').load()


def test_a_missing_package_is_named() -> None:
    Path('a.pkl').write_bytes(b'\x80\x04\x8c\x0bno_such_lib\x8c\x05Model\x93.')
    with pytest.raises(MissingPackageError, match="needs the module 'no_such_lib', which is not installed"):
        make_target('a.pkl').load()


def test_pickles_of_another_numpy() -> None:
    pickled = pickle.dumps(np.arange(3.0), protocol=4)
    new, old = b'\x8c\x16numpy._core.multiarray', b'\x8c\x15numpy.core.multiarray'
    for given in (new, old):
        other = pickled.replace(new, given).replace(old, given)
        other = other[:3] + (len(other) - 11).to_bytes(8, 'little') + other[11:]  # the length of the frame
        assert_equal(pickling.loads(other), np.arange(3.0))


def _reference(module: str, name: str) -> bytes:
    parts = [b'\x8c' + bytes([len(part)]) + part.encode() for part in (module, name)]
    return b'\x80\x04' + b''.join(parts) + b'\x93.'


@pytest.mark.parametrize(
    'module, name',
    [
        ('kartnb.task.construction', 'Defaults'),  # what every task class of a notebook brings along
        ('kartnb.task.construction', 'ParameterTable'),
        ('kartnb.task.shown', '_PublicParameters'),
        ('kartnb.task.slider', 'Slider'),
        ('kartnb.storage.in_memory', 'InMemoryTarget'),
        ('kartnb.execution.build_error', 'GokartBuildError'),
        ('kartnb.execution.sweeps.point', 'SweepPoint'),
        ('kartnb.storage.formats.pickles', 'PickleFileProcessor'),
        ('kartnb.storage.formats.columns', 'FeatherFileProcessor'),
        ('kartnb.storage.formats.lossless', 'LosslessFileProcessor'),
        ('kartnb.storage.formats.own', 'FunctionFileProcessor'),
    ],
)
def test_what_an_earlier_kartnb_had_in_another_module(module: str, name: str) -> None:
    found = pickling.loads(_reference(module, name))
    assert found.__name__ == name
    with pytest.raises((ImportError, AttributeError), match=r'kartnb\.|attribute'):
        pickling.loads(_reference(module, 'Unheard'))
