"""Chunks, lines and tails: whatever is fed, nothing is lost, torn or kept for ever."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whalefall.supervisor.core.lines import LINE_BYTES_MAX, Lines, prefixed
from whalefall.supervisor.core.tail import TAIL_BYTES_MAX, Tail, last_error, last_words

_chunks = st.lists(st.binary(max_size=50) | st.sampled_from([b"\n", b"a\n", b"\n\n", b"x"]), max_size=20)


@given(_chunks)
def test_every_byte_comes_out_in_order_and_only_whole_lines_before_the_end(chunks: list[bytes]) -> None:
    lines = Lines()
    out = [lines.feed(chunk) for chunk in chunks]
    assert all(not piece or piece.endswith(b"\n") for piece in out)
    whole = b"".join(chunks)
    rest = b"" if whole.endswith(b"\n") or not whole else b"\n"
    assert b"".join(out) + lines.flush() == whole + rest


def test_a_line_without_end_is_passed_on_in_pieces() -> None:
    lines = Lines()
    pieces = [lines.feed(b"z" * 65_536) for _ in range(40)]
    said = [piece for piece in pieces if piece]
    assert len(said) == 2
    assert all(len(piece) == LINE_BYTES_MAX + 1 for piece in said)


@given(st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), min_size=1, max_size=10))
def test_every_line_gets_the_prefix_once(lines: list[bytes]) -> None:
    out = prefixed(b"".join(line + b"\n" for line in lines), b"web | ")
    assert out.split(b"\n")[:-1] == [b"web | " + line for line in lines]


def test_nothing_stays_nothing() -> None:
    assert prefixed(b"", b"web | ") == b""


@given(st.lists(st.binary(min_size=1, max_size=30_000), max_size=30))
def test_a_tail_keeps_the_end_and_stays_small(chunks: list[bytes]) -> None:
    tail = Tail()
    for chunk in chunks:
        tail.add("web.1#1", chunk.replace(b"\n", b"") + b"end\n")
        assert tail.size <= 2 * TAIL_BYTES_MAX
        assert tail.last(1)[0].endswith("end") or len(tail.last(1)[0]) >= 4_000


def test_a_tail_tells_lives_apart() -> None:
    tail = Tail()
    tail.add("web.1#1", b"old\n")
    tail.add("web.1#2", b"new\nnewer\n")
    assert tail.last(10) == ["old", "new", "newer"]
    assert tail.last(10, "web.1#1") == ["old"]
    assert tail.last(1, "web.1#2") == ["newer"]
    assert tail.last(0) == []


REASON = [
    "[2026-11-29 16:05:11 +0000] [26154] [INFO] Booting worker with pid: 26155",
    "[2026-11-29 16:05:11 +0000] [26155] [ERROR] Exception in worker process",
    "Traceback (most recent call last):",
    '  File "/srv/shop.py", line 2, in <module>',
    "    import stripe",
    "ModuleNotFoundError: No module named 'stripe'",
    "No module named 'stripe'",
]
CLOSING = [
    "[2026-11-29 16:05:11 +0000] [26155] [INFO] Worker exiting (pid: 26155)",
    "[2026-11-29 16:05:13 +0000] [26154] [ERROR] Worker (pid:26155) exited with code 3.",
    "[2026-11-29 16:05:13 +0000] [26154] [INFO] Worker (pid:26156) was sent SIGTERM!",
    "[2026-11-29 16:05:14 +0000] [26154] [ERROR] Shutting down: Master",
    "[2026-11-29 16:05:14 +0000] [26154] [ERROR] Reason: Worker failed to boot.",
]
STUMBLE = [
    *CLOSING[:2],
    "Traceback (most recent call last):",
    '  File "/srv/gunicorn/arbiter.py", line 299, in handle_chld',
    "gunicorn.errors.HaltServer: <HaltServer 'Worker failed to boot.' 3>",
    "During handling of the above exception, another exception occurred:",
    "Traceback (most recent call last):",
    '  File "<frozen runpy>", line 198, in _run_module_as_main',
    "gunicorn.errors.HaltServer: <HaltServer 'Worker failed to boot.' 3>",
]
CHAINED = [
    "Traceback (most recent call last):",
    "KeyError: 'a'",
    "",
    "During handling of …, another exception occurred:",
]


def test_gunicorns_words_about_its_own_end_are_not_the_reason() -> None:
    assert last_words([*REASON, *CLOSING]) == REASON
    assert last_words([*REASON, *STUMBLE]) == last_words([*REASON, *STUMBLE, *CLOSING]) == REASON
    assert last_words(CLOSING) == CLOSING, "better than nothing"
    assert last_words(STUMBLE[-1:]) == STUMBLE[-1:]
    assert last_words([]) == []


def test_what_gunicorn_tells_of_a_kill_is_the_reason() -> None:
    killed = "[2026-11-29 16:05:13 +0000] [26154] [ERROR] Worker (pid:26155) was sent SIGKILL! Perhaps out of memory?"
    assert last_words([*REASON, killed, *CLOSING])[-1] == killed


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (REASON, "ModuleNotFoundError: No module named 'stripe'"),
        ([*REASON, CLOSING[0], REASON[-1]], "ModuleNotFoundError: No module named 'stripe'"),
        ([*CHAINED, *REASON[2:]], "ModuleNotFoundError: No module named 'stripe'"),
        (
            ["Traceback (most recent call last):", "  File …", "OSError: no server", "\tIs it up?", "(See …)"],
            "OSError: no server",
        ),
        (["Traceback (most recent call last):", "  File …"], ""),
        (["done"], ""),
        ([], ""),
    ],
)
def test_the_exception_at_the_end_is_found(lines: list[str], error: str) -> None:
    assert last_error(lines) == error


@pytest.mark.parametrize("later", [["2026-11-29 16:06:00 went on"], ["INFO:root:went on"], ["went on"] * 20])
def test_an_exception_that_was_lived_through_is_not_the_last_error(later: list[str]) -> None:
    assert last_error([*REASON, *later]) == ""
