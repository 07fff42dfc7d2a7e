"""Which variables does a process get, and who said so? Every value carries its source, for `whalefall plan`.

The order of who wins in `serve`: the role, an assignment in the Procfile's line, the service's options, the command
line, the real environment, `.env`, what was generated. So a baked-in `.env` never beats the orchestrator, and nothing
beats the role. In `dev` the real environment and `.env` change places, as in foreman and honcho.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from whalefall.errors import ConfigError
from whalefall.settings import Settings, table

# Belongs to the process that got it from its own parent, never to our children (sd_listen_fds(3), sd_notify(3), nginx).
PRIVATE = frozenset(
    """LISTEN_FDS LISTEN_PID LISTEN_FDNAMES LISTEN_PIDFDID NOTIFY_SOCKET WATCHDOG_USEC WATCHDOG_PID MAINPID NGINX
    WHALEFALL_LIFE WHALEFALL_SOCKETS WHALEFALL_DIRECT WHALEFALL_LOGGED_BY PS HONCHO_PROCESS_NAME GUNICORN_PID
    GUNICORN_FD""".split()  # noqa: SIM905
)
MASK = "********"
_SECRET_NAME = re.compile(r"KEY|TOKEN|PASSWORD|PASSWD|SECRET|DSN|CREDENTIAL", re.IGNORECASE)
_NOT_SECRET = frozenset({"TLS_KEY"})  # the name of a file
_LOCK_WORD = re.compile(r"[a-z]+(-[a-z]+)*\Z")  # `sql`, `postgres-advisory`: how, and nothing that opens anything
_NAMED = re.compile(r"(?<![\w/.'\"-])[A-Z][A-Z0-9_]+(?![\w/])")  # in a sentence; not in a path or a value in quotes
_CREDENTIALS = re.compile(r"(?<=://)([^:/@\s]*):\S*@")  # up to the last @: passwords hold @ and /, too


@dataclass(frozen=True, slots=True)
class Variable:
    value: str
    source: str  # "environment", ".env:3", "role", "default", ...


Environment = dict[str, Variable]


def merge(environ: Mapping[str, str], dotenv: Environment, *, dotenv_wins: bool = False) -> Environment:
    """The real environment over `.env`, or below it. One of our settings that is set but empty counts as not set."""
    settings = {row["variable"] for row in table()} - {"NGINX_BINARY"}
    layers = [dotenv, {name: Variable(value, "environment") for name, value in environ.items()}]
    merged: Environment = {}
    for layer in reversed(layers) if dotenv_wins else layers:
        for name, variable in layer.items():
            blank = name in settings and not variable.value.strip()
            if name not in PRIVATE and not (blank and name in merged):
                merged[name] = variable
    return merged


def put(environment: Environment, values: Mapping[str, str], source: str) -> None:
    """Sets `values`, whatever was there."""
    environment.update({name: Variable(value, source) for name, value in values.items()})


def plain(environment: Environment) -> dict[str, str]:
    """Names and values only, as exec takes them."""
    return {name: variable.value for name, variable in environment.items()}


def is_set(environment: Environment, name: str) -> bool:
    """Whether somebody gave it a value; empty counts as not set, as in Settings."""
    return name in environment and bool(environment[name].value.strip())


def load_settings(environment: Environment) -> Settings:
    """Settings from it; an error also says where the bad value was written."""
    with naming_lines(environment):
        return Settings.load(plain(environment))


@contextmanager
def naming_lines(environment: Environment) -> Iterator[None]:
    """Around what judges settings: a ConfigError that begins with one of them gets its file and line in front."""
    try:
        yield
    except ConfigError as error:
        if where := _line_of_first(str(error), environment):
            raise type(error)(f"{where}: {error}") from None
        raise


def _line_of_first(sentence: str, environment: Environment) -> str:
    """`.env:3` for the first setting in it that somebody has set; "" when that was in no file, or it is of none."""
    settings = {row["variable"] for row in table()}
    named = [name for name in _NAMED.findall(sentence) if name in settings]
    if not named or not sentence.startswith(named[0]):
        return ""
    source = next((environment[name].source for name in named if is_set(environment, name)), "")
    return source if source.rpartition(":")[2].isdigit() else ""


def masked(name: str, value: str) -> str:
    """The value as it may be shown: secrets by the settings' flag, by the name, or by credentials in a URL."""
    if not value:
        return value
    flagged = any(row["variable"] == name and row["secret"] for row in table())
    shown = _CREDENTIALS.sub(rf"\1:{MASK}@", value)
    if flagged and value.startswith(("https://", "http://")):
        return "/".join([*shown.split("/")[:3], MASK])  # of a webhook the path is the password
    if flagged and "://" in value:
        return re.sub(r"\?.*", f"?{MASK}", shown)  # drivers take passwords from the query, too
    if shown != value or (name == "SCHEDULER_LOCK" and _LOCK_WORD.match(value)):
        return shown
    if flagged or (_SECRET_NAME.search(name) and name not in _NOT_SECRET):
        return MASK
    return value


def masked_argv(argv: Iterable[str]) -> list[str]:
    """The same for words of a command: `--token=…`, and credentials in URLs."""
    words = []
    for word in argv:
        name, equals, value = word.partition("=")
        words.append(f"{name}={masked(name.lstrip('-'), value)}" if equals else _CREDENTIALS.sub(rf"\1:{MASK}@", word))
    return words
