"""The package works with the oldest dependencies that pyproject.toml allows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

EXTRAS = 'apprise,dask,lab,parquet,polars,redis,slack'
TOOLS = {'attrs', 'gokart', 'hypothesis', 'nbclient', 'nbformat', 'pydantic', 'pytest', 'toml', 'wrapt'}
# What a dependency's old version can break: ids and parameters, formats and pickles, locks, pictures, magics, records.
SELECTED = (
    'tests/task',
    'tests/storage',
    'tests/history/test_history.py',
    'tests/execution/test_build.py',
    'tests/planning/test_plan.py',
    'tests/view/test_html.py',
    'tests/view/test_layout.py',
    'tests/notebook/test_extension.py',
    'tests/notebook/test_build_magic.py',
    # tasks, results and errors on their way to worker processes and back: by cloudpickle, loky and Dask
    'tests/execution/test_executors.py::test_every_executor_gives_the_same[processes]',
    'tests/execution/test_executors.py::test_every_executor_gives_the_same[loky]',
    'tests/execution/test_executors.py::test_every_executor_gives_the_same[dask]',
    'tests/execution/test_executors.py::test_a_failure_in_a_cell_shows_its_line[loky]',
    'tests/execution/test_executors.py::test_a_failure_in_a_cell_shows_its_line[dask]',
    'tests/execution/test_executors.py::test_functions_in_results_name_their_cell[loky]',
    'tests/execution/test_executors.py::test_functions_in_results_name_their_cell[dask]',
)
# These are about the system, kills, size and source, which no dependency changes, or measure time, or need a server;
# the run with the newest versions has them.
IGNORED = (
    'tests/storage/test_damage.py',
    'tests/task/test_imported_code.py',
    'tests/task/test_print_of_source.py',
    'tests/storage/test_filesystem.py',
    'tests/storage/test_credentials.py',
    'tests/storage/test_object_store.py',
    'tests/task/test_scale.py',
)
LEFT_OUT = (
    *('in_time', 'quick', 'not_copied'),
    *('20_000', '10000', 'long_chain'),
    *('kill_leaves', 'take_turns', '(missing_package and gs)', '(missing_package and az)'),
)
PASSED_AT_LEAST = 1000
# uv compiles nothing, so that without bytecode each of the many processes would compile all that it imports.
NOT_HANDED_ON = ('KARTNB_REQUIRE_ALL', 'PYTEST_ADDOPTS', 'PYTHONDONTWRITEBYTECODE')


@pytest.mark.lowest
def test_lowest_supported_versions(
    repository: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    python = _environment(repository, tmp_path / 'lowest')
    environment = {name: value for name, value in os.environ.items() if name not in NOT_HANDED_ON}
    ignored = [f'--ignore={path}' for path in IGNORED]
    chosen = ['-k', f'not ({" or ".join(LEFT_OUT)})']
    command = [str(python), '-m', 'pytest', '-q', '-p', 'no:cacheprovider', *SELECTED, *ignored, *chosen]
    done = _run(command, cwd=repository, env=environment)
    passed = re.search(r'(\d+) passed', done)
    assert passed is not None, done
    assert int(passed[1]) >= PASSED_AT_LEAST, done
    record_property('measured', f'lowest supported versions: {done.splitlines()[-1].strip("= ")}')


def _environment(repository: Path, place: Path) -> Path:
    """Create a virtual environment with the lowest versions, and return its Python."""
    uv = shutil.which('uv', path=str(Path(sys.executable).parent)) or 'uv'
    python = place / 'bin' / 'python'
    _run([uv, 'venv', '--quiet', '--python', sys.executable, str(place)])
    install = [uv, 'pip', 'install', '--quiet', '--python', str(python), '--resolution', 'lowest-direct']
    _run([*install, '--editable', f'{repository}[{EXTRAS}]', *_tools(repository)])
    return python


def _tools(repository: Path) -> list[str]:
    project = tomllib.loads((repository / 'pyproject.toml').read_text())['project']
    return [line for line in project['optional-dependencies']['test'] if re.split(r'[<>=\[]', line)[0] in TOOLS]


def _run(command: list[str], cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, f'{" ".join(command)}\n{done.stdout[-8000:]}\n{done.stderr[-4000:]}'
    return done.stdout
