"""Sweeps as text, HTML and pictures: the same is said in both, hostile texts stay text, and sizes are bounded."""

from __future__ import annotations

import datetime
import html as html_entities
import re
from typing import Any

import pytest

from kartnb import display
from kartnb.model import TaskState
from kartnb.sweeps.points import SweepPoint
from kartnb.sweeps.result import SweepResult
from kartnb.view.previews.show import preview
from kartnb.view.scene import PointSummary, summary_html, summary_text
from kartnb.view.sweep_plot import sweep_plot
from tests.view.hostile import ATTACKS


def point(position: int, score: float | None, **values: Any) -> SweepPoint:
    state = TaskState.FAILED if score is None else TaskState.DONE
    metrics = {} if score is None else {'score': score}
    error = 'ValueError: bad' if score is None else ''
    return SweepPoint(position, values, None, f'{position:032x}', state, error, metrics)


def sweep(*points: SweepPoint, direction: Any = 'maximize') -> SweepResult:
    return SweepResult('Train', points, 'score', direction, None, 1.5)


def plain(fragment: str) -> str:
    bare = re.sub(r'<style>.*?</style>', '', fragment, flags=re.DOTALL)
    return html_entities.unescape(re.sub(r'<[^>]+>', ' ', bare))


GRID = [point(i, depth / 10 + rate, depth=depth, rate=rate, seed=1) for i, (depth, rate) in enumerate(
    (depth, rate) for depth in (1, 2, 3) for rate in (0.01, 0.1, 1.0)
)]  # fmt: skip


def test_text_and_html_say_the_same() -> None:
    result = sweep(*GRID, point(9, None, depth=4, rate=1.0, seed=1))
    said = plain(display.render(result, 'html'))
    for word in re.split(r'\s{2,}|\n', display.render(result, 'text')):
        assert word in ' '.join(said.split()), word


def test_only_what_differs_has_a_column_and_the_best_is_first() -> None:
    text = display.render(sweep(*GRID), 'text').split('\n')
    assert 'the same for all points: seed=1' in text
    assert re.split(r'\s{2,}', text[3])[:4] == ['#', 'depth', 'rate', 'score ▼']
    assert text[4].startswith('8  3      1')
    least = display.render(sweep(*GRID, direction='minimize'), 'text').split('\n')
    assert least[4].startswith('0  1      0.01')


def test_large_sweeps_are_cut_and_say_so() -> None:
    result = sweep(*(point(i, i, depth=i) for i in range(3000)))
    assert '… 2,950 more: to_dataframe() has them all' in display.render(result, 'text')
    assert len(display.render(result, 'html')) < 120_000


def test_an_empty_sweep_can_be_shown() -> None:
    assert '0 points' in display.render(sweep(), 'text')
    assert '0 points' in display.render(sweep(), 'html')


@pytest.mark.parametrize('attack', ATTACKS)
def test_hostile_texts_stay_text(attack: str) -> None:
    hostile = point(0, 0.5, **{attack or 'x': attack, 'other': 1})
    hostile.error = attack
    hostile.metrics = {attack: 1.0}
    for shown in (sweep(hostile, point(1, 0.1, other=2)), hostile):
        fragment = display.render(shown, 'html')
        assert '<script' not in fragment
        assert '<img' not in fragment
        assert '<iframe' not in fragment
        assert '\x1b' not in display.render(shown, 'text')


class TestPlots:
    def _kind(self, *points: SweepPoint) -> str:
        found = sweep_plot(sweep(*points))
        assert found.png().startswith(b'\x89PNG')
        assert len(found.png()) < 120_000
        return str(found)

    def test_one_parameter_is_a_line(self) -> None:
        assert '(line); best 3 with depth=3' in self._kind(*(point(i, i, depth=i) for i in range(4)))

    def test_two_are_a_heat_map(self) -> None:
        assert 'over depth, rate (heat map)' in self._kind(*GRID)

    def test_two_without_a_grid_are_points(self) -> None:
        points = [point(i, i, depth=i * 7 % 11, rate=10.0**-i) for i in range(9)]
        assert '(points)' in self._kind(*points)

    def test_more_are_parallel_coordinates(self) -> None:
        points = [point(i, i, a=i % 2, b=i % 3, c='xy'[i % 2], d=i) for i in range(12)]
        assert '(parallel coordinates)' in self._kind(*points)

    @pytest.mark.filterwarnings('ignore:Glyph')  # not every machine has a font with Japanese characters
    def test_any_values_and_names_can_be_plotted(self) -> None:
        days = [datetime.date(2024, 1, day) for day in (1, 2)]
        assert '日付' in self._kind(*(point(i, i, 日付=day, none=[None, 'a$b$'][i]) for i, day in enumerate(days)))
        assert '(line)' in self._kind(*(point(i, i, kind=kind) for i, kind in enumerate([None, 'x', (1, 2)])))

    def test_one_value_everywhere_and_failed_points(self) -> None:
        points = [*(point(i, 1.0, a=i % 2, b=i % 3, c=i) for i in range(6)), point(7, None, a=1, b=1, c=9)]
        assert '(parallel coordinates)' in self._kind(*points)

    def test_pyplot_keeps_no_figure(self) -> None:
        pyplot = pytest.importorskip('matplotlib.pyplot')
        before = pyplot.get_fignums()
        sweep_plot(sweep(*GRID))
        assert pyplot.get_fignums() == before


def test_a_glance_says_the_same_in_both_forms() -> None:
    glance = PointSummary(
        'Fit', [('depth', '3')], 'a' * 32, TaskState.CACHED, 'the result is there', preview(42), '%kart_build Fit()'
    )
    said = ' '.join(plain(summary_html(glance)).split())
    for word in summary_text(glance).replace('=', ' ').replace('(', ' ').replace(')', ' ').split():
        assert word in said
    assert '<b>' not in summary_html(PointSummary('<b>', [('<b>', '<b>')], '', TaskState.FAILED, '<b>'))
