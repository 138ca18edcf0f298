"""The options of the magics that look back: `%kart_runs`, `%kart_diff`, `%kart_clean`."""

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


def clean_parser() -> MagicParser:
    """The options of `%kart_clean`."""
    parser = MagicParser(
        'kart_clean', 'Show what the tasks of EXPR do not need, and replaced results; remove it when said.'
    )
    parser.add_argument('--remove', action='store_true', help='remove it')
    parser.add_argument('--workspace', metavar='PATH', help='the workspace; that of the tasks by default')
    parser.add_argument('--keep-age', metavar='TIME', help="replaced results of this time stay: '2w', '3d'")
    parser.add_argument('--keep-number', type=_number, metavar='N', help='so many replaced results of each task stay')
    parser.add_argument('--keep-bytes', metavar='SIZE', help="the newest replaced results up to '500MB' stay")
    parser.add_argument('--unrecorded', action='store_true', help='count results without a record or log too')
    return parser


def diff_parser() -> MagicParser:
    """The options of `%kart_diff`."""
    parser = MagicParser(
        'kart_diff', 'Show what differs between two results, A B: ids or their beginnings, or expressions in Python.'
    )
    parser.add_argument('--all', action='store_true', help='show what is the same too')
    parser.add_argument('--no-values', action='store_true', help='do not load and compare the values')
    parser.add_argument('--workspace', metavar='PATH', help='where ids are looked up')
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
