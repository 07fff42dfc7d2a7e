"""A real Nginx with our configuration between a real client and two tiny upstreams: what reaches whom, and as what."""

import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.supervised import free_port
from tests.support.waiting import wait_until
from whalefall.app.api.schemas import ErrorEnvelope
from whalefall.errors import ConfigError
from whalefall.planner import nginx
from whalefall.planner.nginx import Site

BINARY = nginx.find("nginx", os.environ["PATH"])
pytestmark = pytest.mark.skipif(not BINARY, reason="nginx is not installed (apt install nginx)")


class Upstream:
    """An HTTP server that tells what it got. `answer` may be replaced by a test."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen: list[tuple[str, str]] = []
        self.answer: Callable[[BaseHTTPRequestHandler], None] = self.echo
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                upstream.seen.append((self.command, self.path))
                self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                upstream.answer(self)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = handle_any  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def echo(self, request: BaseHTTPRequestHandler) -> None:
        told = {"who": self.name, "path": request.path, "headers": dict(request.headers)}
        reply(request, 200, json.dumps(told).encode())

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def reply(request: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    request.send_response(status)
    for name, value in {"Content-Type": "application/json", **headers}.items():
        request.send_header(name.replace("_", "-"), value)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)


def hang_up(request: BaseHTTPRequestHandler) -> None:
    """What a client sees of a worker that is killed in the middle."""
    request.connection.shutdown(socket.SHUT_RDWR)
    request.close_connection = True


def in_turn(*answers: Callable[[BaseHTTPRequestHandler], None]) -> Callable[[BaseHTTPRequestHandler], None]:
    """The first request gets the first answer, the second the second."""
    waiting = iter(answers)

    def answer(request: BaseHTTPRequestHandler) -> None:
        next(waiting)(request)

    return answer


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Front:
    """A running Nginx. Everything that it printed is in `log`."""

    site: Site
    process: subprocess.Popen[bytes]
    log: Path
    configuration: Path
    port: int = field(init=False)

    def __post_init__(self) -> None:
        self.port = int(self.site.http.rpartition(":")[2])

    def ask(
        self, path: str, method: str = "GET", headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        return _asked(connection, path, method, headers, body)

    def ask_securely(self, path: str) -> Answer:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        port = int(self.site.https.rpartition(":")[2])
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=20)
        return _asked(connection, path, "GET", None, None)

    def access_log(self) -> list[dict[str, Any]]:
        lines = self.log.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


def _asked(
    connection: http.client.HTTPConnection, path: str, method: str, headers: dict[str, str] | None, body: bytes | None
) -> Answer:
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


@pytest.fixture
def web() -> Iterator[Upstream]:
    upstream = Upstream("web")
    yield upstream
    upstream.close()


@pytest.fixture
def scheduler() -> Iterator[Upstream]:
    upstream = Upstream("scheduler")
    yield upstream
    upstream.close()


StartFront = Callable[..., Front]


@pytest.fixture
def start(web: Upstream, scheduler: Upstream, run_dir: Path) -> Iterator[StartFront]:
    """Starts Nginx for the two upstreams, with further options of the site by keyword."""
    running: list[Front] = []

    def start_front(**options: Any) -> Front:
        values = {"http": f"127.0.0.1:{free_port()}", "web": [web.address], "scheduler": [scheduler.address]}
        site = Site(**{**values, "version": nginx.version(BINARY), **options})
        configuration = nginx.write(site, run_dir, BINARY)
        log = run_dir / "nginx.log"
        with log.open("wb") as output:
            process = subprocess.Popen(nginx.command(BINARY, configuration), stdout=output, stderr=output)
        front = Front(site, process, log, configuration)
        running.append(front)
        wait_until(lambda: _answers(front), "Nginx answers", explain=log.read_text)
        return front

    yield start_front
    for front in running:
        front.process.terminate()
        front.process.wait(20)


@pytest.fixture
def run_dir() -> Iterator[Path]:
    """Not in tmp_path: as root, Nginx's workers are another user, and pytest closes its directories to all others."""
    with tempfile.TemporaryDirectory(prefix="whalefall-test-") as scratch:
        Path(scratch).chmod(0o711)
        directory = Path(scratch) / "run"
        directory.mkdir(mode=0o700)
        yield directory


def _answers(front: Front) -> bool:
    assert front.process.poll() is None, front.log.read_text()
    try:
        return front.ask("/whalefall/nginx/health").status == 200
    except OSError:
        return False


