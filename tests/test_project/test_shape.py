"""The shape of the package: whole files, few in a folder, functions that fit a screen, no circle of imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

SMALL_MODULE = 120
LARGE_MODULE = 800
LARGE_FUNCTION = 60
FULL_FOLDER = 16

#: Small modules with one importer in their own folder that stay apart, and why.
SMALL_FOR_A_REASON: dict[str, str] = {}


@pytest.fixture(scope='module')
def imports() -> grimp.ImportGraph:
    """Every import of the package, those inside functions too; those for type checkers only left out."""
    return grimp.build_graph('kartnb', exclude_type_checking_imports=True, cache_dir=None)


def test_no_small_module_serves_one_neighbour(repository: Path, imports: grimp.ImportGraph) -> None:
    found = {}
    for module, file in _modules(repository):
        importers = imports.find_modules_that_directly_import(module)
        size = _lines_without_docstrings(file)
        if size < SMALL_MODULE and len(importers) == 1 and _folder(*importers) == _folder(module):
            found[module] = f'{size} lines, imported by {", ".join(importers)} only: a part of it?'
    unexplained = {module: text for module, text in found.items() if module not in SMALL_FOR_A_REASON}
    assert unexplained == {}
    assert set(SMALL_FOR_A_REASON) - set(found) == set(), 'these need no exception any more'


def test_folders_are_surveyable(repository: Path) -> None:
    counts: dict[str, int] = {}
    for module, _ in _modules(repository):
        counts[_folder(module)] = counts.get(_folder(module), 0) + 1
    assert {folder: count for folder, count in counts.items() if count > FULL_FOLDER} == {}


def test_files_are_not_too_large(repository: Path) -> None:
    sizes = {module: len(file.read_text(encoding='utf-8').splitlines()) for module, file in _modules(repository)}
    assert {module: size for module, size in sizes.items() if size > LARGE_MODULE} == {}


def test_functions_fit_a_screen(repository: Path) -> None:
    large = {
        f'{module}:{function.lineno} {function.name}': size
        for module, file in _modules(repository)
        for function in ast.walk(ast.parse(file.read_text(encoding='utf-8')))
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (size := _span(function) - _docstring_lines(function)) > LARGE_FUNCTION
    }
    assert large == {}


def test_no_import_goes_in_a_circle(imports: grimp.ImportGraph) -> None:
    """Not by an import inside a function either: it hides a circle from the interpreter, not from the reader."""
    circles = {
        module: chain
        for module in imports.modules
        for other in imports.find_modules_directly_imported_by(module)
        if (chain := imports.find_shortest_chain(importer=other, imported=module))
    }
    assert circles == {}


def _modules(repository: Path) -> Iterator[tuple[str, Path]]:
    """The modules of the package with their files, `__init__` left out."""
    for file in sorted((repository / 'kartnb').rglob('*.py')):
        if file.name != '__init__.py':
            yield '.'.join(file.relative_to(repository).with_suffix('').parts), file


def _folder(module: str) -> str:
    return module.rpartition('.')[0]


def _lines_without_docstrings(file: Path) -> int:
    text = file.read_text(encoding='utf-8')
    return len(text.splitlines()) - sum(_docstring_lines(node) for node in ast.walk(ast.parse(text)))


def _docstring_lines(node: ast.AST) -> int:
    if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        return 0
    return _span(node.body[0]) if ast.get_docstring(node, clean=False) is not None else 0


def _span(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1
