"""Ids, paths, seeds and texts that gokart 1.12.2 gave once, for ever."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

IDS = {
    'Empty()': '0f8a1e535d6e08afe59f40696f6010c5',
    'A()': '3620d25466226184e64b2f28b84f89c3',
    'A(n=4)': 'e899b18babdfb3699eff7e3e34ab86e6',
    'B(a=A())': 'e6ca42abb22f453b2cdd546a8ed35b5c',
    'C(l=[A(), A(n=4)])': '4ac21b6e00dd135ba4c4b62d66a66916',
    'R()': '826afb8cb410f3d1eee7482cc048b561',
    'P()': '8d57cfd8fa5859b11f8f131f9ad163db',
    'U()': '8e9dc185be03d069d1ebcb5b366acb4b',
    'TaskOnKart()': '7757badf81370beccb26f204c5bddba5',
    'Example()': '8441c59b5ce0113396d53509f19371fb',
}
TASK_TEXT = (
    '{"type": "A", "params": "425a6839314159265359e34f69d000000f198050054a100001604a2000310000069a9a1a365142415590ad4b'
    '21d8643311e3f177245385090e34f69d00"}'
)


# a script, so that the module of its classes is `__main__`
SCRIPT = """
import datetime
import importlib
import json
import sys

import luigi

gokart = importlib.import_module(sys.argv[1])


class A(gokart.TaskOnKart):
    p = luigi.Parameter(default='x')
    n = luigi.IntParameter(default=3)
    q = luigi.FloatParameter(default=0.5)
    s = luigi.Parameter(default='sec', significant=False)


class B(gokart.TaskOnKart):
    a = gokart.TaskInstanceParameter()
    z = luigi.IntParameter(default=1)


class C(gokart.TaskOnKart):
    l = gokart.ListTaskInstanceParameter()


class Empty(gokart.TaskOnKart):
    pass


class Example(gokart.TaskOnKart):
    pass


class R(gokart.TaskOnKart):
    def requires(self):
        return {'x': A(), 'y': [A(n=9)]}


class P(gokart.TaskOnKart):
    d = luigi.DateParameter(default=datetime.date(2024, 1, 2))
    l = luigi.ListParameter(default=[1, 'b', {'c': 2}])
    di = luigi.DictParameter(default={'b': 1, 'a': [1, 2]})
    b = luigi.BoolParameter(default=True)
    o = luigi.OptionalParameter(default=None)


class U(gokart.TaskOnKart):
    u = luigi.Parameter(default='日本')


def seed(task: gokart.TaskOnKart) -> int:
    if sys.argv[1] == 'gokart':
        return task._get_random_seed()
    from kartnb.task.randomness import seed_of

    return seed_of(task)


tasks = {
    'Empty()': Empty(),
    'A()': A(),
    'A(n=4)': A(n=4),
    'B(a=A())': B(a=A()),
    'C(l=[A(), A(n=4)])': C(l=[A(), A(n=4)]),
    'R()': R(),
    'P()': P(),
    'U()': U(),
    'TaskOnKart()': gokart.TaskOnKart(),
    'Example()': Example(),
}
print(
    json.dumps(
        {
            'ids': {name: task.make_unique_id() for name, task in tasks.items()},
            'paths': {name: task.output().path() for name, task in tasks.items()},
            'seeds': {name: seed(task) for name, task in tasks.items()},
            'task text': B(a=A()).to_str_params()['a'],
            'list text': C(l=[A()]).to_str_params()['l'],
            'representation': repr(C(l=[A(), A(n=4)])),
            'text forms': P().to_str_params(only_significant=True),
        }
    )
)
"""


@pytest.fixture(scope='module', params=['kartnb', 'gokart'])
def vectors(request: pytest.FixtureRequest, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the script prints under one of the libraries."""
    directory = tmp_path_factory.mktemp('golden')
    script = directory / 'vectors.py'
    script.write_text(SCRIPT, encoding='utf-8')
    done = subprocess.run(
        [sys.executable, str(script), request.param],
        cwd=directory,
        env={'PYTHONPATH': str(repository), 'PATH': ''},
        capture_output=True,
        text=True,
        check=True,
    )
    return {'library': request.param, **json.loads(done.stdout)}


def test_ids(vectors: Any) -> None:
    assert vectors['ids'] == IDS


def test_an_id_is_the_md5_of_its_parts() -> None:
    assert hashlib.md5(b"[{'p': 'x', 'n': '3', 'q': '0.5'}, 'A']").hexdigest() == IDS['A()']


def test_paths(vectors: Any) -> None:
    home = dict.fromkeys(IDS, '__main__') | {'TaskOnKart()': f'{vectors["library"]}/task'}
    if vectors['library'] == 'kartnb':
        home['TaskOnKart()'] = 'kartnb/task/base'
    expected = {name: f'./resources/{home[name]}/{name.partition("(")[0]}_{id}.pkl' for name, id in IDS.items()}
    assert vectors['paths'] == expected


def test_seeds(vectors: Any) -> None:
    assert vectors['seeds']['Empty()'] == 3254220849
    assert vectors['seeds']['A()'] == 987622597


def test_tasks_as_text(vectors: Any) -> None:
    assert vectors['task text'] == TASK_TEXT
    assert vectors['list text'] == json.dumps([TASK_TEXT])
    assert vectors['representation'] == (f'C[{IDS["C(l=[A(), A(n=4)])"]}](l=[A({IDS["A()"]}), A({IDS["A(n=4)"]})])')


def test_parameters_as_text(vectors: Any) -> None:
    assert vectors['text forms'] == {
        'd': '2024-01-02',
        'l': '[1, "b", {"c": 2}]',
        'di': '{"b": 1, "a": [1, 2]}',
        'b': 'True',
        'o': '',
    }
