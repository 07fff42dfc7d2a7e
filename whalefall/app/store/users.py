"""Users: a name, a role, a password that is kept only as a hash."""

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Engine, Row, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from werkzeug.security import check_password_hash, generate_password_hash

from whalefall.app.roles import ROLE_NAMES
from whalefall.app.store.tables import users
from whalefall.errors import UsageError
from whalefall.scheduler.ledger.engine import reading, writing

PASSWORD_LENGTH_MIN = 10  # NIST SP 800-63B asks for 8 at least; ours open a door to running programs
PASSWORD_LENGTH_MAX = 1024  # hashing has to read it all
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._@+-]{0,62}[a-z0-9])?\Z")


@dataclass(frozen=True, slots=True)
class User:
    """What the rest of the app may know of a user; the hash stays here."""

    id: int
    name: str
    role: str
    stamp: str
    is_enabled: bool
    created_at: datetime
    last_login_at: datetime | None


def user_of(row: Row[Any]) -> User:
    """The user of a row of the table, or of a join with it."""
    return User(row.id, row.name, row.role, row.stamp, row.is_enabled, row.created_at, row.last_login_at)


def canonical(name: str) -> str:
    """As it is kept, and compared."""
    return name.strip().lower()


def by_name(engine: Engine, name: str) -> User | None:
    """The user, or None; names are compared in lower case."""
    with reading(engine) as connection:
        row = connection.execute(select(users).where(users.c.name == canonical(name))).one_or_none()
    return user_of(row) if row else None


def everyone(engine: Engine) -> list[User]:
    """All users by name."""
    with reading(engine) as connection:
        return [user_of(row) for row in connection.execute(select(users).order_by(users.c.name))]


def lacks_admin(engine: Engine) -> bool:
    """True before the first administrator exists: nobody could let anybody in, whoever else may look."""
    with reading(engine) as connection:
        return lacks_admin_within(connection)


def lacks_admin_within(connection: Connection) -> bool:
    """Like `lacks_admin`, inside the caller's transaction."""
    return not _has_admin(connection)


def add(engine: Engine, name: str, password: str, role: str) -> User:
    """A new user. Raises UsageError with a sentence when the name, password or role will not do."""
    with writing(engine) as connection:
        return add_within(connection, name, password, role)


def add_within(connection: Connection, name: str, password: str, role: str) -> User:
    """Like `add`, inside the caller's transaction."""
    name = canonical(name)
    if not _NAME.match(name):
        raise UsageError(
            f"'{name[:64]}' is no user name: use 1 to 64 of a-z, 0-9, '.', '_', '@', '+' and '-', "
            "beginning and ending with a letter or digit."
        )
    check_role(role)
    check_password(password)
    values = {
        "name": name,
        "role": role,
        "password_hash": generate_password_hash(password),
        "stamp": secrets.token_hex(8),
        "is_enabled": True,
        "created_at": datetime.now(UTC),
    }
    try:
        with connection.begin_nested():
            connection.execute(insert(users).values(values))
    except IntegrityError:
        raise UsageError(f"There is already a user '{name}'. Choose another name, or change the password.") from None
    return user_of(connection.execute(select(users).where(users.c.name == name)).one())


def check_role(role: str) -> None:
    """Raises UsageError when there is no such role."""
    if role not in ROLE_NAMES:
        raise UsageError(f"'{role[:64]}' is no role; there are: {', '.join(ROLE_NAMES)}.")


def check_password(password: str) -> None:
    """Raises UsageError when the password is too short or too long."""
    if len(password) < PASSWORD_LENGTH_MIN:
        raise UsageError(f"The password is too short; use at least {PASSWORD_LENGTH_MIN} characters.")
    if len(password) > PASSWORD_LENGTH_MAX:
        raise UsageError(f"The password is too long; use at most {PASSWORD_LENGTH_MAX} characters.")


def set_password(engine: Engine, name: str, password: str) -> User:
    """Changes the password and ends the user's sessions. Raises UsageError when there is no such user."""
    check_password(password)
    return _change(engine, name, password_hash=generate_password_hash(password))


def set_role(engine: Engine, name: str, role: str) -> User:
    """Changes the role and ends the user's sessions; refuses to take the last administrator away."""
    check_role(role)
    return _change(engine, name, role=role)


def enable(engine: Engine, name: str) -> User:
    """Lets the user log in again."""
    return _change(engine, name, is_enabled=True)


def disable(engine: Engine, name: str) -> User:
    """Ends the user's sessions and logs nobody in under this name; refuses to disable the last administrator."""
    return _change(engine, name, is_enabled=False)


def _change(engine: Engine, name: str, **values: Any) -> User:
    with writing(engine) as connection:
        return change_within(connection, name, **values)


def change_within(connection: Connection, name: str, **values: Any) -> User:
    """The change, inside the caller's transaction; every change gives a new stamp, which ends the user's sessions."""
    wanted = canonical(name)
    is_about_admins = "role" in values or "is_enabled" in values
    if is_about_admins:
        _lock_admins(connection)
    changed = connection.execute(
        update(users).where(users.c.name == wanted).values(stamp=secrets.token_hex(8), **values)
    )
    if changed.rowcount == 0:
        raise UsageError(f"There is no user '{wanted[:64]}'.")
    if is_about_admins and not _has_admin(connection):
        raise UsageError(f"'{wanted}' is the last administrator who can log in; make another one first.")
    return user_of(connection.execute(select(users).where(users.c.name == wanted)).one())


def _lock_admins(connection: Connection) -> None:
    """Two such changes go one after the other: on PostgreSQL by these row locks, on SQLite writers do anyway.

    Without them each of two administrators who take the role from one another would see the other one still there.
    """
    connection.execute(select(users.c.id).where(users.c.role == "admin").order_by(users.c.id).with_for_update()).all()


def _has_admin(connection: Connection) -> bool:
    count = select(func.count()).select_from(users).where(users.c.role == "admin", users.c.is_enabled)
    return bool(connection.execute(count).scalar_one())


@cache
def _nobodys_hash() -> str:
    return generate_password_hash(secrets.token_hex(16))


def verify(engine: Engine, name: str, password: str) -> User | None:
    """The user whose password this is; takes equally long when there is none (user names are not to be guessed)."""
    with reading(engine) as connection:
        row = connection.execute(select(users).where(users.c.name == canonical(name))).one_or_none()
    is_right = check_password_hash(row.password_hash if row else _nobodys_hash(), password[:PASSWORD_LENGTH_MAX])
    return user_of(row) if row is not None and is_right and row.is_enabled else None


def note_login(engine: Engine, user_id: int) -> None:
    """Remembers when the user last logged in."""
    with writing(engine) as connection:
        connection.execute(update(users).where(users.c.id == user_id).values(last_login_at=datetime.now(UTC)))
