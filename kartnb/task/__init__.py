"""What a task is: the base class, parameters, identity, and the generations of task classes."""

from kartnb.task.base import TaskOnKart
from kartnb.task.describe import ShownParameter, shown_parameters

__all__ = ['ShownParameter', 'TaskOnKart', 'shown_parameters']
