"""A reload whose moment is bad: while everything is leaving, or with a planner that leaves somebody behind."""

import os
import signal
from pathlib import Path

from tests.support.supervised import Supervised, free_port, instance, python
from tests.support.waiting import wait_until
from whalefall.plan import Command, Listener

SLEEPER = python("import time; time.sleep(3600)")


def test_a_plan_that_comes_while_we_are_leaving_takes_no_listener_away(tmp_path: Path) -> None:
    flag = tmp_path / "go"
    text = f"until [ -e {flag} ]; do sleep 0.05; done; echo '{{\"instances\": []}}'"
    planner = Command(("sh", "-c", text), str(tmp_path), {"PATH": os.environ["PATH"]})
    web = instance("web", SLEEPER, tmp_path, listeners=("web",))
    listeners = (Listener("web", f"127.0.0.1:{free_port()}"),)
    with Supervised(tmp_path, web, listeners=listeners, replan=planner, drain_delay_s=3600.0) as supervised:
        pid = supervised.until_ready()["web.1"]["pid"]
        os.kill(supervised.pid, signal.SIGHUP)
        supervised.ask("status")  # the turn of the signal is over
        os.kill(supervised.pid, signal.SIGTERM)
        supervised.until_said("still serving")
        flag.touch()
        supervised.until_said("whalefall is stopping")
        os.kill(pid, signal.SIGKILL)
        supervised.until(lambda rows: rows and rows["web.1"]["pid"] not in (None, pid), "it is mended on its listener")
        os.kill(supervised.pid, signal.SIGTERM)
        assert supervised.process is not None
        assert supervised.process.wait(20) == 0


def test_a_planner_that_leaves_somebody_on_its_output_does_not_freeze_us(tmp_path: Path) -> None:
    planner = Command(("sh", "-c", "sleep 600 & echo no; exit 2"), str(tmp_path), {"PATH": os.environ["PATH"]})
    with Supervised(tmp_path, instance("a", SLEEPER, tmp_path), replan=planner) as supervised:
        supervised.until_ready()
        os.kill(supervised.pid, signal.SIGHUP)
        wait_until(lambda: "exited with code 2: no" in supervised.output(), "it is refused", 20)
        assert supervised.rows()["a.1"]["state"] == "ready"
