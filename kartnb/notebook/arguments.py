"""The line of a magic, taken apart: its words, its options, and the expression that gives a task.

A mistake in it is a `UsageError`, which IPython shows as one line.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

import luigi
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

from kartnb.config import CODE_CHANGE_POLICIES, LOG_LEVELS, log_level_named
from kartnb.errors import KartError, TaskArgumentError

#: Words inside brackets belong together.
BRACKETS = {'(': ')', '[': ']', '{': '}'}
_NAME = re.compile(r'--[A-Za-z][\w-]*')
_OPTION = re.compile(_NAME.pattern + r'(?:=.*)?', re.DOTALL)
_SHOWN = 60


class Word(NamedTuple):
    """A word of a line, and its position."""

    text: str
    start: int
    end: int


def words_of(line: str, separators: str = '') -> list[Word]:
    """The words of a line; brackets and quotes keep words together.

    Parameters
    ----------
    line
        The line; a bracket or a quote may still be open at its end.
    separators
        What separates words besides space.

    Examples
    --------
    >>> [word.text for word in words_of("Fit(a, b) x=[1, 2] y='a b' --metric s")]
    ['Fit(a, b)', 'x=[1, 2]', "y='a b'", '--metric', 's']
    """
    found: list[Word] = []
    start, closing, quote = 0, [], ''
    for i, character in enumerate(line):
        if quote:
            quote = '' if character == quote else quote
        elif character in '\'"':
            quote = character
        elif character in BRACKETS:
            closing.append(BRACKETS[character])
        elif closing and character == closing[-1]:
            closing.pop()
        elif not closing and (character.isspace() or character in separators):
            if start < i:
                found.append(Word(line[start:i], start, i))
            start = i + 1
    if start < len(line):
        found.append(Word(line[start:], start, len(line)))
    return found


@dataclass(frozen=True)
class Option:
    """An option of a magic, as `argparse` takes it.

    Attributes
    ----------
    name
        With its dashes.
    settings
        What `argparse.ArgumentParser.add_argument` is given.
    takes
        What kind of value Tab may offer: 'choice', 'level', 'task', 'executor'.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    takes: str = ''


def option(name: str, help: str, *, takes: str = '', **settings: Any) -> Option:
    """An option of a magic; one without a `metavar` takes no value."""
    if 'metavar' not in settings:
        settings['action'] = 'store_true'
    return Option(name, {'help': help, **settings}, takes or ('choice' if 'choices' in settings else ''))


