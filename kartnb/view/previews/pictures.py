"""Pictures: image files, images of PIL, figures of matplotlib and plotly, and objects that draw themselves.

Pillow and matplotlib do the drawing, where they are installed; else a note says which of them to install.
"""

from __future__ import annotations

import base64
import importlib.util
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kartnb.view.previews.preview import (
    Block,
    Column,
    Facts,
    Foreign,
    Image,
    Note,
    Preview,
    Table,
    Text,
    add_previews,
    short,
    text_block,
    type_name,
)
from kartnb.view.sanitise import counted, more, one_line, size_text

#: A larger file is made smaller before it is shown, or not shown.
MOST_BYTES = 500_000
_MOST_PIXELS = 40_000_000
_LONGEST_SIDE = 640
_WIDEST = 800
_MOST_TRACES = 20
_MOST_POINTS = 400
_TOO_MANY_PIXELS = 'The image has too many pixels to be shown here.'
_SIGNATURES = {
    b'\x89PNG\r\n\x1a\n': 'image/png',
    b'\xff\xd8\xff': 'image/jpeg',
    b'GIF87a': 'image/gif',
    b'GIF89a': 'image/gif',
}
_PICTURES = ('image/svg+xml', 'image/png', 'image/jpeg')
_METHODS = {
    'image/svg+xml': '_repr_svg_',
    'image/png': '_repr_png_',
    'image/jpeg': '_repr_jpeg_',
    'text/html': '_repr_html_',
    'text/markdown': '_repr_markdown_',
    'text/latex': '_repr_latex_',
}


def has_pillow() -> bool:
    """Whether pictures can be opened and made."""
    return importlib.util.find_spec('PIL') is not None


def picture_of_bytes(data: bytes) -> Preview | None:
    """Preview the bytes of a PNG, JPEG or GIF file; None for other bytes."""
    mime = next((mime for start, mime in _SIGNATURES.items() if data.startswith(start)), None)
    if mime is None:
        return None
    kind = mime.removeprefix('image/').upper()
    size = size_text(len(data))
    if not has_pillow():
        return Preview(f'{kind} image, {size}', (Note('Install Pillow to display it.'),))
    from PIL import Image as PillowImage

    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # about many pixels: `_shown` says so
            image = PillowImage.open(io.BytesIO(data), formats=[kind])
    except PillowImage.DecompressionBombError:
        return Preview(f'{kind} image, {size}', (Note(_TOO_MANY_PIXELS),))
    except (OSError, SyntaxError, ValueError):
        return None
    description = f'{kind} image of {image.width:,} × {image.height:,} pixels'
    return Preview(f'{description}, {size}', (_shown(mime, data, image, description),))


def _shown(mime: str, data: bytes, image: Any, description: str) -> Block:
    if image.width * image.height > _MOST_PIXELS:
        return Note(_TOO_MANY_PIXELS)
    if len(data) <= MOST_BYTES:
        return Image(mime, data, description)
    return _thumbnail(image, f'{description}, made smaller')


def picture_of_pixels(pixels: Any, description: str, pixelated: bool) -> Image:
    """The picture of an array of bytes: grey, or with three or four channels; Pillow must be there."""
    from PIL import Image as PillowImage

    return Image('image/png', _png_of(PillowImage.fromarray(pixels)), description, pixelated)


def _png_of(image: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, 'PNG')
    return file.getvalue()


def preview_pil(image: Any) -> Preview:
    """Preview an image of PIL."""
    width, height = image.size
    description = f'image of {width:,} × {height:,} pixels'
    return Preview(f'PIL {description}, mode {image.mode}', (_thumbnail(image, description),))


