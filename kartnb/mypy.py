"""A plugin for mypy: it knows which parameters the calls of task classes take, however these are declared.

``plugins = ["kartnb.mypy"]`` replaces ``gokart.mypy``. Parameters may be annotated with the type of their values,
``n: int = luigi.IntParameter()``, or not at all. With ``disallow_missing_parameters = true`` in the section
``[tool.kartnb-mypy]`` of ``pyproject.toml`` (or ``[kartnb-mypy]`` of ``mypy.ini``) a call must give every parameter
that has no default; without it, luigi's configuration may.

Notes
-----
From gokart, whose section ``[tool.gokart-mypy]`` is read too. There a class gets a signature of the plugin's making,
which luigi's own declaration (``dataclass_transform``, since luigi 3.8) replaces. Here the plugin completes what that
declaration is made from: it annotates what is not annotated, and mypy does the rest, also for classes that are passed
on.
"""

from __future__ import annotations

import configparser
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from mypy.erasetype import erase_type
from mypy.errors import CompileError
from mypy.nodes import (
    ARG_NAMED,
    ARG_POS,
    ARG_STAR2,
    AssignmentStmt,
    Block,
    CallExpr,
    DataclassTransformSpec,
    Expression,
    FuncDef,
    IfStmt,
    MypyFile,
    NameExpr,
    Node,
    RefExpr,
    StrExpr,
    TypeInfo,
    Var,
)
from mypy.options import Options
from mypy.plugin import ClassDefContext, FunctionContext, Plugin, ReportConfigContext
from mypy.types import (
    AnyType,
    CallableType,
    Instance,
    Type,
    TypeOfAny,
    TypeType,
    TypeVarId,
    TypeVarType,
    UnionType,
    get_proper_type,
)
from mypy.typevars import fill_typevars_with_any

_OPTION = 'disallow_missing_parameters'
_SECTIONS = 'kartnb-mypy', 'gokart-mypy'
_TASK = 'luigi.task.Task'
_PARAMETER = 'luigi.parameter.Parameter'
#: Kinds of parameters that have a default without being given one; the explicit one is derived from the first.
_HAVE_DEFAULTS = 'luigi.parameter.BoolParameter', 'luigi.parameter.OptionalParameterMixin'
_EXPLICIT = 'ExplicitBoolParameter'


class ParameterPlugin(Plugin):
    """Completes the declarations of parameters, and lets them be annotated with the types of their values."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._config_error = ''
        self._disallow_missing = False
        try:
            self._disallow_missing = _disallows_missing(options.config_file)
        except ValueError as error:
            self._config_error = f'{options.config_file}: error: {error}'

    def set_modules(self, modules: dict[str, MypyFile]) -> None:
        """Where mypy shows an error in the configuration without a traceback."""
        if self._config_error:
            raise CompileError([self._config_error])
        super().set_modules(modules)

    def report_config_data(self, ctx: ReportConfigContext) -> dict[str, bool]:
        """What decides whether mypy's cache still holds."""
        return {_OPTION: self._disallow_missing}

    def get_base_class_hook(self, fullname: str) -> Callable[[ClassDefContext], None] | None:
        """The hook for classes with bases, which looks itself whether one is a task."""
        return self._declare_parameters

    def get_function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        """The hook for calls of parameter classes."""
        symbol = self.lookup_fully_qualified(fullname)
        return _value_type if symbol is not None and _is_parameter_class(symbol.node) else None

    def _declare_parameters(self, context: ClassDefContext) -> None:
        info = context.cls.info
        if not info.has_base(_TASK):
            return
        if not self._disallow_missing:
            _set_required(info, ())
        for statement in _assignments(context.cls.defs):
            declaration = _declaration(statement)
            if declaration is None:
                _leave_out(statement)
                continue
            if self._disallow_missing and not declaration.has_default():
                _set_required(info, (declaration.callee.fullname,))
            if statement.type is None:
                declaration.annotate(info)
            statement.new_syntax = True  # also where the type is in a comment


