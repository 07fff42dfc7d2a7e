"""Logging in and out: rate limit and lockout first, then the password, then a fresh session."""

from flask import current_app, session
from flask_login import current_user, login_user, logout_user

from whalefall.app import access, first_start
from whalefall.app.api.errors import Problem
from whalefall.app.api.trail import record
from whalefall.app.store import attempts, sessions, users
from whalefall.app.store.engine import engine
from whalefall.app.store.users import User


def log_in(name: str, password: str) -> User:
    """The user, now logged in. Raises Problem: 429 while locked out, 401 when name or password is wrong."""
    if access.has_foreign_login(current_app):
        raise Problem(409, "CONSTRAINT_VIOLATION", "This application has a login of its own; use that one.")
    first_start.catch_up(current_app._get_current_object())  # type: ignore[attr-defined]  # noqa: SLF001 - werkzeug's own way in
    address = access.source_address()
    if wait_s := attempts.seconds_to_wait(engine(), name, address):
        raise Problem(
            429,
            "RATE_LIMITED",
            f"Too many attempts to log in; try again in {_duration(wait_s)}.",
            headers={"Retry-After": str(wait_s)},
        )
    user = users.verify(engine(), name, password)
    attempts.note(engine(), name, address, succeeded=user is not None)
    if user is None:
        record("login.failed", name[:64], actor="nobody")
        raise Problem(401, "AUTHENTICATION_REQUIRED", "The user name or the password is wrong.")
    start_session(user)
    users.note_login(engine(), user.id)
    record("login", user.name, actor=user.name)
    return user


def start_session(user: User) -> None:
    """Throws away what the visitor brought and begins anew as this user."""
    _end_session()
    access.renew_session()
    session.permanent = True
    login_user(access.SessionUser(user, sessions.begin(engine(), user)))


def log_out() -> None:
    """Ends the session on the server: a copy of its cookie knows nobody any more."""
    if access.identity().by == "session":
        record("logout", access.actor())
    _end_session()
    logout_user()
    access.renew_session()


def _end_session() -> None:
    """Also of somebody who logs in anew, or as somebody else."""
    if isinstance(current_user._get_current_object(), access.SessionUser):  # noqa: SLF001 - werkzeug's own way in
        sessions.end(engine(), current_user.key)


def _duration(seconds: int) -> str:
    return f"{seconds} seconds" if seconds < 120 else f"{-(-seconds // 60)} minutes"
