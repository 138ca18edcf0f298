"""The README is true: its commands work in a fresh clone, its links exist, its example runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_project.jupyter import PrivateJupyter

FIRST_SCREEN_LINES = 25
STARTED_WITHIN = 420.0


@pytest.fixture
def readme(repository: Path) -> str:
    return (repository / 'README.md').read_text()


def test_the_first_screen_has_the_picture_and_both_commands(readme: str) -> None:
    first_screen = '\n'.join(readme.splitlines()[:FIRST_SCREEN_LINES])
    assert '![' in first_screen
    opens, tests = _commands(first_screen)
    assert opens.endswith('jupyter lab notebooks/00-quickstart.ipynb')
    assert tests.endswith('python -m pytest')


def test_ci_runs_the_commands_of_the_readme(readme: str, repository: Path) -> None:
    script = (repository / '.ci' / 'run').read_text().replace('\n', ' && ')
    *installs, tests = _commands(readme)[1].split(' && ')
    assert ' && '.join(['', *installs, '']) in script.partition(' && rm -rf .venv')[2]
    assert f' && {tests} && ' in script


def test_links_lead_somewhere(readme: str, repository: Path) -> None:
    links = [link for link in re.findall(r'\]\(([^)]+)\)', readme) if '://' not in link]
    assert links
    assert [link for link in links if not (repository / link).exists()] == []


def test_the_example_does_what_is_said(readme: str, repository: Path, tmp_path: Path) -> None:
    example = re.findall(r'```python\n(.*?)```', readme, re.DOTALL)[0]
    (tmp_path / 'example.py').write_text(example)
    environment = {**os.environ, 'PYTHONPATH': str(repository)}
    command = [sys.executable, 'example.py']
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == 'Hello, world!', done.stderr
    (result,) = re.findall(r'`(resources/__main__/\S+\.pkl)`', readme)
    assert (tmp_path / result).is_file()


@pytest.mark.fresh
def test_the_quickstart_command_works_in_a_fresh_clone(readme: str, repository: Path, tmp_path: Path) -> None:
    clone = tmp_path / 'clone'
    subprocess.run(['git', 'clone', '--quiet', str(repository), str(clone)], check=True, timeout=60)
    jupyter = PrivateJupyter(tmp_path / 'jupyter')
    jupyter.configure()
    with jupyter.serving(['bash', '-c', _commands(readme)[0]], cwd=clone) as server:
        # Jupyter's root is the directory of the file that it opens
        page = jupyter.get('/api/contents/00-quickstart.ipynb', server, within=STARTED_WITHIN)
        assert json.loads(page.read())['type'] == 'notebook'
        assert jupyter.get('/lab/tree/00-quickstart.ipynb', server, within=30).status == 200


def _commands(text: str) -> list[str]:
    return [block.strip() for block in re.findall(r'```bash\n(.*?)```', text, re.DOTALL)]
