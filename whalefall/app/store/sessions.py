"""Sessions: who is logged in, known to the server, so that logging out ends a session with every copy of its cookie."""

import secrets
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, delete, insert, select, update

from whalefall.app.store.tables import sessions, users
from whalefall.app.store.tokens import digest
from whalefall.app.store.users import User, user_of
from whalefall.scheduler.ledger.engine import reading, writing

_NOTED_EVERY = timedelta(minutes=1)  # a page that polls must not write at every request


def begin(engine: Engine, user: User) -> str:
    """A new session's key: goes into the cookie; here only its hash is kept."""
    key = secrets.token_urlsafe(32)
    now = datetime.now(UTC)
    row = {"key_hash": digest(key), "user_id": user.id, "stamp": user.stamp, "created_at": now, "last_seen_at": now}
    with writing(engine) as connection:
        connection.execute(insert(sessions).values(row))
    return key


def find(engine: Engine, key: str, lifetime: timedelta) -> User | None:
    """Whose session this is; None when it was ended, has been idle for its lifetime, or its user was changed."""
    now = datetime.now(UTC)
    query = (
        select(users, sessions.c.last_seen_at)
        .join(sessions, sessions.c.user_id == users.c.id)
        .where(sessions.c.key_hash == digest(key), sessions.c.stamp == users.c.stamp, users.c.is_enabled)
        .where(sessions.c.last_seen_at > now - lifetime)
    )
    with reading(engine) as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        return None
    if now - row.last_seen_at > min(_NOTED_EVERY, lifetime / 4):
        with writing(engine) as connection:
            connection.execute(update(sessions).where(sessions.c.key_hash == digest(key)).values(last_seen_at=now))
    return user_of(row)


def end(engine: Engine, key: str) -> None:
    """Ends the session; nothing happens when there is none."""
    with writing(engine) as connection:
        connection.execute(delete(sessions).where(sessions.c.key_hash == digest(key)))


def prune(engine: Engine, idle_since: datetime) -> int:
    """Forgets sessions that nobody has used since; returns how many."""
    with writing(engine) as connection:
        return connection.execute(delete(sessions).where(sessions.c.last_seen_at < idle_since)).rowcount
