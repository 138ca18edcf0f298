"""What a task in a worker meets beside its options: the keyboard, builds that run beside it, modules that build."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import luigi
import pytest
from luigi.mock import MockTarget

import kartnb
from kartnb.execution.workers import task_pickler

BUILDING = """
import os
import luigi
import kartnb

class Part(kartnb.TaskOnKart):
    n = luigi.IntParameter()

    def run(self):
        self.dump(os.getpid())

class Whole(kartnb.TaskOnKart):
    def requires(self):
        return [Part(n=n) for n in range(4)]

    def run(self):
        self.dump(self.load())

VALUE = kartnb.build(Whole(), workers=2)
"""


def _run(place: Path, code: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, 'PYTHONWARNINGS': 'ignore'}
    return subprocess.run(
        [sys.executable, '-c', code], cwd=place, capture_output=True, text=True, timeout=60, env=variables
    )


def test_a_module_that_builds_while_workers_import_it_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / 'flow.py').write_text(BUILDING)
    done = _run(tmp_path, 'import flow')
    assert done.returncode == 1
    said = (
        'WorkerError: flow builds while it is imported, which each worker does again: put the build under `if __name__'
    )
    assert said in done.stderr
    assert not list((tmp_path / 'resources').glob('**/*.pkl')), 'no worker has run anything'


def test_a_module_may_take_what_is_cached_while_it_is_imported(tmp_path: Path) -> None:
    (tmp_path / 'flow.py').write_text(BUILDING.replace(', workers=2', ''))
    done = _run(
        tmp_path,
        """
import flow, kartnb

class Last(flow.Part):
    def requires(self):
        return flow.Part(n=1000)

    def run(self):
        self.dump(flow.VALUE)

print(kartnb.build(Last(n=1), workers=2) == flow.VALUE)
""",
    )
    assert done.stdout.split() == ['True'], done.stderr


def test_input_in_a_worker_is_an_error_at_once() -> None:
    class Asking(kartnb.TaskOnKart):
        def run(self) -> None:
            self.dump(input('How many? '))

    with pytest.raises(kartnb.GokartBuildError, match=r'input\(\) cannot ask anybody in a worker: make it a parameter'):
        kartnb.build(Asking(), executor='processes')


class Mocked(luigi.Task):
    n = luigi.IntParameter()

    def output(self) -> Any:
        return MockTarget(f'a mocked result {self.n}')

    def run(self) -> None:
        with self.output().open('w') as file:
            file.write(str(os.getpid()))


class Real(kartnb.TaskOnKart):
    def requires(self) -> Any:
        return [Mocked(n=n) for n in range(3)]

    def run(self) -> None:
        texts = []
        for target in self.input():
            with target.open() as file:
                texts.append(file.read())
        self.dump((os.getpid(), texts))


def test_mocked_results_are_made_where_they_can_be_seen() -> None:
    here = os.getpid()
    assert kartnb.build(Real(), workers=2) == (here, [str(here)] * 3)
    assert all(Mocked(n=n).complete() for n in range(3))


class Shared(kartnb.TaskOnKart):
    def run(self) -> None:
        self.set_status_message('running')
        STARTED.set()
        assert GO.wait(30)
        self.dump(5)


class Plain(luigi.Task):
    place = luigi.Parameter()

    def output(self) -> Any:
        return luigi.LocalTarget(self.place)

    def run(self) -> None:
        self.set_status_message('running')
        STARTED.set()
        assert GO.wait(30)
        Path(self.place).write_text('5')


STARTED, GO = threading.Event(), threading.Event()


class Wanting(kartnb.TaskOnKart):
    plain = luigi.BoolParameter()
    place = luigi.Parameter()

    def requires(self) -> Any:
        return Plain(place=self.place) if self.plain else Shared()

    def run(self) -> None:
        self.dump('done')


@pytest.mark.parametrize('plain', [False, True])
def test_a_task_that_runs_in_threads_can_be_sent_to_workers(plain: bool, tmp_path: Path) -> None:
    """As when a build with workers wants a task that a build with threads runs at that moment."""
    STARTED.clear()
    GO.clear()
    wanting = Wanting(plain=plain, place=str(tmp_path / 'plain'))
    running = wanting.requires()
    build = kartnb.build(wanting, background=True, executor='threads')
    assert STARTED.wait(30)
    assert callable(running.set_status_message)
    sent = task_pickler.dumps([running])
    GO.set()
    assert build.result() == 'done'
    assert b'set_status_message' not in sent
