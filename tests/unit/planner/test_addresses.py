"""Which address is meant, and is it free."""

import dataclasses
import errno
import os
import socket
from pathlib import Path

import pytest

from tests.support.supervised import free_port
from whalefall.errors import ConfigError
from whalefall.plan import Listener
from whalefall.planner.addresses import check_distinct, check_free, join, numeric, reachable, why
from whalefall.planner.nginx import Site
from whalefall.planner.nginx import test as try_nginx


@pytest.mark.parametrize(
    ("host", "address"),
    [("0.0.0.0", "0.0.0.0:80"), ("::", "[::]:80"), ("[::1]", "[::1]:80"), ("127.0.0.2", "127.0.0.2:80")],
)
def test_host_and_port_are_joined(host: str, address: str) -> None:
    assert join(host, 80) == address


def test_a_name_becomes_a_number_because_nginx_matches_sockets_by_number() -> None:
    assert numeric("localhost:80", "HOST") in ("127.0.0.1:80", "[::1]:80")
    assert numeric("unix:/r/s", "WEB_LISTEN") == "unix:/r/s"


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a..b", "-", "x" * 300])
def test_an_unknown_name_is_told_with_its_variable(host: str) -> None:
    with pytest.raises(ConfigError, match=r"^HOST: the host .* is unknown\. Write an address"):
        join(host, 80)


@pytest.mark.parametrize(
    ("address", "where"),
    [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("10.0.0.1:80", "10.0.0.1:80"), ("unix:/r", "unix:/r")],
)
def test_a_wildcard_is_asked_on_loopback(address: str, where: str) -> None:
    assert reachable(address) == where


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        ("127.0.0.1:80", "127.0.0.1:80", True),
        ("0.0.0.0:80", "127.0.0.1:80", True),
        ("127.0.0.1:80", "[::]:80", True),
        ("127.0.0.1:80", "127.0.0.2:80", False),
        ("127.0.0.1:80", "127.0.0.1:81", False),
        ("unix:/a", "unix:/a", True),
        ("unix:/a", "unix:/b", False),
        ("unix:/a", "0.0.0.0:80", False),
    ],
)
def test_two_that_cannot_be_bound_together(one: str, other: str, *, clash: bool) -> None:
    if not clash:
        check_distinct([("A", one), ("B", other)])
        return
    with pytest.raises(ConfigError, match=r"^B \(.*\) and A \(.*\) want the same port\. Change one of them\.$"):
        check_distinct([("A", one), ("B", other)])


def test_a_free_port_is_free_afterwards_too() -> None:
    listener = Listener("http", f"127.0.0.1:{free_port()}")
    check_free([listener, Listener("unix", "unix:/tmp/whalefall-nobody.sock")], {})
    check_free([listener], {})


def test_a_taken_port_names_its_owner_and_its_setting() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"^port {port} is taken by .+ \(pid \d+\)\. .* by --port\.$"):
            check_free([Listener("http", f"127.0.0.1:{port}")], {"http": "--port"})
        with pytest.raises(ConfigError, match=rf"^port {port} is taken"):
            check_free([Listener("http", f"0.0.0.0:{port}")], {"http": "--port"})


def test_a_unix_socket_may_be_missing_or_stale_but_not_in_use(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listener = Listener("web", f"unix:{path}")
    check_free([listener], {"web": "WEB_LISTEN"})
    with socket.socket(socket.AF_UNIX) as used:
        used.bind(str(path))
        check_free([listener], {"web": "WEB_LISTEN"})  # nobody listens: what a killed supervisor leaves behind
        used.listen()
        with pytest.raises(ConfigError, match=r"is in use by another program\. Stop that, or change WEB_LISTEN"):
            check_free([listener], {"web": "WEB_LISTEN"})


def test_what_is_no_socket_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    with pytest.raises(ConfigError, match="is there and is no socket"):
        check_free([Listener("web", f"unix:{tmp_path / 's'}")], {})
    with pytest.raises(ConfigError, match="is missing or not ours to write"):
        check_free([Listener("web", f"unix:{tmp_path / 'no' / 's'}")], {})
    assert (tmp_path / "s").read_text() == "precious"


@pytest.mark.parametrize(
    ("address", "number", "sentence"),
    [
        ("0.0.0.0:80", errno.EACCES, "port 80 needs root or CAP_NET_BIND_SERVICE. Choose another by --port or PORT."),
        ("[::]:443", errno.EACCES, "port 443 needs root or CAP_NET_BIND_SERVICE. Choose another by TLS_PORT."),
        ("192.0.2.1:80", errno.EADDRNOTAVAIL, "this machine has no address 192.0.2.1. Check HOST."),
        ("[2001:db8::1]:443", errno.EADDRNOTAVAIL, "this machine has no address [2001:db8::1]. Check HOST."),
    ],
)
def test_what_cannot_be_bound_names_the_setting_also_where_nginx_tried(
    address: str, number: int, sentence: str, tmp_path: Path
) -> None:
    secure = address.endswith(":443")
    assert why(address, OSError(number, "x"), "TLS_PORT" if secure else "--port or PORT") == sentence
    nginx = tmp_path / "nginx"
    said = f"nginx: [emerg] bind() to {address} failed ({number}: {os.strerror(number)})"
    nginx.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
    nginx.chmod(0o700)
    site = Site(http="0.0.0.0:80", web=[], https=address if secure else "")
    with pytest.raises(ConfigError) as refusal:
        try_nginx(str(nginx), tmp_path / "nginx.conf", site)
    assert str(refusal.value) == sentence
    try_nginx(str(nginx), tmp_path / "nginx.conf", dataclasses.replace(site, bound=[address]))  # by systemd, as root
