"""The source text of a task's methods, for `serialized_task_definition_check` (gokart's rule: comments count)."""

from __future__ import annotations

import inspect
from typing import Any


def method_sources(owner: Any) -> set[str]:
    """The source texts of the functions and methods of a class or an instance.

    Raises
    ------
    OSError
        When the source of one is not to be had.
    """
    cls = owner if isinstance(owner, type) else type(owner)
    found = [member for _, member in inspect.getmembers(cls)]
    if owner is not cls:
        # `run` on the instance is the class's, with the check for completeness around it
        found.extend(member for name, member in vars(owner).items() if name != 'run')
    return {inspect.getsource(member) for member in found if inspect.isfunction(member) or inspect.ismethod(member)}


def own_source(task: Any, base: type) -> str:
    """The source of the methods of a task that `base` does not have, sorted and joined."""
    return ''.join(sorted(method_sources(task) - method_sources(base)))
