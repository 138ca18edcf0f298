"""The magics about the history of a workspace.

::

    %kart_runs
    %kart_runs ./resources --task Train --since 2d --where depth=5

show recorded results as a table, newest first; its value has `to_dataframe()`, `filter` and `sort`. ::

    %kart_diff Train(depth=5) Train(depth=6)
    %kart_diff 3f2a91bc 77d0c412 --all

show what differs between two results. ::

    %kart_accept Train --why "only renamed"

keeps results although their code has changed. ::

    %kart_adopt Best --of churn.tasks.train.Best

takes over the results of a class that was moved or renamed. ::

    %kart_clean Train(depth=5)
    %kart_clean Train(depth=5) Report() --remove

show what of this notebook's results the tasks do not need, replaced ones included, and remove it.
"""

from __future__ import annotations

import argparse
import ast
import re
from typing import TYPE_CHECKING

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class

from kartnb.notebook.arguments import option, unquoted, whole_number, words_of
from kartnb.notebook.command import Given, kart_magic

if TYPE_CHECKING:
    from kartnb.history.clean import Cleaning
    from kartnb.history.runs import Runs
    from kartnb.inspection.accept import Accepted
    from kartnb.inspection.adopt import Adopted
    from kartnb.inspection.diff import Difference

STATES = ('cached', 'missing', 'failed', 'interrupted', 'superseded')
SORTS = ('when', 'seconds', 'size', 'task', 'state', 'id')
#: An id, or the beginning of one; anything else is Python.
_ID = re.compile('[0-9a-f]{4,32}')


def _condition(text: str) -> tuple[str, str]:
    name, equals, value = text.partition('=')
    if not equals or not name:
        raise argparse.ArgumentTypeError(f'{text} is not a condition: write NAME=VALUE')
    return name, value


def _count(text: str) -> int:
    return whole_number(text, least=0)


