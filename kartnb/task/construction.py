"""How a task gets its parameter values, fast: what luigi works out for each instance is done once a class."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import luigi
from luigi.parameter import (
    DuplicateParameterException,
    MissingParameterException,
    UnconsumedParameterWarning,
    UnknownParameterException,
)

from kartnb._luigi import NO_VALUE, check_type, has_changing_default
from kartnb.task.configuration import SHARED_SECTION, configuration_state, current_configuration, section
from kartnb.task.instance_keys import value_key
from kartnb.task.registry import base_task
from kartnb.task.secrets import is_private, is_secret

#: Values of these types are the same for every purpose when they are equal.
_UNMISTAKABLE = frozenset({str, int, bool, type(None)})


class ParameterTable:
    """The parameters of one task class, in luigi's order, and their default values."""

    def __init__(self, cls: type[luigi.Task], parameters: Iterable[tuple[str, luigi.Parameter[Any]]]) -> None:
        self.cls = cls
        self.parameters = dict(parameters)
        self.positional = [name for name, parameter in self.parameters.items() if parameter.positional]
        self.position = {name: i for i, name in enumerate(self.parameters)}
        self.reference: dict[str, Hashable] | None = None
        #: Whether a parameter may hold tasks.
        self.holds_tasks = any(getattr(parameter, 'holds_tasks', False) for parameter in self.parameters.values())
        #: Whether the class has a `get_param_values` of its own.
        self.overridden = False
        #: What `shown` has worked out of them.
        self.public: Any = None
        self._defaults: dict[Hashable, Defaults] = {}
        self._told: dict[tuple[bool, bool], list[tuple[str, luigi.Parameter[Any]]]] = {}
        self._heads: dict[Hashable, Hashable] = {}
        self._keeps_defaults = not any(map(has_changing_default, self.parameters.values()))

    def told(self, only_significant: bool, only_public: bool) -> list[tuple[str, luigi.Parameter[Any]]]:
        """The parameters that `to_str_params` gives."""
        found = self._told.get((only_significant, only_public))
        if found is None:
            found = self._told[only_significant, only_public] = [
                (name, parameter)
                for name, parameter in self.parameters.items()
                if (parameter.significant or not only_significant)
                and not (is_secret(parameter) if only_public else is_private(parameter))
            ]
        return found

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
        return {name: _hashable(self._normalized(name, value)) for name, value in given.items()}

    def _normalized(self, name: str, value: Any) -> Any:
        parameter = self.parameters[name]
        if not is_secret(parameter):
            return parameter.normalize(value)
        try:
            return parameter.normalize(value)
        except Exception:
            # the message may hold the value, which is secret
            raise ValueError(f'{self._name} does not take this value of its secret parameter {name!r}.') from None

    def defaults(self, state: Hashable) -> Defaults:
        """The values of the parameters that nobody gives.

        Parameters
        ----------
        state
            What `state` gives: luigi's configuration as it is now.
        """
        found = self._defaults.get(state)
        if found is None:
            found = Defaults(self, self.cls.get_task_family())
            if self._keeps_defaults:
                self._defaults[state] = found
        return found

    def state(self) -> Hashable:
        """What the default values depend on."""
        return configuration_state(self.cls.get_task_family())

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

    def call_key(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], state: Hashable) -> Hashable:
        """What makes two calls alike before anything is worked out; None for values that could be alike and differ."""
        if not self._keeps_defaults:
            return None
        given: list[Any] = [self._heads.setdefault(state, (self, state))]
        for value in args:
            kind = type(value)
            if kind in _UNMISTAKABLE:
                given += (kind, value)
            elif luigi.Task in kind.__mro__:
                given += (kind, id(value))
            else:
                return None
        for name, value in kwargs.items():
            kind = type(value)
            if kind in _UNMISTAKABLE:
                given += (name, kind, value)
            elif luigi.Task in kind.__mro__:
                given += (name, kind, id(value))
            else:
                return None
        return tuple(given)

    def complete(self, defaults: Defaults, explicit: Mapping[str, Any]) -> dict[str, Any]:
        """All values in order: the given ones, and for the others the default ones.

        Raises
        ------
        MissingParameterException
            When one has neither.
        """
        if defaults.missing:
            missing = [name for name in defaults.missing if name not in explicit]
            if missing:
                raise self.missing(missing)
        values = defaults.template.copy()
        values.update(explicit)
        return values