def log_level(name: str) -> int:
    """A log level by name or number, for argparse."""
    try:
        return log_level_named(name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def whole_number(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text} is not a whole number of at least 1')
    return int(text)


LOG_LEVEL = option(
    '--log-level',
    f'show log lines of this level and above: {", ".join(LOG_LEVELS)}',
    metavar='LEVEL',
    type=log_level,
    takes='level',
)
ON_CODE_CHANGE = option(
    '--on-code-change',
    'what happens to results whose code has changed: rerun, warn or ignore',
    metavar='POLICY',
    choices=CODE_CHANGE_POLICIES,
)
WORKERS = option('--workers', 'run up to N tasks at once', metavar='N', type=whole_number, default=1)


@dataclass(frozen=True, slots=True)
class Arguments:
    """The options of a magic's line, and the rest of it."""

    options: argparse.Namespace
    expression: str


class MagicParser(argparse.ArgumentParser):
    """The options of one magic.

    Parameters
    ----------
    magic
        Its name.
    description
        Its docstring; `help_text` is this and the options.
    options
        Its options besides ``--help``.
    takes_space
        Whether the line gives values by parameter name after the task; options may be between them.
    """

    def __init__(self, magic: str, description: str, options: Iterable[Option], takes_space: bool = False) -> None:
        super().__init__(prog=f'%{magic}', add_help=False, allow_abbrev=False)
        self.takes_space = takes_space
        self.takes: dict[str, str] = {}
        self._known = {'--help': self.add_argument('-h', '--help', action='store_true', help='show this text')}
        for each in options:
            self._known[each.name] = self.add_argument(each.name, **each.settings)
            if each.takes:
                self.takes[each.name] = each.takes
        self.help_text = self._help(description)

    def _help(self, description: str) -> str:
        formatter = argparse.HelpFormatter('', max_help_position=28, width=100)
        formatter.start_section('options')
        formatter.add_arguments(self._known.values())
        formatter.end_section()
        return f'{description}\n\n{formatter.format_help().rstrip()}'

    def error(self, message: str) -> NoReturn:
        """Raise an error of one line, instead of ending the process as argparse does."""
        raise UsageError(f'{self.prog}: {message.removeprefix("argument ")}')

    @property
    def options(self) -> list[str]:
        """The long names of the options."""
        return list(self._known)

    def choices(self, option: str) -> list[str]:
        """The values that an option takes, where they are few."""
        action = self._known.get(option)
        return [str(choice) for choice in (action.choices if action is not None else None) or ()]

    def split(self, line: str) -> Arguments:
        """Take a line apart; options may come before and after the expression.

        Raises
        ------
        UsageError
            When an option is unknown, or its value is not one that it takes.
        """
        if self.takes_space:
            options, expression = self._among(words_of(line.replace('\n', ' ')))
        else:
            leading, rest = self._leading(line.strip())
            expression, trailing = _without_trailing(rest)
            options = [*leading, *trailing]
        return Arguments(self._parsed(options), expression)

    def _among(self, words: Sequence[Word]) -> tuple[list[str], str]:
        options: list[str] = []
        rest: list[str] = []
        texts = iter(word.text for word in words)
        for text in texts:
            if not text.startswith('-') or text == '-':
                rest.append(text)
                continue
            options.append(text)
            if self._wants_value(text):
                options += [value for value in [next(texts, None)] if value is not None]
        return options, ' '.join(rest)

    def _leading(self, line: str) -> tuple[list[str], str]:
        """The options before the expression, with their values, and the rest of the line."""
        found: list[str] = []
        while line.startswith('-'):
            word, line = _first_word(line)
            if word == '--':
                break
            found.append(word)
            if line and self._wants_value(word) and not line.startswith('-'):
                value, line = _first_word(line)
                found.append(value)
        return found, line

    def _wants_value(self, word: str) -> bool:
        action = self._known.get(word)
        return action is not None and action.nargs != 0

    def _parsed(self, words: Sequence[str]) -> argparse.Namespace:
        options, unknown = self.parse_known_args(words)
        if unknown:
            near = difflib.get_close_matches(unknown[0].partition('=')[0], self.options, n=1)
            hint = f'did you mean {near[0]}?' if near else f'the options are {", ".join(self.options)}.'
            self.error(f'unknown option {unknown[0]}: {hint}')
        return options


def _first_word(line: str) -> tuple[str, str]:
    word, _, rest = line.partition(' ')
    return word, rest.lstrip()


def _without_trailing(expression: str) -> tuple[str, list[str]]:
    """An expression without the options at the end of its line; an expression over several lines has none."""
    if '\n' in expression:
        return expression, []
    words = words_of(expression)
    last = len(words)
    while last:
        if _OPTION.fullmatch(words[last - 1].text):
            last -= 1
        elif last > 1 and _NAME.fullmatch(words[last - 2].text) and not words[last - 1].text.startswith('-'):
            last -= 2
        else:
            break
    end = words[last].start if last < len(words) else len(expression)
    return expression[:end].strip(), expression[end:].split()


def task_of(text: str, magic: str, shell: InteractiveShell, local_ns: dict[str, Any] | None) -> luigi.Task:
    """The task that an expression evaluates to.

    Parameters
    ----------
    text
        A Python expression.
    magic
        The name of the magic, for messages.
    shell
        The expression can use the names of its user.
    local_ns
        The local names of the function that calls the magic, or None.

    Raises
    ------
    UsageError
        When the text is not an expression, its own line fails, or its value is not a task. Where it fails inside the
        user's functions, their exception is raised unchanged.
    """
    __tracebackhide__ = True
    from kartnb.planning.planner import require_task

    value = value_of(text, magic, shell, local_ns)
    try:
        require_task(value)
    except TaskArgumentError as error:
        raise UsageError(f'%{magic}: {error}') from None
    task: luigi.Task = value
    return task


def value_of(text: str, magic: str, shell: InteractiveShell, local_ns: dict[str, Any] | None) -> Any:
    """The value of an expression, a task or anything else; parameters and errors are those of `task_of`."""
    __tracebackhide__ = True
    from kartnb.notebook.tracebacks import EXPRESSION_FILE, own_part

    code = _compiled(text, magic, EXPRESSION_FILE)
    try:
        return eval(code, _names(shell, local_ns))
    except Exception as error:
        if own_part(error.__traceback__) is not None:
            raise
        raise UsageError(_described(error, text, shell)) from None


def expression_of(magic: str, line: str, cell: str | None) -> str:
    """The expression of a magic: its line, or the lines below.

    Raises
    ------
    UsageError
        When both have text.
    """
    if cell is None:
        return line
    if line:
        raise UsageError(f'%%{magic} takes its expression from the lines below: write %{magic} {line} for one line')
    return cell


def _compiled(text: str, magic: str, filename: str) -> Any:
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
    return compile(ast.Expression(body[0].value), filename, 'eval')


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
