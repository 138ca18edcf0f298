"""The card of a cell."""

from __future__ import annotations

from kartnb.view.html import CardEntry, card_html, card_text
from tests.view.markup import Skeleton

ENTRIES = [
    CardEntry('Load', 'unchanged'),
    CardEntry('Train', 'changed', 'Fit the model.', ['depth=3', 'data'], ['Evaluate', 'Plot']),
    CardEntry('Plot', 'new', 'Draw <it>.'),
]


def test_the_card_as_text() -> None:
    assert card_text(ENTRIES).split('\n') == [
        '= unchanged Load()',
        '~ changed Train(depth=3, data): Fit the model.',
        '  makes stale: Evaluate, Plot',
        '+ new Plot(): Draw <it>.',
    ]


def test_both_forms_say_the_same() -> None:
    text = ' '.join(card_text(ENTRIES).replace(':', ' ').split())
    html = ' '.join(Skeleton(card_html(ENTRIES)).text.replace(':', ' ').split())
    assert html == text


def test_a_note_stands_below() -> None:
    assert card_text(ENTRIES, 'Saved as <b>').endswith('\nSaved as <b>')
    assert Skeleton(card_html(ENTRIES, 'Saved as <b>')).text.endswith(' Saved as <b>')


def test_an_empty_cell() -> None:
    assert card_text([]) == ''
    assert Skeleton(card_html([])).text == ''


def test_large_cells_are_cut() -> None:
    entries = [CardEntry(f'T{i}', 'changed', 'd' * 500, ['p' * 500] * 99, ['x'] * 99) for i in range(500)]
    text = card_text(entries)
    assert text.endswith('… 450 more')
    assert 'and 89 more' in text
    assert len(text) < 50 * 800
