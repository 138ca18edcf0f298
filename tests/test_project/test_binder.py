"""Binder opens the quickstart."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_project.jupyter import PrivateJupyter

UV = str(Path(sys.executable).parent / 'uv')


def test_requirements_can_be_met(repository: Path) -> None:
    command = [UV, 'pip', 'compile', '--quiet', '--python', sys.executable, 'binder/requirements.txt']
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert 'jupyterlab==' in done.stdout


@pytest.mark.parametrize('module', ['jupyterlab', 'jupyter_server'])
def test_the_quickstart_is_what_opens(module: str, repository: Path, tmp_path: Path) -> None:
    jupyter = PrivateJupyter(tmp_path)
    subprocess.run(['bash', str(repository / 'binder' / 'postBuild')], env=jupyter.environment, check=True, timeout=30)
    assert os.access(repository / 'binder' / 'postBuild', os.X_OK)
    jupyter.configure()
    with jupyter.serving([sys.executable, '-m', module], cwd=repository) as server:
        opened = jupyter.get('/', server, within=60)
        assert opened.url.endswith('/lab/tree/notebooks/00-quickstart.ipynb')
        assert (repository / 'notebooks' / '00-quickstart.ipynb').is_file()
