"""The results of tasks: loaded because somebody asked for it, and shown, or why they cannot be."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from typing import Any

import luigi

from kartnb.errors import KartError, MissingResultError
from kartnb.storage.filesystem import file_system
from kartnb.task.loading import load_target
from kartnb.task.targets import path_of
from kartnb.view import told
from kartnb.view.clean import error_text, one_line
from kartnb.view.previews.blocks import Block, Column, Image, Note, Table
from kartnb.view.previews.preview import Preview, preview

_MOST_MEMBERS = 30
_MOST_RESULTS = 10
#: Bytes of images that are shown of all outputs of one task.
_MOST_BYTES = 1_000_000


def preview_result(task: luigi.Task) -> Preview:
    """Load the results of a task, and preview them; nothing is run."""
    name = one_line(type(task).__name__, 120)
    outputs = list(_named(task.output(), ''))
    if not outputs:
        return Preview(name, (Note('This task declares no output.'),))
    if len(outputs) == 1:
        found = preview_target(outputs[0][1])
        return Preview(f'{name}: {found.title}', found.blocks)
    blocks: list[Block] = []
    room = _MOST_BYTES
    for label, target in outputs[:_MOST_RESULTS]:
        found = preview_target(target)
        room -= sum(len(block.data) for block in found.blocks if isinstance(block, Image))
        shown = found.blocks if room > 0 else [_not_embedded(block) for block in found.blocks]
        blocks += [Note(f'{one_line(label, 120)}: {found.title}'), *shown]
    if len(outputs) > _MOST_RESULTS:
        blocks.append(Note(f'… {len(outputs) - _MOST_RESULTS:,} more outputs'))
    return Preview(f'{name}: {len(outputs):,} outputs', tuple(blocks))


def _not_embedded(block: Block) -> Block:
    return Note(f'{block.description}: not shown beside so many others') if isinstance(block, Image) else block


def preview_target(target: Any) -> Preview:
    """Load what a target holds, and preview it; a zip file also by what is in it."""
    path = path_of(target)
    members = _members(path) if path.endswith('.zip') else ()
    try:
        found = preview(load_target(target))
    except MissingResultError:
        return Preview('no result', (Note(f'{one_line(path, 300)} has not been made yet: build its task.'),))
    except Exception as error:  # whatever a format or the class of a value raises, it is said
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
    rows = [[one_line(item.filename, 120), told.size_text(item.file_size)] for item in members[:_MOST_MEMBERS]]
    rest = len(members) - _MOST_MEMBERS
    note = f'… {rest:,} more files' if rest > 0 else ''
    return (Table([Column('in the zip file'), Column('size', '', True)], rows, note),)
