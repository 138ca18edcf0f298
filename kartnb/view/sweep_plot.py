"""Plots of sweeps: a line over one parameter, a heat map over two, parallel coordinates over more.

Made without pyplot, so that no figure is left open and threads do not meet in its state.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

from kartnb.errors import MissingPackageError, SweepError
from kartnb.sweeps.points import SweepPoint
from kartnb.sweeps.result import SweepResult
from kartnb.task.values import is_finite
from kartnb.view.sanitise import one_line
from kartnb.view.words import number_text, value_text

_MOST_LINES = 8
_MOST_AXES = 8
_MOST_CELLS = 60
_WRITTEN_CELLS = 64
_FONTS = ('DejaVu Sans', 'Noto Sans CJK JP', 'IPAexGothic', 'IPAGothic', 'Hiragino Sans', 'Yu Gothic', 'MS Gothic')
_DOTS_PER_INCH = 100
_COLOURS = 128
_BEHIND_TEXT = {'facecolor': 'white', 'edgecolor': 'none', 'alpha': 0.7, 'pad': 0.6}


class SweepPlot:
    """A plot of a sweep, and what it shows in words; a notebook shows and keeps it as a picture.

    Its `figure` is matplotlib's, to be changed and saved.
    """

    def __init__(self, figure: Any, description: str) -> None:
        self.figure = figure
        self.description = description

    def png(self) -> bytes:
        """The picture as PNG."""
        data = io.BytesIO()
        with warnings.catch_warnings():
            # of characters that no font has: machines without a Japanese font are many
            warnings.simplefilter('ignore')
            self.figure.savefig(data, format='png', dpi=_DOTS_PER_INCH, bbox_inches='tight', facecolor='white')
        return _with_fewer_colours(data)

    def _repr_png_(self) -> bytes:
        return self.png()

    def __repr__(self) -> str:
        return self.description


def sweep_plot(result: SweepResult, metric: str | None = None) -> SweepPlot:
    """Plot the metric of a sweep over the parameters that vary.

    Raises SweepError when no point has the metric or no parameter varies, MissingPackageError without matplotlib.
    """
    name = metric or result.metric
    points = [point for point in result.points if math.isfinite(point.metrics.get(name or '', math.nan))]
    if name is None or not points:
        result.best(metric)  # says which metrics there are
        raise SweepError(f'No point of this sweep has a finite {name!r} to be plotted.')
    varied = result.varied[:_MOST_AXES]
    if not varied:
        raise SweepError('No parameter varies in this sweep, so there is nothing to plot the metric over.')
    figure = _new_figure(7.0, 3.8)
    draw = {1: _line, 2: _pair}.get(len(varied), _parallel)
    kind = draw(figure, points, varied, name, result)
    best = result.best(name)
    values = ', '.join(f'{one_line(each, 40)}={value_text(best.values.get(each))}' for each in varied)
    return SweepPlot(
        figure,
        f'{one_line(name, 40)} of {len(points):,} points over {", ".join(one_line(each, 40) for each in varied)} '
        f'({kind}); best {number_text(best.metrics[name])} with {values}',
    )


def _with_fewer_colours(data: io.BytesIO) -> bytes:
    """The same picture in a third of the bytes: it is stored in the notebook."""
    from PIL import Image

    smaller = io.BytesIO()
    with Image.open(data) as image:
        image.convert('RGB').quantize(_COLOURS).save(smaller, format='png', optimize=True)
    return smaller.getvalue()


def _new_figure(width: float, height: float) -> Any:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingPackageError("matplotlib is not installed: pip install 'kartnb[lab]'") from error
    figure = Figure(figsize=(width, height), layout='constrained')
    FigureCanvasAgg(figure)
    return figure


@cache
def _fonts() -> list[str]:
    """The installed ones of the fonts that have letters, and those that have other characters."""
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    return [name for name in _FONTS if name in installed] or ['sans-serif']


class Scale:
    """The places of a parameter's values on an axis: numbers where they are, others one by one."""

    def __init__(self, name: str, points: Sequence[SweepPoint]) -> None:
        self.name = name
        values: list[Any] = [point.values.get(name) for point in points]
        self.is_numeric = all(is_finite(value) for value in values)
        self.values: list[Any] = sorted(set(values)) if self.is_numeric else _distinct(values)
        positive = self.is_numeric and self.values[0] > 0
        self.is_log = positive and len(self.values) > 2 and _spreads_by_factors(self.values)

    def place(self, point: SweepPoint) -> float:
        """Where a point is: its number, or the number of its category."""
        value = point.values.get(self.name)
        return float(value) if self.is_numeric else float(self.index(value))  # type: ignore[arg-type]

    def index(self, value: Any) -> int:
        """The number of a value among the values."""
        return next(i for i, known in enumerate(self.values) if known is value or known == value)

    def share(self, point: SweepPoint) -> float:
        """Where a point is between 0 and 1."""
        if not self.is_numeric:
            return self.place(point) / max(len(self.values) - 1, 1)
        low, high, here = self.values[0], self.values[-1], point.values[self.name]
        if low == high:
            return 0.5
        if self.is_log:
            return math.log(here / low) / math.log(high / low)
        return float((here - low) / (high - low))

    @property
    def texts(self) -> list[str]:
        """The values as labels."""
        return [_shown(value_text(value, 24)) for value in self.values]