ROUTES = {
    "/": ("web", "/"),
    "/dashboard?a=1": ("web", "/dashboard?a=1"),
    "/api/v1/health/basic": ("web", "/api/v1/health/basic"),
    "/api/v1/schedulerx": ("web", "/api/v1/schedulerx"),
    "/api/v1/scheduler/": ("scheduler", "/api/v1/scheduler/"),
    "/api/v1/scheduler/jobs": ("scheduler", "/api/v1/scheduler/jobs"),
    "/api/v1/scheduler/jobs/a%2Fb?x=%20": ("scheduler", "/api/v1/scheduler/jobs/a%2Fb?x=%20"),
    "/scheduler": ("web", "/scheduler"),
    "/static/app.css": ("web", "/static/app.css"),
    "/.well-known/acme-challenge/x": ("web", "/.well-known/acme-challenge/x"),
}


def test_requests_go_to_the_process_that_owns_them_unchanged(start: StartFront) -> None:
    front = start()
    answers = {path: front.ask(path).json for path in ROUTES}
    assert {path: (told["who"], told["path"]) for path, told in answers.items()} == ROUTES


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_every_method_reaches_the_scheduler(start: StartFront, scheduler: Upstream, method: str) -> None:
    start().ask("/api/v1/scheduler/jobs/x", method, body=b"{}")
    assert scheduler.seen == [(method, "/api/v1/scheduler/jobs/x")]


def test_the_address_without_a_slash_redirects_relatively_so_any_port_mapping_is_right(start: StartFront) -> None:
    answer = start().ask("/api/v1/scheduler?a=1", headers={"Host": "example.org:8080"})
    assert answer.status == 301
    assert answer.headers["Location"] == "/api/v1/scheduler/?a=1"


def test_without_a_scheduler_its_addresses_belong_to_web(start: StartFront) -> None:
    front = start(scheduler=[])
    assert front.ask("/api/v1/scheduler/jobs").json["who"] == "web"


def test_health_is_nginxs_own_answer(start: StartFront, web: Upstream) -> None:
    front = start()
    answer = front.ask("/whalefall/nginx/health")
    assert (answer.status, answer.body) == (200, b"ok\n")
    assert web.seen == []
    assert front.access_log() == []


def test_a_socket_of_its_own_answers_the_supervisor(start: StartFront, run_dir: Path) -> None:
    start(private=f"unix:{run_dir}/probe.sock")
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(20)
        asking.connect(f"{run_dir}/probe.sock")
        asking.sendall(b"GET /whalefall/nginx/health HTTP/1.0\r\n\r\n")
        assert asking.recv(4096).startswith(b"HTTP/1.1 200 OK")


def test_nothing_else_of_ours_is_passed_on(start: StartFront, web: Upstream) -> None:
    assert start().ask("/whalefall/nginx/other").status == 404
    assert web.seen == []


def test_the_error_pages_cannot_be_asked_for(start: StartFront) -> None:
    assert start().ask("/whalefall/errors/50x.html").status == 404


# Who the client is


def forwarded(front: Front, headers: dict[str, str]) -> dict[str, str]:
    seen: dict[str, str] = front.ask("/", headers=headers).json["headers"]
    return seen


def test_the_application_learns_whom_it_talks_to(start: StartFront) -> None:
    seen = forwarded(start(), {"Host": "example.org:8080"})
    assert seen["Host"] == seen["X-Forwarded-Host"] == "example.org:8080"
    assert seen["X-Forwarded-Port"] == "8080"
    assert seen["X-Forwarded-Proto"] == "http"
    assert seen["X-Forwarded-For"] == seen["X-Real-IP"] == "127.0.0.1"
    assert "X-Forwarded-Prefix" not in seen


@pytest.mark.parametrize(
    ("host", "port"), [("example.org", "80"), ("[::1]", "80"), ("[::1]:5000", "5000"), ("localhost:5443", "5443")]
)
def test_the_port_is_the_one_that_the_client_used(start: StartFront, host: str, port: str) -> None:
    assert forwarded(start(), {"Host": host})["X-Forwarded-Port"] == port


