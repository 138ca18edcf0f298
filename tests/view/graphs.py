"""Plans and reports to be drawn, made of plain luigi tasks."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

import luigi

from kartnb.execution.report import BuildReport, TaskFailure
from kartnb.model import Node, Plan, Reason, ReasonKind, TaskState

MISSING = Reason(ReasonKind.OUTPUT_MISSING, './resources/x.pkl')


class Load(luigi.Task):
    pass


class Train(luigi.Task):
    alpha = luigi.FloatParameter(0.1)
    depth = luigi.IntParameter(3)
    token = luigi.Parameter('s3cret', visibility=luigi.parameter.ParameterVisibility.PRIVATE)


class Evaluate(luigi.Task):
    metric = luigi.Parameter('rmse')


class Free(luigi.Task):
    text = luigi.Parameter()


FAMILIES = [type(f'Stage{i}', (luigi.Task,), {'n': luigi.IntParameter()}) for i in range(400)]


def node(
    task: luigi.Task,
    state: TaskState = TaskState.MISSING,
    requires: Sequence[int] = (),
    reason: Reason | None = None,
    name: str | None = None,
    outputs: Sequence[str] | None = None,
) -> Node:
    name = name or type(task).__name__
    unique_id = hashlib.md5(f'{task.task_id}{name}'.encode('utf-8', 'replace')).hexdigest()
    key = f'{name}_{unique_id}'
    paths = (f'./resources/m/{key}.pkl',) if outputs is None else tuple(outputs)
    return Node(task, key, name, unique_id, state, reason, tuple(requires), paths)


def pipeline() -> Plan:
    """Six tasks, among them three of one class with two parameters that tell them apart."""
    stale = Reason(ReasonKind.CODE_CHANGED, 'Load.run')
    return Plan(
        (
            node(Load(), TaskState.STALE, (), stale),
            node(Train(), TaskState.MISSING, [0], MISSING),
            node(Train(alpha=0.5), TaskState.MISSING, [0], MISSING),
            node(Train(alpha=0.5, depth=9), TaskState.CACHED, [0]),
            node(Evaluate(), TaskState.MISSING, [1, 2, 3, 0], Reason(ReasonKind.UPSTREAM_RUNS, 'Load')),
        ),
        '/home/me/project/resources',
    )


def generated(size: int, families: int = 12, reach: int = 30, seed: int = 0, most: int = 3) -> Plan:
    """A random plan of so many tasks, each requiring up to `most` of the `reach` before it."""
    chance = random.Random(seed)
    nodes = []
    for i in range(size):
        requires = sorted({chance.randrange(max(0, i - reach), i) for _ in range(chance.randint(1, most))}) if i else []
        state = chance.choice(list(TaskState))
        task = FAMILIES[i * families // size](n=i)
        nodes.append(node(task, state, requires, MISSING if state is TaskState.MISSING else None))
    return Plan(tuple(nodes), '/w')


def chain(size: int) -> Plan:
    """So many tasks of one class, each requiring the one before."""
    return Plan(tuple(node(FAMILIES[0](n=i), requires=[i - 1] if i else []) for i in range(size)), '/w')


def sweep(size: int) -> Plan:
    """One task, so many of one class that require it, and one that requires these."""
    trained = [node(Train(alpha=i / 10), (TaskState.CACHED, TaskState.MISSING)[i % 2], [0]) for i in range(size)]
    return Plan((node(Load()), *trained, node(Evaluate(), requires=range(1, size + 1))), '/w')


def raised(error: BaseException) -> BaseException:
    """The error with a traceback."""
    try:
        raise error
    except BaseException as caught:
        return caught


def report(plan: Plan | None = None, error: BaseException | None = None, failed: int = 2) -> BuildReport:
    """A build of a plan in which one task failed, or none."""
    plan = plan or pipeline()
    states = {n.key: TaskState.DONE if n.will_run else n.state for n in plan}
    failures: tuple[TaskFailure, ...] = ()
    if error is not None:
        n = plan.nodes[failed]
        states |= {n.key: TaskState.FAILED, plan.root.key: TaskState.BLOCKED}
        failures = (TaskFailure(n.key, n.name, n.unique_id, (('alpha', '0.5'),), raised(error), 'train.py:42 in run'),)
    durations = {n.key: 0.3 * (i + 1) for i, n in enumerate(plan) if states[n.key] is TaskState.DONE}
    return BuildReport('b1', plan.with_states(states), 12.3, durations, failures)
