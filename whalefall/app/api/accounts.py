"""/api/v1/users, /tokens and /audit: who may, and what they did. Administrators only."""

from dataclasses import asdict
from typing import Any

from whalefall.app import access
from whalefall.app.api.blueprint import ApiBlueprint
from whalefall.app.api.envelope import ok
from whalefall.app.api.errors import Problem
from whalefall.app.api.schemas import (
    AuditEntry,
    AuditQuery,
    NewToken,
    NewUser,
    NoBody,
    Token,
    TokenMade,
    User,
    UserEdit,
)
from whalefall.app.api.trail import record
from whalefall.app.roles import Role
from whalefall.app.store import audit, tokens, users
from whalefall.app.store.engine import engine

blueprint = ApiBlueprint("accounts", "", "Users, API tokens and the audit trail")


@blueprint.operation("GET", "/users", needs_role=Role.ADMIN, gives_many=User)
def list_users() -> dict[str, Any]:
    """All users, by name."""
    return ok(users.everyone(engine()))


@blueprint.operation("POST", "/users", needs_role=Role.ADMIN, takes=NewUser, gives=User)
def add_user(wanted: dict[str, Any]) -> dict[str, Any]:
    """A new user."""
    user = users.add(engine(), wanted["name"], wanted["password"], wanted["role"])
    record("user.add", user.name, after={"role": user.role})
    return ok(user, f"'{user.name}' can log in now.")


@blueprint.operation("PUT", "/users/<name>", needs_role=Role.ADMIN, takes=UserEdit, gives=User)
def edit_user(wanted: dict[str, Any], name: str) -> dict[str, Any]:
    """Changes role, password or whether the user may log in; ends their sessions."""
    return _edit(wanted, name)


@blueprint.operation("POST", "/users/<name>/actions/edit", needs_role=Role.ADMIN, takes=UserEdit, gives=User)
def edit_user_by_form(wanted: dict[str, Any], name: str) -> dict[str, Any]:
    """The same for plain forms, which know no PUT."""
    return _edit(wanted, name)


def _edit(wanted: dict[str, Any], name: str) -> dict[str, Any]:
    before = _user(name)
    if wanted["password"] is not None:
        users.set_password(engine(), name, wanted["password"])
    if wanted["role"] is not None:
        users.set_role(engine(), name, wanted["role"])
    if wanted["is_enabled"] is not None:
        (users.enable if wanted["is_enabled"] else users.disable)(engine(), name)
    after = _user(name)
    changed = {"password": "changed"} if wanted["password"] is not None else {}
    record("user.edit", after.name, before=_shown(before), after=_shown(after) | changed)
    return ok(after, f"'{after.name}' is changed.")


def _user(name: str) -> users.User:
    user = users.by_name(engine(), name)
    if user is None:
        raise Problem(404, "RESOURCE_NOT_FOUND", f"There is no user '{name[:64]}'.")
    return user


def _shown(user: users.User) -> dict[str, Any]:
    return {"role": user.role, "is_enabled": user.is_enabled}


@blueprint.operation("GET", "/tokens", needs_role=Role.ADMIN, gives_many=Token)
def list_tokens() -> dict[str, Any]:
    """All API tokens, the newest first; never their secrets."""
    return ok([asdict(token) for token in tokens.everything(engine())])


@blueprint.operation("POST", "/tokens", needs_role=Role.ADMIN, takes=NewToken, gives=TokenMade)
def make_token(wanted: dict[str, Any]) -> dict[str, Any]:
    """A new API token; this answer is the only one that ever shows its secret."""
    # A token made with a token belongs to the same person, so that it ends with them (no user name has a slash).
    person = access.actor().partition("/")[0][:64]
    token, secret = tokens.make(engine(), wanted["name"], wanted["role"], created_by=person, days=wanted["days"])
    record("token.make", token.name, after={"id": token.id, "role": token.role, "expires_at": token.expires_at})
    return ok(asdict(token) | {"secret": secret}, "Copy the token now; it is never shown again.")


@blueprint.operation("POST", "/tokens/<int:token_id>/actions/revoke", needs_role=Role.ADMIN, takes=NoBody, gives=Token)
def revoke_token(_nothing: dict[str, Any], token_id: int) -> dict[str, Any]:
    """Ends the token at once."""
    token = tokens.revoke(engine(), token_id) if token_id < 2**62 else None
    if token is None:
        raise Problem(404, "RESOURCE_NOT_FOUND", f"There is no token {token_id}.")
    record("token.revoke", token.name, before={"id": token.id, "role": token.role})
    return ok(asdict(token), f"The token '{token.name}' works no more.")


@blueprint.operation("GET", "/audit", needs_role=Role.ADMIN, query=AuditQuery, gives_many=AuditEntry)
def list_audit(query: dict[str, Any]) -> dict[str, Any]:
    """Who changed what, the newest first; `meta.next` is the next page's `before`."""
    entries = audit.page(engine(), before=query["before"], limit=query["limit"])
    following = entries[-1].id if len(entries) == query["limit"] else None
    return ok(entries, f"{len(entries)} entries.", meta={"next": following})
