"""Real local receivers of notices: an HTTP server and an SMTP server on loopback, on free ports, in threads."""

import contextlib
import http.server
import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

Handler = http.server.BaseHTTPRequestHandler


class Hooks:
    """An HTTP receiver: keeps what was posted; `answer` decides what it does with each request."""

    def __init__(self, answer: Callable[[Handler], None] | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        hooks = self

        class Receiver(Handler):
            def do_POST(self) -> None:  # noqa: N802 - http.server's name
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hooks.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                (answer or _take)(self)

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://localhost:{self._server.server_port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.got]

    def events(self, job: str | None) -> list[str]:
        """The events of a job, or of the scheduler (None), in the order of their arrival."""
        return [each["data"]["event"] for each in self.documents() if each["data"]["job"] == job]


def _take(handler: Handler) -> None:
    handler.send_response(204)
    handler.end_headers()


def answering(status: int, **headers: str) -> Callable[[Handler], None]:
    def answer(handler: Handler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "4")
        handler.end_headers()
        handler.wfile.write(b"no\r\n")

    return answer


def dripping(done: threading.Event) -> Callable[[Handler], None]:
    """Sends a byte now and then, for ever: no socket timeout ever ends it."""

    def answer(handler: Handler) -> None:
        for _ in iter(lambda: done.wait(0.05), True):
            handler.wfile.write(b"H")
            handler.wfile.flush()

    return answer


class Letters:
    """aiosmtpd's handler: keeps each mail and how its sender came."""

    def __init__(self) -> None:
        self.got: list[EmailMessage] = []
        self.logins: list[str | None] = []
        self.over_tls: list[bool] = []
        self.refused: set[str] = set()

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:  # noqa: N802 - aiosmtpd's name
        if address in self.refused:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        message = message_from_bytes(envelope.content, policy=default)
        assert isinstance(message, EmailMessage)
        self.got.append(message)
        self.logins.append(session.auth_data.login.decode() if session.auth_data else None)
        self.over_tls.append(session.ssl is not None)
        return "250 OK"


@contextlib.contextmanager
def mail_server(
    *, tls: ssl.SSLContext | None = None, smtps: ssl.SSLContext | None = None, password: str | None = None
) -> Iterator[tuple[Letters, int]]:
    letters = Letters()

    def check(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        is_right = isinstance(data, LoginPassword) and data.password == (password or "").encode()
        return AuthResult(success=is_right, handled=False, auth_data=data)

    controller = Controller(
        letters,
        hostname="localhost",
        port=_free_port(),
        tls_context=tls,
        ssl_context=smtps,
        require_starttls=tls is not None,
        authenticator=check if password else None,
        auth_required=password is not None,
        auth_require_tls=tls is not None,
    )
    controller.start()
    try:
        yield letters, controller.port
    finally:
        controller.stop()


@contextlib.contextmanager
def silent_port(say: bytes = b"") -> Iterator[int]:
    """Takes connections and, beyond `say`, never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept: list[socket.socket] = []

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    kept.append(connection)
                    connection.sendall(say)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            for connection in kept:
                connection.close()


def certificate(directory: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's context for `localhost`, and the authority that vouches for it: openssl made both."""
    key, pem = directory / "key.pem", directory / "cert.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", str(key), "-out", str(pem), "-days", "1", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost"),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    return context, pem


def _free_port() -> int:
    with socket.create_server(("localhost", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port
