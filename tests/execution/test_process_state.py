"""A build leaves the process as it found it."""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import luigi
import numpy as np
import pytest
from luigi.task_register import Register

import kartnb
from kartnb.storage.places import log_path, read_log


class Chatty(kartnb.TaskOnKart[float]):
    name = luigi.Parameter('a')

    def run(self) -> None:
        user = logging.getLogger('users.own')
        user.debug('debug %s', self.name)
        user.info('info %s', self.name)
        user.error('error %s', self.name)
        np.random.rand()
        self.dump(random.random())


class Failing(kartnb.TaskOnKart):
    def run(self) -> None:
        raise ValueError('failing')


def _loggers() -> dict[str, Any]:
    named = {
        name: logger for name, logger in logging.root.manager.loggerDict.items() if isinstance(logger, logging.Logger)
    }
    return {
        name: (logger.level, tuple(logger.handlers), logger.disabled, logger.propagate, tuple(logger.filters))
        for name, logger in {'': logging.root, **named}.items()
    }


def _handlers() -> dict[int, Any]:
    return {id(handler): (handler.level, tuple(handler.filters)) for handler in logging.root.handlers}


@pytest.fixture(params=['success', 'failure', 'bad plan'])
def one_build(request: pytest.FixtureRequest) -> Any:
    def build() -> None:
        if request.param == 'success':
            kartnb.build(Chatty(rerun=True), log_level=logging.DEBUG)
        elif request.param == 'failure':
            with pytest.raises(kartnb.GokartBuildError):
                kartnb.build(Failing(), log_level=logging.DEBUG)
        else:
            with pytest.raises(kartnb.errors.TaskArgumentError):
                kartnb.build(3)

    return build


@pytest.fixture(autouse=True)
def users_own_handler() -> Iterator[logging.Handler]:
    handler = logging.StreamHandler()
    logging.root.addHandler(handler)
    yield handler
    logging.root.removeHandler(handler)


def test_loggers_levels_and_handlers(one_build: Any) -> None:
    one_build()
    before, handlers, disabled = _loggers(), _handlers(), logging.root.manager.disable
    one_build()
    assert _loggers() == before
    assert _handlers() == handlers
    assert logging.root.manager.disable == disabled


def test_the_users_logging_disable_stays() -> None:
    logging.disable(logging.INFO)
    try:
        kartnb.build(Chatty(), log_level=logging.DEBUG)
        assert logging.root.manager.disable == logging.INFO
    finally:
        logging.disable(logging.NOTSET)


def test_luigis_logging_is_not_configured(one_build: Any) -> None:
    from luigi.setup_logging import InterfaceLogging

    before = InterfaceLogging._configured
    one_build()
    assert InterfaceLogging._configured == before


def test_the_register(one_build: Any) -> None:
    before = list(Register._reg)
    one_build()
    assert Register._reg == before
    assert Register.get_task_cls('Chatty') is Chatty


def test_event_callbacks(one_build: Any) -> None:
    before = {
        cls: {event: set(callbacks) for event, callbacks in events.items()}
        for cls, events in luigi.Task._event_callbacks.items()
    }
    one_build()
    after = {
        cls: {event: set(callbacks) for event, callbacks in events.items()}
        for cls, events in luigi.Task._event_callbacks.items()
    }
    assert after == before


def test_signal_handlers(one_build: Any) -> None:
    watched = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD]
    before = [signal.getsignal(number) for number in watched]
    one_build()
    assert [signal.getsignal(number) for number in watched] == before


def test_random_states(one_build: Any) -> None:
    random.seed(5)
    np.random.seed(5)
    expected = random.Random(5).random(), np.random.RandomState(5).rand()
    one_build()
    assert (random.random(), np.random.rand()) == expected


def test_the_task_draws_what_gokart_would_have_drawn() -> None:
    task = Chatty(name='b')
    seed = int(task.make_unique_id(), 16) % (2**32 - 1)
    assert kartnb.build(task) == random.Random(seed).random()


def test_each_build_has_its_own_log_level(
    capsys: pytest.CaptureFixture[str], users_own_handler: logging.Handler
) -> None:
    logging.root.removeHandler(users_own_handler)
    caught = list(logging.root.handlers)
    for handler in caught:
        logging.root.removeHandler(handler)
    try:
        shown = []
        for level in (logging.ERROR, logging.DEBUG, logging.INFO, logging.CRITICAL, logging.DEBUG):
            kartnb.build(Chatty(rerun=True), log_level=level)
            text = capsys.readouterr().err
            shown.append([word for word in ('debug a', 'info a', 'error a') if word in text])
    finally:
        for handler in caught:
            logging.root.addHandler(handler)
    everything = ['debug a', 'info a', 'error a']
    assert shown == [['error a'], everything, everything[1:], [], everything]


def test_the_users_handlers_get_what_they_would_have_got_without_a_build() -> None:
    heard: list[str] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.name.startswith('users'):
                heard.append(record.getMessage())

    handler = Keeping()
    logging.root.addHandler(handler)
    try:
        kartnb.build(Chatty(name='c'), log_level=logging.DEBUG)
        assert heard == ['error c']
        heard.clear()
        logging.getLogger('users').setLevel(logging.INFO)
        kartnb.build(Chatty(name='d'), log_level=logging.DEBUG)
        assert heard == ['info d', 'error d']
    finally:
        logging.getLogger('users').setLevel(logging.NOTSET)
        logging.root.removeHandler(handler)


