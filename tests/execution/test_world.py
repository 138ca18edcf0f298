"""Tasks in workers and threads find the options that were set where the build is: what they print, round and warn."""

from __future__ import annotations

import decimal
import locale
import logging
import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import luigi
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

import kartnb
from kartnb.execution.workers import process_pool
from kartnb.execution.workers.settings import OPTIONS, current_options, options_in_use
from tests.task.cells import Notebook

CELL = """
import decimal, locale, logging, os, sys, time, warnings

class NotebookWarning(UserWarning):
    pass

def seen():
    import matplotlib, numpy, pandas
    return {
        'numpy': (numpy.get_printoptions()['precision'], numpy.geterr()['divide']),
        'numpy text': str(numpy.array([1 / 3])),
        'pandas': [pandas.get_option(name) for name in ('display.max_rows', 'display.max_columns')],
        'pandas text': str(pandas.Series([1 / 3])),
        'matplotlib': (matplotlib.rcParams['figure.dpi'], matplotlib.rcParams['lines.linewidth']),
        'decimal': (decimal.getcontext().prec, str(decimal.Decimal(1) / 3)),
        'warnings': [f[0] for f in warnings.filters if f[2].__name__ in ('NotebookWarning', 'PerformanceWarning')],
        'levels': [logging.getLogger(name).level for name in ('a.library', 'another')],
        'disabled': logging.root.manager.disable,
        'limit': sys.getrecursionlimit(),
        'zone': (os.environ.get('TZ'), time.tzname[0]),
        'locale': locale.setlocale(locale.LC_NUMERIC),
    }

class Seeing(kartnb.TaskOnKart):
    n = luigi.IntParameter()

    def run(self):
        self.dump(seen())
"""


def _set() -> None:
    np.set_printoptions(precision=3)
    np.seterr(divide='raise')
    pd.set_option('display.max_rows', 7)
    pd.set_option('display.float_format', lambda value: f'<{value:.2f}>')
    mpl.rcParams['figure.dpi'] = 33
    decimal.getcontext().prec = 5
    logging.getLogger('a.library').setLevel(17)
    logging.disable(logging.DEBUG)
    sys.setrecursionlimit(1234)
    os.environ['TZ'] = 'Asia/Tokyo'
    time.tzset()


def _reset() -> None:
    np.set_printoptions(precision=8)
    np.seterr(divide='warn')
    pd.reset_option('display.max_rows')
    pd.reset_option('display.float_format')
    mpl.rcdefaults()
    decimal.setcontext(decimal.Context(prec=28))
    logging.getLogger('a.library').setLevel(logging.NOTSET)
    logging.disable(logging.NOTSET)
    sys.setrecursionlimit(1000)
    os.environ.pop('TZ', None)
    time.tzset()


@pytest.fixture
def notebook() -> Iterator[Notebook]:
    made = Notebook()
    made.run(CELL)
    limit = sys.getrecursionlimit()
    with warnings.catch_warnings():
        yield made
    _reset()
    sys.setrecursionlimit(limit)


@pytest.fixture(params=['processes', 'kept processes', 'spawned pool', 'dask'])
def elsewhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    if request.param == 'processes':
        yield 'processes'
    elif request.param == 'kept processes':
        monkeypatch.setattr(process_pool, '_CAN_FORK', False)
        yield 'processes'
        process_pool.retire_workers()
    elif request.param == 'dask':
        distributed = pytest.importorskip('distributed')
        cluster = distributed.LocalCluster(n_workers=1, threads_per_worker=2, host='127.0.0.1', dashboard_address=None)
        with cluster, distributed.Client(cluster) as client:
            yield client
    else:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context('spawn')) as pool:
            yield pool


def test_options_are_in_workers_what_they_are_here_and_go_back(notebook: Notebook, elsewhere: Any) -> None:
    def compare(n: int) -> None:
        value = kartnb.build(notebook.Seeing(n=n), executor=elsewhere)
        assert value == notebook.seen()

    compare(1)
    _set()
    warnings.filterwarnings('ignore', category=notebook.NotebookWarning)
    warnings.filterwarnings('error', category=pd.errors.PerformanceWarning)
    compare(2)
    _reset()
    warnings.simplefilter('always')
    compare(3)


