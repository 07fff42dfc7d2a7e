"""What do `[tool.whalefall]` of pyproject.toml, or whalefall.toml, say? Two tables of keys, and one reader of both.

A key is one row in TOP or SERVICE: its name, how its value is checked, and what it is for. `docs/reference/options.md`
and the JSON schema beside it are held to these tables by tests. An unknown key is refused with the nearest known one: a
typo must not be a default. An error names the line, where the text of the file is at hand.
"""

import dataclasses
import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from whalefall.errors import ConfigError
from whalefall.plan import Dependency
from whalefall.planner import places, toml_lines, values
from whalefall.planner.procfile import decode
from whalefall.planner.values import Kind


@dataclasses.dataclass(frozen=True, slots=True)
class Option:
    """One key."""

    key: str
    kind: Kind
    purpose: str


@dataclasses.dataclass(frozen=True, slots=True)
class ServiceOptions:
    """What the file says of one service; None or empty where it says nothing. One field per row of SERVICE."""

    listen: tuple[str, ...] = ()
    ready: str | tuple[str, ...] | None = None
    start_timeout: float | None = None
    live: str | tuple[str, ...] | None = None
    live_period: float | None = None
    live_timeout: float | None = None
    live_failures: int | None = None
    watchdog: float | None = None
    after: tuple[Dependency, ...] | None = None
    run_once: bool | None = None
    instances: int | None = None
    stop_signal: str | None = None
    grace: float | None = None
    orphans: Literal["kill", "drain"] | None = None
    restart_first: float | None = None
    restart_max: float | None = None
    early_crashes: int | None = None
    early_window: float | None = None
    crashes: int | None = None
    crash_window: float | None = None
    on_give_up: Literal["exit", "degrade", "stop"] | None = None
    critical: bool | None = None
    memory_limit: int | None = None
    log: Literal["text", "json", "raw", "none"] | None = None
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    user: str = ""
    umask: int | None = None
    limits: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """The whole file. `path` is "" when there is none."""

    path: str = ""
    app: str = ""
    services: Mapping[str, ServiceOptions] = dataclasses.field(default_factory=dict)
    lines: Mapping[toml_lines.Path, int] = dataclasses.field(default_factory=dict, compare=False)

    def of(self, service: str) -> ServiceOptions:
        """The options of `service`, all unset if the file has no table for it."""
        return self.services.get(service, ServiceOptions())

    def where(self, service: str, key: str = "") -> str:
        """`pyproject.toml:7: [tool.whalefall.services.web] ready`, for errors and for `plan`."""
        place = _place(self.path, self.lines, ("services", service, *([key] if key else [])))
        return f"{place}: [{_prefix(self.path)}services.{service}] {key}".strip()

    def where_top(self, key: str) -> str:
        """The same for a key at the top: `whalefall.toml:1: app`."""
        return f"{_place(self.path, self.lines, (key,))}: {key}"


TOP = (
    Option("app", values.TEXT, "The WSGI application as module:callable; `serve APP` and WHALEFALL_APP win over it."),
    Option("services", values.TABLE, "One table per process type of the Procfile, with the keys below."),
)

SERVICE = (
    Option("listen", values.ADDRESSES, "Sockets that the supervisor holds open and passes to every start."),
    Option("ready", values.READY, "How to tell that it is ready: an answer below 400, a connection, or its own word."),
    Option("start_timeout", values.SECONDS, "How long it may take to become ready; then it counts as crashed."),
    Option("live", values.LIVE, "What is asked for ever; when it fails, the service is restarted."),
    Option("live_period", values.SECONDS, "How often `live` is asked."),
    Option("live_timeout", values.SECONDS, "How long an answer to `live` may take."),
    Option("live_failures", values.count(1, 100), "How many failures of `live` in a row restart it."),
    Option("watchdog", values.SECONDS, "How often it must say WATCHDOG=1; when it does not, it is restarted."),
    Option("after", values.SERVICES, "Starts behind these: SERVICE (ready), SERVICE:started, SERVICE:finished."),
    Option("run_once", values.FLAG, "It shall end by itself, with 0, and is not started again."),
    Option("instances", values.count(0, values.INSTANCES_MAX), "How many of it run; -c on the command line wins."),
    Option("stop_signal", values.SIGNAL, "What asks it to stop."),
    Option("grace", values.SECONDS, "How long it may take to stop; then its whole tree is killed."),
    Option("orphans", values.choice("kill", "drain"), "What becomes of its children when it dies itself."),
    Option("restart_first", values.SECONDS, "The first pause; the very first restart comes at once."),
    Option("restart_max", values.SECONDS, "The longest pause; each is twice the one before, with jitter."),
    Option("early_crashes", values.count(1, values.CRASHES_MAX), "So many crashes before it was ready are too many."),
    Option("early_window", values.SECONDS, "The time within which `early_crashes` are counted."),
    Option("crashes", values.count(1, values.CRASHES_MAX), "So many crashes of any kind are too many."),
    Option("crash_window", values.SECONDS, "The time within which `crashes` are counted."),
    Option("on_give_up", values.choice("exit", "degrade", "stop"), "What happens when it keeps crashing."),
    Option("critical", values.FLAG, "Whether the others stop, too, when it keeps crashing: a shorter on_give_up."),
    Option("memory_limit", values.BYTES, "What holds more memory for a while is replaced, one worker at a time."),
    Option("log", values.choice("text", "json", "raw", "none"), "Its lines in another format than LOG_FORMAT."),
    Option("env", values.VARIABLES, "Variables for this service alone; they win over the environment."),
    Option("user", values.TEXT, "Whom it runs as, by name; only root can give it another than its own."),
    Option("umask", values.UMASK, "Which permissions its new files do not get."),
    Option("limits", values.LIMITS_TABLE, "Its resource limits, by the names of setrlimit(2)."),
)


