"""The one table of environment settings. `env.example` and the reference are checked against it by a test.

`Settings.load()` reads the environment once and answers with a frozen value; a bad value is an error that names the
variable. Standard library only: every room but the supervisor may import this file.
"""

import base64
import dataclasses
import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from whalefall.errors import ConfigError

_TRUE = ("true", "1", "yes", "on")
_FALSE = ("false", "0", "no", "off")
_PORT_MAX = 65_535
_DIGITS_MAX = 20  # more is no number of anything here, and Python refuses thousands of them in words of its own
_MAIL_ADDRESS = re.compile(r"[!-~]+@[A-Za-z0-9.\[\]:_-]+")
NOTICE_EVENTS = ("failed", "missed", "slow", "recovered")


def _boolean(text: str) -> bool:
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError(f"write one of {', '.join(_TRUE)} or {', '.join(_FALSE)}")


def _whole_number(digits: str) -> int | None:
    """None for what is no number, or none of anything here."""
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS_MAX else None


def _integer(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        number = _whole_number(text.strip())
        if number is None or not low <= number <= high:
            raise ValueError(f"write a whole number from {low} to {high}")
        return number

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
    if host and 0 < (_whole_number(port) or 0) <= _PORT_MAX:
        return text
    raise ValueError("write host:port, [v6]:port or unix:/absolute/path")


def _url(text: str, schemes: tuple[str, ...]) -> Any:
    """The parts of an absolute URL; ValueError for what is none. Never says the text: it may hold a password."""
    if any(character <= " " or character > "~" for character in text.strip()):
        raise ValueError("it has a space or a character that belongs in no URL; write it with %XX")
    parts = urlsplit(text.strip())  # an unclosed [ or a port that is no number is a ValueError of its own
    if parts.scheme not in schemes or not parts.hostname or parts.port == 0:
        raise ValueError(f"write {' or '.join(f'{scheme}://host' for scheme in schemes)}, with :port where needed")
    return parts


def _webhook_url(text: str) -> str:
    if not text.strip():
        return ""
    if _url(text, ("https", "http")).username is not None:
        raise ValueError("a user and password in it would not be sent; sign the messages by NOTIFY_WEBHOOK_SECRET")
    return text.strip()


def _webhook_secrets(text: str) -> str:
    """Standard Webhooks: whsec_ and 24 to 64 bytes in base64. Several, with spaces between, sign side by side."""
    for secret in text.split():
        try:
            length = len(base64.b64decode(secret.removeprefix("whsec_"), validate=True))
        except ValueError:  # also of what is not ASCII
            length = 0
        if not secret.startswith("whsec_") or not 24 <= length <= 64:
            raise ValueError(
                "write whsec_ and 24 to 64 bytes in base64, as `echo whsec_$(openssl rand -base64 32)` makes it"
            )
    return " ".join(text.split())


def _smtp_url(text: str) -> str:
    if not text.strip():
        return ""
    parts = _url(text, ("smtp", "smtps"))
    options = parse_qs(parts.query, keep_blank_values=True)
    if set(options) - {"starttls"} or parts.path not in ("", "/") or (options and parts.scheme == "smtps"):
        raise ValueError("write smtp://user:password@host:587?starttls, or smtps://user:password@host")
    if parts.password and parts.scheme == "smtp" and not options and parts.hostname not in ("localhost", "127.0.0.1"):
        raise ValueError("its password would cross the network in the clear; add ?starttls, or write smtps://")
    return text.strip()


def mail_addresses(text: str) -> list[str]:
    """Addresses with commas between; ValueError for what is none, so that none can smuggle a header."""
    addresses = [part.strip() for part in text.split(",") if part.strip()]
    for address in addresses:
        if not _MAIL_ADDRESS.fullmatch(address) or any(character in '<>,;"()' for character in address):
            raise ValueError(f"{address!r} is no plain address; write name@host, more of them with commas")
    return addresses


def _mail_to(text: str) -> str:
    return ", ".join(mail_addresses(text))


def _mail_from(text: str) -> str:
    if len(mail_addresses(text)) > 1:
        raise ValueError("one address sends; write name@host")
    return _mail_to(text)


def _events(text: str) -> str:
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    if not words or set(words) - set(NOTICE_EVENTS):
        raise ValueError(f"write some of {', '.join(NOTICE_EVENTS)}, with commas")
    return ",".join(word for word in NOTICE_EVENTS if word in words)


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
    audit_days: int = _setting(
        "AUDIT_DAYS", 400, _integer(1, 36_500), "Days that the audit trail is kept; older entries are forgotten."
    )
    trusted_proxies: int = _setting(
        "TRUSTED_PROXIES", 0, _integer(0, 16), "Proxies in front of our Nginx whose X-Forwarded-* headers are believed."
    )
    view_from_this_machine: bool = _setting(
        "VIEW_FROM_THIS_MACHINE", True, _boolean, "Programs on this machine may look, not change, without a login."
    )
    api_docs: bool = _setting("API_V1_DOCS_ENABLED", False, _boolean, "Show the API's documentation at /api/v1/docs.")
    # Notifications
    notify_webhook_url: str = _setting(
        "NOTIFY_WEBHOOK_URL",
        "",
        _webhook_url,
        "Where notices of jobs are posted as JSON; empty posts none.",
        secret=True,
    )
    notify_webhook_secret: str = _setting(
        "NOTIFY_WEBHOOK_SECRET",
        "",
        _webhook_secrets,
        "Signs what is posted (Standard Webhooks: whsec_…); a second one, after a space, signs too. Empty: unsigned.",
        secret=True,
    )
    smtp_url: str = _setting(
        "SMTP_URL",
        "",
        _smtp_url,
        "The mail server of notices: smtp://user:password@host:587?starttls or smtps://…; empty sends no mail.",
        secret=True,
    )
    notify_mail_from: str = _setting("NOTIFY_MAIL_FROM", "", _mail_from, "The address that mails of notices come from.")
    notify_mail_to: str = _setting(
        "NOTIFY_MAIL_TO", "", _mail_to, "Whom notices are mailed to; several with commas between."
    )
    notify_on: str = _setting(
        "NOTIFY_ON", "failed,missed,slow,recovered", _events, "What is told: some of failed, missed, slow, recovered."
    )
    notify_rate: int = _setting(
        "NOTIFY_RATE", 20, _integer(1, 1000), "Notices an hour at most; the rest is told in one summary an hour."
    )
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
        if len({bool(settings.smtp_url), bool(settings.notify_mail_from), bool(settings.notify_mail_to)}) > 1:
            raise ConfigError("SMTP_URL, NOTIFY_MAIL_FROM and NOTIFY_MAIL_TO belong together: set all three or none.")
        if settings.notify_webhook_secret and not settings.notify_webhook_url:
            raise ConfigError("NOTIFY_WEBHOOK_SECRET has nothing to sign: set NOTIFY_WEBHOOK_URL, too, or neither.")
        if settings.drain_delay_s >= settings.grace_s:
            raise ConfigError(
                f"DRAIN_DELAY={settings.drain_delay_s} leaves nothing of GRACE={settings.grace_s} to stop in. "
                "Raise GRACE (or --grace), or lower DRAIN_DELAY."
            )
        return settings

    @property
    def notifies(self) -> bool:
        """Is there anybody to tell?"""
        return bool(self.notify_webhook_url or self.smtp_url)

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
    """One row per setting: variable, default, purpose, secret; what env.example and the reference are made from."""
    return [{"default": field.default, **field.metadata} for field in dataclasses.fields(Settings)]
