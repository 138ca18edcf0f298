"""The first and the last of many captured lines."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kartnb.storage.captured_logs import CapturedLine, Source

#: Characters of the first lines that are kept, and of the last ones.
KEPT_FIRST = 1_000_000
KEPT_LAST = 1_000_000
#: What a line costs beside its characters: its time, its stream.
_LINE_COST = 40


@dataclass(frozen=True, slots=True)
class _Block:
    """Lines that came together."""

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
        """Take in lines that came together."""
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
        """The lines, and in the middle how much was left out."""
        self._trim_last()
        first = [line for block in self._first for line in block.captured()]
        last = [line for block, _ in self._last for line in block.captured()]
        if self._left_out:
            words = f'{self._left_out:,} lines with {self._characters:,} characters are left out here'
            first.append(CapturedLine(last[0].time, 'left out', words))
        return first + last

    def _fill_first(self, block: _Block) -> _Block:
        """Put what has room to the first lines; gives the rest."""
        cost = block.cost
        if cost <= self._room_first:
            count = len(block.lines)
        else:
            count = _how_many(block.lines, self._room_first)
            cost = self._room_first  # there is none left, so that no later line comes before what follows
        self._room_first -= cost
        if count:
            self._first.append(block.part(block.lines[:count]))
        return block.part(block.lines[count:])

    def _trim_last(self) -> None:
        """Leave out lines of the oldest block that there is no room for."""
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
