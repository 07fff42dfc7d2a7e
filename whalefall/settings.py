"""The one table of environment settings. `env.example` and the reference are checked against it by a test.

`Settings.load()` reads the environment once and answers with a frozen value; a bad value is an error that names the
variable. Standard library only: every room but the supervisor may import this file.
"""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whalefall.errors import ConfigError

_TRUE = ("true", "1", "yes", "on")
_FALSE = ("false", "0", "no", "off")
_PORT_MAX = 65_535


def _boolean(text: str) -> bool:
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError(f"write one of {', '.join(_TRUE)} or {', '.join(_FALSE)}")


def _integer(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.strip().isascii() or not text.strip().isdigit() or not low <= int(text) <= high:
            raise ValueError(f"write a whole number from {low} to {high}")
        return int(text)

    return parse


def _choice(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.strip().lower() not in words:
            raise ValueError(f"write one of {', '.join(words)}")
        return text.strip().lower()

    return parse


def parse_address(text: str) -> str:
    """`host:port`, `[v6]:port` or `unix:/absolute/path`; ValueError says so."""
    if text.startswith("unix:/"):
        return text
    host, _, port = text.rpartition(":")
    if host and port.isdigit() and 0 < int(port) <= _PORT_MAX:
        return text
    raise ValueError("write host:port, [v6]:port or unix:/absolute/path")


def _setting(variable: str, default: Any, parse: Callable[[str], Any], purpose: str, *, secret: bool = False) -> Any:
    metadata = {"variable": variable, "parse": parse, "purpose": purpose, "secret": secret}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says. Every field has one variable; defaults run the main job on an empty machine."""

    # Roles
    enable_scheduler: bool = _setting(
        "ENABLE_SCHEDULER",
        True,
        _boolean,
        "Run the scheduler in this process. whalefall sets it by role; leave it alone.",
    )
    app: str = _setting(
        "WHALEFALL_APP", "", str, "The WSGI application as module:callable; empty runs the built-in application."
    )
    # Addresses
    host: str = _setting("HOST", "0.0.0.0", str, "Address that the public port listens on.")  # noqa: S104 - a server's default
    port: int = _setting(
        "PORT", 5000, _integer(1, _PORT_MAX), "The public port, and the base of the others (foreman's rule)."
    )
    public_url: str = _setting(
        "WHALEFALL_URL",
        "",
        str,
        "The address that people type, for links in messages; empty makes it from HOST and PORT.",
    )
    web_listen: str = _setting("WEB_LISTEN", "127.0.0.1:5001", parse_address, "Where Nginx reaches the web Gunicorn.")
    scheduler_listen: str = _setting(
        "SCHEDULER_LISTEN", "127.0.0.1:5002", parse_address, "Where Nginx reaches the scheduler Gunicorn."
    )
    # Gunicorn
    web_concurrency: int = _setting("WEB_CONCURRENCY", 2, _integer(1, 128), "Workers of the web Gunicorn.")
    web_threads: int = _setting("WEB_THREADS", 4, _integer(1, 128), "Threads of each web worker.")
    request_timeout_s: int = _setting(
        "REQUEST_TIMEOUT",
        120,
        _integer(1, 3600),
        "Seconds that Nginx waits for an answer, and Gunicorn for a worker's sign of life.",
    )
    # State
    data_dir: str = _setting("DATA_DIR", "var", str, "Directory for the SQLite database and the generated secret key.")
    run_dir: str = _setting(
        "RUN_DIR", "", str, "Directory for sockets and rendered files; empty chooses a private one in /run or /tmp."
    )
    log_dir: str = _setting("LOG_DIR", "", str, "Directory for log files; empty logs to standard output only.")
    database_url: str = _setting(
        "DATABASE_URL", "", str, "SQLAlchemy URL of the ledger; empty uses SQLite in DATA_DIR.", secret=True
    )
    secret_key: str = _setting(
        "SECRET_KEY",
        "",
        str,
        "Signs sessions, the same in web and scheduler; empty generates one in DATA_DIR.",
        secret=True,
    )
    # Scheduler
    scheduler_timezone: str = _setting("SCHEDULER_TIMEZONE", "UTC", str, "Time zone of jobs that name none.")
    scheduler_lock: str = _setting(
        "SCHEDULER_LOCK", "sql", str, "Who may fire: sql, postgres-advisory, a redis:// URL, or file.", secret=True
    )
    celery_broker_url: str = _setting(
        "CELERY_BROKER_URL", "", str, "Broker of jobs with executor='celery', as redis://host/0.", secret=True
    )
    # Access
    admin_password: str = _setting(
        "WHALEFALL_ADMIN_PASSWORD",
        "",
        str,
        "Password of the user 'admin' at the first start; empty prints a one-time setup link.",
        secret=True,
    )
    session_lifetime_s: int = _setting(
        "PERMANENT_SESSION_LIFETIME", 3600, _integer(60, 31_536_000), "Seconds until a session ends."
    )
    trusted_proxies: int = _setting(
        "TRUSTED_PROXIES", 0, _integer(0, 16), "Proxies in front of our Nginx whose X-Forwarded-* headers are believed."
    )
    view_from_this_machine: bool = _setting(
        "VIEW_FROM_THIS_MACHINE", True, _boolean, "Programs on this machine may look, not change, without a login."
    )
    api_docs: bool = _setting("API_V1_DOCS_ENABLED", False, _boolean, "Show the API's documentation at /api/v1/docs.")
    # Logging
    log_level: str = _setting(
        "LOG_LEVEL", "info", _choice("debug", "info", "warning", "error"), "What is worth a line."
    )
    log_format: str = _setting(
        "LOG_FORMAT", "text", _choice("text", "json", "raw"), "Lines with a prefix, as JSON, or untouched."
    )
    # Nginx
    nginx_binary: str = _setting(
        "NGINX_BINARY", "nginx", str, "The nginx program; empty runs without one (direct mode)."
    )
    tls_certificate: str = _setting(
        "TLS_CERTIFICATE", "", str, "PEM file of the certificate chain; set together with TLS_KEY."
    )
    tls_key: str = _setting("TLS_KEY", "", str, "PEM file of the private key; set together with TLS_CERTIFICATE.")
    tls_port: int = _setting(
        "TLS_PORT", 5443, _integer(1, _PORT_MAX), "The port that speaks TLS when a certificate is given."
    )
    # Stopping
    grace_s: int = _setting("GRACE", 9, _integer(1, 3600), "Seconds for a whole stop; the default fits Docker's 10 s.")
    drain_delay_s: int = _setting(
        "DRAIN_DELAY",
        0,
        _integer(0, 3600),
        "Seconds of GRACE in which a stop still serves while readiness says no; 5 to 10 in Kubernetes.",
    )

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Reads `environ` (the process's own by default). Raises ConfigError that names the variable.

        A variable that is set but empty counts as not set: that is what `VAR=` in a compose file means to people.
        """
        source = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            text = source.get(field.metadata["variable"], "")
            if not text.strip() and not (field.name == "nginx_binary" and "NGINX_BINARY" in source):
                continue
            try:
                values[field.name] = field.metadata["parse"](text)
            except ValueError as error:
                shown = "its value" if field.metadata["secret"] else repr(text)
                raise ConfigError(f"{field.metadata['variable']}: {shown} is not understood: {error}.") from None
        settings = cls(**values)
        if bool(settings.tls_certificate) != bool(settings.tls_key):
            raise ConfigError("TLS_CERTIFICATE and TLS_KEY belong together: set both or none.")
        if settings.drain_delay_s >= settings.grace_s:
            raise ConfigError(
                f"DRAIN_DELAY={settings.drain_delay_s} leaves nothing of GRACE={settings.grace_s} to stop in. "
                "Raise GRACE (or --grace), or lower DRAIN_DELAY."
            )
        return settings

    def data_path(self, directory: Path) -> Path:
        """DATA_DIR, taken relative to `directory` (the Procfile's)."""
        return directory / self.data_dir

    def run_path(self, directory: Path) -> Path:
        """RUN_DIR, or a private directory that is the same for every command run for `directory`."""
        if self.run_dir:
            return directory / self.run_dir
        digest = hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:12]
        runtime = os.environ.get("XDG_RUNTIME_DIR", "")
        base = Path(runtime) if runtime and os.access(runtime, os.W_OK) else Path("/tmp")  # noqa: S108 - made 0700 and its owner checked
        return base / f"whalefall-{os.getuid()}-{digest}"


def table() -> list[dict[str, Any]]:
    audit_days: int = _setting(
        "AUDIT_DAYS", 400, _integer(1, 36_500), "Days that the audit trail is kept; older entries are forgotten."
    )
    """One row per setting: variable, default, purpose, secret; what env.example and the reference are made from."""
    return [{"default": field.default, **field.metadata} for field in dataclasses.fields(Settings)]
