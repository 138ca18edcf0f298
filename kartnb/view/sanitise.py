"""Names, parameters, paths, numbers and exception texts made fit to be shown.

What is shown comes from users and from data, and may hold anything. Here it is cut to a bounded length, and the
characters that a terminal, an XML parser or the bidirectional algorithm would act on are replaced by visible ones.
Escaping for HTML and XML is the work of the template engine and of the XML writer.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from kartnb.errors import described

#: C0, C1 and DEL (without newline), lone surrogates, noncharacters, and the controls that reorder text or hide some.
_UNSAFE = re.compile(
    '[\x00-\x09\x0b-\x1f\x7f-\x9f\u00ad\u200b\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb'
    '\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff\U000e0000-\U000e007f]'
)
_NONCHARACTERS = re.compile(
    '[' + ''.join(chr(plane << 16 | last) for plane in range(1, 17) for last in (0xFFFE, 0xFFFF)) + ']'
)
_LINE_BREAKS = re.compile('\r\n|[\r\x0b\x0c\x85\u2028\u2029]')
_ADDRESS = re.compile(' at 0x[0-9a-fA-F]+')
_UNIQUE_ID = re.compile('([0-9a-f]{8})[0-9a-f]{24}')
_JOINERS = ('\u200d', '\ufe0e', '\ufe0f')

ELLIPSIS = '…'


def _visible(match: re.Match[str]) -> str:
    character = match.group()
    if character == '\t':
        return ' '
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    return '\u2421' if code == 0x7F else '\ufffd'


def _made_visible(text: str) -> str:
    return _NONCHARACTERS.sub('\ufffd', _UNSAFE.sub(_visible, text))


def cut(text: str, limit: int) -> str:
    """The text, with an ellipsis where it is longer than `limit` characters; no character is cut from its accents."""
    if len(text) <= limit:
        return text
    end = max(limit - 1, 0)
    while end and (unicodedata.combining(text[end]) or text[end] in _JOINERS or text[end - 1] == _JOINERS[0]):
        end -= 1
    return text[:end].rstrip() + ELLIPSIS


def one_line(text: str, limit: int = 200) -> str:
    """The text on one line, with nothing in it that acts on a terminal or a parser, cut to `limit` characters."""
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text
    # a value may have megabytes: only what can be shown is cleaned
    bounded = text[: 4 * limit + 4]
    flat = _made_visible(_LINE_BREAKS.sub('\n', bounded)).replace('\n', '⏎')
    return cut(flat if len(bounded) == len(text) else flat + ELLIPSIS, limit)


def several_lines(text: str, limit: int = 4000, most: int = 40) -> str:
    """The text with its line breaks, otherwise as `one_line` does; at most `most` lines of it."""
    bounded = text[: limit + 1]
    kept = _made_visible(_LINE_BREAKS.sub('\n', bounded)).rstrip('\n').split('\n')
    more = len(kept) - most
    if more > 0:
        kept = [*kept[:most], f'{ELLIPSIS} {more:,} more lines']
    return cut('\n'.join(kept), limit)


def short_id(unique_id: str) -> str:
    """The eight characters of a unique id that tell tasks apart: gokart's first, or the last of luigi's task id."""
    if _UNIQUE_ID.fullmatch(unique_id):
        return unique_id[:8]
    return one_line(unique_id[-8:])


def abbreviated(text: str, limit: int = 28) -> str:
    """A parameter value for a small place: ids shortened, memory addresses left out, and the end cut."""
    return one_line(
        _UNIQUE_ID.sub(r'\1', _ADDRESS.sub('', text[: 8 * limit])) + (ELLIPSIS if len(text) > 8 * limit else ''), limit
    )


def error_text(error: BaseException) -> str:
    """The type and text of an exception, as `several_lines` shows it."""
    return several_lines(described(error))


def seconds_text(seconds: float) -> str:
    """A duration as a person says it, as in ``'0.02 s'``, ``'4.1 s'``, ``'3 min 20 s'``, ``'2 h 5 min'``."""
    seconds = max(seconds, 0.0)
    if seconds < 0.995:
        return f'{seconds:.2f} s'
    if seconds < 9.95:
        return f'{seconds:.1f} s'
    whole = round(seconds)
    if whole < 60:
        return f'{whole} s'
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f'{minutes} min {rest} s' if rest else f'{minutes} min'
    hours, minutes = divmod(round(whole / 60), 60)
    return f'{hours:,} h {minutes} min' if minutes else f'{hours:,} h'


def about_text(seconds: float) -> str:
    """About how long something takes, as in ``'about 4.1 s'``.

    >>> about_text(0.2)
    'under 1 s'
    """
    return f'about {seconds_text(seconds)}' if seconds >= 1 else 'under 1 s'


def counted(number: int, word: str) -> str:
    """``'1 row'``, ``'1,000 rows'``.

    >>> counted(1, 'row'), counted(2000, 'entry')
    ('1 row', '2,000 entries')
    """
    if number == 1:
        return f'1 {word}'
    return f'{number:,} {word[:-1]}ies' if word.endswith('y') else f'{number:,} {word}s'


def more(number: int, word: str) -> str:
    """How many are not shown, as in ``'… 2 more rows'``; '' for none."""
    return f'… {counted(number, f"more {word}")}' if number > 0 else ''


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

    >>> columns_of('abc'), columns_of('日本')
    (3, 4)
    """
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.category(character) in _ZERO_CATEGORIES or '\u1160' <= character <= '\u11ff':
        return 0  # also the vowels and final consonants of Hangul, which join the syllable before them
    return 2 if unicodedata.east_asian_width(character) in 'WF' else 1