@pytest.mark.parametrize(
    ("sent", "hops"),
    [
        ({}, "127.0.0.1"),
        ({"X-Forwarded-For": "1.2.3.4"}, "1.2.3.4, 127.0.0.1"),
        ({"X-Forwarded-For": "1.2.3.4, 5.6.7.8"}, "1.2.3.4, 5.6.7.8, 127.0.0.1"),
        ({"X-Real-IP": "1.2.3.4"}, "unknown, 127.0.0.1"),
        ({"Forwarded": "for=1.2.3.4"}, "unknown, 127.0.0.1"),
        ({"X-Forwarded-For": "1.2.3.4", "X-Real-IP": "1.2.3.4"}, "1.2.3.4, 127.0.0.1"),
    ],
)
def test_a_client_that_speaks_for_another_is_one_hop_more(start: StartFront, sent: dict[str, str], hops: str) -> None:
    """The application opens its pages to loopback without a login; a proxy on this host must not look like loopback."""
    assert forwarded(start(), sent)["X-Forwarded-For"] == hops


CLAIMS = {
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "444",
    "X-Forwarded-Prefix": "/evil",
}


def test_claims_of_a_client_are_not_believed(start: StartFront) -> None:
    front = start()
    seen = forwarded(front, {**CLAIMS, "Host": "good.example"})
    assert {name: seen.get(name, "") for name in CLAIMS} == {
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "good.example",
        "X-Forwarded-Port": "80",
        "X-Forwarded-Prefix": "",
    }


def test_claims_of_a_trusted_proxy_are_believed(start: StartFront) -> None:
    seen = forwarded(start(trusted_proxies=1), {**CLAIMS, "Host": "inner"})
    assert {name: seen[name] for name in CLAIMS} == CLAIMS


def test_a_trusted_proxy_that_says_nothing_changes_nothing(start: StartFront) -> None:
    seen = forwarded(start(trusted_proxies=1), {"Host": "inner:81"})
    assert (seen["X-Forwarded-Proto"], seen["X-Forwarded-Host"], seen["X-Forwarded-Port"]) == ("http", "inner:81", "81")


def test_each_request_has_an_id_in_upstream_answer_and_log(start: StartFront) -> None:
    front = start()
    answer = front.ask("/")
    name = answer.headers["X-Request-ID"]
    assert re.fullmatch(r"[0-9a-f]{32}", name)
    assert answer.json["headers"]["X-Request-ID"] == name
    assert wait_until(front.access_log, "the request is logged")[0]["request_id"] == name


@pytest.mark.parametrize(("sent", "kept"), [("abc-123.DEF_4", True), ("short", False), ('a"b<script>xxxx', False)])
def test_a_callers_id_is_kept_when_it_is_one(start: StartFront, sent: str, kept: bool) -> None:
    answer = start().ask("/", headers={"X-Request-ID": sent})
    assert (answer.headers["X-Request-ID"] == sent) is kept


def test_the_access_log_tells_where_the_time_went(start: StartFront, web: Upstream) -> None:
    front = start()
    front.ask('/x?q="', headers={"User-Agent": 'a"b\\c\x7f'})
    line = wait_until(front.access_log, "the request is logged")[0]
    assert (line["method"], line["uri"], line["status"]) == ("GET", '/x?q="', 200)
    assert line["upstream"] == web.address
    times = (line["duration_s"], line["upstream_connect_s"], line["upstream_duration_s"])
    assert all(re.fullmatch(r"\d+\.\d{3}", f"{float(each):.3f}") for each in times)
    assert line["client"] == "127.0.0.1"


# Security headers


def test_security_headers_are_added_once_and_the_applications_own_win(start: StartFront, web: Upstream) -> None:
    front = start()
    plain = front.ask("/").headers
    assert (plain["X-Content-Type-Options"], plain["X-Frame-Options"]) == ("nosniff", "SAMEORIGIN")
    assert plain["Server"] == "nginx"
    web.answer = lambda request: reply(request, 200, b"{}", X_Frame_Options="DENY", Referrer_Policy="no-referrer")
    own = front.ask("/").headers
    assert own.get_all("X-Frame-Options") == ["DENY"]
    assert own.get_all("Referrer-Policy") == ["no-referrer"]


# Promise 2: what is safe to repeat is repeated


def test_a_get_that_a_dying_worker_dropped_is_asked_again(start: StartFront, web: Upstream) -> None:
    front = start()
    web.answer = in_turn(hang_up, web.echo)
    assert front.ask("/x").status == 200
    assert web.seen == [("GET", "/x"), ("GET", "/x")]


