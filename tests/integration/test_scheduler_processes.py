"""A process for each run: what a thread cannot give."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.integration import process_app
from tests.support.databases import *  # noqa: F403 - fixtures are found by their names
from tests.support.flaskapp import ended, running
from tests.support.waiting import wait_until
from whalefall import scheduler as scheduling
from whalefall.settings import Settings


@pytest.fixture
def state(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[scheduling.SchedulerState]:
    monkeypatch.setenv("TEST_DATABASE_URL", sqlite_url)
    process_app.app.config["SCHEDULER_DATABASE_URL"] = sqlite_url
    process_app.scheduler.init_app(process_app.app, Settings.load({"ENABLE_SCHEDULER": "true"}))
    with running(process_app.app) as state:
        yield state


def run(state: scheduling.SchedulerState, job_id: str, **args: object) -> scheduling.RunView:
    return ended(state, state.admin.run_now(job_id, actor="ada", args=args or None))


def runs_processes() -> list[psutil.Process]:
    """This process has other children: the session's servers."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has ended meanwhile
            if "whalefall.scheduler.executors.child" in child.cmdline():
                found.append(child)
    return found


def test_it_runs_in_the_apps_context_with_its_output_and_progress(state: scheduling.SchedulerState) -> None:
    view = run(state, "talk")
    assert view.state == "succeeded", view.error
    said, returned = view.output.splitlines()
    assert said == "in shop, attempt 1"
    assert returned.startswith("returned to ")
    assert returned != f"returned to {os.getpid()}", "a process of its own"
    assert view.progress_text == "half"


def test_a_failure_has_its_traceback_and_is_retried(state: scheduling.SchedulerState) -> None:
    view = run(state, "fail")
    assert (view.state, view.attempt) == ("failed", 2)
    assert view.error.endswith("ValueError: no shelf, attempt 2\n")
    assert view.error.startswith(f'Traceback (most recent call last):\n  File "{process_app.__file__}", line ')


def test_a_run_beyond_its_limit_is_ended_with_all_it_started_and_shows_where_it_was(
    state: scheduling.SchedulerState,
) -> None:
    run_id = state.admin.run_now("hang", actor="ada")
    child = wait_until(runs_processes, "its process is there")[0]
    grandchild = wait_until(child.children, "what it started is there")[0]
    view = ended(state, run_id)
    assert view.state == "timed_out"
    assert view.error == "ended after its limit of 1 s\n"
    assert "_deep_inside" in view.output, "the stack at the end of its time"
    wait_until(lambda: not grandchild.is_running(), "what it started is gone")


def test_cancelling_works_and_finally_runs(state: scheduling.SchedulerState, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    run_id = state.admin.run_now("stubborn", actor="ada", args={"path": str(path)})
    wait_until(path.exists, "the job has begun")
    state.admin.cancel_run(run_id, actor="bob")
    view = ended(state, run_id)
    assert (view.state, view.reason) == ("cancelled", "cancelled by bob while it ran")
    assert path.read_text() == "finally"


def test_more_memory_than_allowed_is_an_error_of_the_run(state: scheduling.SchedulerState) -> None:
    view = run(state, "greedy")
    assert view.state == "failed"
    assert "MemoryError" in view.error


def test_a_process_that_is_killed_says_so(state: scheduling.SchedulerState) -> None:
    assert run(state, "die").error.startswith(
        "the run's process was killed by signal 9 (SIGKILL); the kernel does that"
    )


def test_a_process_that_just_leaves_says_so(state: scheduling.SchedulerState) -> None:
    assert "ended with exit code 7 and did not say how the run went" in run(state, "leave").error


def test_at_a_stop_it_is_ended_and_named(state: scheduling.SchedulerState, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    run_id = state.admin.run_now("stubborn", actor="ada", args={"path": str(path)})
    wait_until(lambda: path.exists() and path.read_text(), "the job has begun")
    pid = int(path.read_text())
    state.stop(0.2)
    assert state.admin.get_run(run_id).state == "lost"
    wait_until(lambda: not psutil.pid_exists(pid), "its process is gone")