@pytest.mark.parametrize('executor', ['threads', 'pool', 'background'])
def test_options_of_a_thread_are_those_of_the_building_thread(notebook: Notebook, executor: str) -> None:
    import sklearn

    _set()
    with sklearn.config_context(transform_output='pandas'), ThreadPoolExecutor(2) as pool:
        notebook.run(CELL.replace('def seen():', 'def seen():\n    return shown()\n\ndef shown():'))
        notebook.run(
            'def shown():\n    import numpy, sklearn\n'
            "    return str(numpy.array([1 / 3])), decimal.getcontext().prec, sklearn.get_config()['transform_output']"
        )
        options: dict[str, Any] = {
            'threads': {'executor': 'threads'},
            'pool': {'executor': pool},
            'background': {'background': True},
        }[executor]
        value = kartnb.build(notebook.Seeing(n=1), **options)
    assert (value.result() if executor == 'background' else value) == ('[0.333]', 5, 'pandas')


def test_a_library_that_a_task_imports_has_its_options_then(
    notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('KARTNB_WARM_WORKERS', 'false')
    notebook.run(
        """
class Importing(kartnb.TaskOnKart):
    def run(self):
        before = [name for name in ('matplotlib', 'polars', 'pandas') if name in sys.modules]
        import matplotlib, polars
        dpi, origin = matplotlib.rcParams['figure.dpi'], matplotlib.__spec__.origin
        self.dump((before, dpi, str(polars.Series([1.23456])), origin))
"""
    )
    polars = pytest.importorskip('polars')
    mpl.rcParams['figure.dpi'] = 33
    with polars.Config(float_precision=1):
        before, dpi, text, origin = kartnb.build(notebook.Importing(), executor='processes')
        assert (dpi, text) == (33, str(polars.Series([1.23456])))
    assert 'matplotlib' not in before
    assert origin == mpl.__spec__.origin


def test_a_filter_of_a_library_does_not_import_it(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('KARTNB_WARM_WORKERS', 'false')
    notebook.run(
        """
class Warning_(kartnb.TaskOnKart):
    def run(self):
        before = 'sklearn' in sys.modules
        import sklearn.exceptions
        self.dump((before, any(f[2] is sklearn.exceptions.ConvergenceWarning for f in warnings.filters)))
"""
    )
    import sklearn.exceptions

    warnings.filterwarnings('ignore', category=sklearn.exceptions.ConvergenceWarning)
    assert kartnb.build(notebook.Warning_(), executor='processes') == (False, True)


def test_an_option_that_cannot_be_sent_is_named(notebook: Notebook) -> None:
    import threading

    lock = threading.Lock()
    pd.set_option('display.float_format', lambda value: f'{value}{lock.locked()}')
    pd.set_option('display.max_rows', 7)
    with pytest.warns(UserWarning, match=r'pandas: display\.float_format is not set in workers'):
        value = kartnb.build(notebook.Seeing(n=1), executor='processes')
    assert value['pandas'][0] == 7


@pytest.mark.parametrize('name', [name for name in OPTIONS if name != 'torch'])
def test_what_was_there_comes_back(name: str, notebook: Notebook) -> None:
    pytest.importorskip(name)
    before = current_options([name])
    _set()
    locale.setlocale(locale.LC_NUMERIC, 'C')
    changed = current_options([name])
    _reset()
    start = current_options([name])
    with options_in_use(changed):
        assert current_options([name]) == changed
    assert current_options([name]) == start
    assert before.keys() == changed.keys() == {name}


def test_settings_cost_less_than_a_short_task() -> None:
    """A ratio: reading all of them, and pickling a frame of 100,000 numbers a few times."""
    import pickle

    from kartnb.execution.workers.settings import current_settings

    def seconds(call: Any) -> float:
        began = time.perf_counter()
        for _ in range(20):
            call()
        return time.perf_counter() - began

    frame = pd.DataFrame({'a': np.arange(3_000_000.0)})
    current_settings()
    assert min(seconds(current_settings) for _ in range(3)) < min(
        seconds(lambda: pickle.dumps(frame)) for _ in range(3)
    )


def test_what_a_task_sets_is_put_back_for_other_builds(elsewhere: Any) -> None:
    class Sets(kartnb.TaskOnKart[int]):
        def run(self) -> None:
            pd.set_option('display.precision', 2)
            np.set_printoptions(precision=2)
            for name in ('a.library', 'made.by.the.task'):
                logging.getLogger(name).setLevel(logging.CRITICAL)
            self.dump(1)

    class Gets(kartnb.TaskOnKart[Any]):
        n = luigi.IntParameter()

        def run(self) -> None:
            levels = [logging.getLogger(name).level for name in ('a.library', 'made.by.the.task')]
            self.dump([pd.get_option('display.precision'), np.get_printoptions()['precision'], *levels])

    first = kartnb.build(Gets(n=1), executor=elsewhere)
    kartnb.build(Sets(), executor=elsewhere)
    assert kartnb.build(Gets(n=2), executor=elsewhere) == first
