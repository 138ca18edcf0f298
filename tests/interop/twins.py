"""The same task classes under kartnb and under the real gokart, side by side in one process.

luigi's register is one for both libraries, and both see classes of one name and module as one name. So gokart's classes
live in a register of their own (`Library.register`).
"""

from __future__ import annotations

import itertools
import linecache
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import gokart
import gokart.config_params
import luigi
from luigi.task_register import Register

import kartnb
from kartnb.task.config import inherits_config_params

MODULE = 'twins.of_a.test'
_numbers = itertools.count()


@dataclass(frozen=True)
class Library:
    """One of the two libraries: the names that task definitions use, and where its classes are registered."""

    name: str
    names: dict[str, Any]
    register: list[Any] = field(default_factory=list)

    @contextmanager
    def registered(self) -> Iterator[None]:
        """Let luigi know only the classes of this library."""
        before = Register._reg
        Register._reg = self.register
        try:
            yield
        finally:
            Register._reg = before

    def __getattr__(self, name: str) -> Any:
        try:
            return self.names[name]
        except KeyError:
            raise AttributeError(name) from None


def _library(name: str, module: Any, inherits: Any) -> Library:
    names = (
        'TaskOnKart',
        'TaskInstanceParameter',
        'ListTaskInstanceParameter',
        'ExplicitBoolParameter',
        'SerializableParameter',
        'ZonedDateSecondParameter',
        'PandasTypeConfig',
    )
    found = {each: getattr(module, each) for each in names}
    return Library(name, {**found, 'inherits_config_params': inherits, 'luigi': luigi})


OURS = _library('kartnb', kartnb, inherits_config_params)
THEIRS = _library('gokart', gokart, gokart.config_params.inherits_config_params)
BOTH = (OURS, THEIRS)


@dataclass(frozen=True)
class Twins:
    """Something made under both libraries."""

    ours: Any
    theirs: Any

    def map(self, function: Callable[[Any], Any]) -> Twins:
        """Apply a function to both."""
        with OURS.registered():
            ours = function(self.ours)
        with THEIRS.registered():
            theirs = function(self.theirs)
        return Twins(ours, theirs)


def make(maker: Callable[[Library], Any]) -> Twins:
    """Call `maker` with each library; what it defines is registered apart, and what was defined before is forgotten."""
    made = []
    for library in BOTH:
        library.register.clear()
        with library.registered():
            made.append(maker(library))
    return Twins(*made)


def define(source: str, module: str = MODULE) -> Twins:
    """Run a source text under each library; gives the two namespaces.

    The text uses `TaskOnKart`, `TaskInstanceParameter`, ..., `luigi`; `inspect` finds the source of what it defines.
    """
    filename = f'<twins {next(_numbers)}>'
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    code = compile(source, filename, 'exec', dont_inherit=True)

    def run(library: Library) -> Any:
        namespace = {**library.names, '__name__': module}
        exec(code, namespace)
        return types.SimpleNamespace(**namespace)

    return make(run)


def outcome(function: Callable[[], Any]) -> Any:
    """What a call gives, or the type of what it raises."""
    try:
        return function()
    except Exception as error:
        return type(error)
