"""What is a process of the Procfile, and what does it exec? The one place that knows web, scheduler and nginx apart.

ENABLE_SCHEDULER is given here and nowhere else: true for the role `scheduler`, false for all others, whatever `.env` or
the environment says. The same functions make the Plan's commands and run `whalefall web|scheduler|nginx` by hand, under
honcho or on a PaaS, so that one Procfile means one thing everywhere.
"""

import dataclasses
import difflib
import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from whalefall.errors import ConfigError
from whalefall.planner import nginx, places
from whalefall.planner.commands import Line, shell_argv, take_apart
from whalefall.planner.procfile import Process

ROLES = ("nginx", "web", "scheduler")
BUILT_IN_APP = "whalefall.app.wsgi:application"
DIRECT_APP = "whalefall.app.direct:application"
_PYTHON = re.compile(r"python[0-9.]*\Z")
_DAEMON_HINT = "{}: a shell starts this nginx, so its words are left alone; it needs 'daemon off;' to stay."
_MENTIONS_PORT = re.compile(r"\$(PORT\b|\{PORT\})")


@dataclass(frozen=True, slots=True)
class Role:
    """A process type with what its name and command tell.

    `ours`: the command is `whalefall ROLE`, so we decide how it runs. Otherwise it runs as written, and `role` is what
    its name says (`web: gunicorn …` is a web).
    """

    process: Process
    line: Line
    role: Literal["nginx", "web", "scheduler", ""]
    ours: bool = False
    app: str = ""  # the argument of `whalefall web APP`

    @property
    def name(self) -> str:
        return self.process.name

    @property
    def mentions_port(self) -> bool:
        """Whether the command itself says where it listens by $PORT."""
        return bool(_MENTIONS_PORT.search(self.process.command))


def classify(process: Process) -> Role:
    """Raises ConfigError for a command that contradicts its name."""
    line = take_apart(process.command, process.where)
    words = _after_whalefall(line.words)
    if words is not None and words[:1] and words[0] in ROLES:
        if not line.argv:
            raise ConfigError(
                f"{process.where}: `whalefall {words[0]}` is no command for a shell. Write it without $, quotes and "
                "operators; name the application there or by WHALEFALL_APP."
            )
        return _ours(process, line, words)
    if words and (near := difflib.get_close_matches(words[0], ROLES, 1)):
        raise ConfigError(f"{process.where}: whalefall has no role '{words[0]}'. Did you mean '{near[0]}'?")
    if line.program == "nginx":
        return Role(process, line, "nginx")
    match process.name:
        case "web":
            return Role(process, line, "web")
        case "scheduler":
            return Role(process, line, "scheduler")
        case _:
            return Role(process, line, "")


def check_roles(roles: Sequence[Role]) -> None:
    """Raises ConfigError when two process types claim a role that only one can have, or a line fights its role."""
    for word in ROLES:
        holders = [role for role in roles if role.role == word and (role.ours or word == "scheduler")]
        if len(holders) > 1:
            first, second = holders[:2]
            raise ConfigError(
                f"{second.process.where}: '{second.name}' is a second {word} besides '{first.name}' "
                f"({first.process.where}). Keep one of them."
            )
    for role in roles:
        written = role.line.assignments.get("ENABLE_SCHEDULER", "").lower()
        if written and (written in ("true", "1", "yes", "on")) != (enable_scheduler(role) == "true"):
            raise ConfigError(
                f"{role.process.where}: ENABLE_SCHEDULER={written} contradicts the name '{role.name}'. Remove it: "
                "whalefall sets it to true for the process type 'scheduler' and to false for all others."
            )


def enable_scheduler(role: Role) -> str:
    """`true` for the scheduler, `false` for everything else."""
    return "true" if role.role == "scheduler" else "false"


