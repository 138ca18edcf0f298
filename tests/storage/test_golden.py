"""Files of the past stay readable, with the lowest and the newest versions of pandas, numpy and cloudpickle alike."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kartnb.errors import UnreadableResultError
from kartnb.storage.formats.models import make_model_target
from kartnb.storage.targets import make_target
from kartnb.storage.unpickling import RequiredTask, TaskInfo
from tests.storage import golden
from tests.storage.examples import assert_equal
from tests.storage.notebook import Notebook, notebook

__all__ = ['notebook']

WRITERS = ('gokart-new', 'gokart-old', 'kartnb-new', 'kartnb-old')
CASES = [(writer, name) for writer in WRITERS for name in golden.values()]
OLD_PANDAS = tuple(map(int, pd.__version__.split('.')[:2])) < (3, 0)
# pickles of pandas 3 that pandas 2 cannot read
TOO_NEW = {(writer, name) for writer in ('gokart-new', 'kartnb-new') for name in ('days.pkl', 'categories.pkl')}


def load(path: Path) -> Any:
    if path.suffix == '.zip':
        return make_model_target(str(path), 'tmp', None, None).load()
    return make_target(str(path)).load()


@pytest.mark.parametrize('writer, name', CASES)
def test_every_file_is_read(writer: str, name: str) -> None:
    if OLD_PANDAS and (writer, name) in TOO_NEW:
        with pytest.raises(UnreadableResultError, match='perhaps a newer pandas than the installed 2'):
            load(golden.DIRECTORY / writer / name)
        return
    found, wanted = load(golden.DIRECTORY / writer / name), golden.values()[name]
    if isinstance(wanted, functools.partial):
        assert found('101') == wanted('101')
    elif isinstance(wanted, pd.DataFrame | pd.Series | pd.Index):
        assert type(found) is type(wanted)
        same_values(found, wanted)
    else:
        assert_equal(found, wanted)


@pytest.mark.parametrize('name', sorted(os.listdir(golden.DIRECTORY / 'pandas-1.5')))
def test_pickles_of_an_old_pandas_are_read(name: str) -> None:
    same_values(load(golden.DIRECTORY / 'pandas-1.5' / name), golden.values()[name])


def same_values(found: Any, wanted: Any) -> None:
    """Compare, but for what versions of pandas disagree on: the type of text, and units of time."""
    if isinstance(wanted, pd.DataFrame):
        text = {name: 'object' for name, dtype in wanted.dtypes.items() if dtype in ('object', 'str')}
        found.columns, wanted.columns = list(found.columns), list(wanted.columns)
        pd.testing.assert_frame_equal(found.astype(text), wanted.astype(text), check_column_type=False)
    elif isinstance(wanted, pd.Series):
        pd.testing.assert_series_equal(found, wanted)
    else:
        assert list(found) == list(wanted)


@pytest.mark.parametrize('writer', WRITERS)
def test_objects_of_notebook_classes_are_of_the_class_that_is_there_now(writer: str, notebook: Notebook) -> None:
    notebook.run('class Point:\n    def twice(self): return 2 * self.x')
    notebook.run('import typing\nclass Pair(typing.NamedTuple):\n    a: int\n    b: str')
    (point,) = load(golden.DIRECTORY / writer / 'point.pkl')
    assert type(point) is notebook['Point']
    assert point.twice() == 2
    pair = load(golden.DIRECTORY / writer / 'pair.pkl')
    assert type(pair) is notebook['Pair']
    assert pair == (1, 'x')


@pytest.mark.parametrize('writer', WRITERS)
def test_notebook_classes_and_functions_need_no_notebook(writer: str, notebook: Notebook) -> None:
    (point,) = load(golden.DIRECTORY / writer / 'point.pkl')
    assert type(point).__name__ == 'Point'
    assert point.x == 1
    if sys.version_info[:2] == (3, 11):  # functions, and so the `__new__` of a named tuple, are kept as byte code
        assert load(golden.DIRECTORY / writer / 'pair.pkl').b == 'x'
        assert load(golden.DIRECTORY / writer / 'lambda.pkl')(1) == 2


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason='platform: functions are kept as the byte code of 3.11')
@pytest.mark.parametrize('writer', ['kartnb-new', 'kartnb-old'])
def test_a_models_load_function_keeps_what_it_needs(writer: str) -> None:
    assert_equal(load(golden.DIRECTORY / writer / 'model.zip'), np.arange(3))
    assert load(golden.DIRECTORY / writer / 'function.pkl')(2) == 4


@pytest.mark.parametrize('writer', ['kartnb-new', 'kartnb-old'])
def test_what_gokart_cannot_write(writer: str, notebook: Notebook) -> None:
    assert load(golden.DIRECTORY / writer / 'tree.xml').getroot().text == 'ü'
    assert load(golden.DIRECTORY / writer / 'colour.pkl').name == 'RED'
    notebook.run('import enum\nclass Colour(enum.Enum):\n    RED = 1')
    assert load(golden.DIRECTORY / writer / 'colour.pkl') is notebook['Colour'].RED  # type: ignore[attr-defined]


@pytest.mark.parametrize('writer', ['gokart-new', 'gokart-old'])
def test_tables_of_tasks(writer: str) -> None:
    info = load(golden.DIRECTORY / writer / 'task_info.pkl')
    assert type(info) is TaskInfo
    assert info == TaskInfo('A', 'u', ['a.pkl'], {}, '1s', 'COMPLETE', {}, RequiredTask('B', 'v'), [])  # type: ignore[arg-type]


BARE = """
import sys
for name in ('dill', 'gokart'):
    sys.modules[name] = None
import os
from tests.storage import golden
from tests.storage.test_golden import OLD_PANDAS, TOO_NEW, load
read = 0
for writer in ('gokart-new', 'gokart-old'):
    for name in sorted(os.listdir(golden.DIRECTORY / writer)):
        if name == 'model.zip' or (name in ('function.pkl', 'lambda.pkl') and sys.version_info[:2] != (3, 11)):
            continue  # gokart leaves what the function needs behind
        if OLD_PANDAS and (writer, name) in TOO_NEW:
            continue
        load(golden.DIRECTORY / writer / name)
        read += 1
print(read)
"""


def test_gokarts_files_are_read_where_neither_gokart_nor_dill_is_installed() -> None:
    environment = {**os.environ, 'PYTHONPATH': str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, '-c', BARE], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 40
