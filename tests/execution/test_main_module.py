"""The notebook in worker processes: tasks find in ``__main__`` there what they find where the build is."""

from __future__ import annotations

import builtins
import concurrent.futures
import multiprocessing
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import kartnb
from kartnb.execution.workers import task_pickler
from kartnb.execution.workers.main_module import SentMain
from kartnb.execution.workers.transport import ClassStore
from tests.planning.notebook import Notebook, forget_classes

WORLD = """
import concurrent.futures
import copy
import functools
import inspect
import multiprocessing
import pickle
import sys

class Net:
    def __init__(self):
        self.weight = 1

class Layer(Net):
    class Inner:
        pass

def square(x):
    return x * x

@functools.lru_cache
def remembered(x):
    return square(x) + 1

def counted(x, how=square):
    STATE['calls'] += 1
    return how(x)

STATE = {'calls': 0}
ALIAS = STATE
NETS = [Net(), Net]
def others():
    return STATE

class Found(kartnb.TaskOnKart):
    ask = luigi.Parameter()

    def run(self):
        import __main__
        forks = multiprocessing.get_context('fork')
        if self.ask == 'pickled by reference':
            # the C pickler, which refuses what it does not find under its name
            given = [Net(), Layer, Layer.Inner, square, counted, remembered]
            found = [pickle.loads(pickle.dumps(value)) for value in given]
            result = [type(found[0]) is Net, *(a is b for a, b in zip(given[1:], found[1:], strict=True))]
        elif self.ask == 'pool':
            with forks.Pool(2) as pool:
                result = pool.map(square, range(4))
        elif self.ask == 'executor':
            with concurrent.futures.ProcessPoolExecutor(2, mp_context=forks) as pool:
                result = list(pool.map(square, range(4)))
        elif self.ask == 'source':
            result = [inspect.getsource(square), inspect.getsource(Net.__init__)]
        elif self.ask == 'import':
            from __main__ import Net as imported
            result = [imported is Net, __main__.square is square, sys.modules['__main__'].Layer is Layer]
        elif self.ask == 'globals':
            result = ['Net' in globals(), globals()['square'] is square, 'not there' in globals()]
        elif self.ask == 'only by name':
            result = [getattr(__main__, 'LOOKED_UP'), eval('ALSO_LOOKED_UP')]
        elif self.ask == 'identity':
            counted(3)
            result = [ALIAS is STATE, others() is STATE, STATE['calls'] > 0, NETS[1] is Net, type(NETS[0]) is Net,
                      counted.__defaults__[0] is square, issubclass(Layer, Net)]
        self.dump(result)

LOOKED_UP = 5
ALSO_LOOKED_UP = 6
"""
ASKED = ['pickled by reference', 'pool', 'executor', 'source', 'import', 'globals', 'only by name', 'identity']


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Notebook]:
    """A notebook whose namespace is that of ``__main__``."""
    found = Notebook()
    module = ModuleType('__main__')
    vars(module).update(found.names)
    found.names = vars(module)
    monkeypatch.setitem(sys.modules, '__main__', module)
    yield found
    forget_classes()


@pytest.fixture(params=['nursery', 'spawned', 'dask'])
def workers(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """Options of a build; the workers of the last two live longer than it."""
    if request.param == 'nursery':
        yield {'workers': 2}
    elif request.param == 'spawned':
        context = multiprocessing.get_context('spawn')
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
            yield {'executor': pool}
    else:
        distributed = pytest.importorskip('distributed')
        with (
            distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None, host='127.0.0.1') as x,
            distributed.Client(x) as client,
        ):
            yield {'executor': client}


@pytest.mark.parametrize('ask', ASKED)
def test_a_worker_finds_what_the_notebook_has(notebook: Notebook, ask: str) -> None:
    notebook.run(WORLD)
    task = notebook['Found'](ask=ask)
    inline = kartnb.build(task)
    assert not isinstance(inline[0], bool) or False not in inline[:2]
    assert kartnb.build(task, workers=2, rerun=True) == inline