def many_refused(role: Role, count: int) -> str:
    """Why `count` instances of it cannot be; "" when they can."""
    if count > 1 and role.role == "scheduler":
        return (
            f"{role.name}={count} is refused: two schedulers on one host would compete for every job. One is restarted "
            "within a moment of its death; for standbys run whalefall on further hosts with a shared DATABASE_URL."
        )
    if count > 1 and role.role == "nginx" and role.ours:
        return f"{role.name}={count} is refused: one Nginx holds the public port. It runs several workers by itself."
    return ""


def gunicorn_argv(kind: Literal["web", "scheduler"], app: str, bind: str, grace_s: float) -> tuple[str, ...]:
    """Our Gunicorn. `bind` counts only where no socket is inherited: LISTEN_FDS wins over it."""
    name = {"web": "gunicorn-prod.conf.py", "scheduler": "gunicorn-scheduler.conf.py"}[kind]
    return (
        sys.executable,
        "-m",
        "gunicorn",
        "-c",
        str(nginx.templates() / "gunicorn" / name),
        "--bind",
        bind,
        "--graceful-timeout",
        str(graceful_timeout_s(grace_s)),
        app,
    )


def graceful_timeout_s(grace_s: float) -> int:
    """What Gunicorn gives its workers: a little less than we give Gunicorn, or we would kill it while it cleans up."""
    return max(1, int(grace_s - 0.5))


def gunicorn_cmd_args(role: Role, environ: Mapping[str, str], control_socket: Path) -> str:
    """GUNICORN_CMD_ARGS for a Gunicorn that is not ours: its own control socket, unless the user chose one.

    Without it every master opens the same path, and the second steals it from the first. Only for the Gunicorn of our
    own environment, whose version is known: one before 25.1 would stop at the unknown option.
    """
    given = environ.get("GUNICORN_CMD_ARGS", "")
    if re.search(r"--(no-)?control-socket\b", f"{given} {role.process.command}"):
        return given
    return f"--control-socket {shlex.quote(str(control_socket))} {given}".strip()


def is_our_gunicorn(role: Role, environ: Mapping[str, str]) -> bool:
    """A plain `gunicorn …` or `python -m gunicorn …` that runs in the same environment as we do."""
    if not _is_gunicorn(role.line.words):
        return False
    found = shutil.which(role.line.words[0], path=environ.get("PATH", os.defpath)) or ""
    return bool(found) and Path(found).parent == Path(sys.executable).parent


def has_gunicorn_workers(role: Role) -> bool:
    """The process itself is a Gunicorn's master, whichever: one of its children may be asked to finish."""
    return role.role in ("web", "scheduler") if role.ours else _is_gunicorn(role.line.argv)


def _is_gunicorn(words: Sequence[str]) -> bool:
    program = words[0].rpartition("/")[2] if words else ""
    return program == "gunicorn" or bool(_PYTHON.match(program) and tuple(words[1:3]) == ("-m", "gunicorn"))


def python_module(role: Role, environ: Mapping[str, str]) -> str:
    """`celery` of `python -m celery …` when that is our own Python, so that we know what it can import; else ""."""
    argv = role.line.argv
    if len(argv) < 3 or argv[1] != "-m" or not _PYTHON.match(role.line.program):
        return ""
    found = shutil.which(argv[0], path=environ.get("PATH", os.defpath))
    return argv[2] if found and Path(found).parent == Path(sys.executable).parent else ""


