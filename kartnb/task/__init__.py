"""What a task is: the base class, parameters, identity, and the generations of task classes.

gokart's module of this name has some of its other names too.
"""

from kartnb.errors import EmptyDumpError
from kartnb.storage.targets import TargetOnKart
from kartnb.task.base import TaskOnKart
from kartnb.task.describe import ShownParameter, shown_parameters
from kartnb.task.parameters import ExplicitBoolParameter, ListTaskInstanceParameter, TaskInstanceParameter
from kartnb.task.values import flatten

__all__ = [
    'EmptyDumpError',
    'ExplicitBoolParameter',
    'ListTaskInstanceParameter',
    'ShownParameter',
    'TargetOnKart',
    'TaskInstanceParameter',
    'TaskOnKart',
    'flatten',
    'shown_parameters',
]