def test_a_line_that_the_user_sees_already_is_not_shown_again(capsys: pytest.CaptureFixture[str]) -> None:
    import sys

    handler = logging.StreamHandler(sys.stderr)
    logging.root.addHandler(handler)
    try:
        kartnb.build(Chatty(name='e'), log_level=logging.ERROR)
    finally:
        logging.root.removeHandler(handler)
    assert capsys.readouterr().err.count('error e') == 1


def test_a_build_in_a_thread_works_and_does_not_seed_the_process() -> None:
    results: list[Any] = []
    random.seed(11)
    thread = threading.Thread(target=lambda: results.append(kartnb.build(Chatty(name='thread'))))
    thread.start()
    thread.join()
    assert len(results) == 1
    log = read_log(log_path('./resources/', 'random_seed', 'Chatty', Chatty(name='thread').make_unique_id()))
    assert log['seed_methods'] == []
    # one number was drawn by the task from the process's own sequence, and nothing was seeded
    expected = random.Random(11)
    assert results[0] == expected.random()
    assert random.random() == expected.random()


def test_two_builds_at_once_keep_their_log_lines_apart() -> None:
    lines: dict[str, list[str]] = {'x': [], 'y': []}

    def build(name: str) -> None:
        def hear(event: Any) -> None:
            if isinstance(event, kartnb.model.LogLine) and event.logger == 'users.own':
                lines[name].append(event.text)

        kartnb.build(Chatty(name=name), listeners=[hear], log_level=logging.CRITICAL)

    threads = [threading.Thread(target=build, args=(name,)) for name in lines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lines == {'x': ['info x', 'error x'], 'y': ['info y', 'error y']}
    assert logging.root.level == logging.WARNING


def test_an_interrupt_marks_the_running_task_and_the_next_build_goes_on() -> None:
    interrupt = True

    class Interrupted(kartnb.TaskOnKart):
        def requires(self) -> Any:
            return Chatty(name='before')

        def run(self) -> None:
            if interrupt:
                raise KeyboardInterrupt
            self.dump('went on')

    finished: list[Any] = []
    with pytest.raises(KeyboardInterrupt):
        kartnb.build(Interrupted(), listeners=[finished.append])
    states = {key.split('_')[0]: state.value for key, state in finished[-1].states.items()}
    assert states == {'Chatty': 'done', 'Interrupted': 'interrupted'}
    assert logging.root.level == logging.WARNING
    interrupt = False
    assert kartnb.build(Interrupted()) == 'went on'


class Leaving(kartnb.TaskOnKart[int]):
    n = luigi.IntParameter()

    def run(self) -> None:
        # not by a relative path: another thread may leave the working directory between the two steps
        elsewhere = os.path.join(os.environ['PLACE_OF_TEST'], 'elsewhere')
        os.makedirs(elsewhere, exist_ok=True)
        os.chdir(elsewhere)
        print('printed elsewhere')
        self.dump(self.n)
        assert self.output().exists()


class AllLeaving(kartnb.TaskOnKart[int]):
    def requires(self) -> Any:
        return [Leaving(n=n) for n in range(4)]

    def run(self) -> None:
        os.chdir('/')
        self.dump(sum(self.load()))


@pytest.mark.parametrize(
    'options',
    [{}, {'executor': 'threads', 'workers': 3}, {'workers': 2}, {'background': True}],
    ids=['inline', 'threads', 'workers', 'background'],
)
def test_a_task_that_leaves_the_working_directory_writes_where_the_plan_said(
    tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('PLACE_OF_TEST', str(tmp_path))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter('always')
        built = kartnb.build(AllLeaving(), **options)
        value = built.result() if 'background' in options else built
    assert value == 6
    assert Path.cwd() == tmp_path
    texts = [str(warning.message) for warning in warned if 'left the working directory' in str(warning.message)]
    assert bool(texts) == ('background' not in options and options != {'workers': 2}), 'workers have their own'
    assert not kartnb.plan(AllLeaving()).to_run()
    assert [line.text for line in kartnb.logs(Leaving(n=2)) if line.source == 'stdout'] == ['printed elsewhere']
    assert not [path for path in tmp_path.rglob('elsewhere/**/*') if path.is_file()]


def test_a_background_build_stays_in_the_directory_of_its_plan(tmp_path: Path) -> None:
    class Waiting(kartnb.TaskOnKart[str]):
        def run(self) -> None:
            while not (tmp_path / 'go').exists():
                time.sleep(0.01)
            self.dump('here')

    build = kartnb.build(Waiting(), background=True, executor='threads')
    (tmp_path / 'other').mkdir()
    os.chdir(tmp_path / 'other')
    (tmp_path / 'go').touch()
    assert build.result() == 'here'
    assert Path.cwd() == tmp_path / 'other', 'who changed it is not a task'
    assert os.listdir() == []