_LEVELS = (
    (logging.CRITICAL, 'CRITICAL'),
    (logging.ERROR, 'ERROR'),
    (logging.WARNING, 'WARNING'),
    (logging.INFO, 'INFO'),
)
_MOST_LINES = 200
_MOST_ITEMS = 100
_DEEPEST = 6


def size_text(size: int) -> str:
    """A number of bytes as a person says it.

    >>> [size_text(size) for size in (0, 999, 1_500, 2_000_000, 3_500_000_000)]
    ['0 B', '999 B', '1.5 kB', '2.0 MB', '3.5 GB']
    """
    if size < 1000:
        return f'{size} B'
    value = float(size)
    for unit in ('kB', 'MB', 'GB', 'TB'):
        value /= 1000
        if value < 999.95 or unit == 'TB':
            break
    return f'{value:,.1f} {unit}'


def local_time(text: str) -> str:
    """An ISO 8601 time as it is on the clock here, to the second; '' where the text is not a time."""
    try:
        return datetime.fromisoformat(text).astimezone().strftime('%Y-%m-%d %H:%M:%S')
    except (ValueError, OverflowError, OSError):
        return ''


def level_name(level: int) -> str:
    """The name of a log level, or that of the next lower one that has a name.

    >>> level_name(40), level_name(25), level_name(10)
    ('ERROR', 'INFO', 'DEBUG')
    """
    return next((name for number, name in _LEVELS if level >= number), 'DEBUG')


def value_lines(value: Any) -> list[str]:
    """A plain value in lines, nested containers indented; at most a few hundred of them, whatever the value.

    >>> value_lines({'seed': 3, 'methods': ['a', 'b'], 'none': {}})
    ['seed: 3', 'methods:', '  a', '  b', 'none: {}']
    """
    return list(islice(_lines(value, 0), _MOST_LINES))


def _lines(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield from ('  ' * depth + row for row in value[:20_000].split('\n'))
    elif not _is_nest(value) or depth > _DEEPEST:
        yield '  ' * depth + scalar_text(value)
    elif isinstance(value, dict):
        for key, item in islice(value.items(), _MOST_ITEMS):
            yield from _entry(scalar_text(key), item, depth)
    else:
        for item in islice(value, _MOST_ITEMS):
            yield from _entry('-', item, depth) if _is_nest(item) else _lines(item, depth)
    if _is_nest(value) and len(value) > _MOST_ITEMS:
        yield '  ' * depth + f'… {len(value) - _MOST_ITEMS:,} more'


def _entry(name: str, item: Any, depth: int) -> Iterator[str]:
    if _is_nest(item) or (isinstance(item, str) and '\n' in item):
        yield f'{"  " * depth}{name}{"" if name == "-" else ":"}'
        yield from _lines(item, depth + 1)
    else:
        yield f'{"  " * depth}{name}: {item[:2000] if isinstance(item, str) else scalar_text(item)}'


def _is_nest(value: Any) -> bool:
    return isinstance(value, dict | list | tuple | set | frozenset) and len(value) > 0


def scalar_text(value: Any) -> str:
    """A value as text; of a container its type and how many items it has."""
    if isinstance(value, str):
        return value[:2000]
    if isinstance(value, dict | list | tuple | set | frozenset):
        return f'{type(value).__name__} of {len(value):,}' if value else repr(value)
    if isinstance(value, bytes | bytearray):
        return f'{bytes(value[:40])!r}{"…" if len(value) > 40 else ""}'
    if isinstance(value, int) and value.bit_length() > 4000:
        # Python refuses to write integers of more than 4,300 digits
        return f'an integer of {value.bit_length():,} bits'
    return repr(value)[:2000] if not hasattr(value, 'isoformat') else str(value)[:100]
