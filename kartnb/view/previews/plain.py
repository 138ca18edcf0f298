"""Values of Python itself, XML, and estimators of scikit-learn; anything unknown shows its `repr`."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import islice
from typing import Any

from kartnb.view.previews import pictures
from kartnb.view.previews.preview import (
    Block,
    Branch,
    Column,
    Preview,
    Table,
    Text,
    Tree,
    add_previews,
    short,
    text_block,
    type_name,
)
from kartnb.view.sanitise import counted, more, one_line, size_text

_MOST_CHILDREN = 30
_MOST_BRANCHES = 300
_DEEPEST = 6
_MOST_BYTES = 256
_MOST_ELEMENTS = 200
_DEEPEST_ELEMENT = 8
_MOST_PARAMETERS = 40
_MOST_LEARNT = 30
_MOST_STEPS = 100
_DEEPEST_STEP = 5


def preview_plain(value: Any) -> Preview:
    """Preview a value that no library's module knows."""
    if isinstance(value, str):
        return preview_text_value(value)
    if isinstance(value, bytes | bytearray):
        return preview_bytes(bytes(value))
    if is_nest(value):
        return preview_nest(value)
    drawn = pictures.drawn_by_itself(value)
    if drawn is not None:
        return drawn
    return Preview(type_name(value), (text_block(repr(value)),))


def preview_nest(value: Any) -> Preview:
    """Preview a nested container as a tree."""
    tree = make_tree(value)
    return Preview(_kind_and_size(value), (tree,))


def make_tree(value: Any) -> Tree:
    """The tree of a nested value: a few hundred entries of it, breadth bounded at every level."""
    room = [_MOST_BRANCHES]
    branches = tuple(_branches(value, 1, room))
    return Tree(branches, '' if room[0] > 0 else 'Only the first entries are shown.')


def is_nest(value: Any) -> bool:
    """Whether a value is a container or record that a tree can show."""
    return (
        isinstance(value, Mapping | list | tuple | Set)
        or (dataclasses.is_dataclass(value) and not isinstance(value, type))
        or (isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | range | memoryview))
    )


def _branches(value: Any, depth: int, room: list[int]) -> Iterator[Branch]:
    size = _size(value)
    for name, item in islice(_items(value), _MOST_CHILDREN):
        if room[0] <= 0:
            return
        room[0] -= 1
        if is_nest(item) and _size(item):
            children = tuple(_branches(item, depth + 1, room)) if depth < _DEEPEST else ()
            yield Branch(name, _kind_and_size(item), children)
        else:
            yield Branch(name, short(item, 200))
    if size > _MOST_CHILDREN:
        yield Branch('…', f'{size - _MOST_CHILDREN:,} more')


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        yield from ((short(key, 80), item) for key, item in value.items())
    elif isinstance(value, tuple) and hasattr(value, '_fields'):
        yield from zip(map(str, vars(type(value))['_fields']), value, strict=False)
    elif dataclasses.is_dataclass(value):
        yield from ((field.name, getattr(value, field.name, None)) for field in dataclasses.fields(value))
    elif isinstance(value, Set):
        yield from (('·', item) for item in value)
    else:
        yield from ((str(i), item) for i, item in enumerate(value))


def _size(value: Any) -> int:
    return len(dataclasses.fields(value)) if dataclasses.is_dataclass(value) else len(value)


def _kind_and_size(value: Any) -> str:
    word = 'entry' if isinstance(value, Mapping) else 'field' if dataclasses.is_dataclass(value) else 'item'
    return one_line(f'{type_name(value)} of {counted(_size(value), word)}', 200)


def preview_text_value(text: str) -> Preview:
    """Preview a text."""
    return Preview(f'{type_name(text)} of {counted(len(text), "character")}', (text_block(text),))


def preview_bytes(data: bytes) -> Preview:
    """Preview bytes: as the image that they are, or the first of them."""
    title = f'{size_text(len(data))} of bytes'
    picture = pictures.picture_of_bytes(data)
    if picture is not None:
        return picture
    rows = [_hexadecimal(data, start) for start in range(0, min(len(data), _MOST_BYTES), 16)]
    rest = len(data) - _MOST_BYTES
    return Preview(title, (Text('\n'.join(rows), more(rest, 'byte')),))


def _hexadecimal(data: bytes, start: int) -> str:
    part = data[start : start + 16]
    characters = ''.join(chr(byte) if 32 <= byte < 127 else '.' for byte in part)
    return f'{start:08x}  {part.hex(" "):<47}  {characters}'