def test_workers_follow_the_notebook_there_and_back(notebook: Notebook, workers: dict[str, Any]) -> None:
    notebook.run('LIMIT = 1\nTABLE = {}\ndef helped():\n    return LIMIT')
    notebook.run(
        """
class First(kartnb.TaskOnKart):
    def run(self):
        import __main__
        TABLE['seen'] = TABLE.get('seen', 0) + 1
        self.dump((helped(), LIMIT, __main__.helped(), getattr(__main__, 'EXTRA', None), TABLE['seen'] > 0))

class Second(kartnb.TaskOnKart):
    def requires(self):
        return First()

    def run(self):
        self.dump([self.load(), LIMIT])
"""
    )

    def build() -> Any:
        return kartnb.build(notebook['Second'](), **workers, rerun=True)

    assert build() == [(1, 1, 1, None, True), 1]
    notebook.run('LIMIT = 2\nEXTRA = 3')
    assert build() == [(2, 2, 2, 3, True), 2]
    notebook.run('LIMIT = 1\ndel EXTRA')
    assert build() == [(1, 1, 1, None, True), 1]
    notebook.run('def helped():\n    return -LIMIT')
    assert build() == [(-1, 1, -1, None, True), 1]


def test_what_a_pickle_names_is_found_in_a_worker(notebook: Notebook) -> None:
    notebook.run(
        """
import pickle
SCALE = 3
class Forest:
    def __init__(self): self.trees = [Tree()]
    def predict(self): return SCALE * len(self.trees)
class Tree:
    pass
pickle.dump(Forest(), open('forest.pkl', 'wb'))

class Predicted(kartnb.TaskOnKart):
    n = luigi.IntParameter()
    def run(self):
        with open('forest.pkl', 'rb') as file:
            forest = pickle.load(file)
        again = pickle.loads(pickle.dumps(forest))
        import __main__
        self.dump((again.predict(), type(again) is type(forest), hasattr(__main__, 'nothing')))

class All(kartnb.TaskOnKart):
    def requires(self): return [Predicted(n=n) for n in range(4)]
    def run(self): self.dump(self.load())
"""
    )
    assert kartnb.build(notebook['All'](), workers=2) == [(3, True, False)] * 4


def test_what_a_notebook_puts_into_libraries_is_there(notebook: Notebook, workers: dict[str, Any]) -> None:
    notebook.run(
        """
import fractions, statistics
from fractions import Fraction
original = statistics.mean
PUT = 'put'
class Patched(kartnb.TaskOnKart):
    def run(self):
        self.dump((statistics.mean([1, 3]), getattr(Fraction(1, 2), 'doubled', lambda: None)()))
"""
    )
    assert kartnb.build(notebook['Patched'](), **workers) == (2, None)
    notebook.run(
        'statistics.mean = lambda values: PUT\ndef doubled(self):\n    return 2 * self\nFraction.doubled = doubled'
    )
    try:
        inline = kartnb.build(notebook['Patched'](), rerun=True)
        assert inline == ('put', 1)
        assert kartnb.build(notebook['Patched'](), **workers, rerun=True) == inline
    finally:
        notebook.run('statistics.mean = original\ndel Fraction.doubled')
    assert kartnb.build(notebook['Patched'](), **workers, rerun=True) == (2, None)


def test_values_that_hold_each_other_arrive(notebook: Notebook) -> None:
    notebook.run(
        """
TABLE = {}
class A:
    table = TABLE
class B(A):
    other = A
A.child = B
TABLE['a'], TABLE['b'] = A, B
LEFT, RIGHT = [], []
LEFT.append(RIGHT)
RIGHT.append(LEFT)
def even(n): return n == 0 or odd(n - 1)
def odd(n): return n != 0 and even(n - 1)
PAIR = {'even': even, 'odd': odd}

class Circle(kartnb.TaskOnKart):
    def run(self):
        found = [TABLE['a'] is A, TABLE['b'].other is A, A.child is B, A.table['b'] is B]
        self.dump([*found, LEFT[0][0][0][0] is not None, RIGHT[0][0] is not None, PAIR['even'](4), even(3)])
"""
    )
    made = kartnb.build(notebook['Circle']())
    assert made == [*[True] * 7, False]
    assert kartnb.build(notebook['Circle'](), workers=2, rerun=True) == made


