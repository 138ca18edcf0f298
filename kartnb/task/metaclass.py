"""The metaclass of kartnb's tasks: luigi's register, made fast and ready for classes that are defined again."""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Any

import luigi
from luigi.parameter import ParameterException
from luigi.task_register import Register

from kartnb._luigi import instance_cache
from kartnb.errors import KartError
from kartnb.task import registry
from kartnb.task.construction import ParameterTable, check_types, instance_key
from kartnb.task.instance_keys import value_key

_DEFINING = (FunctionType, classmethod, staticmethod, property, luigi.Parameter)
_NAMING = ('__name__', '__qualname__', '__module__')
_luigi_get_params: Any = vars(luigi.Task)['get_params'].__func__
_tables_version = 0


class KartRegister(Register):
    """Registers task classes, replaces their older generations, and makes and caches their instances."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kwargs: Any) -> KartRegister:
        cls: KartRegister = super().__new__(mcs, name, bases, namespace, **kwargs)  # type: ignore[no-untyped-call]
        registry.note_definition(cls)
        return cls

    def __setattr__(cls, name: str, value: Any) -> None:
        global _tables_version
        if name in _NAMING:
            # a decorator gives its wrapper the name of what it wraps: it is no redefinition of other wrappers
            registry.forget_name(cls)
            super().__setattr__(name, value)
            registry.note_definition(cls)
            return
        super().__setattr__(name, value)
        if isinstance(value, luigi.Parameter) or name == 'get_param_values':
            _tables_version += 1
        if isinstance(value, _DEFINING):
            registry.advance_epoch()

    def __delattr__(cls, name: str) -> None:
        global _tables_version
        super().__delattr__(name)
        _tables_version += 1
        registry.advance_epoch()

    def __instancecheck__(cls, instance: Any) -> bool:
        # the detour of abstract base classes takes three times as long, and is asked for at every turn
        return cls in type(instance).__mro__ or super().__instancecheck__(instance)

    def _instance(cls, *args: Any, **kwargs: Any) -> Any:
        """Give the instance for these parameter values: the same one for values that serialise alike."""
        cache = instance_cache()
        if cache is None:
            return cls._make(cls.resolve(args, kwargs), args, kwargs)
        instances: dict[Any, Any] | None = cache.get(cls)
        if instances is None:
            instances = cache.setdefault(cls, {})
        call = state = None
        table = cls.parameter_table()
        if not table.overridden:
            state = table.state()
            call = table.call_key(args, kwargs, state)
        found = instances.get(call) if call is not None else None
        if found is None:
            try:
                resolved = cls._resolve(args, kwargs, state)
            except (ParameterException, KartError) as error:
                # the message says it all: a traceback of how it was found would bury it
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
        if cached is not None and [*cached[1].parameters.items()] == parameters:
            table = cached[1]
        else:
            table = ParameterTable(task_class, parameters)
        table.overridden = task_class.get_param_values.__func__ is not task_class._kart_get_param_values
        type.__setattr__(cls, '_kart_table', (_tables_version, table))
        return table

    def resolve(cls, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Resolved:
        """The parameter values of a call."""
        return cls._resolve(args, kwargs, cls.parameter_table().state())

    def _resolve(cls, args: tuple[Any, ...], kwargs: dict[str, Any], state: Any) -> Resolved:
        table = cls.parameter_table()
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
