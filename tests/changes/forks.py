"""Kernels that are made in a moment: each is forked from a process that waits with IPython and kartnb imported.

To what runs in it, such a process is a notebook's kernel that was just started: `__main__` is empty, nothing of the
user's is imported, and luigi knows no class of the user's. Two that are forked from different processes have another
hash seed, and other libraries were imported before.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import pkgutil
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.fork_server import ROOT, ForkServer, fork_server


@dataclass(frozen=True)
class Step:
    """What a person does: files are written (or removed, by None), cells are run, a task is planned and built."""

    cells: tuple[str, ...] = ()
    files: dict[str, str | None] = field(default_factory=dict)
    #: The task, as an expression; '' where nothing is built.
    task: str = 'T()'
    #: Options of `kartnb.build`.
    options: dict[str, Any] = field(default_factory=dict)
    #: Whether the person looks at the plan, the reasons and the card before the build.
    looks: bool = True


@dataclass(frozen=True)
class Seen:
    """What a person sees of a step."""

    #: The repr of the value of the build.
    value: str = ''
    #: The classes of the tasks that the build has run, in the order in which they were begun.
    ran: tuple[str, ...] = ()
    #: The state of the task in the plan before the build, and what the plan says of it.
    state: str = ''
    reason: str = ''
    plan: str = ''
    why: str = ''
    card: str = ''
    #: What the build said.
    told: str = ''
    #: The traceback of what was raised.
    error: str = ''


@dataclass(frozen=True)
class Story:
    """Steps in a working directory."""

    place: Path
    steps: Sequence[Step]


class Fork:
    """A process from which others are forked, each like a notebook's kernel that was just started."""

    def __init__(self, server: ForkServer, answer: Path) -> None:
        self._server = server
        self._answer = answer

    def tell(self, stories: Sequence[Story]) -> list[list[Seen]]:
        """Take the steps of some stories in one new process: each begins with nothing defined and nothing imported."""
        told = [[str(story.place), [asdict(step) for step in story.steps]] for story in stories]
        script = f'from tests.changes import forks\nforks.tell({told!r}, {str(self._answer)!r})\n'
        if self._server.run(script, ROOT) is None:
            why = 'the process has died, or did not end in time'
            return [self.tell([story])[0] for story in stories] if len(stories) > 1 else [[Seen(error=why)]]
        answer = json.loads(self._answer.read_text())
        return [[Seen(**{**seen, 'ran': tuple(seen['ran'])}) for seen in story] for story in answer]


@contextlib.contextmanager
def fork(hash_seed: int, imports: Sequence[str], directory: Path) -> Iterator[Fork]:
    """Have a `Fork`, which writes to a directory, and end it afterwards."""
    with fork_server(f'from tests.changes import forks\nforks.prepare({list(imports)!r})\n', hash_seed) as server:
        yield Fork(server, directory / f'answer-{hash_seed}.json')


# ----- in the process itself ------------------------------------------------------------------------------------------


def prepare(imports: Sequence[str]) -> None:
    """Have a shell with kartnb loaded, and everything imported that a test may need."""
    from IPython.core.history import HistoryManager
    from IPython.core.interactiveshell import InteractiveShell

    HistoryManager.enabled = False
    shell = InteractiveShell.instance(colors='nocolor')
    for name in imports:
        __import__(name)
    import kartnb

    kartnb.load_ipython_extension(shell)
    for package in ('execution', 'history', 'inspection', 'planning', 'storage', 'storage.formats', 'task', 'view'):
        for module in pkgutil.iter_modules([str(ROOT / 'kartnb' / package.replace('.', '/'))], f'kartnb.{package}.'):
            __import__(module.name)
    shell.run_cell('')


def tell(stories: Sequence[Any], answer: str) -> None:
    """Take the steps of some stories, and write what is seen to a file."""
    from IPython.core.interactiveshell import InteractiveShell

    shell, path = InteractiveShell.instance(), [*sys.path]
    found = []
    for place, steps in stories:
        os.chdir(place)
        sys.path[:] = path
        found.append(list(_tell(shell, [Step(**step) for step in steps])))
        _forget(shell, Path(place))
    Path(answer).write_text(json.dumps(found))


def _tell(shell: Any, steps: Sequence[Step]) -> Iterator[dict[str, Any]]:
    for step in steps:
        seen = _take(shell, step)
        yield asdict(seen)
        if seen.error:
            return


def _forget(shell: Any, place: Path) -> None:
    """Leave nothing of a story behind."""
    from luigi.task_register import Register

    if 'autoreload' in shell.extension_manager.loaded:
        shell.run_cell('%autoreload 0')
    shell.reset(new_session=False)
    own = [name for name, module in sys.modules.items() if str(place) in str(getattr(module, '__file__', ''))]
    for name in own:
        del sys.modules[name]
    Register._reg = [cls for cls in Register._reg if cls.__module__ not in ('__main__', *own)]
    Register.clear_instance_cache()


def _take(shell: Any, step: Step) -> Seen:
    told = io.StringIO()
    try:
        for name, text in step.files.items():
            _write(Path(name), text)
        importlib.invalidate_caches()
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            for cell in step.cells:
                shell.run_cell(cell, store_history=True).raise_error()
            return _build(shell, step, told) if step.task else Seen()
    except BaseException:
        return Seen(told=told.getvalue(), error=traceback.format_exc())


def _write(path: Path, text: str | None) -> None:
    if text is None:
        path.unlink(missing_ok=True)
        return
    if path.exists() and path.read_text(encoding='utf-8') == text:
        path.touch()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.stat().st_mtime if path.exists() else 0.0
    path.write_text(text, encoding='utf-8')
    if before:  # tools that look at the time of a file look at whole seconds
        os.utime(path, (before + 2, before + 2))


def _build(shell: Any, step: Step, told: io.StringIO) -> Seen:
    import kartnb
    from kartnb.model import TaskState, TaskStateChanged

    task = shell.ev(step.task)
    looked = _look(task, step.options) if step.looks else {}
    begun: dict[str, None] = {}

    def listen(event: object) -> None:
        if isinstance(event, TaskStateChanged) and event.state is TaskState.RUNNING:
            begun.setdefault(event.key)

    told.truncate(0)
    told.seek(0)
    value = kartnb.build(task, listeners=[listen], **step.options)
    ran = tuple(key.rpartition('_')[0] for key in begun)
    return Seen(value=repr(value), ran=ran, told=told.getvalue(), **looked)


def _look(task: Any, options: dict[str, Any]) -> dict[str, Any]:
    import kartnb

    policy = {name: value for name, value in options.items() if name == 'on_code_change'}
    plan = kartnb.plan(task, **policy)
    return {
        'state': str(plan.root.state),
        'reason': plan.root.why,
        'plan': str(plan),
        'why': str(kartnb.why(task, **policy)),
        'card': str(kartnb.inspect(task)),
    }
