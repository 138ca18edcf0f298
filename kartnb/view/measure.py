"""How wide a text is likely to be drawn, without a font to ask.

The widths are those of a wide sans-serif face (DejaVu Sans), so that text that fits here fits in the narrower ones too.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from kartnb.view.clean import ELLIPSIS

_NARROW = frozenset(" !'()*,.:;I[]fijlrt|·")
_WIDE = frozenset('%@MWmw→—…&')
_ZERO_CATEGORIES = frozenset({'Mn', 'Me', 'Cf'})


def _em(character: str) -> float:
    if character.isascii():
        if character in _NARROW:
            return 0.40
        if character in _WIDE:
            return 1.03
        return 0.70 if character.isupper() else 0.62
    if unicodedata.category(character) in _ZERO_CATEGORIES:
        return 0.0
    if unicodedata.east_asian_width(character) in 'WF':
        return 1.0 if ord(character) < 0x10000 else 1.35
    return 0.97 if character in _WIDE else 0.85


def width(text: str, size: float, *, bold: bool = False, mono: bool = False) -> float:
    """About how many pixels wide a text is at a font size in pixels."""
    if mono:
        return size * sum(0.61 if character.isascii() else max(_em(character), 0.61) for character in text)
    return size * sum(map(_em, text)) * (1.1 if bold else 1.0)


def fit(text: str, room: float, size: float, *, bold: bool = False, mono: bool = False) -> str:
    """The text, cut with an ellipsis where it would be wider than `room` pixels."""
    if width(text, size, bold=bold, mono=mono) <= room:
        return text
    room -= width(ELLIPSIS, size, bold=bold, mono=mono)
    used = 0.0
    for end, character in enumerate(text):
        used += width(character, size, bold=bold, mono=mono)
        if used > room:
            return text[:end].rstrip('\u200d\ufe0f ') + ELLIPSIS
    return text


def wrap(items: Sequence[str], room: float, size: float, most: int, *, mono: bool = False) -> list[str]:
    """The items with commas between them on at most `most` lines of `room` pixels, ending in an ellipsis if cut."""
    rows: list[str] = []
    for item in items:
        joined = f'{rows[-1]}, {item}' if rows else ''
        if rows and width(joined, size, mono=mono) <= room:
            rows[-1] = joined
        elif len(rows) < most:
            rows.append(fit(item, room, size, mono=mono))
        else:
            rows[-1] = fit(f'{rows[-1].removesuffix(ELLIPSIS)} {ELLIPSIS}', room, size, mono=mono)
            break
    return rows


def columns_of(text: str) -> int:
    """How many columns a text takes on a terminal.

    Examples
    --------
    >>> columns_of('abc'), columns_of('日本')
    (3, 4)
    """
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.category(character) in _ZERO_CATEGORIES or '\u1160' <= character <= '\u11ff':
        return 0  # also the vowels and final consonants of Hangul, which join the syllable before them
    return 2 if unicodedata.east_asian_width(character) in 'WF' else 1
