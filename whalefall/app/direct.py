"""DIRECT MODE: no Nginx, so the web process itself forwards /api/v1/scheduler/** to the scheduler's process.

Same addresses, same headers, same behaviour as our Nginx templates: the exact path without the slash answers 301,
the client's address is appended to X-Forwarded-For, the Host stays.
"""

import importlib
import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from werkzeug.middleware.http_proxy import ProxyMiddleware
from werkzeug.wrappers import Response

from whalefall.app.proxies import DIRECT
from whalefall.errors import ConfigError

PREFIX = "/api/v1/scheduler/"
TARGET_VARIABLE = "WHALEFALL_DIRECT"


class Forwarding:
    """WSGI middleware: what is under PREFIX goes to the scheduler, all else to the application."""

    def __init__(self, app: Any, target: str, timeout_s: int) -> None:
        if not target.startswith("http://"):
            raise ConfigError(f"{TARGET_VARIABLE}: '{target}' is no address; write http://HOST:PORT of the scheduler.")
        self._app = app
        self._proxy = ProxyMiddleware(app, {PREFIX: {"target": target, "host": None}}, timeout=timeout_s)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == PREFIX.rstrip("/"):
            query = environ.get("QUERY_STRING", "")
            moved = Response(status=301, headers={"Location": PREFIX + (f"?{query}" if query else "")})
            return moved(environ, start_response)
        if not path.startswith(PREFIX):
            environ[DIRECT] = True
            app: Iterable[bytes] = self._app(environ, start_response)
            return app
        _append_the_client(environ)
        return self._forward(environ, start_response)

    def _forward(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """The scheduler's answer; when it does not answer, the envelope that our Nginx would give."""
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def note(status: str, headers: list[tuple[str, str]], _error: Any = None) -> None:
            started.append((status, headers))

        body = self._proxy(environ, note)  # type: ignore[arg-type]  # nobody here uses WSGI's old write()
        status, headers = started[0]
        if status.startswith("502") and not any(name.lower() == "x-request-id" for name, _ in headers):
            return _unavailable(environ)(environ, start_response)
        start_response(status, headers)
        return body


def _append_the_client(environ: dict[str, Any]) -> None:
    """As Nginx's $proxy_add_x_forwarded_for does; the scheduler then believes exactly this hop."""
    hops = [hop for hop in (environ.get("HTTP_X_FORWARDED_FOR"), environ.get("REMOTE_ADDR")) if hop]
    environ["HTTP_X_FORWARDED_FOR"] = ", ".join(hops)
    environ["HTTP_X_FORWARDED_PROTO"] = environ.get("HTTP_X_FORWARDED_PROTO", environ["wsgi.url_scheme"])
    environ.setdefault("HTTP_HOST", environ.get("SERVER_NAME", "localhost"))


def _unavailable(environ: dict[str, Any]) -> Response:
    """What nginx/errors/50x.json says, so that a client sees no difference."""
    request_id = environ.get("HTTP_X_REQUEST_ID", "")
    document = {
        "success": False,
        "error": True,
        "error_id": request_id,
        "category": "external",
        "severity": "high",
        "message_code": "SERVICE_UNAVAILABLE",
        "message": "The scheduler does not answer right now. It is starting, or it is being restarted.",
        "timestamp": datetime.now(UTC).isoformat(),
        "recoverable": True,
        "suggestions": ["Try again in a few seconds."],
        "context": {"request_id": request_id},
    }
    headers = {"Retry-After": "2", "Cache-Control": "no-store"}
    return Response(json.dumps(document), 502, headers, mimetype="application/json")


def wrap(app: Any, target: str, timeout_s: int = 120) -> Forwarding:
    """`app` with the scheduler's part of the site forwarded to `target` (http://HOST:PORT)."""
    return Forwarding(app, target, timeout_s)


def load(name: str) -> Any:
    """The WSGI application named `module:callable`; "" is the built-in one. Raises ConfigError for no such thing."""
    if not name:
        from whalefall.app.wsgi import application as builtin  # noqa: PLC0415 - only this branch wants it built

        return builtin
    module_name, _, attribute = name.partition(":")
    found: Any = importlib.import_module(module_name)
    for part in (attribute or "application").split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise ConfigError(f"WHALEFALL_APP: '{name}' names nothing that can be called; write module:callable.")
    return found


def __getattr__(name: str) -> Any:
    """`application`, made when Gunicorn first asks for it, so that importing this file builds nothing."""
    if name != "application":
        raise AttributeError(f"module 'whalefall.app.direct' has no attribute {name!r}")
    timeout_s = int(os.environ.get("REQUEST_TIMEOUT") or 120)
    made = wrap(load(os.environ.get("WHALEFALL_APP", "")), os.environ.get(TARGET_VARIABLE, ""), timeout_s)
    globals()["application"] = made
    return made
