"""The tree and the table of tasks, as far as gokart cannot draw them; tests/interop compares those that it can."""

from __future__ import annotations

import io
import logging
import pickle
from pathlib import Path
from typing import Any

import luigi
import pandas as pd
import pytest
from luigi.parameter import ParameterVisibility

import kartnb
from kartnb.config import TaskDumpConfig, TaskDumpMode, TaskDumpOutputType
from kartnb.planning.task_info import (
    dump_task_info_tree,
    format_tree,
    make_task_info_as_table,
    make_task_info_tree,
    process_task_info,
)
from kartnb.storage.targets import make_target
from tests.planning.notebook import Notebook, forget_classes


class Link(kartnb.TaskOnKart):
    n = luigi.IntParameter()
    width = luigi.IntParameter(default=1)

    def requires(self) -> Any:
        return [Link(n=self.n - 1, width=self.width) for _ in range(self.width)] if self.n else []

    def run(self) -> None:
        self.dump(self.n)


class Plain(luigi.Task):
    where = luigi.Parameter(default='here')
    password = luigi.Parameter(default='hunter2', visibility=ParameterVisibility.HIDDEN)

    def output(self) -> Any:
        return luigi.LocalTarget('plain.txt')


class Secretive(kartnb.TaskOnKart):
    token = luigi.Parameter(visibility=ParameterVisibility.PRIVATE)
    hidden = luigi.Parameter(default='swordfish', visibility=ParameterVisibility.HIDDEN)
    open = luigi.Parameter(default='seen')

    def requires(self) -> Any:
        return {'plain': [Plain()], 'none': None}

    def run(self) -> None:
        self.task_log['asked'] = f'GET ?token={self.token}'
        self.dump(1)


def test_a_diamond_is_written_once_for_each_requirement_of_each_task() -> None:
    tree = kartnb.make_tree_info(Link(n=30, width=2))
    assert tree.count('Link[') == 1 + 2 * 30
    assert tree.count('- ...') == 30
    assert len(make_task_info_as_table(Link(n=30, width=2))) == 31


def test_a_chain_of_thousands_needs_no_recursion() -> None:
    info = make_task_info_tree(Link(n=5000))
    assert format_tree(info, '', True, False, True, set()).count('\n') == 5001
    dump_task_info_tree(Link(n=5000), 'deep.pkl', use_unique_id=False)
    loaded = make_target('deep.pkl').load()
    assert len(loaded.upstream_first()) == 5001
    assert loaded.upstream_first()[0] == info.upstream_first()[0]


def test_a_tree_with_shared_tasks_is_pickled_with_each_once() -> None:
    dump_task_info_tree(Link(n=30, width=2), 'diamond.pkl', use_unique_id=False)
    loaded = make_target('diamond.pkl').load()
    assert len(loaded.upstream_first()) == 31
    left, right = loaded.children_task_infos
    assert left is right
    assert repr(loaded).count('TaskInfo') == 1


def test_secrets_and_plain_tasks_of_luigi() -> None:
    task = Secretive(token='correct horse')
    Path('plain.txt').touch()
    kartnb.build(task, return_value=False)
    tree = kartnb.make_tree_info(task, details=True)
    assert "(parameter={'open': 'seen'}" in tree
    assert "'asked': 'GET ?token=••••••'" in tree
    assert tree.endswith(
        "   └─-(COMPLETE) Plain[Plain_here_b35e2c3690](parameter={'where': 'here'}, "
        "output=['plain.txt'], time=unknown, task_log={})"
    )
    table = make_task_info_as_table(task)
    assert table['requires'][0] == {'plain': [('Plain', 'Plain_here_b35e2c3690')], 'none': []}
    for secret in ('correct horse', 'swordfish', 'hunter2'):
        assert secret not in tree
        assert secret not in table.to_csv()


def test_drawing_deletes_nothing_and_says_what_the_plan_says() -> None:
    kartnb.build(Link(n=2))
    task = Link(n=2, rerun=True)
    for _ in range(2):
        assert '(PENDING) Link' in kartnb.make_tree_info(task)
    assert len(list(Path('resources').rglob('Link_*.pkl'))) >= 3
    assert kartnb.build(Link(n=2)) == 2
    assert [(row.name, row.is_complete) for row in make_task_info_as_table(Link(n=2)).itertuples(index=False)] == [
        ('Link', 'COMPLETE')
    ] * 3


def test_a_task_without_outputs_is_pending_in_the_tree() -> None:
    class Effect(kartnb.TaskOnKart):
        def output(self) -> Any:
            return []

        def run(self) -> None:
            pass

    kartnb.build(Effect(), return_value=False)
    assert '(PENDING) Effect[' in kartnb.make_tree_info(Effect())


def test_a_task_whose_code_has_changed_is_pending_in_the_tree() -> None:
    notebook = Notebook()
    cell = 'class Changing(kartnb.TaskOnKart):\n    def run(self):\n        self.dump({})\n'
    try:
        notebook.run(cell.format(1))
        kartnb.build(notebook['Changing']())
        assert '(COMPLETE) Changing[' in kartnb.make_tree_info(notebook['Changing']())
        notebook.run(cell.format(2))
        assert '(PENDING) Changing[' in kartnb.make_tree_info(notebook['Changing']())
    finally:
        forget_classes()


def test_a_cycle_is_named() -> None:
    class Cycle(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return self

    with pytest.raises(kartnb.CyclicRequirementsError, match='Cycle requires itself'):
        kartnb.make_tree_info(Cycle())


def test_a_tree_is_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AssertionError, match=r"a file \*\.pkl, not 'tree.csv'"):
        dump_task_info_tree(Link(n=0), 'tree.csv')
    with pytest.raises(ValueError, match='Unsupported TaskDumpConfig: give a mode and an output_type'):
        process_task_info(Link(n=0), TaskDumpConfig(mode=TaskDumpMode.TREE))
    process_task_info(Link(n=0))
    assert capsys.readouterr().err == ''


def test_a_build_shows_its_tasks_once_and_leaves_the_logger_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger('gokart.build')
    before = (logger.level, [*logger.handlers])
    config = TaskDumpConfig(TaskDumpMode.TREE, TaskDumpOutputType.PRINT)
    kartnb.build(Link(n=0), task_dump_config=config)
    assert capsys.readouterr().err.count('(PENDING) Link') == 1
    assert (logger.level, logger.handlers) == before


def test_a_build_writes_the_table() -> None:
    kartnb.build(Link(n=1), task_dump_config=TaskDumpConfig(TaskDumpMode.TABLE, TaskDumpOutputType.DUMP))
    [file] = Path('resources/log/task_info').iterdir()
    table = make_target(str(file)).load()
    assert isinstance(table, pd.DataFrame)
    assert [*table['is_complete']] == ['PENDING', 'PENDING']
    assert b'kartnb' not in file.read_bytes()


def test_a_cache_of_what_is_known_is_used_and_filled() -> None:
    cache: dict[str, Any] = {}
    first = make_task_info_tree(Link(n=1), cache=cache)
    assert len(cache) == 2
    assert make_task_info_tree(Link(n=1), cache=cache) is first
    alone = make_task_info_tree(Link(n=1), ignore_task_names=['Link'])
    assert (alone.children_task_infos, len(alone.requires)) == ([], 1)


def test_what_pickle_itself_writes_of_a_task_can_be_read() -> None:
    info = make_task_info_tree(Link(n=1))
    assert pickle.load(io.BytesIO(pickle.dumps(info))) == info
