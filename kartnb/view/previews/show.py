"""`kartnb.preview`: any value, or the result of a task, shown as text and as HTML.

What is shown is bounded and escaped; the HTML is static, and nothing in it runs or is fetched.
"""

from __future__ import annotations

import base64
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import luigi

from kartnb.errors import KartError, MissingResultError, UnloadedResultError
from kartnb.inspection.outputs import Output
from kartnb.storage.filesystem import file_system
from kartnb.storage.peek import unread_types
from kartnb.storage.targets import TargetOnKart
from kartnb.task.results import load_target, path_of, peek_target
from kartnb.view import sanitise
from kartnb.view.html import render_template
from kartnb.view.previews.plain import preview_plain
from kartnb.view.previews.preview import (
    Block,
    Branch,
    Column,
    Facts,
    Foreign,
    Image,
    Note,
    Preview,
    Table,
    Text,
    Tree,
    find_preview,
    text_block,
    type_name,
)
from kartnb.view.sanitise import error_text, more, one_line, size_text
from kartnb.view.text import table_lines

_DEEPEST = 5
_MOST_MEMBERS = 30
_MOST_RESULTS = 10
#: Bytes of images that are shown of all outputs of one task.
_MOST_BYTES = 1_000_000
_CELL = 400
_TEXT = 20_000
_LINES = 400
#: What an object draws of itself may bring styles and pictures along, and nothing else.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:"


def preview(value: Any) -> Preview:
    """Show a value: tables, arrays, texts, images, figures, estimators, nested containers, and what can draw itself.

    Of a large value a part is shown, and how much there is. What it holds is shown as text and never interpreted.

    Parameters
    ----------
    value
        Any value. For a task, a target or one of `kartnb.outputs`, the result is loaded and shown, or why it cannot be.

    Returns
    -------
    Preview
        Evaluate it in a notebook to see it, or print it.

    Examples
    --------
    >>> import kartnb
    >>> kartnb.preview({'accuracy': 0.93, 'labels': ['cat', 'dog']})
    dict of 2 entries
    accuracy: 0.93
    labels: list of 2 items
      0: cat
      1: dog
    """
    if isinstance(value, Preview):
        return value
    if isinstance(value, luigi.Task):
        return preview_result(value)
    if isinstance(value, Output | TargetOnKart):
        return preview_target(value.target if isinstance(value, Output) else value)
    return _preview(value, 0)


def _preview(value: Any, depth: int) -> Preview:
    function = find_preview(value) or preview_plain
    try:
        found = function(value)
        return _as_preview(found, value, depth)
    except Exception as error:  # nothing that a value does may keep the others from being seen
        return Preview(type_name(value), (Note(f'This value could not be shown: {one_line(error_text(error), 300)}'),))


def _as_preview(found: Any, value: Any, depth: int) -> Preview:
    if isinstance(found, Preview):
        return found
    if isinstance(found, str):
        return Preview(type_name(value), (text_block(found),))
    if depth == _DEEPEST or found is value:
        return Preview(type_name(value), (Text(object.__repr__(value)),))
    return Preview(type_name(value), _preview(found, depth + 1).blocks)


def preview_unloaded(task: luigi.Task) -> tuple[Preview, bool]:
    """Preview the results of a task as far as they can be read without running code that their files may bring along.

    Gives the preview, and whether it is what `preview` would show.
    """
    missing: list[str] = []

    def read(target: Any) -> Any:
        try:
            value = peek_target(target)
            missing.extend(unread_types(value))
        except UnloadedResultError as error:
            missing.append('')
            return Preview('a result that is not loaded yet', (Note(f'{one_line(str(error), 500)}.'),))
        return value

    found = preview_result(task, read)
    types = ', '.join(dict.fromkeys(filter(None, missing)))
    note = (Note(f'Not loaded yet: {one_line(types, 200)}.'),) if types else ()
    return Preview(found.title, (*found.blocks, *note)), not missing


def preview_result(task: luigi.Task, read: Callable[[Any], Any] = load_target) -> Preview:
    """Load the results of a task, or read them in another way, and preview them; nothing is run."""
    name = one_line(type(task).__name__, 120)
    outputs = list(_named(task.output(), ''))
    if not outputs:
        return Preview(name, (Note('This task declares no output.'),))
    if len(outputs) == 1:
        found = preview_target(outputs[0][1], read)
        return Preview(f'{name}: {found.title}', found.blocks)
    blocks: list[Block] = []
    room = _MOST_BYTES
    for label, target in outputs[:_MOST_RESULTS]:
        found = preview_target(target, read)
        room -= sum(len(block.data) for block in found.blocks if isinstance(block, Image))
        shown = found.blocks if room > 0 else [_not_embedded(block) for block in found.blocks]
        blocks += [Note(f'{one_line(label, 120)}: {found.title}'), *shown]
    if len(outputs) > _MOST_RESULTS:
        blocks.append(Note(more(len(outputs) - _MOST_RESULTS, 'output')))
    return Preview(f'{name}: {len(outputs):,} outputs', tuple(blocks))


