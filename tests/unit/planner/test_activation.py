"""Which socket of the service manager is which listener? Names, addresses, strangers; the descriptors are real."""

import os
import socket
from pathlib import Path

import pytest

from whalefall.errors import ConfigError
from whalefall.plan import Listener
from whalefall.planner import activation
from whalefall.planner.activation import Passed

SITE = Listener("http", "0.0.0.0:8080")
WEB = Listener("web", "127.0.0.1:5001")


def _environ(*rows: Passed) -> dict[str, str]:
    return {activation.VARIABLE: activation._text(rows), "HOME": "/x"}


def test_a_name_decides_the_settings() -> None:
    environ = _environ(
        Passed(3, "http", "[::]:80"),
        Passed(4, "https", "[::]:443"),
        Passed(5, "web", "unix:/run/web"),
        Passed(6, "a", ""),
    )
    decided = {"HOST": "::", "PORT": "80", "TLS_PORT": "443", "WEB_LISTEN": "unix:/run/web"}
    assert activation.variables(environ) == decided


def test_without_a_manager_nothing_changes() -> None:
    assert activation.variables({}) == {}
    assert activation.adopt((SITE, WEB), {}) == (SITE, WEB)
    assert activation.notes((SITE, WEB), {}) == []
    assert activation.remaining((SITE,), {"A": "b"}) == {"A": "b"}


def test_a_socket_without_our_name_is_known_by_its_address() -> None:
    environ = _environ(Passed(3, "whalefall.socket", "127.0.0.1:5001"), Passed(4, "http", "0.0.0.0:8080"))
    assert [each.descriptor for each in activation.adopt((SITE, WEB), environ)] == [4, 3]


def test_a_socket_is_adopted_once() -> None:
    environ = _environ(Passed(3, "", "127.0.0.1:5001"))
    adopted = activation.adopt((WEB, Listener("other", "127.0.0.1:5001")), environ)
    assert [each.descriptor for each in adopted] == [3, None]


def test_a_name_at_another_address_is_refused_in_a_sentence() -> None:
    with pytest.raises(ConfigError, match=r"socket 'http' is 127.0.0.1:1, but whalefall would listen on 0.0.0.0:8080"):
        activation.adopt((SITE,), _environ(Passed(3, "http", "127.0.0.1:1")))


def test_the_site_cannot_be_a_unix_socket() -> None:
    with pytest.raises(ConfigError, match="host:port"):
        activation.variables(_environ(Passed(3, "http", "unix:/run/site")))


def test_a_stranger_is_named_and_not_told_to_the_next_planner() -> None:
    environ = _environ(Passed(3, "http", "0.0.0.0:8080"), Passed(4, "mail", "0.0.0.0:25"), Passed(5, "", ""))
    adopted = activation.adopt((SITE, WEB), environ)
    assert activation.notes(adopted, environ) == [
        "the service manager's descriptor 4 ('mail') on 0.0.0.0:25 belongs to no listener and is closed. "
        "Name it by FileDescriptorName= (http, web), or remove it.",
        "the service manager's descriptor 5 which is no listening stream socket, belongs to no listener and is closed. "
        "Name it by FileDescriptorName= (http, web), or remove it.",
    ]
    left = activation.remaining(adopted, environ)
    assert [each.descriptor for each in activation.passed(left)] == [3]
    assert left["HOME"] == "/x"


def test_only_what_is_for_this_process_is_read_and_the_variables_go_in_any_case() -> None:
    environ = {"LISTEN_FDS": "1", "LISTEN_PID": "1", "LISTEN_FDNAMES": "http", activation.VARIABLE: "[]", "A": "b"}
    activation.take(environ)
    assert environ == {"A": "b"}


@pytest.mark.parametrize("count", ["", "x", "-1", "0", "65", "99999999999"])
def test_a_nonsensical_number_of_sockets_is_none(count: str) -> None:
    environ = {"LISTEN_FDS": count, "LISTEN_PID": str(os.getpid())}
    activation.take(environ)
    assert environ == {}


def test_addresses_are_read_as_the_plan_writes_them(tmp_path: Path) -> None:
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as unix, socket.socket() as silent:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        unix.bind(str(tmp_path / "s"))
        unix.listen()
        read, write = os.pipe()
        try:
            assert activation._address(tcp.fileno()) == f"127.0.0.1:{tcp.getsockname()[1]}"
            assert activation._address(unix.fileno()) == f"unix:{tmp_path}/s"
            assert [activation._address(each) for each in (silent.fileno(), read, 9_999)] == ["", "", ""]
        finally:
            os.close(read)
            os.close(write)
