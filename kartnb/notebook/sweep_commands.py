"""What the magics of sweeps do."""

from __future__ import annotations

import logging
from typing import Any

import luigi
from IPython.core.error import UsageError

from kartnb.errors import TaskArgumentError
from kartnb.execution.sweeps.background import BackgroundSweep
from kartnb.execution.sweeps.sweep import sweep
from kartnb.execution.sweeps.template import Template
from kartnb.notebook.arguments import Arguments
from kartnb.notebook.command import Command
from kartnb.notebook.expression import value_of
from kartnb.notebook.live_views import note_shown
from kartnb.notebook.space_syntax import split_space, values_of
from kartnb.notebook.sweep_arguments import interact_parser, sweep_parser, words_of
from kartnb.notebook.sweep_screen import show_background_sweep


class SweepCommands(Command):
    """Sweeping over parameter values."""

    def sweep(self, line: str, cell: str | None, local_ns: dict[str, Any] | None) -> Any:
        """Build a task for each point of a grid, and compare them."""
        __tracebackhide__ = True
        given = self._taken_apart(sweep_parser(), f'{line} {cell or ""}')
        if given is None:
            return None
        options = given.options
        with self._own_part_shown():
            task, space = self._space('kart_sweep', given, local_ns)
            found = sweep(
                task,
                space,
                metric=self._metric(options.metric, local_ns),
                direction='minimize' if options.minimize else 'maximize',
                sample=options.sample,
                seed=options.seed,
                sampler='optuna' if options.search else None,
                trials=options.trials,
                workers=options.workers,
                rerun=options.rerun,
                background=options.background,
                dry_run=options.dry_run,
                log_level=options.log_level or logging.ERROR,
            )
            return self._shown(found)

    def _shown(self, found: Any) -> Any:
        """What a sweep gives; one in the background is shown in the cell that has begun it."""
        if isinstance(found, BackgroundSweep):
            show_background_sweep(found, self._shell)
            note_shown(found, self._shell)
        return found

    def interact(self, line: str, cell: str | None, local_ns: dict[str, Any] | None) -> Any:
        """Show controls for parameters, and the result that they give."""
        __tracebackhide__ = True
        given = self._taken_apart(interact_parser(), f'{line} {cell or ""}')
        if given is None:
            return None
        options = given.options
        with self._own_part_shown():
            task, space = self._space('kart_interact', given, local_ns)
            from kartnb.notebook.interact import interact

            return interact(
                task,
                space,
                auto=options.auto,
                keep=options.keep,
                workers=options.workers,
                output=self._function(options.output, local_ns),
            )

    def _function(self, text: str | None, local_ns: dict[str, Any] | None) -> Any:
        """What `--output` means: a function of the user's, or an expression that gives one."""
        if text is None:
            return None
        found = value_of(text, 'kart_interact', self._shell, local_ns)
        if not callable(found):
            raise UsageError(f'%kart_interact: --output takes a function, and {text} is none')
        return found

    def _space(
        self, magic: str, given: Arguments, local_ns: dict[str, Any] | None
    ) -> tuple[type[luigi.Task] | luigi.Task, dict[str, Any]]:
        """The task at the beginning of a line, and the values by parameter name."""
        expression, texts = split_space(words_of(given.expression))
        if not expression:
            raise UsageError(f'%{magic} needs a task class and values, such as %{magic} MyTask depth=1:10')
        task = value_of(expression, magic, self._shell, local_ns)
        try:
            template = Template(task)
        except TaskArgumentError as error:
            raise UsageError(f'%{magic}: {error}') from None

        def evaluate(text: str) -> Any:
            return value_of(text, magic, self._shell, local_ns)

        return task, {name: values_of(template, name, text, evaluate) for name, text in texts.items()}

    def _metric(self, text: str | None, local_ns: dict[str, Any] | None) -> Any:
        """What `--metric` means: a function of the user's, a name, or several."""
        if text is None:
            return None
        found = (local_ns or {}).get(text, self._shell.user_ns.get(text))
        if callable(found):
            return found
        names = [name.strip() for name in text.split(',') if name.strip()]
        return names if len(names) > 1 else text