SHARED = """
import functools, weakref
from collections import OrderedDict, defaultdict, deque

class Item:
    all = set()
    def __init__(self, key):
        self.key, self.set = key, 0
        self.all.add(self)
        self.table = TABLE
    def __hash__(self):
        return hash(self.key)
    def __setstate__(self, state):
        vars(self).update(state, set=1)
TABLE = {}
FIRST, SECOND = Item('first'), Item('second')
TABLE[FIRST] = SECOND
FIRST.other, SECOND.other = SECOND, FIRST
Item.default = FIRST
LEFT, RIGHT = [], []
LEFT.append(RIGHT)
RIGHT.append(LEFT)
GROUPED, ORDERED, QUEUE = defaultdict(list), OrderedDict(), deque()
GROUPED['x'].append(ORDERED)
ORDERED['x'] = QUEUE
QUEUE.append(GROUPED)
WEAK = weakref.ref(FIRST), weakref.WeakValueDictionary(x=SECOND), weakref.WeakKeyDictionary({FIRST: 1})

class Own:
    def __init__(self, item):
        self.item = item
    def __reduce__(self):
        return Own, (self.item,)
OWN = Own(FIRST)
FIRST.own = OWN

def counter():
    count = 0
    def add():
        nonlocal count
        count += 1
    return add, lambda: count
add, count = counter()

@functools.singledispatch
def kind(value):
    return 'any'
kind.register(int, lambda value: 'int')
assert kind(1) == 'int'

class Identity(kartnb.TaskOnKart):
    first = luigi.Parameter()

    def run(self):
        # what it looks at first
        add()
        found = [FIRST.other is SECOND, SECOND.other is FIRST, Item.default is FIRST, TABLE[FIRST] is SECOND,
                 FIRST.table is TABLE, FIRST in Item.all, len(Item.all) == 2, LEFT[0] is RIGHT, RIGHT[0] is LEFT,
                 len(LEFT) == len(RIGHT) == 1, GROUPED['x'][0] is ORDERED, ORDERED['x'] is QUEUE, QUEUE[0] is GROUPED,
                 WEAK[0]() is FIRST, WEAK[1]['x'] is SECOND, FIRST in WEAK[2], OWN.item is FIRST, FIRST.own is OWN,
                 count() > 0, kind(1) == 'int']
        self.dump(found)
"""


@pytest.mark.parametrize('first', ['FIRST', 'TABLE', 'Item', 'OWN', 'WEAK', 'QUEUE'])
def test_values_that_hold_each_other_are_the_same_in_a_worker(notebook: Notebook, first: str) -> None:
    notebook.run(SHARED.replace('# what it looks at first', first))
    task = notebook['Identity'](first=first)
    assert kartnb.build(task) == [True] * 20
    assert kartnb.build(task, workers=2, rerun=True) == [True] * 20


def test_classes_are_made_in_a_worker_as_they_were_made_in_the_notebook(
    notebook: Notebook, workers: dict[str, Any]
) -> None:
    notebook.run(
        """
import abc, enum
class Plugin:
    def __init_subclass__(cls, *, key):
        REGISTER[key] = cls
REGISTER = {}
class One(Plugin, key='one'): pass

class Schema(type):
    made = []
    def __new__(cls, name, bases, names, *, table):
        cls.made.append(name)
        made = super().__new__(cls, name, bases, names)
        type.__setattr__(made, 'table', table)
        return made
    def __init__(self, name, bases, names, *, table):
        super().__init__(name, bases, names)
    def __setattr__(self, name, value):
        raise AttributeError('is not to be set')
class User(metaclass=Schema, table='users'):
    columns = ['name']

class Planet(enum.Enum):
    EARTH = (6, 3)
    def __init__(self, mass, radius):
        self.mass, self.radius = mass, radius

class Made(kartnb.TaskOnKart):
    def run(self):
        self.dump([list(REGISTER), REGISTER['one'] is One, Schema.made, User.table, User.columns, Planet.EARTH.mass])
"""
    )
    made = kartnb.build(notebook['Made']())
    assert made == [['one'], True, ['User'], 'users', ['name'], 6]
    for _ in range(2):
        assert kartnb.build(notebook['Made'](), **workers, rerun=True) == made


