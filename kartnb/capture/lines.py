"""From printed text to lines, as a terminal would show them in the end, and of very many the first and the last.

A line that is written over (a progress bar) is kept in its last state. Colours and other escape sequences are left out;
other control characters are made visible.
"""

from __future__ import annotations

import functools
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kartnb.storage.places import CapturedLine, Source
from kartnb.task.secrets import NO_SECRETS, Masker

#: Characters of the first lines that are kept, and of the last ones.
KEPT_FIRST = 1_000_000
KEPT_LAST = 1_000_000
#: What a line counts beside its characters, for its time and stream.
_LINE_COST = 40


@dataclass(frozen=True, slots=True)
class _Block:
    """Lines that came in together."""

    time: float
    source: Source
    lines: Sequence[str]
    level: int = 0
    logger: str = ''

    @property
    def characters(self) -> int:
        return sum(map(len, self.lines))

    @property
    def cost(self) -> int:
        return self.characters + _LINE_COST * len(self.lines)

    def part(self, lines: Sequence[str]) -> _Block:
        return _Block(self.time, self.source, lines, self.level, self.logger)

    def captured(self) -> Iterator[CapturedLine]:
        return (CapturedLine(self.time, self.source, line, self.level, self.logger) for line in self.lines)


class KeptLines:
    """Keeps the first lines and the last ones, and counts those in between."""

    def __init__(self) -> None:
        self._first: list[_Block] = []
        self._last: deque[tuple[_Block, int]] = deque()
        self._room_first = KEPT_FIRST
        self._cost_last = 0
        self._left_out = 0
        self._characters = 0

    def add(self, time: float, source: Source, lines: Sequence[str], level: int = 0, logger: str = '') -> None:
        """Take in lines that came in together."""
        block = _Block(time, source, lines, level, logger)
        if not self._last:
            block = self._fill_first(block)
        if not block.lines:
            return
        cost = block.cost
        self._last.append((block, cost))
        self._cost_last += cost
        while self._cost_last - self._last[0][1] > KEPT_LAST:
            dropped, cost = self._last.popleft()
            self._cost_last -= cost
            self._leave_out(dropped)

    def lines(self) -> list[CapturedLine]:
        """The kept lines; a line in the middle says how much was left out."""
        if not self._first and not self._last:  # as of most tasks
            return []
        self._trim_last()
        first = [line for block in self._first for line in block.captured()]
        last = [line for block, _ in self._last for line in block.captured()]
        if self._left_out:
            words = f'{self._left_out:,} lines with {self._characters:,} characters are left out here'
            first.append(CapturedLine(last[0].time, 'left out', words))
        return first + last

    def _fill_first(self, block: _Block) -> _Block:
        """Add as much as there is room for to the first lines; gives the rest."""
        cost = block.cost
        if cost <= self._room_first:
            count = len(block.lines)
        else:
            count = _how_many(block.lines, self._room_first)
            cost = self._room_first  # no room is left, so that no later line is put before these
        self._room_first -= cost
        if count:
            self._first.append(block.part(block.lines[:count]))
        return block.part(block.lines[count:])

    def _trim_last(self) -> None:
        """Leave out lines of the oldest block, as far as room is lacking."""
        if self._cost_last > KEPT_LAST and len(self._last) > 0:
            block, cost = self._last.popleft()
            count = max(_how_many(block.lines[::-1], KEPT_LAST - self._cost_last + cost), 0 if self._last else 1)
            keep = len(block.lines) - count
            self._leave_out(block.part(block.lines[:keep]))
            kept = block.part(block.lines[keep:])
            self._cost_last += kept.cost - cost
            if kept.lines:
                self._last.appendleft((kept, kept.cost))

    def _leave_out(self, block: _Block) -> None:
        self._left_out += len(block.lines)
        self._characters += block.characters


def _how_many(lines: Sequence[str], room: int) -> int:
    """How many of some lines there is room for."""
    for count, line in enumerate(lines):
        room -= len(line) + _LINE_COST
        if room < 0:
            return count
    return len(lines)


