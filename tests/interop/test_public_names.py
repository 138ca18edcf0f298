"""gokart's names in kartnb: the table, the modules that open on it, and ``import gokart`` itself."""

from __future__ import annotations

import importlib
import inspect
import os
import pickle
import subprocess
import sys
import textwrap
import types
from pathlib import Path
from typing import Any

import gokart
import pytest

import kartnb
from kartnb.compat.doors import _ROOMS
from kartnb.compat.names import HOMES, INSTEAD

#: Parts of gokart's inside that carry no underscore. No public code was found to use them.
INSIDE = {
    'ContextManagedTaskProcess',
    'FailureEvent',
    'GetWorkResponse',
    'InMemoryData',
    'P',
    'ParameterKwargs',
    'PandasTypeConfigMap',
    'R',
    'S',
    'TASK_ON_KART_TYPE',
    'TaskLockExceptionRaisedFlag',
    'TaskProcess',
    'WorkerProtocol',
    'ZipClient',
    'fork_lock',
    'load_task',
    'set_lock_scheduler',
    'set_task_lock',
    'task_complete_check_wrapper',
    'wrap_dump_with_lock',
    'wrap_load_with_lock',
    'wrap_remove_with_lock',
    'wrap_run_with_lock',
}
#: gokart keeps it in modules that import its classes too; the others hold names for the reader of one module.
TYPE_VARIABLES = {'K', 'T'}


def gokarts_modules() -> dict[str, types.ModuleType]:
    """gokart's modules by their names within gokart, without its plugin, which only mypy imports."""
    folder = Path(gokart.__path__[0])
    files = {file.relative_to(folder).with_suffix('') for file in folder.rglob('*.py')} - {Path('mypy')}
    names = {'.'.join(file.parts).removesuffix('__init__').rstrip('.') for file in files}
    return {name: importlib.import_module(f'gokart.{name}'.rstrip('.')) for name in sorted(names)}


MODULES = gokarts_modules()


def public_names(module: types.ModuleType) -> set[str]:
    """What `dir` has of a module of gokart's: what it defines, and of a package what its modules define."""
    homes = {name: str(getattr(getattr(module, name), '__module__', '')) for name in dir(module)}
    below = (
        (f'{module.__name__}.', 'gokart.') if module.__name__ in ('gokart', 'gokart.errors') else f'{module.__name__}.'
    )
    return {
        name
        for name, home in homes.items()
        if not name.startswith('_') and (home == module.__name__ or home.startswith(below))
    }


def resolved(home: str) -> Any:
    module, _, attribute = home.partition(':')
    found = importlib.import_module(module)
    return getattr(found, attribute) if attribute else found


@pytest.mark.parametrize('module', MODULES)
def test_each_public_name_of_gokart_is_here_or_says_what_to_use(module: str) -> None:
    unexplained = {
        name
        for name in public_names(MODULES[module])
        if name not in HOMES.get(module, {})
        and not {name, f'{module}.{name}', module} & INSTEAD.keys()
        and name not in INSIDE | TYPE_VARIABLES
    }
    assert unexplained == set()
    assert module in HOMES or module in INSTEAD


@pytest.mark.parametrize('module', [module for module in HOMES if module in MODULES])
def test_functions_take_their_arguments_by_gokarts_names(module: str) -> None:
    lacking = {}
    for name, home in HOMES[module].items():
        theirs, ours = getattr(MODULES[module], name), resolved(home)
        if inspect.isfunction(theirs) and not name.startswith('_'):
            lacking[name] = set(inspect.signature(theirs).parameters) - set(inspect.signature(ours).parameters)
    assert {name: missing for name, missing in lacking.items() if missing - {'args', 'kwargs'}} == {}


def test_the_table_has_no_name_that_gokart_does_not_have() -> None:
    unknown = {
        f'{module}.{name}'
        for module, homes in HOMES.items()
        for name in homes
        if module in MODULES and not hasattr(MODULES[module], name)
    }
    assert unknown == set()
    unwalked = {'conflict_prevention_lock', 'tree', 'mypy'}  # namespaces, and a plugin
    assert {module for module in HOMES if module not in MODULES} == unwalked


