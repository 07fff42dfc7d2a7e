"""From settings to channels: who is told, and how this site calls itself."""

import socket
from urllib.parse import urlsplit

from whalefall.app.notify.incidents import Rules
from whalefall.app.notify.message import Site
from whalefall.app.notify.sending import Channel
from whalefall.settings import Settings, mail_addresses


def channels_of(settings: Settings) -> list[Channel]:
    """The configured ones; [] when nobody is to be told. Each is loaded where it is wanted: TLS and mail are heavy."""
    found: list[Channel] = []
    if settings.notify_webhook_url:
        from whalefall.app.notify.webhook import Webhook  # noqa: PLC0415 - see above

        found.append(Webhook(settings.notify_webhook_url, tuple(settings.notify_webhook_secret.split())))
    if settings.smtp_url:
        from whalefall.app.notify.mail import Mail  # noqa: PLC0415 - see above

        found.append(Mail(settings.smtp_url, settings.notify_mail_from, mail_addresses(settings.notify_mail_to)))
    return found


def rules_of(settings: Settings) -> Rules:
    """What is told, and how often at most."""
    return Rules(frozenset(settings.notify_on.split(",")), settings.notify_rate)


def site_of(settings: Settings, *, has_pages: bool) -> Site:
    """Named by its public address, where it has one that is not every machine's."""
    host = urlsplit(settings.public_url).hostname or ""
    name = host if host and host not in ("localhost", "127.0.0.1", "0.0.0.0") else socket.gethostname()  # noqa: S104 - compared, not bound
    return Site(name, settings.public_url.rstrip("/") if has_pages else "")
