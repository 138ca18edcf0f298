"""The `kartnb` command, also ``python -m kartnb``: what is done to recorded results, without running tasks."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from kartnb import display
from kartnb.errors import KartError, TaskArgumentError
from kartnb.task.base import TaskOnKart

_USAGE_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what a command line asks for; gives the return code."""
    given = _parser().parse_args(arguments)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as `python -m` does, so that the modules of a project are found
    try:
        sys.stdout.write(f'{given.do(given)}\n')
    except KartError as error:
        sys.stderr.write(f'{error}\n')
        return _USAGE_ERROR
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser('kartnb', description='Recorded results: accept, adopt, clean.')
    commands = parser.add_subparsers(required=True, metavar='COMMAND')
    workspace: dict[str, Any] = {'metavar': 'PATH', 'help': 'the workspace; by default the one that tasks use'}
    accept = commands.add_parser('accept', help='keep results although their code has changed')
    accept.add_argument('cls', metavar='MODULE:CLASS', help='the class whose results are accepted')
    accept.add_argument('--why', default='', metavar='TEXT', help='why the change does not matter')
    accept.add_argument('--workspace', **workspace)
    accept.set_defaults(do=_accept)
    adopt = commands.add_parser('adopt', help='take over the results of a class that was moved or renamed')
    adopt.add_argument('cls', metavar='MODULE:CLASS', help='the class as it is now')
    adopt.add_argument('--of', required=True, metavar='MODULE.CLASS', help='what it was')
    adopt.add_argument('--workspace', **workspace)
    adopt.set_defaults(do=_adopt)
    clean = commands.add_parser('clean', help='list replaced results, and what is beyond a size; remove them')
    clean.add_argument('--keep', metavar='SIZE', help="only what is beyond this size of the workspace: '20GB'")
    clean.add_argument('--remove', action='store_true', help='remove it')
    clean.add_argument('--all', action='store_true', help='include results of other notebooks and scripts')
    clean.add_argument('--workspace', **workspace)
    clean.set_defaults(do=_clean)
    return parser


def _accept(given: Any) -> Any:
    from kartnb.inspection.accept import accept

    return accept(class_named(given.cls), given.why, workspace=given.workspace)


def _adopt(given: Any) -> Any:
    from kartnb.inspection.adopt import adopt

    return adopt(class_named(given.cls), given.of, workspace=given.workspace)


def _clean(given: Any) -> Any:
    from kartnb.history.clean import clean

    found = clean(workspace=given.workspace, remove=given.remove, keep=given.keep, everything=given.all)
    return display.render(found, 'text')


def class_named(text: str) -> type[TaskOnKart[Any]]:
    """The class that ``module:Class`` names; raises TaskArgumentError where there is none."""
    module, separator, name = text.partition(':')
    if not separator or not module or not name:
        raise TaskArgumentError(f'{text!r:.80} does not name a class: write MODULE:CLASS, such as churn.tasks:Train.')
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        raise TaskArgumentError(f'The module {error.name} was not found.') from None
    if not (isinstance(found, type) and issubclass(found, TaskOnKart)):
        raise TaskArgumentError(f'{module} has no class of tasks {name}.')
    return found