def test_a_value_that_is_where_a_variable_was_is_not_taken_for_it(notebook: Notebook) -> None:
    notebook.run('LIST = [1]\nOTHER = [2]\ndef read(): return LIST, OTHER')
    given = SentMain(lambda value: task_pickler.dumps(value, main=given))
    given.dumps('nothing')
    before = notebook['LIST']
    notebook.run('LIST = [3]')
    data, reached = given.dumps([before])
    assert b'main:LIST' not in data
    assert not reached


def test_what_cannot_be_sent_of_the_notebook_is_named(notebook: Notebook) -> None:
    notebook.run(
        """
import threading
LOCK = threading.Lock()
def guarded():
    with LOCK:
        return 1

class Guarded(kartnb.TaskOnKart):
    def run(self):
        self.dump(guarded())

class Free(kartnb.TaskOnKart):
    def run(self):
        import __main__
        self.dump(hasattr(__main__, 'LOCK'))
"""
    )
    with pytest.raises(kartnb.GokartBuildError, match=r'Guarded cannot be sent.*because LOCK, which it uses,'):
        kartnb.build(notebook['Guarded'](), workers=2)
    assert kartnb.build(notebook['Free'](), workers=2) is False


def test_a_notebook_that_is_edited_meanwhile_is_sent_anew(notebook: Notebook) -> None:
    notebook.run('LIMIT = 1\nclass Early:\n    limit = LIMIT\n    def read(self): return LIMIT')
    notebook.run('class Late:\n    def read(self): return LIMIT\nclass Other:\n    pass')
    first, second, same = ClassStore(), ClassStore(), ClassStore()
    first.take(notebook['Early'])
    same.take(notebook['Late'])
    assert same.agrees_with(first)
    notebook.run('LIMIT = 2')
    second.take(notebook['Late'])
    assert not second.agrees_with(first)
    third = ClassStore()
    third.take(notebook['Other'])
    assert third.agrees_with(first)


def test_each_part_of_a_background_build_runs_with_what_it_was_sent(notebook: Notebook) -> None:
    notebook.run(
        """
import os, time
LIMIT = 1
class Early(kartnb.TaskOnKart):
    def run(self):
        open('begun', 'w').close()
        while not os.path.exists('edited'):
            time.sleep(0.01)
        self.dump(LIMIT)

class Late(kartnb.TaskOnKart):
    def requires(self):
        return Early()

    def run(self):
        self.dump((self.load(), LIMIT))
"""
    )
    build = kartnb.build(notebook['Late'](), workers=1, executor='processes', background=True)
    waiting = threading.Event()
    while not Path('begun').exists():
        waiting.wait(0.01)
    notebook.run('LIMIT = 2')
    Path('edited').touch()
    assert build.wait(60)
    assert build.result() == (1, 2)
    # neither result is that of the code of now without a word
    assert kartnb.build(notebook['Late']()) == (2, 2)


@pytest.mark.parametrize('base', ['kartnb.TaskOnKart[int]', 'kartnb.TaskOnKart, typing.Generic[T]'])
def test_a_class_with_a_type_among_its_bases_is_made_in_a_worker(notebook: Notebook, base: str) -> None:
    notebook.run(
        f"""
import typing
T = typing.TypeVar('T')
class Typed({base}):
    def run(self):
        self.dump(Typed.__name__)
"""
    )
    assert kartnb.build(notebook['Typed'](), workers=2) == 'Typed'


PLUGINS = """
import functools

REGISTRY = {'own': len}
HOOKS = []
conf = None

class Base:
    known = {}

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        Base.known[cls.__name__] = cls

class Bus:
    def __init__(self):
        self.listeners = []

BUS = Bus()

def register(function):
    REGISTRY[function.__name__] = function
    return function

def run_hooks(value):
    return [hook(value) for hook in HOOKS] + [listener(value) for listener in BUS.listeners]
"""


