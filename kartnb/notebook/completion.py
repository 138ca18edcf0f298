"""What Tab offers on the lines of the magics: options, log levels, task names and their parameters.

IPython itself completes the names of magics, and what stands behind a dot or in brackets.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeGuard

import luigi
from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher
from IPython.core.interactiveshell import InteractiveShell

from kartnb.execution.options import EXECUTOR_NAMES, LOG_LEVELS
from kartnb.notebook.arguments import MagicParser
from kartnb.notebook.topics import PARSERS

_MAGIC = re.compile(r'(?:^|=)\s*%{1,2}(?P<magic>kart\w*)\s(?P<rest>.*)$')
_CELL_MAGIC = re.compile(r'\s*%%(?P<magic>kart_\w+)\b')
_OPEN_CALL = re.compile(r'([A-Za-z_]\w*)\(([^()]*)$')

#: The kind of what is offered, and the texts.
Offer = tuple[str, list[str]]
#: Kinds that are offered together with what IPython finds.
_BESIDE_OTHERS = ('name', 'param')


def task_matcher(shell: InteractiveShell) -> Callable[[CompletionContext], SimpleMatcherResult]:
    """The matcher to add to a shell's completer."""
    known = {name: parser() for name, parser in PARSERS.items()}

    @context_matcher()  # type: ignore[untyped-decorator]
    def kart_matcher(context: CompletionContext) -> SimpleMatcherResult:
        kind, names = _offers(context, shell, known)
        fragment = re.search(r'[\w.-]*$', context.text_until_cursor)
        typed = fragment.group() if fragment else ''
        found = [SimpleCompletion(name, type=kind) for name in names if name.startswith(typed)]
        alone = kind not in _BESIDE_OTHERS or (kind == 'param' and not typed)
        return SimpleMatcherResult(completions=found, suppress=bool(found) and alone, matched_fragment=typed)

    matcher: Callable[[CompletionContext], SimpleMatcherResult] = kart_matcher
    return matcher


def _offers(context: CompletionContext, shell: InteractiveShell, known: dict[str, Any]) -> Offer:
    found = _MAGIC.search(context.text_until_cursor)
    if found and found['magic'] in known:
        return _on_the_line(known[found['magic']], found['rest'], shell)
    if context.cursor_line > 0 and _CELL_MAGIC.match(context.full_text):
        return _in_expression(_text_before(context), shell)
    return '', []


def _on_the_line(parser: MagicParser, rest: str, shell: InteractiveShell) -> Offer:
    *before, word = re.split(r'\s+', rest)
    option, equals, _ = word.partition('=')
    taken = parser.takes.get(option if equals else before[-1] if before else '')
    if taken == 'level':
        return 'level', list(LOG_LEVELS)
    if taken == 'executor':
        return 'executor', [*EXECUTOR_NAMES, *_executors_of(shell)]
    if taken == 'task':
        from kartnb.task import registry

        return 'task', sorted({cls.__name__ for cls in registry.task_classes()})
    if taken == 'choice':
        return 'choice', parser.choices(option if equals else before[-1])
    if word.startswith('-'):
        return 'option', parser.options
    if parser.takes_space and before:
        return _in_space(rest, shell)
    return _in_expression(rest, shell)


def _executors_of(shell: InteractiveShell) -> list[str]:
    from kartnb.execution.workers.choice import is_dask

    return [
        name
        for name, value in shell.user_ns.items()
        if not name.startswith('_') and not isinstance(value, type) and (isinstance(value, Executor) or is_dask(value))
    ]


def _in_space(rest: str, shell: InteractiveShell) -> Offer:
    """The parameters of the task at the beginning of a line, that the line does not give yet."""
    name = re.match(r'\s*(\w+)', rest)
    cls = shell.user_ns.get(name[1]) if name else None
    if isinstance(cls, luigi.Task):
        cls = type(cls)
    if not _is_task_class(cls) or not re.search(r'\s\w*$', rest):
        return _in_expression(rest, shell)
    from kartnb.notebook.definitions import own_parameters

    taken = set(re.findall(r'([\w.]+)=', rest))
    return 'space', [f'{name}=' for name, _ in own_parameters(cls) if name not in taken]


def _in_expression(text: str, shell: InteractiveShell) -> Offer:
    call = _OPEN_CALL.search(text)
    cls = shell.user_ns.get(call[1]) if call else None
    if call and _is_task_class(cls):
        return 'param', _parameters_to_give(cls, call[2])
    if re.search(r'\.\w*$', text):
        return '', []  # attributes are IPython's business
    names = [name for name in shell.user_ns if not name.startswith('_') and name not in shell.user_ns_hidden]
    return 'name', names


def _parameters_to_give(cls: type[luigi.Task], given: str) -> list[str]:
    """The parameters of a task that a call does not give yet, where the cursor stands at the start of an argument."""
    if not re.fullmatch(r'(?:.*,)?\s*\w*', given, re.DOTALL):
        return []
    from kartnb.notebook.definitions import own_parameters

    taken = set(re.findall(r'(\w+)\s*=', given))
    return [f'{name}=' for name, _ in own_parameters(cls) if name not in taken]


def _is_task_class(value: object) -> TypeGuard[type[luigi.Task]]:
    return isinstance(value, type) and issubclass(value, luigi.Task)


def _text_before(context: CompletionContext) -> str:
    lines = context.full_text.split('\n')[1 : context.cursor_line]
    return '\n'.join([*lines, context.text_until_cursor])