def preview_element(element: Any) -> Preview:
    """Preview an XML element as a tree."""
    room = [_MOST_ELEMENTS]
    root = _element_branch(element, 0, room)
    note = '' if room[0] > 0 else 'Only the first elements are shown.'
    return Preview(f'XML element {one_line(str(element.tag), 80)}', (Tree((root,), note),))


def preview_element_tree(tree: Any) -> Preview:
    """Preview an XML document."""
    root = tree.getroot()
    return preview_element(root) if root is not None else Preview('XML document', (Text('It is empty.'),))


def _element_branch(element: Any, depth: int, room: list[int]) -> Branch:
    attributes = ' '.join(f'{name}="{one_line(str(text), 60)}"' for name, text in list(element.items())[:8])
    words = ' '.join((element.text or '')[:400].split())
    text = ' '.join(part for part in (attributes, words) if part)
    children = tuple(_element_children(element, depth + 1, room)) if depth < _DEEPEST_ELEMENT else ()
    return Branch(one_line(str(element.tag), 80), one_line(text, 200), children)


def _element_children(element: Any, depth: int, room: list[int]) -> Iterator[Branch]:
    for child in element:
        if room[0] <= 0:
            return
        room[0] -= 1
        yield _element_branch(child, depth, room)


def preview_estimator(estimator: Any) -> Preview:
    """Preview an estimator."""
    learnt = _learnt(estimator)
    blocks: list[Block] = []
    inside = tuple(_steps(estimator, 1, [_MOST_STEPS]))
    if inside:
        blocks.append(Tree(inside))
    parameters = _parameters(estimator)
    if parameters:
        note = more(len(parameters) - _MOST_PARAMETERS, 'parameter')
        blocks.append(Table([Column('parameter'), Column('value'), Column('')], parameters[:_MOST_PARAMETERS], note))
    if learnt:
        blocks.append(Table([Column('learnt'), Column('value')], learnt))
    return Preview(f'{type_name(estimator)}, {"fitted" if _is_fitted(estimator) else "not fitted"}', tuple(blocks))


def _is_fitted(estimator: Any) -> bool:
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(estimator)
    except Exception:  # not fitted, or an estimator that has nothing to fit
        return False
    return True


def _parameters(estimator: Any) -> list[list[str]]:
    """The parameters, those that are not at their default first."""
    defaults = {name: p.default for name, p in inspect.signature(type(estimator).__init__).parameters.items()}
    rows = []
    for name, value in estimator.get_params(deep=False).items():
        if _is_estimator(value) or (isinstance(value, list) and value and _named_estimator(value[0])):
            continue  # shown as what is inside
        is_set = short(value, 300) != short(defaults.get(name), 300)
        rows.append([one_line(name, 60), short(value, 120), 'set' if is_set else 'default'])
    return sorted(rows, key=lambda row: row[2] != 'set')


def _learnt(estimator: Any) -> list[list[str]]:
    names = [name for name in vars(estimator) if name.endswith('_') and not name.startswith('_')]
    return [[one_line(name, 60), short(vars(estimator)[name], 160)] for name in names[:_MOST_LEARNT]]


def _steps(estimator: Any, depth: int, room: list[int]) -> Iterator[Branch]:
    """The estimators that an estimator is made of."""
    for name, value in estimator.get_params(deep=False).items():
        parts = [(name, value)] if _is_estimator(value) else []
        if isinstance(value, list):
            parts = [(str(item[0]), item[1]) for item in value if _named_estimator(item)]
        for part_name, part in parts:
            if room[0] <= 0:
                return
            room[0] -= 1
            children = tuple(_steps(part, depth + 1, room)) if depth < _DEEPEST_STEP else ()
            yield Branch(one_line(part_name, 60), _signature(part), children)


def _signature(estimator: Any) -> str:
    given = [f'{row[0]}={row[1]}' for row in _parameters(estimator) if row[2] == 'set']
    return one_line(f'{type(estimator).__name__}({", ".join(given)})', 200)


def _is_estimator(value: Any) -> bool:
    return hasattr(type(value), 'get_params') and hasattr(type(value), 'set_params')


def _named_estimator(item: Any) -> bool:
    return isinstance(item, tuple) and len(item) >= 2 and _is_estimator(item[1])


add_previews('xml', {'Element': preview_element, 'ElementTree': preview_element_tree})
add_previews('sklearn', {'BaseEstimator': preview_estimator})
