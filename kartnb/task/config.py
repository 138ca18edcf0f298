"""luigi's configuration: files that are added to it, what it says of a task class, and what config classes share."""

from __future__ import annotations

import configparser
import functools
import os
import warnings
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar, cast

import luigi
from luigi.cmdline_parser import CmdlineParser
from luigi.configuration.toml_parser import LuigiTomlParser

from kartnb._luigi import (
    NAMESPACE_ATTRIBUTE,
    configuration_in_use,
    configured_sections,
    forget_config_path,
    raw_environment,
)


def add_config(file_path: str) -> None:
    """Read a luigi configuration file, such as ``param.ini``, on top of those that were read before.

    A TOML file is read only where the environment variable ``LUIGI_CONFIG_PARSER`` is ``toml``; else a warning says so.

    Raises
    ------
    FileNotFoundError
        When the file does not exist.
    ValueError
        When it is not a configuration file.
    """
    path = os.path.abspath(file_path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f'Configuration file {path} not found.')
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
        raise ValueError(f'{file_path} is not a configuration file: {" ".join(str(error).split())}') from error


#: The config section whose values hold for every task class, from gokart.
SHARED_SECTION = 'TaskOnKart'
#: In that section, before the name of a parameter: its value in classes that declare no default of their own for it.
USUAL = 'usual_'

_configuration: Any = luigi.configuration
_luigis_get_config: Any = _configuration.get_config
_PARSER: Any = 'LUIGI_CONFIG_PARSER' if os.name == 'nt' else b'LUIGI_CONFIG_PARSER'
#: The parser that was asked for last, its configuration, and the sections of that: asked for with every instance.
_last: tuple[Any, Any, Any] = (None, None, None)


def current_configuration() -> Any:
    """luigi's configuration, as `luigi.configuration.get_config` gives it."""
    return _current()[1]


def _current() -> tuple[Any, Any, Any]:
    global _last
    if raw_environment is None or _configuration.get_config is not _luigis_get_config:
        config = _configuration.get_config()
        return None, config, configured_sections(config)
    parser = raw_environment.get(_PARSER)
    last_parser, config, _ = _last
    if config is None or parser != last_parser or configuration_in_use(type(config)) is not config:
        config = _luigis_get_config()
        # the sections are one dict for as long as the configuration lives; reading more files only adds to it
        _last = (parser, config, configured_sections(config))
    return _last


def section(config: Any, name: str) -> Mapping[str, Any]:
    """What a section sets, by name; empty where it is missing."""
    data = getattr(config, 'data', None)
    if isinstance(data, dict):
        return data.get(name) or {}
    return dict(config[name]) if name in config else {}


def configuration_state(family: str) -> Hashable:
    """What the default values of a task class depend on; None where nothing is configured."""
    _, config, sections = _current()
    command_line: Hashable = CmdlineParser.get_instance()
    if sections is not None and SHARED_SECTION not in sections and family not in sections:
        return command_line
    shared, own = _state(config, SHARED_SECTION), _state(config, family)
    return None if shared is own is command_line is None else (shared, own, command_line)


def _state(config: Any, name: str) -> Hashable:
    if not hasattr(config, 'data') and not config.has_section(name):
        return None
    return tuple((key, repr(value)) for key, value in section(config, name).items())


TaskClass = TypeVar('TaskClass', bound=type[luigi.Task])


def inherits_config_params(
    config_class: type[luigi.Config], parameter_alias: Mapping[str, str] | None = None
) -> Callable[[TaskClass], TaskClass]:
    """Decorate a task class so that parameters without a given value take those of a config class.

    Parameters
    ----------
    config_class
        The config class. Only its parameters that the task has too are inherited.
    parameter_alias
        Where the names differ: the task's name of a parameter by the name that it has in the config class.

    Returns
    -------
    Callable
        The decorator. The class that it gives keeps name, module and unique ids.

    Examples
    --------
    >>> import kartnb, luigi
    >>> class Shared(luigi.Config):
    ...     seed = luigi.IntParameter(default=7)
    >>> @inherits_config_params(Shared, parameter_alias={'seed': 'random_state'})
    ... class Split(kartnb.TaskOnKart):
    ...     random_state = luigi.IntParameter(default=0)
    >>> Split().random_state, Split(random_state=3).random_state
    (7, 3)

    Notes
    -----
    From gokart.
    """
    alias = dict(parameter_alias or {})

    def config_values() -> dict[str, Any]:
        given: dict[str, Any] = config_class().param_kwargs
        values: dict[str, Any] = {}
        for name, value in given.items():
            values.setdefault(alias.get(name, name), value)
        return values

    def decorate(task_class: TaskClass) -> TaskClass:
        base: Any = task_class

        class Inheriting(base):  # type: ignore[misc]
            @classmethod
            def get_param_values(cls, params: Any, args: Any, kwargs: Any) -> Any:
                positional = [name for name, parameter in params if parameter.positional]
                free = {name for name, _ in params}.difference(positional[: len(args)])
                inherited = {name: value for name, value in config_values().items() if name in free}
                return super().get_param_values(params, args, {**inherited, **kwargs})

        names = (*functools.WRAPPER_ASSIGNMENTS, NAMESPACE_ATTRIBUTE)
        wrapped: Any = functools.wraps(base, assigned=names, updated=())(Inheriting)
        return cast('TaskClass', wrapped)

    return decorate