def _not_embedded(block: Block) -> Block:
    return Note(f'{block.description}: not shown: too many images') if isinstance(block, Image) else block


def preview_target(target: Any, read: Callable[[Any], Any] = load_target) -> Preview:
    """Load what a target holds, or read it in another way, and preview it; a zip file also by what is in it."""
    path = path_of(target)
    members = _members(path) if path.endswith('.zip') else ()
    try:
        found = preview(read(target))
    except MissingResultError:
        return Preview('no result', (Note(f'{one_line(path, 300)} has not been created yet: build its task.'),))
    except Exception as error:  # whatever a format or the class of a value raises, the preview says so
        reason = one_line(str(error) if isinstance(error, KartError) else error_text(error), 500)
        return Preview('a result that cannot be loaded', (Note(reason), *members))
    return Preview(found.title, (*found.blocks, *members))


def _named(outputs: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The targets of nested outputs, each with its place."""
    if isinstance(outputs, dict):
        for key, item in outputs.items():
            yield from _named(item, f'{name}/{key}' if name else str(key))
    elif isinstance(outputs, list | tuple):
        for i, item in enumerate(outputs):
            yield from _named(item, f'{name}[{i}]')
    elif outputs is not None:
        yield name, outputs


def _members(path: str) -> tuple[Block, ...]:
    """What is in a zip file."""
    try:
        with file_system(path).open_read(path) as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except (KartError, OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return ()
    rows = [[one_line(item.filename, 120), size_text(item.file_size)] for item in members[:_MOST_MEMBERS]]
    note = more(len(members) - _MOST_MEMBERS, 'file')
    return (Table([Column('in the zip file'), Column('size', '', True)], rows, note),)


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
        yield f'[{block.description}: {block.mime}, {size_text(len(block.data))}]'
    elif isinstance(block, Foreign | Note):
        yield block.text


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


def preview_html(found: Preview) -> str:
    """A preview as an HTML fragment."""
    return render_template('preview.html', title=one_line(found.title, 300), blocks=block_contexts(found))


def block_contexts(found: Preview) -> list[tuple[str, Any, str]]:
    """The blocks of a preview for a template: what each is, the block, and the source of its image or frame."""
    blocks = [cleaned(block) for block in found.blocks]
    return [(type(block).__name__, block, _source(block)) for block in blocks]


def _source(block: Block) -> str:
    if isinstance(block, Image):
        return f'data:{block.mime};base64,{base64.b64encode(block.data).decode("ascii")}'
    if isinstance(block, Foreign):
        return (
            f'<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
            f'<body style="background:#fff;color:#1c2128;font:13px sans-serif">{block.html}'
        )
    return ''


def cleaned(block: Block) -> Block:
    """The block with nothing in its texts that acts on a terminal or a parser, each of them of a bounded length.

    >>> cleaned(Note(f'a{chr(27)}[2Jb'))
    Note(text='a␛[2Jb')
    """
    if isinstance(block, Facts):
        return Facts([(_cell(name), _cell(text)) for name, text in block.pairs])
    if isinstance(block, Table):
        columns = [replace(column, name=_cell(column.name), type=_cell(column.type)) for column in block.columns]
        return Table(columns, [[_cell(cell) for cell in row] for row in block.rows], _cell(block.note))
    if isinstance(block, Tree):
        return Tree([_cleaned_branch(branch) for branch in block.branches], _cell(block.note))
    if isinstance(block, Text):
        return Text(sanitise.several_lines(block.text, _TEXT, _LINES), _cell(block.note))
    if isinstance(block, Image):
        return replace(block, description=_cell(block.description))
    if isinstance(block, Foreign):
        return replace(block, text=sanitise.several_lines(block.text, _TEXT, _LINES))
    return Note(one_line(block.text, 2 * _CELL))


def _cell(text: str) -> str:
    return one_line(text, _CELL)


def _cleaned_branch(branch: Branch) -> Branch:
    return Branch(_cell(branch.name), _cell(branch.text), [_cleaned_branch(child) for child in branch.children])
