"""Plans and builds as text."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kartnb.model import BuildProgress, Plan, TaskState
from kartnb.view.sanitise import columns_of
from kartnb.view.text import MAX_LINES, table_lines
from kartnb.view.words import memory_text
from tests.machine import cost
from tests.view.graphs import FAMILIES, Load, chain, generated, node, pipeline, raised, report
from tests.view.hostile import TEXTS


def _ids(plan: Plan) -> list[str]:
    return [n.unique_id[:8] for n in plan]


def test_a_plan_is_a_tree_from_the_root() -> None:
    plan = pipeline()
    load, first, second, third, root = _ids(plan)
    assert repr(plan).split('\n') == [
        f'Plan of Evaluate[{root}]: 4 will run',
        '5 tasks: ◐ 1 stale, ○ 3 missing, ● 1 cached',
        'workspace: /home/me/project/resources',
        f'○ missing Evaluate[{root}](metric=rmse) · an upstream task will run: Load',
        f'├─ ○ missing Train[{first}](alpha=0.1, depth=3) · output missing: ./resources/x.pkl',
        f'│  └─ ◐ stale Load[{load}]() · code changed: Load.run',
        f'├─ ○ missing Train[{second}](alpha=0.5, depth=3) · output missing: ./resources/x.pkl',
        f'│  └─ ◐ stale Load[{load}]() · code changed: Load.run',
        f'├─ ● cached Train[{third}](alpha=0.5, depth=9)',
        f'│  └─ ◐ stale Load[{load}]() · code changed: Load.run',
        f'└─ ◐ stale Load[{load}]() · code changed: Load.run',
    ]


def test_what_a_task_requires_is_listed_once() -> None:
    plan = Plan(
        (node(Load()), node(FAMILIES[0](n=0), requires=[0]), *(node(FAMILIES[1](n=i), requires=[1]) for i in range(2)),
         node(FAMILIES[2](n=0), requires=[2, 3])), '/w'
    )  # fmt: skip
    lines = repr(plan).split('\n')[3:]
    assert sum('Load[' in line for line in lines) == 1
    assert sum(line.endswith('…') for line in lines) == 1


def test_a_chain_of_ten_thousand_is_told_without_recursion() -> None:
    plan = chain(10_000)
    assert cost(lambda: repr(plan)) < 10
    lines = repr(plan).split('\n')
    assert len(lines) == 3 + MAX_LINES + 1
    assert lines[-1] == f'… {10_000 - MAX_LINES:,} more'
    assert max(map(len, lines)) < 250


def test_a_large_plan_is_cut() -> None:
    lines = repr(generated(3000)).split('\n')
    assert len(lines) == 3 + MAX_LINES + 1
    assert lines[-1].endswith(' more')


def test_a_plan_of_one_task() -> None:
    plan = Plan((node(Load()),), '/w')
    assert repr(plan).split('\n')[:2] == [
        f'Plan of Load[{_ids(plan)[0]}]: nothing will run',
        '1 task: ○ 1 missing',
    ]


def test_a_failed_build_names_the_task_and_the_line() -> None:
    text = repr(report(error=ValueError('not a number\nin row 3')))
    ids = _ids(pipeline())
    failed = pipeline().nodes[2]
    assert text.split('\n') == [
        f'✗ Build of Evaluate[{ids[4]}] failed in 12 s',
        '5 tasks: ✗ 1 failed, ⊘ 1 blocked, ✓ 2 done, ● 1 cached',
        'workspace: /home/me/project/resources',
        '',
        '✗ Train(alpha=0.5)',
        f'  id {failed.unique_id}',
        '  at train.py:42 in run',
        '  ValueError: not a number',
        '  in row 3',
        '',
        f'slowest: Train[{ids[1]}] 0.60 s, Load[{ids[0]}] 0.30 s',
    ]


def test_a_good_build_is_short() -> None:
    text = repr(report())
    assert text.startswith('✓ Build of Evaluate[')
    assert ' succeeded in 12 s\n' in text
    assert 'ValueError' not in text


def test_a_stopped_build_has_not_failed() -> None:
    whole = report()
    states = {node.key: node.state for node in whole.planned}
    last = whole.planned.root.key
    stopped = replace(whole, planned=whole.planned.with_states(states | {last: TaskState.INTERRUPTED}))
    assert repr(stopped).startswith('■ Build of Evaluate[')
    assert ' was stopped after 12 s\n' in repr(stopped)
    assert 'kartnb-state kartnb-interrupted">■ Build of' in stopped._repr_html_()
    assert str(BuildProgress(5, 2, (), {TaskState.INTERRUPTED: 1, TaskState.DONE: 1})) == '1/5'


def test_little_memory_is_not_told_to_the_byte() -> None:
    assert [memory_text(added) for added in (None, 0, 131_072, 20_900_000)] == [
        '',
        'under 1 MB',
        'under 1 MB',
        '20.9 MB',
    ]


def test_an_endless_exception_text_is_cut() -> None:
    text = repr(report(error=raised(ValueError('x\n' * 100_000))))
    assert len(text) < 6000
    assert 'more lines' in text


@pytest.mark.parametrize(
    'text, columns',
    [
        ('abc', 3),
        ('日本', 4),
        ('ｶﾅ', 2),  # half-width katakana
        ('Ａ', 2),  # a full-width letter
        ('e\u0301', 1),
        ('か\u3099', 2),  # a kana with its voiced mark apart
        ('\u1112\u1161\u11ab', 2),  # one Hangul syllable of three letters
        ('🙂', 2),
        ('❤\ufe0f', 1),
    ],
)
def test_columns_on_a_terminal(text: str, columns: int) -> None:
    assert columns_of(text) == columns


def test_tables_of_wide_characters_line_up() -> None:
    rows = [['東京', '1', 'x'], ['e\u0301', '1,000', 'y'], ['🙂 ok', '-2', 'z']]
    assert list(table_lines(['都市名', '数', '種'], rows, ['str', 'int', ''], [False, True, False])) == [
        '都市名     数  種',
        'str       int',
        '東京        1  x',
        'e\u0301       1,000  y',
        '🙂 ok      -2  z',
    ]


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4))
def test_no_cell_leaves_its_column(rows: list[tuple[str, str]]) -> None:
    lines = list(table_lines(['name', 'text', 'end'], [(*row, '|') for row in rows], numeric=[False, True, False]))
    assert len(lines) == len(rows) + 1
    assert all(line.endswith('|') and '\x1b' not in line and '\n' not in line for line in lines[1:])
    assert len({columns_of(line) for line in lines[1:]}) == 1
