"""Images: as files in bytes, and of PIL."""

from __future__ import annotations

import importlib.util
import io
from typing import Any

from kartnb.view import told
from kartnb.view.previews import png, registry
from kartnb.view.previews.blocks import Block, Image, Note
from kartnb.view.previews.preview import Preview

#: A larger file is made smaller before it is shown, or not shown.
MOST_BYTES = 500_000
_MOST_PIXELS = 40_000_000
_LONGEST_SIDE = 640


def picture_of_bytes(data: bytes) -> Preview | None:
    """Preview the bytes of a PNG, JPEG or GIF file; None for other bytes."""
    found = png.size_of(data)
    if found is None:
        return None
    mime, width, height = found
    kind = mime.removeprefix('image/').upper()
    title = f'{kind} image of {width:,} × {height:,} pixels, {told.size_text(len(data))}'
    return Preview(title, (_shown(mime, data, width, height, kind),))


def _shown(mime: str, data: bytes, width: int, height: int, kind: str) -> Block:
    description = f'{kind} image of {width:,} × {height:,} pixels'
    if width * height > _MOST_PIXELS:
        return Note('It has too many pixels to be shown here.')
    if len(data) <= MOST_BYTES:
        return Image(mime, data, description)
    if importlib.util.find_spec('PIL') is None:
        return Note('It is too large to be shown here; with Pillow installed, a smaller copy would be.')
    from PIL import Image as PillowImage

    return _thumbnail(PillowImage.open(io.BytesIO(data)), f'{description}, made smaller')


def preview_pil(image: Any) -> Preview:
    """Preview an image of PIL."""
    width, height = image.size
    description = f'image of {width:,} × {height:,} pixels'
    return Preview(f'PIL {description}, mode {image.mode}', (_thumbnail(image, description),))


def _thumbnail(image: Any, description: str) -> Block:
    if image.size[0] * image.size[1] > _MOST_PIXELS:
        return Note('It has too many pixels to be shown here.')
    copy = image.convert('RGBA' if 'A' in image.getbands() or 'transparency' in image.info else 'RGB')
    copy.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    file = io.BytesIO()
    copy.save(file, 'PNG')
    if file.tell() > MOST_BYTES:
        copy.thumbnail((_LONGEST_SIDE // 2, _LONGEST_SIDE // 2))
        file = io.BytesIO()
        copy.save(file, 'PNG')
    return Image('image/png', file.getvalue(), description)


registry.add('PIL', {'Image': preview_pil})
