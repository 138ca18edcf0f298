"""Reports to Slack, through a server that speaks its API; the token is nowhere to be seen."""

from __future__ import annotations

import contextlib
import logging
import os
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import luigi
import pytest

import kartnb
from kartnb.errors import NotificationError
from kartnb.notify.slack import (
    ChannelNotFoundError,
    EventAggregator,
    SlackAPI,
    SlackConfig,
    configured_slack,
    send_event_summary,
    to_slack,
)
from tests.notify.slack_server import TOKEN, Slack, serving


class Number(kartnb.TaskOnKart[int]):
    n = luigi.IntParameter(default=1)

    def run(self) -> None:
        if self.n > 1:
            raise ValueError(f'{self.n} is too many')
        self.dump(self.n)


class Sum(kartnb.TaskOnKart[int]):
    most = luigi.IntParameter(default=1)

    def requires(self) -> Any:
        return [Number(n=n) for n in range(self.most + 1)]

    def run(self) -> None:
        self.dump(sum(self.load()))


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slack]:
    monkeypatch.setenv('SLACK_TOKEN', TOKEN)
    with serving() as slack:
        monkeypatch.setattr(SlackConfig.base_url, '_default', f'{slack.address}/api/')
        yield slack


def api(slack: Slack, channel: str = 'builds', to_user: str = '', token: str = TOKEN) -> SlackAPI:
    return SlackAPI(token, channel, to_user, base_url=f'{slack.address}/api/')


def test_a_snippet_arrives_in_its_channel(slack: Slack) -> None:
    api(slack, to_user='ada').send_snippet('Done', 'event.txt', 'All is well: ünïcode.')
    (message,) = slack.messages
    assert message['channel_id'] == 'C0000000BUILDS'
    assert message['initial_comment'] == '<@ada> Done'
    assert message['files'][0]['title'] == 'event.txt'
    assert 'All is well: ünïcode.' in message['content']
    assert slack.calls == [
        'conversations.list',
        'conversations.list',
        'files.getUploadURLExternal',
        'files.completeUploadExternal',
    ]


@pytest.mark.parametrize('to_user, comment', [('', 'Done'), ('@ada', '<@ada> Done')])
def test_who_is_mentioned(slack: Slack, to_user: str, comment: str) -> None:
    api(slack, to_user=to_user).send_snippet('Done', 'event.txt', 'x')
    assert slack.messages[0]['initial_comment'] == comment


@pytest.mark.parametrize('channel', ['#builds', 'C0123456789'])
def test_a_channel_by_another_name(slack: Slack, channel: str) -> None:
    api(slack, channel).send_snippet('Done', 'event.txt', 'x')
    assert slack.messages[0]['channel_id'] == {'#builds': 'C0000000BUILDS'}.get(channel, channel)


def test_a_channel_that_is_not_there(slack: Slack, caplog: pytest.LogCaptureFixture) -> None:
    api(slack, 'bilds').send_snippet('Done', 'event.txt', 'x')
    assert [record.getMessage() for record in caplog.records if record.name == 'kartnb'] == [
        'The job will start without slack notification: Channel bilds is not found in public channels.'
    ]
    assert slack.messages == []
    assert issubclass(ChannelNotFoundError, RuntimeError)


def test_a_wrong_token(slack: Slack, caplog: pytest.LogCaptureFixture) -> None:
    api(slack, token='wrong-token').send_snippet('Done', 'event.txt', 'x')
    assert 'The job will start without slack notification: SlackApiError: invalid_auth' in caplog.messages
    assert 'wrong-token' not in caplog.text


@pytest.mark.parametrize('method', ['files.getUploadURLExternal', 'files.completeUploadExternal'])
def test_a_refused_upload(slack: Slack, caplog: pytest.LogCaptureFixture, method: str) -> None:
    slack.errors[method] = 'not_in_channel'
    api(slack).send_snippet('Done', 'event.txt', 'x')
    assert 'Failed to send slack notification: SlackApiError: not_in_channel' in caplog.messages


def test_a_server_that_is_down(caplog: pytest.LogCaptureFixture) -> None:
    with serving() as gone:
        pass
    api(gone)
    assert len([text for text in caplog.messages if text.startswith('The job will start without')]) == 1


def test_a_build_is_reported(slack: Slack) -> None:
    with pytest.raises(kartnb.GokartBuildError):
        kartnb.build(Sum(most=2), notify=to_slack('builds'))
    first, second, third = (Number(n=n).make_unique_id() for n in range(3))
    (message,) = slack.messages
    assert message['initial_comment'] == f'Report of Sum{os.linesep}Success: 2; Failure: 1'
    assert os.linesep.join([
        '===== Event List ====',
        '---- Failure Tasks ----',
        f'Task: Number:[{third}]; Exception: 2 is too many---- Success Tasks ----',
        f'Number:[{first}]',
        f'Number:[{second}]',
    ]) in message['content']  # fmt: skip
    assert 'Please add SlackConfig.send_tree_info to include tree-info' in message['content']


