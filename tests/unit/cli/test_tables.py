"""Tables for people."""

import pytest

from whalefall.cli.tables import columns, duration, status


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (4.9, "4s"), (60, "1m00s"), (192, "3m12s"), (3600, "1h00m"), (18_180, "5h03m"), (187_200, "2d04h")],
)
def test_a_duration_has_two_units_at_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert columns([("A", "B"), ("long", "x")]) == ["A     B", "long  x"]


ROW = {
    "name": "web.1",
    "state": "ready",
    "pid": 12,
    "uptime_s": 5.0,
    "restarts": 0,
    "reason": "",
    "retry_in_s": None,
    "last_exit": None,
}


def test_a_status_says_what_one_asks_next() -> None:
    rows = [
        ROW,
        {
            **ROW,
            "name": "x.1",
            "state": "backoff",
            "pid": None,
            "uptime_s": None,
            "restarts": 3,
            "retry_in_s": 1.25,
            "last_exit": "exited with code 1",
        },
        {**ROW, "name": "n.1", "state": "waiting", "pid": None, "uptime_s": None, "reason": "waits for web"},
    ]
    supervisor = {"version": "1", "pid": 7, "state": "running", "uptime_s": 61}
    assert status({"supervisor": supervisor, "instances": rows}).splitlines() == [
        "whalefall 1 (pid 7), running for 1m01s",
        "NAME   STATE    PID  UPTIME  RESTARTS  MORE",
        "web.1  ready    12   5s      0",
        "x.1    backoff  -    -       3         next try in 1.2 s; last: exited with code 1",
        "n.1    waiting  -    -       0         waits for web",
    ]
