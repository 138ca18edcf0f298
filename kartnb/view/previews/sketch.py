"""Points, lines and bars as a small SVG picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree.ElementTree import Element, SubElement, tostring

_WIDTH, _HEIGHT, _MARGIN = 480, 220, 36
#: Told apart also by people who do not see red or green, legible on white.
_COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#56b4e9', '#e69f00')


@dataclass(frozen=True, slots=True)
class Curve:
    """Points in the coordinates of the data, and how they are drawn."""

    points: Sequence[tuple[float, float]]
    how: Literal['line', 'points', 'bars']


def sketch(curves: Sequence[Curve]) -> str:
    """An SVG document of some curves on one pair of axes; '' where there is none."""
    if not curves:
        return ''
    xs = [x for curve in curves for x, _ in curve.points]
    ys = [y for curve in curves for _, y in curve.points]
    low = min([*ys, 0.0]) if any(curve.how == 'bars' for curve in curves) else min(ys)
    scale = _Scale(min(xs), max(xs), low, max(ys))
    size = {'width': str(_WIDTH), 'height': str(_HEIGHT), 'viewBox': f'0 0 {_WIDTH} {_HEIGHT}'}
    root = Element('svg', {'xmlns': 'http://www.w3.org/2000/svg', **size})
    SubElement(root, 'rect', {'width': '100%', 'height': '100%', 'fill': '#fff'})
    _draw_axes(root, scale)
    for i, curve in enumerate(curves):
        _draw(root, curve, scale, _COLOURS[i % len(_COLOURS)])
    return tostring(root, encoding='unicode')


@dataclass(frozen=True, slots=True)
class _Scale:
    left: float
    right: float
    low: float
    high: float

    def x(self, value: float) -> float:
        return _MARGIN + (value - self.left) / ((self.right - self.left) or 1) * (_WIDTH - 2 * _MARGIN)

    def y(self, value: float) -> float:
        return _HEIGHT - _MARGIN - (value - self.low) / ((self.high - self.low) or 1) * (_HEIGHT - 2 * _MARGIN)


def _draw_axes(root: Element, scale: _Scale) -> None:
    bottom, top = _HEIGHT - _MARGIN, _MARGIN
    axis = {'fill': 'none', 'stroke': '#888', 'd': f'M{_MARGIN} {top}V{bottom}H{_WIDTH - _MARGIN}'}
    SubElement(root, 'path', axis)
    places = [(_MARGIN, bottom + 14, scale.left), (_WIDTH - _MARGIN, bottom + 14, scale.right)]
    for x, y, value in [*places, (_MARGIN, top - 6, scale.high), (_MARGIN - 18, bottom - 4, scale.low)]:
        style = {'x': str(x), 'y': str(y), 'font-size': '10', 'font-family': 'sans-serif', 'text-anchor': 'middle'}
        SubElement(root, 'text', {**style, 'fill': '#555'}).text = f'{value:.4g}'


def _draw(root: Element, curve: Curve, scale: _Scale, colour: str) -> None:
    places = [(scale.x(x), scale.y(y)) for x, y in curve.points]
    if curve.how == 'line':
        d = 'M' + 'L'.join(f'{x:.1f} {y:.1f}' for x, y in places)
        SubElement(root, 'path', {'d': d, 'fill': 'none', 'stroke': colour, 'stroke-width': '1.5'})
    elif curve.how == 'points':
        d = ''.join(f'M{x - 2:.1f} {y:.1f}h4' for x, y in places)
        SubElement(root, 'path', {'d': d, 'stroke': colour, 'stroke-width': '4', 'stroke-linecap': 'round'})
    else:
        width = max(1.0, (_WIDTH - 2 * _MARGIN) / len(places) * 0.7)
        d = ''.join(f'M{x:.1f} {scale.y(0):.1f}V{y:.1f}' for x, y in places)
        SubElement(root, 'path', {'d': d, 'stroke': colour, 'stroke-width': f'{width:.1f}', 'stroke-opacity': '0.8'})
