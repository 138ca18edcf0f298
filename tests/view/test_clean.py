"""Texts of users and of data are bounded and cannot act on terminals and parsers."""

from __future__ import annotations

import unicodedata
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kartnb.view.sanitise import (
    abbreviated,
    cut,
    error_text,
    fit,
    one_line,
    seconds_text,
    several_lines,
    short_id,
    width,
    wrap,
)

ANYTHING = st.text(st.characters(codec=None), max_size=300) | st.text(
    st.sampled_from('\x1b[31m\r\n\t\x00\x7f\x9b\u202e\u2066\u2028\ufeff\ud800\U0001fffe<&">日本🤦\u200d♂\ufe0fe\u0301')
)


def _is_harmless(text: str) -> bool:
    text.encode()
    ElementTree.fromstring(f'<a>{text.replace("&", "&amp;").replace("<", "&lt;")}</a>')
    reordering = '\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069'
    return not any(unicodedata.category(c) in ('Cc', 'Cs') or c in reordering for c in text.replace('\n', ''))


@given(ANYTHING, st.integers(1, 80))
def test_one_line_is_one_short_harmless_line(text: str, limit: int) -> None:
    shown = one_line(text, limit)
    assert _is_harmless(shown)
    assert '\n' not in shown
    assert len(shown) <= limit


@given(ANYTHING, st.integers(1, 80), st.integers(1, 5))
def test_lines_are_few_and_harmless(text: str, limit: int, most: int) -> None:
    shown = several_lines(text, limit, most)
    assert _is_harmless(shown)
    assert len(shown) <= limit
    assert shown.count('\n') <= most


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60))
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert one_line(text, 60) == text


def test_terminal_codes_become_visible() -> None:
    assert one_line('\x1b[2J\rhidden') == '␛[2J⏎hidden'


def test_long_texts_are_cut_without_being_read_to_their_end() -> None:
    assert one_line('a' * 10_000_000, 10) == 'aaaaaaaaa…'


@pytest.mark.parametrize('text', ['abcde\u0301fg', 'abcd👩\u200d🚀fg', 'abcd❤\ufe0ffgh'])
def test_a_cut_never_parts_a_character_from_its_accents(text: str) -> None:
    for limit in range(1, len(text)):
        kept = cut(text, limit).removesuffix('…')
        rest = text[len(kept) :]
        assert not kept.endswith('\u200d')
        assert not unicodedata.combining(rest[0])
        assert rest[0] not in '\u200d\ufe0f'


def test_ids_and_addresses_are_shortened_in_small_places() -> None:
    assert abbreviated('Load-8441c59b5ce0113396d53509f19371fb') == 'Load-8441c59b'
    assert abbreviated('<function f at 0x7f0123456789>') == '<function f>'


def test_short_ids() -> None:
    assert short_id('8441c59b5ce0113396d53509f19371fb') == '8441c59b'
    assert short_id('Load__99914b932b') == '914b932b'


def test_errors_whose_text_cannot_be_made_are_shown() -> None:
    class BrokenError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert error_text(BrokenError()) == 'BrokenError: <message not available>'
    assert error_text(ValueError()) == 'ValueError'
    assert error_text(KeyError('a')) == "KeyError: 'a'"


@pytest.mark.parametrize(
    'seconds,text',
    [
        (-1, '0.00 s'),
        (0.004, '0.00 s'),
        (0.994, '0.99 s'),
        (0.9999, '1.0 s'),
        (9.96, '10 s'),
        (59.7, '1 min'),
        (200, '3 min 20 s'),
        (3599.6, '1 h'),
        (7500, '2 h 5 min'),
    ],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


@given(ANYTHING, st.floats(20, 200))
def test_fitted_text_fits(text: str, room: float) -> None:
    assert width(fit(text, room, 12), 12) <= room


@given(st.lists(st.text(max_size=30), max_size=8), st.integers(1, 3))
def test_wrapped_words_fit(words: list[str], most: int) -> None:
    rows = wrap(words, 150, 11, most, mono=True)
    assert len(rows) <= most
    assert all(width(row, 11, mono=True) <= 150 for row in rows)
