"""Any function can be told how a build ended; that it fails is a line in the log. apprise, against a real server."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import traceback
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import luigi
import pytest

import kartnb
from kartnb.config import TaskDumpConfig, TaskDumpMode, TaskDumpOutputType
from kartnb.errors import NotificationError
from kartnb.execution.report import BuildReport
from kartnb.model import TaskState
from kartnb.notify.apprise import to_apprise


class Half(kartnb.TaskOnKart[int]):
    number = luigi.IntParameter()

    def run(self) -> None:
        if self.number % 2:
            raise ValueError(f'{self.number} is odd')
        self.dump(self.number // 2)


@pytest.fixture
def received() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address of a server, and what was posted to it."""
    posts: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posts.append(json.loads(self.rfile.read(int(self.headers['Content-Length']))))
            self.send_response(500 if 'broken' in self.path else 200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.02}, daemon=True)
    thread.start()
    yield f'127.0.0.1:{server.server_port}', posts
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_function_is_given_the_report() -> None:
    reports: list[BuildReport] = []
    assert kartnb.build(Half(number=4), notify=reports.append) == 2
    with pytest.raises(kartnb.GokartBuildError) as raised:
        kartnb.build(Half(number=3), notify=[reports.append, reports.append])
    assert [report.succeeded for report in reports] == [True, False, False]
    assert raised.value.report is reports[1] is reports[2]
    assert str(reports[0]).startswith('✓ Build of Half')


def test_a_function_that_fails_is_one_sentence_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def offline(report: BuildReport) -> None:
        raise OSError('the network is down')

    reports: list[BuildReport] = []
    assert kartnb.build(Half(number=4), notify=[offline, reports.append]) == 2
    assert caplog.messages == ['The report of the build could not be sent: OSError: the network is down']
    assert len(reports) == 1


def test_builds_in_the_background_report_too() -> None:
    reports: list[BuildReport] = []
    assert kartnb.build(Half(number=4), background=True, notify=reports.append).result() == 2
    assert asyncio.run(kartnb.build_async(Half(number=8), executor='threads', notify=reports.append)) == 4
    assert [type(report.plan.root.task).__name__ for report in reports] == ['Half', 'Half']


@pytest.mark.parametrize('wrong', ['slack', 5, None, {'slack': len}, [None]])
def test_what_is_not_a_function_is_refused(workspace: Any, wrong: Any) -> None:
    shown = repr(wrong[0] if isinstance(wrong, list) else wrong)
    with pytest.raises(TypeError, match=r'such as kartnb\.notify\.slack\.to_slack') as raised:
        kartnb.build(Half(number=4), notify=wrong)
    assert str(raised.value).startswith('notify must be a function that takes the report of a build')
    assert str(raised.value).endswith(f', not {shown}.')
    assert not workspace.exists()


def test_a_function_that_nothing_would_await_is_refused(workspace: Any) -> None:
    async def send(report: BuildReport) -> None: ...

    class Sender:
        async def __call__(self, report: BuildReport) -> None: ...

    for notify in (send, Sender()):
        with pytest.raises(TypeError, match='notify must be a function that is not async'):
            kartnb.build(Half(number=4), notify=notify)
    assert not workspace.exists()


def test_a_function_that_exits_does_not_end_the_process(caplog: pytest.LogCaptureFixture) -> None:
    def leave(report: BuildReport) -> None:
        raise SystemExit(3)

    reports: list[BuildReport] = []
    assert kartnb.build(Half(number=4), notify=[leave, reports.append]) == 2
    assert caplog.messages == ['The report of the build could not be sent: SystemExit: 3']
    assert len(reports) == 1