@dataclass(frozen=True)
class _Declaration:
    """``name = SomeParameter(…)`` in the body of a class."""

    statement: AssignmentStmt
    name: NameExpr
    variable: Var
    call: CallExpr
    callee: RefExpr
    kind: TypeInfo

    def has_default(self) -> bool:
        """Whether a call of the task class may leave the parameter out.

        A default that is given by its place is given its name, by which mypy knows it.
        """
        given = self._given()
        if 'default' in given and 'default' not in self.call.arg_names:
            place = self.call.args.index(given['default'])
            self.call.arg_names[place] = 'default'
            self.call.arg_kinds[place] = ARG_NAMED
        if 'default' in given or ARG_STAR2 in self.call.arg_kinds:
            return True
        return any(map(self.kind.has_base, _HAVE_DEFAULTS)) and all(base.name != _EXPLICIT for base in self.kind.mro)

    def annotate(self, info: TypeInfo) -> None:
        """Write the type of the parameter, or what a base class says of the attribute, to the declaration."""
        declared = _inherited(info, self.name.name) or Instance(self.kind, self._type_arguments())
        self.name.is_inferred_def = False
        self.variable.type = declared
        self.variable.is_ready = True
        self.variable.is_inferred = False
        self.statement.type = declared

    def _type_arguments(self) -> list[Type]:
        """What ``expected_type=``, ``enum=`` and the like say; else the usual type, unless a default is of another."""
        bound = dict(self._bound())
        default = self._given().get('default')
        usual = default is None or isinstance(default, StrExpr)
        return [
            bound.get(variable.id)
            or (
                variable.default
                if usual and isinstance(variable, TypeVarType) and variable.has_default()
                else AnyType(TypeOfAny.special_form)
            )
            for variable in self.kind.defn.type_vars
        ]

    def _bound(self) -> Iterator[tuple[TypeVarId, Type]]:
        init = self.kind.get_method('__init__')
        signature = get_proper_type(init.type) if isinstance(init, FuncDef) and init.info is self.kind else None
        if not isinstance(signature, CallableType):
            return
        given = self._given()
        for name, wanted in zip(signature.arg_names, signature.arg_types, strict=True):
            value = given.get(name or '')
            if isinstance(value, RefExpr) and isinstance(value.node, TypeInfo):
                for variable in _types_of(wanted):
                    yield variable, fill_typevars_with_any(value.node)

    def _given(self) -> dict[str, Expression]:
        """The arguments of the call by name."""
        init = self.kind.get_method('__init__')
        names = init.arg_names[1:] if isinstance(init, FuncDef) else []
        call = self.call
        by_place = [arg for arg, kind in zip(call.args, call.arg_kinds, strict=True) if kind == ARG_POS]
        by_name = {name: arg for name, arg in zip(call.arg_names, call.args, strict=True) if name is not None}
        return {name: arg for name, arg in zip(names, by_place, strict=False) if name is not None} | by_name


def plugin(version: str) -> type[Plugin]:
    """What mypy asks a plugin for."""
    return ParameterPlugin


def _disallows_missing(config_file: str | None) -> bool:
    sections = {} if config_file is None else _sections(config_file)
    for section in _SECTIONS:
        options = sections.get(section, {})
        if not isinstance(options, dict):
            raise ValueError(f'{section} must be a table, as in [tool.{section}].')
        unknown = sorted(set(options) - {_OPTION})
        if unknown:
            raise ValueError(f'[{section}] has the unknown option {unknown[0]!r}: its only option is {_OPTION}.')
        if _OPTION in options:
            return _as_bool(options[_OPTION], f'{_OPTION} in [{section}]')
    return False


def _sections(config_file: str) -> dict[str, Any]:
    if config_file.endswith('.toml'):
        with open(config_file, 'rb') as file:
            return dict(tomllib.load(file).get('tool', {}))
    parser = configparser.RawConfigParser()
    parser.read(config_file, encoding='utf-8')
    return {name: dict(parser.items(name)) for name in parser.sections()}


