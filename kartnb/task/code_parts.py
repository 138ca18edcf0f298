"""The parts that a code print is made of, as they are kept: source and constants by name."""

from __future__ import annotations

import ast
import hashlib
import json
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal['source', 'code', 'value', 'unknown']
#: A syntax tree is written in another way by each Python, so prints are compared under one only.
PYTHON = ''.join(platform.python_version_tuple()[:2])
_KINDS = ('source', 'code', 'value', 'unknown')


@dataclass(frozen=True, slots=True)
class Part:
    """One function, class or constant that counts.

    Attributes
    ----------
    name
        As a person knows it: ``Train.run``, ``SCALE``.
    kind
        'source': `text` is Python. 'code': only the compiled code could be compared, and `text` is its digest. 'value':
        `text` is the constant. 'unknown': nobody can tell, and `text` says why.
    text
        The content.
    """

    name: str
    kind: Kind
    text: str


def source_digest(text: str) -> str:
    """A digest of Python source that comments, docstrings and formatting do not change.

    Examples
    --------
    >>> source_digest('def f(x): return x+1') == source_digest('def f(x): "Add."; return (x + 1)  # one more')
    True
    """
    try:
        tree: ast.AST = ast.parse(text)
    except SyntaxError:
        return _digest(text)
    return tree_digest(tree)


def tree_digest(tree: ast.AST) -> str:
    """The same of a syntax tree, which is changed by it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
            _drop_docstring(node)
        elif isinstance(node, ast.Constant):
            node.kind = None
    return _digest(ast.dump(tree, annotate_fields=False))


def _drop_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module) -> None:
    first = node.body[0] if node.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        node.body = node.body[1:] or [ast.Pass()]


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode('utf-8', 'surrogatepass'), digest_size=10).hexdigest()


def part_digest(part: Part) -> str:
    """What counts of one part."""
    return source_digest(part.text) if part.kind == 'source' else _digest(part.text)


def print_of_digests(digests: Iterable[tuple[str, str, str]]) -> str:
    """The print of parts that are given by name, kind and digest."""
    return _digest('\n'.join('\t'.join(item) for item in sorted(digests)))[:12]


def print_of_parts(parts: Iterable[Part]) -> str:
    """The print of parts under the Python that runs."""
    return print_of_digests((part.name, part.kind, part_digest(part)) for part in parts)


def parts_to_json(parts: Iterable[Part], title: str) -> str:
    """Parts as the text of a file."""
    content = {'format_version': 1, 'of': title, 'python': PYTHON, 'parts': [asdict(part) for part in parts]}
    return json.dumps(content, ensure_ascii=False, indent=1)


def parts_from_json(text: str) -> tuple[Part, ...]:
    """Read parts.

    Raises
    ------
    ValueError
        When the text is none of ours.
    """
    content: Any = json.loads(text)
    try:
        parts = tuple(Part(**item) for item in content['parts'])
    except (KeyError, TypeError) as error:
        raise ValueError(f'these are no parts of code: {error}') from error
    if not all(isinstance(part.text, str) and isinstance(part.name, str) and part.kind in _KINDS for part in parts):
        raise ValueError('these are no parts of code')
    return parts
