"""Tables for people."""

import pytest

from whalefall.cli.tables import columns, dossier, duration, status


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (4.9, "4s"), (60, "1m00s"), (192, "3m12s"), (3600, "1h00m"), (18_180, "5h03m"), (187_200, "2d04h")],
)
def test_a_duration_has_two_units_at_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert columns([("A", "B"), ("long", "x")]) == ["A     B", "long  x"]


def test_a_worker_has_what_its_gunicorn_says_of_it() -> None:
    supervisor = {"version": "1", "pid": 7, "state": "running", "uptime_s": 61}
    process = {"pid": 12, "age_s": 5, "memory_bytes": 0, "cpu_percent": 0}
    silent = process | {"pid": 13, "worker": 1, "heartbeat_age_s": 3.21, "aborted": False}
    aborted = silent | {"pid": 14, "aborted": True}
    told = status({"supervisor": supervisor, "instances": [ROW | {"processes": [process, silent, aborted]}]})
    assert "last sign of life 3.2 s ago" in told
    assert "aborted by its master" in told


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
        {**ROW, "name": "s.1", "state": "starting", "reason": "exited with code 1", "last_exit": "exited with code 1"},
    ]
    supervisor = {"version": "1", "pid": 7, "state": "running", "uptime_s": 61}
    assert status({"supervisor": supervisor, "instances": rows}).splitlines() == [
        "whalefall 1 (pid 7), running for 1m01s",
        "NAME   STATE     PID  UPTIME  RESTARTS  MEMORY  CPU  MORE",
        "web.1  ready     12   5s      0         -       -",
        "x.1    backoff   -    -       3         -       -    next try in 1.2 s; last: exited with code 1",
        "n.1    waiting   -    -       0         -       -    waits for web",
        "s.1    starting  12   5s      0         -       -    exited with code 1",
    ]


def test_workers_stand_below_their_leader() -> None:
    leader = {"pid": 12, "age_s": 5, "memory_bytes": 31_457_280, "cpu_percent": 0.4}
    workers = [{"pid": pid, "age_s": 4, "memory_bytes": 62_914_560, "cpu_percent": 12.0} for pid in (13, 14)]
    supervisor = {"version": "1", "pid": 7, "state": "running", "uptime_s": 61}
    rows = [{**ROW, "processes": [leader, *workers]}]
    assert status({"supervisor": supervisor, "instances": rows}).splitlines()[1:] == [
        "NAME        STATE  PID  UPTIME  RESTARTS  MEMORY  CPU     MORE",
        "web.1       ready  12   5s      0         30 MB   0.4 %",
        " ├─ worker         13   4s                60 MB   12.0 %",
        " └─ worker         14   4s                60 MB   12.0 %",
    ]


def test_a_crash_report_reads_as_a_story() -> None:
    found = {
        "at": 0.0, "what": "web.1 exited with code 3 1.5 s after its start", "generation": 4, "pid": 99,
        "ready_after_s": None, "ran_for_s": 1.5, "crashes": "crash 2 of 5 in 60 s", "peak_memory_bytes": 52_428_800,
        "out_of_memory_kills": 1, "last_probe": "GET / answered 503", "lines": ["Traceback", "ImportError: shop"],
    }  # fmt: skip
    assert dossier(found).splitlines()[1:] == [
        "  generation 4, pid 99, never ready, ran for 1.5 s",
        "  crash 2 of 5 in 60 s; peak memory of its leader 50 MB",
        "  the kernel killed 1 process(es) of this group for memory meanwhile",
        "  last probe: GET / answered 503",
        "  its last 2 lines:",
        "    | Traceback",
        "    | ImportError: shop",
    ]