@magics_class
class HistoryMagics(Magics):
    """The history of a workspace: `%kart_runs`, `%kart_diff`, `%kart_clean`, `%kart_accept`, `%kart_adopt`."""

    @kart_magic(
        option(
            '--task',
            'of this class; * and ? match as in file names; may be repeated',
            metavar='NAME',
            action='append',
            takes='task',
        ),
        option('--since', "not older than this: '2d', '3h', 'today', '2024-05-01'", metavar='TIME'),
        option('--until', 'not newer than this', metavar='TIME'),
        option('--state', ', '.join(STATES), metavar='STATE', action='append', choices=STATES),
        option(
            '--where',
            'with this parameter value; may be repeated',
            metavar='NAME=VALUE',
            action='append',
            type=_condition,
            default=[],
        ),
        option('--sort', f'{", ".join(SORTS)}, or a parameter', metavar='COLUMN', default='when'),
        option('--limit', 'at most N rows', metavar='N', type=_count),
        kind=line_magic,
    )
    def kart_runs(self, given: Given) -> Runs:
        """Show the recorded results of a workspace, newest first: `%kart_runs [PATH] [options]`.

        The value of the magic is a `kartnb.Runs`, which has `to_dataframe()`.
        """
        __tracebackhide__ = True
        from kartnb.history.workspace import Workspace

        options = given.options
        where: dict[str, list[str]] = {}
        for name, value in options.where:
            where.setdefault(name, []).append(value)
        return Workspace(unquoted(given.expression) or None).runs(
            options.task,
            since=options.since,
            until=options.until,
            state=options.state,
            where=where,
            sort=options.sort,
            limit=options.limit,
        )

    @kart_magic(
        option('--remove', 'remove it'),
        option('--workspace', 'the workspace; that of the tasks by default', metavar='PATH'),
        option('--keep-age', "keep replaced results for this long: '2w', '3d'", metavar='TIME'),
        option('--keep-number', 'keep this many replaced results of each task', metavar='N', type=_count),
        option('--keep-bytes', "keep the newest replaced results, up to '500MB'", metavar='SIZE'),
        option('--keep', "only what is beyond this size of the workspace: '20GB'", metavar='SIZE'),
        option('--unrecorded', 'include results without a record or log'),
        option('--all', 'include results of other notebooks and scripts, and of unknown origin'),
        kind=line_magic,
    )
    def kart_clean(self, given: Given) -> Cleaning:
        """Show what tasks do not need, and replaced results: `%kart_clean [EXPR ...] [options]`.

        EXPR gives a task or a list of tasks; there may be several, `%kart_clean A() B()`. Without a task, only replaced
        results can be removed. Results of other notebooks are left alone. The value of the magic has `remove()`.
        """
        __tracebackhide__ = True
        from kartnb.history.clean import clean

        options = given.options
        return clean(
            *map(given.value, _expressions(given.expression)),
            workspace=options.workspace,
            remove=options.remove,
            keep_age=options.keep_age,
            keep_number=options.keep_number,
            keep_bytes=options.keep_bytes,
            keep=options.keep,
            unrecorded=options.unrecorded,
            everything=options.all,
        )

    @kart_magic(
        option('--why', 'why the change does not matter', metavar='TEXT', default=''),
        option('--workspace', 'the workspace of a class; the one that tasks use by default', metavar='PATH'),
        kind=line_magic,
    )
    def kart_accept(self, given: Given) -> Accepted:
        """Keep results although their code has changed: `%kart_accept EXPR [--why TEXT]`.

        EXPR gives a task, or a class for all its results that are stale by their code only. Their records then name
        the present code, and who accepted it, when and why.
        """
        __tracebackhide__ = True
        from kartnb.inspection.accept import accept

        if not given.expression:
            raise UsageError('%kart_accept needs a task or a class: %kart_accept Train --why "only renamed"')
        return accept(given.value(), given.options.why, workspace=given.options.workspace)

    @kart_magic(
        option('--of', 'what the class was: its module and name', metavar='MODULE.CLASS', default=''),
        option('--workspace', 'the workspace; the one that tasks use by default', metavar='PATH'),
        kind=line_magic,
    )
    def kart_adopt(self, given: Given) -> Adopted:
        """Take over the results of a class that was moved or renamed: `%kart_adopt CLASS --of MODULE.CLASS`."""
        __tracebackhide__ = True
        from kartnb.inspection.adopt import adopt

        if not given.expression or not given.options.of:
            raise UsageError('%kart_adopt needs a class and what it was: %kart_adopt Best --of churn.tasks.train.Best')
        return adopt(given.value(), given.options.of, workspace=given.options.workspace)

    @kart_magic(
        option('--all', 'also show what is the same'),
        option('--values', 'load the values to compare them'),
        option('--workspace', 'where ids are looked up', metavar='PATH'),
        kind=line_magic,
    )
    def kart_diff(self, given: Given) -> Difference:
        """Show what differs between two results: `%kart_diff A [B] [options]`.

        A and B are ids, the beginnings of ids, or expressions that give tasks or rows. Without B, A is compared with
        the result that it replaced.
        """
        __tracebackhide__ = True
        from kartnb.inspection.diff import diff

        texts = [word.text for word in words_of(given.expression, ',')]
        results = [text if _ID.fullmatch(text) else given.value(text) for text in texts]
        if not 1 <= len(results) <= 2:
            raise UsageError('%kart_diff needs one or two results: ids, or expressions such as MyTask(…)')
        options = given.options
        return diff(*results, workspace=options.workspace, all=options.all, values=options.values)


def _expressions(line: str) -> list[str]:
    """The expressions of a line: one, or several with spaces or commas in between."""
    if not line or _is_expression(line):
        return [line] if line else []
    several = [word.text for word in words_of(line, ',')]
    return several if all(map(_is_expression, several)) else [line]  # an error is about the whole line


def _is_expression(text: str) -> bool:
    try:
        ast.parse(text, mode='eval')
    except (SyntaxError, ValueError):
        return False
    return True
