"""Type checkers infer what a task gives: mypy and pyright agree with every line of the files here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mypy.options import Options
from mypy.plugin import ReportConfigContext
from mypy.version import __version__ as mypy_version

from kartnb.mypy import plugin

_MISSING = 'disallow_missing_parameters'


def test_mypy_infers_what_tasks_give(repository: Path, tmp_path: Path) -> None:
    _check(repository, tmp_path, 'typed_tasks.py', '[tool.mypy]')


def test_pyright_infers_what_tasks_give(repository: Path, tmp_path: Path) -> None:
    file = repository / 'tests' / 'typing' / 'typed_tasks.py'
    settings = {'include': [str(file)], 'typeCheckingMode': 'strict', 'reportUnnecessaryTypeIgnoreComment': 'error'}
    config = tmp_path / 'pyrightconfig.json'
    config.write_text(json.dumps({**settings, 'extraPaths': [str(repository)], 'pythonVersion': '3.11'}))
    done = _run(repository, 'basedpyright', '--project', str(config), '--pythonpath', sys.executable)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '0 errors' in done.stdout


def test_with_the_plugin_parameters_are_annotated_as_for_gokart(repository: Path, tmp_path: Path) -> None:
    _check(repository, tmp_path, 'annotated_values.py', '[tool.mypy]\nplugins = ["kartnb.mypy"]')


def test_calls_must_give_every_parameter_without_a_default_if_asked(repository: Path, tmp_path: Path) -> None:
    file = repository / 'tests' / 'typing' / 'missing_parameters.py'
    config = tmp_path / 'mypy.ini'
    found = []
    for value in ('false', 'True'):  # in spite of the cache of the first run
        config.write_text(f'[mypy]\nplugins = kartnb.mypy\n[kartnb-mypy]\n{_MISSING} = {value}\n')
        found.append(_mypy(repository, tmp_path, file, config))
    assert found[0].stdout.count('Unused "type: ignore" comment') == file.read_text().count('type: ignore')
    assert found[1].returncode == 0, found[1].stdout + found[1].stderr


@pytest.mark.parametrize(
    'name, text, disallowed',
    [
        ('pyproject.toml', f'[tool.kartnb-mypy]\n{_MISSING} = true', True),
        ('pyproject.toml', f'[tool.gokart-mypy]\n{_MISSING} = true', True),
        ('pyproject.toml', f'[tool.gokart-mypy]\n{_MISSING} = true\n[tool.kartnb-mypy]\n{_MISSING} = false', False),
        ('pyproject.toml', '', False),
        ('setup.cfg', f'[gokart-mypy]\n{_MISSING}: yes\n[kartnb-mypy]\n{_MISSING}: TRUE', True),
        ('mypy.ini', '[mypy]', False),
    ],
)
def test_the_option_is_read_from_the_file_of_mypy(tmp_path: Path, name: str, text: str, disallowed: bool) -> None:
    config = tmp_path / name
    config.write_text(text)
    options = Options()
    options.config_file = str(config)
    told = plugin(mypy_version)(options).report_config_data(ReportConfigContext('m', 'm.py', True))
    assert told == {_MISSING: disallowed}


@pytest.mark.parametrize(
    'text, sentence',
    [
        (
            f'[tool.kartnb-mypy]\n{_MISSING} = "yes"',
            f"{_MISSING} in [kartnb-mypy] must be true or false, not 'yes'.",
        ),
        (
            '[tool.gokart-mypy]\ndisallow_missing = true',
            f"[gokart-mypy] has the unknown option 'disallow_missing': its only option is {_MISSING}.",
        ),
        ('[tool]\nkartnb-mypy = true', 'kartnb-mypy must be a table, as in [tool.kartnb-mypy].'),
    ],
)
def test_a_wrong_option_gives_one_sentence(repository: Path, tmp_path: Path, text: str, sentence: str) -> None:
    config = tmp_path / 'pyproject.toml'
    config.write_text(f'{text}\n[tool.mypy]\nplugins = ["kartnb.mypy"]\n')
    done = _mypy(repository, tmp_path, repository / 'tests' / 'typing' / 'missing_parameters.py', config)
    assert done.returncode == 2
    assert done.stderr == f'{config}: error: {sentence}\n'


def _check(repository: Path, place: Path, name: str, config: str) -> None:
    file = place / 'pyproject.toml'
    file.write_text(config + '\n')
    done = _mypy(repository, place, repository / 'tests' / 'typing' / name, file)
    assert done.returncode == 0, done.stdout + done.stderr


def _mypy(repository: Path, place: Path, file: Path, config: Path) -> subprocess.CompletedProcess[str]:
    options = ['--strict', '--follow-imports=silent', '--cache-dir', str(place / 'cache'), '--config-file', str(config)]
    return _run(repository, 'mypy', *options, str(file))


def _run(repository: Path, module: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, '-m', module, *options]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=600)
