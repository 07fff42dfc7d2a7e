"""What services say, as PID 1 takes it in: real datagrams, and never more of them than one turn may cost."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from whalefall.supervisor.edge.notify import _MESSAGES_MAX, Mailbox


@pytest.fixture
def mailbox(tmp_path: Path) -> Iterator[Mailbox]:
    box = Mailbox(str(tmp_path / "notify.sock"))
    yield box
    box.close()


def test_a_message_has_its_senders_pid_and_its_lines(mailbox: Mailbox) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
        service.sendto(b"READY=1\nSTATUS=well", str(mailbox.path))
    assert list(mailbox.take()) == [(os.getpid(), ["READY=1", "STATUS=well"])]
    assert list(mailbox.take()) == []


def test_a_service_that_floods_us_gets_its_turn_and_no_more(mailbox: Mailbox) -> None:
    """Each message that is taken makes room for the next one: read until there is none, this turn would never end."""
    taken = 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
        service.sendto(b"WATCHDOG=1", str(mailbox.path))
        for _ in mailbox.take():
            taken += 1
            assert taken <= _MESSAGES_MAX
            service.sendto(b"WATCHDOG=1", str(mailbox.path))
    assert taken == _MESSAGES_MAX
    assert len(list(mailbox.take())) == 1, "what has come meanwhile is next turn's"
