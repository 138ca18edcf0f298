"""Data frames in tests: equal whatever their order; and whether the tasks of a pipeline run on empty ones."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import luigi

from kartnb._luigi import command_line_in_use
from kartnb.config import BuildOptions
from kartnb.execution.build import run_build
from kartnb.execution.report import raise_failures
from kartnb.task.base import TaskOnKart
from kartnb.task.results import is_external, load_target
from kartnb.task.secrets import Masker
from kartnb.task.values import flatten, map_nested
from kartnb.testing.bench import Bench, HeldTarget

if TYPE_CHECKING:
    import pandas as pd


def assert_frame_contents_equal(actual: pd.DataFrame, expected: pd.DataFrame, **kwargs: Any) -> None:
    """Raise AssertionError unless two data frames have the same contents, in any order of rows and columns.

    Parameters
    ----------
    actual, expected
        The frames. The names of their columns, and those of their rows, must be unique.
    **kwargs
        What `pandas.testing.assert_frame_equal` takes, such as ``atol=1e-6``.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({'a': [1, 2], 'b': [3, 4]})
    >>> assert_frame_contents_equal(frame[['b', 'a']].iloc[::-1], frame)
    """
    import pandas as pd

    for name, frame in (('actual', actual), ('expected', expected)):
        assert isinstance(frame, pd.DataFrame), f'{name} is not a DataFrame but a {type(frame).__name__}'
        for axis in ('index', 'columns'):
            labels = getattr(frame, axis)
            assert labels.is_unique, f'{name} {axis} not unique: {sorted(set(labels[labels.duplicated()]), key=str)}'
    for axis in ('columns', 'index'):
        ours, theirs = set(getattr(actual, axis)), set(getattr(expected, axis))
        assert ours == theirs, f'{axis} differ: {sorted(ours ^ theirs, key=str)}'
    pd.testing.assert_frame_equal(actual, expected.loc[actual.index, actual.columns], **kwargs)


class test_run(TaskOnKart[Any]):  # noqa: N801 - gokart's name, which makes the options `--test-run-…`
    """The options of ``kartnb.run`` that let it try a pipeline on empty data frames."""

    # as for `TaskOnKart`: gokart, where it is imported too, lists a class of this name
    _visible_in_registry = False

    pandas: luigi.BoolParameter = luigi.BoolParameter(description='Run the tasks on empty data frames too.')
    namespace: luigi.OptionalStrParameter = luigi.OptionalStrParameter(
        default=None, description='Only tasks of this namespace; "__not_user_specified" are those that have none.'
    )


def try_to_run_test_for_empty_data_frame(cmdline_args: list[str]) -> None:
    """Build the task of a command line and run its tasks on empty data frames, if ``--test-run-pandas`` is among it.

    Raises
    ------
    SystemExit
        With 0 when all tasks ran, 1 when one failed; its error is in the report on standard error.
    GokartBuildError
        When the build itself failed.
    """
    with command_line_in_use(cmdline_args, test_run) as parser:
        options = test_run()
        if not options.pandas:
            return
        task = parser.get_task_obj()
        raise_failures(run_build(task, BuildOptions(value_wanted=False)))
        sys.exit(0 if runs_on_empty_frames(task, options.namespace) else 1)


def runs_on_empty_frames(task: luigi.Task, namespace: str | None = None) -> bool:
    """Whether a task, which has been built, and all that it requires run when each data frame is without rows.

    Each task runs on its real inputs with no row in any pandas or polars frame; what it dumps is not kept. Tasks that
    have no inputs are not run again. With a `namespace`, only tasks of that one are. The report, a line for each task,
    is written to standard error.
    """
    trials = list(_trials(task, namespace))
    mask = Masker.of_build(trial.task for trial in trials)
    sys.stderr.write(mask('\n'.join(['gokart test results:', *(trial.line for trial in trials), ''])))
    return not any(trial.error for trial in trials)


class _Trial(NamedTuple):
    """How a task ran on empty data frames."""

    task: TaskOnKart[Any]
    error: Exception | None

    @property
    def line(self) -> str:
        """gokart's line for it."""
        task, error = self.task, self.error
        text = f'status={"NG" if error else "OK"}; namespace={task.task_namespace}; name={type(task).__name__}; '
        text += f'id={task.make_unique_id()};'
        return f'{text} message={type(error)}: {", ".join(map(str, error.args))}' if error else text


def _trials(root: luigi.Task, namespace: str | None) -> list[_Trial]:
    trials = []
    pending, seen = [root], set()
    while pending:
        task = pending.pop()
        if task in seen:
            continue
        seen.add(task)
        asked = flatten(task.requires())
        if isinstance(task, TaskOnKart) and namespace in (None, task.task_namespace):
            bench = Bench(task, _without_rows)
            trials.append(_Trial(task, _error_in(bench) if _has_inputs(task, asked) else None))
            asked = bench.prepared or asked  # also those that it yields
        pending.extend(reversed(asked))
    return trials


def _has_inputs(task: luigi.Task, required: list[luigi.Task]) -> bool:
    """Whether a task runs on results of others: those that it requires, or yields."""
    run = type(task).run
    asks_later = inspect.isgeneratorfunction(run) or inspect.isasyncgenfunction(run)
    return not is_external(task) and (bool(required) or asks_later)


def _error_in(bench: Bench) -> Exception | None:
    try:
        with bench:
            bench.replace(dump=_keep_nothing)
            bench.run()
    except Exception as error:
        return error
    return None


def _keep_nothing(obj: Any, target: Any = None, custom_labels: Any = None) -> None:
    """The `dump` of a task whose result is not wanted."""


def _without_rows(task: luigi.Task) -> Any:
    """The outputs of a task, whose data frames are loaded without their rows."""
    outputs = task.output()
    if not isinstance(task, TaskOnKart):
        return outputs
    return map_nested(lambda target: HeldTarget(target, lambda: emptied(load_target(target))), outputs)


def emptied(value: Any) -> Any:
    """A value with no row in any data frame, pandas' or polars', also in lists and dicts.

    >>> import pandas as pd
    >>> emptied({'n': 1, 'frame': pd.DataFrame({'a': [1, 2]})})['frame'].dtypes.to_dict()
    {'a': dtype('int64')}
    """
    if type(value) is dict:
        return {name: emptied(item) for name, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(emptied, value))
    if not {'DataFrame', 'LazyFrame'} & {cls.__name__ for cls in type(value).__mro__}:
        return value
    return value.iloc[:0] if hasattr(value, 'iloc') else value.clear()
