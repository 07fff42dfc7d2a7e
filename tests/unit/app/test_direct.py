"""Direct mode: what is the scheduler's goes to it unchanged, and when it does not answer, as if Nginx had said so."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest
from werkzeug.test import Client

from whalefall.app import direct
from whalefall.errors import ConfigError


class Scheduler(BaseHTTPRequestHandler):
    """Remembers what reached it and answers what the test wants."""

    seen: ClassVar[list[tuple[str, str, dict[str, str], bytes]]] = []
    answer: ClassVar[tuple[int, bytes]] = (200, b"the scheduler's")

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.seen.append((self.command, self.path, dict(self.headers), self.rfile.read(length)))
        status, body = self.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Request-ID", "theirs")
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - http.server's names
    do_PUT = do_GET  # noqa: N815
    do_DELETE = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Quiet."""


def web(environ, start_response):
    start_response("200 OK", [])
    return [b"web's"]


@pytest.fixture
def client() -> Iterator[Client]:
    server = HTTPServer(("127.0.0.1", 0), Scheduler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    Scheduler.seen.clear()
    Scheduler.answer = (200, b"the scheduler's")
    yield Client(direct.wrap(web, f"http://127.0.0.1:{server.server_port}"), use_cookies=False)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("path", ["/", "/dashboard", "/api/v1/health/basic", "/api/v1/schedulers", "/scheduler"])
def test_everything_else_is_webs(client, path) -> None:
    assert client.get(path).text == "web's"
    assert Scheduler.seen == []


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_what_is_the_schedulers_reaches_it_unchanged(client, method) -> None:
    answer = client.open(
        "/api/v1/scheduler/jobs/a%20b?x=1&y=%26",
        method=method,
        data=b'{"a": 1}',
        headers={"X-CSRFToken": "token", "Cookie": "whalefall_session=s"},
        base_url="http://site.example:5000",
        environ_overrides={"REMOTE_ADDR": "203.0.113.9"},
    )
    assert answer.text == "the scheduler's"
    [(seen_method, path, headers, body)] = Scheduler.seen
    assert (seen_method, path, body) == (method, "/api/v1/scheduler/jobs/a%20b?x=1&y=%26", b'{"a": 1}')
    assert headers["Host"] == "site.example:5000"
    assert headers["X-Forwarded-For"] == "203.0.113.9"
    assert headers["X-Forwarded-Proto"] == "http"
    assert headers["X-Csrftoken"] == "token"
    assert headers["Cookie"] == "whalefall_session=s"


def test_a_forwarding_header_of_the_client_stays_one_hop_further_away(client) -> None:
    client.get(
        "/api/v1/scheduler/jobs",
        headers={"X-Forwarded-For": "127.0.0.1"},
        environ_overrides={"REMOTE_ADDR": "203.0.113.9"},
    )
    assert Scheduler.seen[0][2]["X-Forwarded-For"] == "127.0.0.1, 203.0.113.9"


def test_the_bare_prefix_moves_with_its_query(client) -> None:
    answer = client.get("/api/v1/scheduler?a=1")
    assert (answer.status_code, answer.headers["Location"]) == (301, "/api/v1/scheduler/?a=1")


def test_a_scheduler_that_does_not_answer_is_an_envelope() -> None:
    with socket.socket() as taken:  # bound but not listening: refused
        taken.bind(("127.0.0.1", 0))
        client = Client(direct.wrap(web, f"http://127.0.0.1:{taken.getsockname()[1]}"))
        answer = client.get("/api/v1/scheduler/jobs", headers={"X-Request-ID": "number-7"})
    assert answer.status_code == 502
    assert answer.json["message_code"] == "SERVICE_UNAVAILABLE"
    assert answer.json["context"]["request_id"] == "number-7"
    assert answer.headers["Retry-After"] == "2"


def test_a_502_of_the_schedulers_own_passes_as_it_is(client) -> None:
    Scheduler.answer = (502, b"mine")
    answer = client.get("/api/v1/scheduler/jobs")
    assert (answer.status_code, answer.text) == (502, "mine")


@pytest.mark.parametrize("target", ["", "127.0.0.1:5002", "https://x"])
def test_a_target_that_is_none_is_a_sentence(target) -> None:
    with pytest.raises(ConfigError, match="WHALEFALL_DIRECT"):
        direct.wrap(web, target)


def test_the_application_is_found_by_name(monkeypatch) -> None:
    monkeypatch.setenv("WHALEFALL_APP", "wsgiref.simple_server:demo_app")
    monkeypatch.setenv("WHALEFALL_DIRECT", "http://127.0.0.1:1")
    try:
        assert "Hello world!" in Client(direct.application).get("/").text
    finally:
        vars(direct).pop("application", None)


@pytest.mark.parametrize("name", ["os:nothing", "os:path"])
def test_a_name_of_nothing_callable_is_a_sentence(name) -> None:
    with pytest.raises(ConfigError, match="nothing that can be called"):
        direct.load(name)
