"""The ledger's database is in trouble while the site serves: pages answer, and jobs fire again by themselves."""

import sqlite3
from pathlib import Path

from tests.integration import scheduled_jobs as jobs
from tests.support.flaskapp import make_app, running
from tests.support.waiting import wait_until
from whalefall import Scheduler

_LONGER_THAN_A_BUSY_TIMEOUT_S = 60.0


def test_a_file_locked_by_another_stops_no_page_and_jobs_fire_again_once_it_is_free(tmp_path: Path) -> None:
    jobs.seen.clear()
    file, scheduler = tmp_path / "ledger.db", Scheduler()
    scheduler.task("interval", id="tick", seconds=1)(jobs.what_is_the_run)
    app = make_app(f"sqlite:///{file}", scheduler)
    app.add_url_rule("/", view_func=lambda: "served")
    with running(app) as state:
        wait_until(lambda: jobs.seen, "it fires", _LONGER_THAN_A_BUSY_TIMEOUT_S)
        other = sqlite3.connect(file, isolation_level=None, timeout=30)
        other.execute("BEGIN EXCLUSIVE")
        wait_until(lambda: not state.admin.health().healthy, "the scheduler is unwell", _LONGER_THAN_A_BUSY_TIMEOUT_S)
        assert app.test_client().get("/").data == b"served"
        other.execute("ROLLBACK")
        other.close()
        before = len(jobs.seen)
        wait_until(lambda: len(jobs.seen) > before, "it fires again", _LONGER_THAN_A_BUSY_TIMEOUT_S)
