"""What the magics of all topics share: commands that are imported late, and a task's expression on line or cell."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from importlib import import_module
from typing import Any, ClassVar, TypeVar

from IPython.core.magic import Magics, line_cell_magic, needs_local_scope, no_var_expand, output_can_be_silenced

Magic = TypeVar('Magic', bound=Callable[..., Any])


class MagicSet(Magics):
    """The magics of one topic.

    Attributes
    ----------
    commands_class
        Where what they do is written, as ``module:Class``; imported when the first of them is used, so that loading the
        extension is quick.
    """

    commands_class: ClassVar[str]

    @cached_property
    def commands(self) -> Any:
        """What the magics do; each topic says of what class it is."""
        module, _, name = self.commands_class.partition(':')
        return getattr(import_module(module), name)(self.shell)


def expression_magic(function: Magic) -> Magic:
    """Make a magic of a method that takes ``(line, cell, local_ns)``; its line is taken as it stands."""
    made: Any = no_var_expand(needs_local_scope(output_can_be_silenced(line_cell_magic(function))))
    return made  # type: ignore[no-any-return]
