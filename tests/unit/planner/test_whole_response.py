"""What leaves a Gunicorn worker in one piece, seen on a socket that keeps the borders of each send."""

import socket
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from gunicorn.config import Config
from gunicorn.http import wsgi

from whalefall.planner.whole_response import WholeResponse

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        theirs.setblocking(False)
        yield ours, theirs


def response(pair: Pair, kind: type, method: str = "GET", length: int | None = 5) -> wsgi.Response:
    request = SimpleNamespace(method=method, version=(1, 1), should_close=lambda: False, headers=[])
    made = kind(request, pair[0], Config())
    made.start_response("200 OK", [] if length is None else [("Content-Length", str(length))])
    return made


def sent(pair: Pair) -> list[bytes]:
    pieces = []
    while True:
        try:
            pieces.append(pair[1].recv(65_536))
        except BlockingIOError:
            return pieces


def test_gunicorn_itself_sends_the_head_apart(pair: Pair) -> None:
    made = response(pair, wsgi.Response)
    made.write(b"hello")
    made.close()
    assert len(sent(pair)) == 2, "Gunicorn has learnt it; whole_response.py can go"


def test_head_and_body_leave_in_one_send(pair: Pair) -> None:
    made = response(pair, WholeResponse)
    made.write(b"hello")
    made.close()
    (whole,) = sent(pair)
    assert whole.startswith(b"HTTP/1.1 200 OK\r\n")
    assert whole.endswith(b"\r\n\r\nhello")


@pytest.mark.parametrize(("method", "length"), [("HEAD", 5), ("GET", 0)])
def test_an_answer_without_a_body_is_sent_at_its_end(pair: Pair, method: str, length: int) -> None:
    made = response(pair, WholeResponse, method, length)
    made.close()
    assert [piece.endswith(b"\r\n\r\n") for piece in sent(pair)] == [True]


def test_a_stream_flows(pair: Pair) -> None:
    made = response(pair, WholeResponse, length=None)
    for piece in (b"one", b"two"):
        made.write(piece)
        assert piece in b"".join(sent(pair)), "each piece leaves when it is written"
    made.close()
    assert sent(pair) == [b"0\r\n\r\n"]


def test_a_file_comes_behind_its_head(pair: Pair, tmp_path) -> None:
    (tmp_path / "file").write_bytes(b"hello")
    made = response(pair, WholeResponse)
    with (tmp_path / "file").open("rb") as file:
        made.write_file(wsgi.FileWrapper(file))
    made.close()
    assert b"".join(sent(pair)).endswith(b"\r\n\r\nhello")