#: A line that is longer is given in pieces of this many characters.
LONGEST_LINE = 16_000
_MOST_PENDING_ROWS = 20

_TOKEN = re.compile(
    r'\n|\r|\x08'
    r'|\x1b\[(?P<number>[0-9]*)[0-?]*[ -/]*(?P<command>[@-~])'
    r'|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)'
    r'|\x1b[ -/]*[0-Z\\^-~]'
    r'|(?P<text>[^\n\r\x08\x1b]+)'
)
_UNFINISHED_ESCAPE = re.compile(r'\x1b(?:[ -/]{0,9}|\[[0-?]{0,99}[ -/]{0,9}|\][^\x07\x1b]{0,999}\x1b?)\Z')
_MOVES_OR_HIDES = ('\r', '\b', '\x1b')
_INVISIBLE = re.compile('[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]')
_INVISIBLE_ASCII = bytes((*range(9), *range(0x0B, 0x20), 0x7F))
_TQDM = re.compile(r'(?P<before>.*?)(?P<percentage>\d{1,3})%\|[^|]*\|(?P<after>.*)', re.DOTALL)
_BAR = re.compile(r'\d ?%|\[\d\d:\d\d')
_PERCENTAGE = re.compile(r'(?<![\d.])(?P<percentage>\d{1,3}(?:\.\d+)?) ?%')


def visible(text: str) -> str:
    r"""Write control characters as escapes; line breaks and tabs stay.

    >>> print(visible('bell\x07'))
    bell\x07
    """
    if text.isascii() and len(text.encode('ascii').translate(None, _INVISIBLE_ASCII)) == len(text):
        return text  # nearly always, and 20 times as fast
    return text.translate(_escapes()) if _INVISIBLE.search(text) else text


@functools.cache
def _escapes() -> dict[int, str]:
    codes = (*_INVISIBLE_ASCII, *range(0x80, 0xA0), 0x2028, 0x2029, *range(0xD800, 0xE000))
    return {code: chr(code).encode('unicode_escape').decode('ascii') for code in codes}


def progress_of(line: str) -> tuple[float | None, str]:
    """The percentage, if any, and the text of a progress bar.

    >>> progress_of('train:  45%|####5     | 45/100 [00:04<00:05, 10.0it/s]')
    (45.0, 'train: 45/100 [00:04<00:05, 10.0it/s]')
    """
    bar = _TQDM.fullmatch(line)
    found = bar or _PERCENTAGE.search(line)
    percentage = float(found['percentage']) if found is not None else None
    words = f'{bar["before"].strip()} {bar["after"].strip()}'.strip() if bar is not None else line.strip()
    return (percentage if percentage is not None and percentage <= 100 else None), words[:300]


@dataclass(slots=True)
class _Row:
    text: str = ''
    rewritten: bool = False


