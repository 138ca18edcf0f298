"""The names of cells."""

from __future__ import annotations

from collections.abc import Callable

from IPython.core.interactiveshell import InteractiveShell

#: The file name of the expression of a magic.
EXPRESSION_FILE = '<expression>'


def cell_namer(shell: InteractiveShell) -> Callable[[str], str | None]:
    """Name the file of a cell as the front end does, ``Cell In[3]``."""

    def name(filename: str) -> str | None:
        found = shell.compile.format_code_name(filename)
        return None if found is None else ' '.join(found)

    return name
