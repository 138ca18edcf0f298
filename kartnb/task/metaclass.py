"""How a call of a task class becomes an instance: parameter values, the instance cache, and the metaclass itself.

luigi works out parameters, defaults and configuration with every call. Here a `ParameterTable` keeps them for each
class, and a call that was made before is one look-up. `KartRegister` also notes every definition of a class, so that
cells can be run again, and `trigger` calls the event handlers of tasks.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import os
import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from logging import getLogger
from numbers import Number
from types import FunctionType
from typing import TYPE_CHECKING, Any

import luigi
from luigi.parameter import (
    DuplicateParameterException,
    MissingParameterException,
    ParameterException,
    UnconsumedParameterWarning,
    UnknownParameterException,
)
from luigi.task_register import Register

from kartnb._luigi import NO_VALUE, check_type, event_handlers, has_changing_default, instance_cache, is_gokarts
from kartnb.errors import KartError
from kartnb.task import held, registry
from kartnb.task.code import loaded
from kartnb.task.config import SHARED_SECTION, USUAL, configuration_state, current_configuration, section
from kartnb.task.registry import base_task
from kartnb.task.secrets import is_private, is_secret

# ----- the metaclass --------------------------------------------------------------------------------------------------

_DEFINING = (FunctionType, classmethod, staticmethod, property, luigi.Parameter)
_NAMING = ('__name__', '__qualname__', '__module__')
_luigi_get_params: Any = vars(luigi.Task)['get_params'].__func__
_tables_version = 0


#: What the `__init__` of all tasks sets.
_SET_BY_BASE = frozenset(
    {
        'param_args',
        'param_kwargs',
        'run',
        'task_log',
        'task_unique_id',
        '_lock_at_dump',
        '_rerun_asked',
        '_rerun_pending',
    }
)


class KartRegister(Register):
    """Registers task classes, replaces their older generations, and makes and caches their instances."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kwargs: Any) -> KartRegister:
        cls: KartRegister = super().__new__(mcs, name, bases, namespace, **kwargs)  # type: ignore[no-untyped-call]
        registry.note_maker(cls, inspect.currentframe())
        registry.note_definition(cls)
        if registry.base_task() is not None:
            loaded.note_modules()  # before anybody edits their files
        return cls

    def __setattr__(cls, name: str, value: Any) -> None:
        global _tables_version
        if name in _NAMING:
            # a decorator gives its wrapper the name of what it wraps: it does not redefine other wrappers
            registry.forget_name(cls)
            super().__setattr__(name, value)
            registry.note_definition(cls)
            return
        super().__setattr__(name, value)
        # one version for all classes: a parameter of a base class is one of its subclasses too
        if isinstance(value, luigi.Parameter) or name in ('get_param_values', '_add_configuration'):
            _tables_version += 1
        if isinstance(value, _DEFINING):
            registry.advance_epoch()

    def __delattr__(cls, name: str) -> None:
        global _tables_version
        super().__delattr__(name)
        _tables_version += 1
        registry.advance_epoch()

    def __instancecheck__(cls, instance: Any) -> bool:
        # abstract base classes take three times as long for it, and luigi asks at every turn
        return cls in type(instance).__mro__ or super().__instancecheck__(instance)

    def _instance(cls, *args: Any, **kwargs: Any) -> Any:
        """Return the instance for these parameter values: the same one for values that serialise alike."""
        cache = instance_cache()
        if cache is None:
            return cls._make(cls.resolve(args, kwargs), args, kwargs)
        instances: dict[Any, Any] | None = cache.get(cls)
        if instances is None:
            instances = cache.setdefault(cls, {})
        call = state = None
        table = cls.parameter_table()
        if not (table.overridden or table.configures):
            state = table.state()
            call = table.call_key(args, kwargs, state)
        found = instances.get(call) if call is not None else None
        if found is None:
            try:
                resolved = cls._resolve(table, args, kwargs, state)
            except (ParameterException, KartError) as error:
                # the message says it all; a traceback through this module would bury it
                raise error.with_traceback(None) from error.__cause__
            if resolved.key is None:
                return cls._make(resolved, args, kwargs)
            found = instances.get(resolved.key)
            if found is None:
                # another thread may have made one meanwhile: all get the same
                found = instances.setdefault(resolved.key, cls._make(resolved, args, kwargs))
            if call is not None:
                instances[call] = found
        return found

    if not TYPE_CHECKING:
        # type checkers know how instances are made from luigi, which declares parameters to be fields
        __call__ = _instance

    def parameter_table(cls) -> ParameterTable:
        """The parameters of this class, worked out once until one is added."""
        cached = cls.__dict__.get('_kart_table')
        if cached is not None and cached[0] == _tables_version:
            table: ParameterTable = cached[1]
            return table
        task_class: Any = cls
        parameters = _luigi_get_params(task_class)
        # keep the table where nothing has changed: it is a part of the keys of cached instances
        if cached is not None and [*cached[1].parameters.items()] == parameters:
            table = cached[1]
        else:
            table = ParameterTable(task_class, parameters)
        table.overridden = task_class.get_param_values.__func__ is not task_class._kart_get_param_values
        hook = task_class._add_configuration
        table.use_configuration(getattr(hook, '__func__', None) is not task_class._kart_add_configuration)
        type.__setattr__(cls, '_kart_table', (_tables_version, table))
        return table

    def resolve(cls, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Resolved:
        """The parameter values of a call."""
        table = cls.parameter_table()
        return cls._resolve(table, args, kwargs, table.state())

    def _resolve(cls, table: ParameterTable, args: tuple[Any, ...], kwargs: dict[str, Any], state: Any) -> Resolved:
        if table.configures:
            resolved = cls._resolve_plainly(table, args, cls._configured(kwargs), state)
            resolved.kwargs = kwargs
            return resolved
        return cls._resolve_plainly(table, args, kwargs, state)

    def _configured(cls, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments of a call, and what a class's own `_add_configuration` adds to them."""
        task_class: Any = cls
        hook = task_class._add_configuration
        if isinstance(inspect.getattr_static(cls, '_add_configuration'), FunctionType):
            hook = functools.partial(hook, object.__new__(task_class))  # in gokart `self` is as empty at that time
        filled = dict(kwargs)
        hook(filled, SHARED_SECTION)
        return filled

    def _resolve_plainly(
        cls, table: ParameterTable, args: tuple[Any, ...], kwargs: dict[str, Any], state: Any
    ) -> Resolved:
        if table.overridden:
            return cls._resolve_by_override(args, kwargs)
        explicit = table.explicit_values(args, kwargs)
        defaults = table.defaults(state)
        values = table.complete(defaults, explicit)
        check_types(table, explicit)
        try:
            key = instance_key(table, defaults, explicit)
        except TypeError:
            key = None
        return Resolved(args, kwargs, values, key)

    def _resolve_by_override(cls, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Resolved:
        table = cls.parameter_table()
        task_class: Any = cls
        values = dict(task_class.get_param_values(list(table.parameters.items()), args, dict(kwargs)))
        check_types(table, values)
        try:
            key = (table, tuple(value_key(table.parameters[name], value) for name, value in values.items()))
        except TypeError:
            key = None
        return Resolved(args, kwargs, values, key)

    def _make(cls, resolved: Resolved, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        task_class: Any = cls
        task = task_class.__new__(task_class, *args, **kwargs)
        task.__dict__['_resolved'] = resolved
        task_class.__init__(task, *args, **kwargs)
        base = base_task()
        if base is not None and task_class.__init__ is not base.__init__:
            # for `kartnb.task.code.attributes`: a run begins with what it would set now
            usual = resolved.values.keys() | _SET_BY_BASE
            made = {name: value for name, value in task.__dict__.items() if name not in usual}
            if made:
                task.__dict__['_made_with'] = (args, kwargs, made)
        return task


class Resolved:
    """The parameter values of one call, and its key in the instance cache (None when it has none)."""

    __slots__ = ('args', 'key', 'kwargs', 'values')

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any], values: dict[str, Any], key: Any) -> None:
        self.args = args
        self.kwargs = kwargs
        self.values = values
        self.key = key

    def fits(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether these are the arguments that were resolved, not ones that a class's own `__init__` has changed."""
        return (
            len(args) == len(self.args)
            and all(a is b for a, b in zip(args, self.args, strict=True))
            and kwargs.keys() == self.kwargs.keys()
            and all(value is self.kwargs[name] for name, value in kwargs.items())
        )


# ----- the parameters of a class --------------------------------------------------------------------------------------

#: Equal values of these types are interchangeable.
_INTERCHANGEABLE = frozenset({str, int, bool, type(None)})


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
        #: The names of those whose values are paths of files that the task reads.
        self.files = tuple(name for name, parameter in self.parameters.items() if hasattr(parameter, 'holds_files'))
        #: Whether the class has a `get_param_values` of its own.
        self.overridden = False
        #: Whether the class has an `_add_configuration` of its own, which then reads the section for all tasks.
        self.configures = False
        #: The public ones, kept here by `kartnb.task.describe`.
        self.public: Any = None
        self._defaults: dict[Hashable, Defaults] = {}
        self._text_forms: dict[tuple[bool, bool], list[tuple[str, luigi.Parameter[Any]]]] = {}
        self._heads: dict[Hashable, Hashable] = {}
        self._keeps_defaults = not any(map(has_changing_default, self.parameters.values()))

    def use_configuration(self, configures: bool) -> None:
        """Say whether the class has an `_add_configuration` of its own."""
        if configures != self.configures:
            self.configures = configures
            self._defaults.clear()

    def in_text_form(self, only_significant: bool, only_public: bool) -> list[tuple[str, luigi.Parameter[Any]]]:
        """The parameters that `to_str_params` gives, by its two options."""
        found = self._text_forms.get((only_significant, only_public))
        if found is None:
            found = self._text_forms[only_significant, only_public] = [
                (name, parameter)
                for name, parameter in self.parameters.items()
                if (parameter.significant or not only_significant)
                and not (is_secret(parameter) if only_public else is_private(parameter))
            ]
        return found

    def explicit_values(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The normalised values that a caller gave.

        Raises UnknownParameterException (whose message suggests a near name) or DuplicateParameterException.
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
        try:
            return _as_text(name, parameter.normalize(value))
        except Exception:
            if not is_secret(parameter):
                raise
            # the message may hold the value, which is secret
            raise ValueError(f'{self._name} does not take this value of its secret parameter {name!r}.') from None

    def defaults(self, state: Hashable) -> Defaults:
        """The values of parameters that are not given, under one `state()` of the configuration."""
        found = self._defaults.get(state)
        if found is None:
            found = Defaults(self, self.cls.get_task_family())
            if self._keeps_defaults and not found.errors:
                if self.holds_tasks:
                    self._defaults.clear()  # those of earlier definitions are not asked for again
                self._defaults[state] = found
        return found

    def state(self) -> Hashable:
        """What the default values depend on."""
        configured = configuration_state(self.cls.get_task_family())
        # a default that is a task is another one when its class is defined again
        return (configured, registry.definition_epoch()) if self.holds_tasks else configured

    def missing(self, names: Iterable[str]) -> MissingParameterException:
        """The error that names the parameters a caller left out."""
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
        """The key of a call as it was written, for a quick look-up; None where equal arguments may mean two tasks."""
        if not self._keeps_defaults:
            return None
        given: list[Any] = [self._heads.setdefault(state, (self, state))]
        for value in args:
            kind = type(value)
            if kind in _INTERCHANGEABLE:
                given += (kind, value)
            elif luigi.Task in kind.__mro__:
                value = held.today(value)
                given += (type(value), id(value))
            else:
                return None
        for name, value in kwargs.items():
            kind = type(value)
            if kind in _INTERCHANGEABLE:
                given += (name, kind, value)
            elif luigi.Task in kind.__mro__:
                value = held.today(value)
                given += (name, type(value), id(value))
            else:
                return None
        return tuple(given)

    def check_used(self, defaults: Defaults, explicit: Mapping[str, Any]) -> None:
        """Raise what is wrong with the defaults of the parameters that were not given."""
        if defaults.missing:
            missing = [name for name in defaults.missing if name not in explicit]
            if missing:
                raise self.missing(missing)
        for name, error in defaults.errors.items():
            if name not in explicit:
                raise error.with_traceback(None)

    def complete(self, defaults: Defaults, explicit: Mapping[str, Any]) -> dict[str, Any]:
        """All values in order: the given ones, and for the others the default ones.

        Raises MissingParameterException when one has neither.
        """
        self.check_used(defaults, explicit)
        values = defaults.template.copy()
        values.update(explicit)
        return values


class Defaults:
    """The default values of one class under one state of the configuration."""

    def __init__(self, table: ParameterTable, family: str) -> None:
        shared = _shared_values(table)
        self.values: dict[str, Any] = {}
        #: The names without a default value.
        self.missing: list[str] = []
        #: What is wrong with a default, by name: nobody minds as long as a value is given.
        self.errors: dict[str, Exception] = {}
        #: The names of values that cannot be hashed.
        self.unkeyed: set[str] = set()
        exact: dict[str, Hashable] = {}
        for name, parameter in table.parameters.items():
            try:
                value = shared[name] if name in shared else _default_value(parameter, family, name)
                if value is NO_VALUE:
                    self.missing.append(name)
                    continue
                value = _as_text(name, _hashable(value))
                _check_type(parameter, name, value)
            except Exception as error:
                self.errors[name] = error
                continue
            self.values[name] = value
            try:
                exact[name] = value_key(parameter, value)
            except TypeError:
                self.unkeyed.add(name)
        #: All names in order, those without a value too.
        self.template = {name: self.values.get(name) for name in table.parameters}
        if table.reference is None:
            table.reference = exact
        #: The keys of values that differ from the first ones that the class had, as in `instance_key`.
        self.differing = {name: key for name, key in exact.items() if table.reference.get(name) != key}
        _warn_of_unconsumed(family, table)


def check_types(table: ParameterTable, explicit: Mapping[str, Any]) -> None:
    """Let each parameter warn of, or refuse, a value of a wrong type."""
    for name, value in explicit.items():
        _check_type(table.parameters[name], name, value)


def _check_type(parameter: luigi.Parameter[Any], name: str, value: Any) -> None:
    if not is_secret(parameter):
        check_type(parameter, name, value)
        return
    # luigi's messages hold the value, which is secret
    sentence = f'The secret parameter {name!r} must not be of type {type(value).__name__}.'
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


#: Parameters of all tasks, of whatever class a task declares them, whose values may be given as a `pathlib.Path`.
_DIRECTORIES = frozenset({'workspace_directory', 'local_temporary_directory'})


def _as_text(name: str, value: Any) -> Any:
    return os.fspath(value) if name in _DIRECTORIES and isinstance(value, os.PathLike) else value


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | set) else value


def add_configuration(cls: Any, kwargs: dict[str, Any], name: str) -> None:
    """Add to `kwargs` what a section of the configuration sets, for what a class itself or `TaskOnKart` declares."""
    base = vars(base_task())
    declared = {**base, **vars(cls)}
    for option, text in section(current_configuration(), name).items():
        key = option.removeprefix(USUAL)
        if key in kwargs or not isinstance(declared.get(key), luigi.Parameter):
            continue
        if key == option or inspect.getattr_static(cls, key) is base.get(key):
            kwargs[key] = declared[key].parse(text)


def _shared_values(table: ParameterTable) -> dict[str, Any]:
    """The values of the section for every task; none where the class reads it by a method of its own."""
    configured: dict[str, Any] = {}
    if not table.configures:
        add_configuration(table.cls, configured, SHARED_SECTION)
    return {
        name: table.parameters[name].normalize(value) for name, value in configured.items() if name in table.parameters
    }


def _warn_of_unconsumed(family: str, table: ParameterTable) -> None:
    ignored: set[str] = getattr(table.cls, 'ignore_unconsumed', set())
    names = (key.replace('-', '_') for key in section(current_configuration(), family))
    for name in names:
        if name.removeprefix(USUAL) not in table.parameters and name not in ignored:
            warnings.warn(
                f'The configuration section [{family}] sets {name!r}, which is not a parameter of {family}.',
                UnconsumedParameterWarning,
                stacklevel=2,
            )


# ----- which calls give the same instance -----------------------------------------------------------------------------


def instance_key(table: ParameterTable, defaults: Defaults, explicit: Mapping[str, Any]) -> Hashable:
    """What makes two calls of a class give one instance: the values that differ from the class's first defaults.

    Raises TypeError when a value cannot be hashed: each call makes an instance of its own then.
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


def value_key(parameter: luigi.Parameter[Any], value: Any) -> Hashable:
    """`exact_key`, and for a value of an unknown type the text that it serialises to.

    Two equal times in two zones are such values, and so may be two equal objects of a `SerializableParameter`. Raises
    TypeError when the value (or a part of it) cannot be hashed.
    """
    key = exact_key(value)
    if isinstance(value, str | int | float | list | tuple | Mapping | luigi.Task | None):
        return key
    try:
        return (key, parameter.serialize(value))
    except Exception:  # a value of a wrong type is judged elsewhere
        return key


def exact_key(value: Any) -> Hashable:
    """A key that is equal only for values that serialise alike: 1, 1.0 and True differ, and so do orders of a dict.

    Raises TypeError when the value (or a part of it) cannot be hashed.
    """
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return (kind, value)
    if isinstance(value, luigi.Task):
        # luigi's equality ignores insignificant parameters; the instance cache makes one instance of each task.
        return (kind, id(value))
    if isinstance(value, Number):
        return (kind, repr(value))
    if isinstance(value, tuple):
        return (kind, tuple(exact_key(item) for item in value))
    hash(value)  # a list or dict may change under the task that holds it
    if isinstance(value, Mapping):
        return (kind, tuple((exact_key(key), exact_key(item)) for key, item in value.items()))
    return (kind, value)


# ----- event handlers -------------------------------------------------------------------------------------------------

_logger = getLogger('luigi-interface')


def trigger(task: luigi.Task, event: str, *args: Any, **kwargs: Any) -> None:
    """Call the handlers of an event; what a handler raises is logged, not raised (luigi's rule).

    gokart's own handlers, which are on every luigi task once gokart is imported, are for gokart's tasks only: others
    they fail on.
    """
    for handler in list(_handlers(task, event)):
        try:
            handler(*args, **kwargs)
        except Exception:
            _logger.exception('A handler of %s failed for %s', event, type(task).__name__)


def _handlers(task: luigi.Task, event: str) -> Iterator[Callable[..., Any]]:
    of_gokart = is_gokarts(task)
    for kind, by_event in event_handlers().items():
        if isinstance(task, kind):
            for handler in by_event.get(event, ()):
                if of_gokart or getattr(handler, '__module__', '') != 'gokart.task':
                    yield handler
