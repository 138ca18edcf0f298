"""The options of `%kart_output` and `%kart_log`."""

from __future__ import annotations

from kartnb.events import TaskState
from kartnb.execution.options import LOG_LEVELS
from kartnb.notebook.arguments import MagicParser, log_level

#: What outputs can be sorted by; the same as `kartnb.execution.outputs.COLUMNS`, which is imported when it is used.
COLUMNS = ('task', 'unique_id', 'state', 'path', 'format', 'size', 'modified', 'parameters')


def output_parser() -> MagicParser:
    """The options of `%kart_output`."""
    parser = MagicParser('kart_output', 'Show the outputs of the task, plan or build that EXPR gives.')
    parser.add_argument('--preview', action='store_true', help="load the task's own result, and show it")
    parser.add_argument('--filter', default='', metavar='TEXT', help='whose task, parameters, id or path hold the text')
    states = [state.value.replace(' ', '-') for state in TaskState]
    parser.add_argument('--state', default='', metavar='STATE', choices=states, help='of tasks in this state')
    parser.add_argument('--format', default='', metavar='FORMAT', help='with this extension')
    parser.add_argument('--sort', metavar='COLUMN', choices=COLUMNS, help=f'in the order of {", ".join(COLUMNS)}')
    parser.add_argument('--descending', action='store_true', help='the largest or latest first')
    parser.takes = {'--sort': 'choice', '--state': 'choice'}
    return parser


def log_parser() -> MagicParser:
    """The options of `%kart_log`."""
    parser = MagicParser('kart_log', 'Show what the task, plan or build that EXPR gives has printed and logged.')
    parser.add_argument(
        '--level',
        type=log_level,
        default=0,
        metavar='LEVEL',
        help=f'lines of this level and above: {", ".join(LOG_LEVELS)}; what is printed counts as INFO',
    )
    parser.add_argument('--grep', default='', metavar='TEXT', help='lines that hold this regular expression')
    parser.add_argument('--task', default='', metavar='NAME', help='lines of tasks of this class')
    parser.takes = {'--level': 'level', '--task': 'task'}
    return parser