@pytest.mark.parametrize('module', HOMES)
def test_kartnb_has_a_module_of_each_name_with_the_same_names(module: str) -> None:
    opened = importlib.import_module(f'kartnb.{module}'.rstrip('.'))
    for name, home in HOMES[module].items():
        assert getattr(opened, name) is resolved(home), name
    assert set(HOMES[module]) <= set(dir(opened)) or module in _ROOMS


def test_importing_a_module_of_a_functions_name_leaves_the_function() -> None:
    from kartnb.build import GokartBuildError
    from kartnb.run import run

    assert kartnb.build.__module__ == 'kartnb.execution.build'
    assert kartnb.run is run
    assert GokartBuildError is kartnb.GokartBuildError
    assert importlib.import_module('kartnb.build').build is kartnb.build


def test_a_module_is_pickled_by_its_name() -> None:
    module = importlib.import_module('kartnb.build')
    assert pickle.loads(pickle.dumps(module)) is module


def test_modules_are_attributes_without_an_import_as_in_gokart() -> None:
    assert kartnb.target.make_target is resolved('kartnb.storage.targets:make_target')  # type: ignore[attr-defined]
    assert kartnb.tree.task_info.make_task_info_as_table  # type: ignore[attr-defined]


@pytest.mark.parametrize('package', ['kartnb', 'gokart'])
def test_a_name_that_is_not_here_says_what_to_use(package: str) -> None:
    answer = in_new_process(f"""
        import kartnb
        kartnb.as_gokart()
        for line in (
            'from {package}.target import make_targt',
            'import {package}.s3_zip_client',
            'from {package} import s3_zip_client',
            'from {package}.file_processor import CsvFileProcessorPolars',
            'from {package}.tree import task_inof',
        ):
            try:
                exec(line)
            except ImportError as error:
                print(error)
    """)
    expected = ["did you mean 'make_target'", 'fsspec', 'fsspec', "dataframe_type='polars'", package]
    assert [text for text, line in zip(expected, answer.splitlines(), strict=True) if text not in line] == []


def test_a_name_that_is_mistyped_is_guessed() -> None:
    with pytest.raises(AttributeError, match="'bild': did you mean 'build'"):
        getattr(kartnb, 'bi' + 'ld')
    assert not hasattr(kartnb, '__wrapped__')


def in_new_process(program: str, *, ok: bool = True) -> str:
    """What a program prints in a process of its own; its last line where it is to fail."""
    ended = subprocess.run(
        [sys.executable, '-c', textwrap.dedent(program)], capture_output=True, text=True, timeout=120
    )
    assert (ended.returncode == 0) is ok, ended.stderr
    return ended.stdout.strip() if ok else ended.stderr.strip().splitlines()[-1]


def test_import_gokart_means_kartnb_where_it_is_asked_for() -> None:
    assert (
        in_new_process("""
        import kartnb
        kartnb.as_gokart()
        kartnb.as_gokart()
        import gokart, gokart.info, luigi
        from gokart.build import GokartBuildError, TaskDumpConfig
        from gokart.conflict_prevention_lock.task_lock import TaskLockException
        import gokart.build as build
        assert gokart.TaskOnKart is kartnb.TaskOnKart
        assert GokartBuildError is kartnb.GokartBuildError
        assert build is gokart.build is kartnb.build
        assert gokart.plan is kartnb.plan
        assert luigi.retcodes
        from gokart import *
        print(TaskOnKart.__name__, sorted(set(dir(gokart)) & {'target', 'TaskOnKart', 'sweep'}))
    """)
        == "TaskOnKart ['TaskOnKart', 'sweep']"
    )


def test_threads_may_use_it_first_at_the_same_time() -> None:
    errors = in_new_process("""
        import importlib, threading, kartnb
        from kartnb.compat.names import HOMES
        kartnb.as_gokart()
        errors = []
        def use(module):
            try:
                opened = importlib.import_module(f'gokart.{module}'.rstrip('.'))
                for name in HOMES[module]:
                    getattr(opened, name)
                kartnb.build, kartnb.sweep, kartnb.TaskOnKart
            except Exception as error:
                errors.append(repr(error))
        threads = [threading.Thread(target=use, args=(module,)) for module in [*HOMES, *HOMES]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(errors)
    """)
    assert errors == '[]'


