"""`whalefall health` asks the site through its front door."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.support.supervised import free_port
from whalefall.cli.health import _ask_site, _planned, judge
from whalefall.errors import ControlError


@pytest.fixture
def site() -> Iterator[str]:
    """Answers with the status that the path names."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(int(self.path[1:]))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def row(service: str, state: str, reason: str = "") -> dict[str, str]:
    return {"name": f"{service}.1", "service": service, "state": state, "reason": reason}


BY_HAND = "was stopped by hand. Start it: whalefall start"


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([row("web", "ready"), row("release", "finished")], ("", "")),
        ([row("web", "starting", "last probe: refused")], ("web.1 is starting (last probe: refused)", "")),
        ([row("web", "backoff"), row("worker", "failed")], ("worker.1 is failed", "")),
        ([row("web", "ready"), row("scheduler", "failed", "gave up")], ("", "scheduler.1 is failed (gave up)")),
        ([row("scheduler", "failed"), row("web", "failed")], ("web.1 is failed", "scheduler.1 is failed")),
        ([row("nginx", "waiting", "waits for web"), row("web", "stopped")], (f"web.1 {BY_HAND} web", "")),
        ([row("nginx", "stopped"), row("web", "ready")], (f"nginx.1 {BY_HAND} nginx", "")),
        ([row("web", "ready"), row("worker", "stopped")], ("", f"worker.1 {BY_HAND} worker")),
        ([row("web", "ready"), row("scheduler", "stopped")], ("", f"scheduler.1 {BY_HAND} scheduler")),
        ([row("web", "ready"), row("web", "stopped") | {"name": "web.2"}], ("", f"web.2 {BY_HAND} web")),
        ([], ("", "")),
    ],
)
def test_the_site_lives_without_its_scheduler_but_not_without_the_rest(
    rows: list[dict[str, str]], verdict: tuple[str, str]
) -> None:
    assert judge(rows, ("nginx", "web")) == verdict


def test_a_site_that_answers_is_well(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # loopback is asked directly, whatever this says
    _ask_site(f"{site}/200")


@pytest.mark.parametrize("status", [404, 500, 503])
def test_a_site_that_complains_is_not(site: str, status: int) -> None:
    with pytest.raises(ControlError, match=rf"/{status} answers {status}$"):
        _ask_site(f"{site}/{status}")


def test_a_site_that_is_silent_is_not() -> None:
    with pytest.raises(ControlError, match="does not answer"):
        _ask_site(f"http://127.0.0.1:{free_port()}/")


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"url": 1, "through": []}', '{"url": "http://x/"}'])
def test_what_the_planner_did_not_write_down_is_not_asked(tmp_path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "health.json").write_text(content)
    assert _planned(tmp_path) == {"url": "", "through": []}


def test_what_the_planner_wrote_down_is_asked(tmp_path) -> None:
    (tmp_path / "health.json").write_text('{"url": "http://x/", "through": ["web"], "version": "1"}')
    assert (_planned(tmp_path)["url"], _planned(tmp_path)["through"]) == ("http://x/", ["web"])