def test_the_error_of_a_function_is_masked(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('SLACK_TOKEN', 'xoxb-hunter2')

    def refused(report: BuildReport) -> None:
        raise OSError('Bearer xoxb-hunter2 was refused')

    assert kartnb.build(Half(number=4), notify=refused) == 2
    assert caplog.messages == ['The report of the build could not be sent: OSError: Bearer •••••• was refused']


class Unplanned(kartnb.TaskOnKart[int]):
    password = luigi.Parameter(visibility=luigi.parameter.ParameterVisibility.PRIVATE, default='open sesame')

    def requires(self) -> Any:
        raise ValueError(f'{self.password} is wrong')


class Cyclic(kartnb.TaskOnKart[int]):
    def requires(self) -> Any:
        return Cyclic()


@pytest.mark.parametrize(
    'task, line', [(Unplanned, 'ValueError: •••••• is wrong'), (Cyclic, 'CyclicRequirementsError')]
)
@pytest.mark.parametrize(
    'options',
    [
        {},
        {'background': True},
        {'task_dump_config': TaskDumpConfig(mode=TaskDumpMode.TREE, output_type=TaskDumpOutputType.PRINT)},
    ],
)
def test_a_build_that_cannot_be_planned_is_told_of(task: type[luigi.Task], line: str, options: Any) -> None:
    reports: list[BuildReport] = []
    with pytest.raises((ValueError, kartnb.errors.CyclicRequirementsError)):
        kartnb.build(task(), notify=reports.append, **options)
    [report] = reports
    assert (report.succeeded, report.began) == (False, False)
    assert str(report).startswith(f'✗ Build of {task.__name__} failed in')
    assert line in str(report)
    assert line in report._repr_html_()
    assert 'sesame' not in str(report) + report._repr_html_()


class Interrupted(kartnb.TaskOnKart[int]):
    def requires(self) -> Any:
        return Half(number=4)

    def run(self) -> None:
        raise KeyboardInterrupt


class InterruptedBefore(kartnb.TaskOnKart[int]):
    def requires(self) -> Any:
        raise KeyboardInterrupt


@pytest.mark.parametrize('task, ran', [(Interrupted, ['Half']), (InterruptedBefore, [])])
def test_an_interrupted_build_is_told_of(task: type[luigi.Task], ran: list[str]) -> None:
    reports: list[BuildReport] = []
    with pytest.raises(KeyboardInterrupt):
        kartnb.build(task(), notify=reports.append)
    [report] = reports
    assert (report.succeeded, report.interrupted) == (False, True)
    assert f'Build of {task.__name__}' in str(report)
    assert 'was stopped after' in str(report)
    done = [node.name for node in report.plan if node.state is TaskState.DONE]
    assert done == ran


def test_an_interrupted_build_in_the_background_is_told_of_once() -> None:
    reports: list[BuildReport] = []
    handle = kartnb.build(Interrupted(), background=True, executor='inline', notify=reports.append)
    handle.wait()
    assert [report.succeeded for report in reports] == [False]


def test_apprise_sends_the_text(received: tuple[str, list[dict[str, Any]]]) -> None:
    address, posts = received
    notify = to_apprise(f'json://{address}')
    kartnb.build(Half(number=4), notify=notify)
    with pytest.raises(kartnb.GokartBuildError):
        kartnb.build(Half(number=3), notify=notify)
    assert [post['title'].partition('[')[0] for post in posts] == ['✓ Build of Half', '✗ Build of Half']
    assert [post['type'] for post in posts] == ['success', 'failure']
    assert 'ValueError: 3 is odd' in posts[1]['message']


def test_a_service_that_refuses_does_not_fail_the_build(
    received: tuple[str, list[dict[str, Any]]], caplog: pytest.LogCaptureFixture
) -> None:
    address, posts = received
    assert kartnb.build(Half(number=4), notify=to_apprise(f'json://{address}/broken')) == 2
    assert len(posts) == 1
    sentence = 'NotificationError: apprise could not reach all of its 1 services; its log says why.'
    assert f'The report of the build could not be sent: {sentence}' in caplog.messages


def test_an_address_is_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    address = 'nowhere://user:hunter2@example.org'
    with pytest.raises(NotificationError) as raised:
        to_apprise('json://127.0.0.1', address)
    text = ''.join(traceback.format_exception(raised.value))
    assert 'Address 2, nowhere://…, is not one that apprise knows.' in text
    assert 'hunter2' not in text + repr(raised.value) + caplog.text
