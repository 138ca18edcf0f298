"""Arrays of numpy and of scipy: shape, type, statistics, some values, and a picture where they look like one."""

from __future__ import annotations

import math
from typing import Any

from kartnb.view import told
from kartnb.view.previews import png, registry
from kartnb.view.previews.blocks import Block, Column, Facts, Image, Table, Text
from kartnb.view.previews.preview import Preview
from kartnb.view.previews.values import counted, short

#: Statistics of a larger array are those of values taken at even steps.
_MOST_FOR_STATISTICS = 1_000_000
_SHOWN = 10
_LONGEST_SIDE = 256
_LEAST_SIDE = 16


def preview_array(array: Any) -> Preview:
    """Preview an array."""
    shape = ' × '.join(f'{size:,}' for size in array.shape) or 'no dimensions'
    title = f'{type(array).__name__} {shape} of {array.dtype}'
    blocks: list[Block] = [Facts(_facts(array))]
    image = _image(array)
    if image is not None:
        blocks.append(image)
    if array.dtype.names:
        blocks.append(_records(array))
    elif array.size and (image is None or array.dtype.kind == 'f'):
        blocks.append(_values(array))
    return Preview(title, tuple(blocks))


def preview_scalar(value: Any) -> Preview:
    """Preview a scalar of numpy."""
    return Preview(f'numpy.{type(value).__name__}', (Text(short(value, 400)),))


def _facts(array: Any) -> list[tuple[str, str]]:
    pairs = [('size', f'{counted(int(array.size), "value")}, {told.size_text(int(array.nbytes))}')]
    if array.dtype.kind in 'biuf' and array.size:
        pairs += _statistics(array)
    return pairs


def _sampled(array: Any) -> tuple[Any, bool]:
    """An array, or a view of it with values at even steps, and whether it is the latter."""
    if array.size <= _MOST_FOR_STATISTICS:
        return array, False
    step, view = 1, array
    while view.size > _MOST_FOR_STATISTICS:
        step *= 2
        view = array[tuple(slice(None, None, min(step, size)) for size in array.shape)]
    return view, True


def _statistics(array: Any) -> list[tuple[str, str]]:
    import numpy as np

    values, sampled = _sampled(array)
    if hasattr(values, 'compressed'):
        values = values.compressed()
    of = f' (of {values.size:,} values at even steps)' if sampled else ''
    if array.dtype.kind == 'b':
        return [('true', f'{int(values.sum()):,} of {values.size:,}{of}')]
    finite = values[np.isfinite(values)] if array.dtype.kind == 'f' else values
    pairs = []
    if finite.size:
        wide = finite.astype(np.float64)
        least, most, mean, deviation = (
            short(number) for number in (finite.min(), finite.max(), wide.mean(), wide.std())
        )
        pairs.append(('values', f'min {least}, max {most}, mean {mean}, std {deviation}{of}'))
    if array.dtype.kind == 'f' and finite.size < values.size:
        nan = int(np.isnan(values).sum())
        pairs.append(('not finite', f'{nan:,} NaN, {values.size - finite.size - nan:,} infinite{of}'))
    return pairs


def _values(array: Any) -> Table | Text:
    if array.ndim <= 1:
        flat = array.reshape(-1)
        shown = ', '.join(short(item, 40) for item in flat[:_SHOWN].tolist())
        return Text(shown, f'… {flat.size - _SHOWN:,} more values' if flat.size > _SHOWN else '')
    plane = array[(0,) * (array.ndim - 2)]
    rows = [[short(item, 24) for item in row] for row in plane[:_SHOWN, :_SHOWN].tolist()]
    numeric = array.dtype.kind in 'biufc'
    columns = [Column(str(i), '', numeric) for i in range(min(plane.shape[1], _SHOWN))]
    return Table(columns, rows, _left_out(array, plane))


def _left_out(array: Any, plane: Any) -> str:
    where = f'the plane [{", ".join("0" * (array.ndim - 2))}] of ' if array.ndim > 2 else ''
    if where or plane.shape[0] > _SHOWN or plane.shape[1] > _SHOWN:
        return f'the first corner of {where}{" × ".join(f"{size:,}" for size in array.shape)} values'
    return ''


def _records(array: Any) -> Table:
    names = list(array.dtype.names)[:_SHOWN]
    columns = [Column(name, str(array.dtype[name]), array.dtype[name].kind in 'biuf') for name in names]
    flat = array.reshape(-1)
    rows = [[short(item, 40) for item in record[: len(names)]] for record in flat[:_SHOWN].tolist()]
    return Table(columns, rows, f'… {flat.size - _SHOWN:,} more rows' if flat.size > _SHOWN else '')


def _image(array: Any) -> Image | None:
    """The picture of an array of pixels: bytes, truth values, or numbers from 0 to 1; of none that is too small."""
    if hasattr(array, 'mask') or not _may_be_image(array):
        return None
    import numpy as np

    height, width = array.shape[:2]
    step = max(1, math.ceil(max(height, width) / _LONGEST_SIDE))
    pixels = array[::step, ::step]
    if pixels.dtype.kind == 'f':
        with np.errstate(invalid='ignore'):
            if not (pixels.min() >= 0 and pixels.max() <= 1 and pixels.max() > pixels.min()):
                return None
        pixels = (pixels * 255).astype(np.uint8)
    elif pixels.dtype.kind == 'b':
        pixels = pixels.astype(np.uint8) * 255
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    data = png.encode(np.ascontiguousarray(pixels).tobytes(), pixels.shape[1], pixels.shape[0], channels)
    smaller = f', every {step}th pixel' if step > 1 else ''
    return Image(
        'image/png', data, f'image of {width:,} × {height:,} pixels{smaller}', pixelated=max(height, width) < 100
    )


def _may_be_image(array: Any) -> bool:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        return False
    return min(array.shape[:2]) >= _LEAST_SIDE and (str(array.dtype) == 'uint8' or array.dtype.kind in 'bf')


def preview_sparse(matrix: Any) -> Preview:
    """Preview a sparse matrix."""
    shape = ' × '.join(f'{size:,}' for size in matrix.shape)
    stored = int(matrix.nnz)
    cells = math.prod(matrix.shape)
    share = f' ({100 * stored / cells:.3g} %)' if cells else ''
    data: Any = getattr(matrix, 'data', None)
    pairs = [('stored', f'{counted(stored, "value")}{share}')]
    if hasattr(data, 'dtype') and data.dtype.kind in 'biuf' and data.size:
        pairs += _statistics(data)
    return Preview(f'{type(matrix).__name__} {shape} of {matrix.dtype}', (Facts(pairs),))


registry.add('numpy', {'ndarray': preview_array, 'generic': preview_scalar})
registry.add('scipy', {'spmatrix': preview_sparse, 'sparray': preview_sparse, '_spbase': preview_sparse})
