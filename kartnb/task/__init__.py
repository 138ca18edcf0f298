"""What a task is: the base class, parameters, identity, and the generations of task classes."""

from kartnb.errors import EmptyDumpError
from kartnb.task.base import TaskOnKart
from kartnb.task.describe import ShownParameter, shown_parameters

__all__ = ['EmptyDumpError', 'ShownParameter', 'TaskOnKart', 'shown_parameters']
