"""The options of the magics that look back: `%kart_runs`."""

from __future__ import annotations

import argparse

from kartnb.notebook.arguments import MagicParser

STATES = ('cached', 'missing', 'failed', 'interrupted', 'superseded')
SORTS = ('when', 'seconds', 'size', 'task', 'state', 'id')


def runs_parser() -> MagicParser:
    """The options of `%kart_runs`."""
    parser = MagicParser('kart_runs', 'Show the recorded results of the workspace PATH, newest first.')
    parser.add_argument(
        '--task', action='append', metavar='NAME', help='of this class; * and ? as in file names; may be repeated'
    )
    parser.add_argument('--since', metavar='TIME', help="not older than this: '2d', '3h', 'today', '2024-05-01'")
    parser.add_argument('--until', metavar='TIME', help='not newer than this')
    parser.add_argument('--state', action='append', choices=STATES, metavar='STATE', help=', '.join(STATES))
    parser.add_argument(
        '--where', action='append', type=_condition, default=[], metavar='NAME=VALUE', help='with this parameter value'
    )
    parser.add_argument('--sort', metavar='COLUMN', default='when', help=f'{", ".join(SORTS)}, or a parameter')
    parser.add_argument('--limit', type=_number, metavar='N', help='at most N rows')
    parser.takes = {'--task': 'task', '--state': 'choice'}
    return parser


def _condition(text: str) -> tuple[str, str]:
    name, equals, value = text.partition('=')
    if not equals or not name:
        raise argparse.ArgumentTypeError(f'{text} is no condition: write NAME=VALUE')
    return name, value


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f'{text} is no whole number')
    return int(text)