def test_a_post_that_was_sent_is_never_sent_again(start: StartFront, web: Upstream) -> None:
    front = start()
    web.answer = hang_up
    assert front.ask("/x", "POST", body=b"pay").status == 502
    assert web.seen == [("POST", "/x")]


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_other_idempotent_methods_are_asked_again(start: StartFront, web: Upstream, method: str) -> None:
    front = start()
    web.answer = in_turn(hang_up, web.echo)
    assert front.ask("/x", method, body=b"{}").status == 200
    assert len(web.seen) == 2


def test_a_get_that_met_a_502_is_asked_again_and_a_post_is_not(start: StartFront, web: Upstream) -> None:
    front = start()
    busy = iter([502, 200, 502, 200])
    web.answer = lambda request: reply(request, next(busy), b"{}")
    assert front.ask("/x").status == 200
    assert front.ask("/x", "POST", body=b"{}").status == 502


def test_an_applications_own_503_passes_and_is_asked_once(start: StartFront, web: Upstream) -> None:
    """It says that it has too much to do already, or that its database is away."""
    front = start()
    web.answer = lambda request: reply(request, 503, b"busy")
    answer = front.ask("/x")
    assert (answer.status, answer.body) == (503, b"busy")
    assert len(web.seen) == 1


def test_a_worker_that_died_is_not_shunned(start: StartFront, web: Upstream) -> None:
    """max_fails=0: with Nginx's default, one failure would take the only address out for ten seconds."""
    front = start()
    web.answer = hang_up
    assert front.ask("/x").status == 502
    web.answer = web.echo
    assert front.ask("/x").status == 200


def test_connections_to_upstreams_are_not_kept(start: StartFront) -> None:
    """A POST on a cached connection whose worker has died would fail, though nobody worked on it."""
    assert forwarded(start(), {})["Connection"] == "close"


# When nobody answers


def dead() -> str:
    return f"127.0.0.1:{free_port()}"


def test_an_api_client_gets_the_envelope_when_nobody_answers(start: StartFront) -> None:
    front = start(web=[dead()], scheduler=[dead()])
    for path in ("/api/v1/health/basic", "/api/v1/scheduler/jobs"):
        answer = front.ask(path)
        assert answer.status == 502
        assert answer.headers.get_content_type() == "application/json"
        told = answer.json
        assert (told["success"], told["error"], told["message_code"]) == (False, True, "SERVICE_UNAVAILABLE")
        assert told["error_id"] == told["context"]["request_id"] == answer.headers["X-Request-ID"]
        assert re.match(r"\d{4}-\d\d-\d\dT", told["timestamp"])
        assert answer.headers["Retry-After"] == "2"
        assert answer.headers["Cache-Control"] == "no-store"


def test_a_person_gets_a_page_when_nobody_answers(start: StartFront) -> None:
    answer = start(web=[dead()]).ask("/dashboard")
    assert answer.status == 502
    assert answer.headers.get_content_type() == "text/html"
    assert b"One moment" in answer.body
    assert answer.headers["X-Request-ID"].encode() in answer.body
    assert b"<!--#" not in answer.body


def test_nobody_can_write_into_the_page_by_a_request_id(start: StartFront) -> None:
    answer = start(web=[dead()]).ask("/api/x", headers={"X-Request-ID": '"><script>alert(1)'})
    assert b"script" not in answer.body
    assert answer.json["error"] is True


@pytest.mark.parametrize("status", [400, 404, 409, 500, 503])
def test_the_applications_own_errors_pass_as_they_are(start: StartFront, web: Upstream, status: int) -> None:
    front = start()
    web.answer = lambda request: reply(request, status, b'{"mine": true}')
    answer = front.ask("/api/v1/x")
    assert (answer.status, answer.json) == (status, {"mine": True})


def test_an_application_that_hangs_is_given_up_in_time(start: StartFront, web: Upstream) -> None:
    front = start(request_timeout_s=1)
    release = threading.Event()
    web.answer = lambda _: release.wait(30)
    try:
        answer = front.ask("/api/v1/x", "POST", body=b"{}")
    finally:
        release.set()
    assert answer.status == 504
    assert answer.json["message_code"] == "SERVICE_UNAVAILABLE"


# What Nginx refuses by itself