def test_a_build_with_nothing_to_do_and_the_tree(slack: Slack) -> None:
    kartnb.build(Sum())
    assert kartnb.build(Sum(), notify=[to_slack('builds', send_tree_info=True)]) == 1
    (message,) = slack.messages
    assert 'Tasks were not executed.' in message['content']
    assert (
        f'(COMPLETE) Sum[{Sum().make_unique_id()}](parameter=' in message['content'].partition('==== Tree Info ====')[2]
    )


@pytest.mark.parametrize('executor', ['threads', 'processes'])
def test_tasks_in_workers_are_counted(slack: Slack, executor: str) -> None:
    kartnb.build(Sum(), executor=executor, workers=2, notify=to_slack('builds'))
    assert slack.messages[0]['initial_comment'].endswith('Success: 3; Failure: 0')


def test_the_configuration_names_the_channel(slack: Slack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert configured_slack() is None
    monkeypatch.setattr(SlackConfig.channel, '_default', 'builds')
    notify = configured_slack()
    assert notify is not None
    kartnb.build(Sum(), notify=notify)
    assert len(slack.messages) == 1
    monkeypatch.delenv('SLACK_TOKEN')
    assert configured_slack() is None


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv('SLACK_TOKEN', raising=False)
    with pytest.raises(NotificationError, match='set the environment variable SLACK_TOKEN'):
        to_slack('builds')
    monkeypatch.setenv('SLACK_TOKEN', TOKEN)
    with pytest.raises(NotificationError, match='Slack needs a channel'):
        to_slack()


def test_the_token_shows_nowhere(
    slack: Slack, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], workspace: Path
) -> None:
    """Neither in the log of slack-sdk at its lowest level, nor in what a build writes, nor in any error."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, 'slack_sdk')
    notify = to_slack('builds')
    with pytest.raises(kartnb.GokartBuildError) as raised:
        kartnb.build(Sum(most=2), log_level=logging.DEBUG, notify=notify)
    with pytest.raises(NotificationError) as missing:
        to_slack('builds', token_name='NO_SUCH_TOKEN')
    seen = [caplog.text, *capfd.readouterr(), repr(notify), repr(api(slack)), repr(SlackConfig())]
    for error in (raised.value, missing.value):
        seen += traceback.TracebackException.from_exception(error, capture_locals=True).format()
    seen += [file.read_text(errors='replace') for file in workspace.rglob('*') if file.is_file()]
    assert 'Sending a request' in caplog.text
    assert len([text for text in seen if len(text) > 20]) > 20
    assert [text for text in seen if 'hunter2' in text] == []


def test_an_answer_that_has_the_token_is_masked(slack: Slack, caplog: pytest.LogCaptureFixture) -> None:
    slack.errors['conversations.list'] = f'{TOKEN} is wrong'
    api(slack)
    assert 'The job will start without slack notification: SlackApiError: •••••• is wrong' in caplog.messages
    assert 'hunter2' not in caplog.text


@pytest.mark.parametrize('is_given_to_the_build', [True, False])
def test_a_page_that_has_the_token_is_masked_in_the_log_of_slack_sdk(
    slack: Slack, caplog: pytest.LogCaptureFixture, is_given_to_the_build: bool
) -> None:
    slack.is_proxy = True
    if is_given_to_the_build:
        kartnb.build(Number(), notify=to_slack('builds'))
    else:
        api(slack, 'C0123456789').send_snippet('Done', 'event.txt', 'x')
    assert 'Please log in. You sent: Bearer ••••••' in caplog.text
    assert 'hunter2' not in caplog.text


class Leaky(kartnb.TaskOnKart[int]):
    variable = luigi.Parameter(default='SLACK_TOKEN')

    def run(self) -> None:
        print('the token is', os.environ[self.variable])
        raise ValueError(f'Slack does not like {os.environ[self.variable]}')


class Unplanned(kartnb.TaskOnKart[int]):
    def requires(self) -> Any:
        raise ValueError(f'Slack does not like {os.environ["SLACK_TOKEN"]}')


@pytest.mark.parametrize('executor', ['inline', 'processes'])
def test_a_token_that_a_task_shows_is_masked(
    slack: Slack, caplog: pytest.LogCaptureFixture, workspace: Path, executor: str
) -> None:
    with pytest.raises(kartnb.GokartBuildError) as raised:
        kartnb.build(Leaky(), executor=executor, notify=to_slack('builds'))
    files = [file.read_text(errors='replace') for file in workspace.rglob('*') if file.is_file()]
    for text in (str(raised.value), str(raised.value.__cause__), slack.messages[0]['content'], ''.join(files)):
        assert 'Slack does not like ••••••' in text
    assert 'the token is ••••••' in ''.join(files)
    assert 'hunter2' not in ''.join([*files, str(slack.messages), caplog.text, str(raised.value)])


def test_a_token_of_another_name_is_masked(slack: Slack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('BOT_TOKEN', 'xoxb-another')
    to_slack('builds', token_name='BOT_TOKEN')
    with pytest.raises(kartnb.GokartBuildError, match='Slack does not like ••••••'):
        kartnb.build(Leaky(variable='BOT_TOKEN'))
    monkeypatch.setenv('CHAT_TOKEN', 'xoxb-configured')
    luigi.configuration.get_config().set('SlackConfig', 'token_name', 'CHAT_TOKEN')
    try:
        with pytest.raises(kartnb.GokartBuildError, match='Slack does not like ••••••'):
            kartnb.build(Leaky(variable='CHAT_TOKEN'))
    finally:
        luigi.configuration.get_config().remove_section('SlackConfig')


def test_a_token_in_an_error_of_planning_is_masked(slack: Slack) -> None:
    with pytest.raises(ValueError, match='Slack does not like ••••••'):
        kartnb.build(Unplanned(), notify=to_slack('builds'))
    [message] = slack.messages
    assert message['initial_comment'] == f'Report of Unplanned{os.linesep}Success: 0; Failure: 0'
    events = f'Tasks were not executed.{os.linesep}ValueError: Slack does not like ••••••'
    assert events in message['content']


def test_an_interrupt_is_told_of(slack: Slack) -> None:
    class Stopped(kartnb.TaskOnKart[int]):
        def requires(self) -> Any:
            return Number()

        def run(self) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kartnb.build(Stopped(), notify=to_slack('builds'))
    [message] = slack.messages
    assert message['initial_comment'] == f'Report of Stopped{os.linesep}Success: 1; Failure: 0'
    assert f'Number:[{Number().make_unique_id()}]{os.linesep}The build was interrupted.' in message['content']


@pytest.mark.parametrize('tries', [3, 4])
def test_failed_tries_are_listed(slack: Slack, tries: int) -> None:
    class Flaky(kartnb.TaskOnKart[int]):
        retry_count = 3
        runs = 0

        def run(self) -> None:
            type(self).runs += 1
            if self.runs < tries:
                raise ValueError(f'try {self.runs}')
            self.dump(1)

    with contextlib.suppress(kartnb.GokartBuildError):
        kartnb.build(Flaky(), notify=to_slack('builds'))
    [message] = slack.messages
    succeeded = int(tries == 3)
    assert message['initial_comment'].endswith(f'Success: {succeeded}; Failure: {3 - succeeded}')
    name = f'Flaky:[{Flaky().make_unique_id()}]'
    listed = os.linesep.join(f'Task: {name}; Exception: try {number}' for number in range(1, 4 - succeeded))
    assert listed in message['content']


def test_events_of_luigi_are_counted_in_this_process() -> None:
    events = EventAggregator()
    before = {event: list(handlers) for event, handlers in luigi.Task._event_callbacks.get(luigi.Task, {}).items()}
    assert (events.get_summary(), events.get_event_list()) == ('Success: 0; Failure: 0', 'Tasks were not executed.')
    try:
        events.set_handlers()
        kartnb.build(Number(), return_value=False)
        with pytest.raises(kartnb.GokartBuildError):
            kartnb.build(Number(n=3))
    finally:
        luigi.Task._event_callbacks[luigi.Task].clear()
        luigi.Task._event_callbacks[luigi.Task].update(before)
    assert events.get_summary() == 'Success: 1; Failure: 1'
    assert 'Exception: 3 is too many' in events.get_event_list()


def test_secrets_of_tasks_are_not_sent(slack: Slack) -> None:
    class Login(kartnb.TaskOnKart[Any]):
        password = luigi.Parameter(visibility=luigi.parameter.ParameterVisibility.PRIVATE)

        def run(self) -> None:
            raise ValueError(f'{self.password} is wrong')

    with pytest.raises(kartnb.GokartBuildError):
        kartnb.build(Login(password='open sesame'), notify=to_slack('builds'))
    assert 'Exception: •••••• is wrong' in slack.messages[0]['content']
    assert 'sesame' not in str(slack.messages)


def test_gokarts_function_at_the_end_of_a_run(slack: Slack, monkeypatch: pytest.MonkeyPatch) -> None:
    class ReportedByName(Sum):  # a name that no other test gives
        pass

    monkeypatch.setattr(SlackConfig.send_tree_info, '_default', True)
    events = EventAggregator()
    send_event_summary(None, events, ['ReportedByName'])
    assert slack.messages == []
    send_event_summary(api(slack), events, ['ReportedByName', '--most=2'])
    (message,) = slack.messages
    assert message['initial_comment'] == f'Report of ReportedByName{os.linesep}Success: 0; Failure: 0'
    assert f'(PENDING) ReportedByName[{ReportedByName(most=2).make_unique_id()}]' in message['content']
