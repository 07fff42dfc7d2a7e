"""What hostile clients send to the real Nginx: slow, oversized, malformed, smuggled, injected; others are served on."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
import requests

from tests.integration.test_app_site import APPLICATION, PASSWORD, Browser
from tests.support.deployment import Deployment

SLOW = 150  # clients of each kind; the site has eight threads
HEAD = "POST /api/v1/users HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    directory = tmp_path_factory.mktemp("attacks")
    (directory / "own.py").write_text(APPLICATION)
    site = Deployment(directory, "own:app", WHALEFALL_ADMIN_PASSWORD=PASSWORD)
    with site.start():
        yield site.until_ready()
        assert all(row["restarts"] == 0 for row in site.rows().values()), "a process died of it"


def connected(site: Deployment) -> socket.socket:
    return socket.create_connection(("127.0.0.1", site.port), timeout=30)


def answer_to(site: Deployment, sent: bytes) -> bytes:
    """All that comes back until the server closes."""
    with connected(site) as connection:
        connection.sendall(sent)
        answer = b""
        with suppress(ConnectionResetError):  # it closes without reading what it has refused
            while part := connection.recv(65_536):
                answer += part
        return answer


def test_slow_clients_hold_nobody_up(site: Deployment) -> None:
    with ExitStack() as stack:
        for number in range(SLOW):
            slow_head, slow_body = (stack.enter_context(connected(site)) for _ in range(2))
            slow_head.sendall(b"GET /dashboard HTTP/1.1\r\nHost: loc")
            slow_body.sendall(f"{HEAD}Content-Length: 5000\r\n\r\n{number % 10}".encode())
        for path in ("/login", "/dashboard", "/api/v1/scheduler/jobs", "/api/v1/health/basic") * 5:
            assert site.get(path).status_code == 200, path


def test_an_answer_that_nobody_reads_holds_nobody_up(site: Deployment) -> None:
    ask = b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(SLOW):
            lazy = stack.enter_context(connected(site))
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
            lazy.sendall(ask)
        for path in ("/login", "/api/v1/scheduler/jobs") * 5:
            assert site.get(path).status_code == 200, path


def test_what_is_too_large_is_refused(site: Deployment) -> None:
    with Browser(site.url("")) as browser:
        browser.log_in()
        answer = browser.ask("POST", "/api/v1/users", json={"name": "x" * 100_000, "password": PASSWORD})
        assert (answer.status_code, answer.json()["message_code"]) == (413, "PAYLOAD_TOO_LARGE")
    head = f"{HEAD}Content-Length: {2**40}\r\n\r\n".encode()
    assert answer_to(site, head).startswith(b"HTTP/1.1 413")
    assert site.get("/login", headers={"X-Long": "x" * 100_000}).status_code in (400, 431)
    assert site.get("/" + "x" * 100_000).status_code == 414


def test_what_nginx_takes_gunicorn_takes_too(site: Deployment) -> None:
    """Gunicorn's own limits are lower, and what it refuses is a page that no API client understands."""
    basic = "/api/v1/health/basic"
    assert site.get(f"{basic}?{'x' * 7_900}").status_code == 200
    assert site.get(basic, headers={f"X-{number}": "1" for number in range(300)}).status_code == 200
    assert site.get(basic, headers={"X-Large": "x" * 7_900}).status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"GET\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /login HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"GET /login HTTP/1.1\r\n\r\n",
        b"GET /login HTTP/9.9\r\nHost: localhost\r\n\r\n",
        f"{HEAD}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /users HTTP/1.1\r\n\r\n".encode(),
        f"{HEAD}Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde".encode(),
        f"{HEAD}Content-Length: -1\r\n\r\n".encode(),
        f"{HEAD}Transfer-Encoding: chunked\r\n\r\nZZ\r\n\r\n".encode(),
    ],
    ids=[
        "tls",
        "half a line",
        "nul",
        "two hosts",
        "no host",
        "version",
        "smuggled",
        "two lengths",
        "negative",
        "chunk",
    ],
)
def test_what_is_no_http_is_refused_with_one_answer(site: Deployment, sent: bytes) -> None:
    answer = answer_to(site, sent)
    assert answer.count(b"HTTP/1.1 ") <= 1, answer  # no second request was smuggled in
    assert answer == b"" or answer.split()[1] in (b"400", b"401", b"403", b"505", b"501"), answer[:200]
    assert site.get("/api/v1/health/basic").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/static/whalefall/../../../../etc/passwd",
        "/static/whalefall/..%2f..%2f..%2f..%2fetc/passwd",
        "/static/whalefall/%2e%2e/%2e%2e/factory.py",
        "/static/whalefall/....//....//factory.py",
        "/static/../app/factory.py",
        "/static/whalefall//etc/passwd",
        "/static/whalefall\\..\\..\\factory.py",
        "/whalefall/errors/../nginx.conf",
        "/whalefall/errors/50x.json",
    ],
)
def test_no_path_leads_out_of_the_static_files(site: Deployment, path: str) -> None:
    answer = answer_to(site, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert answer.split()[1] in (b"400", b"403", b"404"), answer[:200]
    assert b"root:" not in answer
    assert b"SECRET_KEY" not in answer


@pytest.mark.parametrize(
    "path", ["/login?next=/%0d%0aSet-Cookie:%20a=b", "/dashboard%0d%0aX-Evil:%201", "/runs?a=%0aX-Evil: 1"]
)
def test_no_header_can_be_injected(site: Deployment, path: str) -> None:
    requested = requests.Request("GET", site.url(path), headers={"X-Forwarded-For": "203.0.113.9"}).prepare()
    requested.url = site.url(path)  # as it is, not as requests would write it
    with requests.Session() as session:
        session.trust_env = False
        answer = session.send(requested, timeout=30, allow_redirects=False)
    assert "X-Evil" not in answer.headers
    assert "a=b" not in answer.headers.get("Set-Cookie", "")


def test_a_forged_request_id_or_host_goes_into_no_header(site: Deployment) -> None:
    ask = "GET /users HTTP/1.1\r\nHost: evil.example\r\nX-Request-ID: a b<script>\r\nConnection: close\r\n\r\n"
    head = answer_to(site, ask.encode()).partition(b"\r\n\r\n")[0]
    assert b"<script>" not in head
    assert b"evil.example" not in head
    assert b"Location: /login?next=/users" in head