HOST = b"Host: localhost\r\nConnection: close\r\n"
REFUSED = {
    "malformed header": (b"GET %s HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "INVALID_REQUEST"),
    "no host": (b"GET %s HTTP/1.1\r\n\r\n", 400, "INVALID_REQUEST"),
    "two lengths": (b"POST %s HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400, ""),
    "out of the root": (b"GET %s/../../../../../../x HTTP/1.1\r\n" + HOST + b"\r\n", 400, "INVALID_REQUEST"),
    "method": (b"TRACE %s HTTP/1.1\r\n" + HOST + b"\r\n", 405, "METHOD_NOT_ALLOWED"),
    "large body": (b"POST %s HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999\r\n\r\n", 413, "PAYLOAD_TOO_LARGE"),
    "long address": (b"GET %s?" + b"x" * 50_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414, "URI_TOO_LONG"),
    "large header": (
        b"GET %s HTTP/1.1\r\n" + HOST + b"Cookie: a=" + b"x" * 50_000 + b"\r\n\r\n",
        431,
        "REQUEST_HEADER_FIELDS_TOO_LARGE",
    ),
    "coding": (b"POST %s HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\n", 501, "NOT_IMPLEMENTED"),
    "version": (b"GET %s HTTP/3.0\r\n" + HOST + b"\r\n", 505, "HTTP_VERSION_NOT_SUPPORTED"),
}


def sent_raw(front: Front, text: bytes) -> Answer:
    """Bytes as they are, and the answer to them."""
    with socket.create_connection(("127.0.0.1", front.port), timeout=20) as connection:
        connection.sendall(text)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return Answer(answer.status, answer.headers, answer.read())


def test_what_nginx_refuses_under_api_is_the_envelope(start: StartFront, web: Upstream, scheduler: Upstream) -> None:
    front = start()
    for name, (text, status, code) in REFUSED.items():
        for path in (b"/api/v1/x", b"/api/v1/scheduler/jobs", b"http://localhost/api/v1/x"):
            answer = sent_raw(front, text.replace(b"%s", path))
            assert (answer.status, answer.headers.get_content_type()) == (status, "application/json"), name
            told = answer.json
            assert told["message_code"] == (code or "INVALID_REQUEST"), name
            assert told["error_id"] == told["context"]["request_id"] == answer.headers["X-Request-ID"] != ""
            assert answer.headers["Retry-After"] is None  # again would be refused again
            assert ErrorEnvelope().validate(told) == {}, name
    assert web.seen == scheduler.seen == []


def test_what_nginx_refuses_elsewhere_is_a_page_for_people(start: StartFront) -> None:
    front = start()
    for name, (text, status, _) in REFUSED.items():
        answer = sent_raw(front, text.replace(b"%s", b"/a"))
        assert (answer.status, answer.headers.get_content_type()) == (status, "text/html"), name
        assert answer.headers["X-Request-ID"].encode() in answer.body, name
        assert b"The request was refused" in answer.body, name
        assert b"<!--#" not in answer.body, name
    assert sent_raw(front, b"\x16\x03\x01\r\n\r\n").status == 400


@pytest.mark.parametrize(
    ("languages", "is_chinese"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", True),
        ("zh", True),
        ("zh-Hans", True),
        ("zh-TW", False),
        ("en,zh", False),
        ("", False),
    ],
)
def test_nginx_too_speaks_chinese_to_those_who_ask_for_it(start: StartFront, languages: str, is_chinese: bool) -> None:
    front = start(web=[dead()])
    wish = {"Accept-Language": languages} if languages else {}
    page = front.ask("/dashboard", headers=wish)
    assert ("请稍候" in page.body.decode()) is is_chinese
    assert (b'lang="zh-Hans"' in page.body) is is_chinese
    assert ("请几秒后再试。" in front.ask("/api/v1/x", headers=wish).json["suggestions"]) is is_chinese
    assert ("此地址没有内容。" in front.ask("/whalefall/nginx/x", headers=wish).body.decode()) is is_chinese
    refused = sent_raw(front, b"TRACE /api/ HTTP/1.1\r\n" + HOST + f"Accept-Language: {languages}\r\n\r\n".encode())
    assert (refused.json["message"] == "服务器不支持此请求方法。") is is_chinese


# Static files


def test_static_files_are_nginxs_and_what_it_lacks_is_webs(start: StartFront, run_dir: Path, web: Upstream) -> None:
    static = run_dir.parent / "static"
    static.mkdir(mode=0o755)
    (static / "app.css").write_text("body{}" * 500)
    front = start(static=str(static))
    answer = front.ask("/static/app.css", headers={"Accept-Encoding": "gzip"})
    assert answer.headers.get_content_type() == "text/css"
    assert answer.headers["Content-Encoding"] == "gzip"
    assert web.seen == []
    assert front.ask("/static/other.css").json["who"] == "web"
    assert front.ask("/static/").json["who"] == "web"
    assert front.ask("/static/../../../etc/passwd").status in (400, 200)
    assert b"root:" not in front.ask("/static/%2e%2e/%2e%2e/etc/passwd").body


# Large bodies use the temp directories, which must work for Nginx's own user


def test_a_large_body_passes_through_our_own_temp_directories(start: StartFront, web: Upstream) -> None:
    front = start()
    web.answer = lambda request: reply(request, 200, str(len(request.body)).encode())
    assert front.ask("/", "POST", body=b"x" * 3_000_000).body == b"3000000"
    web.answer = lambda request: reply(request, 200, b"y" * 3_000_000)
    assert len(front.ask("/").body) == 3_000_000


def test_a_body_beyond_the_limit_is_refused(start: StartFront, web: Upstream) -> None:
    front = start()
    connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=20)
    connection.putrequest("POST", "/")
    connection.putheader("Content-Length", str(64 * 1024 * 1024))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
    assert web.seen == []


# TLS

# Of nobody and for nothing: made for this test, for localhost.
CERTIFICATE = """-----BEGIN CERTIFICATE-----
MIIBmzCCAUGgAwIBAgIUaOwFap/5vUERL1YjbH38aBrad1gwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNDE0MDQxN1oYDzIxMjYxMDMx
MTQwNDE3WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASUXj1lpMaWtRK/oIYTTyQTYEELuKidj0TLHFGL/AaAyvVa0Ms1NnHO
MMaeOyuQGqkHiGKuig1Djn2d+U9jBLgro28wbTAdBgNVHQ4EFgQU8BDl+HeUSOaP
Kl0RYDhYDDqvShYwHwYDVR0jBBgwFoAU8BDl+HeUSOaPKl0RYDhYDDqvShYwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSAAwRQIhAK8GqNl6ueL/sG88rQcYzrq9fEK6CamkJVgUJza5ptZ1AiAY
neskYKl+GZjQAW8FBo6Bl2V1DpWtxrByvfLciiXg0A==
-----END CERTIFICATE-----
"""
KEY = """-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgMaEhsaUX7ILCU3u6
IQmP71V7kIIKTMYTlqmIaYeg0aOhRANCAASUXj1lpMaWtRK/oIYTTyQTYEELuKid
j0TLHFGL/AaAyvVa0Ms1NnHOMMaeOyuQGqkHiGKuig1Djn2d+U9jBLgr
-----END PRIVATE KEY-----
"""


@pytest.fixture
def tls(run_dir: Path) -> dict[str, Any]:
    (run_dir / "cert.pem").write_text(CERTIFICATE)
    (run_dir / "key.pem").write_text(KEY)
    acme = run_dir.parent / "acme"
    return {
        "https": f"127.0.0.1:{free_port()}",
        "certificate": str(run_dir / "cert.pem"),
        "key": str(run_dir / "key.pem"),
        "acme": str(acme),
    }


def test_with_a_certificate_the_site_speaks_tls(start: StartFront, tls: dict[str, Any]) -> None:
    front = start(**tls)
    told = front.ask_securely("/dashboard").json
    assert (told["who"], told["headers"]["X-Forwarded-Proto"]) == ("web", "https")
    assert front.ask_securely("/api/v1/scheduler/jobs").json["who"] == "scheduler"


def test_http_spoken_to_the_port_of_tls_is_sent_to_https(start: StartFront, tls: dict[str, Any]) -> None:
    start(**tls)
    port = int(tls["https"].rpartition(":")[2])
    answer = _asked(http.client.HTTPConnection("127.0.0.1", port, timeout=20), "/dashboard?a=1", "GET", None, None)
    assert (answer.status, answer.headers["Location"]) == (308, f"https://127.0.0.1:{port}/dashboard?a=1")


def test_http_redirects_to_https_but_for_health_and_certificates(start: StartFront, tls: dict[str, Any]) -> None:
    acme = Path(tls["acme"]) / ".well-known" / "acme-challenge"
    acme.mkdir(parents=True, mode=0o755)
    (acme / "token").write_text("proof")
    front = start(**tls)
    port = tls["https"].rpartition(":")[2]
    answer = front.ask("/dashboard?a=1", headers={"Host": "example.org:80"})
    assert (answer.status, answer.headers["Location"]) == (301, f"https://example.org:{port}/dashboard?a=1")
    assert front.ask("/whalefall/nginx/health").status == 200
    assert front.ask("/api/v1/health/basic").json["who"] == "web"
    assert front.ask("/.well-known/acme-challenge/token").body == b"proof"
    assert front.ask("/.well-known/acme-challenge/other").json["who"] == "web"


# The configuration itself


def test_a_configuration_that_nginx_refuses_keeps_the_old_one(run_dir: Path) -> None:
    good = Site(http="127.0.0.1:1", web=["127.0.0.1:2"], version=nginx.version(BINARY))
    path = nginx.write(good, run_dir, BINARY)
    before = path.read_text()
    bad = Site(
        http="127.0.0.1:1",
        web=["127.0.0.1:2"],
        https="127.0.0.1:3",
        certificate="/no/such.pem",
        key="/no/such.key",
        acme="/x",
        version=nginx.version(BINARY),
    )
    with pytest.raises(ConfigError, match=r'nginx refuses its configuration: cannot load certificate "/no/such.pem"'):
        nginx.write(bad, run_dir, BINARY)
    assert path.read_text() == before
    assert [each.name for each in path.parent.glob("*.new")] == []


def test_the_name_of_a_configuration_tells_its_contents_and_the_certificate(run_dir: Path) -> None:
    certificate = run_dir / "c.pem"
    certificate.write_text("old")
    values: dict[str, Any] = {"http": "127.0.0.1:1", "web": ["127.0.0.1:2"], "certificate": str(certificate)}
    first = nginx.configuration_path(Site(**values), run_dir)
    assert nginx.configuration_path(Site(**values), run_dir) == first
    assert nginx.configuration_path(Site(**values, trusted_proxies=1), run_dir) != first
    certificate.write_text("renewed")
    assert nginx.configuration_path(Site(**values), run_dir) != first


def test_only_the_newest_configurations_are_kept(run_dir: Path) -> None:
    written = [
        nginx.write(Site(http=f"127.0.0.1:{port}", web=["127.0.0.1:1"], version=nginx.version(BINARY)), run_dir, BINARY)
        for port in range(2, 8)
    ]
    assert len(set(written)) == 6
    left = list(written[0].parent.glob("nginx-*.conf"))
    assert len(left) == nginx.KEPT_CONFIGURATIONS
    assert written[-1] in left


@pytest.mark.parametrize("path", ["/a b", "/a;b", "/a$b", "/a{b", '/a"b'])
def test_a_path_that_nginx_cannot_hold_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="cannot stand in an Nginx configuration"):
        nginx.render(Site(http="127.0.0.1:1", web=["127.0.0.1:2"]), Path(path))


