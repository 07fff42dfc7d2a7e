"""A run in a process of its own, inside a container: where PID 1 is ours and there is nobody else to inherit it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.container.engine import IMAGE, Container
from tests.support.waiting import wait_until

APP = """
import os
import time
from pathlib import Path

from flask import Flask

from whalefall import Scheduler, current_run

PLACE = Path(os.environ["DATA_DIR"])
app = Flask("yard")
app.config["SECRET_KEY"] = os.environ.get("SECRET_KEY")
scheduler = Scheduler(app)


@app.get("/")
def home() -> str:
    return "yard"


def record(what: str) -> None:
    with (PLACE / "record").open("a") as file:
        file.write(f"{what} {current_run.run_id} {current_run.attempt} {os.getpid()}\\n")


@scheduler.task("cron", id="steps", month=1, day=1, executor="process")
def steps() -> str:
    record("start")
    print("begun", flush=True)
    while not (PLACE / "end").exists():
        time.sleep(0.02)
    record("end")
    return "all steps"


@scheduler.task("cron", id="stubborn", month=1, day=1, executor="process")
def stubborn() -> None:
    record("start")
    try:
        time.sleep(600)
    finally:
        record("finally")
"""
PROCFILE = "nginx: whalefall nginx\nweb: whalefall web yard:app\nscheduler: whalefall scheduler yard:app\n"
_WITHIN_S = 60.0


@pytest.fixture
def yard(image: str, tmp_path: Path) -> Iterator[Container]:
    (tmp_path / "yard.py").write_text(APP)
    (tmp_path / "Procfile").write_text(PROCFILE)
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(0o755)  # the image's user is not ours
    with Container("--volume", f"{tmp_path}:/app:ro", image=IMAGE) as container:
        yield container.until_ready()


def shell(container: Container, *words: str) -> str:
    return container.run("whalefall", *words).stdout.strip()


def recorded(container: Container) -> list[list[str]]:
    """What the jobs wrote outside the ledger."""
    found = container.run("sh", "-c", 'cat "$DATA_DIR/record" 2>/dev/null || true').stdout
    return [line.split() for line in found.splitlines()]


def begin(container: Container, job_id: str) -> tuple[str, psutil.Process]:
    """A run that has begun, and its process as this host sees it."""
    run_id = json.loads(shell(container, "jobs", "run", job_id, "--json"))["run_id"]
    within(container, lambda: recorded(container), f"{job_id} has begun")
    [(what, run, attempt, pid)] = recorded(container)
    assert (what, run, attempt) == ("start", run_id, "1")
    return run_id, container.host_pid(int(pid))


def within(container: Container, condition: Callable[[], object], what: str) -> None:
    wait_until(condition, what, _WITHIN_S, container.logs)


def ended(container: Container, job_id: str) -> str:
    """The line of its history, once it has ended."""

    def line() -> str:
        last = shell(container, "jobs", "history", job_id).splitlines()[-1]
        return "" if " running " in last or " queued " in last else last

    within(container, line, f"{job_id} has ended")
    return line()


def killed(container: Container) -> None:
    container.kill(container.rows()["scheduler.1"]["pid"])


def reloaded(container: Container) -> None:
    container.run("whalefall", "reload", "scheduler")


@pytest.mark.parametrize("replace", [reloaded, killed])
def test_it_goes_on_while_its_scheduler_is_replaced(replace: Callable[[Container], None], yard: Container) -> None:
    run_id, process = begin(yard, "steps")
    before = yard.rows()["scheduler.1"]["pid"]
    replace(yard)

    def back() -> bool:
        row = yard.rows().get("scheduler.1", {})
        return row.get("state") == "ready" and row["pid"] != before

    within(yard, back, "another scheduler is ready")
    assert process.is_running()
    yard.run("sh", "-c", 'touch "$DATA_DIR/end"')
    line = ended(yard, "steps")
    assert " succeeded " in line
    assert [(what, run, attempt) for what, run, attempt, _ in recorded(yard)] == [
        ("start", run_id, "1"),
        ("end", run_id, "1"),
    ], "executed once"
    assert shell(yard, "ledger", "verify").endswith("each is on record exactly once.")


def test_a_stop_ends_it_with_its_finally_and_names_it(yard: Container) -> None:
    run_id, process = begin(yard, "stubborn")
    assert yard.stop(20) == 0
    assert not process.is_running()
    assert f"run {run_id} was cut off by the stop; it is lost now" in yard.logs()


def test_a_supervisor_that_is_killed_takes_it_along(yard: Container) -> None:
    _, process = begin(yard, "stubborn")
    yard.kill(1)
    yard.until_exited()
    wait_until(lambda: not process.is_running(), "the run's process is gone", 10)
