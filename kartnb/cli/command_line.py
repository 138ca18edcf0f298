"""luigi's command line, with a sentence for each mistake instead of a page of usage or a traceback."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NoReturn

import luigi
from luigi.task_register import Register, TaskClassAmbigiousException, TaskClassNotFoundException

from kartnb._luigi import CommandLineParser, option_names, registered_family, registered_tasks, set_command_line
from kartnb.errors import CommandLineError
from kartnb.task.secrets import is_secret

#: Beginnings of options that gokart has and kartnb does not.
_NOT_HERE = ('--tree-info-', '--test-run-', '--SlackConfig-')
_UNRECOGNIZED = 'unrecognized arguments: '
_LIBRARIES = ('luigi', 'kartnb', 'gokart')

_register: Any = Register


@contextmanager
def command_line(args: Sequence[str]) -> Iterator[CommandLine]:
    """A command line that holds, for all tasks that are made, while the block runs.

    Raises
    ------
    CommandLineError
        When it makes no sense.
    """
    parsed = CommandLine(list(args))
    earlier = set_command_line(parsed)
    try:
        yield parsed
    finally:
        set_command_line(earlier)


class CommandLine(CommandLineParser):
    """The arguments of a command line, by luigi's parser.

    Attributes
    ----------
    known_args
        What was given, by luigi's names.
    """

    def __init__(self, args: list[str]) -> None:
        try:
            super().__init__(args)
        except TaskClassNotFoundException as error:
            name = str(error).removeprefix('No task ').partition('. ')[0]
            raise CommandLineError(_unknown_task(name)) from None
        except TaskClassAmbigiousException as error:
            raise CommandLineError(_ambiguous_task(str(error).split("'")[1])) from None

    def option(self, name: str) -> str | None:
        """What was given for an option of luigi's section ``[core]``; None where nothing was."""
        value = getattr(self.known_args, f'core_{name}', None)
        return None if value is None else str(value)

    def adjust(self, parser: argparse.ArgumentParser, root_task: str | None) -> None:
        """Let a mistake be one sentence."""
        parser.error = partial(_refuse, parser)  # type: ignore[method-assign]
        if root_task is None:
            parser.allow_abbrev = False  # the task's own options come later: --n is not yet short for --no-lock

    def load_module(self, module: str) -> None:
        """Import the module of ``--module``, or say that there is none."""
        try:
            super().load_module(module)
        except ModuleNotFoundError as error:
            if f'{module}.'.startswith(f'{error.name}.'):
                raise CommandLineError(f'--module {module}: there is no module named {error.name!r}.') from None
            raise

    def parsed(self, name: str, parameter: luigi.Parameter[Any], text: Any) -> Any:
        """The value of a parameter that was given; a message never shows a secret one."""
        try:
            return super().parsed(name, parameter, text)
        except Exception as error:
            option = f'--{name.replace("_", "-")}'
            if is_secret(parameter):
                raise CommandLineError(f'{option} does not take this value.') from None
            raise CommandLineError(f'{option} does not take {text!r:.200}: {_one_line(error)}.') from error


def _one_line(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return ' '.join(text.split()).rstrip('.')


def _refuse(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    """What argparse calls when a command line makes no sense; its own way prints all options there are."""
    if not message.startswith(_UNRECOGNIZED):
        raise CommandLineError(f'{message[:1].upper()}{message[1:]}.')
    unknown = message.removeprefix(_UNRECOGNIZED).split()
    names = [word.partition('=')[0] for word in unknown if word.startswith('-')]
    if not names:
        raise CommandLineError(f'What is {" ".join(unknown)!r}? After the task only options follow, such as --help.')
    raise CommandLineError(' '.join(_unknown_option(name, parser) for name in names))


def _unknown_option(name: str, parser: argparse.ArgumentParser) -> str:
    if name.startswith(_NOT_HERE):
        return f'{name} is an option of gokart that kartnb does not have.'
    near = difflib.get_close_matches(name, option_names(parser), n=1)
    return f'There is no option {name}: {f"did you mean {near[0]}?" if near else "--help lists those there are."}'


def _unknown_task(name: str) -> str:
    known = sorted(family for family in _register.task_names() if not _is_librarys(family))
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f'There is no task {name}: did you mean {near[0]}?'
    if known:
        return f'There is no task {name}: those there are are {", ".join(known)}.'
    return f'There is no task {name}, and none at all: name the module of the tasks with --module.'


def _ambiguous_task(name: str) -> str:
    modules = {cls.__module__ for cls in registered_tasks() if cls.get_task_family() == name}
    return f'There are several tasks named {name}, in {" and ".join(sorted(modules))}: set their task_namespace.'


def _is_librarys(family: str) -> bool:
    module = getattr(registered_family(family), '__module__', '')
    return module.partition('.')[0] in _LIBRARIES
