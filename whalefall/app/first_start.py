"""The first start: no default password. WHALEFALL_ADMIN_PASSWORD makes the user 'admin', else a one-time link is shown.

Several processes start at once; the database decides which of them prints.
"""

import logging
import os
import sys

from flask import Flask
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from whalefall.app.access import has_foreign_login
from whalefall.app.store import setup, users
from whalefall.app.store.engine import engine
from whalefall.scheduler.errors import LedgerUnavailable
from whalefall.settings import Settings

log = logging.getLogger(__name__)

URL_VARIABLE = "WHALEFALL_URL"
_DUE = "whalefall_first_start_due"


def prepare(app: Flask, settings: Settings) -> None:
    """Makes the first administrator or prints the link. A database that is away is no reason not to serve."""
    if has_foreign_login(app):
        return
    with app.app_context():
        try:
            _prepare(settings)
        except (DBAPIError, PoolTimeout, LedgerUnavailable) as error:
            app.extensions[_DUE] = settings
            log.warning("no setup link was made yet: %s", error)


def catch_up(app: Flask) -> None:
    """At the way in: makes what could not be made at the start, because the database was away."""
    settings = app.extensions.pop(_DUE, None)
    if settings is not None:
        prepare(app, settings)


def _prepare(settings: Settings) -> None:
    # Asked before: another process may be making it, and then there is an administrator at the second look.
    is_taken = users.by_name(engine(), setup.GIVEN) is not None
    if not users.lacks_admin(engine()):
        return
    if settings.admin_password and not is_taken:
        setup.first_admin(engine(), settings.admin_password)
    elif token := setup.claim_link(engine()):
        announce(token, settings, "administrator" if users.everyone(engine()) else "user")


def announce(token: str, settings: Settings, who: str) -> None:
    """Says, once and on standard error, where to make the first administrator; `who` does not exist yet."""
    hours = int(setup.LIFE.total_seconds() // 3600)
    text = f"No {who} exists yet. Make the administrator here, once, within {hours} hours: {setup_url(token, settings)}"
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - must be seen whatever LOG_LEVEL says


def setup_url(token: str, settings: Settings) -> str:
    """The link; the base is WHALEFALL_URL where the planner or the operator gives it."""
    base = os.environ.get(URL_VARIABLE) or f"http://localhost:{settings.port}"
    return f"{base.rstrip('/')}/setup/{token}"
