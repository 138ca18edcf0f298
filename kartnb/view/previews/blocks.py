"""What a preview is made of. Text and HTML are drawn from the same blocks, so they say the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values, one pair a line."""

    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: its name, its type, and whether it holds numbers."""

    name: str
    type: str = ''
    numeric: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of texts; `note` tells what is left out."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    note: str = ''


@dataclass(frozen=True, slots=True)
class Text:
    """Text as it is, with line breaks; `note` tells what is left out."""

    text: str
    note: str = ''


@dataclass(frozen=True, slots=True)
class Branch:
    """One entry of a tree: a name, what it is, and what is in it."""

    name: str
    text: str
    children: Sequence[Branch] = ()


@dataclass(frozen=True, slots=True)
class Tree:
    """Nested entries; `note` tells what is left out."""

    branches: Sequence[Branch]
    note: str = ''


@dataclass(frozen=True, slots=True)
class Image:
    """A picture that carries its data, and what it shows in words."""

    mime: str
    data: bytes = field(repr=False)
    description: str
    pixelated: bool = False


@dataclass(frozen=True, slots=True)
class Foreign:
    """HTML that an object draws of itself: shown where it can run nothing and load nothing, with a text beside it."""

    html: str = field(repr=False)
    text: str


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence, for instance why there is nothing to be seen."""

    text: str


Block: TypeAlias = Facts | Table | Text | Tree | Image | Foreign | Note
