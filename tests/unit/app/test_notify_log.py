"""Where nobody configured logging, what the watchman tells is on standard error, once and also when it is over."""

import subprocess
import sys

import pytest

OURS = """
import logging
{before}
from whalefall.app.notify.worker import start_worker
start_worker(lambda environ, start: [])
{after}
logging.getLogger("whalefall.notify").warning("failed: one")
logging.getLogger("whalefall.notify").info("recovered: one")
logging.getLogger("shop").info("not our business")
"""
CONFIGURED = 'logging.basicConfig(level="INFO", format="theirs %(message)s")'


def said(before: str = "", after: str = "") -> list[str]:
    code = OURS.format(before=before, after=after)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return done.stderr.splitlines()


def test_it_is_told_with_its_level_and_nothing_else_becomes_louder() -> None:
    lines = said()
    assert [line.split(" ", 2)[2] for line in lines] == [
        "WARNING whalefall.notify: failed: one",
        "INFO whalefall.notify: recovered: one",
    ]


def test_the_applications_own_logging_is_left_alone() -> None:
    assert said(before=CONFIGURED) == ["theirs failed: one", "theirs recovered: one", "theirs not our business"]


@pytest.mark.parametrize("told", ["failed: one", "recovered: one"])
def test_what_the_application_configures_later_says_nothing_twice(told: str) -> None:
    assert sum(line.endswith(told) for line in said(after=CONFIGURED)) == 1