def read(directory: Path) -> Options:
    """The options in `directory`: whalefall.toml if it exists, else [tool.whalefall] of pyproject.toml, else none."""
    own, project = directory / "whalefall.toml", directory / "pyproject.toml"
    if places.is_to_be_read(own):
        document, text = _load(own)
        return from_document(document, own.name, text)
    if places.is_to_be_read(project):
        document, text = _load(project)
        tool = document.get("tool")
        table = tool.get("whalefall", {}) if isinstance(tool, dict) else {}
        return from_document(table, project.name, text)
    return Options()


def from_document(document: Any, path: str, text: str = "") -> Options:
    """Raises ConfigError that names file, line (by the file's `text`), table and key."""
    prefix, lines = _prefix(path), toml_lines.lines_of(text)
    if not isinstance(document, dict):
        place = _place(path, lines, ())
        raise ConfigError(f"{place}: tool.whalefall is no table. Write [tool.whalefall] and its keys below.")
    read_top = _Table(path, lines, (), f"[{prefix[:-1]}]" if prefix else "the top")
    top = read_top.read(TOP, document)
    services = {}
    for name, table in top.get("services", {}).items():
        inner = _Table(path, lines, ("services", name), f"[{prefix}services.{name}]")
        if not isinstance(table, dict):
            place = _place(path, lines, inner.keys)
            raise ConfigError(f"{place}: {inner.name} is no table. Write {inner.name} and its keys below.")
        services[name] = ServiceOptions(**inner.read(SERVICE, table))
    return Options(path, top.get("app", ""), services, lines)


def check_names(options: Options, known: Iterable[str]) -> None:
    """Raises ConfigError for options of a service that the Procfile does not have."""
    names = list(known)
    for name in options.services:
        if name not in names:
            raise ConfigError(f"{options.where(name)}: the Procfile has no '{name}'. {nearest(name, names)}")


def instances(options: Options) -> dict[str, int]:
    """How many instances the file wants, for the services of which it says so."""
    return {name: each.instances for name, each in options.services.items() if each.instances is not None}


def nearest(word: str, known: Iterable[str]) -> str:
    """`Did you mean 'ready'?`, or the whole list when nothing is near."""
    words = list(known)
    near = difflib.get_close_matches(word, words, 1)
    return f"Did you mean '{near[0]}'?" if near else f"There are: {', '.join(words)}."


@dataclasses.dataclass(frozen=True, slots=True)
class _Table:
    """Where a table stands, for its errors: file, lines of its keys, the keys that lead to it, and its name."""

    path: str
    lines: Mapping[toml_lines.Path, int]
    keys: toml_lines.Path
    name: str

    def read(self, rows: tuple[Option, ...], table: Mapping[str, Any]) -> dict[str, Any]:
        """The checked values. Raises ConfigError for an unknown key or a bad value."""
        known = {row.key: row for row in rows}
        found = {}
        for key, value in table.items():
            place = _place(self.path, self.lines, (*self.keys, key))
            if key == "tool" and not self.keys and not _prefix(self.path):
                raise ConfigError(f"{place}: in {self.path} leave out the prefix tool.whalefall, as in [services.web].")
            if key not in known:
                raise ConfigError(f"{place}: {self.name} has no key '{key}'. {nearest(key, known)}")
            try:
                found[key] = known[key].kind.read(value)
            except ValueError as error:
                end = "" if str(error).endswith("?") else "."
                raise ConfigError(f"{place}: {self.name} {key} = {value!r} is not understood: {error}{end}") from None
        return found


def _place(path: str, lines: Mapping[toml_lines.Path, int], keys: toml_lines.Path) -> str:
    """`pyproject.toml:7`, or the file alone where the line is not known."""
    line = toml_lines.line_of(lines, (*_prefix(path).split(".")[:-1], *keys))
    return f"{path}:{line}" if line else path


def _prefix(path: str) -> str:
    """What stands in front of a table's name: whalefall.toml is ours from its first line on."""
    return "tool.whalefall." if path.endswith("pyproject.toml") else ""


def _load(path: Path) -> tuple[dict[str, Any], str]:
    """(what it says, its text)."""
    place = path.name
    try:
        text = decode(path.read_bytes(), place)
        return tomllib.loads(text), text
    except tomllib.TOMLDecodeError as error:
        found = re.search(r" \(at line (\d+), column \d+\)", str(error))
        line = int(found[1]) if found else text.rstrip("\n").count("\n") + 1  # "at end of document"
        said = str(error).replace(found[0], "") if found else str(error)
        raise ConfigError(f"{place}:{line}: is not TOML: {said}.") from None
    except OSError as error:
        raise ConfigError(f"{place}: cannot be read ({error.strerror}). Mend that, or remove it.") from None