def test_a_newer_nginx_gets_its_own_way_to_say_http2() -> None:
    site = {"http": "h:1", "web": ["h:2"], "https": "h:3", "certificate": "c", "key": "k", "acme": "/a"}
    old = nginx.render(Site(**site, version=(1, 25, 0)), Path("/r"))
    new = nginx.render(Site(**site, version=(1, 25, 1)), Path("/r"))
    assert "listen h:3 ssl http2 backlog=" in old
    assert "http2 on;" not in old
    assert "listen h:3 ssl backlog=" in new
    assert "http2 on;" in new


def test_a_program_that_is_no_nginx_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no nginx"):
        nginx.version(shutil.which("true") or "/bin/true")
    with pytest.raises(ConfigError, match="does not run"):
        nginx.version(str(tmp_path / "nothing"))


def test_nginx_is_found_where_debian_keeps_it() -> None:
    assert nginx.find("nginx", "/nowhere") == nginx.find("nginx", os.environ["PATH"]) != ""
    assert nginx.find("", os.environ["PATH"]) == ""
    assert nginx.find("no-such-nginx", os.environ["PATH"]) == ""


def test_a_unix_socket_is_an_upstream_too(start: StartFront, run_dir: Path) -> None:
    path = run_dir.parent / "u.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        path.chmod(0o777)
        listening.listen(5)
        front = start(web=[f"unix:{path}"])

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")

        thread = threading.Thread(target=serve)
        thread.start()
        assert front.ask("/").body == b"hi"
        thread.join()
