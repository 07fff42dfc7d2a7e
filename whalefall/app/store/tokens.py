"""API tokens: made once, shown once, kept only as a hash, revocable."""

import hashlib
import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, Row, insert, select, update

from whalefall.app.store.tables import api_tokens, users
from whalefall.app.store.users import check_role
from whalefall.errors import UsageError
from whalefall.scheduler.ledger.engine import reading, writing

PREFIX = "whf_"  # so that secret scanners and people recognise one
_NOTED_EVERY = timedelta(minutes=1)  # a polling script must not write at every request


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A token as the pages show it; the secret is gone once it was made."""

    id: int
    name: str
    role: str
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None

    @property
    def is_alive(self) -> bool:
        """Neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > datetime.now(UTC))


def digest(secret: str) -> str:
    """A fast hash is right here: the secret has 256 bits, so there is nothing to guess."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _token(row: Row[Any]) -> ApiToken:
    return ApiToken(
        row.id, row.name, row.role, row.created_by, row.created_at, row.expires_at, row.last_used_at, row.revoked_at
    )


def make(engine: Engine, name: str, role: str, *, created_by: str, days: int | None) -> tuple[ApiToken, str]:
    """A new token and its secret, which nobody can read again. Raises UsageError for a bad name or role."""
    check_role(role)
    if not name.strip() or len(name) > 64:
        raise UsageError("Give the token a name of 1 to 64 characters that says what it is for.")
    secret = PREFIX + secrets.token_urlsafe(32)
    now = datetime.now(UTC)
    values = {
        "name": name.strip(),
        "role": role,
        "token_hash": digest(secret),
        "created_by": created_by,
        "created_at": now,
        "expires_at": now + timedelta(days=days) if days else None,
    }
    with writing(engine) as connection:
        connection.execute(insert(api_tokens).values(values))
        row = connection.execute(select(api_tokens).where(api_tokens.c.token_hash == digest(secret))).one()
    return _token(row), secret


def find(engine: Engine, secret: str) -> ApiToken | None:
    """The living token with this secret; remembers that it was used."""
    if not secret.startswith(PREFIX):
        return None
    with reading(engine) as connection:
        row = connection.execute(select(api_tokens).where(api_tokens.c.token_hash == digest(secret))).one_or_none()
        owner = connection.execute(
            select(users.c.is_enabled, users.c.role).where(users.c.name == (row.created_by if row else ""))
        ).one_or_none()
    token = _token(row) if row else None
    if token is None or not token.is_alive or (owner and not owner.is_enabled):
        return None
    if owner and owner.role == "view":  # a token can do no more than who made it can do now
        token = replace(token, role="view")
    now = datetime.now(UTC)
    if token.last_used_at is None or now - token.last_used_at > _NOTED_EVERY:
        with writing(engine) as connection:
            connection.execute(update(api_tokens).where(api_tokens.c.id == token.id).values(last_used_at=now))
    return token


def everything(engine: Engine) -> list[ApiToken]:
    """All tokens, the newest first."""
    with reading(engine) as connection:
        return [_token(row) for row in connection.execute(select(api_tokens).order_by(api_tokens.c.id.desc()))]


def revoke(engine: Engine, token_id: int) -> ApiToken | None:
    """Ends the token at once; None when there is none with this id."""
    with writing(engine) as connection:
        alive = (api_tokens.c.id == token_id) & api_tokens.c.revoked_at.is_(None)
        connection.execute(update(api_tokens).where(alive).values(revoked_at=datetime.now(UTC)))
        row = connection.execute(select(api_tokens).where(api_tokens.c.id == token_id)).one_or_none()
    return _token(row) if row else None
