"""Figures of matplotlib and plotly, as static pictures."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Any

from kartnb.view.clean import one_line
from kartnb.view.previews import registry
from kartnb.view.previews.blocks import Block, Column, Facts, Image, Note, Table
from kartnb.view.previews.pictures import MOST_BYTES
from kartnb.view.previews.preview import Preview
from kartnb.view.previews.sketch import Curve, sketch
from kartnb.view.previews.values import counted, short

_WIDEST = 800
_MOST_TRACES = 20
_MOST_POINTS = 400
_COLUMNS = ('name', 'type', 'mode')


def preview_figure(figure: Any) -> Preview:
    """Preview a figure of matplotlib: drawn without pyplot, the figure left as it was."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    width, height = figure.get_size_inches()
    title = f'matplotlib Figure of {width:g} × {height:g} inches, {counted(len(figure.axes), "plot")}'
    own_canvas = figure.canvas
    file = io.BytesIO()
    try:
        dpi = max(20.0, min(figure.dpi, _WIDEST / width, _WIDEST / height))
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of characters that a font does not have
            FigureCanvasAgg(figure).print_figure(file, format='png', dpi=dpi)
    finally:
        figure.set_canvas(own_canvas)
    if file.tell() > MOST_BYTES:
        return Preview(title, (Note('Its picture is too large to be shown here.'),))
    titles = [one_line(axes.get_title(), 100) for axes in figure.axes if axes.get_title()]
    return Preview(title, (Image('image/png', file.getvalue(), '; '.join(titles) or 'figure'),))


def preview_artist(artist: Any) -> Preview:
    """Preview a part of a matplotlib figure by the figure."""
    figure = artist.get_figure()
    if figure is None:
        return Preview(f'matplotlib {type(artist).__name__}', (Note('It stands in no figure.'),))
    return preview_figure(figure)


def preview_plotly(figure: Any) -> Preview:
    """Preview a figure of plotly: a sketch of its curves and bars, and what its traces are."""
    traces = list(figure.data)
    text = getattr(figure.layout.title, 'text', None) or ''
    rows = [
        [_told(trace, name) for name in ('name', 'type', 'mode')] + [_points(trace)] for trace in traces[:_MOST_TRACES]
    ]
    note = f'… {len(traces) - _MOST_TRACES:,} more traces' if len(traces) > _MOST_TRACES else ''
    blocks: list[Block] = [Facts([('title', one_line(str(text), 200))])] if text else []
    drawn = sketch([curve for trace in traces[:_MOST_TRACES] if (curve := _curve(trace)) is not None])
    if drawn:
        blocks.append(Image('image/svg+xml', drawn.encode(), f'sketch of {one_line(str(text), 100) or "the traces"}'))
    blocks.append(Table([Column('trace'), Column('type'), Column('mode'), Column('points', '', True)], rows, note))
    return Preview(f'plotly Figure of {counted(len(traces), "trace")}', tuple(blocks))


def _told(trace: Any, name: str) -> str:
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


def _curve(trace: Any) -> Curve | None:
    """What can be sketched of a trace: points, lines or bars of numbers."""
    kind = trace.type
    y = _values(trace, 'y')
    if kind not in ('scatter', 'scattergl', 'bar') or not len(y):
        return None
    step = max(1, len(y) // _MOST_POINTS)
    x = _values(trace, 'x')
    across = x if len(x) == len(y) and all(map(_is_number, list(x[:: max(1, len(x) // 50)]))) else range(len(y))
    points = [
        (float(across[i]), float(y[i])) for i in range(0, len(y), step) if _is_number(across[i]) and _is_number(y[i])
    ]
    if len(points) < 2:
        return None
    if kind == 'bar':
        return Curve(points, 'bars')
    return Curve(points, 'points' if _told(trace, 'mode') == 'markers' else 'line')


def _is_number(value: Any) -> bool:
    try:
        return abs(float(value)) < 1e300  # False for what is not a number too
    except (TypeError, ValueError):
        return False


registry.add('matplotlib', {'Figure': preview_figure, 'FigureBase': preview_figure, 'Artist': preview_artist})
registry.add('plotly', {'BaseFigure': preview_plotly, 'Figure': preview_plotly})
