"""The tree and the table of a task and all that it requires, as gokart writes them, from kartnb's plan."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

import luigi

from kartnb.config import TaskDumpConfig, TaskDumpMode, TaskDumpOutputType
from kartnb.errors import TaskSettingError, UnknownFormatError
from kartnb.model import TaskState
from kartnb.planning.graph import TaskGraph, Vertex
from kartnb.planning.planner import draw_up
from kartnb.planning.result_files import is_plain_file
from kartnb.planning.staleness import asks_for_more, is_complete, judges_by_outputs
from kartnb.storage.targets import make_target
from kartnb.storage.unpickling import RequiredTask, TaskInfo
from kartnb.task import held
from kartnb.task.base import TaskOnKart
from kartnb.task.identity import id_of
from kartnb.task.secrets import Masker, is_secret
from kartnb.task.values import flatten

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    'RequiredTask',
    'TaskInfo',
    'dump_task_info_table',
    'dump_task_info_tree',
    'format_tree',
    'logger',
    'make_task_info_as_table',
    'make_task_info_as_tree_str',
    'make_task_info_tree',
    'make_tree_info',
    'make_tree_info_table_list',
    'process_task_info',
    'show_task_info',
    'tree_info',
]

#: gokart's name, under which its users set levels and handlers.
logger = logging.getLogger('gokart.build')


def make_tree_info(
    task: luigi.Task,
    indent: str = '',
    last: bool = True,
    details: bool = False,
    abbr: bool = True,
    visited_tasks: set[str] | None = None,
    ignore_task_names: Collection[str] | None = None,
) -> str:
    r"""As `make_task_info_as_tree_str`; `indent`, `last` and `visited_tasks` have no effect, as in gokart.

    Examples
    --------
    >>> import kartnb, tempfile
    >>> class Example(kartnb.TaskOnKart):
    ...     pass
    >>> kartnb.make_tree_info(Example(workspace_directory=tempfile.mkdtemp()))
    '\n└─-(PENDING) Example[8441c59b5ce0113396d53509f19371fb]'
    """
    return make_task_info_as_tree_str(task, details, abbr, ignore_task_names)


def make_task_info_as_tree_str(
    task: luigi.Task, details: bool = False, abbr: bool = True, ignore_task_names: Collection[str] | None = None
) -> str:
    """Return a task and all that it requires as a tree, a line a task, as gokart writes it.

    Parameters
    ----------
    task
        The root.
    details
        Whether lines have parameters, outputs, time of the last run and task log too. Secret parameters are left out.
    abbr
        Whether what a task requires is written only where the task comes first.
    ignore_task_names
        Names of classes whose tasks, and all that these require, are left out.

    Returns
    -------
    str
        A task is COMPLETE where a build would use its result as it is, else PENDING.

    Raises
    ------
    kartnb.KartError
        When the tasks do not make a graph, as for `kartnb.plan`.

    Examples
    --------
    >>> import kartnb, tempfile
    >>> class Source(kartnb.TaskOnKart):
    ...     def run(self):
    ...         self.dump('text')
    >>> class Words(kartnb.TaskOnKart):
    ...     source = kartnb.TaskInstanceParameter()
    >>> source = Source(workspace_directory=tempfile.mkdtemp())
    >>> kartnb.build(source)
    'text'
    >>> print(kartnb.make_task_info_as_tree_str(Words(source=source)))
    <BLANKLINE>
    └─-(PENDING) Words[...]
       └─-(COMPLETE) Source[...]
    """
    tree = _Tree(task, ignore_task_names, with_logs=details).root()
    return format_tree(tree, '', last=True, details=details, abbr=abbr, visited_tasks=set())


def make_task_info_as_table(task: luigi.Task, ignore_task_names: Collection[str] | None = None) -> pd.DataFrame:
    """Return a task and all that it requires as a data frame, a row a task, as gokart makes it.

    Parameters
    ----------
    task
        The root, in the first row.
    ignore_task_names
        Names of classes whose tasks, and all that these require, are left out.

    Returns
    -------
    pandas.DataFrame
        With the columns name, unique_id, output_paths, params, processing_time, is_complete, task_log and requires.

    Examples
    --------
    >>> import kartnb, tempfile
    >>> class Example(kartnb.TaskOnKart):
    ...     pass
    >>> table = make_task_info_as_table(Example(workspace_directory=tempfile.mkdtemp()))
    >>> table.loc[0, ['name', 'is_complete', 'processing_time']].tolist()
    ['Example', 'PENDING', 'unknown']
    """
    import pandas as pd

    return pd.DataFrame(make_tree_info_table_list(make_task_info_tree(task, ignore_task_names), set()))


def dump_task_info_table(
    task: luigi.Task, task_info_dump_path: str, ignore_task_names: Collection[str] | None = None
) -> None:
    """Write the table of `make_task_info_as_table` to a file, whose name gets the unique id of the task.

    Parameters
    ----------
    task, ignore_task_names
        As for `make_task_info_as_table`.
    task_info_dump_path
        A path or a URL; its extension, such as ``.csv`` or ``.pkl``, chooses the format.
    """
    target = make_target(task_info_dump_path, unique_id=id_of(task))
    target.dump(make_task_info_as_table(task, ignore_task_names), lock_at_dump=False)


def dump_task_info_tree(
    task: luigi.Task,
    task_info_dump_path: str,
    ignore_task_names: Collection[str] | None = None,
    use_unique_id: bool = True,
) -> None:
    """Pickle what `make_task_info_tree` gives, so that gokart can load it too.

    Parameters
    ----------
    task, ignore_task_names
        As for `make_task_info_tree`.
    task_info_dump_path
        A path or a URL that ends in ``.pkl``.
    use_unique_id
        Whether the name of the file gets the unique id of the task.

    Raises
    ------
    AssertionError
        When the path does not end in ``.pkl``.
    """
    extension = os.path.splitext(task_info_dump_path)[1]
    if extension != '.pkl':
        raise UnknownFormatError(f'A tree of tasks is kept in a file *.pkl, not {task_info_dump_path!r:.200}.')
    target = make_target(task_info_dump_path, unique_id=id_of(task) if use_unique_id else None)
    target.dump(make_task_info_tree(task, ignore_task_names), lock_at_dump=False)


def make_task_info_tree(
    task: luigi.Task,
    ignore_task_names: Collection[str] | None = None,
    cache: dict[str, TaskInfo] | None = None,
) -> TaskInfo:
    """Return what is known of a task and of all that it requires, each task once.

    Parameters
    ----------
    task
        The root.
    ignore_task_names
        Names of classes whose tasks, and all that these require, are left out.
    cache
        What is known already, by name, unique id and whether the task is complete; what is new is added.

    Returns
    -------
    TaskInfo
        That of the root; those of what it requires are in its ``children_task_infos``.
    """
    return _Tree(task, ignore_task_names, cache={} if cache is None else cache).root()


def format_tree(
    task_info: TaskInfo, indent: str, last: bool, details: bool, abbr: bool, visited_tasks: set[str]
) -> str:
    """Return a tree of tasks as text: gokart's ``make_tree_info`` of a `TaskInfo`.

    With `abbr`, what is below tasks in `visited_tasks` is not written; those that are written are added.
    """
    parts = []
    stack = [(task_info, indent, last)]
    while stack:
        info, indent, last = stack.pop()
        parts += ['\n', indent, '└─-' if last else '|--', info.get_task_title()]
        indent += '   ' if last else '|  '
        task_id = info.get_task_id()
        if abbr and task_id in visited_tasks:
            parts.append(f'\n{indent}└─- ...')
            continue
        if abbr:
            visited_tasks.add(task_id)
        if details:
            parts.append(info.get_task_detail())
        children = [(child, indent, False) for child in info.children_task_infos]
        if children:
            children[-1] = (*children[-1][:2], True)
        stack.extend(reversed(children))
    return ''.join(parts)


def make_tree_info_table_list(task_info: TaskInfo, visited_tasks: set[str]) -> list[dict[str, Any]]:
    """Return the rows of a table of tasks, without those in `visited_tasks`, to which they are added."""
    rows = []
    stack = [task_info]
    while stack:
        info = stack.pop()
        task_id = info.get_task_id()
        if task_id not in visited_tasks:
            visited_tasks.add(task_id)
            rows.append(info.task_info_dict())
            stack.extend(reversed(info.children_task_infos))
    return rows


def process_task_info(task: luigi.Task, task_dump_config: TaskDumpConfig | None = None) -> None:
    """Log the tree or the table of a task, or write it to ``log/task_info/`` of the default workspace.

    Parameters
    ----------
    task
        The root.
    task_dump_config
        Which, and where to; nothing by default.

    Raises
    ------
    ValueError
        When only one of `mode` and `output_type` is given.
    """
    config = TaskDumpConfig() if task_dump_config is None else task_dump_config
    nothing = (config.mode is TaskDumpMode.NONE, config.output_type is TaskDumpOutputType.NONE)
    if all(nothing):
        return
    if any(nothing):
        raise TaskSettingError(
            f'Unsupported TaskDumpConfig: give a mode and an output_type, not {config.mode} and {config.output_type}.'
        )
    is_tree = config.mode is TaskDumpMode.TREE
    found = make_tree_info(task) if is_tree else make_task_info_as_table(task)
    if config.output_type is TaskDumpOutputType.PRINT:
        logger.info('%s', found if isinstance(found, str) else _tab_separated(found))
    else:
        path = f'log/task_info/{type(task).__name__}.{"txt" if is_tree else "pkl"}'
        TaskOnKart[Any]().make_target(path).dump(found)


def show_task_info(task: luigi.Task, task_dump_config: TaskDumpConfig | None) -> None:
    """As `process_task_info`; what is logged is on standard error too, whatever the level of the logger."""
    if task_dump_config is None:
        return
    handler, level = logging.StreamHandler(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        process_task_info(task, task_dump_config)
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


def _tab_separated(table: pd.DataFrame) -> str:
    text = io.StringIO()
    table.to_csv(text, index=False, sep='\t')
    return text.getvalue()


class tree_info(TaskOnKart[Any]):  # noqa: N801 - gokart's name
    """The options ``--tree-info-mode`` and ``--tree-info-output-path`` of the command line, and the file they mean."""

    # gokart's own class has the name too; kartnb's command line adds the options by itself
    _visible_in_registry = False

    mode: luigi.Parameter[str] = luigi.Parameter(default='', description='simple, or all with details of the tasks')
    output_path: luigi.Parameter[str] = luigi.Parameter(default='tree.txt', description='where the tree is written')

    def output(self) -> Any:
        """The file of the tree."""
        return self.make_target(self.output_path, use_unique_id=False)


class _Tree:
    """Makes the `TaskInfo`s of a plan."""

    def __init__(
        self,
        task: luigi.Task,
        ignored: Collection[str] | None,
        with_logs: bool = True,
        cache: dict[str, TaskInfo] | None = None,
    ) -> None:
        self._graph: TaskGraph
        self._graph, _ = draw_up(task)
        self._root = self._graph.vertex_of(task)
        self._ignored = frozenset(ignored or ())
        self._with_logs = with_logs
        self._cache = {} if cache is None else cache
        self._mask = Masker.of_build(vertex.task for vertex in self._graph.vertices.values())
        self._by_id = {(vertex.name, vertex.unique_id): vertex for vertex in self._graph.vertices.values()}

    def root(self) -> TaskInfo:
        """What is known of the root, with all below it."""
        required, children = self._walk()
        infos: dict[str, TaskInfo] = {}
        for key, vertex in self._graph.vertices.items():  # upstream first
            if key in children:
                below = [infos[child.key] for child in children[key]]
                infos[key] = self._info(vertex, required[key], below)
        return infos[self._root.key]

    def _walk(self) -> tuple[dict[str, Any], dict[str, list[Vertex]]]:
        """What each task requires, nested as it gives it, and its vertices; without what is ignored."""
        required: dict[str, Any] = {}
        children: dict[str, list[Vertex]] = {}
        pending = [self._root]
        while pending:
            vertex = pending.pop()
            if vertex.key in children:
                continue
            required[vertex.key], found = self._requirements(vertex)
            children[vertex.key] = [other for other in found if other.name not in self._ignored]
            pending += children[vertex.key]
        return required, children

    def _requirements(self, vertex: Vertex) -> tuple[Any, list[Vertex]]:
        declared = vertex.requires[: vertex.declared]
        if isinstance(vertex.task, TaskOnKart):
            # asked again: the plan knows neither the nesting nor how often a task is in it
            given = held.today_nested(vertex.task.requires())
            given = given if isinstance(given, dict | luigi.Task) else list(given or ())
            found = [self._vertex_of(task) for task in flatten(given)]
            if None not in found:
                return required_info(given), [other for other in found if other is not None]
        return [RequiredTask(other.name, other.unique_id) for other in declared], declared

    def _vertex_of(self, task: luigi.Task) -> Vertex | None:
        try:
            return self._graph.vertex_of(task)
        except KeyError:  # another instance than that of the plan
            return self._by_id.get((type(task).__name__, id_of(task)))

    def _info(self, vertex: Vertex, required: Any, children: list[TaskInfo]) -> TaskInfo:
        state = 'COMPLETE' if _is_complete(vertex) else 'PENDING'
        cache_key = f'{vertex.stem}_{state == "COMPLETE"}'
        if cache_key not in self._cache:
            seconds, log = self._logs(vertex.task)
            self._cache[cache_key] = TaskInfo(
                name=vertex.name,
                unique_id=vertex.unique_id,
                output_paths=[*vertex.paths],
                params=self._mask.value(_parameters(vertex.task)),
                processing_time=seconds,
                is_complete=state,
                task_log=self._mask.value(log),
                requires=required,
                children_task_infos=children,
            )
        return self._cache[cache_key]

    def _logs(self, task: luigi.Task) -> tuple[str, dict[str, Any]]:
        if not self._with_logs or not isinstance(task, TaskOnKart):
            return 'unknown', {}
        seconds = task.get_processing_time()
        return f'{seconds}s' if isinstance(seconds, float) else str(seconds), dict(task.get_task_log())


def required_info(requires: Any) -> Any:
    """Name and unique id of each required task, in the shape of `requires()`, with lists for tuples and generators.

    Raises TypeError where something else than a task is required.
    """
    if isinstance(requires, luigi.Task):
        return RequiredTask(type(requires).__name__, id_of(requires))
    if isinstance(requires, dict):
        return {key: required_info(item) for key, item in requires.items()}
    return [required_info(item) for item in (() if requires is None else requires)]


def _parameters(task: luigi.Task) -> dict[str, str]:
    if isinstance(task, TaskOnKart):
        return task.get_info(only_significant=True)
    values = task.param_kwargs
    return {
        name: parameter.serialize(values[name])
        for name, parameter in task.get_params()
        if parameter.significant and not is_secret(parameter)
    }


def _is_complete(vertex: Vertex) -> bool:
    """Whether a task counts as complete: for gokart, and in the plan; nothing is deleted by asking."""
    if vertex.broken is not None:
        raise vertex.broken
    state = vertex.verdict.state
    if vertex.verdict.reason is not None or vertex.rerun is not None:
        return False
    if not judges_by_outputs(vertex.task) or asks_for_more(vertex.task):
        return state is not TaskState.STALE and is_complete(vertex)
    if state is TaskState.NOT_NEEDED:  # of plain files the plan knows that one is missing
        return not _are_plain(vertex.outputs) and is_complete(vertex)
    return state in (TaskState.CACHED, TaskState.EXTERNAL)


def _are_plain(targets: Iterable[Any]) -> bool:
    return all(map(is_plain_file, targets))
