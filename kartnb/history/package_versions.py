"""The versions of the installed packages that the code of tasks reaches, as records have them."""

from __future__ import annotations

import functools
import importlib.metadata
import re
import sys
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar('T')

#: Distributions that have another name than what is imported. To find others, the metadata of every installed package
#: is searched, which takes about 0.1 s.
_DISTRIBUTIONS = {
    'Crypto': 'pycryptodome',
    'OpenSSL': 'pyopenssl',
    'PIL': 'pillow',
    'attr': 'attrs',
    'bs4': 'beautifulsoup4',
    'cv2': 'opencv-python',
    'dateutil': 'python-dateutil',
    'docx': 'python-docx',
    'dotenv': 'python-dotenv',
    'faiss': 'faiss-cpu',
    'fitz': 'pymupdf',
    'git': 'gitpython',
    'grpc': 'grpcio',
    'jwt': 'pyjwt',
    'mpl_toolkits': 'matplotlib',
    'pylab': 'matplotlib',
    'skimage': 'scikit-image',
    'sklearn': 'scikit-learn',
    'umap': 'umap-learn',
    'yaml': 'pyyaml',
    'zmq': 'pyzmq',
}


@functools.cache
def versions_of(packages: tuple[str, ...]) -> dict[str, str]:
    """The versions of packages that are given by what is imported, by the names of their distributions.

    >>> list(versions_of(('luigi', 'no_such_package')))
    ['luigi']
    """
    found: dict[str, str] = {}
    for package in packages:
        names = distributions_of(package)
        loaded = getattr(sys.modules.get(package), '__version__', None)
        for name in names:
            found[name] = _version(_installed(name), loaded if len(names) == 1 else None)
        if not names and isinstance(loaded, str):  # a package that was not installed, such as one in a directory
            found[package] = loaded
    return found


def _version(installed: str, loaded: object) -> str:
    """The version that runs: another one may have been installed since a module was imported.

    Some say less of themselves than their metadata do, and what is not loaded says nothing.

    >>> _version('4.8.0.76', '4.8.0'), _version('2.1', '2.0'), _version('2.1', None)
    ('4.8.0.76', '2.0', '2.1')
    """
    is_other = isinstance(loaded, str) and loaded != installed and not installed.startswith(f'{loaded}.')
    return str(loaded) if is_other else installed


@functools.cache
def distributions_of(package: str) -> tuple[str, ...]:
    """The distributions that give what is imported under a name; several share a namespace such as ``google``."""
    for name in (_DISTRIBUTIONS.get(package, package), package):
        if _installed(name):
            return (_normal(name),)
    found = [other for other in importlib.metadata.distributions() if _gives(other, package)]
    return tuple(sorted({_normal(other.metadata['Name']) for other in found}))


def _gives(distribution: importlib.metadata.Distribution, package: str) -> bool:
    names = distribution.read_text('top_level.txt')
    if names is not None:
        return package in names.split()
    files = f'\n{distribution.read_text("RECORD") or ""}'
    return f'\n{package}/' in files or f'\n{package}.py,' in files


def _installed(name: str) -> str:
    """The installed version of a distribution; '' where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return ''


def _normal(name: str) -> str:
    """The name of a distribution as indexes write it (PEP 503)."""
    return re.sub(r'[-_.]+', '-', name).lower()


def by_distribution(policies: Mapping[str, T]) -> dict[str, T]:
    """Policies that are given by package, by the names of distributions; what is imported may be named too.

    >>> by_distribution({'': 'warn', 'yaml': 'rerun', 'Scikit_Learn': 'ignore'})
    {'': 'warn', 'pyyaml': 'rerun', 'scikit-learn': 'ignore'}
    """
    return {name: policy for given, policy in policies.items() for name in _named(given)}


def _named(package: str) -> Iterable[str]:
    return (distributions_of(package) or (_normal(package),)) if package else ('',)


def changed_versions(before: dict[str, str], now: dict[str, str]) -> dict[str, str]:
    """What has changed of the versions that both sides have, by name, in words.

    >>> changed_versions({'numpy': '1.26', 'python': '3.11.7'}, {'numpy': '2.0', 'scipy': '1.14'})
    {'numpy': 'numpy 1.26 → 2.0'}
    """
    earlier = {_normal(name): version for name, version in before.items()}
    return {
        name: f'{name} {earlier[_normal(name)]} → {version}'
        for name, version in now.items()
        if earlier.get(_normal(name), version) != version
    }
