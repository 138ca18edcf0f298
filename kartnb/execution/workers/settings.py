"""What holds in the building process, for workers that did not inherit it: configuration, command line, formats."""

from __future__ import annotations

import os
import re
from argparse import Namespace
from collections.abc import Mapping
from configparser import RawConfigParser
from dataclasses import dataclass, field
from typing import Any

import luigi
from luigi.cmdline_parser import CmdlineParser

from kartnb._luigi import set_command_line
from kartnb.storage.formats.registry import packed_formats, unpack_formats

_VARIABLE = re.compile(r'\$\{([^}]+)\}')

_Luigis: Any = CmdlineParser


@dataclass(frozen=True)
class Settings:
    """What default values of parameters come from, and what reads and writes files.

    Attributes
    ----------
    sections
        What luigi's configuration says, by section and name, not interpolated.
    variables
        The environment variables that it refers to.
    command_line
        What the command line of `kartnb.run` gives, by luigi's names.
    formats
        The registered file formats, pickled.
    """

    sections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    command_line: Mapping[str, Any] = field(default_factory=dict)
    formats: bytes = b''


def current_settings() -> Settings:
    """The settings of this process."""
    sections = _sections(luigi.configuration.get_config())
    named = {
        name for section in sections.values() for text in section.values() for name in _VARIABLE.findall(str(text))
    }
    parser = _Luigis.get_instance()
    given = {} if parser is None else {name: value for name, value in vars(parser.known_args).items() if value}
    variables = {name: os.environ[name] for name in named if name in os.environ}
    return Settings(sections, variables, given, packed_formats())


class _CommandLine:
    """What luigi's parameters ask of a parsed command line."""

    def __init__(self, known_args: Namespace) -> None:
        self.known_args = known_args


class SettingsKeeper:
    """Lets a worker process have the settings of the process that sends it tasks."""

    def __init__(self) -> None:
        self._used: Settings | None = None

    def use(self, settings: Settings) -> None:
        """Take these settings over, if they are not those that were used last."""
        if settings == self._used:
            return
        config: Any = luigi.configuration.get_config()
        if isinstance(config, RawConfigParser):
            for section in config.sections():
                config.remove_section(section)
            RawConfigParser.read_dict(config, settings.sections)
        else:
            config.data = settings.sections
        os.environ.update(settings.variables)
        given = settings.command_line
        set_command_line(_CommandLine(Namespace(**given)) if given else None)
        unpack_formats(settings.formats)
        self._used = settings


def _sections(config: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(config, RawConfigParser):
        return dict(config.data)
    return {name: dict(config.items(name, raw=True)) for name in config.sections()}
