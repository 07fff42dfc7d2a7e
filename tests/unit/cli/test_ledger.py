"""What a shell says of the site's ledger: from the site itself, else from the ledger."""

import argparse
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.support.ledgers import bring_in, declared, opened
from tests.support.supervised import free_port
from whalefall.cli.health import READY, _trouble
from whalefall.cli.ledger import trouble
from whalefall.settings import Settings

HELD = "another process holds the SQLite file's write lock for too long; end it"


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "var"


@pytest.fixture
def locked(data_dir: Path) -> Iterator[None]:
    with opened(f"sqlite:///{data_dir}/whalefall.db") as ledger:
        bring_in(ledger, declared("tidy"))
    other = sqlite3.connect(data_dir / "whalefall.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.close()


@pytest.fixture
def answering() -> Iterator[Callable[[int, bytes], str]]:
    """A site whose readiness answers so; gives the address that the planner would have written down."""
    said: list[tuple[int, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = said[-1] if self.path == READY else (404, b"")
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()

    def answer(status: int, body: bytes) -> str:
        said.append((status, body))
        return f"http://127.0.0.1:{server.server_port}/whalefall/nginx/health"

    yield answer
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def words(tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    """Of `whalefall health`, in a directory whose `.env` says where the ledger is."""
    (tmp_path / ".env").write_text(f"DATA_DIR={data_dir}\n")
    monkeypatch.chdir(tmp_path)
    for name in ("DATA_DIR", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return argparse.Namespace(procfile="")


def test_the_sites_own_sentence_is_told(answering: Callable[[int, bytes], str], words: argparse.Namespace) -> None:
    envelope = {"success": False, "message": "database: the disk is full"}
    assert _trouble(answering(503, json.dumps(envelope).encode()), words) == "database: the disk is full"
    assert _trouble(answering(200, json.dumps({"success": True, "message": "ready"}).encode()), words) == ""


@pytest.mark.usefixtures("locked")
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"status": "UP"}'])
def test_where_the_application_has_no_page_for_it_the_ledger_is_asked(
    answering: Callable[[int, bytes], str], words: argparse.Namespace, body: bytes
) -> None:
    assert HELD in _trouble(answering(200, body), words)
    assert HELD in _trouble(answering(404, body), words)


def test_a_site_that_is_silent_is_named(words: argparse.Namespace) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert _trouble(f"{url}/", words).startswith(f"{url}{READY} does not answer (")


def test_a_ledger_that_is_not_there_yet_is_no_trouble_and_is_not_made(data_dir: Path) -> None:
    assert trouble(Settings.load({}), data_dir) == ""
    assert not data_dir.exists()


@pytest.mark.usefixtures("locked")
def test_a_locked_ledger_is_told_with_the_mend(data_dir: Path) -> None:
    assert HELD in trouble(Settings.load({}), data_dir)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mysql://host/name", "the ledger lives in SQLite or PostgreSQL, not in 'mysql'"),
        ("postgresql://whalefall@127.0.0.1:PORT/x", "Start it, or mend DATABASE_URL."),
    ],
)
def test_what_cannot_be_reached_is_a_sentence(data_dir: Path, url: str, told: str) -> None:
    silent = url.replace(
        "PORT", str(free_port())
    )  # not among the parameters: each worker would name its tests otherwise
    assert told in trouble(Settings.load({"DATABASE_URL": silent}), data_dir)
