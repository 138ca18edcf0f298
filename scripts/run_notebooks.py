"""Run the notebooks and store them with their outputs: ``python scripts/run_notebooks.py [NOTEBOOK ...]``.

Each notebook runs in a new directory below its own home directory, so nothing about this machine is in its outputs
and no file is left behind.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / 'notebooks'
#: What a notebook finds beside itself.
PROJECT = 'gokart-project'
TIMEOUT = 180


def execute(source: Path, home: Path) -> nbformat.NotebookNode:
    """Run a notebook from its source cells, and give it with the outputs.

    Parameters
    ----------
    source
        The notebook; it is not changed.
    home
        An empty directory, which the notebook takes for its home; it runs in ``notebooks`` below.
    """
    notebook = nbformat.read(source, as_version=4)
    place = home / FOLDER.name
    place.mkdir()
    shutil.copytree(FOLDER / PROJECT, place / PROJECT)
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT,
        kernel_name='python3',
        resources={'metadata': {'path': str(place)}},
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
    )
    client.execute(env=_environment(home))
    notebook.metadata['language_info'].pop('version', None)
    return notebook


def _environment(home: Path) -> dict[str, str]:
    """The present environment, with a home of its own; the packages that are found stay the same."""
    private = {f'JUPYTER_{name}_DIR': str(home / '.jupyter' / name.lower()) for name in ('CONFIG', 'RUNTIME')}
    return {
        **os.environ,
        **private,
        'HOME': str(home),
        'USERPROFILE': str(home),
        'IPYTHONDIR': str(home / '.ipython'),
        'KARTNB_LIVE_GRAPH': '0',
        'MPLCONFIGDIR': os.environ.get('MPLCONFIGDIR', str(Path(tempfile.gettempdir()) / 'kartnb-matplotlib')),
        'PYTHONPATH': os.pathsep.join([str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])]),
    }


def main(names: list[str]) -> None:
    """Run the named notebooks, or all of them, and store them in their places."""
    for source in [Path(name) for name in names] or sorted(FOLDER.glob('*.ipynb')):
        with tempfile.TemporaryDirectory() as home:
            notebook = execute(source, Path(home))
        nbformat.write(notebook, source)


if __name__ == '__main__':
    main(sys.argv[1:])
