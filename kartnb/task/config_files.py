"""Adding configuration files."""

from __future__ import annotations

import configparser
import os
import warnings
from typing import Any

import luigi
from luigi.configuration.toml_parser import LuigiTomlParser

from kartnb._luigi import forget_config_path


def add_config(file_path: str) -> None:
    """Read a luigi configuration file, such as ``param.ini``, on top of those that were read before.

    A TOML file is read where luigi was told to, by the environment variable ``LUIGI_CONFIG_PARSER=toml``; else it is
    warned of.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is no configuration file.
    """
    path = os.path.abspath(file_path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f'There is no configuration file {path}.')
    configuration: Any = type(luigi.configuration.get_config())
    is_toml = path.endswith('.toml')
    if is_toml != issubclass(configuration, LuigiTomlParser):
        kind = 'toml' if is_toml else 'cfg'
        warnings.warn(
            f'{file_path} is not read: set LUIGI_CONFIG_PARSER={kind} in the environment, for all configuration files.',
            stacklevel=2,
        )
        return
    try:
        configuration.add_config_path(path)
    except (configparser.Error, UnicodeDecodeError, ValueError) as error:
        forget_config_path(configuration, path)
        raise ValueError(f'{file_path} is no configuration file: {" ".join(str(error).split())}') from error
