"""Receivers that take a notice and never answer, through the real serve: no job waits for them, and no stop."""

import contextlib
import sqlite3
import threading
from pathlib import Path
from typing import Any

from tests.support.deployment import Deployment
from tests.support.receivers import Hooks, silent_port
from tests.support.waiting import wait_until

APPLICATION = '''
from flask import Flask
from whalefall import Scheduler
from whalefall.app import install

app = Flask(__name__)
scheduler = Scheduler(app)


@scheduler.task("interval", id="fails", seconds=1)
def fails() -> None:
    raise ValueError("as it was told to")


@scheduler.task("interval", id="tick", seconds=1)
def tick() -> None:
    """Would be skipped as late, or not run at all, if anything held up the loop, a thread or the ledger."""


install(app)
'''


def rows(site: Deployment, query: str, *values: Any) -> list[tuple[Any, ...]]:
    path = f"file:{site.directory}/var/whalefall.db?mode=ro"
    with contextlib.closing(sqlite3.connect(path, uri=True)) as ledger:
        return ledger.execute(query, values).fetchall()


def tries_under_way(site: Deployment) -> list[tuple[Any, ...]]:
    """Notice, channel and number of each try that has not come back."""
    return rows(site, "SELECT notice_id, channel, attempts FROM wf_delivery WHERE state = 'sending' ORDER BY 1, 2")


def test_jobs_fire_on_while_both_receivers_hang(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(APPLICATION)
    let_go = threading.Event()
    mail = {"NOTIFY_MAIL_FROM": "jobs@shop.example", "NOTIFY_MAIL_TO": "oncall@shop.example"}
    with silent_port() as port, Hooks(lambda _handler: let_go.wait(300) and None) as hooks:
        environ = {"NOTIFY_WEBHOOK_URL": hooks.url, "SMTP_URL": f"smtp://127.0.0.1:{port}", "NGINX_BINARY": ""}
        with Deployment(tmp_path, "shop:app", **environ, **mail) as site:
            site.until_ready()
            seen: list[tuple[Any, ...]] = []
            since = ""

            def jobs_ran_while_one_try_hung() -> bool:
                nonlocal seen, since
                tries = tries_under_way(site)
                if len(tries) < 2 or tries != seen:  # a try is given up after 20 s: then the next one must do
                    [(since,)] = rows(site, "SELECT strftime('%Y-%m-%d %H:%M:%f000', 'now')")
                    seen = tries
                    return False
                ran = "SELECT job_id, state, count(*) FROM wf_run WHERE scheduled_at > ? GROUP BY 1, 2"
                counts = {(job_id, state): count for job_id, state, count in rows(site, ran, since)}
                return all(counts.get(kind, 0) >= 4 for kind in (("tick", "succeeded"), ("fails", "failed")))

            wait_until(jobs_ran_while_one_try_hung, "four fires happen within one try", 240, site.story)
            assert {channel for _, channel, _ in seen} == {"webhook", "mail"}
            assert site.get("/api/v1/health/basic").status_code == 200
            assert site.stop() == 0, "and the stop waits for them no longer than a moment"
        let_go.set()
