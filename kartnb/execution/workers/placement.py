"""Which tasks must run in the process that builds, whatever the executor."""

from __future__ import annotations

import sys
from itertools import chain

import luigi

from kartnb.task.structure import flatten

#: The modules whose `InMemoryTarget` is known to one process only; asked only when somebody has imported them.
_IN_MEMORY = ('kartnb.storage.in_memory', 'gokart.in_memory.target')


def needs_this_process(task: luigi.Task) -> bool:
    """Whether a task makes or loads a result that is kept in memory."""
    kinds = tuple(sys.modules[name].InMemoryTarget for name in _IN_MEMORY if name in sys.modules)
    if not kinds:
        return False
    return any(isinstance(target, kinds) for target in chain(flatten(task.output()), flatten(task.input())))
