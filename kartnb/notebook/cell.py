"""Running the body of a `%%kart` cell as if it were an ordinary cell."""

from __future__ import annotations

import ast
from typing import Any

import luigi
from IPython.core.displayhook import DisplayHook
from IPython.core.interactiveshell import InteractiveShell

import kartnb
from kartnb.errors import KartError
from kartnb.task import parameters


class CellSyntaxError(KartError):
    """The body of a `%%kart` cell is not Python.

    IPython shows a `SyntaxError` that a magic raises with all the frames of the magic; this is shown as that of an
    ordinary cell.
    """

    def __init__(self, error: SyntaxError, shell: InteractiveShell) -> None:
        super().__init__(f'{error.msg} (line {error.lineno})')
        self._lines: list[str] = shell.SyntaxTB.structured_traceback(type(error), error, None)

    def _render_traceback_(self) -> list[str]:
        return self._lines


def run_cell(cell: str, shell: InteractiveShell) -> None:
    """Run a cell in the user's namespace: its source is kept for tracebacks, its last expression is displayed.

    Raises
    ------
    CellSyntaxError
        When it cannot be read.
    """
    __tracebackhide__ = True
    # an empty line in the place of the magic's, so that lines are counted from the top of the cell
    code = '\n' + shell.transform_cell(cell)
    name = _kept(code, cell, shell)
    compiler: Any = shell.compile
    try:
        tree = shell.transform_ast(compiler.ast_parse(code, name))
        parts = [compiler(part, name, mode) for part, mode in _parts(tree, code, shell.ast_node_interactivity)]
    except SyntaxError as error:
        raise CellSyntaxError(error, shell) from None
    for part in parts:
        exec(part, shell.user_ns)


def _kept(code: str, cell: str, shell: InteractiveShell) -> str:
    """Keep the source where tracebacks and `inspect` look for it, and give the file name of the cell."""
    result = shell.displayhook.exec_result
    number = getattr(result, 'execution_count', None) or shell.execution_count
    whole = getattr(getattr(result, 'info', None), 'raw_cell', None)
    # ipykernel names a cell after its whole text, and so does the debugger of a front end
    raw = whole if isinstance(whole, str) and whole.endswith(cell) else cell
    return shell.compile.cache(code, number, raw_code=raw)


def _parts(tree: ast.Module, code: str, interactivity: str) -> list[tuple[ast.AST, str]]:
    """The statements that only run, and the last expression, which is displayed too."""
    last = tree.body[-1] if tree.body else None
    if not isinstance(last, ast.Expr) or interactivity == 'none' or DisplayHook.semicolon_at_end_of_expression(code):
        return [(tree, 'exec')]
    return [(ast.Module(tree.body[:-1], []), 'exec'), (ast.Interactive([last]), 'single')]


def lend_names(shell: InteractiveShell) -> None:
    """Let cells know luigi, kartnb, `TaskOnKart` and the parameter classes; what the user has under a name stays."""
    missing = {name: value for name, value in lent_names().items() if name not in shell.user_ns}
    shell.push(missing, interactive=False)


def lent_names() -> dict[str, Any]:
    """The names that a `%%kart` cell knows without an import."""
    classes = {
        name: value for home in (luigi, parameters) for name, value in vars(home).items() if _is_parameter(value)
    }
    return {'luigi': luigi, 'kartnb': kartnb, 'TaskOnKart': kartnb.TaskOnKart, **classes}


def _is_parameter(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, luigi.Parameter) and not value.__name__.startswith('_')
