"""The options of the magics. What is wrong with them is one line, a `UsageError`."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from IPython.core.error import UsageError

from kartnb.config import CODE_CHANGE_POLICIES
from kartnb.execution.options import EXECUTOR_NAMES, LOG_LEVELS, log_level_named

_OPTION = r'--[A-Za-z][\w-]*(?:(?:=|\s+)[^\s-]\S*)?(?:\s+|$)'
_TRAILING_OPTIONS = re.compile(rf'(?P<rest>.*?)(?:^|\s)(?P<options>(?:{_OPTION})+)$')


@dataclass(frozen=True, slots=True)
class Arguments:
    """A magic's line, taken apart: its options, and the expression that is left."""

    options: argparse.Namespace
    expression: str


class MagicParser(argparse.ArgumentParser):
    """The options of one magic; `takes` says for an option what kind of value Tab may offer."""

    def __init__(self, magic: str, description: str) -> None:
        super().__init__(prog=f'%{magic}', description=description, add_help=False, allow_abbrev=False)
        self.takes: dict[str, str] = {}
        #: Whether the line gives values by parameter name after the task.
        self.takes_space = False
        self.add_argument('-h', '--help', action='store_true', help='show this text')

    def error(self, message: str) -> NoReturn:
        """Refuse with one line, instead of ending the process."""
        raise UsageError(f'{self.prog}: {message.removeprefix("argument ")}')

    @property
    def options(self) -> list[str]:
        """The long names of the options."""
        return [name for action in self._actions for name in action.option_strings if name.startswith('--')]

    def choices(self, option: str) -> list[str]:
        """The values that an option takes, where they are few."""
        action = self._option_string_actions.get(option)
        return [str(choice) for choice in (action.choices if action is not None else None) or ()]

    def split(self, line: str) -> Arguments:
        """Take a line apart; options may stand before and after the expression.

        Raises
        ------
        UsageError
            When an option is unknown, or its value is not one that it takes.
        """
        words, expression = self._leading(line.strip())
        expression, trailing = self._trailing(expression)
        return Arguments(self._parsed([*words, *trailing]), expression)

    def _leading(self, line: str) -> tuple[list[str], str]:
        words: list[str] = []
        while line.startswith('-'):
            word, line = _first_word(line)
            if word == '--':
                break
            words.append(word)
            if self._wants_value(word) and not line.startswith('-'):
                value, line = _first_word(line)
                words.extend([value] if value else [])
        return words, line

    def _trailing(self, expression: str) -> tuple[str, list[str]]:
        found = _TRAILING_OPTIONS.fullmatch(expression) if '\n' not in expression else None
        return (found['rest'].strip(), found['options'].split()) if found else (expression, [])

    def _wants_value(self, word: str) -> bool:
        action = self._option_string_actions.get(word)
        return action is not None and action.nargs != 0

    def _parsed(self, words: Sequence[str]) -> argparse.Namespace:
        options, unknown = self.parse_known_args(words)
        if unknown:
            near = difflib.get_close_matches(unknown[0].partition('=')[0], self.options, n=1)
            hint = f'did you mean {near[0]}?' if near else f'the options are {", ".join(self.options)}.'
            self.error(f'there is no option {unknown[0]}: {hint}')
        return options


def build_parser() -> MagicParser:
    """The options of `%kart_build`."""
    parser = MagicParser('kart_build', 'Build the task that EXPR gives, show its graph, and give its value.')
    parser.add_argument(
        '--log-level',
        type=log_level,
        metavar='LEVEL',
        help=f'show log lines from this level on: {", ".join(LOG_LEVELS)}',
    )
    parser.add_argument('--rerun', action='store_true', help='run the task even if it is complete')
    parser.add_argument(
        '--rerun-from',
        action='append',
        default=[],
        metavar='NAME',
        help='run the tasks of this class again, and all that is downstream of them; may be repeated',
    )
    parser.add_argument(
        '--workers', type=whole_number, default=1, metavar='N', help='run up to N tasks at once, in worker processes'
    )
    parser.add_argument(
        '--executor',
        metavar='NAME',
        help=f'{", ".join(EXECUTOR_NAMES)}, dask://HOST:PORT, or a variable that holds a Dask client or an Executor',
    )
    _add_policy(parser)
    parser.add_argument('--background', action='store_true', help='give a handle at once, and build meanwhile')
    parser.add_argument('--no-value', action='store_true', help='do not load and give the value')
    parser.takes |= {'--log-level': 'level', '--rerun-from': 'task', '--executor': 'executor'}
    return parser


def graph_parser() -> MagicParser:
    """The options of `%kart_graph`."""
    parser = MagicParser('kart_graph', 'Draw the graph of the task that EXPR gives, with states, and run nothing.')
    _add_policy(parser)
    return parser


def why_parser() -> MagicParser:
    """The options of `%kart_why`."""
    parser = MagicParser('kart_why', 'Explain what a build of the task that EXPR gives would run, and run nothing.')
    _add_policy(parser)
    return parser


def _add_policy(parser: MagicParser) -> None:
    parser.add_argument(
        '--on-code-change',
        choices=CODE_CHANGE_POLICIES,
        metavar='POLICY',
        help='what happens to results whose code has changed: rerun, warn or ignore',
    )
    parser.takes['--on-code-change'] = 'choice'


def cell_parser() -> MagicParser:
    """The options of `%%kart`: none but help."""
    return MagicParser('kart', 'Run the cell, and show which task classes in it are new or changed.')


def log_level(name: str) -> int:
    """A log level by name or number, for argparse."""
    try:
        return log_level_named(name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def whole_number(text: str) -> int:
    """A number from 1 on, for argparse."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text} is no whole number from 1 on')
    return int(text)


def _first_word(line: str) -> tuple[str, str]:
    word, _, rest = line.partition(' ')
    return word, rest.lstrip()
