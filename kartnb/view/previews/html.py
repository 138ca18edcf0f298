"""Previews as HTML fragments: static, escaped, and nothing in them runs or is fetched."""

from __future__ import annotations

import base64
from typing import Any

from kartnb.view.clean import one_line
from kartnb.view.html import render_template
from kartnb.view.previews.blocks import Block, Foreign, Image
from kartnb.view.previews.cleaning import cleaned
from kartnb.view.previews.preview import Preview

#: What an object draws of itself may bring styles and pictures along, and nothing else.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:"


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
