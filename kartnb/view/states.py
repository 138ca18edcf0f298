"""How a task state looks: glyph, word and colour, in one table.

Text shows glyph and word, HTML and pictures the colour too, so that no state is told by colour alone. Every colour has
a contrast of at least 4.5:1 on the surface that it is drawn on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kartnb.events import TaskState

#: What coloured text is drawn on, light and dark.
LIGHT_SURFACE = '#ffffff'
DARK_SURFACE = '#1d2329'


@dataclass(frozen=True, slots=True)
class Look:
    """How one state is shown: a glyph, a word, and a colour for light and for dark surfaces."""

    glyph: str
    word: str
    light: str
    dark: str

    @property
    def slug(self) -> str:
        """The word as the name of a CSS class."""
        return self.word.replace(' ', '-')

    def __str__(self) -> str:
        return f'{self.glyph} {self.word}'


LOOKS: Mapping[TaskState, Look] = {
    TaskState.CACHED: Look('●', 'cached', '#0f6f6a', '#4fc9bd'),
    TaskState.STALE: Look('◐', 'stale', '#8a5a00', '#e0b040'),
    TaskState.MISSING: Look('○', 'missing', '#5b4bc4', '#b3a7ff'),
    TaskState.NOT_NEEDED: Look('–', 'not needed', '#626b75', '#98a2ad'),
    TaskState.EXTERNAL: Look('◇', 'external', '#4f5f7a', '#a4b5d1'),
    TaskState.QUEUED: Look('…', 'queued', '#57606a', '#a9b4bf'),
    TaskState.WAITING: Look('‖', 'waiting', '#7a5c1e', '#d3b878'),
    TaskState.RUNNING: Look('►', 'running', '#0a5ec2', '#6cb6ff'),
    TaskState.DONE: Look('✓', 'done', '#1a7233', '#5fd079'),
    TaskState.FAILED: Look('✗', 'failed', '#c21c28', '#ff8a80'),
    TaskState.BLOCKED: Look('⊘', 'blocked', '#96420a', '#f0a070'),
    TaskState.INTERRUPTED: Look('■', 'interrupted', '#9a2f7f', '#f08fd4'),
}

#: A result that another one has replaced; no task is in this state.
SUPERSEDED = Look('↺', 'superseded', '#626b75', '#98a2ad')

#: The states that a person looks for first.
URGENCY: tuple[TaskState, ...] = (
    TaskState.FAILED,
    TaskState.INTERRUPTED,
    TaskState.RUNNING,
    TaskState.WAITING,
    TaskState.BLOCKED,
    TaskState.QUEUED,
    TaskState.STALE,
    TaskState.MISSING,
    TaskState.EXTERNAL,
    TaskState.DONE,
    TaskState.CACHED,
    TaskState.NOT_NEEDED,
)
_URGENCY_RANK = {state: rank for rank, state in enumerate(URGENCY)}

#: The segments of a bar from left to right: what has ended, what is going on, what is left.
BAR_ORDER: tuple[TaskState, ...] = (
    TaskState.DONE,
    TaskState.CACHED,
    TaskState.EXTERNAL,
    TaskState.FAILED,
    TaskState.INTERRUPTED,
    TaskState.BLOCKED,
    TaskState.RUNNING,
    TaskState.WAITING,
    TaskState.QUEUED,
    TaskState.STALE,
    TaskState.MISSING,
    TaskState.NOT_NEEDED,
)

#: One letter a state, for a text that tells the states of many tasks.
LETTERS: Mapping[TaskState, str] = {state: chr(ord('a') + i) for i, state in enumerate(TaskState)}


def look(state: TaskState) -> Look:
    """How a state is shown."""
    return LOOKS[state]


def urgency(state: TaskState) -> int:
    """The rank of a state among those that a person looks for first; 0 is the most urgent."""
    return _URGENCY_RANK[state]


def count_states(states: Iterable[TaskState]) -> dict[TaskState, int]:
    """How many there are of each state, the most urgent first, without the empty ones."""
    found = Counter(states)
    return {state: found[state] for state in URGENCY if found[state]}


def counts_text(counts: Mapping[TaskState, int]) -> str:
    """Counts per state in words, as in ``'✗ 1 failed, ● 2 cached'``."""
    return ', '.join(f'{LOOKS[state].glyph} {number:,} {LOOKS[state].word}' for state, number in counts.items())
