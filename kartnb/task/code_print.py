"""The code print of a task class: a short digest of all the user's code that makes its results.

It covers the class's methods and attributes, inherited ones up to `TaskOnKart` too, and the functions, classes and
constants that they reach in the notebook and in the user's own packages. Code counts by its syntax tree. Parameters do
not count, because they are in the unique id, and neither do other task classes, because the graph tells of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from kartnb.task.code_parts import PYTHON, Part, part_digest, parts_to_json, print_of_digests
from kartnb.task.code_reach import Reach


@dataclass(frozen=True, slots=True)
class CodePrint:
    """The code print of one class.

    Attributes
    ----------
    digest
        Equal for classes that do the same; 12 hexadecimal digits.
    parts
        What it was made of.
    title
        The name of the class.
    unknown
        Where nobody can tell whether something has changed, and why; empty where all can be told.
    key
        The name under which the parts are kept: the Python that made it, and the digest.
    """

    digest: str
    parts: tuple[Part, ...]
    title: str = ''
    unknown: tuple[str, ...] = ()
    key: str = ''

    def to_json(self) -> str:
        """The parts as the text of a file."""
        return parts_to_json(self.parts, self.title)


class Printer:
    """Makes the prints of task classes, each once: what is changed meanwhile is seen by the next printer."""

    def __init__(self) -> None:
        self._prints: dict[type, CodePrint] = {}

    def print_of(self, cls: type) -> CodePrint:
        """The code print of a class."""
        known = self._prints.get(cls)
        if known is None:
            known = self._prints[cls] = _print_of(cls)
        return known


def _print_of(cls: type) -> CodePrint:
    try:
        reach = Reach(cls)
        reach.explore()
        found = list(reach.parts())
    except Exception as error:  # whatever metaclasses and descriptors of the user's raise, the task itself may run
        why = f'the code of {cls.__qualname__} cannot be read ({type(error).__name__})'
        part = Part(cls.__qualname__, 'unknown', why)
        found = [(part, part_digest(part))]
    digest = print_of_digests((part.name, part.kind, counted) for part, counted in found)
    parts = tuple(part for part, _ in found)
    unknown = tuple(part.text for part in parts if part.kind == 'unknown')
    return CodePrint(digest, parts, cls.__qualname__, unknown, f'{PYTHON}-{digest}')
