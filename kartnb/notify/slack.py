"""Reports of builds to Slack, in gokart's words, through Slack's API of today."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import luigi

from kartnb._luigi import command_line_in_use
from kartnb.config import Notifier
from kartnb.errors import KartError, MissingPackageError, NotificationError, described, text_of
from kartnb.execution.report import BuildReport
from kartnb.model import TaskState
from kartnb.planning.task_info import make_tree_info
from kartnb.task.identity import id_of
from kartnb.task.secrets import Masker, name_secret

logger = logging.getLogger('kartnb')

_ADDRESS = 'https://slack.com/api/'
#: What Slack calls a channel, as its menu "Copy link" gives it.
_CHANNEL_ID = re.compile(r'[CG][A-Z0-9]{8,}')
_NO_TREE = 'Please add SlackConfig.send_tree_info to include tree-info'


class ChannelListNotLoadedError(KartError, RuntimeError):
    """Slack did not give the list of its channels."""


class ChannelNotFoundError(KartError, RuntimeError):
    """A channel is not among the public ones of the workspace on Slack."""


class FileNotUploadedError(KartError, RuntimeError):
    """Slack did not take a file."""


class SlackConfig(luigi.Config):
    """The section ``[SlackConfig]`` of luigi's configuration, and the options ``--SlackConfig-…`` of `kartnb.run`."""

    # as for `TaskOnKart`: gokart, where it is imported too, lists a class of this name
    _visible_in_registry = False

    token_name: luigi.Parameter[str] = luigi.Parameter(
        default='SLACK_TOKEN', description="The environment variable that holds the app's token."
    )
    channel: luigi.Parameter[str] = luigi.Parameter(
        default='', description='The channel that gets the report, by its name or id.', significant=False
    )
    to_user: luigi.Parameter[str] = luigi.Parameter(
        default='', description='The user whom the report mentions, if any.', significant=False
    )
    send_tree_info: luigi.BoolParameter = luigi.BoolParameter(
        default=False, description='Whether the report has the tree of tasks, which may be long.', significant=False
    )
    base_url: luigi.Parameter[str] = luigi.Parameter(
        default=_ADDRESS, description='Where the API is: GovSlack has another address.', significant=False
    )


class SlackAPI:
    """A channel on Slack. What goes wrong there is a warning in the log, so that no build fails of it.

    Parameters
    ----------
    token
        A token with the scopes ``channels:read`` and ``files:write``.
    channel
        The name of a public channel that the app has joined, or the id of any.
    to_user
        The user whom a message mentions; '' for nobody.
    base_url
        Where the API is.

    Raises
    ------
    MissingPackageError
        When slack-sdk is not installed.
    """

    def __init__(self, token: str, channel: str, to_user: str, *, base_url: str = _ADDRESS) -> None:
        slack_sdk = _slack_sdk()
        self._mask = Masker.of_values([token])
        self._to_user = to_user if not to_user or to_user.startswith('@') else f'@{to_user}'
        self._client: Any = slack_sdk.WebClient(token=token, base_url=base_url)
        self._channel_id = self._try('The job will start without slack notification', lambda: self._id_of(channel))

    def send_snippet(self, comment: str, title: str, content: str) -> None:
        """Send a text as a file, with a comment that the channel shows above it."""
        if self._channel_id is not None:
            self._try('Failed to send slack notification', lambda: self._upload(comment, title, content))

    def _upload(self, comment: str, title: str, content: str) -> None:
        mention = f'<{self._to_user}> ' if self._to_user else ''
        answer = self._client.files_upload_v2(
            channel=self._channel_id,
            initial_comment=self._mask(f'{mention}{comment}'),
            filename=title,
            title=title,
            content=self._mask(content),
        )
        if not answer['ok']:
            raise FileNotUploadedError(f'Error while uploading file. The error reason is "{answer["error"]}".')

    def _id_of(self, channel: str) -> str:
        if _CHANNEL_ID.fullmatch(channel):
            return channel
        name = channel.removeprefix('#')
        pages = self._client.conversations_list(exclude_archived=True, limit=200)
        for page in pages:
            if not page:
                raise ChannelListNotLoadedError('Channel list is empty.')
            for each in page.get('channels', []):
                if each['name'] == name:
                    return str(each['id'])
        raise ChannelNotFoundError(f'Channel {channel} is not found in public channels.')

    def _try(self, failure: str, call: Callable[[], Any]) -> Any:
        try:
            with _masked_log('slack_sdk', self._mask):
                return call()
        except Exception as error:
            # without the traceback, where the token may be among the values
            logger.warning('%s: %s', failure, self._mask(_one_line(error)))
            return None


