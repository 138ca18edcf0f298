"""A type checker infers what a task gives: mypy agrees with every line of `typed_tasks.py`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_mypy_infers_what_tasks_give(repository: Path, tmp_path: Path) -> None:
    _check('typed_tasks.py', repository, tmp_path)


def test_with_the_plugin_parameters_are_annotated_as_for_gokart(repository: Path, tmp_path: Path) -> None:
    (tmp_path / 'mypy.ini').write_text('[mypy]\nplugins = kartnb.mypy\n')
    _check('annotated_values.py', repository, tmp_path, '--config-file', str(tmp_path / 'mypy.ini'))


def _check(name: str, repository: Path, cache: Path, *options: str) -> None:
    file = repository / 'tests' / 'typing' / name
    command = [sys.executable, '-m', 'mypy', '--strict', '--follow-imports=silent', '--cache-dir', str(cache), *options]
    done = subprocess.run([*command, str(file)], cwd=repository, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