def test_its_logger_hears_kartnbs_messages() -> None:
    assert (
        in_new_process("""
        import logging, kartnb
        kartnb.as_gokart()
        heard = []
        handler = logging.Handler()
        handler.emit = lambda record: heard.append(record.name)
        logging.getLogger('gokart').addHandler(handler)
        logging.getLogger('gokart').setLevel('INFO')
        logging.getLogger('kartnb').info('something')
        print(heard)
    """)
        == "['kartnb']"
    )


def test_who_only_asks_for_a_module_gets_an_answer() -> None:
    program = """
        import importlib.util, kartnb
        kartnb.as_gokart()
        import gokart
        print(importlib.util.find_spec('gokart.nothing_at_all'), [n for n in dir(gokart) if not hasattr(gokart, n)])
    """
    assert in_new_process(program) == 'None []'


def test_it_is_refused_when_the_real_gokart_is_there() -> None:
    said = in_new_process('import gokart, kartnb; kartnb.as_gokart()', ok=False)
    assert 'The real gokart has been imported already' in said


def test_beside_the_real_gokart_luigi_finds_each_class() -> None:
    in_new_process("""
        import gokart, gokart.s3_config, importlib
        from kartnb.compat.names import HOMES
        from luigi.task_register import Register
        for homes in HOMES.values():
            for home in homes.values():
                importlib.import_module(home.partition(':')[0])
        for name in Register.task_names():
            Register.get_task_cls(name)
    """)


def test_the_real_gokart_stays_where_nothing_is_asked_for() -> None:
    assert in_new_process('import kartnb, gokart; print(gokart.TaskOnKart.__module__)') == 'gokart.task'


@pytest.mark.parametrize('executor', ["executor='processes'", 'executor=ProcessPoolExecutor(1)', 'executor=client()'])
def test_workers_import_it_too(executor: str, tmp_path: Path) -> None:
    (tmp_path / 'theirs.py').write_text(
        textwrap.dedent("""
        import gokart
        from gokart.target import make_target

        class Theirs(gokart.TaskOnKart[int]):
            def run(self):
                import gokart.utils
                self.dump([gokart.TaskOnKart.__module__, gokart.utils.flatten([[1]]), make_target.__module__])
        """)
    )
    program = tmp_path / 'program.py'
    program.write_text(
        textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        import kartnb
        from concurrent.futures import ProcessPoolExecutor

        def client():
            from distributed import Client
            return Client(n_workers=1, threads_per_worker=1, dashboard_address=None, host='127.0.0.1')

        if __name__ == '__main__':
            kartnb.as_gokart()
            import theirs
            print(kartnb.build(theirs.Theirs(workspace_directory={str(tmp_path / 'w')!r}), {executor}))
        """)
    )
    ended = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=180, cwd=tmp_path)
    assert ended.stdout.strip() == "['kartnb.task.base', [1], 'kartnb.storage.targets']", ended.stderr


@pytest.mark.parametrize('processes', ['0', '2'])
def test_the_tests_of_code_on_gokart_run_unchanged(processes: str, tmp_path: Path) -> None:
    (tmp_path / 'test_theirs.py').write_text(
        textwrap.dedent("""
        import gokart
        import luigi
        import pytest
        from gokart.build import GokartBuildError

        class Half(gokart.TaskOnKart[float]):
            n = luigi.IntParameter()

            def run(self):
                self.dump(1 / self.n)

        def test_value(tmp_path):
            assert gokart.build(Half(n=2, workspace_directory=str(tmp_path))) == 0.5

        def test_error(tmp_path):
            with pytest.raises(GokartBuildError):
                gokart.build(Half(n=0, workspace_directory=str(tmp_path)))

        def test_module():
            assert gokart.TaskOnKart.__module__ == 'kartnb.task.base'
        """)
    )
    command = [sys.executable, '-m', 'pytest', '-q', '-p', 'kartnb.compat.pytest', '-n', processes, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=180, cwd=tmp_path, env=clean_environment())
    assert '3 passed' in ended.stdout, ended.stdout


def clean_environment() -> dict[str, str]:
    """The environment without the options of this run of pytest."""
    return {name: value for name, value in os.environ.items() if not name.startswith('PYTEST_')}


def test_the_plugin_acts_only_as_one() -> None:
    # imported, as doctests are collected: the other tests still need the real gokart
    program = 'import kartnb.compat.pytest, gokart; print(gokart.TaskOnKart.__module__)'
    ended = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, timeout=180)
    assert ended.stdout == 'gokart.task\n'
