"""How a task gets its parameter values, fast: what luigi works out for each instance is done once a class."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import luigi
from luigi.cmdline_parser import CmdlineParser
from luigi.parameter import (
    DuplicateParameterException,
    MissingParameterException,
    UnconsumedParameterWarning,
    UnknownParameterException,
)

#: The config section whose values hold for every task class, from gokart.
SHARED_SECTION = 'TaskOnKart'


class ParameterTable:
    """The parameters of one task class, in luigi's order, and their default values."""

    def __init__(self, cls: type[luigi.Task], parameters: Iterable[tuple[str, luigi.Parameter[Any]]]) -> None:
        self.cls = cls
        self.parameters = dict(parameters)
        self.positional = [name for name, parameter in self.parameters.items() if parameter.positional]
        self.position = {name: i for i, name in enumerate(self.parameters)}
        self._defaults: dict[Hashable, Defaults] = {}
        self._by_old_config_path = any(parameter._config_path for parameter in self.parameters.values())

    def explicit_values(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The normalised values that a caller gave.

        Raises
        ------
        UnknownParameterException, DuplicateParameterException
            When a name is not a parameter (the message suggests a near one) or is given twice.
        """
        if len(args) > len(self.positional):
            raise UnknownParameterException(
                f'{self._name} takes at most {len(self.positional)} positional parameters ({len(args)} were given).'
            )
        given = dict(zip(self.positional, args, strict=False))
        for name, value in kwargs.items():
            if name in given:
                raise DuplicateParameterException(f'{self._name}: parameter {name!r} was given twice.')
            if name not in self.parameters:
                raise UnknownParameterException(self._unknown(name))
            given[name] = value
        return {name: _hashable(self.parameters[name].normalize(value)) for name, value in given.items()}

    def defaults(self) -> Defaults:
        """The values of the parameters that nobody gives, under luigi's configuration as it is now."""
        state = self._configuration_state()
        found = self._defaults.get(state)
        if found is None:
            found = Defaults(self, self.cls.get_task_family())
            if not self._by_old_config_path:
                self._defaults[state] = found
        return found

    def missing(self, names: Iterable[str]) -> MissingParameterException:
        """The error that tells which parameters a caller left out."""
        names = list(names)
        example = ', '.join(f'{name}=…' for name in names)
        listed = ' and '.join(repr(name) for name in names)
        return MissingParameterException(f'{self._name} needs a value for {listed}: {self._name}({example}).')

    def _unknown(self, name: str) -> str:
        near = difflib.get_close_matches(name, self.parameters, n=1)
        own = [known for known, parameter in self.parameters.items() if parameter.significant]
        hint = (
            f'did you mean {near[0]!r}?' if near else f'it has {", ".join(own)}.' if own else 'it has none of its own.'
        )
        return f'{self._name} has no parameter {name!r}: {hint}'

    @property
    def _name(self) -> str:
        return str(self.cls.get_task_family())

    def _configuration_state(self) -> Hashable:
        sections = (SHARED_SECTION, self.cls.get_task_family())
        return (*(_section_state(section) for section in sections), CmdlineParser.get_instance())


class Defaults:
    """The default values of one class under one state of the configuration."""

    def __init__(self, table: ParameterTable, family: str) -> None:
        shared = _shared_values(table)
        self.values: dict[str, Any] = {}
        self.exact: dict[str, Hashable] = {}
        self.missing: list[str] = []
        for name, parameter in table.parameters.items():
            if name in shared:
                value = parameter.normalize(parameter.parse(shared[name]))
            elif parameter.has_task_value(family, name):
                value = parameter.task_value(family, name)
            else:
                self.missing.append(name)
                continue
            value = _hashable(value)
            parameter._warn_on_wrong_param_type(name, value)
            self.values[name] = value
            self.exact[name] = exact_key(value)
        _warn_of_unconsumed(family, table)


def exact_key(value: Any) -> Hashable:
    """A key that is equal only for values that serialise alike: 1, 1.0 and True differ, and so do orders of a dict.

    Raises
    ------
    TypeError
        When the value (or a part of it) cannot be hashed.
    """
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return (kind, value)
    if isinstance(value, luigi.Task):
        # luigi's equality ignores insignificant parameters; the instance cache makes one instance of each task.
        return (kind, id(value))
    if isinstance(value, float):
        return (kind, repr(value))
    if isinstance(value, list | tuple):
        return (kind, tuple(exact_key(item) for item in value))
    if isinstance(value, Mapping):
        return (kind, tuple((exact_key(key), exact_key(item)) for key, item in value.items()))
    hash(value)
    return (kind, value)


def instance_key(table: ParameterTable, defaults: Defaults, explicit: Mapping[str, Any]) -> Hashable:
    """What makes two calls of a class give one instance: the values that differ from the defaults, in luigi's order.

    Raises
    ------
    TypeError
        When a value cannot be hashed, so that each call makes an instance of its own.
    """
    differing = []
    for name, value in explicit.items():
        exact = exact_key(value)
        if defaults.exact.get(name) != exact:
            differing.append((table.position[name], exact))
    if len(differing) > 1:
        differing.sort(key=lambda pair: pair[0])
    return (defaults, tuple(differing))


def check_types(table: ParameterTable, explicit: Mapping[str, Any]) -> None:
    """Let each parameter warn of, or refuse, a value of a wrong type."""
    for name, value in explicit.items():
        table.parameters[name]._warn_on_wrong_param_type(name, value)


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | set) else value


def _shared_values(table: ParameterTable) -> dict[str, str]:
    section = _section(SHARED_SECTION)
    return {name: value for name, value in section.items() if name in table.parameters}


def _section(name: str) -> Mapping[str, Any]:
    config = luigi.configuration.get_config()
    data = getattr(config, 'data', None)
    if isinstance(data, dict):
        return data.get(name) or {}
    return dict(config[name]) if name in config else {}


def _section_state(name: str) -> Hashable:
    config = luigi.configuration.get_config()
    if not hasattr(config, 'data') and not config.has_section(name):
        return None
    return tuple((key, repr(value)) for key, value in _section(name).items())


def _warn_of_unconsumed(family: str, table: ParameterTable) -> None:
    ignored: set[str] = getattr(table.cls, 'ignore_unconsumed', set())
    names = (key.replace('-', '_') for key in _section(family))
    for name in names:
        if name not in table.parameters and name not in ignored:
            warnings.warn(
                f'The configuration section [{family}] sets {name!r}, which is no parameter of {family}.',
                UnconsumedParameterWarning,
                stacklevel=2,
            )
