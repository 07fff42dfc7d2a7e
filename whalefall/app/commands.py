"""What `whalefall users …` does, as functions without a terminal: the CLI asks, prints and picks the exit code.

They open the same database as the site, by the same settings, and need no running whalefall.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask
from sqlalchemy import Engine

from whalefall import Scheduler
from whalefall.app.first_start import setup_url
from whalefall.app.store import audit, setup, users
from whalefall.app.store.users import User
from whalefall.scheduler import of
from whalefall.settings import Settings


@contextmanager
def database(settings: Settings) -> Iterator[Engine]:
    """The site's database, its schema up to date. Raises ConfigError or LedgerUnavailable."""
    app = Flask("whalefall.users")
    Scheduler().init_app(app, settings)
    engine = of(app).engine
    try:
        yield engine
    finally:
        engine.dispose()


def add_user(settings: Settings, name: str, password: str, role: str = "view") -> User:
    """`whalefall users add`. Raises UsageError with a sentence when name, password or role will not do."""
    with database(settings) as engine:
        user = users.add(engine, name, password, role)
        _record(engine, "user.add", user)
        return user


def set_password(settings: Settings, name: str, password: str) -> User:
    """`whalefall users passwd`: also ends the user's sessions. Raises UsageError when there is no such user."""
    with database(settings) as engine:
        user = users.set_password(engine, name, password)
        _record(engine, "user.password", user)
        return user


def has_admin(settings: Settings) -> bool:
    """Can anybody let others in? Else the first to be added should."""
    with database(settings) as engine:
        return not users.lacks_admin(engine)


def list_users(settings: Settings) -> list[User]:
    """`whalefall users list`."""
    with database(settings) as engine:
        return users.everyone(engine)


def new_setup_link(settings: Settings) -> str:
    """`whalefall users setup-link`: where to make the first administrator. Raises UsageError once there is one."""
    with database(settings) as engine:
        return setup_url(setup.renew_link(engine), settings)


def _record(engine: Engine, action: str, user: User) -> None:
    who = f"uid {os.getuid()} (shell)"  # a name is not known to every container
    audit.write(engine, audit.Change(who, "local", action, user.name, "-", after={"role": user.role}))
