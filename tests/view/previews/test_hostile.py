"""Whatever names and values hold, a preview shows it as text."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

import kartnb
from kartnb.view.previews.preview import Branch, Column, Facts, Image, Note, Table, Text, Tree
from kartnb.view.previews.show import preview_html
from tests.view.hostile import TEXTS
from tests.view.markup import Skeleton
from tests.view.test_hostile import _check_text

THREE = st.lists(TEXTS, min_size=3, max_size=3)


def _check(value: Any, benign: Any) -> None:
    shown = kartnb.preview(value)
    html = preview_html(shown)
    html.encode()
    assert Skeleton(html).tags == Skeleton(preview_html(kartnb.preview(benign))).tags
    _check_text(repr(shown))


@settings(max_examples=60, deadline=None)
@given(THREE)
def test_tables_show_any_text_as_text(texts: list[str]) -> None:
    _check(_frame(*texts), _frame('a', 'b', 'c'))


def _frame(name: str, cell: str, label: str) -> pd.DataFrame:
    frame = pd.DataFrame({0: pd.Series([cell], dtype=object), 1: [1]})
    return frame.set_axis(pd.Index([name, 'n'], dtype=object), axis=1).set_axis(pd.Index([label], dtype=object))


@settings(max_examples=60, deadline=None)
@given(THREE)
def test_trees_and_texts_show_any_text_as_text(texts: list[str]) -> None:
    key, item, deep = texts
    _check(
        {'k' + key: item, 'd': [{'x': deep}], 'o': Exception(item)}, {'k': 'i', 'd': [{'x': 'd'}], 'o': Exception('')}
    )
    _check(item, 'x')
    _check([texts], [['a', 'b', 'c']])


@settings(max_examples=40, deadline=None)
@given(THREE)
def test_xml_and_class_names_show_any_text_as_text(texts: list[str]) -> None:
    element = ET.Element('a', {'k': texts[0]})
    element.text = texts[1]
    _check(element, ET.Element('a'))
    kind = type('Evil', (), {'__repr__': lambda self: texts[2]})
    kind.__qualname__ = texts[1]
    benign = type('Good', (), {'__repr__': lambda self: 'x'})
    _check(kind(), benign())


@settings(max_examples=40, deadline=None)
@given(THREE)
def test_blocks_of_ones_own_show_any_text_as_text(texts: list[str]) -> None:
    def made(one: str, two: str, three: str) -> kartnb.Preview:
        table = Table([Column(one, two), Column('b')], [[three, 'x']], 'n' + two)
        tree = Tree([Branch(one, two, [Branch(three, two)])])
        image, text = Image('image/png', b'', two), Text('t' + three)
        return kartnb.Preview(one, [Facts([(one, two)]), table, tree, text, image, Note(one)])

    shown = made(*texts)
    benign = made('a', 'b' if texts[1] else '', 'c')
    assert Skeleton(preview_html(shown)).tags == Skeleton(preview_html(benign)).tags
    preview_html(shown).encode()
    _check_text(repr(shown))


def test_hundred_kilobytes_stay_small() -> None:
    text = '<b>&"' * 20_000
    for value in (
        pd.DataFrame({text: [text]}),
        {text: [text] * 100},
        [text] * 1000,
        text,
        ET.Element('a', {'k': text}),
    ):
        assert len(preview_html(kartnb.preview(value))) < 80_000
        assert len(repr(kartnb.preview(value))) < 30_000
