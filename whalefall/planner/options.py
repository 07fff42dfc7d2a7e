"""What do `[tool.whalefall]` of pyproject.toml, or whalefall.toml, say? Two tables of keys, and one reader of both.

A key is one row in TOP or SERVICE: its name, how its value is checked, and what it is for. `docs/reference/options.md`
is held to these tables by a test. An unknown key is refused with the nearest known one: a typo must not be a default.
"""

import dataclasses
import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from whalefall.errors import ConfigError
from whalefall.plan import Dependency
from whalefall.settings import parse_address

SIGNALS = ("TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "WINCH", "KILL")


@dataclasses.dataclass(frozen=True, slots=True)
class Option:
    """One key. `read` answers with the checked value, or raises ValueError saying what to write instead."""

    key: str
    read: Callable[[Any], Any]
    kind: str
    purpose: str


@dataclasses.dataclass(frozen=True, slots=True)
class ServiceOptions:
    """What the file says of one service; None or empty where it says nothing. One field per row of SERVICE."""

    listen: tuple[str, ...] = ()
    ready: str | None = None
    after: tuple[Dependency, ...] | None = None
    stop_signal: str | None = None
    grace: float | None = None
    orphans: Literal["kill", "drain"] | None = None
    on_give_up: Literal["exit", "degrade", "stop"] | None = None
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """The whole file. `path` is "" when there is none."""

    path: str = ""
    app: str = ""
    services: Mapping[str, ServiceOptions] = dataclasses.field(default_factory=dict)

    def of(self, service: str) -> ServiceOptions:
        """The options of `service`, all unset if the file has no table for it."""
        return self.services.get(service, ServiceOptions())

    def where(self, service: str, key: str = "") -> str:
        """`pyproject.toml: [tool.whalefall.services.web] ready`, for errors and for `plan`."""
        return f"{self.path}: [{_prefix(self.path)}services.{service}] {key}".strip()


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("write a text in quotes")
    return value


def _choice(*words: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not isinstance(value, str) or value not in words:
            near = difflib.get_close_matches(str(value), words, 1)
            raise ValueError(f"write one of {', '.join(words)}" + (f"; did you mean '{near[0]}'?" if near else ""))
        return value

    return read


def _signal(value: Any) -> str:
    name = value.upper().removeprefix("SIG") if isinstance(value, str) else ""
    if name not in SIGNALS:
        raise ValueError(f"write one of {', '.join(SIGNALS)}")
    return name


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 3600:
        raise ValueError("write a number of seconds, more than 0 and at most 3600")
    return float(value)


def _ready(value: Any) -> str:
    if isinstance(value, str) and (value in ("tcp", "none") or re.fullmatch(r"/[!-~]*", value)):
        return value
    raise ValueError('write a path to ask for by HTTP, as in "/health", or "tcp" or "none"')


def _list(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError('write a list of texts, as in ["web"]')
    return value


def _listen(value: Any) -> tuple[str, ...]:
    addresses = tuple(parse_address(item) for item in _list(value))
    if len(set(addresses)) != len(addresses):
        raise ValueError("the same address stands in it twice; remove one")
    return addresses


def _after(value: Any) -> tuple[Dependency, ...]:
    return tuple(_dependency(item) for item in _list(value))


def _dependency(text: str) -> Dependency:
    service, _, until = text.partition(":")
    match until or "ready":
        case "started":
            return Dependency(service, "started")
        case "ready":
            return Dependency(service, "ready")
        case "finished":
            return Dependency(service, "finished")
        case _:
            raise ValueError(
                f"'{text}' ends with no known state; write SERVICE, or SERVICE:started, :ready or :finished"
            )


def _environment(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError('write a table of texts, as in { NAME = "value" }')  # noqa: TRY004 - see Option.read
    for name, text in value.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"{name!r} is no name of a variable; use letters, digits and _ only")
        if not isinstance(text, str) or "\0" in text:
            raise ValueError(f"{name} must be a text in quotes")
    return value


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("write it as tables, one per process type")  # noqa: TRY004 - see Option.read
    return value


TOP = (
    Option("app", _text, "text", "The WSGI application as module:callable; `serve APP` and WHALEFALL_APP win over it."),
    Option("services", _table, "table", "One table per process type of the Procfile, with the keys below."),
)

SERVICE = (
    Option("listen", _listen, "list of addresses", "Sockets that the supervisor holds open and passes to every start."),
    Option(
        "ready",
        _ready,
        '"/path", "tcp" or "none"',
        "How to tell that it is ready: an answer below 400, or a connection.",
    ),
    Option(
        "after", _after, "list of services", "Starts behind these: SERVICE (ready), SERVICE:started, SERVICE:finished."
    ),
    Option("stop_signal", _signal, "name of a signal", "What asks it to stop."),
    Option("grace", _seconds, "seconds", "How long it may take to stop; then its whole tree is killed."),
    Option(
        "orphans", _choice("kill", "drain"), '"kill" or "drain"', "What becomes of its children when it dies itself."
    ),
    Option(
        "on_give_up",
        _choice("exit", "degrade", "stop"),
        '"exit", "degrade" or "stop"',
        "What happens when it keeps crashing.",
    ),
    Option("env", _environment, "table of texts", "Variables for this service alone; they win over the environment."),
)


def read(directory: Path) -> Options:
    """The options in `directory`: whalefall.toml if it exists, else [tool.whalefall] of pyproject.toml, else none."""
    own, project = directory / "whalefall.toml", directory / "pyproject.toml"
    if own.exists():
        return from_document(_load(own), own.name)
    if project.exists():
        tool = _load(project).get("tool")
        table = tool.get("whalefall", {}) if isinstance(tool, dict) else {}
        return from_document(table, project.name)
    return Options()


def from_document(document: Any, path: str) -> Options:
    """Raises ConfigError that names file, table and key."""
    prefix = _prefix(path)
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: tool.whalefall is no table. Write [tool.whalefall] and its keys below.")
    top = _read_table(TOP, document, path, f"[{prefix[:-1]}]" if prefix else "the top")
    services = {}
    for name, table in top.get("services", {}).items():
        where = f"[{prefix}services.{name}]"
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: {where} is no table. Write {where} and its keys below.")
        services[name] = ServiceOptions(**_read_table(SERVICE, table, path, where))
    return Options(path, top.get("app", ""), services)


def check_names(options: Options, known: Iterable[str]) -> None:
    """Raises ConfigError for options of a service that the Procfile does not have."""
    names = list(known)
    for name in options.services:
        if name not in names:
            raise ConfigError(f"{options.where(name)}: the Procfile has no '{name}'. {nearest(name, names)}")


def nearest(word: str, known: Iterable[str]) -> str:
    """`Did you mean 'ready'?`, or the whole list when nothing is near."""
    words = list(known)
    near = difflib.get_close_matches(word, words, 1)
    return f"Did you mean '{near[0]}'?" if near else f"There are: {', '.join(words)}."


def _read_table(rows: tuple[Option, ...], table: Mapping[str, Any], path: str, where: str) -> dict[str, Any]:
    known = {row.key: row for row in rows}
    values = {}
    for key, value in table.items():
        if key not in known:
            raise ConfigError(f"{path}: {where} has no key '{key}'. {nearest(key, known)}")
        try:
            values[key] = known[key].read(value)
        except ValueError as error:
            raise ConfigError(f"{path}: {where} {key} = {value!r} is not understood: {error}.") from None
    return values


def _prefix(path: str) -> str:
    """What stands in front of a table's name: whalefall.toml is ours from its first line on."""
    return "tool.whalefall." if path.endswith("pyproject.toml") else ""


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name}: is not TOML: {error}.") from None
    except OSError as error:
        raise ConfigError(f"{path.name}: cannot be read ({error.strerror}). Mend that, or remove it.") from None
