"""Texts, bytes and XML."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kartnb.view import clean, told
from kartnb.view.previews import registry
from kartnb.view.previews.blocks import Branch, Text, Tree
from kartnb.view.previews.pictures import picture_of_bytes
from kartnb.view.previews.preview import Preview
from kartnb.view.previews.values import counted, type_name

_MOST_LINES = 60
_MOST_CHARACTERS = 8_000
_MOST_BYTES = 256
_MOST_ELEMENTS = 200
_DEEPEST = 8


def text_block(text: str) -> Text:
    """A text, or its beginning."""
    shown = clean.lines(text, _MOST_CHARACTERS, _MOST_LINES)
    rest = len(text) - _MOST_CHARACTERS
    return Text(shown, f'… {rest:,} more characters' if rest > 0 else '')


def preview_text_value(text: str) -> Preview:
    """Preview a text."""
    return Preview(f'{type_name(text)} of {counted(len(text), "character")}', (text_block(text),))


def preview_bytes(data: bytes) -> Preview:
    """Preview bytes: as the image that they are, or the first of them."""
    title = f'{told.size_text(len(data))} of bytes'
    picture = picture_of_bytes(data)
    if picture is not None:
        return picture
    rows = [_hexadecimal(data, start) for start in range(0, min(len(data), _MOST_BYTES), 16)]
    rest = len(data) - _MOST_BYTES
    return Preview(title, (Text('\n'.join(rows), f'… {rest:,} more bytes' if rest > 0 else ''),))


def _hexadecimal(data: bytes, start: int) -> str:
    part = data[start : start + 16]
    characters = ''.join(chr(byte) if 32 <= byte < 127 else '.' for byte in part)
    return f'{start:08x}  {part.hex(" "):<47}  {characters}'


def preview_element(element: Any) -> Preview:
    """Preview an XML element as a tree."""
    room = [_MOST_ELEMENTS]
    root = _branch(element, 0, room)
    note = '' if room[0] > 0 else 'There is more; only the first elements are shown.'
    return Preview(f'XML element {clean.one_line(str(element.tag), 80)}', (Tree((root,), note),))


def preview_element_tree(tree: Any) -> Preview:
    """Preview an XML document."""
    root = tree.getroot()
    return preview_element(root) if root is not None else Preview('XML document', (Text('It is empty.'),))


def _branch(element: Any, depth: int, room: list[int]) -> Branch:
    attributes = ' '.join(f'{name}="{clean.one_line(str(text), 60)}"' for name, text in list(element.items())[:8])
    words = ' '.join((element.text or '')[:400].split())
    text = ' '.join(part for part in (attributes, words) if part)
    children = tuple(_children(element, depth + 1, room)) if depth < _DEEPEST else ()
    return Branch(clean.one_line(str(element.tag), 80), clean.one_line(text, 200), children)


def _children(element: Any, depth: int, room: list[int]) -> Iterator[Branch]:
    for child in element:
        if room[0] <= 0:
            return
        room[0] -= 1
        yield _branch(child, depth, room)


registry.add('xml', {'Element': preview_element, 'ElementTree': preview_element_tree})
