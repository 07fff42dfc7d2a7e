"""The roles without `serve`: the same commands, for honcho, for a PaaS that starts one process type at a time, by hand.

What the supervisor would hold and decide is read from the environment: LISTEN_FDS, PORT, and whose port is whose by
foreman's rule when a Procfile runner says who we are (PS, HONCHO_PROCESS_NAME).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from whalefall.errors import ConfigError
from whalefall.planner import addresses, applications, directories, options, places, procfile
from whalefall.planner import nginx as nginx_files
from whalefall.planner.environment import is_set, naming_lines, plain
from whalefall.planner.roles import BUILT_IN_APP, gunicorn_argv, web_behind_procfile
from whalefall.planner.world import Request, View, look

_KEPT = (
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "NOTIFY_SOCKET",
    "WHALEFALL_LIFE",
    "WHALEFALL_DIRECT",
    "PS",
    "NGINX",
)


@dataclass(frozen=True, slots=True)
class Standalone:
    """What to exec, in place of this process: what it was given stays given."""

    argv: tuple[str, ...]
    env: Mapping[str, str]


def gunicorn(kind: Literal["web", "scheduler"], request: Request) -> Standalone:
    """The web or scheduler Gunicorn. Raises ConfigError."""
    view = look(request)
    with naming_lines(view.environment):
        return _gunicorn(kind, view)


def _gunicorn(kind: Literal["web", "scheduler"], view: View) -> Standalone:
    request, settings = view.request, view.settings
    app = settings.app or options.read(request.home).app
    if app:
        applications.check(app, request.home, request.environ, "the application")
    bind = settings.scheduler_listen
    if kind == "web":
        bind = f"0.0.0.0:{settings.port}" if is_set(view.environment, "PORT") else settings.web_listen
    env = _environment(view) | {"ENABLE_SCHEDULER": "true" if kind == "scheduler" else "false"}
    env |= {"WHALEFALL_APP": app} if app else {}
    return Standalone(gunicorn_argv(kind, app or BUILT_IN_APP, bind, settings.grace_s * 2 / 3), env)


def nginx(request: Request) -> Standalone:
    """Nginx with our configuration. Raises ConfigError, also when there is no nginx program."""
    view = look(request)
    with naming_lines(view.environment):
        return _nginx(view)


def _nginx(view: View) -> Standalone:
    request, settings = view.request, view.settings
    binary = nginx_files.find(settings.nginx_binary, plain(view.environment).get("PATH", os.defpath))
    if not binary:
        raise ConfigError(
            "NGINX_BINARY: there is no nginx program here. Install it (apt install nginx), or use `whalefall serve`, "
            "which does without."
        )
    env = _environment(view) | {"ENABLE_SCHEDULER": "false"}
    site = nginx_files.Site(
        http=addresses.join(settings.host, settings.port),
        web=(_web_address(view),),
        scheduler=(settings.scheduler_listen,),
        https=addresses.join(settings.host, settings.tls_port) if settings.tls_certificate else "",
        certificate=settings.tls_certificate and str(request.home / settings.tls_certificate),
        key=settings.tls_key and str(request.home / settings.tls_key),
        acme=str(view.data_dir / "acme"),
        static="" if settings.app else nginx_files.static_directory(),
        request_timeout_s=settings.request_timeout_s,
        trusted_proxies=settings.trusted_proxies,
        shutdown_timeout_s=settings.grace_s / 3,
        log_level=settings.log_level,
        version=nginx_files.version(binary),
    )
    return Standalone(nginx_files.command(binary, nginx_files.write(site, view.run_dir, binary)), env)


def _environment(view: View) -> dict[str, str]:
    """`.env` under the real environment, and what every process of ours shares."""
    directories.make_run_dir(view.run_dir)
    if not directories.is_left_read_only(view.data_dir, view.settings.secret_key):
        directories.make_data_dir(view.data_dir)
    kept = {name: view.request.environ[name] for name in _KEPT if name in view.request.environ}
    secret = view.settings.secret_key or directories.secret_key(view.data_dir)
    shared = {
        "RUN_DIR": str(view.run_dir),
        "DATA_DIR": str(view.data_dir),
        "SECRET_KEY": secret,
        "PYTHONUNBUFFERED": "1",
        "SPT_NOENV": "1",
    }
    return plain(view.environment) | shared | kept


def _web_address(view: View) -> str:
    """WEB_LISTEN if it is set; under a Procfile runner web's own PORT; else the default."""
    environ = view.request.environ
    own = (environ.get("HONCHO_PROCESS_NAME") or environ.get("PS") or "").partition(".")[0]
    path = view.request.home / "Procfile"
    if own and is_set(view.environment, "PORT") and not is_set(view.environment, "WEB_LISTEN") and places.is_file(path):
        names = [process.name for process in procfile.parse(procfile.text(path), "Procfile")]
        port = web_behind_procfile(names, own, view.settings.port)
        if port is not None and 0 < port <= 65_535:
            return f"127.0.0.1:{port}"
    return view.settings.web_listen