def plain_argv(role: Role, directory: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(argv, notes) of a command that is not ours."""
    if role.line.program == "nginx":
        return plain_nginx(role, directory)
    return (role.line.argv or shell_argv(role.process.command)), ()


def plain_nginx(role: Role, directory: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A plain `nginx …`: kept in the foreground, and its -c taken from the Procfile's directory.

    Nginx reads a relative -c from its compiled-in prefix, which nobody means in a Procfile; and it goes to the
    background by default, which would look like an exit, unless the command or its file already decides.
    """
    if not role.line.argv:
        notes = [] if "daemon off" in role.process.command else [_DAEMON_HINT.format(role.name)]
        return shell_argv(role.process.command), tuple(notes)
    argv, notes = list(role.line.argv), []
    at = argv.index("-c") + 1 if "-c" in argv else 0
    configuration = Path("/etc/nginx/nginx.conf")
    if 0 < at < len(argv):
        configuration = (directory / argv[at]).absolute()
        if argv[at] != str(configuration) and "-p" not in argv and places.exists(configuration):
            argv[at] = str(configuration)
            notes.append(f"{role.name}: nginx would look for its -c elsewhere; it gets {configuration}.")
    daemon = _daemon_directive(" ".join(argv), configuration)
    if daemon == "on":
        raise ConfigError(f"{role.process.where}: 'daemon on;' sends nginx away, which looks like an exit. Remove it.")
    if not daemon:
        if "-g" in argv[:-1]:  # Nginx takes one -g: a second would replace the first
            at = argv.index("-g") + 1
            argv[at] = argv[at].rstrip("; ") + "; daemon off;"
        else:
            argv += ["-g", "daemon off;"]
        notes.append(f"{role.name}: added -g 'daemon off;' so that nginx stays in the foreground.")
    return tuple(argv), tuple(notes)


def program_missing(argv: Sequence[str], environ: Mapping[str, str], directory: Path) -> bool:
    """Whether exec would fail to find the program."""
    if "/" in argv[0]:
        return not os.access(directory / argv[0], os.X_OK)
    return shutil.which(argv[0], path=environ.get("PATH", os.defpath)) is None


def web_behind_procfile(names: Sequence[str], own: str, port: int) -> int | None:
    """The port of `web` as the runner that gave `own` the port `port` counts it; None when the Procfile lacks one."""
    if "web" not in names or own not in names:
        return None
    return port + 100 * (names.index("web") - names.index(own))


def _after_whalefall(argv: Sequence[str]) -> tuple[str, ...] | None:
    """The words behind `whalefall` or `python -m whalefall`, None when the program is another.

    A Python that is named by another path than ours has its own whalefall, so it runs as it is written.
    """
    if not argv:
        return None
    program = argv[0].rpartition("/")[2]
    foreign = "/" in argv[0] and Path(argv[0]).parent != Path(sys.executable).parent
    if foreign:
        return None
    if program == "whalefall":
        return tuple(argv[1:])
    if _PYTHON.match(program):
        rest = list(argv[1:])
        while rest and rest[0] in ("-u", "-P", "-B", "-I"):
            rest.pop(0)
        if rest[:2] == ["-m", "whalefall"]:
            return tuple(rest[2:])
    return None


def _ours(process: Process, line: Line, words: Sequence[str]) -> Role:
    role, arguments = words[0], words[1:]
    limit = 0 if role == "nginx" else 1
    if len(arguments) > limit or any(word.startswith("-") for word in arguments):
        usage = f"whalefall {role}" + ("" if role == "nginx" else " [MODULE:CALLABLE]")
        raise ConfigError(f"{process.where}: '{' '.join(words)}' is not understood. Write `{usage}`.")
    if process.name in ROLES and process.name != role:
        raise ConfigError(
            f"{process.where}: '{process.name}' runs `whalefall {role}`. Write `whalefall {process.name}`."
        )
    found = Role(process, line, "", ours=True, app=arguments[0] if arguments else "")
    match role:
        case "nginx":
            return dataclasses.replace(found, role="nginx")
        case "web":
            return dataclasses.replace(found, role="web")
        case _:
            return dataclasses.replace(found, role="scheduler")


def _daemon_directive(words: str, configuration: Path) -> str:
    """`off`, `on`, or "" when neither the command nor its file says."""
    try:
        text = configuration.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""  # nginx itself will say what is wrong with it
    for source in (words, re.sub(r"#.*", "", text)):
        if found := re.search(r"\bdaemon\s+(on|off)\s*;", source):
            return found[1]
    return ""