def test_registers_of_the_users_modules_hold_what_the_notebook_has_registered(
    notebook: Notebook, workers: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'own_plugins.py').write_text(PLUGINS)
    monkeypatch.syspath_prepend(str(tmp_path))
    notebook.run(
        """
import json, own_plugins
class Looks(kartnb.TaskOnKart):
    def run(self):
        registered = [own_plugins.REGISTRY.get('doubled', lambda x: None)(4), len(own_plugins.REGISTRY)]
        kinds = sorted(own_plugins.Base.known)
        same = own_plugins.conf is globals().get('Conf') and type(own_plugins.Base.known.get('Plugin')).__name__
        accessor = getattr(json, 'table', None)
        self.dump([registered, kinds, same, own_plugins.run_hooks(5), accessor and accessor['a'](6)])
"""
    )
    bare = [[None, 1], [], 'NoneType', [], None]

    def build() -> Any:
        inline = kartnb.build(notebook['Looks'](), rerun=True)
        assert kartnb.build(notebook['Looks'](), **workers, rerun=True) == inline
        return inline

    try:
        assert build() == bare
        notebook.run(
            """
@own_plugins.register
def doubled(x): return 2 * x
class Plugin(own_plugins.Base): pass
class Conf: pass
class Hook:
    def __call__(self, value): return value + 1
own_plugins.conf = Conf
own_plugins.HOOKS.append(doubled)
own_plugins.BUS.listeners.append(Hook())
json.table = {'a': doubled}
"""
        )
        assert build() == [[8, 2], ['Plugin'], 'type', [10, 6], 12]
        notebook.run(
            'own_plugins.HOOKS.clear(); own_plugins.BUS.listeners.clear(); own_plugins.REGISTRY.pop("doubled")'
        )
        assert build()[3] == []
    finally:
        notebook.run('import json, sys\njson.__dict__.pop("table", None); sys.modules.pop("own_plugins", None)')


def test_what_a_task_displays_is_written_in_a_worker(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builtins, 'display', print, raising=False)  # as IPython does
    notebook.run(
        """
class Shown(kartnb.TaskOnKart):
    def run(self):
        display(['shown'], 2)
        self.dump(3)
"""
    )
    assert kartnb.build(notebook['Shown'](), workers=2) == 3
    assert [line.text for line in kartnb.logs(notebook['Shown']())] == ["['shown']", '2']


def test_an_accessor_of_a_notebook_is_there(notebook: Notebook) -> None:
    notebook.run(
        """
import pandas as pd
@pd.api.extensions.register_dataframe_accessor('own_sum')
class OwnSum:
    def __init__(self, table): self._table = table
    def total(self): return int(self._table.sum().sum())

class Sums(kartnb.TaskOnKart):
    def run(self):
        self.dump(pd.DataFrame({'a': [1, 2]}).own_sum.total())
"""
    )
    try:
        assert kartnb.build(notebook['Sums'](), workers=2) == 3
    finally:
        notebook.run('del pd.DataFrame.own_sum; pd.DataFrame._accessors.discard("own_sum")')


def test_a_thread_of_the_notebook_stays_there(notebook: Notebook, recwarn: pytest.WarningsRecorder) -> None:
    notebook.run(
        """
import multiprocessing, threading
go_on = threading.Event()
def wait(): go_on.wait(60)
class Waiting(threading.Thread):
    def run(self): wait()

threads = [threading.Thread(target=wait), Waiting()]
for thread in threads: thread.start()

class Counts(kartnb.TaskOnKart):
    def run(self):
        self.dump(len(threading.enumerate()))
"""
    )
    try:
        assert kartnb.build(notebook['Counts'](), workers=2) <= 2  # one is kartnb's own
    finally:
        notebook.run('go_on.set()\nfor thread in threads: thread.join()')
    assert [str(warning.message) for warning in recwarn if 'was replaced by' in str(warning.message)] == []


def test_a_c_library_of_the_notebook_is_loaded_in_a_worker(notebook: Notebook) -> None:
    notebook.run(
        """
import ctypes
library = ctypes.CDLL(None)
numbers = (ctypes.c_int * 4)(1, 2, 3, 4)

class Calls(kartnb.TaskOnKart):
    def run(self):
        self.dump(library.abs(-3))

class Sums(kartnb.TaskOnKart):
    def run(self):
        self.dump(sum(numbers))
"""
    )
    assert kartnb.build(notebook['Calls'](), workers=2) == 3
    with pytest.raises(kartnb.GokartBuildError, match='because numbers, which it uses, cannot be pickled'):
        kartnb.build(notebook['Sums'](), workers=2)
