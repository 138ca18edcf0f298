"""Who makes results: the notebook, script or session that runs tasks, as records name it.

All notebooks of a folder share the module ``__main__``, and with it one directory of results, so what speaks of
results or removes them asks here whose they are.
"""

from __future__ import annotations

import functools
import getpass
import os
import re
import socket
import sys
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from kartnb.history.run_record import RunRecord

#: Names the notebook where the front end does not.
ENVIRONMENT = 'KARTNB_NOTEBOOK'
#: What results are of whose maker no record names, such as gokart's.
UNKNOWN = 'unknown origin'


class Maker(NamedTuple):
    """A notebook, a script, or a session without a file."""

    notebook: str  #: The path of the file, or the name of the session.
    inode: int  #: Of the file: it stays when the file is renamed. 0 where it is unknown.
    user: str = ''  #: Who runs it; '' where it is unknown.
    commit: str = ''  #: The git commit of its directory; '' where there is none.


@functools.cache
def host_name() -> str:
    """The name of this computer."""
    return socket.gethostname()


def current_notebook() -> str:
    """The path of the notebook or script that runs the tasks of this process, or the name of its session."""
    main = vars(sys.modules['__main__'])
    return str(
        os.environ.get(ENVIRONMENT)
        or main.get('__vsc_ipynb_file__')
        or main.get('__file__')
        # set by Jupyter's server; programs that a notebook starts inherit it, so scripts come first
        or os.environ.get('JPY_SESSION_NAME')
        or _session()
    )


def current_maker() -> Maker:
    """The notebook, script or session that runs the tasks of this process."""
    maker = _maker_at(current_notebook())
    place = os.path.dirname(maker.notebook) if os.path.isabs(maker.notebook) else os.getcwd()
    return maker._replace(user=user_name(), commit=commit_at(place))


@functools.cache
def user_name() -> str:
    """Who runs this process; '' where the system does not tell."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a number without a name, as in containers
        return str(os.getuid()) if hasattr(os, 'getuid') else ''


@functools.lru_cache(maxsize=16)
def _maker_at(notebook: str) -> Maker:
    # seen once: when the notebook is renamed while its kernel runs, Jupyter does not tell the kernel
    try:
        return Maker(notebook, os.stat(notebook).st_ino)
    except (OSError, ValueError):
        return Maker(notebook, 0)


@functools.cache
def _session() -> str:
    """The name of a session without a file: one for each kernel, and one for all terminals."""
    connections = [os.path.basename(arg) for arg in sys.argv if arg.endswith('.json')]
    # a worker process has the arguments of its kernel, and has not imported it
    if connections and ('ipykernel' in sys.modules or 'ipykernel' in sys.argv[0]):
        return f'kernel {connections[0].removeprefix("kernel-").removesuffix(".json")[:8]}'
    name = _file_name(sys.argv[0]).lower() if sys.argv else ''
    return {'': 'interactive python', '-c': 'python -c', '-': 'python -'}.get(name, name)


class Makers:
    """Tells results that this notebook made from those of others; each file is looked for once."""

    def __init__(self) -> None:
        self._here = _maker_at(current_notebook())
        self._known: dict[tuple[str, int, str], bool] = {('', 0, ''): False}

    def is_here(self, record: RunRecord | None) -> bool:
        """Whether this notebook made a result, perhaps before it was renamed or moved."""
        if record is None or not record.notebook:
            return False
        key = record.notebook, record.notebook_inode, record.host
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._is_here(*key)
        return found

    def _is_here(self, notebook: str, inode: int, host: str) -> bool:
        if notebook == self._here.notebook:
            return True
        if not os.path.isabs(notebook) or host != host_name() or os.path.exists(notebook):
            return False
        # renamed, which keeps the inode; or moved to another disk, which keeps the name
        return 0 != inode == self._here.inode or os.path.basename(notebook) == os.path.basename(self._here.notebook)


def short_names(notebooks: Iterable[str]) -> dict[str, str]:
    """Short names of makers by path: the name of the file, unless two have the same.

    >>> short_names(['/a/report.ipynb', '/a/fit.py', '/b/fit.py', ''])
    {'/a/report.ipynb': 'report.ipynb', '/a/fit.py': '/a/fit.py', '/b/fit.py': '/b/fit.py', '': 'unknown origin'}
    """
    every = list(dict.fromkeys(notebooks))
    shared = Counter(map(_file_name, every))
    return {path: path if shared[_file_name(path)] > 1 else _file_name(path) or UNKNOWN for path in every}


def _file_name(path: str) -> str:
    """The name of a file; of a package that runs as a program, the name of the package."""
    directory, name = os.path.split(path)
    return os.path.basename(directory) if name == '__main__.py' else name


# ----- the commit of a git repository, read from its files: no program is started -------------------------------------

#: Digits of a commit that are recorded.
_DIGITS = 12
_COMMIT = re.compile('[0-9a-f]{40}(?:[0-9a-f]{24})?')
#: A file of git's that is longer is not read; `packed-refs` of large repositories have some megabytes.
_MOST_BYTES = 1 << 25


def commit_at(directory: str) -> str:
    """The first 12 digits of the commit that is checked out around a directory; '' where there is none.

    Whether files have been changed since is not told: that would take a look at all of them.
    """
    try:
        return _commit(os.path.realpath(directory))[:_DIGITS]
    except (OSError, ValueError):
        return ''


def _commit(directory: str) -> str:
    repository = _repository(directory)
    if repository is None:
        return ''
    head = _read_line(os.path.join(repository, 'HEAD'))
    if not head.startswith('ref:'):
        return head if _COMMIT.fullmatch(head) else ''
    name = head.removeprefix('ref:').strip()
    if not name.startswith('refs/') or '..' in name:
        return ''
    shared = _shared(repository)
    for place in (repository, shared):
        found = _read_line(os.path.join(place, name))
        if _COMMIT.fullmatch(found):
            return found
    return _packed(_read_line(os.path.join(shared, 'packed-refs')), name)


def _repository(directory: str) -> str | None:
    """The directory of git's files; that of the work tree, or of a submodule, where it has its own."""
    while True:
        found = os.path.join(directory, '.git')
        if os.path.isdir(found):
            return found
        if os.path.isfile(found):
            place = _read_line(found).removeprefix('gitdir:').strip()
            return os.path.join(directory, place) if place else None
        above = os.path.dirname(directory)
        if above == directory:
            return None
        directory = above


def _shared(repository: str) -> str:
    """Where the branches of all work trees are kept."""
    place = _read_line(os.path.join(repository, 'commondir'))
    return os.path.join(repository, place) if place else repository


def _packed(text: str, name: str) -> str:
    for line in text.splitlines():
        commit, _, ref = line.partition(' ')
        if ref == name and _COMMIT.fullmatch(commit):
            return commit
    return ''


def _read_line(path: str) -> str:
    try:
        if os.path.getsize(path) > _MOST_BYTES:
            return ''
        with open(path, encoding='utf-8', errors='replace') as file:
            return file.read().strip()
    except OSError:
        return ''
