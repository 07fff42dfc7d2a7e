"""A trickle of lines gathers in its pipes for a moment, and nobody's last words are lost by it."""

import os
import selectors
from collections.abc import Iterator

import pytest

from whalefall.supervisor.edge.output import KEY, REST_S, Output
from whalefall.supervisor.edge.sink import Sink

LIFE = "web.1#1"


@pytest.fixture
def output() -> Iterator[Output]:
    with selectors.DefaultSelector() as selector:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        found = Output(Sink.on(nowhere, selector), selector)
        found.name_all(["web.1"])
        selector.register(found.speaking, selectors.EVENT_READ, KEY)
        yield found
        for life in list(found.pipes):
            found.close(life)
        found.speaking.close()
        os.close(nowhere)


def turn(output: Output, now: float) -> None:
    """As the loop's, at that moment."""
    for key, _ in output.selector.select(0):
        assert key.data == KEY
        for speaking, _ in output.speaking.select(0):
            output.readable(speaking.data[1])
    for speaking in output.spoke(now):
        output.readable(speaking.data[1])
    output.look_at_the_clock(now)


def resting(output: Output) -> int:
    """A writer whose trickle has just made the output rest."""
    write = output.open(LIFE, "web.1")
    assert write is not None
    for now in (100.0, 100.01):
        os.write(write, b"tick\n")
        turn(output, now)
    assert output.rests_until is not None
    return write


def test_what_comes_alone_is_passed_on_at_once(output: Output) -> None:
    write = output.open(LIFE, "web.1")
    assert write is not None
    for now in (100.0, 101.0):
        os.write(write, b"alone\n")
        turn(output, now)
        assert output.last("web.1", 1) == ["alone"]
        assert output.rests_until is None
    os.close(write)


def test_a_line_said_during_a_rest_waits_for_its_end_and_no_longer(output: Output) -> None:
    write = resting(output)
    os.write(write, b"meanwhile\n")
    turn(output, 100.02)
    assert output.last("web.1", 1) == ["tick"]
    turn(output, 100.01 + REST_S)
    assert output.last("web.1", 1) == ["meanwhile"]
    turn(output, 100.01 + 3 * REST_S)
    assert output.rests_until is None, "nobody has said anything more"
    os.close(write)


def test_what_a_survivor_said_last_during_a_rest_is_not_lost(output: Output) -> None:
    write = resting(output)
    os.write(write, b"last words\nand half a line")
    os.close(write)
    output.close(LIFE)
    assert output.last("web.1", 2) == ["last words", "and half a line"]
