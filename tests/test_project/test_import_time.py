"""`import kartnb` is about as light as `import luigi`: what is heavy waits until it is needed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

HEAVY = (
    'IPython',
    'anywidget',
    'cloudpickle',
    'fsspec',
    'ipywidgets',
    'jinja2',
    'matplotlib',
    'numpy',
    'pandas',
    'polars',
    'pyarrow',
    'pygraphviz',
    'redis',
)
RUNS = 5
LIMIT = 2.0


def test_importing_imports_nothing_heavy(repository: Path) -> None:
    loaded = _run(f'import sys, kartnb; kartnb.TaskOnKart; print([m for m in {HEAVY} if m in sys.modules])', repository)
    assert loaded == '[]'


def test_importing_costs_about_what_luigi_costs(
    repository: Path, record_property: Callable[[str, object], None]
) -> None:
    ours, luigis = zip(*(_pair(repository) for _ in range(RUNS)), strict=True)
    ratio = min(ours) / min(luigis)
    record_property('measured', f'import kartnb / import luigi, CPU time, best of {RUNS} each: {ratio:.2f}')
    assert ratio < LIMIT


def _pair(repository: Path) -> tuple[float, float]:
    return _cpu_seconds('kartnb', repository), _cpu_seconds('luigi', repository)


def _cpu_seconds(module: str, repository: Path) -> float:
    code = f'import time; start = time.process_time(); import {module}; print(time.process_time() - start)'
    return float(_run(code, repository))


def _run(code: str, repository: Path) -> str:
    done = subprocess.run([sys.executable, '-c', code], cwd=repository, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
