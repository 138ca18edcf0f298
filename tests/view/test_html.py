"""HTML says what text says, keeps its size, and needs nothing but a reader."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from kartnb.execution.report import BuildReport
from kartnb.model import Plan
from kartnb.view import words
from kartnb.view.graph_svg import plan_svg, report_svg
from tests.view.graphs import Load, generated, node, pipeline, report
from tests.view.markup import Skeleton, boxes

TAGS = {
    *('div', 'style', 'p', 'strong', 'span', 'code', 'bdi', 'br', 'pre', 'img', 'details', 'summary'),
    *('table', 'thead', 'tbody', 'tr', 'th', 'td'),
}
FAILED = report(error=ValueError('not a number <in> row 3'))


def _words(text: str) -> set[str]:
    return {word.rstrip(',:') for word in re.sub(r'[()\[\]=·]', ' ', text).split() if word.strip('│├└─…,:')}


def test_a_plan_says_the_same_in_both() -> None:
    plan = pipeline()
    html = _words(Skeleton(plan._repr_html_()).text)
    text = _words(repr(plan))
    assert {word for word in text if word not in html and not any(long.startswith(word) for long in html)} == set()


def test_a_report_says_the_same_in_both() -> None:
    html = _words(Skeleton(FAILED._repr_html_()).text)
    assert _words(repr(FAILED)) - html == set()


@pytest.mark.parametrize('fragment', [pipeline()._repr_html_(), FAILED._repr_html_(), generated(1000)._repr_html_()])
def test_a_fragment_has_no_scripts_and_loads_nothing(fragment: str) -> None:
    skeleton = Skeleton(fragment)
    assert {tag for tag, _ in skeleton.tags} <= TAGS
    names = {name for _, attributes in skeleton.tags for name in attributes}
    assert names <= {'class', 'src', 'alt', 'width', 'style', 'scope', 'colspan'}
    assert not re.search(r'https?:|url\(|@import', fragment)


def test_the_image_is_the_picture() -> None:
    plan = pipeline()
    skeleton = Skeleton(plan._repr_html_())
    assert len(boxes(skeleton.picture)) == len(plan)
    assert ('alt', 'Graph of Evaluate: 5 tasks (◐ 1 stale, ○ 3 missing, ● 1 cached)') in skeleton.values


def test_the_picture_of_a_report_has_its_final_states() -> None:
    picture = ElementTree.tostring(Skeleton(FAILED._repr_html_()).picture)
    assert picture == ElementTree.tostring(ElementTree.fromstring(report_svg(FAILED)))
    assert picture != ElementTree.tostring(ElementTree.fromstring(plan_svg(pipeline())))


def test_failures_come_before_the_picture() -> None:
    fragment = FAILED._repr_html_()
    assert fragment.index('not a number &lt;in&gt; row 3') < fragment.index('<img')
    assert 'train.py:42 in run' in fragment


def test_tables_are_folded_and_capped_and_the_most_urgent_stay() -> None:
    plan = generated(1000)
    rows = words.plan_rows(plan)
    assert len(rows.shown) == words.MAX_ROWS
    assert rows.shown[0].unique_id == plan.root.unique_id
    assert {row.look.word for row in rows.shown[1:]} == {'failed'}
    assert rows.omitted_total == 950
    text = Skeleton(plan._repr_html_()).text
    assert '… 950 more: ✗ ' in text


@pytest.mark.parametrize('size,families', [(1, 1), (60, 60), (150, 150), (10_000, 400)])
def test_the_stored_size_is_bounded(size: int, families: int, record_property) -> None:
    plan = generated(size, families)
    kilobytes = len(plan._repr_html_()) / 1000
    record_property('measured', f'html of {size} tasks in {families} classes: {kilobytes:.0f} kB')
    assert kilobytes < 260
    ended = BuildReport('b', plan, 1.0, {n.key: 1.0 for n in plan}, ())
    assert len(ended._repr_html_()) / 1000 < 270


def test_every_style_is_below_the_root_class() -> None:
    style = re.search(r'<style>(.*?)</style>', pipeline()._repr_html_(), re.DOTALL)
    assert style
    rules = re.sub(r'@media[^{]*\{((?:[^{}]*\{[^}]*\})*)\}', r'\1', style[1])
    selectors = [s.strip() for rule in re.findall(r'([^{}]+)\{[^}]*\}', rules) for s in rule.split(',')]
    assert len(selectors) > 20
    root = r'(^|\s)\.kartnb(\.kartnb[\w-]*)?(\[\w+\])?($|\s)'
    assert all(re.search(root, selector) for selector in selectors)


def test_a_plan_without_parameters_outputs_or_reasons() -> None:
    text = Skeleton(Plan((node(Load(), outputs=()),), '/w')._repr_html_()).text
    assert 'nothing will run' in text


def test_many_outputs_are_cut() -> None:
    fragment = Plan((node(Load(), outputs=[f'/w/{i}.pkl' for i in range(100)]),), '/w')._repr_html_()
    assert '/w/2.pkl' in fragment
    assert '/w/3.pkl' not in fragment
    assert '97 more' in fragment
