"""The options of `%kart_sweep` and `%kart_interact`."""

from __future__ import annotations

from kartnb.execution.options import LOG_LEVELS
from kartnb.notebook.arguments import Arguments, MagicParser, log_level, whole_number

#: What holds the words of a line together.
BRACKETS = {'(': ')', '[': ']', '{': '}'}


def words_of(line: str) -> list[str]:
    """The words of a line; brackets and quotes hold what is in them together."""
    found, current, open_brackets, quote = [], '', [], ''
    for character in line:
        if quote:
            quote = '' if character == quote else quote
        elif character in '\'"':
            quote = character
        elif character in BRACKETS:
            open_brackets.append(BRACKETS[character])
        elif open_brackets and character == open_brackets[-1]:
            open_brackets.pop()
        if character.isspace() and not quote and not open_brackets:
            found += [current] if current else []
            current = ''
        else:
            current += character
    return [*found, current] if current else found


class SpaceParser(MagicParser):
    """The options of a magic whose line gives values by parameter name; options may stand anywhere on it."""

    def __init__(self, magic: str, description: str) -> None:
        super().__init__(magic, description)
        self.takes_space = True

    def split(self, line: str) -> Arguments:
        """Take a line apart.

        Raises
        ------
        UsageError
            When an option is unknown, or its value is not one that it takes.
        """
        options: list[str] = []
        rest: list[str] = []
        words = iter(words_of(line.replace('\n', ' ')))
        for word in words:
            if not word.startswith('-') or word == '-':
                rest.append(word)
                continue
            options.append(word)
            if self._wants_value(word):
                options += [value for value in [next(words, None)] if value is not None]
        return Arguments(self._parsed(options), ' '.join(rest))


def sweep_parser() -> SpaceParser:
    """The options of `%kart_sweep` and `%kart_interact`."""
    parser = SpaceParser(
        'kart_sweep', 'Build a task for each point of a grid, such as Train depth=1:10 lr=0.01,0.1, and compare them.'
    )
    parser.add_argument(
        '--metric',
        metavar='NAME',
        help='what to compare by: names of numbers in the result with commas between, or a function of the result',
    )
    parser.add_argument('--minimize', action='store_true', help='the smallest metric is best, not the largest')
    parser.add_argument('--sample', type=whole_number, metavar='N', help='build N points, chosen at random')
    parser.add_argument('--seed', type=int, default=0, metavar='N', help='of the sample or the search')
    parser.add_argument('--search', action='store_true', help='search for the best metric with Optuna')
    parser.add_argument('--trials', type=whole_number, metavar='N', help='how many points the search tries in all')
    parser.add_argument('--workers', type=whole_number, default=1, metavar='N', help='how many tasks run at once')
    parser.add_argument('--rerun', action='store_true', help='run all points even if they are complete')
    parser.add_argument('--background', action='store_true', help='give a handle at once, and sweep meanwhile')
    parser.add_argument('--dry-run', action='store_true', help='show what would run, and run nothing')
    parser.add_argument(
        '--log-level',
        type=log_level,
        metavar='LEVEL',
        help=f'show log lines from this level on: {", ".join(LOG_LEVELS)}',
    )
    parser.takes = {'--log-level': 'level'}
    return parser


def interact_parser() -> SpaceParser:
    """The options of `%kart_interact`."""
    parser = SpaceParser(
        'kart_interact',
        'Show controls for parameters, such as Train depth=1:10 lr=0.1,1, and the result they give.',
    )
    parser.add_argument('--auto', action='store_true', help='build by itself what is not cached')
    parser.add_argument('--keep', action='store_true', help='let a build that is no longer wanted go on')
    parser.add_argument('--output', metavar='FUNCTION', help='what to show of a result: a function of yours')
    parser.add_argument('--workers', type=whole_number, default=1, metavar='N', help='how many tasks run at once')
    return parser
