"""What differs between two results: of the code and the parameters that made them, and of their values."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import luigi
import numpy as np
import pandas as pd
import polars as pl
import pytest

import kartnb
from kartnb.inspection.diff import Change, value_changes
from tests.view.markup import Skeleton


class Source(kartnb.TaskOnKart):
    n = luigi.IntParameter(1)

    def run(self) -> None:
        self.dump(list(range(self.n)))


class Model(kartnb.TaskOnKart):
    depth = luigi.IntParameter(3)
    n = luigi.IntParameter(3)

    def requires(self) -> Any:
        return Source(n=self.n)

    def run(self) -> None:
        self.dump(pd.DataFrame({'x': self.load(), 'y': float(self.depth), 'same': 'a'}))


def _built(*tasks: Any) -> None:
    for task in tasks:
        kartnb.build(task, return_value=False)


def test_only_what_differs_is_told_unless_all_is_asked_for() -> None:
    five, six = Model(depth=5), Model(depth=6)
    _built(five, six)
    found = kartnb.diff(five, six, values=True)
    assert found.differing == ('parameters', 'seed', 'value')
    assert [(c.name, c.before, c.after) for c in found['parameters'].changes] == [('depth', '5', '6')]
    changes = {change.name: (change.before, change.after) for change in found['value'].changes}
    assert changes['changed cells'] == ('', '3 of 9')
    assert changes['column y, mean'] == ('5', '6')
    assert 'shape' not in changes
    assert 'n: 3 (the same)' in repr(kartnb.diff(five, six, all=True, values=True))
    assert 'the same: task, code, versions, upstream results' in repr(found)


def test_results_are_named_by_ids_rows_and_records() -> None:
    _built(Model(depth=5), Model(depth=6))
    rows = kartnb.Workspace().runs('Model', sort='depth')
    expected = repr(kartnb.diff(Model(depth=5), Model(depth=6)))
    assert repr(kartnb.diff(rows[0], rows[1])) == expected
    assert repr(kartnb.diff(rows[0].unique_id, rows[1].result_id)) == expected
    assert repr(kartnb.diff(rows[0].record, rows[1].record)) == expected
    assert repr(kartnb.diff(rows[0].unique_id[:9], rows[1], workspace='./resources')) == expected


def test_an_upstream_result_that_is_another_one_is_told() -> None:
    _built(Model(n=3), Model(n=4))
    found = kartnb.diff(Model(n=3), Model(n=4))
    [change] = found['upstream results'].changes
    assert change.name == 'Source'
    assert change.before.startswith(Source(n=3).make_unique_id()[:8])
    assert (found['value'].differs, 'values=True' in found['value'].note) == (None, True)


def test_a_replaced_result_is_compared_with_the_one_that_is_there() -> None:
    def define(value: int) -> Any:
        names: dict[str, Any] = {'kartnb': kartnb, '__name__': 'cells'}
        source = f'class Answer(kartnb.TaskOnKart):\n    def run(self):\n        self.dump({value})\n'
        import linecache

        linecache.cache[f'<cell {value}>'] = (len(source), None, source.splitlines(True), f'<cell {value}>')
        exec(compile(source, f'<cell {value}>', 'exec'), names)
        return names['Answer']

    kartnb.build(define(41)())
    latest = define(42)
    kartnb.build(latest(), on_code_change='rerun')
    found = kartnb.diff(latest())
    assert found.before.state == 'superseded'
    assert found['value'].changes[0].after == '42 (+1)'
    assert found['code'].differs
    assert '+        self.dump(42)' in repr(found).replace('    +', '+') or '-' in repr(found)


def test_without_a_replaced_result_that_is_said() -> None:
    _built(Source(n=1))
    with pytest.raises(kartnb.HistoryError, match='No replaced result of Source'):
        kartnb.diff(Source(n=1))


def test_a_value_that_is_gone_does_not_hide_the_rest() -> None:
    _built(Model(depth=5), Model(depth=6))
    Path(Model(depth=5).output().path()).unlink()
    found = kartnb.diff(Model(depth=5), Model(depth=6))
    assert found['parameters'].differs
    assert 'it is missing' in found['value'].note
    Path(Model(depth=6).output().path()).write_bytes(b'no pickle')
    _built(Model(depth=5))
    assert 'cannot be loaded' in kartnb.diff(Model(depth=5), Model(depth=6), values=True)['value'].note


class Odd:
    def __eq__(self, other: object) -> bool:
        raise ValueError('no')

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    'before, after, equal, words',
    [
        (1, 1, True, ''),
        (1, 2.5, False, '(+1.5)'),
        (float('nan'), float('nan'), True, ''),
        (True, False, False, 'is not equal'),
        (1, 'a', False, 'int'),
        ('a\nb', 'a\nc', False, '+c'),
        (['a', 'b'], ['a', 'b', 'c'], False, '+c'),
        ({'a': 1, 'b': [1, 2]}, {'a': 1, 'b': [1, 3]}, False, '-  2'),
        ({'a': np.arange(3)}, {'a': np.arange(1, 4)}, False, 'a: changed elements'),
        ({'a': np.arange(3), 'b': 1}, {'a': np.arange(3)}, False, '(none)'),
        (b'ab', b'ac', False, 'is not equal'),
        (None, None, True, ''),
        (np.zeros((2, 3)), np.zeros((3, 2)), False, '3 × 2'),
        (np.array([1.0, np.nan]), np.array([1.0, np.nan]), True, ''),
        (np.array([3.0, 4.0]), np.array([3.0, 4.5]), False, 'norm of the difference'),
        (np.array(['a', 'b']), np.array(['a', 'c']), False, '1 of 2'),
        (np.zeros(0), np.zeros(0), True, ''),
        (pd.Series([1, 2], name='s'), pd.Series([1, 3], name='s'), False, 'column s'),
        (pl.DataFrame({'a': [1, 2]}), pl.DataFrame({'a': [1, 5]}), False, '1 of 2'),
        (pd.DataFrame(), pd.DataFrame(), True, ''),
        (pd.DataFrame({'a': [1]}), pd.DataFrame({'a': ['1']}), False, 'column a'),
        (pd.DataFrame({'a': [None, 1]}), pd.DataFrame({'a': [None, 1]}), True, ''),
        (pd.DataFrame({'a': [[1], [2]]}), pd.DataFrame({'a': [[1], [3]]}), False, '1 of 2'),
        (pd.DataFrame([[1, 2]], columns=['a', 'a']), pd.DataFrame([[1, 3]], columns=['a', 'a']), False, 'a (2)'),
        (pd.DataFrame({'a': [1, 2]}, index=['p', 'q']), pd.DataFrame({'a': [2, 1]}, index=['q', 'p']), False, 'order'),
        (pd.DataFrame({'a': [1, 2]}), pd.DataFrame({'a': [1, 2, 3]}), False, '1 only here'),
        (threading.Lock(), threading.Lock(), None, 'cannot be compared'),
        (Odd(), Odd(), None, 'cannot be compared'),
    ],
)  # fmt: skip
def test_values_are_compared_by_their_kind(before: Any, after: Any, equal: bool | None, words: str) -> None:
    found = value_changes(before, after)
    assert found.equal is equal
    told = ' '.join([*(f'{c.name}: {c.before} {c.after}' for c in found.changes), *found.diff])
    assert words in told


def test_large_values_are_compared_in_bounded_time_and_words() -> None:
    long = '\n'.join(map(str, range(300_000)))
    assert 'the first that differs is line 300,001' in value_changes(long, long + '\nx').diff[0]
    frame = pd.DataFrame(np.zeros((1_000, 300)))
    assert len(value_changes(frame, frame + 1).changes) < 400


def test_text_and_html_say_the_same_and_nothing_is_interpreted() -> None:
    evil = '<script>window.pwned=1</script>\x1b[2J'

    class Text(kartnb.TaskOnKart):
        text = luigi.Parameter()

        def run(self) -> None:
            self.dump(f'one\n{self.text}')

    one, other = Text(text=evil), Text(text='plain')
    _built(one, other)
    found = kartnb.diff(one, other)
    html, text = found._repr_html_(), repr(found)
    assert '<script' not in html
    assert '\x1b' not in html + text
    plain = Skeleton(html).text
    for line in text.split('\n'):
        assert ' '.join(line.replace(': differs', ' : differs').split()) in plain


def test_the_seeds_of_replaced_results_are_known_and_their_logs_come_back() -> None:
    class Seeded(kartnb.TaskOnKart[int]):
        def run(self) -> None:
            self.task_log['round'] = self.fix_random_seed_value
            self.dump(self.fix_random_seed_value)

    for seed in (1, 2):
        kartnb.build(Seeded(fix_random_seed_value=seed), rerun=True)
    assert kartnb.diff(Seeded())['seed'].changes == (Change('seed', '1', '2', True),)
    kartnb.restore_result(Seeded())
    assert kartnb.build(Seeded()) == 1
    assert Seeded().get_task_log() == {'round': 1, 'file_path': [Seeded().output().path()]}
    assert kartnb.diff(Seeded())['seed'].changes == (Change('seed', '2', '1', True),)
    kartnb.clean(remove=True)
    assert not list(Path('resources/log/superseded').iterdir())
