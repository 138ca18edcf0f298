"""Reports of builds to the services that the library apprise knows, such as mail, Teams and Telegram."""

from __future__ import annotations

from kartnb.config import Notifier
from kartnb.errors import MissingPackageError, NotificationError
from kartnb.execution.report import BuildReport


def to_apprise(*addresses: str) -> Notifier:
    """A notifier that sends the text of a report to services, by their `addresses <https://appriseit.com/services/>`_.

    Parameters
    ----------
    addresses
        Such as ``'mailto://user:password@example.org'``. They hold passwords, and are shown nowhere.

    Raises
    ------
    NotificationError
        When apprise does not know an address.
    MissingPackageError
        When apprise is not installed.

    Examples
    --------
    >>> to_apprise('nowhere://secret')
    Traceback (most recent call last):
    ...
    kartnb.errors.NotificationError: Address 1, nowhere://…, is not one that apprise knows.
    """
    try:
        import apprise
    except ImportError as error:
        raise MissingPackageError("to_apprise needs apprise: pip install 'kartnb[apprise]'") from error
    services = apprise.Apprise()
    for number, address in enumerate(addresses, 1):
        if not services.add(address):
            scheme = address.partition('://')[0] if '://' in address else ''
            raise NotificationError(f'Address {number}, {scheme}://…, is not one that apprise knows.')

    def notify(report: BuildReport) -> None:
        title, _, body = str(report).partition('\n')
        kind = apprise.NotifyType.SUCCESS if report.succeeded else apprise.NotifyType.FAILURE
        if not services.notify(title=title, body=body or title, notify_type=kind):
            raise NotificationError(f'apprise could not reach all of its {len(services)} services; its log says why.')

    return notify
