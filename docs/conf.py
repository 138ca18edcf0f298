"""Sphinx settings. Build with `sphinx-build -W docs docs/_build`; nothing is fetched and no notebook is executed."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

from kartnb import __version__  # noqa: E402

project = 'kartnb'
author = 'The kartnb authors'
copyright = author
release = version = __version__

extensions = ['myst_nb', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon']
exclude_patterns = ['_build', 'jupyter_execute']

html_theme = 'furo'
html_title = 'kartnb'

# The notebooks are stored with their outputs, and the tests run them.
nb_execution_mode = 'off'
nb_ipywidgets_js = {}
# A live widget is an upgrade of a picture that is stored beside it.
suppress_warnings = ['mystnb.unknown_mime_type']

myst_enable_extensions = ['colon_fence', 'deflist', 'fieldlist']
myst_heading_anchors = 3

napoleon_google_docstring = False
napoleon_use_rtype = False
autodoc_typehints = 'none'
autodoc_member_order = 'bysource'
default_role = 'code'


def _copy_notebooks() -> None:
    """Bring the notebooks under the source directory, the only place where Sphinx reads."""
    copies = HERE / 'notebooks'
    shutil.rmtree(copies, ignore_errors=True)
    copies.mkdir()
    for notebook in sorted((ROOT / 'notebooks').glob('*.ipynb')):
        shutil.copyfile(notebook, copies / notebook.name)


_copy_notebooks()
