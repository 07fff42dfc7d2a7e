"""/login, /logout, /setup: the ways in and out."""

from flask import Blueprint, current_app, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from whalefall.app import access, first_start, login
from whalefall.app.api.errors import Problem
from whalefall.app.api.trail import record
from whalefall.app.language import translate
from whalefall.app.links import HOME, local_path
from whalefall.app.retelling import retold
from whalefall.app.roles import Role, needs
from whalefall.app.store import setup, users
from whalefall.app.store.engine import engine
from whalefall.errors import UsageError


def add_to(blueprint: Blueprint) -> None:
    """Registers the pages."""
    blueprint.add_url_rule("/login", "login", show_login, methods=["GET"])
    blueprint.add_url_rule("/login", "do_login", do_login, methods=["POST"])
    blueprint.add_url_rule("/logout", "logout", do_logout, methods=["POST"])
    blueprint.add_url_rule("/setup/<token>", "setup", show_setup, methods=["GET"])
    blueprint.add_url_rule("/setup/<token>", "do_setup", do_setup, methods=["POST"])


def add_root(blueprint: Blueprint) -> None:
    """`/` leads to the dashboard."""
    blueprint.add_url_rule("/", "root", root)


@needs(Role.NONE)
def root() -> ResponseReturnValue:
    """The front door."""
    return redirect(HOME)


@needs(Role.NONE)
def show_login() -> ResponseReturnValue:
    """The form; somebody who is logged in already goes on."""
    wanted = local_path(request.args.get("next"))
    if access.identity().by == "session":
        return redirect(wanted)
    first_start.catch_up(current_app._get_current_object())  # type: ignore[attr-defined]  # noqa: SLF001 - werkzeug's own way in
    return _login_form(wanted)


@needs(Role.NONE)
def do_login() -> ResponseReturnValue:
    """Logs in and goes where the visitor wanted to go, on this site only."""
    wanted = local_path(request.form.get("next"))
    try:
        login.log_in(request.form.get("username", "")[:64], request.form.get("password", ""))
    except Problem as problem:
        page = _login_form(wanted, error=retold(problem.failure.message), username=request.form.get("username", ""))
        return page, problem.failure.status, problem.headers
    return redirect(wanted, 303)


def _login_form(wanted: str, *, error: str = "", username: str = "") -> str:
    return render_template(
        "whalefall/login.html", next=wanted, error=error, username=username, lacks_admin=users.lacks_admin(engine())
    )


@needs(Role.NONE)
def do_logout() -> ResponseReturnValue:
    """Ends the session."""
    login.log_out()
    flash(translate("You are logged out."), "success")
    return redirect(url_for("whalefall_pages.login"), 303)


@needs(Role.NONE)
def show_setup(token: str) -> ResponseReturnValue:
    """The form behind the one-time link."""
    if not setup.is_valid(engine(), token):
        return _setup_form(is_valid=False), 404
    return _setup_form(is_valid=True)


@needs(Role.NONE)
def do_setup(token: str) -> ResponseReturnValue:
    """Makes the first administrator, once, and logs them in."""
    name, password = request.form.get("username", ""), request.form.get("password", "")
    if not setup.is_valid(engine(), token):
        return _setup_form(is_valid=False), 404
    if password != request.form.get("repeat", ""):
        return _setup_form(is_valid=True, error=translate("The two passwords differ."), username=name), 400
    try:
        user = setup.use_link(engine(), token, name, password)
    except UsageError as error:
        return _setup_form(is_valid=setup.is_valid(engine(), token), error=retold(str(error)), username=name), 400
    record("setup", user.name, actor=user.name, after={"role": user.role})
    login.start_session(user)
    return redirect(HOME, 303)


def _setup_form(*, is_valid: bool, error: str = "", username: str = "admin") -> str:
    return render_template(
        "whalefall/setup.html",
        is_valid=is_valid,
        error=error,
        username=username,
        length_min=users.PASSWORD_LENGTH_MIN,
    )
