"""Every kind of change, in a kernel and after a restart: what is right, what runs, and what is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.changes.forks import Fork, Seen, Story, fork
from tests.changes.kinds import Kind, Outcome
from tests.changes.table import GROUPS, PAGE, page

#: Imported before the processes are forked, because the import takes long; in another order in each.
_LIBRARIES = ('pandas', 'sklearn.linear_model', 'sklearn.pipeline', 'pyarrow', 'pydantic', 'attrs')
#: How many kinds are looked at in one process.
_TOGETHER = 25
_KINDS = {f'{group}: {kind.title}': kind for group, kinds in GROUPS.items() for kind in kinds}


class Observations:
    """What is seen of each kind in each place; many are looked at in one process, because a process takes long."""

    def __init__(self, forks: tuple[Fork, Fork], directory: Path, wanted: list[tuple[Kind, str]]) -> None:
        self._forks = forks
        self._directory = directory
        self._wanted = wanted
        self._numbers = count()
        self._seen: dict[tuple[int, str], list[Seen]] = {}

    def of(self, kind: Kind, place: str) -> list[Seen]:
        """What is seen after the first version, the same again, the second, the same again, and the first again."""
        return self._look_up(kind, place, self._in_a_kernel if place == 'kernel' else self._after_restarts)

    def fresh(self, kind: Kind) -> Seen:
        """What the second version gives in a workspace of its own, without any earlier result."""
        return self._look_up(kind, 'fresh', self._alone)[0]

    def _look_up(self, kind: Kind, place: str, look: Callable[[list[Kind]], list[list[Seen]]]) -> list[Seen]:
        if (id(kind), place) not in self._seen:
            wanted = list({id(other): other for other, where in self._wanted if place in (where, 'fresh')}.values())
            together = [other for other in wanted[wanted.index(kind) :] if not other.alone]
            kinds = [kind] if kind.alone else together[:_TOGETHER]
            self._seen |= {(id(other), place): seen for other, seen in zip(kinds, look(kinds), strict=True)}
        return self._seen[id(kind), place]

    def _in_a_kernel(self, kinds: list[Kind]) -> list[list[Seen]]:
        pairs = zip(kinds, self._places(kinds), strict=True)
        return self._forks[0].tell([Story(where, kind.steps(edits=True)) for kind, where in pairs])

    def _after_restarts(self, kinds: list[Kind]) -> list[list[Seen]]:
        places = self._places(kinds)
        seen: list[list[Seen]] = [[] for _ in kinds]
        for i, steps in enumerate(zip(*(kind.steps(edits=False) for kind in kinds), strict=True)):
            stories = [Story(where, [step]) for where, step in zip(places, steps, strict=True)]
            for all_of_kind, found in zip(seen, self._forks[i % 2].tell(stories), strict=True):
                all_of_kind += found
        return seen

    def _alone(self, kinds: list[Kind]) -> list[list[Seen]]:
        pairs = zip(kinds, self._places(kinds), strict=True)
        return self._forks[1].tell([Story(where, [kind.step(kind.after, edits=False)]) for kind, where in pairs])

    def _places(self, kinds: list[Kind]) -> list[Path]:
        places = [self._directory / str(next(self._numbers)) for _ in kinds]
        for place in places:
            place.mkdir()
        return places


@pytest.fixture(scope='module')
def observations(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observations]:
    """Observations of the kinds whose tests are run, in processes with two hash seeds."""
    calls = [
        item.callspec.params
        for item in request.session.items
        if item.path == request.path and hasattr(item, 'callspec')
    ]
    wanted = [(params['kind'], params['place']) for params in calls]
    place = tmp_path_factory.mktemp('changes')
    with fork(1, ['numpy', *_LIBRARIES], place) as one, fork(2, [*_LIBRARIES[::-1], 'numpy'], place) as other:
        yield Observations((one, other), place, wanted)


def _parameters() -> Iterator[Any]:
    for name, kind in _KINDS.items():
        for place in kind.places:
            yield pytest.param(kind, place, id=f'{name}, {place}')


@pytest.mark.parametrize('kind, place', [*_parameters()])
def test_change(kind: Kind, place: str, observations: Observations) -> None:
    seen, fresh = observations.of(kind, place), observations.fresh(kind)
    for one in (*seen, fresh):
        assert not one.error, one.error
    first, same, changed, settled, back = seen
    old, new = map(repr, kind.values)
    assert (first.value, fresh.value) == (old, new), 'these are the values without an earlier result'
    assert (same.value, same.ran) == (old, ()), f'nothing has changed: {same.reason}'
    _CHECKS[kind.outcome](kind, same, changed)
    assert kind.says in changed.told
    assert (settled.value, settled.ran) == (changed.value, ()), f'nothing has changed since: {settled.reason}'
    assert back.value == (old if kind.comes_back else changed.value)
    assert (back.ran == ()) == kind.returns, 'the first version has come back'


def _is_noticed(kind: Kind, same: Seen, changed: Seen) -> None:
    _is_sure(same)
    assert (changed.value, sorted(changed.ran)) == (repr(kind.values[1]), sorted(kind.runs)), changed.plan
    assert kind.because in changed.reason
    assert kind.because in changed.why
    assert kind.because in changed.card


def _is_cached(kind: Kind, same: Seen, changed: Seen) -> None:
    _is_sure(same)
    _is_sure(changed)
    assert kind.values[0] == kind.values[1]
    assert (changed.value, sorted(changed.ran)) == (repr(kind.values[1]), sorted(kind.runs)), changed.plan


def _is_unknown(kind: Kind, same: Seen, changed: Seen) -> None:
    assert (changed.value, sorted(changed.ran)) == (repr(kind.values[0]), sorted(kind.runs)), changed.plan
    for text in (changed.plan, changed.why, changed.card, changed.told):
        assert 'cannot tell' in text


def _is_kept(kind: Kind, same: Seen, changed: Seen) -> None:
    _is_sure(same)
    assert (changed.value, changed.ran) == (repr(kind.values[0]), ()), changed.plan
    for text in (changed.plan, changed.why, changed.card):
        assert kind.because in text


def _is_unseen(kind: Kind, same: Seen, changed: Seen) -> None:
    assert (changed.value, sorted(changed.ran)) == (repr(kind.values[0]), sorted(kind.runs)), changed.plan


def _is_sure(seen: Seen) -> None:
    assert 'cannot tell' not in seen.plan + seen.why + seen.told


_CHECKS: dict[Outcome, Callable[[Kind, Seen, Seen], None]] = {
    Outcome.NOTICED: _is_noticed,
    Outcome.CACHED: _is_cached,
    Outcome.UNKNOWN: _is_unknown,
    Outcome.KEPT: _is_kept,
    Outcome.UNSEEN: _is_unseen,
}


def test_the_documentation_has_every_kind() -> None:
    assert PAGE.read_text(encoding='utf-8') == page(), 'write it anew: python -m tests.changes.table'
    titles = [kind.title for kinds in GROUPS.values() for kind in kinds]
    assert len(_KINDS) == len(titles), 'two kinds of a group have one title'
