"""luigi's configuration as it is now, asked for at each call of a task class, and so at little cost."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from typing import Any

import luigi
from luigi.cmdline_parser import CmdlineParser

from kartnb._luigi import configuration_in_use, configured_sections, raw_environment

#: The config section whose values hold for every task class, from gokart.
SHARED_SECTION = 'TaskOnKart'

_luigis_get_config: Any = luigi.configuration.get_config
_PARSER: Any = 'LUIGI_CONFIG_PARSER' if os.name == 'nt' else b'LUIGI_CONFIG_PARSER'
#: The configuration that was given last, for which parser.
_last: tuple[Any, Any] = (None, None)


def current_configuration() -> Any:
    """luigi's configuration, as `luigi.configuration.get_config` gives it."""
    global _last
    if raw_environment is None or luigi.configuration.get_config is not _luigis_get_config:
        return luigi.configuration.get_config()
    parser = raw_environment.get(_PARSER)
    last_parser, config = _last
    if config is None or parser != last_parser or configuration_in_use(type(config)) is not config:
        config = _luigis_get_config()  # type: ignore[no-untyped-call]
        _last = (parser, config)
    return config


def section(config: Any, name: str) -> Mapping[str, Any]:
    """What a section sets, by name; empty for one that is not there."""
    data = getattr(config, 'data', None)
    if isinstance(data, dict):
        return data.get(name) or {}
    return dict(config[name]) if name in config else {}


def configuration_state(family: str) -> Hashable:
    """What the default values of a task class depend on; None where nothing is configured."""
    config = current_configuration()
    command_line: Hashable = CmdlineParser.get_instance()
    # as a rule nothing is configured, which is asked for with every instance
    sections = configured_sections(config)
    if sections is not None and SHARED_SECTION not in sections and family not in sections:
        return command_line
    shared, own = _state(config, SHARED_SECTION), _state(config, family)
    return None if shared is own is command_line is None else (shared, own, command_line)


def _state(config: Any, name: str) -> Hashable:
    if not hasattr(config, 'data') and not config.has_section(name):
        return None
    return tuple((key, repr(value)) for key, value in section(config, name).items())
