"""Every type has its preview, text and HTML say the same, and large values are not gone through."""

from __future__ import annotations

import collections
import dataclasses
import importlib.util
import io
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image

import kartnb
from kartnb.view.previews.show import preview_html
from tests.machine import cost
from tests.view.markup import Skeleton


@dataclasses.dataclass
class Point:
    x: float
    tags: list[str]


def png_of(pixels: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, 'PNG')
    return file.getvalue()


def size_of(data: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(data)).size


Pair = collections.namedtuple('Pair', 'left right')
CHANCE = np.random.default_rng(0)
PIXELS = (CHANCE.random((20, 30, 3)) * 255).astype('uint8')
PNG = png_of(PIXELS)
FRAME = pd.DataFrame({'数': [1, 2], 'name': ['a<b', 'c']}, index=['first', 'second'])

EXPECTED: list[tuple[Any, list[str]]] = [
    (FRAME, ['pandas.DataFrame of 2 rows × 2 columns', '数', 'int64', 'first', 'a<b']),
    (FRAME['name'], ['pandas.Series of 2 values', 'name', 'a<b']),
    (FRAME.index, ['of 2 entries', 'second']),
    (pd.DataFrame(), ['0 rows × 0 columns']),
    (pd.DataFrame([[1, 2]], columns=['a', 'a']), ['1 row × 2 columns']),
    (pl.DataFrame({'a': [1], 'b': ['x']}), ['polars.DataFrame of 1 row × 2 columns', 'Int64', 'String']),
    (pl.Series('s', [1.5]), ['polars.Series of 1 value', '1.5']),
    (pl.LazyFrame({'a': [1]}), ['polars.LazyFrame of 1 column', 'Not collected yet']),
    (pa.table({'a': [1, 2]}), ['pyarrow.Table of 2 rows × 1 column', 'int64']),
    (np.arange(6).reshape(2, 3), ['ndarray 2 × 3 of int64', 'min 0, max 5, mean 2.5', '6 values, 48 B']),
    (np.array([1.0, np.nan, np.inf]), ['1 NaN, 1 infinite']),
    (np.zeros((0, 3)), ['ndarray 0 × 3 of float64']),
    (np.array([(1, 'x')], dtype=[('n', int), ('t', 'U3')]), ['n', 't', 'x']),
    (PIXELS, ['image of 30 × 20 pixels']),
    (np.float32(0.5), ['numpy.float32', '0.5']),
    ('日本\nsecond', ['str of 9 characters', '日本', 'second']),
    (b'\x00abc', ['4 B of bytes', '00 61 62 63', '.abc']),
    (PNG, ['PNG image of 30 × 20 pixels']),
    ({'a': {'b': [1, 2]}}, ['dict of 1 entry', 'list of 2 items']),
    ([], ['list of 0 items']),
    (Pair(1, 'r'), ['Pair of 2 items', 'left', 'right']),
    (Point(1.0, ['t']), ['Point of 2 fields', 'tags']),
    ({3}, ['set of 1 item']),
    (ET.fromstring('<a k="v"><b>text</b></a>'), ['XML element a', 'k="v"', 'text']),
    (ET.ElementTree(ET.fromstring('<a/>')), ['XML element a']),
    (None, ['NoneType', 'None']),
    (3.25, ['float', '3.25']),
    (len, ['<built-in function len>']),
    (range(10**9), ['range(0, 1000000000)']),
]


@pytest.mark.parametrize('value, parts', EXPECTED, ids=lambda value: type(value).__name__)
def test_each_type_is_told(value: Any, parts: list[str]) -> None:
    shown = kartnb.preview(value)
    text, html = repr(shown), Skeleton(preview_html(shown))
    for part in parts:
        assert part in text
        assert part in html.text or part in [alt for name, alt in html.values if name == 'alt']


@pytest.mark.parametrize('value', [value for value, _ in EXPECTED], ids=lambda value: type(value).__name__)
def test_text_and_html_say_the_same(value: Any) -> None:
    shown = kartnb.preview(value)
    words = set(re.findall(r'[\w.]+', ' '.join(Skeleton(preview_html(shown)).texts)))
    told = set(re.findall(r'[\w.]+', repr(shown)))
    assert {word for word in words if not word.startswith('image')} <= told


def test_large_values_are_sampled() -> None:
    frame = pd.DataFrame(CHANCE.random((400_000, 30)))
    lists = {str(i): list(range(1000)) for i in range(2000)}
    for value in (frame, frame.to_numpy(), pl.from_pandas(frame[[0]].set_axis(['a'], axis=1)), lists, 'x' * 10**7):
        assert cost(lambda value=value: kartnb.preview(value)) < 10
        shown = kartnb.preview(value)
        assert len(preview_html(shown)) < 250_000
        assert len(repr(shown)) < 30_000
    assert '399,987 rows and 10 columns not shown' in repr(kartnb.preview(frame))
    assert '1,970 more' in repr(kartnb.preview(dict.fromkeys(range(2000))))


