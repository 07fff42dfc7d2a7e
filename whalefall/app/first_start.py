"""The first start: no default password. WHALEFALL_ADMIN_PASSWORD makes the user 'admin', else a one-time link is shown.

Several processes start at once; the database decides which of them prints.
"""

import logging
import os
import sys

from flask import Flask
from sqlalchemy.exc import DBAPIError

from whalefall.app.access import has_foreign_login
from whalefall.app.store import setup, users
from whalefall.app.store.engine import engine
from whalefall.scheduler.errors import LedgerUnavailable
from whalefall.settings import Settings

log = logging.getLogger(__name__)

URL_VARIABLE = "WHALEFALL_URL"


def prepare(app: Flask, settings: Settings) -> None:
    """Makes the first administrator or prints the link. A database that is away is no reason not to serve."""
    if has_foreign_login(app):
        return
    with app.app_context():
        try:
            _prepare(settings)
        except (DBAPIError, LedgerUnavailable) as error:
            log.warning("the database does not answer, so no setup link was made: %s", error)


def _prepare(settings: Settings) -> None:
    if not users.is_empty(engine()):
        return
    if settings.admin_password:
        setup.first_admin(engine(), settings.admin_password)
    elif token := setup.claim_link(engine()):
        announce(token, settings)


def announce(token: str, settings: Settings) -> None:
    """Says where to make the first administrator: once, on standard error, where the operator looks."""
    hours = int(setup.LIFE.total_seconds() // 3600)
    text = f"No user exists yet. Make the administrator here, once, within {hours} hours: {setup_url(token, settings)}"
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - must be seen whatever LOG_LEVEL says


def setup_url(token: str, settings: Settings) -> str:
    """The link; the base is WHALEFALL_URL where the planner or the operator gives it."""
    base = os.environ.get(URL_VARIABLE) or f"http://localhost:{settings.port}"
    return f"{base.rstrip('/')}/setup/{token}"
