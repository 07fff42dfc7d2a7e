"""The first administrator: a one-time link, printed by exactly one process, or a password from the environment."""

import secrets
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Engine, delete, insert, select
from sqlalchemy.exc import IntegrityError

from whalefall.app.store import users
from whalefall.app.store.tables import setup_links
from whalefall.app.store.tokens import digest
from whalefall.app.store.users import User
from whalefall.errors import UsageError
from whalefall.scheduler.ledger.engine import reading, writing

LIFE = timedelta(hours=24)
GIVEN = "admin"  # whom WHALEFALL_ADMIN_PASSWORD makes
_ROW = 1


def claim_link(engine: Engine) -> str | None:
    """A new link's token for the one process that gets to print it; None when another has printed one that still works.

    Several processes start at once; the row's primary key decides who prints.
    """
    now = datetime.now(UTC)
    try:
        with writing(engine) as connection:
            connection.execute(delete(setup_links).where(setup_links.c.expires_at <= now))
            return _insert(connection, now)
    except IntegrityError:
        return None


def renew_link(engine: Engine) -> str:
    """A new link's token; the old link, if any, ends. Raises UsageError once there is an administrator."""
    if not users.lacks_admin(engine):
        raise UsageError(
            "There is an administrator already, so there is no setup link. Add a user with: whalefall users add NAME"
        )
    with writing(engine) as connection:
        connection.execute(delete(setup_links))
        return _insert(connection, datetime.now(UTC))


def _insert(connection: Connection, now: datetime) -> str:
    token = secrets.token_urlsafe(24)
    row = {"id": _ROW, "token_hash": digest(token), "created_at": now, "expires_at": now + LIFE}
    connection.execute(insert(setup_links).values(row))
    return token


def is_valid(engine: Engine, token: str) -> bool:
    """True while this link can make the first administrator."""
    with reading(engine) as connection:
        row = connection.execute(select(setup_links).where(setup_links.c.id == _ROW)).one_or_none()
    alive = bool(row and row.expires_at > datetime.now(UTC) and secrets.compare_digest(row.token_hash, digest(token)))
    return alive and users.lacks_admin(engine)


def use_link(engine: Engine, token: str, name: str, password: str) -> User:
    """Makes the first administrator and ends the link, in one transaction: of two clicks one wins."""
    with writing(engine) as connection:
        alive = (setup_links.c.token_hash == digest(token)) & (setup_links.c.expires_at > datetime.now(UTC))
        taken = connection.execute(delete(setup_links).where(alive)).rowcount == 1
        if not (taken and users.lacks_admin_within(connection)):
            raise UsageError("This setup link was used or has expired. Print a new one: whalefall users setup-link")
        return users.add_within(connection, name, password, "admin")


def first_admin(engine: Engine, password: str) -> User | None:
    """The user 'admin' from WHALEFALL_ADMIN_PASSWORD; None when another process was faster."""
    try:
        return users.add(engine, GIVEN, password, "admin")
    except UsageError:
        if users.lacks_admin(engine):
            raise  # the password will not do; say so
        return None
