"""/api/v1/auth: CSRF token, login, logout, session. The pages' own form does the same by `whalefall.app.login`."""

from typing import Any

from flask_login import current_user

from whalefall.app import access, login
from whalefall.app.api.blueprint import ApiBlueprint
from whalefall.app.api.envelope import ok
from whalefall.app.api.errors import Problem
from whalefall.app.api.schemas import CsrfToken, Login, NoBody, PasswordChange, SessionShown
from whalefall.app.api.trail import record
from whalefall.app.roles import Role
from whalefall.app.store import attempts, users
from whalefall.app.store.engine import engine

blueprint = ApiBlueprint("auth", "/auth", "Sessions")


@blueprint.operation("GET", "/csrf-token", needs_role=Role.NONE, gives=CsrfToken)
def csrf_token() -> dict[str, Any]:
    """The token that every change needs in the X-CSRFToken header, with the cookie that comes with it."""
    return ok({"csrf_token": access.csrf_token()})


@blueprint.operation("POST", "/login", needs_role=Role.NONE, takes=Login, gives=SessionShown, fails=(401, 409, 429))
def log_in(wanted: dict[str, Any]) -> dict[str, Any]:
    """Begins a session; the answer carries its new CSRF token."""
    user = login.log_in(wanted["username"], wanted["password"])
    return ok(_session(), f"Welcome, {user.name}.")


@blueprint.operation("POST", "/logout", needs_role=Role.NONE, takes=NoBody)
def log_out(_nothing: dict[str, Any]) -> dict[str, Any]:
    """Ends the session."""
    login.log_out()
    return ok(message="You are logged out.")


@blueprint.operation("GET", "/session", needs_role=Role.NONE, gives=SessionShown)
def show_session() -> dict[str, Any]:
    """Who this is, and what they may do."""
    return ok(_session())


@blueprint.operation(
    "POST", "/password", needs_role=Role.VIEW, takes=PasswordChange, gives=SessionShown, fails=(409, 429)
)
def change_password(wanted: dict[str, Any]) -> dict[str, Any]:
    """Changes one's own password; every other session of this user ends."""
    who = access.identity()
    if who.by != "session":
        raise Problem(409, "CONSTRAINT_VIOLATION", "Only somebody who is logged in with a password can change it.")
    if wait_s := attempts.seconds_to_wait(engine(), who.name, access.source_address()):
        raise Problem(429, "RATE_LIMITED", "Too many attempts; wait a little.", headers={"Retry-After": str(wait_s)})
    if users.verify(engine(), who.name, wanted["current_password"]) is None:
        attempts.note(engine(), who.name, access.source_address(), succeeded=False)
        raise Problem(400, "VALIDATION_ERROR", "current_password: this is not the current password.")
    user = users.set_password(engine(), who.name, wanted["new_password"])
    record("user.password", user.name)
    login.start_session(user)
    return ok(_session(), "The password is changed.")


def _session() -> dict[str, Any]:
    who = access.identity()
    allowed = [role.name.lower() for role in (Role.VIEW, Role.ADMIN) if who.role.may(role)]
    user = {"id": who.user_id, "username": who.name, "role": allowed[-1] if allowed else "none"}
    is_logged_in = bool(current_user and current_user.is_authenticated) or who.by == "token"
    return {
        "authenticated": is_logged_in,
        "auth_model": "token" if who.by == "token" else "session",
        "csrf_token": access.csrf_token(),
        "permissions": allowed,
        "user": user if is_logged_in else None,
    }
