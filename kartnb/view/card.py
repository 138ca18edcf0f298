"""The card that a `%%kart` cell shows: which task classes are new or changed, and what that makes stale."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from kartnb.view.clean import one_line

Status = Literal['new', 'changed', 'unchanged']
#: Glyph, and the state whose colour the status takes.
_LOOKS: dict[Status, tuple[str, str]] = {
    'new': ('+', 'done'),
    'changed': ('~', 'stale'),
    'unchanged': ('=', 'not-needed'),
}
_MAX_ENTRIES = 50
_MAX_STALE = 10


@dataclass(frozen=True, slots=True)
class CardEntry:
    """One task class of a cell.

    Attributes
    ----------
    name
        The class name.
    status
        Whether the session knew it before, and whether its code was the same.
    doc
        The first line of its docstring, or ''.
    parameters
        Its parameters as they are written, for instance ``('depth: int = 3', 'data')``.
    makes_stale
        What its change makes stale, by name.
    """

    name: str
    status: Status
    doc: str = ''
    parameters: Sequence[str] = ()
    makes_stale: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Line:
    glyph: str
    slug: str
    status: Status
    title: str
    doc: str
    stale: str


def card_text(entries: Iterable[CardEntry], note: str = '') -> str:
    """The card as text, one class a line, and a note below.

    Examples
    --------
    >>> print(card_text([CardEntry('Train', 'changed', 'Fit the model.', ['depth=3'], ['Evaluate'])]))
    ~ changed Train(depth=3): Fit the model.
      makes stale: Evaluate
    """
    shown, more = _lines(entries)
    found: list[str] = []
    for line in shown:
        found.append(f'{line.glyph} {line.status} {line.title}' + (f': {line.doc}' if line.doc else ''))
        if line.stale:
            found.append(f'  makes stale: {line.stale}')
    return '\n'.join([*found, *(line for line in (more, one_line(note, 400)) if line)])


def card_html(entries: Iterable[CardEntry], note: str = '') -> str:
    """The card as an HTML fragment."""
    from kartnb.view.html import render_template

    shown, more = _lines(entries)
    return render_template('card.html', lines=shown, more=more, note=one_line(note, 400))


def _lines(entries: Iterable[CardEntry]) -> tuple[list[_Line], str]:
    every = list(entries)
    left = len(every) - _MAX_ENTRIES
    return [_line(entry) for entry in every[:_MAX_ENTRIES]], f'… {left:,} more' if left > 0 else ''


def _line(entry: CardEntry) -> _Line:
    glyph, slug = _LOOKS[entry.status]
    parameters = one_line(', '.join(one_line(text, 60) for text in entry.parameters[:30]), 160)
    stale = ', '.join(one_line(name, 80) for name in entry.makes_stale[:_MAX_STALE])
    if len(entry.makes_stale) > _MAX_STALE:
        stale += f' and {len(entry.makes_stale) - _MAX_STALE:,} more'
    return _Line(
        glyph, slug, entry.status, f'{one_line(entry.name, 120)}({parameters})', one_line(entry.doc, 160), stale
    )
