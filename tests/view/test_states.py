"""The table of states is complete, and every colour can be read on what it stands on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kartnb.model import TaskState
from kartnb.view import words
from kartnb.view.words import DARK_SURFACE, LIGHT_SURFACE, LOOKS, URGENCY, count_states, counts_text

STATIC = Path(words.__file__).parent / 'static'


def _luminance(colour: str) -> float:
    digits = colour.removeprefix('#')
    digits = ''.join(2 * d for d in digits) if len(digits) == 3 else digits
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    """The contrast of two colours as WCAG 2 counts it."""
    lighter, darker = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_every_state_has_its_own_glyph_and_word() -> None:
    assert set(LOOKS) == set(TaskState) == set(URGENCY)
    assert len({look.glyph for look in LOOKS.values()}) == len({look.word for look in LOOKS.values()}) == len(TaskState)


@pytest.mark.parametrize('state', TaskState)
def test_state_colours_can_be_read(state: TaskState) -> None:
    assert contrast(LOOKS[state].light, LIGHT_SURFACE) >= 4.5
    assert contrast(LOOKS[state].dark, DARK_SURFACE) >= 4.5


def test_other_texts_of_the_picture_can_be_read() -> None:
    light, dark = (STATIC / 'graph.css').read_text().split('@media')
    for part, surface in ((light, LIGHT_SURFACE), (dark, DARK_SURFACE)):
        fills = re.findall(r'text[^{]*\{[^}]*fill:(#[0-9a-f]{3,6})', part)
        assert len(fills) >= 3
        assert all(contrast(fill, surface) >= 4.5 for fill in fills)
        assert re.search(r'rect\.box[^{]*\{fill:(#[0-9a-f]+)', part)


def test_arrows_can_be_seen_on_any_page() -> None:
    stroke = re.search(r'\.edge\{[^}]*stroke:(#[0-9a-f]{6})', (STATIC / 'graph.css').read_text())
    assert stroke
    assert min(contrast(stroke[1], LIGHT_SURFACE), contrast(stroke[1], DARK_SURFACE), contrast(stroke[1], '#000')) >= 3


def test_literal_text_colours_of_the_fragment_can_be_read() -> None:
    pairs = re.findall(r'light-dark\((#[0-9a-f]{3,6}),(#[0-9a-f]{3,6})\)', (STATIC / 'kartnb.css').read_text())
    texts = pairs[:2]
    assert all(contrast(a, LIGHT_SURFACE) >= 4.5 and contrast(b, DARK_SURFACE) >= 4.5 for a, b in texts)


def test_counts_name_the_most_urgent_first() -> None:
    counts = count_states([TaskState.CACHED, TaskState.FAILED, TaskState.CACHED])
    assert counts_text(counts) == '✗ 1 failed, ● 2 cached'
