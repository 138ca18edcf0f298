"""Counts how often kartnb and gokart agree, so that the tests can say it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from luigi.task_register import Register

from tests.interop.twins import Twins, outcome


class Tally:
    """How many compared ids, paths and texts are equal, and which are not."""

    def __init__(self) -> None:
        self.agreed: Counter[str] = Counter()
        self.differing: list[str] = []

    def compare(self, kind: str, what: object, twins: Twins, question: Callable[[Any], Any]) -> None:
        """Ask both tasks the same question and fail where the answers differ; errors of one type are one answer."""
        answers = twins.map(lambda task: outcome(lambda: question(task)))
        if answers.ours == answers.theirs:
            self.agreed[kind] += 1
            return
        self.differing.append(f'{kind} of {what}: kartnb {answers.ours!r}, gokart {answers.theirs!r}')
        raise AssertionError(self.differing[-1])

    def compare_task(self, what: object, twins: Twins) -> None:
        """Compare all that names the files of a task, and how it is shown."""
        self.compare('ids', what, twins, lambda task: task.make_unique_id())
        self.compare('paths', what, twins, lambda task: task.output().path())
        self.compare('parameter texts', what, twins, lambda task: task.to_str_params(only_significant=True))
        self.compare('representations', what, twins, str)

    def __str__(self) -> str:
        counts = ', '.join(f'{count} {kind}' for kind, count in self.agreed.items())
        return f'kartnb and gokart agree on {counts}; they differ on {len(self.differing)}'


def forget_instances() -> None:
    """Empty luigi's instance cache: gokart's ids depend on what it holds (1 or 1.0, whichever was made first)."""
    Register.clear_instance_cache()
