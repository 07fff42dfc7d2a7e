"""WHO IS ASKING: session user, API token, this machine, or nobody; and the one guard before every view of ours."""

import logging
from dataclasses import dataclass
from typing import Any

from flask import Flask, current_app, g, request, session
from flask_login import LoginManager, current_user
from flask_wtf.csrf import generate_csrf, validate_csrf
from wtforms import ValidationError

from whalefall.app.api.errors import Problem
from whalefall.app.proxies import client_address, is_this_machine
from whalefall.app.roles import Role, needed_by
from whalefall.app.state import app_state
from whalefall.app.store import sessions, tokens, users
from whalefall.app.store.engine import engine

log = logging.getLogger(__name__)

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
CSRF_HEADER = "X-CSRFToken"
CSRF_FIELD = "csrf_token"
_FOREIGN_LOGIN = "whalefall_foreign_login"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is asking; `by` is session, token, host (the surrounding application's login), machine or nobody."""

    name: str
    role: Role
    by: str
    user_id: int | None = None

    @property
    def is_somebody(self) -> bool:
        return self.role is not Role.NONE


NOBODY = Identity("", Role.NONE, "nobody")


class SessionUser:
    """What Flask-Login keeps: its id is the session's key, so that the server can end it."""

    is_active = True
    is_authenticated = True
    is_anonymous = False

    def __init__(self, user: users.User, key: str) -> None:
        self.user, self.key = user, key

    def get_id(self) -> str:
        return self.key


def init_login(app: Flask) -> None:
    """Installs Flask-Login unless the surrounding application has its own; then that one's users count."""
    if hasattr(app, "login_manager"):
        app.extensions[_FOREIGN_LOGIN] = True
        return
    manager = LoginManager()
    manager.session_protection = "basic"
    manager.user_loader(_load_user)
    manager.init_app(app, add_context_processor=False)  # an error page must render when the database is away


def has_foreign_login(app: Flask) -> bool:
    """Whether the surrounding application brings its own users."""
    return bool(app.extensions.get(_FOREIGN_LOGIN))


def _load_user(key: str) -> SessionUser | None:
    user = sessions.find(engine(), key, current_app.permanent_session_lifetime)
    return SessionUser(user, key) if user else None


def identity() -> Identity:
    """Who is asking, found once per request."""
    if "whalefall_identity" not in g:
        g.whalefall_identity = _find_identity()
    known: Identity = g.whalefall_identity
    return known


def _find_identity() -> Identity:
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":  # another scheme is the business of a proxy in front of us
        return _token_identity(secret.strip())
    if current_user and current_user.is_authenticated:
        return _session_identity(current_user)
    if app_state().settings.view_from_this_machine and is_this_machine(request):
        return Identity("this machine", Role.VIEW, "machine")
    return NOBODY


def _token_identity(secret: str) -> Identity:
    token = tokens.find(engine(), secret)
    if token is None:
        raise Problem(
            401,
            "AUTHENTICATION_REQUIRED",
            "The API token is unknown, expired or revoked. Send `Authorization: Bearer TOKEN` with a token that an "
            "administrator made on the Tokens page.",
        )
    return Identity(f"{token.created_by}/{token.name}", Role.named(token.role), "token")


def _session_identity(user: Any) -> Identity:
    if isinstance(user, SessionUser):
        return Identity(user.user.name, Role.named(user.user.role), "session", user.user.id)
    # The surrounding application's own login: it says which role its user has, and nothing is assumed.
    role_of = current_app.config.get("WHALEFALL_ROLE_OF")
    role = Role.named(role_of(user) or "") if role_of else Role.NONE
    return Identity(str(user.get_id()), role, "host")


def guard() -> None:
    """Runs before every view of ours; raises Problem when the request may not go on."""
    needed = needed_by(current_app.view_functions.get(request.endpoint or ""))
    if needed is None:
        raise Problem(403, "PERMISSION_REQUIRED", "This address declares no access rule, so nobody may use it.")
    if needed is Role.NONE and request.method in SAFE_METHODS:
        return  # who it is matters not, and finding out may need a database that is away
    who = identity()
    if not who.role.may(needed):
        raise _refusal(who, needed)
    if request.method not in SAFE_METHODS and who.by != "token":
        check_csrf()


def _refusal(who: Identity, needed: Role) -> Problem:
    if who.by in ("nobody", "machine"):
        return Problem(401, "AUTHENTICATION_REQUIRED", "Log in first, or send an API token.")
    return Problem(
        403,
        "PERMISSION_REQUIRED",
        f"The user '{who.name}' may not do this; it needs the role '{needed.name.lower()}'.",
        suggestions=("Ask an administrator for the role.",),
    )


def check_csrf() -> None:
    """Raises Problem unless the request carries this session's token, as a header or a form field."""
    sent = request.headers.get(CSRF_HEADER) or request.form.get(CSRF_FIELD)
    if not sent:
        raise Problem(
            403,
            "CSRF_MISSING",
            f"The {CSRF_HEADER} header is missing. Get a token from /api/v1/auth/csrf-token and send it with the "
            "session cookie.",
        )
    if request.headers.get("Sec-Fetch-Site") == "cross-site":
        raise Problem(403, "CSRF_INVALID", "Another site sent this request, so nothing was changed.")
    try:
        validate_csrf(sent, time_limit=session_seconds(), token_key=CSRF_FIELD)
    except ValidationError as error:
        reason = str(error).rstrip(".")
        raise Problem(
            403, "CSRF_INVALID", f"{reason}. Load the page again, or get a new token from /api/v1/auth/csrf-token."
        ) from None


def csrf_token() -> str:
    """The token of this session; makes one on first use."""
    token: str = generate_csrf(token_key=CSRF_FIELD)
    return token


def session_seconds() -> int:
    """How long a session, and so its CSRF token, may live."""
    return int(current_app.permanent_session_lifetime.total_seconds())


def renew_session() -> None:
    """Forgets everything the visitor's cookie said before login or logout (session fixation)."""
    session.clear()
    g.pop(CSRF_FIELD, None)
    g.pop("whalefall_identity", None)


def actor() -> str:
    """The name that goes into the ledger and the audit trail."""
    return identity().name


def source_address() -> str:
    """The address that goes into the audit trail."""
    return client_address(request)
