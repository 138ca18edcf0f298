"""Objects that say themselves how notebooks show them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

from kartnb.view.previews.blocks import Block, Foreign, Image, Text
from kartnb.view.previews.pictures import MOST_BYTES
from kartnb.view.previews.preview import Preview
from kartnb.view.previews.values import short, type_name

_PICTURES = ('image/svg+xml', 'image/png', 'image/jpeg')
_METHODS = {
    'image/svg+xml': '_repr_svg_',
    'image/png': '_repr_png_',
    'image/jpeg': '_repr_jpeg_',
    'text/html': '_repr_html_',
    'text/markdown': '_repr_markdown_',
    'text/latex': '_repr_latex_',
}


def drawn_by_itself(value: Any) -> Preview | None:
    """Preview an object by what it draws of itself; None where it draws nothing."""
    if isinstance(value, type):
        return None
    bundle = _bundle(value)
    plain = short(value, 2000)
    for mime in _METHODS:
        content = bundle.get(mime) if mime in bundle else _drawn(value, _METHODS[mime])
        block = _block(mime, content, plain)
        if block is not None:
            return Preview(type_name(value), (block,))
    return None


def _bundle(value: Any) -> Mapping[str, Any]:
    found = _drawn(value, '_repr_mimebundle_')
    found = found[0] if isinstance(found, tuple) and found else found
    return found if isinstance(found, Mapping) else {}


def _drawn(value: Any, method: str) -> Any:
    # on the class: an object that answers to every name, such as a mock, draws nothing
    draw: Callable[[Any], Any] | None = getattr(type(value), method, None)
    if not callable(draw):
        return None
    try:
        found = draw(value)
    except Exception:  # there are other ways to see it
        return None
    return found[0] if isinstance(found, tuple) and found and method != '_repr_mimebundle_' else found


def _block(mime: str, content: Any, plain: str) -> Block | None:
    if not isinstance(content, str | bytes) or not content or len(content) > MOST_BYTES:
        return None
    if mime in _PICTURES:
        return Image(mime, _bytes(mime, content), plain)
    text = content if isinstance(content, str) else content.decode('utf-8', 'replace')
    if mime == 'text/html':
        return Foreign(text, plain)
    from kartnb.view.previews.texts import text_block

    return Text(text_block(text).text, mime)


def _bytes(mime: str, content: str | bytes) -> bytes:
    if isinstance(content, bytes):
        return content
    return content.encode('utf-8', 'replace') if mime == 'image/svg+xml' else base64.b64decode(content)
