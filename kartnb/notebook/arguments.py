"""The line of a magic, taken apart into words, options and the expression.

A mistake in it is a `UsageError`, which IPython shows as one line.
"""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

from IPython.core.error import UsageError

from kartnb.config import CODE_CHANGE_POLICIES, LOG_LEVELS, USUAL_CONCURRENCY, VERSION_POLICIES, log_level_named

#: Words inside brackets belong together.
BRACKETS = {'(': ')', '[': ']', '{': '}'}
_NAME = re.compile(r'--[A-Za-z][\w-]*')
_OPTION = re.compile(_NAME.pattern + r'(?:=.*)?', re.DOTALL)


class Word(NamedTuple):
    """A word of a line, and its position."""

    text: str
    start: int
    end: int


def words_of(line: str, separators: str = '') -> list[Word]:
    """The words of a line; brackets and quotes, perhaps still open at its end, keep words together.

    `separators` are characters that separate words besides space.

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
    """An option of a magic, its name with dashes, with settings for `argparse.ArgumentParser.add_argument`.

    `takes` says what kind of value Tab may offer: 'choice', 'level', 'task', 'executor'.
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


def whole_number(text: str, least: int = 1) -> int:
    """A whole number of at least `least`, for argparse."""
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise argparse.ArgumentTypeError(f'{text} is not a whole number of at least {least}')
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
    'what happens to results whose code has changed: rerun, warn, error or ignore',
    metavar='POLICY',
    choices=CODE_CHANGE_POLICIES,
)
ON_VERSION_CHANGE = option(
    '--on-version-change',
    'what happens to results of other versions of packages: ignore, warn or rerun',
    metavar='POLICY',
    choices=VERSION_POLICIES,
)
DURABLE = option('--durable', 'flush each result to the disk, so that a power loss cannot take it away')
KEEP_SUPERSEDED = option(
    '--keep-superseded', "superseded results that stay: '20, 90 days, 5 GB', or 'all'", metavar='BOUNDS'
)
WORKERS = option('--workers', 'run up to N tasks at once', metavar='N', type=whole_number, default=1)
CONCURRENCY = option(
    '--concurrency',
    'run up to N tasks with an `async def run` at once, with --executor async',
    metavar='N',
    type=whole_number,
    default=USUAL_CONCURRENCY,
)


class Arguments(NamedTuple):
    """The options of a magic's line, and the rest of it."""

    options: argparse.Namespace
    expression: str


class MagicParser(argparse.ArgumentParser):
    """The options of one magic besides ``--help``; `help_text` is its docstring and the options.

    With `takes_space` the line gives values by parameter name after the task; options may be between them.
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

        Raises UsageError when an option is unknown, or its value is not one that it takes.
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
        # a value with spaces is quoted, as on a command line
        options, unknown = self.parse_known_args([_without_quotes(word) for word in words])
        if unknown:
            near = difflib.get_close_matches(unknown[0].partition('=')[0], self.options, n=1)
            hint = f'did you mean {near[0]}?' if near else f'the options are {", ".join(self.options)}.'
            self.error(f'unknown option {unknown[0]}: {hint}')
        return options


def unquoted(text: str) -> str:
    """A text without the quotes around it."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in '\'"' else text


def _without_quotes(word: str) -> str:
    name, equals, value = word.partition('=') if word.startswith('--') else ('', '', word)
    return name + equals + unquoted(value)


def _first_word(line: str) -> tuple[str, str]:
    text, _, rest = line.partition(' ')
    if not any(text.count(quote) % 2 for quote in '\'"'):  # brackets open nothing here: a pattern may begin with one
        return text, rest.lstrip()
    word = words_of(line)[0]
    return word.text, line[word.end :].lstrip()


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
    return expression[:end].strip(), [word.text for word in words[last:]]
