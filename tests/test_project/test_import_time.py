"""Importing kartnb takes about as long as importing luigi, which it needs: heavy imports wait until they are used."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HEAVY = (
    'IPython',
    'anywidget',
    'cloudpickle',
    'fsspec',
    'ipywidgets',
    'jinja2',
    'loky',
    'matplotlib',
    'numpy',
    'pandas',
    'polars',
    'pyarrow',
    'pygraphviz',
    'redis',
)
# `import kartnb` alone imports next to nothing: the names are lazy. This is what every user pays.
USED = 'from kartnb import TaskOnKart, build, plan'
RUNS = 3
LIMIT = 2.0


@pytest.mark.parametrize('statement', ['import kartnb', USED])
def test_importing_imports_nothing_heavy(statement: str, repository: Path) -> None:
    assert _run(f'{statement}; import sys; print([m for m in {HEAVY} if m in sys.modules])', repository) == '[]'


def test_importing_costs_about_what_luigi_costs(
    repository: Path, record_property: Callable[[str, object], None]
) -> None:
    rounds = [[_cpu_seconds(statement, repository) for statement in (USED, 'import luigi')] for _ in range(RUNS)]
    ours, luigis = (min(seconds) for seconds in zip(*rounds, strict=True))
    record_property('measured', f'{USED!r} / import luigi, CPU time, best of {RUNS} each: {ours / luigis:.2f}')
    assert ours / luigis < LIMIT


def test_what_luigi_imports_of_jsonschema_compiles_no_grammar_before_it_is_needed(repository: Path) -> None:
    pytest.importorskip('rfc3987_syntax')
    code = (
        f'import kartnb, luigi; {USED}; import sys, jsonschema; print("lark" in sys.modules);'
        'check = jsonschema.FormatChecker(["iri"]).conforms;'
        'print(check("http://ä.example/", "iri"), check("nö", "iri"));'
        'import rfc3987_syntax; print(rfc3987_syntax.is_valid_syntax("iri", "http://ä.example/"))'
    )
    assert _run(code, repository).split() == ['False', 'True', 'False', 'True']


def _cpu_seconds(statement: str, repository: Path) -> float:
    code = f'import time; start = time.process_time(); {statement}; print(time.process_time() - start)'
    return float(_run(code, repository))


def _run(code: str, repository: Path) -> str:
    done = subprocess.run([sys.executable, '-c', code], cwd=repository, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
