"""A held socket whose service is down for good: who connects is refused at once, and its service finds it as it was."""

import os
import signal
import socket
from pathlib import Path

import pytest

from tests.support.supervised import Supervised, free_port, instance, python
from tests.support.waiting import wait_until
from whalefall.plan import Listener, RestartPolicy, StopPolicy

# Serves one connection after the other from a socket that it expects to block, as simple servers do.
SIMPLE = python(
    """
import os, socket
held = socket.socket(fileno=3)
print("blocking", os.get_blocking(3))
while True:
    client, _ = held.accept()
    client.sendall(b"served")
    client.close()
"""
)


def ask(port: int) -> bytes:
    """What the server sends until it closes; b"" for nothing."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        try:
            return client.recv(100)
        except ConnectionResetError:
            return b""


@pytest.fixture
def port() -> int:
    return free_port()


def test_a_stopped_service_gets_its_socket_back_as_it_was(tmp_path: Path, port: int) -> None:
    web = instance("web", SIMPLE, tmp_path, listeners=("web",))
    with Supervised(tmp_path, web, listeners=(Listener("web", f"127.0.0.1:{port}"),)) as supervised:
        supervised.until_ready()
        assert ask(port) == b"served"
        supervised.ask("stop", "web")
        supervised.until(lambda rows: rows["web.1"]["state"] == "stopped", "it has stopped")
        # More than are refused in a turn, and all of them there at once.
        clients = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(100)]
        assert {client.recv(100) for client in clients} == {b""}
        for client in clients:
            client.close()
        supervised.ask("start", "web")
        assert [ask(port) for _ in range(20)] == [b"served"] * 20
        wait_until(
            lambda: supervised.output().count("blocking True") == 2, "both found it blocking", 20, supervised.output
        )
        assert supervised.stop() == 0


def test_a_service_that_is_on_its_way_back_refuses_nobody(tmp_path: Path, port: int) -> None:
    """Its clients wait, as after any crash: here until somebody starts it over while it waits for its next try."""
    policy = RestartPolicy(first_s=3600, max_s=3600, early_crashes=100, crashes=100)
    code = f"""
import os, socket, sys
if not os.path.exists({str(tmp_path / "good")!r}):
    sys.exit(1)
socket.socket(fileno=3).accept()[0].sendall(b"served")
"""
    web = instance("web", python(code), tmp_path, listeners=("web",), restart=policy)
    with Supervised(tmp_path, web, listeners=(Listener("web", f"127.0.0.1:{port}"),)) as supervised:
        supervised.until(lambda rows: rows and rows["web.1"]["retry_in_s"], "it waits for its next try")
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            (tmp_path / "good").touch()
            supervised.ask("start", "web")
            assert client.recv(100) == b"served"


def test_a_stop_of_the_whole_is_none_by_hand(tmp_path: Path, port: int) -> None:
    """Whoever waits then is served by the next whalefall, where a service manager holds the socket."""
    deaf = python("import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf'); time.sleep(3600)")
    web = instance("web", python("import time; time.sleep(3600)"), tmp_path, listeners=("web",))
    slow = instance("slow", deaf, tmp_path, stop=StopPolicy(grace_s=15))
    with Supervised(tmp_path, web, slow, listeners=(Listener("web", f"127.0.0.1:{port}"),)) as supervised:
        supervised.until_said("| deaf")
        supervised.until_ready()
        os.kill(supervised.pid, signal.SIGTERM)
        supervised.until(lambda rows: rows["web.1"]["state"] == "stopped", "web is down, and slow is not")
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            for _ in range(3):
                supervised.ask("status")  # a turn in which it would have been refused
            client.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.recv(100)
        os.kill(supervised.pid, signal.SIGTERM)  # a second one kills
        assert supervised.wait() == 137