def _thumbnail(image: Any, description: str) -> Block:
    if image.size[0] * image.size[1] > _MOST_PIXELS:
        return Note(_TOO_MANY_PIXELS)
    copy = image.convert('RGBA' if 'A' in image.getbands() or 'transparency' in image.info else 'RGB')
    copy.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    data = _png_of(copy)
    if len(data) > MOST_BYTES:
        copy.thumbnail((_LONGEST_SIDE // 2, _LONGEST_SIDE // 2))
        data = _png_of(copy)
    return Image('image/png', data, description)


def preview_figure(figure: Any) -> Preview:
    """Preview a figure of matplotlib: drawn without pyplot, the figure left as it was."""
    width, height = figure.get_size_inches()
    title = f'matplotlib Figure of {width:g} × {height:g} inches, {counted(len(figure.axes), "plot")}'
    # a canvas that is made for a figure takes the place of the one that it has
    own_canvas = figure.canvas
    try:
        data = _figure_png(figure, max(20.0, min(figure.dpi, _WIDEST / width, _WIDEST / height)))
    finally:
        figure.set_canvas(own_canvas)
    if len(data) > MOST_BYTES:
        return Preview(title, (Note('The figure is too large to be shown here.'),))
    titles = [one_line(axes.get_title(), 100) for axes in figure.axes if axes.get_title()]
    return Preview(title, (Image('image/png', data, '; '.join(titles) or 'figure'),))


def _figure_png(figure: Any, dpi: float) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of characters that a font does not have
        FigureCanvasAgg(figure).print_figure(file, format='png', dpi=dpi)
    return file.getvalue()


def preview_artist(artist: Any) -> Preview:
    """Preview a part of a matplotlib figure by the figure."""
    figure = artist.get_figure()
    if figure is None:
        return Preview(f'matplotlib {type(artist).__name__}', (Note('Not part of a figure.'),))
    return preview_figure(figure)


def preview_plotly(figure: Any) -> Preview:
    """Preview a figure of plotly: a sketch of its curves and bars, and what its traces are."""
    traces = list(figure.data)
    text = getattr(figure.layout.title, 'text', None) or ''
    rows = [
        [_trace_text(trace, name) for name in ('name', 'type', 'mode')] + [_points(trace)]
        for trace in traces[:_MOST_TRACES]
    ]
    note = more(len(traces) - _MOST_TRACES, 'trace')
    blocks: list[Block] = [Facts([('title', one_line(str(text), 200))])] if text else []
    curves = [(trace, points) for trace in traces[:_MOST_TRACES] if (points := _curve_points(trace))]
    if curves:
        blocks.append(_sketch(curves, f'sketch of {one_line(str(text), 100) or "the traces"}'))
    blocks.append(Table([Column('trace'), Column('type'), Column('mode'), Column('points', '', True)], rows, note))
    return Preview(f'plotly Figure of {counted(len(traces), "trace")}', tuple(blocks))


def _trace_text(trace: Any, name: str) -> str:
    try:
        return short(trace[name] or '', 60)
    except (KeyError, ValueError):
        return ''


def _values(trace: Any, name: str) -> Sequence[Any]:
    try:
        found = trace[name]
    except (KeyError, ValueError):
        return ()
    return found if found is not None and hasattr(found, '__len__') else ()


def _points(trace: Any) -> str:
    lengths = [len(_values(trace, name)) for name in ('x', 'y', 'z', 'values', 'labels')]
    return f'{max(lengths):,}' if any(lengths) else ''


def _curve_points(trace: Any) -> list[tuple[float, float]]:
    """What can be sketched of a trace of points, lines or bars: its numbers, of many some that are evenly spaced."""
    y = _values(trace, 'y')
    if trace.type not in ('scatter', 'scattergl', 'bar') or not len(y):
        return []
    step = max(1, len(y) // _MOST_POINTS)
    x = _values(trace, 'x')
    across = x if len(x) == len(y) and all(map(_is_number, list(x[:: max(1, len(x) // 50)]))) else range(len(y))
    points = [
        (float(across[i]), float(y[i])) for i in range(0, len(y), step) if _is_number(across[i]) and _is_number(y[i])
    ]
    return points if len(points) > 1 else []


def _sketch(curves: Sequence[tuple[Any, list[tuple[float, float]]]], description: str) -> Block:
    """The curves on one pair of axes; plotly itself draws static pictures with a browser only."""
    if importlib.util.find_spec('matplotlib') is None:
        return Note('Install matplotlib to see a sketch of the traces.')
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 2.4), layout='constrained')
    axes = figure.subplots()
    for trace, points in curves:
        x, y = zip(*points, strict=True)
        if trace.type == 'bar':
            axes.bar(x, y, alpha=0.8)
        else:
            axes.plot(x, y, '.' if _trace_text(trace, 'mode') == 'markers' else '-')
    return Image('image/png', _figure_png(figure, 96), description)


def _is_number(value: Any) -> bool:
    try:
        return abs(float(value)) < 1e300  # False for what is not a number too
    except (TypeError, ValueError):
        return False


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
    return Text(text_block(text).text, mime)


def _bytes(mime: str, content: str | bytes) -> bytes:
    if isinstance(content, bytes):
        return content
    return content.encode('utf-8', 'replace') if mime == 'image/svg+xml' else base64.b64decode(content)


add_previews('PIL', {'Image': preview_pil})
add_previews('matplotlib', {'Figure': preview_figure, 'FigureBase': preview_figure, 'Artist': preview_artist})
add_previews('plotly', {'BaseFigure': preview_plotly, 'Figure': preview_plotly})
