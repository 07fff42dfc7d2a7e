"""Who is "this machine": the one hop that our Nginx appended, or nobody else in between, and a local name."""

import pytest
from flask import Flask, request
from werkzeug.test import Client

from whalefall.app.direct import Forwarding
from whalefall.app.proxies import BelievedHops, client_address, is_this_machine


def ask(trusted: int = 0, *, peer: str = "127.0.0.1", host: str = "localhost:5000", **headers: str) -> tuple[str, bool]:
    app = Flask(__name__)
    found: list[tuple[str, bool]] = []

    @app.get("/")
    def view() -> str:
        found.append((client_address(request), is_this_machine(request)))
        return ""

    app.wsgi_app = BelievedHops(app.wsgi_app, trusted)  # type: ignore[method-assign]
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    app.test_client().get("/", headers=named, base_url=f"http://{host}", environ_overrides={"REMOTE_ADDR": peer})
    return found[0]


@pytest.mark.parametrize(
    ("peer", "headers", "host"),
    [
        ("127.0.0.1", {}, "localhost:5000"),
        ("127.0.0.1", {}, "127.0.0.1:5000"),
        ("::1", {}, "[::1]:5000"),
        ("::1", {}, "[::1]"),
        ("", {}, "localhost"),
        ("127.0.0.1", {"X_Forwarded_For": "127.0.0.1"}, "LOCALHOST:5000"),
        ("", {"X_Forwarded_For": "::1"}, "localhost:5000"),
        ("127.0.0.1", {"X_Forwarded_For": "::ffff:127.0.0.1"}, "localhost:5000"),
    ],
)
def test_a_program_on_this_machine_is_recognised(peer, headers, host) -> None:
    assert ask(peer=peer, host=host, **headers)[1] is True


@pytest.mark.parametrize(
    ("peer", "headers", "host"),
    [
        ("203.0.113.9", {}, "localhost:5000"),
        ("203.0.113.9", {"X_Forwarded_For": "127.0.0.1"}, "localhost:5000"),
        ("127.0.0.1", {"X_Forwarded_For": "203.0.113.9"}, "localhost:5000"),
        ("127.0.0.1", {"X_Forwarded_For": "127.0.0.1, 203.0.113.9"}, "localhost:5000"),
        ("127.0.0.1", {"X_Forwarded_For": "127.0.0.1, 127.0.0.1"}, "localhost:5000"),
        ("127.0.0.1", {"X_Forwarded_For": '"127.0.0.1, 203.0.113.9'}, "localhost:5000"),
        ("127.0.0.1", {"X_Forwarded_For": ", 127.0.0.1"}, "localhost:5000"),
        ("127.0.0.1", {"X_Forwarded_For": "unknown, 127.0.0.1"}, "localhost:5000"),
        ("127.0.0.1", {"X_Forwarded_For": ""}, "localhost:5000"),
        ("127.0.0.1", {"Forwarded": "for=127.0.0.1"}, "localhost:5000"),
        ("127.0.0.1", {"Via": "1.1 some-cache"}, "localhost:5000"),
        ("127.0.0.1", {}, "evil.example:5000"),
        ("127.0.0.1", {}, "localhost.evil.example"),
        ("127.0.0.1", {}, "127.0.0.1.nip.io"),
    ],
)
def test_everybody_else_is_not_this_machine(peer, headers, host) -> None:
    assert ask(peer=peer, host=host, **headers)[1] is False


def test_in_direct_mode_any_forwarding_header_means_another_proxy() -> None:
    app = Flask(__name__)
    found: list[tuple[str, bool]] = []

    @app.get("/")
    def view() -> str:
        found.append((client_address(request), is_this_machine(request)))
        return ""

    app.wsgi_app = BelievedHops(app.wsgi_app, 0)  # type: ignore[method-assign]
    client = Forwarding(app, "http://127.0.0.1:9", 1)
    for headers in ({}, {"X-Forwarded-For": "127.0.0.1"}, {"X-Forwarded-For": "203.0.113.9"}):
        Client(client).get("/", headers=headers, base_url="http://localhost", environ_overrides={"REMOTE_ADDR": "::1"})
    assert found == [("::1", True), ("::1", False), ("::1", False)]


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "client"),
    [
        (0, "127.0.0.1", "203.0.113.9", "203.0.113.9"),
        (0, "127.0.0.1", "198.51.100.1, 203.0.113.9", "203.0.113.9"),  # the left one is the client's invention
        (0, "203.0.113.9", "198.51.100.1", "203.0.113.9"),  # a peer that is not our Nginx is not believed
        (1, "127.0.0.1", "203.0.113.9, 10.0.0.2", "203.0.113.9"),
        (1, "127.0.0.1", "198.51.100.1, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        (1, "127.0.0.1", "203.0.113.9", "203.0.113.9"),  # it went around the outer proxy
        (1, "10.0.0.2", "203.0.113.9", "203.0.113.9"),  # a platform's router in front of us, no Nginx
        (0, "127.0.0.1", '"198.51.100.1, 203.0.113.9', "203.0.113.9"),
    ],
)
def test_the_clients_address_is_the_last_hop_that_can_be_believed(trusted, peer, forwarded, client) -> None:
    assert ask(trusted, peer=peer, X_Forwarded_For=forwarded)[0] == client
