"""What a run prints is kept, bounded, and nobody else's."""

import logging
import sys

import pytest

from whalefall.scheduler.capture import Capturing
from whalefall.scheduler.output import OUTPUT_MAX, Output


def test_short_text_is_kept_whole() -> None:
    output = Output()
    output.write("one\n")
    output.write("two\n")
    assert output.text() == "one\ntwo\n"


def test_long_text_keeps_its_beginning_and_its_end() -> None:
    output = Output()
    for number in range(100_000):
        output.write(f"line {number}\n")
    text = output.text()
    assert text.startswith("line 0\nline 1\n")
    assert text.endswith("line 99999\n")
    assert "characters left out" in text
    assert len(text) < OUTPUT_MAX + 100


def test_one_huge_write_is_bounded_too() -> None:
    output = Output()
    output.write("x" * 10_000_000)
    assert len(output.text()) < OUTPUT_MAX + 100


def test_a_nul_cannot_break_the_ledger() -> None:
    output = Output()
    output.write("a\0b")
    assert output.text() == "ab"


def test_streams_and_logging_reach_the_current_run_only(capsys: pytest.CaptureFixture[str]) -> None:
    current: list[Output] = []
    capturing = Capturing(lambda: current[-1] if current else None)
    output = Output()
    capturing.install()
    try:
        print("outside")  # noqa: T201 - it is about print
        current.append(output)
        print("inside")  # noqa: T201
        logging.getLogger("a.job").warning("logged %d", 7)
        current.clear()
        print("outside again")  # noqa: T201
    finally:
        capturing.remove()
    assert output.text() == "inside\nWARNING a.job: logged 7\n"
    assert capsys.readouterr().out == "outside\ninside\noutside again\n"


def test_installed_twice_it_is_removed_with_the_last(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout
    capturing = Capturing(lambda: None)
    capturing.install()
    capturing.install()
    capturing.remove()
    assert sys.stdout is not before
    capturing.remove()
    assert sys.stdout is before