def _line(figure: Any, points: list[SweepPoint], varied: list[str], metric: str, result: SweepResult) -> str:
    axes = figure.add_subplot()
    scale = Scale(varied[0], points)
    ordered = sorted(points, key=scale.place)
    places = [scale.place(point) for point in ordered]
    heights = [point.metrics[metric] for point in ordered]
    axes.plot(places, heights, marker='o', linestyle='-' if scale.is_numeric else 'none', color='#0a5ec2')
    best = result.best(metric)
    axes.plot([scale.place(best)], [best.metrics[metric]], marker='o', markersize=11, fillstyle='none', color='#c21c28')
    axes.set_title(f'best: {number_text(best.metrics[metric])}', color='#c21c28', fontsize=10, loc='right')
    if scale.is_log:
        axes.set_xscale('log')
    if not scale.is_numeric:
        axes.set_xticks(range(len(scale.values)), scale.texts, rotation=30, ha='right')
    _label(figure, axes, varied[0], metric)
    axes.grid(alpha=0.3)
    return 'line'


def _pair(figure: Any, points: list[SweepPoint], varied: list[str], metric: str, result: SweepResult) -> str:
    # all points, those without a metric too: the cells of what failed, or has not run yet, stay empty
    across, up = (Scale(name, result.points) for name in varied)
    cells = len(across.values) * len(up.values)
    if max(len(across.values), len(up.values)) > _MOST_CELLS or cells > 3 * len(result.points):
        _scatter(figure, points, across, up, metric)
        return 'points'
    _heat_map(figure, points, across, up, metric, result)
    return 'heat map'


def _heat_map(
    figure: Any, points: list[SweepPoint], across: Scale, up: Scale, metric: str, result: SweepResult
) -> None:
    from matplotlib.patches import Rectangle

    axes = figure.add_subplot()
    grid = [[math.nan] * len(across.values) for _ in up.values]
    for point in points:
        grid[up.index(point.values[up.name])][across.index(point.values[across.name])] = point.metrics[metric]
    image = axes.imshow(grid, origin='lower', aspect='auto', cmap='viridis')
    axes.set_xticks(range(len(across.values)), across.texts, rotation=30 if len(across.values) > 8 else 0)
    axes.set_yticks(range(len(up.values)), up.texts)
    if len(points) <= _WRITTEN_CELLS:
        for point in points:
            place = (across.index(point.values[across.name]), up.index(point.values[up.name]))
            value = point.metrics[metric]
            color = 'black' if image.norm(value) > 0.55 else 'white'
            axes.text(*place, number_text(value), ha='center', va='center', color=color, fontsize=8)
    best = result.best(metric)
    corner = (across.index(best.values[across.name]) - 0.5, up.index(best.values[up.name]) - 0.5)
    axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor='#ff5a4f', linewidth=3, clip_on=False, zorder=3))
    figure.colorbar(image, ax=axes, label=_shown(metric))
    _label(figure, axes, across.name, up.name)