def test_containers_that_hold_themselves_end() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert repr(kartnb.preview(endless)).startswith('list of 1 item')


class Rich:
    def _repr_html_(self) -> str:
        return '<script>alert(1)</script><b>bold</b><img src="http://example.invalid/x.png">'


class Drawn:
    def _repr_png_(self) -> bytes:
        return PNG


class Bundled:
    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {'text/plain': 'p', 'text/html': '<i>h</i>'}


class Broken:
    def __repr__(self) -> str:
        raise ValueError('no <b>')

    def _repr_html_(self) -> str:
        raise ValueError('no html')


def test_objects_that_draw_themselves_do_it_in_a_sandbox() -> None:
    html = preview_html(kartnb.preview(Rich()))
    found = Skeleton(html)
    assert ('iframe', ('class', 'sandbox', 'srcdoc', 'title')) in found.tags
    assert dict(found.values)['sandbox'] == ''
    assert "default-src 'none'" in dict(found.values)['srcdoc']
    assert '<script' not in html
    assert 'image/png' in repr(kartnb.preview(Drawn()))
    assert 'iframe' in preview_html(kartnb.preview(Bundled()))


def test_a_value_that_cannot_be_drawn_says_why() -> None:
    assert repr(kartnb.preview(Broken())) == f'{__name__}.Broken\nThis value could not be shown: ValueError: no <b>'


class Model:
    pass


class Better(Model):
    pass


def test_own_previews_come_first_and_serve_subclasses() -> None:
    kartnb.register_preview(Model, lambda model: pd.DataFrame({'weight': [1]}))
    try:
        assert repr(kartnb.preview(Better())).startswith(f'{__name__}.Better\n')
        assert 'weight' in repr(kartnb.preview(Better()))
        kartnb.register_preview(f'{__name__}.Better', lambda model: 'the better one')
        assert repr(kartnb.preview(Better())) == f'{__name__}.Better\nthe better one'
    finally:
        kartnb.unregister_preview(Model)
        kartnb.unregister_preview(f'{__name__}.Better')
    assert 'weight' not in repr(kartnb.preview(Better()))


def test_own_previews_that_fail_or_go_round_are_told() -> None:
    kartnb.register_preview(Model, lambda model: 1 / 0)
    try:
        assert 'This value could not be shown: ZeroDivisionError' in repr(kartnb.preview(Model()))
        kartnb.register_preview(Model, lambda model: Model())
        assert 'Model object' in repr(kartnb.preview(Model()))
    finally:
        kartnb.unregister_preview(Model)


@pytest.mark.parametrize('wrong', ['Model', 3, None])
def test_what_is_no_type_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match='expected a type'):
        kartnb.register_preview(wrong, str)


def test_figures_are_pictures_and_stay_as_they_are() -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(20, 4))
    axes = figure.subplots()
    axes.plot([1, 2])
    axes.set_title('日本 <b>')
    canvas, dpi = figure.canvas, figure.dpi
    (image,) = kartnb.preview(axes).blocks
    assert size_of(image.data)[0] <= 800
    assert (figure.canvas, figure.dpi) == (canvas, dpi)
    assert image.description == '日本 <b>'


def test_plotly_is_sketched() -> None:
    plotly = pytest.importorskip('plotly.graph_objects')
    figure = plotly.Figure([plotly.Scatter(x=[1, 2, 3], y=[3, 1, 2], name='<b>'), plotly.Bar(y=[1, 2])])
    figure.update_layout(title='Two <traces>')
    shown = kartnb.preview(figure)
    assert shown.title == 'plotly Figure of 2 traces'
    assert 'Two <traces>' in repr(shown)
    picture = next(block for block in shown.blocks if type(block).__name__ == 'Image')
    assert (picture.mime, picture.description) == ('image/png', 'sketch of Two <traces>')
    # the line, the bars and the axes are there: more than one colour on white
    assert len(np.unique(np.asarray(Image.open(io.BytesIO(picture.data)).convert('RGB')).reshape(-1, 3), axis=0)) > 3


def test_estimators_tell_parameters_steps_and_what_they_learnt() -> None:
    linear_model = pytest.importorskip('sklearn.linear_model')
    pipeline = pytest.importorskip('sklearn.pipeline')
    model = linear_model.LogisticRegression(C=3)
    assert 'not fitted' in kartnb.preview(model).title
    model.fit(CHANCE.random((20, 2)), [0, 1] * 10)
    text = repr(kartnb.preview(model))
    assert re.search(r'C +3 +set', text)
    assert re.search(r'coef_ +ndarray 1 × 2 float64', text)
    whole = kartnb.preview(pipeline.make_pipeline(model))
    assert 'LogisticRegression(C=3)' in repr(whole)
    assert whole.title.endswith(', fitted')


