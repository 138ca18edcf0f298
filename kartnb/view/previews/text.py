"""Previews as text, for terminals and `repr`. It says what `html` says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kartnb.view import told
from kartnb.view.clean import one_line
from kartnb.view.measure import columns_of
from kartnb.view.previews.blocks import Block, Branch, Facts, Foreign, Image, Note, Table, Text, Tree
from kartnb.view.previews.cleaning import cleaned
from kartnb.view.previews.preview import Preview


def preview_text(found: Preview) -> str:
    """A preview as text."""
    lines = (line for block in found.blocks for line in block_lines(cleaned(block)))
    return '\n'.join([one_line(found.title, 300), *lines])


def block_lines(block: Block) -> Iterator[str]:
    """A block in lines."""
    if isinstance(block, Facts):
        yield from (f'{name}: {text}' for name, text in block.pairs)
    elif isinstance(block, Table):
        yield from table_lines([column.name for column in block.columns], block.rows, _types(block), _numeric(block))
        yield from _noted(block.note)
    elif isinstance(block, Tree):
        yield from (line for branch in block.branches for line in _branch_lines(branch, 0))
        yield from _noted(block.note)
    elif isinstance(block, Text):
        yield from block.text.split('\n')
        yield from _noted(block.note)
    elif isinstance(block, Image):
        yield f'[{block.description}: {block.mime}, {told.size_text(len(block.data))}]'
    elif isinstance(block, Foreign | Note):
        yield block.text


def table_lines(
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    types: Sequence[str] = (),
    numeric: Sequence[bool] = (),
) -> Iterator[str]:
    """Rows in aligned columns, as wide on a terminal as they look there."""
    every = [names, *([types] if types else []), *rows]
    widths = [max(columns_of(row[i]) for row in every) for i in range(len(names))]
    for row in every:
        cells = [
            ' ' * (width - columns_of(cell)) + cell
            if numeric and numeric[i]
            else cell + ' ' * (width - columns_of(cell))
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield '  '.join(cells).rstrip()


def _types(table: Table) -> list[str]:
    types = [column.type for column in table.columns]
    return types if any(types) else []


def _numeric(table: Table) -> list[bool]:
    return [column.numeric for column in table.columns]


def _noted(note: str) -> Iterator[str]:
    if note:
        yield note


def _branch_lines(branch: Branch, depth: int) -> Iterator[str]:
    yield f'{"  " * depth}{branch.name}: {branch.text}'.rstrip()
    for child in branch.children:
        yield from _branch_lines(child, depth + 1)