def _scatter(figure: Any, points: list[SweepPoint], across: Scale, up: Scale, metric: str) -> None:
    axes = figure.add_subplot()
    drawn = axes.scatter(
        [across.place(point) for point in points],
        [up.place(point) for point in points],
        c=[point.metrics[metric] for point in points],
        cmap='viridis',
        edgecolors='#57606a',
        linewidths=0.5,
    )
    for scale, set_scale, set_ticks in (
        (across, axes.set_xscale, axes.set_xticks),
        (up, axes.set_yscale, axes.set_yticks),
    ):
        if scale.is_log:
            set_scale('log')
        if not scale.is_numeric:
            set_ticks(range(len(scale.values)), scale.texts)
    figure.colorbar(drawn, ax=axes, label=_shown(metric))
    _label(figure, axes, across.name, up.name)


def _parallel(figure: Any, points: list[SweepPoint], varied: list[str], metric: str, result: SweepResult) -> str:
    from matplotlib import colormaps

    axes = figure.add_subplot()
    scales = [Scale(name, points) for name in varied]
    heights = [point.metrics[metric] for point in points]
    low, high = min(heights), max(heights)
    sign = 1 if result.direction == 'maximize' else -1
    for point in sorted(points, key=lambda point: sign * point.metrics[metric]):
        share = (point.metrics[metric] - low) / (high - low) if high > low else 0.5
        places = [*(scale.share(point) for scale in scales), share]
        axes.plot(range(len(places)), places, color=colormaps['viridis'](share), alpha=0.75, linewidth=1.4)
    for i, scale in enumerate(scales):
        _mark_scale(axes, i, scale)
    for share, value in ((0.0, low), (1.0, high)):
        axes.text(len(scales) + 0.03, share, number_text(value), va='center', fontsize=8)
    axes.set_xticks(range(len(scales) + 1), [*(_shown(name) for name in varied), _shown(metric)])
    axes.set_yticks([])
    axes.set_xlim(-0.1, len(scales) + 0.25)
    for i in range(len(scales) + 1):
        axes.axvline(i, color='#57606a', linewidth=0.8)
    for side in axes.spines.values():
        side.set_visible(False)
    _use_fonts(figure)
    return 'parallel coordinates'


def _mark_scale(axes: Any, i: int, scale: Scale) -> None:
    """Write the values beside one of the parallel axes."""
    shown = range(len(scale.values))
    if len(scale.values) > _MOST_LINES:
        shown = range(0, len(scale.values), max(len(scale.values) - 1, 1))
    for j in shown:
        value = scale.values[j]
        place = scale.share(SweepPoint(0, {scale.name: value}, None))
        axes.text(i + 0.03, place, scale.texts[j], va='center', fontsize=8, bbox=_BEHIND_TEXT)


def _label(figure: Any, axes: Any, across: str, up: str) -> None:
    axes.set_xlabel(_shown(across))
    axes.set_ylabel(_shown(up))
    _use_fonts(figure)


def _use_fonts(figure: Any) -> None:
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_fontfamily(_fonts())


def _shown(text: str) -> str:
    """A text as it stands: matplotlib reads what is between dollar signs as mathematics."""
    return re.sub(r'\$', r'\\$', one_line(text, 40))


def _distinct(values: Sequence[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if not any(known is value or known == value for known in found):
            found.append(value)
    try:
        return sorted(found)
    except TypeError:
        return found


def _spreads_by_factors(values: Sequence[float]) -> bool:
    """Whether the values are more even by their logarithms than by themselves, over at least a factor of 10."""
    if values[-1] / values[0] < 10:
        return False
    middle = values[len(values) // 2]
    by_factor = abs(math.log(middle / values[0]) / math.log(values[-1] / values[0]) - 0.5)
    by_difference = abs((middle - values[0]) / (values[-1] - values[0]) - 0.5)
    return by_factor < by_difference
