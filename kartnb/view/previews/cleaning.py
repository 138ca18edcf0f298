"""Blocks made fit to be shown, whoever made them."""

from __future__ import annotations

from dataclasses import replace

from kartnb.view import clean
from kartnb.view.clean import one_line
from kartnb.view.previews.blocks import Block, Branch, Facts, Foreign, Image, Note, Table, Text, Tree

_CELL = 400
_TEXT = 20_000
_LINES = 400


def cleaned(block: Block) -> Block:
    """The block with nothing in its texts that acts on a terminal or a parser, each of them of a bounded length.

    Examples
    --------
    >>> cleaned(Note(f'a{chr(27)}[2Jb'))
    Note(text='a␛[2Jb')
    """
    if isinstance(block, Facts):
        return Facts([(_cell(name), _cell(text)) for name, text in block.pairs])
    if isinstance(block, Table):
        columns = [replace(column, name=_cell(column.name), type=_cell(column.type)) for column in block.columns]
        return Table(columns, [[_cell(cell) for cell in row] for row in block.rows], _cell(block.note))
    if isinstance(block, Tree):
        return Tree([_branch(branch) for branch in block.branches], _cell(block.note))
    if isinstance(block, Text):
        return Text(clean.lines(block.text, _TEXT, _LINES), _cell(block.note))
    if isinstance(block, Image):
        return replace(block, description=_cell(block.description))
    if isinstance(block, Foreign):
        return replace(block, text=clean.lines(block.text, _TEXT, _LINES))
    return Note(one_line(block.text, 2 * _CELL))


def _cell(text: str) -> str:
    return one_line(text, _CELL)


def _branch(branch: Branch) -> Branch:
    return Branch(_cell(branch.name), _cell(branch.text), [_branch(child) for child in branch.children])