@contextmanager
def _masked_log(library: str, mask: Masker) -> Iterator[None]:
    """Mask what a library logs in the block: slack-sdk logs the answers of servers, which may hold what was sent."""

    def masked(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if record.exc_info:
            text = f'{text}\n{logging.Formatter().formatException(record.exc_info)}'
        record.msg, record.args, record.exc_info, record.exc_text = mask(text), (), None, None
        return True

    # a filter of a logger is not asked about the records of those below it
    names = [name for name in logging.root.manager.loggerDict if name.partition('.')[0] == library]
    for name in names:
        logging.getLogger(name).addFilter(masked)
    try:
        yield
    finally:
        for name in names:
            logging.getLogger(name).removeFilter(masked)


def _slack_sdk() -> Any:
    try:
        import slack_sdk
    except ImportError as error:
        raise MissingPackageError("Slack needs slack-sdk: pip install 'kartnb[slack]'") from error
    return slack_sdk


def _one_line(error: Exception) -> str:
    """What went wrong: slack-sdk adds the answer of the server on lines of its own."""
    answer = getattr(error, 'response', None)
    if isinstance(getattr(answer, 'data', None), Mapping) and answer is not None:
        return f'{type(error).__name__}: {answer.data.get("error", answer.status_code)}'
    return ' '.join(text_of(error).split())


class EventAggregator:
    """The tasks that have run, and those that have failed, as a report names them."""

    def __init__(self) -> None:
        self._succeeded: list[str] = []
        self._failed: list[tuple[str, str]] = []
        self._ending = ''

    @classmethod
    def of(cls, report: BuildReport) -> EventAggregator:
        """The tasks of a build."""
        aggregator = cls()
        if report.interrupted:
            aggregator._ending = 'The build was interrupted.'
        if not report.began:
            aggregator._ending = report.failures[0].line if report.failures else aggregator._ending
            return aggregator
        done = (node for node in map(report.plan.__getitem__, report.durations) if node.state is TaskState.DONE)
        aggregator._succeeded = [_text(node.task) for node in done]
        last = {failure.key: failure.error for failure in report.failures}
        for key in dict.fromkeys([*report.tries, *last]):
            errors = [*report.tries.get(key, ()), *filter(None, [last.get(key)])]
            task = _text(report.plan[key].task)
            aggregator._failed += [(task, report.mask(text_of(error))) for error in errors]
        return aggregator

    def set_handlers(self) -> None:
        """Hear of all tasks that succeed or fail in this process from now on."""
        luigi.Task.event_handler(luigi.Event.SUCCESS)(self._success)
        luigi.Task.event_handler(luigi.Event.FAILURE)(self._failure)

    def get_summary(self) -> str:
        """How many there are."""
        return f'Success: {len(self._succeeded)}; Failure: {len(self._failed)}'

    def get_event_list(self) -> str:
        """Their names, and the errors, a line each."""
        failed = [f'Task: {task}; Exception: {error}' for task, error in self._failed]
        parts = (('---- Failure Tasks ----', failed), ('---- Success Tasks ----', self._succeeded))
        text = ''.join(os.linesep.join([heading, *lines]) for heading, lines in parts if lines)
        return os.linesep.join(filter(None, [text or 'Tasks were not executed.', self._ending]))

    def _success(self, task: luigi.Task) -> None:
        self._succeeded.append(_text(task))

    def _failure(self, task: luigi.Task, exception: BaseException) -> None:
        self._failed.append((_text(task), Masker.of_build([task])(text_of(exception))))


def _text(task: luigi.Task) -> str:
    return f'{type(task).__name__}:[{id_of(task)}]'


def to_slack(
    channel: str | None = None,
    to_user: str | None = None,
    *,
    token_name: str | None = None,
    send_tree_info: bool | None = None,
) -> Notifier:
    """A notifier that sends the report of a build to a channel on Slack, with gokart's texts.

    What is not given comes from the section ``[SlackConfig]`` of the configuration.

    Parameters
    ----------
    channel
        The name or the id of the channel.
    to_user
        The user whom the report mentions.
    token_name
        The environment variable that holds the token, usually SLACK_TOKEN. The token itself is shown nowhere.
    send_tree_info
        Whether the report has the tree of tasks.

    Raises
    ------
    NotificationError
        When there is no token or no channel.
    MissingPackageError
        When slack-sdk is not installed.

    Examples
    --------
    >>> to_slack('builds', token_name='NO_SUCH_TOKEN')
    Traceback (most recent call last):
    ...
    kartnb.errors.NotificationError: Slack needs a token: set the environment variable NO_SUCH_TOKEN.
    """
    given: dict[str, Any] = {
        'channel': channel,
        'to_user': to_user,
        'token_name': token_name,
        'send_tree_info': send_tree_info,
    }
    config = SlackConfig(**{name: value for name, value in given.items() if value is not None})
    if not _token(config):
        raise NotificationError(f'Slack needs a token: set the environment variable {config.token_name}.')
    if not config.channel:
        raise NotificationError("Slack needs a channel: to_slack('builds'), or [SlackConfig] channel=builds.")
    return SlackNotifier(config)


def configured_slack() -> SlackNotifier | None:
    """The notifier of the configuration and the command line; None unless they name a channel, and there is a token."""
    config = SlackConfig()
    if not (_token(config) and config.channel):
        logger.info('Slack notification is not activated.')
        return None
    logger.info('Slack notification is activated.')
    return SlackNotifier(config)


def _token(config: SlackConfig) -> str:
    name_secret(config.token_name)
    return os.environ.get(config.token_name, '')


class SlackNotifier:
    """A notifier that sends the report of a build to the channel of a `SlackConfig`.

    Raises MissingPackageError when slack-sdk is not installed.
    """

    def __init__(self, config: SlackConfig) -> None:
        _slack_sdk()  # where it is missing, the error knows no token yet
        self._sends_tree = config.send_tree_info
        self._api = SlackAPI(_token(config), config.channel, config.to_user, base_url=config.base_url)

    def __call__(self, report: BuildReport) -> None:
        """Send the report."""
        self._send(report.plan.root.task, EventAggregator.of(report))

    def tell_of_no_build(self, task: luigi.Task) -> None:
        """Send that no task was run, where there was no build."""
        self._send(task, EventAggregator())

    def _send(self, task: luigi.Task, events: EventAggregator) -> None:
        _send(self._api, task, events, self._sends_tree)


def send_event_summary(slack_api: SlackAPI | None, event_aggregator: EventAggregator, cmdline_args: list[str]) -> None:
    """Send what was heard of the task of a command line, as gokart does at the end of `run`; nothing without an API."""
    if slack_api is not None:
        with command_line_in_use(cmdline_args, SlackConfig) as parser:
            _send(slack_api, parser.get_task_obj(), event_aggregator, SlackConfig().send_tree_info)


def _send(api: SlackAPI, task: luigi.Task, events: EventAggregator, sends_tree: bool) -> None:
    tree = _tree(task) if sends_tree else _NO_TREE
    content = ['===== Event List ====', events.get_event_list(), os.linesep, '==== Tree Info ====', tree]
    comment = f'Report of {type(task).__name__}{os.linesep}{events.get_summary()}'
    api.send_snippet(comment=comment, title='event.txt', content=os.linesep.join(content))


def _tree(task: luigi.Task) -> str:
    try:
        return make_tree_info(task, details=True)
    except Exception as error:  # what keeps the tree from being made has kept the build from beginning
        return Masker.of_build([task])(described(error))