def test_pil_images_are_made_smaller() -> None:
    pillow = pytest.importorskip('PIL.Image')
    (image,) = kartnb.preview(pillow.new('P', (3000, 10))).blocks
    assert size_of(image.data)[0] == 640
    file = io.BytesIO()
    pillow.fromarray((CHANCE.random((900, 900, 3)) * 255).astype('uint8')).save(file, 'PNG')
    (smaller,) = kartnb.preview(file.getvalue()).blocks
    assert len(smaller.data) < 500_000
    assert smaller.description.endswith('made smaller')


def test_images_with_too_many_pixels_are_not_embedded() -> None:
    for side in (8_000, 60_000):
        size = side.to_bytes(4, 'big') * 2
        checksum = zlib.crc32(PNG[12:16] + size + PNG[24:29]).to_bytes(4, 'big')
        assert 'too many pixels' in repr(kartnb.preview(PNG[:16] + size + PNG[24:29] + checksum + PNG[33:]))


def test_without_the_libraries_it_is_said_what_would_be_seen_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    plotly = pytest.importorskip('plotly.graph_objects')
    figure = plotly.Figure([plotly.Scatter(y=[3, 1, 2], name='curve')])
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, 'find_spec', lambda name, *rest: None if name in ('PIL', 'matplotlib') else find_spec(name)
    )
    array, image, sketch = (kartnb.preview(value) for value in (PIXELS[:, :, 0], PNG, figure))
    assert 'install Pillow to display it' in repr(array)
    assert str(PIXELS[0, 1, 0]) in repr(array)
    assert repr(image).startswith('PNG image, ')
    assert 'Install Pillow to display it' in repr(image)
    assert 'Install matplotlib to see a sketch' in repr(sketch)
    assert 'curve' in repr(sketch)


class Words(kartnb.TaskOnKart[Any]):
    def output(self) -> Any:
        return {'text': self.make_target('words.txt'), 'list': [self.make_target('words.pkl')]}

    def run(self) -> None:
        self.dump('a\nb', 'text')
        self.dump({'a': 1}, self.output()['list'][0])


def test_results_of_tasks_are_loaded_on_demand() -> None:
    task = Words()
    assert 'has not been created yet' in repr(kartnb.preview(task))
    kartnb.build(task)
    text = repr(kartnb.preview(task))
    assert 'text: list of 2 items' in text
    assert 'list[0]: dict of 1 entry' in text
    assert repr(kartnb.preview(task.output()['text'])).startswith('list of 2 items')
    assert repr(kartnb.preview(kartnb.outputs(task)[0])).startswith('list of 2 items')


class Pictures(kartnb.TaskOnKart[Any]):
    def output(self) -> Any:
        return [self.make_target(f'{i}.png') for i in range(4)]

    def run(self) -> None:
        noise = CHANCE.integers(0, 256, (300, 400, 3), dtype='uint8')
        for target in self.output():
            self.dump(png_of(noise), target)


def test_many_large_pictures_are_not_all_embedded() -> None:
    kartnb.build(Pictures())
    shown = kartnb.preview(Pictures())
    assert len(preview_html(shown)) < 1_500_000
    assert repr(shown).count('not shown: too many images') == 2
    assert repr(shown).count('image/png') == 2


def test_a_result_that_cannot_be_loaded_says_why() -> None:
    task = Words()
    kartnb.build(task)
    Path(task.output()['list'][0].path()).write_bytes(b'damaged')
    assert 'cannot be read' in repr(kartnb.preview(task))


def _save(model: Any, path: str) -> None:
    Path(path).write_text(model)


def _load(path: str) -> str:
    return Path(path).read_text()


class Zipped(kartnb.TaskOnKart[str]):
    def output(self) -> Any:
        return self.make_model_target('model.zip', _save, _load)

    def run(self) -> None:
        self.dump('a model')


def test_zip_files_tell_what_is_in_them() -> None:
    kartnb.build(Zipped())
    text = repr(kartnb.preview(Zipped()))
    assert 'Zipped: str of 7 characters' in text
    assert 'model.pkl' in text
    assert 'load_function.pkl' in text


def test_nothing_is_imported_for_a_preview_of_something_else() -> None:
    code = (
        'import sys, kartnb; repr(kartnb.preview({"a": [1]})); '
        'print([m for m in ("pandas", "numpy", "polars", "matplotlib", "sklearn", "PIL") '
        'if m in sys.modules and m not in before])'
    )
    script = f'import sys, luigi, kartnb.task.base, kartnb.model; before = set(sys.modules); {code}'
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == '[]', done.stderr
