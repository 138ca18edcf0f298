"""The expression of a magic: from its text to a task, with one clear line when that fails."""

from __future__ import annotations

import ast
import difflib
from typing import Any

import luigi
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

from kartnb.errors import KartError, TaskArgumentError
from kartnb.execution.planning.planner import require_task
from kartnb.notebook.tracebacks import EXPRESSION_FILE, own_part

_SHOWN = 60


def task_of(text: str, magic: str, shell: InteractiveShell, local_ns: dict[str, Any] | None) -> luigi.Task:
    """The task that an expression gives.

    Parameters
    ----------
    text
        A Python expression.
    magic
        The name of the magic, for messages.
    shell
        Its names are known to the expression.
    local_ns
        The names of the function that the magic stands in, or None.

    Raises
    ------
    UsageError
        When the text is no expression, fails by itself, or gives no task. Where it fails inside the user's own
        functions, their exception is raised as it is.
    """
    __tracebackhide__ = True
    value = value_of(text, magic, shell, local_ns)
    try:
        require_task(value)
    except TaskArgumentError as error:
        raise UsageError(f'%{magic}: {error}') from None
    task: luigi.Task = value
    return task


def value_of(text: str, magic: str, shell: InteractiveShell, local_ns: dict[str, Any] | None) -> Any:
    """What an expression gives, a task or anything else; the parameters are those of `task_of`.

    Raises
    ------
    UsageError
        When the text is no expression, or fails by itself.
    """
    __tracebackhide__ = True
    code = _compiled(text, magic)
    try:
        return eval(code, _names(shell, local_ns))
    except Exception as error:
        if own_part(error.__traceback__) is not None:
            raise
        raise UsageError(_described(error, text, shell)) from None


def _compiled(text: str, magic: str) -> Any:
    if not text.strip():
        raise UsageError(f'%{magic} needs an expression that gives a task, such as %{magic} MyTask(…)')
    try:
        body = ast.parse(text.strip()).body
    except (SyntaxError, ValueError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise UsageError(f'%{magic} cannot read {_short(text)}: {reason}') from None
    if len(body) == 1 and isinstance(body[0], ast.Assign) and isinstance(body[0].targets[0], ast.Name):
        name, value = body[0].targets[0].id, _short(ast.unparse(body[0].value))
        raise UsageError(f'%{magic} takes an expression: write {name} = %{magic} {value}')
    if len(body) != 1 or not isinstance(body[0], ast.Expr):
        raise UsageError(f'%{magic} takes one expression that gives a task, not {_short(text)}')
    return compile(ast.Expression(body[0].value), EXPRESSION_FILE, 'eval')


def _names(shell: InteractiveShell, local_ns: dict[str, Any] | None) -> dict[str, Any]:
    if local_ns is None or local_ns is shell.user_ns:
        names: dict[str, Any] = shell.user_ns
        return names
    return {**shell.user_ns, **local_ns}


def _described(error: Exception, text: str, shell: InteractiveShell) -> str:
    said = ' '.join(str(error).split())
    if isinstance(error, luigi.parameter.ParameterException | KartError):
        return said
    if isinstance(error, NameError) and error.name:
        near = difflib.get_close_matches(error.name, [name for name in shell.user_ns if not name.startswith('_')], n=1)
        hint = f'did you mean {near[0]}?' if near else 'run the cell that defines it first.'
        return f'{_short(text)}: {said}: {hint}'
    return f'{_short(text)}: {type(error).__name__}: {said}'.removesuffix(': ')


def _short(text: str) -> str:
    line = ' '.join(text.split())
    return line if len(line) <= _SHOWN else f'{line[: _SHOWN - 1]}…'
