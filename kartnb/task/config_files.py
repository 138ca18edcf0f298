"""Adding configuration files."""

from __future__ import annotations

import os

import luigi


def add_config(file_path: str) -> None:
    """Read a luigi configuration file, such as ``param.ini``, on top of those that were read before.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    """
    if not os.path.isfile(file_path):
        raise FileNotFoundError(f'There is no configuration file {os.path.abspath(file_path)}.')
    luigi.configuration.add_config_path(file_path)
