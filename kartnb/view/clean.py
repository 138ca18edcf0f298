"""Names, parameters, paths and exception texts made fit to be shown.

What is shown comes from users and from data, and may hold anything. Here it is cut to a bounded length, and the
characters that a terminal, an XML parser or the bidirectional algorithm would act on are replaced by visible ones.
Escaping for HTML and XML is the work of the template engine and of the XML writer.
"""

from __future__ import annotations

import re
import unicodedata

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
    bounded = text[: 4 * limit + 4]
    flat = _made_visible(_LINE_BREAKS.sub('\n', bounded)).replace('\n', '⏎')
    return cut(flat if len(bounded) == len(text) else flat + ELLIPSIS, limit)


def lines(text: str, limit: int = 4000, most: int = 40) -> str:
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
    """The type and text of an exception, also of one whose text cannot be made."""
    try:
        text = str(error)
    except Exception:  # whatever a user's __str__ raises, the failure itself must still be shown
        text = '<its text cannot be made>'
    name = type(error).__name__
    return lines(f'{name}: {text}' if text else name)


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