class PrintedLines:
    """The lines of one stream of one task, with secrets masked."""

    def __init__(self, mask: Masker = NO_SECRETS) -> None:
        self._mask = mask
        self._rows = [_Row()]
        self._at = 0
        #: The next character starts the row afresh: '\\r' writes over it, '\\n' has just come to it.
        self._fresh = ''
        self._held = ''

    @property
    def rewritten(self) -> str:
        """The line that is being written over now, the outermost of nested bars; '' if none is."""
        bars = [row.text for row in self._rows[: self._at + 1] if row.rewritten and row.text.strip()]
        return next((bar for bar in bars if progress_of(bar)[0] != 100), bars[-1] if bars else '')

    def feed(self, text: str) -> list[str]:
        """Take in text; gives the lines that it finishes."""
        text, self._held = self._held + text, ''
        only = self._rows[0]
        moves = self._fresh or any(character in text for character in _MOVES_OR_HIDES)
        if len(self._rows) == 1 and not only.rewritten and not moves:
            *lines, only.text = f'{only.text}{visible(text)}'.split('\n')
            return [*self._given(lines), *self._cut(only)]
        unfinished = _UNFINISHED_ESCAPE.search(text)
        if unfinished is not None:
            text, self._held = text[: unfinished.start()], unfinished[0]
        lines = []
        for token in _TOKEN.finditer(text):
            self._take(token, lines)
        return lines

    def ended(self) -> list[str]:
        """The finished bars: written over, then left with a line break, with nothing after it yet."""
        if self._at == 0 or self._at + 1 < len(self._rows) or self._rows[-1].text or self._held:
            return []
        return self._finished(self._at)

    def end(self) -> list[str]:
        """End unfinished lines; gives them."""
        lines = self._finished(len(self._rows))
        if lines and not lines[-1]:
            lines.pop()
        self._fresh = self._held = ''
        return lines

    def _take(self, token: re.Match[str], lines: list[str]) -> None:
        whole = token[0]
        if token['text'] is not None:
            self._write(whole, lines)
        elif whole == '\n':
            self._new_line(lines)
        elif whole == '\r':
            self._fresh = whole
        elif whole == '\b':
            row = self._rows[self._at]
            row.text, row.rewritten = row.text[:-1], True
        elif token['command'] is not None:
            self._obey(token['command'], int(token['number'] or 1))

    def _write(self, text: str, lines: list[str]) -> None:
        row = self._rows[self._at]
        if self._fresh:
            row.rewritten = self._fresh == '\r' and (row.text.strip() != '' or _BAR.search(text) is not None)
            row.text = self._fresh = ''
        row.text += visible(text)
        lines += self._cut(row)

    def _cut(self, row: _Row) -> list[str]:
        """Take full pieces off a row that is too long; what may be a part of a secret stays in it."""
        longest = LONGEST_LINE + self._mask.longest
        if len(row.text) <= longest:
            return []
        full, rest = [], self._mask(row.text)
        while len(rest) > longest:
            full.append(rest[:LONGEST_LINE])
            rest = rest[LONGEST_LINE:]
        row.text = rest
        return full

    def _new_line(self, lines: list[str]) -> None:
        self._fresh = ''
        if self._at + 1 < len(self._rows):
            self._at += 1
            self._fresh = '\n'
        elif not self._rows[self._at].rewritten:
            lines += self._finished(len(self._rows))
        else:
            # the cursor may come back to a bar: those of nested loops go up and down
            self._rows.append(_Row())
            self._at += 1
            if len(self._rows) > _MOST_PENDING_ROWS:
                lines += self._finished(1)

    def _obey(self, command: str, number: int) -> None:
        if command in 'AF':
            self._go_up(min(number, _MOST_PENDING_ROWS))
        elif command in 'BE':
            self._at = min(self._at + number, len(self._rows) - 1)
        elif command == 'K' and (number == 2 or self._fresh):
            self._rows[self._at] = _Row('', True)
        elif command == 'J':
            del self._rows[self._at + 1 :]
        elif command == 'G':
            self._fresh = '\r'

    def _go_up(self, number: int) -> None:
        missing = max(number - self._at, 0)
        self._rows[:0] = [_Row('', True) for _ in range(missing)]
        self._at += missing - number

    def _finished(self, count: int) -> list[str]:
        """Remove the first rows; gives their lines, without bars that have been erased."""
        rows = self._rows[:count]
        self._rows[:count] = []
        self._rows = self._rows or [_Row()]
        self._at = max(self._at - count, 0)
        return self._given(
            [row.text.rstrip() if row.rewritten else row.text for row in rows if row.text.strip() or not row.rewritten]
        )

    def _given(self, lines: list[str]) -> list[str]:
        """Finished lines as they are given: masked, and in pieces where they are too long."""
        if self._mask:
            lines = [self._mask(line) for line in lines]
        if all(len(line) <= LONGEST_LINE for line in lines):
            return lines
        return [piece for line in lines for piece in _pieces(line)]


def _pieces(line: str) -> list[str]:
    return [line[start : start + LONGEST_LINE] for start in range(0, len(line), LONGEST_LINE)] or [line]
