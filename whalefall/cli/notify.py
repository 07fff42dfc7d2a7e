"""`whalefall notify test`: does what the settings say reach anybody? Needs no running whalefall and no database."""

import argparse
import sys
from datetime import UTC, datetime

from whalefall.cli import requests
from whalefall.errors import UsageError
from whalefall.planner.world import look


def notify(arguments: argparse.Namespace) -> int:
    """One sentence for each channel; exit code 1 when one of them did not take it."""
    from whalefall.app.notify.channels import channels_of, site_of
    from whalefall.app.notify.message import test_message

    settings = look(requests.of(arguments)).settings
    channels = channels_of(settings)
    if not channels:
        raise UsageError(
            "nobody is to be told yet. Set NOTIFY_WEBHOOK_URL, or SMTP_URL with NOTIFY_MAIL_FROM and NOTIFY_MAIL_TO"
        )
    message = test_message(site_of(settings, has_pages=True), datetime.now(UTC))
    receipts = [(channel.name, channel.send(message)) for channel in channels]
    for name, receipt in receipts:
        signed = "" if name != "webhook" or settings.notify_webhook_secret else ", unsigned"
        print(
            f"{name}: {receipt.sentence}{signed if receipt.sent else ''}",
            file=sys.stdout if receipt.sent else sys.stderr,
        )
    return 0 if all(receipt.sent for _, receipt in receipts) else 1


COMMANDS = {"notify": notify}
