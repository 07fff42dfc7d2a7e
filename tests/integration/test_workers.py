"""Gunicorn's workers under a real `serve`: what they die of, and when their master must go with them."""

import contextlib
import json
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.load import Load
from tests.support.shell import Shell, children_of
from tests.support.supervised import ROOT, Supervised, free_port
from tests.support.waiting import wait_until
from whalefall.plan import Command, Instance, Listener, MemoryLimit, Probe
from whalefall.planner.gunicorn import READY_PATH
from whalefall.planner.roles import gunicorn_argv

APPLICATION = """
import os, threading, time

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]

if os.path.exists("dying"):
    threading.Thread(target=lambda: (time.sleep(0.3), os._exit(1))).start()
"""
LEAKING = """
import os

kept = []

def application(environ, start_response):
    kept.append(b"x" * 200_000)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""
LIMIT_BYTES = 100_000_000
PATIENCE_S = 120  # on a busy machine a worker may take seconds to boot


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    shell.environ |= {"NGINX_BINARY": "", "WHALEFALL_APP": "shop:application", "HOME": "/nonexistent"}
    shell.write("Procfile", "web: whalefall web\nother: sleep 3600\n")
    shell.write("shop.py", APPLICATION)
    yield shell
    left = children_of(shell)
    for process in left:
        process.kill()
    assert not left, shell.log()


def rows(shell: Shell) -> dict[str, dict[str, Any]]:
    answer = shell.run("status", "--json")
    return {} if answer.returncode else {row["name"]: row for row in json.loads(answer.stdout)["instances"]}


def until_ready(shell: Shell) -> dict[str, Any]:
    return wait_until(
        lambda: (row := rows(shell).get("web.1", {})).get("state") == "ready" and row, "ready", PATIENCE_S, shell.log
    )


def test_workers_that_die_in_a_loop_exhaust_the_budget_and_the_report_says_so(shell: Shell) -> None:
    shell.write("dying", "")
    shell.write("whalefall.toml", '[services.web]\ncrashes = 2\nearly_crashes = 2\non_give_up = "stop"\n')
    process = shell.start("serve")
    try:
        row = wait_until(
            lambda: (row := rows(shell).get("web.1", {})).get("state") == "failed" and row,
            "failed",
            PATIENCE_S,
            shell.log,
        )
        why = shell.run("why", "web").stdout
    finally:
        process.terminate()
        code = process.wait(30)
    assert row["reason"] == "exited with code 70"
    assert "5 workers have died one after another, none was ready for 10 s" in why
    assert "crash 2 of 2" in why
    assert "giving up; the others go on without it" in shell.log()
    assert code == 0


def test_one_dead_worker_is_replaced_by_its_own_master(shell: Shell) -> None:
    process = shell.start("serve")
    try:
        before = until_ready(shell)
        master = psutil.Process(before["pid"])
        wait_until(lambda: len(master.children()) == 2, "both workers are there")  # one alone makes it ready
        workers = {each.pid for each in master.children()}
        victim = min(workers)
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: len({each["pid"] for each in rows(shell)["web.1"]["processes"]} - workers) == 2, "replaced")
        after = rows(shell)["web.1"]
        table = shell.run("status").stdout
        (socket,) = (shell.directory / "run").glob("web.1#1.gunicorn.ctl")
        mode = stat.S_IMODE(socket.stat().st_mode)
    finally:
        process.terminate()
        code = process.wait(30)
    assert (after["pid"], after["generation"], after["state"]) == (before["pid"], 1, "ready")
    assert victim not in [each["pid"] for each in after["processes"]]
    told = [each for each in after["processes"] if "worker" in each]
    assert len(told) == 2
    assert max(each["worker"] for each in told) == 3, "the third that this master has made"
    assert all(each["heartbeat_age_s"] >= 0 and not each["aborted"] for each in told)
    assert "last sign of life" in table
    assert mode == 0o600
    assert code == 0


def test_leaking_workers_are_recycled_one_at_a_time_and_no_client_notices(tmp_path: Path) -> None:
    """Our Gunicorn on a held socket, under steady load, with a limit that each worker reaches again and again."""
    (tmp_path / "shop.py").write_text(LEAKING)
    port = free_port()
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}:{tmp_path}", "RUN_DIR": str(tmp_path / "run")}
    argv = gunicorn_argv("web", "shop:application", f"127.0.0.1:{port}", grace_s=10)
    limit = MemoryLimit(LIMIT_BYTES, "worker", period_s=0.1, settle_s=0.5)
    web = Instance(
        "web", 1, Command(argv, str(tmp_path), environ), ("web",), ready=Probe("http", path=READY_PATH), memory=limit
    )
    with Supervised(tmp_path, web, listeners=(Listener("web", f"127.0.0.1:{port}"),)) as supervised:
        master = psutil.Process(supervised.until_ready()["web.1"]["pid"])
        seen: set[int] = set()
        heaviest = 0
        with Load(port, ("/",)) as load:

            def six_were_there() -> bool:
                nonlocal seen, heaviest
                workers = master.children()
                seen |= {each.pid for each in workers}
                with contextlib.suppress(psutil.Error):
                    heaviest = max([heaviest, *(each.memory_info().rss for each in workers)])
                assert len(workers) <= 2
                return len(seen) >= 6

            wait_until(
                six_were_there, "six workers came and went", PATIENCE_S, lambda: f"{seen}\n{supervised.output()}"
            )
        row = supervised.rows()["web.1"]
        why = supervised.ask("why", "web", lines=20)["dossiers"]
        assert supervised.stop() == 0
    assert load.failures == []
    assert load.answered > 100
    assert (row["pid"], row["generation"], row["restarts"]) == (master.pid, 1, 0)
    assert heaviest < 3 * LIMIT_BYTES, "it grows on while it is asked to finish, but not for ever"
    assert len(why) >= 4
    assert "more than its limit of 95 MB" in why[0]["what"]
