"""A run in a process of its own belongs to no scheduler: it goes on while one replaces another, and ends with us."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.databases import *  # noqa: F403 - fixtures are found by their names
from tests.support.deployment import Deployment
from tests.support.flaskapp import make_app
from tests.support.supervised import alive
from tests.support.waiting import wait_until
from whalefall import Scheduler
from whalefall import scheduler as scheduling
from whalefall.control.client import ask
from whalefall.control.protocol import Request
from whalefall.scheduler import JobAdmin, RunView

_WITHIN_S = 60.0  # a generation of Gunicorn with its application starts in seconds, on a busy machine in tens of them


class Site:
    """A whalefall with the application beside this file, and a view into its ledger from outside."""

    def __init__(self, deployment: Deployment, admin: JobAdmin) -> None:
        self.deployment, self.admin, self.place = deployment, admin, deployment.directory

    def run(self, job_id: str) -> str:
        """A run that has begun."""
        run_id = self.admin.run_now(job_id, actor="ada")
        self.until(lambda: self.recorded("start", run_id), f"{job_id} has begun")
        return run_id

    def recorded(self, what: str, run_id: str) -> list[tuple[int, int]]:
        """(attempt, pid) of each time that the job itself wrote `what`."""
        path = self.place / "record"
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [(int(line[2]), int(line[3])) for line in lines if line[:2] == [what, run_id]]

    def pid(self, run_id: str) -> int:
        """Of its one process."""
        ((attempt, pid),) = self.recorded("start", run_id)
        assert attempt == 1
        return pid

    def tell(self, *words: str) -> None:
        """To the job `steps`."""
        with (self.place / "told").open("a") as file:
            file.write("".join(f"{word}\n" for word in words))

    def view(self, run_id: str) -> RunView:
        return self.admin.get_run(run_id)

    def ended(self, run_id: str) -> RunView:
        self.until(lambda: self.view(run_id).state not in ("queued", "running"), f"{run_id} has ended")
        return self.view(run_id)

    def until(self, condition: Callable[[], object], what: str) -> None:
        wait_until(condition, what, _WITHIN_S, self.explain)

    def explain(self) -> str:
        return f"{self.admin.list_runs().runs}\n{self.deployment.output()}"

    def until_led_anew(self, term: int) -> None:
        self.until(lambda: (h := self.admin.health()).term > term and h.leader, "a scheduler leads in a later term")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    opened = []

    def starter(database_url: str, **environ: str) -> Site:
        deployment = Deployment(
            tmp_path,
            *("-c", "scheduler=1"),
            WHALEFALL_APP="tests.integration.handover_app:app",
            DATABASE_URL=database_url,
            HANDOVER_PLACE=str(tmp_path),
            **environ,
        )
        state = scheduling.of(make_app(database_url, Scheduler()))
        opened.append((deployment, state))
        site = Site(deployment.start().until_ready(), state.admin)
        site.until(lambda: state.admin.health().leader and state.admin.list_jobs(), "it leads, and has its jobs")
        return site

    yield starter
    for deployment, state in opened:
        deployment.__exit__()
        state.ledger.engine.dispose()


def reload(site: Site) -> None:
    done = site.deployment.whalefall("reload", "scheduler")
    assert done.returncode == 0, done


def kill(site: Site) -> None:
    """The whole generation at once, as by a kernel that is out of memory."""
    for process in [psutil.Process(site.deployment.master("scheduler"))]:
        for each in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):  # it went with its master
                each.kill()


@pytest.mark.parametrize("replace", [reload, kill])
def test_it_goes_on_while_its_scheduler_is_replaced(
    replace: Callable[[Site], None], start: Callable[..., Site], database_url: str
) -> None:
    site = start(database_url)
    run_id = site.run("steps")
    pid, master, term = site.pid(run_id), site.deployment.master("scheduler"), site.admin.health().term
    site.tell("before")
    site.until(lambda: site.view(run_id).progress_text == "before", "its progress is in the ledger")

    replace(site)
    site.deployment.until_replaced("scheduler", master)
    site.tell("between")
    site.until_led_anew(term)
    assert alive(pid)
    site.until(lambda: "step between" in site.view(run_id).output, "its output goes on")
    assert site.view(run_id).state == "running"

    site.tell("end")
    run = site.ended(run_id)
    assert (run.state, run.attempt, run.progress_text) == ("succeeded", 1, "end")
    assert run.output == "step before\nstep between\nstep end\nreturned 3 steps\n"
    assert site.recorded("start", run_id) == site.recorded("end", run_id) == [(1, pid)], "executed once"
    site.until(lambda: not list((site.deployment.run_dir / "runs").glob("*/*.1")), "its directory is gone")


def test_what_ended_while_no_scheduler_lived_is_recorded_by_the_next(
    start: Callable[..., Site], sqlite_url: str
) -> None:
    site = start(sqlite_url)
    run_id = site.run("steps")
    scheduler = psutil.Process(site.deployment.master("scheduler"))
    for process in (scheduler, *scheduler.children(recursive=True)):
        process.suspend()
    site.tell("end")
    site.until(lambda: site.recorded("end", run_id) and not alive(site.pid(run_id)), "the run has ended, unseen")
    assert site.view(run_id).state == "running"
    kill(site)
    run = site.ended(run_id)
    assert (run.state, run.attempt, run.output) == ("succeeded", 1, "step end\nreturned 1 steps\n")


def test_a_scheduler_that_did_not_start_it_can_cancel_it(start: Callable[..., Site], sqlite_url: str) -> None:
    site = start(sqlite_url)
    run_id = site.run("stubborn")
    minder = psutil.Process(site.pid(run_id)).parent()
    assert minder is not None
    tree = minder.children(recursive=True)
    master, term = site.deployment.master("scheduler"), site.admin.health().term
    kill(site)
    site.deployment.until_replaced("scheduler", master)
    site.until_led_anew(term)
    site.admin.cancel_run(run_id, actor="bob")
    run = site.ended(run_id)
    assert (run.state, run.reason) == ("cancelled", "cancelled by bob while it ran")
    assert len(site.recorded("finally", run_id)) == 1
    wait_until(lambda: not any(process.is_running() for process in tree), "it is gone with all that it had started")


def test_a_cancel_while_no_scheduler_lives_is_done_by_the_next(start: Callable[..., Site], sqlite_url: str) -> None:
    """Asked for by a process that only reaches the ledger, as the command line does."""
    site = start(sqlite_url)
    run_id = site.run("stubborn")
    scheduler = psutil.Process(site.deployment.master("scheduler"))
    for process in (scheduler, *scheduler.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # a helper that has just ended
            process.suspend()
    site.admin.cancel_run(run_id, actor="bob")
    assert site.view(run_id).cancel_requested
    assert site.view(run_id).state == "running"
    kill(site)
    run = site.ended(run_id)
    assert (run.state, run.reason) == ("cancelled", "cancelled by bob while it ran")
    assert len(site.recorded("start", run_id)) == len(site.recorded("finally", run_id)) == 1


def test_its_limit_counts_from_its_own_beginning(start: Callable[..., Site], sqlite_url: str) -> None:
    site = start(sqlite_url)
    run_id = site.run("limited")
    kill(site)
    run = site.ended(run_id)
    assert (run.state, run.attempt) == ("timed_out", 1)
    assert run.error == "ended after its limit of 12 s\n"
    assert "in limited" in run.output, "where it was"
    assert run.duration_s is not None
    assert run.duration_s >= 12


def test_a_process_that_vanished_with_its_minder_is_lost_and_not_run_again(
    start: Callable[..., Site], sqlite_url: str
) -> None:
    site = start(sqlite_url)
    run_id = site.run("stubborn")
    minder = psutil.Process(site.pid(run_id)).parent()
    assert minder is not None
    minder.kill()
    run = site.ended(run_id)
    assert (run.state, run.reason) == ("lost", "lost: its process vanished, and whoever minded it")
    assert len(site.recorded("start", run_id)) == 1
    wait_until(lambda: not alive(site.pid(run_id)), "the process died with its minder")


def test_it_holds_nothing_of_its_scheduler(start: Callable[..., Site], sqlite_url: str) -> None:
    """A socket would keep the port, the lock would keep the next scheduler from starting."""
    site = start(sqlite_url)
    run_id = site.run("steps")
    process = psutil.Process(site.pid(run_id))
    minder = process.parent()
    assert minder is not None
    assert minder.ppid() == site.deployment.pid, "the supervisor has adopted it"
    scheduler = site.deployment.master("scheduler")
    for each in (process, minder):
        assert os.getsid(each.pid) not in (os.getsid(scheduler), scheduler)
        environ = each.environ()
        assert environ["WHALEFALL_LIFE"] == f"run#{run_id}"
        assert not {"LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET"} & set(environ)
        targets = [str(path.readlink()) for path in Path(f"/proc/{each.pid}/fd").iterdir()]
        assert not [target for target in targets if "scheduler.lock" in target or target.startswith("socket:")]


def test_a_whole_stop_waits_for_it_and_names_what_it_cut_off(start: Callable[..., Site], sqlite_url: str) -> None:
    site = start(sqlite_url)
    run_ids = [site.run("stubborn"), site.run("thread")]
    assert site.deployment.stop() == 0, "and leaves no process"
    for run_id in run_ids:
        run = site.view(run_id)
        assert run.state == "lost"
        assert "stopped and could not wait longer than" in run.reason
        assert f"run {run_id} was cut off by the stop; it is lost now" in site.deployment.output()
    assert len(site.recorded("finally", run_ids[0])) == 1, "it was asked before it was ended"
    site.deployment.start().until_ready()
    site.until(
        lambda: "the last stop cut off 2 runs" in site.deployment.output(), "the next start reports what was cut off"
    )


def test_a_supervisor_that_is_killed_leaves_no_run_behind(start: Callable[..., Site], sqlite_url: str) -> None:
    site = start(sqlite_url)
    run_id = site.run("stubborn")
    tree = site.deployment.tree()
    assert psutil.Process(site.pid(run_id)) in tree
    os.kill(site.deployment.pid, signal.SIGKILL)
    wait_until(lambda: not [p for p in tree if alive(p.pid)], "everything is gone", 30, lambda: str(tree))


def test_a_thread_is_waited_for_at_a_reload(start: Callable[..., Site], sqlite_url: str) -> None:
    site = start(sqlite_url, GRACE="60")
    run_id, master = site.run("thread"), site.deployment.master("scheduler")
    ask(site.deployment.run_dir, Request("reload", "scheduler"))
    site.until(lambda: site.admin.health().leader is None, "the old one has given the lead back, and waits")
    assert alive(master)
    (site.place / "free").touch()
    run = site.ended(run_id)
    assert (run.state, run.attempt) == ("succeeded", 1)
