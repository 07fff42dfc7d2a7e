"""/users, /tokens, /audit, /me: who may, and what they did."""

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from whalefall.app.roles import Role, needs
from whalefall.app.store import audit, tokens, users
from whalefall.app.store.engine import engine

_PER_PAGE = 100


def add_to(blueprint: Blueprint) -> None:
    """Registers the pages."""
    blueprint.add_url_rule("/users", "users", show_users)
    blueprint.add_url_rule("/tokens", "tokens", show_tokens)
    blueprint.add_url_rule("/audit", "audit", show_audit)
    blueprint.add_url_rule("/me", "me", show_me)


@needs(Role.ADMIN)
def show_users() -> ResponseReturnValue:
    """Users and their roles."""
    return render_template("whalefall/users.html", users=users.everyone(engine()), length_min=users.PASSWORD_LENGTH_MIN)


@needs(Role.ADMIN)
def show_tokens() -> ResponseReturnValue:
    """API tokens, never their secrets."""
    return render_template("whalefall/tokens.html", tokens=tokens.everything(engine()))


@needs(Role.ADMIN)
def show_audit() -> ResponseReturnValue:
    """Who changed what."""
    before = request.args.get("before", type=int)
    entries = audit.page(engine(), before=before, limit=_PER_PAGE)
    next_page = entries[-1].id if len(entries) == _PER_PAGE else None
    return render_template("whalefall/audit.html", entries=entries, next_page=next_page)


@needs(Role.VIEW)
def show_me() -> ResponseReturnValue:
    """One's own password."""
    return render_template("whalefall/me.html", length_min=users.PASSWORD_LENGTH_MIN)
