"""Files and functions stay small enough to be read in one go."""

from __future__ import annotations

import ast
from pathlib import Path

FILE_LINES = 400
FUNCTION_LINES = 60
LONGER_FOR_A_REASON = {
    'kartnb/task/base.py': 500,  # every public method of a task in one class, each a few lines and a docstring
}


def test_files_are_small(repository: Path) -> None:
    sizes = {
        str(file.relative_to(repository)): len(file.read_text().splitlines())
        for file in (repository / 'kartnb').rglob('*.py')
    }
    assert {file: size for file, size in sizes.items() if size > LONGER_FOR_A_REASON.get(file, FILE_LINES)} == {}


def test_functions_are_small(repository: Path) -> None:
    long = {
        f'{file.relative_to(repository)}:{function.lineno} {function.name}': length
        for file in (repository / 'kartnb').rglob('*.py')
        for function, length in _functions(file)
        if length > FUNCTION_LINES
    }
    assert long == {}


def _functions(file: Path) -> list[tuple[ast.FunctionDef | ast.AsyncFunctionDef, int]]:
    """Give the functions of a file with their lengths, docstrings not counted."""
    tree = ast.parse(file.read_text())
    found = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    return [(node, (node.end_lineno or node.lineno) - node.lineno + 1 - _docstring_lines(node)) for node in found]


def _docstring_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    if ast.get_docstring(function) is None:
        return 0
    first = function.body[0]
    return (first.end_lineno or first.lineno) - first.lineno + 1
