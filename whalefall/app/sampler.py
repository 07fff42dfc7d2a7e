"""A thread in each serving process: samples the supervised processes for the dashboard, and forgets what is old.

It works in every application that has the pages, and also while the scheduler is dead: that is when people look. The
database lets one process write each slot of time.
"""

import logging
import os
import socket
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from whalefall.app import access, processes
from whalefall.app.jobs import SAMPLES_KEPT, look_at_host
from whalefall.app.state import app_state
from whalefall.app.store import audit, process_samples, samples, sessions
from whalefall.app.store.engine import engine
from whalefall.errors import ControlError, WhalefallError

log = logging.getLogger(__name__)

SLOT = timedelta(seconds=30)
_KEPT = timedelta(hours=6)  # the dashboard shows the last one
_KEY = "whalefall_sampler"


def init_sampler(app: Flask) -> None:
    """Starts with the first request of a process, thus after every fork; only in a server that stays."""
    if "gunicorn" in os.environ.get("SERVER_SOFTWARE", ""):
        app.extensions[_KEY] = sampler = Sampler(app)
        app.before_request(sampler.start_once)


def stop(app: Flask) -> None:
    """Ends the thread, if there is one."""
    if sampler := app.extensions.get(_KEY):
        sampler.stop()


class Sampler:
    """The thread of one application in one process."""

    def __init__(self, app: Flask) -> None:
        self._app, self._pid = app, 0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start_once(self) -> None:
        """A thread does not survive a fork, so the process counts."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._thread = threading.Thread(target=self._run, name="wf-sampler", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread:
            self._thread.join()

    def _run(self) -> None:
        slot_s = SLOT.total_seconds()
        while not self._stopping.is_set():
            try:
                with self._app.app_context():
                    take(datetime.now(UTC))
            except (SQLAlchemyError, WhalefallError) as error:
                log.debug("no sample was taken: %s", error)  # the pages and the health say so aloud
            self._stopping.wait(slot_s - datetime.now(UTC).timestamp() % slot_s)


def take(now: datetime) -> bool:
    """Writes the slot that `now` lies in, unless another process did; the first slot of an hour also tidies."""
    at = datetime.fromtimestamp(now.timestamp() // SLOT.total_seconds() * SLOT.total_seconds(), UTC)
    host = socket.gethostname()
    if not process_samples.claim(engine(), host, at):
        return False
    if not app_state().is_builtin:  # there a job does it
        samples.write(engine(), host, look_at_host())
    with suppress(ControlError):  # nobody supervises us, so there is nothing to sample
        process_samples.write(engine(), host, at, processes.status()["instances"])
    if at.minute == 0 and at.second == 0:
        tidy(now)
    return True


def tidy(now: datetime) -> None:
    """Forgets old samples, idle sessions, and the audit trail beyond AUDIT_DAYS."""
    kept = timedelta(days=app_state().settings.audit_days)
    process_samples.prune(engine(), socket.gethostname(), now - _KEPT)
    if not app_state().is_builtin:
        samples.prune(engine(), now - SAMPLES_KEPT)
    sessions.prune(engine(), now - timedelta(seconds=access.session_seconds()))
    if count := audit.prune(engine(), now - kept):
        log.info("%d entries of the audit trail, older than %d days, were forgotten", count, kept.days)
