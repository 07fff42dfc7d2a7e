"""What is there? Everything that the command line, the files and the environment say, read once and checked.

`look` is cheap enough for every command (`status` needs RUN_DIR); `survey` reads the Procfile and the options, too.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from whalefall.errors import ConfigError
from whalefall.planner import activation, applications, dev, dotenv, formation, nginx, options, places, procfile
from whalefall.planner.environment import Environment, load_settings, merge, plain, put
from whalefall.planner.options import Options
from whalefall.planner.roles import Role, check_roles, classify, many_refused
from whalefall.settings import Settings

CARRIED_PROCFILE = "the built-in Procfile"


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for. `environ` is the real environment."""

    directory: Path
    environ: Mapping[str, str]
    procfile: Path | None = None
    app: str = ""
    port: int | None = None
    formation: str = ""
    grace_s: int | None = None
    env_file: Path | None = None
    development: bool = False  # `dev` instead of `serve`
    attach: str = ""  # the process type that has the terminal; only in development

    @property
    def home(self) -> Path:
        """The Procfile's directory: where everything relative is relative to."""
        return (self.directory / self.procfile).parent if self.procfile else self.directory


@dataclass(frozen=True, slots=True)
class View:
    """Environment and settings: what every command needs."""

    request: Request
    environment: Environment
    settings: Settings

    @property
    def run_dir(self) -> Path:
        return self.settings.run_path(self.request.home).absolute()

    @property
    def data_dir(self) -> Path:
        return self.settings.data_path(self.request.home).absolute()


@dataclass(frozen=True, slots=True)
class World(View):
    """With the Procfile and the options: what a Plan is made from."""

    procfile: str
    roles: Sequence[Role]  # as the Procfile has them, those with no instance included
    counts: Mapping[str, int]
    options: Options
    app: str
    nginx_binary: str = field(default="")

    def running(self, word: str) -> Role | None:
        """The process type with role `word` that has instances."""
        return next((role for role in self.roles if role.role == word and self.counts[role.name]), None)

    def running_roles(self) -> list[Role]:
        """Those with instances. Our Nginx is none of them when there is no nginx program."""
        absent = self.direct and not self.nginx_binary
        return [
            role
            for role in self.roles
            if self.counts[role.name] and not (absent and role.role == "nginx" and role.ours)
        ]

    @property
    def longest_name(self) -> str:
        """Of a process type: the paths of its sockets are the longest."""
        return max((role.name for role in self.roles), key=len)

    def absolute(self, path: str) -> str:
        """`path` from the Procfile's directory; "" stays ""."""
        return str((self.request.home / path).absolute()) if path else ""

    @property
    def direct(self) -> bool:
        """Nobody in front: web takes the public port and forwards the scheduler's addresses."""
        front = self.running("nginx")
        return front is None or (front.ours and not self.nginx_binary)

    @property
    def front(self) -> str:
        """The process type that has the public port, "" when the Procfile's commands decide that."""
        holder = self.running("web") if self.direct else self.running("nginx")
        return holder.name if holder and holder.ours else ""


def look(request: Request) -> View:
    """Raises ConfigError for a bad `.env` or a bad setting."""
    environment = _environment(request)
    return View(request, environment, load_settings(environment))


def survey(request: Request) -> World:
    """Raises ConfigError or UsageError with the first thing that is wrong."""
    view = look(request)
    name, lines = processes(request)
    roles = [classify(process) for process in lines]
    check_roles(roles)
    names = [role.name for role in roles]
    found = options.read(request.home)
    options.check_names(found, names)
    counts = formation.counts(request.formation, names, options.instances(found))
    for role in roles:
        if reason := many_refused(role, counts[role.name]):
            written = counts[role.name] == found.of(role.name).instances
            raise ConfigError(f"{found.where(role.name, 'instances')}: {reason}" if written else reason)
    if request.attach:
        dev.check_attached(request.attach, counts)
    app = _application(view, roles, found)
    binary = nginx.find(view.settings.nginx_binary, plain(view.environment).get("PATH", os.defpath))
    return World(request, view.environment, view.settings, name, roles, counts, found, app, binary)


def carried_procfile() -> Path:
    """The default Procfile: carried by the wheel, or at the top of a checkout."""
    folder = nginx.templates()
    inside = folder / "Procfile"
    return inside if places.exists(inside) else folder.parent / "Procfile"


def processes(request: Request) -> tuple[str, list[procfile.Process]]:
    """(the Procfile's name, what stands in it). Raises ConfigError."""
    if request.procfile:
        path = request.directory / request.procfile
        return str(request.procfile), procfile.parse(procfile.text(path), str(request.procfile))
    path = request.directory / "Procfile"
    if places.is_to_be_read(path):
        return "Procfile", procfile.parse(procfile.text(path), "Procfile")
    return CARRIED_PROCFILE, procfile.parse(procfile.text(carried_procfile()), CARRIED_PROCFILE)


def _environment(request: Request) -> Environment:
    path = request.directory / request.env_file if request.env_file else request.home / ".env"
    name = str(request.env_file or ".env")
    values: Environment = {}
    if request.env_file or places.is_to_be_read(path):
        values = dotenv.read(path, name, request.environ, wins=request.development)
    environment = merge(request.environ, values, dotenv_wins=request.development)
    if request.development:
        dev.set_defaults(environment)
    asked = {
        "WHALEFALL_APP": request.app,
        "PORT": "" if request.port is None else str(request.port),
        "GRACE": "" if request.grace_s is None else str(request.grace_s),
    }
    put(environment, {key: value for key, value in asked.items() if value}, "command line")
    put(environment, activation.variables(request.environ), "the service manager's socket")
    scripts = str(Path(sys.executable).parent)
    path_variable = environment["PATH"].value if "PATH" in environment else os.defpath
    if scripts not in path_variable.split(":") and sys.prefix != sys.base_prefix:
        # Started as .venv/bin/whalefall, not activated: `gunicorn` and `python` in a Procfile still mean that venv's.
        put(environment, {"PATH": f"{scripts}:{path_variable}"}, "generated")
    return environment


def _application(view: View, roles: Sequence[Role], found: Options) -> str:
    """module:callable of the application, checked; "" for the built-in one."""
    environ = plain(view.environment)
    home = view.request.home
    for role in roles:
        if role.app:
            applications.check(role.app, home, environ, role.process.where)
    if view.settings.app:
        source = view.environment["WHALEFALL_APP"].source
        applications.check(view.settings.app, home, environ, _where(source))
        return view.settings.app
    if found.app:
        applications.check(found.app, home, environ, found.where_top("app"))
        return found.app
    return ""


def _where(source: str) -> str:
    match source:
        case "command line":
            return "the application"
        case "environment":
            return "WHALEFALL_APP"
        case _:
            return f"{source}: WHALEFALL_APP"