def _as_bool(value: object, name: str) -> bool:
    if isinstance(value, str):  # of an ini file
        value = {'true': True, 'false': False}.get(value.lower(), value)
    if not isinstance(value, bool):
        raise ValueError(f'{name} must be true or false, not {value!r}.')
    return value


def _assignments(block: Block) -> Iterator[AssignmentStmt]:
    for statement in block.body:
        if isinstance(statement, AssignmentStmt):
            yield statement
        elif isinstance(statement, IfStmt):
            for branch in [*statement.body, *filter(None, [statement.else_body])]:
                if not branch.is_unreachable:
                    yield from _assignments(branch)


def _declaration(statement: AssignmentStmt) -> _Declaration | None:
    name, call = statement.lvalues[0], statement.rvalue
    if not (isinstance(name, NameExpr) and isinstance(name.node, Var) and isinstance(call, CallExpr)):
        return None
    callee = call.callee
    if not isinstance(callee, RefExpr) or not isinstance(callee.node, TypeInfo) or not _is_parameter_class(callee.node):
        return None
    return _Declaration(statement, name, name.node, call, callee, callee.node)


def _is_parameter_class(node: Node | None) -> bool:
    return isinstance(node, TypeInfo) and node.has_base(_PARAMETER)


def _leave_out(statement: AssignmentStmt) -> None:
    """Keep an attribute that is no parameter, ``model: Model``, from being asked for in calls."""
    if not isinstance(statement.rvalue, CallExpr) and not _is_parameter(statement.type):
        statement.new_syntax = False


def _is_parameter(kind: Type | None) -> bool:
    proper = get_proper_type(kind)
    return isinstance(proper, Instance) and _is_parameter_class(proper.type)


def _inherited(info: TypeInfo, name: str) -> Type | None:
    """What the base classes say that the value of an attribute is."""
    known = next((base.names[name].type for base in info.mro[1:] if name in base.names), None)
    return None if _is_parameter(known) else known


def _set_required(info: TypeInfo, names: tuple[str, ...]) -> None:
    """Let calls ask for parameters of these classes that have no default, besides those so far; none, if empty."""
    for base in info.mro[1:]:
        spec = base.dataclass_transform_spec
        if spec is not None:
            wanted = (*dict.fromkeys((*spec.field_specifiers, *names)),) if names else ()
            if spec.field_specifiers != wanted:
                base.dataclass_transform_spec = DataclassTransformSpec(
                    eq_default=spec.eq_default,
                    order_default=spec.order_default,
                    kw_only_default=spec.kw_only_default,
                    field_specifiers=wanted,
                    frozen_default=spec.frozen_default,
                )
            return


def _types_of(wanted: Type) -> Iterator[TypeVarId]:
    """The type variables T of ``type[T]``, also in ``type[T] | None``."""
    proper = get_proper_type(wanted)
    if isinstance(proper, UnionType):
        for item in proper.items:
            yield from _types_of(item)
    elif isinstance(proper, TypeType) and isinstance(proper.item, TypeVarType):
        yield proper.item.id


def _value_type(context: FunctionContext) -> Type:
    """The type of a parameter where it is assigned: where the type of the value is declared, that of its default."""
    given = context.default_return_type
    expected = _expected(context)
    if expected is None or isinstance(get_proper_type(expected), AnyType) or _is_parameter(expected):
        return given
    if 'default' in context.callee_arg_names:
        kinds = context.arg_types[context.callee_arg_names.index('default')]
        if kinds:
            return erase_type(kinds[0])
    return AnyType(TypeOfAny.special_form)


def _expected(context: FunctionContext) -> Type | None:
    """The type of the place that the parameter is assigned to, if it is declared."""
    checker = getattr(context.api, 'expr_checker', None)
    contexts: list[Type | None] = getattr(checker, 'type_context', [])
    return contexts[-1] if contexts else None
