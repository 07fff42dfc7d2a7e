"""`whalefall users …`: who may log in, from a shell beside the site's `.env`; needs no running whalefall."""

import argparse
import dataclasses
import getpass
import sys
from collections.abc import Callable, Mapping

from whalefall.app import commands
from whalefall.app.store.users import User, canonical
from whalefall.cli import requests
from whalefall.errors import UsageError
from whalefall.planner.directories import make_data_dir
from whalefall.planner.environment import naming_lines
from whalefall.planner.options import nearest
from whalefall.planner.world import View, look
from whalefall.settings import Settings


def users(arguments: argparse.Namespace) -> int:
    """Does what the verb says. Raises UsageError for a name or password that will not do."""
    view = look(requests.of(arguments))
    with naming_lines(view.environment):
        _VERBS[arguments.verb](_settings(view), arguments)
    return 0


def _list(settings: Settings, _: argparse.Namespace) -> None:
    found = commands.list_users(settings)
    if not found:
        print("no user yet; `whalefall users setup-link` prints where to make the first")
    for user in found:
        seen = f"last login {user.last_login_at:%Y-%m-%d %H:%M} UTC" if user.last_login_at else "never logged in"
        print(f"{user.name:<20} {user.role:<6} {seen}{'' if user.is_enabled else ', disabled'}")


def _add(settings: Settings, arguments: argparse.Namespace) -> None:
    name = canonical(arguments.name)
    if name in _names(settings):
        raise UsageError(f"There is already a user '{name}'. A new password: whalefall users passwd {name}")
    has_admin = commands.has_admin(settings)
    user = commands.add_user(settings, name, _password(), arguments.role or ("view" if has_admin else "admin"))
    told = "" if has_admin else _told_of_first(user, asked=bool(arguments.role))
    print(f"{user.name} may log in, with the role {user.role}{told}")


def _told_of_first(user: User, *, asked: bool) -> str:
    """What whoever adds a user before there is an administrator may not expect."""
    if user.role != "admin":
        return "; nobody is an administrator yet. Add one: whalefall users add NAME --role admin"
    return "" if asked else " (the first user is an administrator; for others the default is view)"


def _passwd(settings: Settings, arguments: argparse.Namespace) -> None:
    name, known = canonical(arguments.name), _names(settings)
    if name not in known:
        raise UsageError(
            f"There is no user '{name}'. {nearest(name, known) if known else f'Add one: whalefall users add {name}'}"
        )
    user = commands.set_password(settings, name, _password())
    print(f"{user.name} has a new password, and every session of theirs has ended")


def _names(settings: Settings) -> list[str]:
    """Looked at before anybody types a password twice for nothing; the database has the last word."""
    return [user.name for user in commands.list_users(settings)]


def _setup_link(settings: Settings, _: argparse.Namespace) -> None:
    print(commands.new_setup_link(settings))


def _settings(view: View) -> Settings:
    """The site's, with its database where `serve` has it."""
    make_data_dir(view.data_dir)
    return dataclasses.replace(view.settings, data_dir=str(view.data_dir), run_dir=str(view.run_dir))


def _password() -> str:
    """Typed twice at a terminal; else one line of standard input, so that no command line shows it."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    first = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != first:
        raise UsageError("the two are not the same; nothing was changed")
    return first


_VERBS: Mapping[str, Callable[[Settings, argparse.Namespace], None]] = {
    "list": _list,
    "add": _add,
    "passwd": _passwd,
    "setup-link": _setup_link,
}
COMMANDS = {"users": users}
