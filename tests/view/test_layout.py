"""Boxes stand apart, arrows touch the boxes that they join, and one input gives one picture."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kartnb
from kartnb.view.graph_layout import COMFORTABLE_WIDTH, Layout, best_direction, place
from tests.machine import cost

SIZES = st.tuples(st.integers(80, 230), st.integers(40, 120))


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    sizes = draw(st.lists(SIZES, min_size=1, max_size=25))
    box = st.integers(0, len(sizes) - 1)
    links = draw(st.lists(st.tuples(box, box).filter(lambda link: link[0] != link[1]), max_size=40, unique=True))
    return sizes, links


def _inside(layout: Layout, i: int, sizes: list[tuple[int, int]], point: tuple[float, float], slack: float) -> bool:
    return all(abs(point[k] - layout.centres[i][k]) <= sizes[i][k] / 2 + slack for k in (0, 1))


@settings(max_examples=60, deadline=None)
@given(graphs(), st.sampled_from(['LR', 'TB', None]))
def test_pictures_are_sound_also_with_cycles(graph, direction) -> None:
    sizes, links = graph
    layout = place(sizes, links, direction)
    assert layout == place(sizes, links, direction)
    for i, (x, y) in enumerate(layout.centres):
        assert sizes[i][0] / 2 - 1 <= x <= layout.width - sizes[i][0] / 2 + 1
        assert sizes[i][1] / 2 - 1 <= y <= layout.height - sizes[i][1] / 2 + 1
        for j in range(i):
            apart = [abs(layout.centres[i][k] - layout.centres[j][k]) - (sizes[i][k] + sizes[j][k]) / 2 for k in (0, 1)]
            assert max(apart) > 0
    for (a, b), arrow in zip(links, layout.arrows, strict=True):
        assert len(arrow.curve) % 3 == 1
        assert _inside(layout, a, sizes, arrow.curve[0], 2)
        assert _inside(layout, b, sizes, arrow.tip, 2)
        assert arrow.curve[-1] != arrow.tip


def test_a_short_chain_reads_from_left_to_right_and_a_long_one_down() -> None:
    sizes = [(180, 50)] * 30
    assert best_direction(sizes[:4], [(i, i + 1) for i in range(3)]) == 'LR'
    links = [(i, i + 1) for i in range(29)]
    assert best_direction(sizes, links) == 'TB'
    assert place(sizes, links).width < COMFORTABLE_WIDTH


def test_a_wide_sweep_reads_from_left_to_right() -> None:
    links = [(0, i) for i in range(1, 40)] + [(i, 40) for i in range(1, 40)]
    assert place([(180, 60)] * 41, links).direction == 'LR'


def test_the_order_of_a_cycle_does_not_matter_to_the_direction() -> None:
    assert best_direction([(100, 40)] * 3, [(0, 1), (1, 2), (2, 0)]) == 'LR'


def test_nothing_takes_no_room() -> None:
    assert place([], []) == Layout(0.0, 0.0, (), (), 'LR')


def test_a_full_picture_is_placed_in_time() -> None:
    links = sorted({(max(0, i - 1 - (i * k) % 29), i) for i in range(1, 150) for k in (1, 7, 3)})[:400]
    place([(100, 40)], [])
    assert cost(lambda: place([(180, 60)] * 150, links)) < 15


@pytest.mark.parametrize('direction', ['LR', 'TB'])
def test_arrows_between_neighbours_are_one_smooth_turn(direction) -> None:
    layout = place([(180, 60), (100, 40)], [(0, 1)], direction)
    assert len(layout.arrows[0].curve) == 4


#: pygraphviz as it is on a bare computer: its wheel is there, and a system library that it needs is not.
BARE = """
import sys
from pathlib import Path
from IPython.core.interactiveshell import InteractiveShell
Path('pygraphviz.py').write_text("raise ImportError('libXrender.so.1: cannot open shared object file')")
sys.path.insert(0, '.')
import kartnb

class Load(kartnb.TaskOnKart):
    def run(self):
        self.dump(1)

for shown in (kartnb.plan(Load()), Load()):
    data, _ = InteractiveShell.instance().display_formatter.format(shown)
    assert 'missing Load' in data['text/plain'] and 'text/html' not in data, data
try:
    kartnb.graph(Load()).save('graph.svg')
except kartnb.KartError as error:
    assert 'libXrender.so.1' in str(error)
else:
    raise AssertionError('there is no error')
"""


def test_without_graphviz_the_text_is_shown_and_one_sentence_says_what_is_missing(tmp_path: Path) -> None:
    environment = {**os.environ, 'PYTHONPATH': str(Path(kartnb.__file__).parents[1]), 'IPYTHONDIR': str(tmp_path)}
    command = [sys.executable, '-c', BARE]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count('pygraphviz cannot be loaded: libXrender.so.1: cannot open shared object file') == 1
    assert 'apt install' in done.stderr
    assert 'Traceback' not in done.stdout + done.stderr