class Defaults:
    """The default values of one class under one state of the configuration.

    Attributes
    ----------
    values
        The values by name.
    missing
        The names without one.
    differing
        What makes these values others than the first ones that the class had, as in `instance_key`.
    unkeyed
        The names of values that cannot be hashed.
    """

    def __init__(self, table: ParameterTable, family: str) -> None:
        shared = _shared_values(table)
        self.values: dict[str, Any] = {}
        self.missing: list[str] = []
        self.unkeyed: set[str] = set()
        exact: dict[str, Hashable] = {}
        for name, parameter in table.parameters.items():
            value = shared[name] if name in shared else _default_value(parameter, family, name)
            if value is NO_VALUE:
                self.missing.append(name)
                continue
            value = _hashable(value)
            _check_type(parameter, name, value)
            self.values[name] = value
            try:
                exact[name] = value_key(parameter, value)
            except TypeError:
                self.unkeyed.add(name)
        #: All names in order, those without a value too.
        self.template = {name: self.values.get(name) for name in table.parameters}
        if table.reference is None:
            table.reference = exact
        self.differing = {name: key for name, key in exact.items() if table.reference.get(name) != key}
        _warn_of_unconsumed(family, table)


def instance_key(table: ParameterTable, defaults: Defaults, explicit: Mapping[str, Any]) -> Hashable:
    """What makes two calls of a class give one instance: the values that differ from the class's first defaults.

    Raises
    ------
    TypeError
        When a value cannot be hashed, so that each call makes an instance of its own.
    """
    if not defaults.unkeyed <= explicit.keys():
        raise TypeError('a default value cannot be hashed')
    given = {name: value_key(table.parameters[name], value) for name, value in explicit.items()}
    reference = table.reference or {}
    exact = {**defaults.differing, **given} if defaults.differing else given
    differing = [(table.position[name], key) for name, key in exact.items() if reference.get(name) != key]
    if len(differing) > 1:
        differing.sort(key=lambda pair: pair[0])
    return (table, tuple(differing))


def check_types(table: ParameterTable, explicit: Mapping[str, Any]) -> None:
    """Let each parameter warn of, or refuse, a value of a wrong type."""
    for name, value in explicit.items():
        _check_type(table.parameters[name], name, value)


def _check_type(parameter: luigi.Parameter[Any], name: str, value: Any) -> None:
    if not is_secret(parameter):
        check_type(parameter, name, value)
        return
    # luigi's messages hold the value, which is secret
    sentence = f'The secret parameter {name!r} is not meant to be of type {type(value).__name__}.'
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            check_type(parameter, name, value)
    except Warning as warning:
        warnings.warn(sentence, type(warning), stacklevel=2)
    except TypeError:
        raise TypeError(sentence) from None


def _default_value(parameter: luigi.Parameter[Any], family: str, name: str) -> Any:
    try:
        return parameter.task_value(family, name) if parameter.has_task_value(family, name) else NO_VALUE
    except Exception as error:
        secret = is_secret(parameter)
        detail = '.' if secret else f': {error}'
        raise ValueError(
            f'The value that {family} has for {name!r} by default, or from the configuration, cannot be read{detail}'
        ) from (None if secret else error)


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | set) else value


def _shared_values(table: ParameterTable) -> dict[str, Any]:
    """The values of the section for every task: as in gokart, for what the class itself or `TaskOnKart` declares."""
    declared = {**vars(base_task()), **vars(table.cls)}
    configured = section(current_configuration(), SHARED_SECTION)
    return {
        name: table.parameters[name].normalize(declared[name].parse(text))
        for name, text in configured.items()
        if name in table.parameters and isinstance(declared.get(name), luigi.Parameter)
    }


def _warn_of_unconsumed(family: str, table: ParameterTable) -> None:
    ignored: set[str] = getattr(table.cls, 'ignore_unconsumed', set())
    names = (key.replace('-', '_') for key in section(current_configuration(), family))
    for name in names:
        if name not in table.parameters and name not in ignored:
            warnings.warn(
                f'The configuration section [{family}] sets {name!r}, which is no parameter of {family}.',
                UnconsumedParameterWarning,
                stacklevel=2,
            )
