"""One app's scheduler: its settings, its declarations, its ledger; kept in `app.extensions`, never in a global."""

import hashlib
import logging
import os
import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Flask
from sqlalchemy import Engine

from whalefall.errors import ConfigError
from whalefall.scheduler import functions
from whalefall.scheduler.checkpoints import Checkpoints, NoCheckpoints
from whalefall.scheduler.core.triggers import TriggerError, zone_named
from whalefall.scheduler.declaration import Declaration
from whalefall.scheduler.errors import LedgerUnavailable, SchedulerNotInstalled
from whalefall.scheduler.ledger import Ledger
from whalefall.scheduler.ledger.engine import make_engine
from whalefall.scheduler.ledger.ledger import Watcher
from whalefall.scheduler.ledger.reconcile import Code, Reconciled
from whalefall.scheduler.ledger.records import ClaimedRun
from whalefall.scheduler.running import RunContext
from whalefall.scheduler.tuning import Tuning, tuning_from
from whalefall.settings import Settings

if TYPE_CHECKING:
    from whalefall.scheduler.admin import JobAdmin
    from whalefall.scheduler.runtime import Runtime

KEY = "whalefall_scheduler"
_log = logging.getLogger("whalefall.scheduler")


class SchedulerState:
    """Made by `init_app`. Opens nothing until it is needed."""

    def __init__(self, app: Flask, declarations: dict[str, Declaration], settings: Settings) -> None:
        self.app = app
        self.declarations = declarations
        self.settings = settings
        self.tuning: Tuning = tuning_from(app.config)
        self.checkpoints: Checkpoints = NoCheckpoints()
        self.observers: list[Callable[[RunContext], None]] = []  # told of each attempt that ended in this process
        self.watchers: list[Watcher] = []  # told what this process has done to runs
        self.runtime: Runtime | None = None
        self._starting = threading.Lock()

    @property
    def enabled(self) -> bool:
        """Is it this process's role to run the scheduler?"""
        return self.settings.enable_scheduler

    @property
    def timezone(self) -> str:
        """Of jobs that name none. Raises ConfigError."""
        name = str(self.app.config.get("SCHEDULER_TIMEZONE") or self.settings.scheduler_timezone)
        try:
            zone_named(name)
        except TriggerError as error:
            raise ConfigError(f"SCHEDULER_TIMEZONE: {error}") from None
        return name

    @property
    def lock(self) -> str:
        """What decides who leads."""
        return str(self.app.config.get("SCHEDULER_LOCK") or self.settings.scheduler_lock)

    @property
    def application(self) -> str:
        """Whose jobs these are: two applications must not share a ledger."""
        return str(self.app.config.get("SCHEDULER_APPLICATION") or self.app.import_name)

    @property
    def app_ref(self) -> str:
        """module:callable by which another process finds this app; empty if nobody has said so."""
        configured = self.app.config.get("WHALEFALL_APP") or self.settings.app
        if not configured and self.app.import_name == "whalefall.app":
            return "whalefall.app.wsgi:application"
        return str(configured or "")

    @property
    def engine(self) -> Engine:
        """The database of the ledger, its schema up to date: an app may keep its own tables there."""
        self.ledger.prepare()
        return self.ledger.engine

    @cached_property
    def ledger(self) -> Ledger:
        engine = make_engine(self.database_url)
        # A connection belongs to the process that opened it; after a fork the child must not speak on it.
        os.register_at_fork(after_in_child=lambda: engine.dispose(close=False))
        return Ledger(engine, reached=self._reached, watchers=self.watchers)

    def _reached(self, step: str) -> None:
        self.checkpoints.reached(step)  # looked up late: a test may put others there

    @property
    def database_url(self) -> str:
        configured = self.app.config.get("SCHEDULER_DATABASE_URL") or self.settings.database_url
        if configured:
            return str(configured)
        return f"sqlite:///{os.path.join(os.path.abspath(self.settings.data_dir), 'whalefall.db')}"  # noqa: PTH100, PTH118 - no symlink is resolved

    @property
    def places_path(self) -> Path:
        """Where the schedulers of one ledger find, on one host, what each other's runs do: in RUN_DIR."""
        ledger = hashlib.sha256(self.database_url.encode()).hexdigest()[:12]
        return self.settings.run_path(Path.cwd()) / "runs" / ledger

    @cached_property
    def admin(self) -> "JobAdmin":
        from whalefall.scheduler.admin import JobAdmin  # noqa: PLC0415 - admin knows the state's type

        return JobAdmin(self)

    def wake(self) -> None:
        """Tells a scheduler of this process that something changed; others look within a second."""
        runtime = self.runtime
        if runtime is not None:
            runtime.wake()

    def start(self) -> bool:
        """Starts the scheduler in this process, once. False, with a line in the log, where that is not its role."""
        from whalefall.scheduler.runtime import Runtime  # noqa: PLC0415 - the web's processes never need it

        if not self.enabled:
            _log.info("the scheduler does not start here: ENABLE_SCHEDULER is false in this process")
            return False
        if os.environ.get("FLASK_RUN_FROM_CLI") == "true":
            _log.info("the scheduler does not start under the flask command; `whalefall serve` starts it")
            return False
        with self._starting:
            if self.runtime is None:
                self.refuse_foreign()
                runtime = Runtime(self, self.checkpoints)
                runtime.start()
                self.runtime = runtime
        return True

    def stop(self, wait_s: float, *, followed: bool = False) -> None:
        """`followed`: another scheduler starts on this host at once, and inherits runs in processes of their own."""
        with self._starting:
            runtime, self.runtime = self.runtime, None
            if runtime is not None:
                runtime.stop(wait_s, followed=followed)

    def resolve(self, claimed: ClaimedRun) -> functions.Function:
        """The function of a run: as declared, or imported by name."""
        return self.function(claimed.run.job_id, claimed.func_ref)

    def function(self, job_id: str, func_ref: str) -> functions.Function:
        declared = self.declarations.get(job_id)
        if declared is not None and declared.func_ref == func_ref:
            return declared.function
        return functions.load(func_ref)

    def reconcile(self, *, undelete: bool = False, actor: str = "code") -> Reconciled:
        """Brings the declarations of this process into the ledger."""
        code = replace(self._code(), broken=self._broken(), actor=actor, undelete=undelete)
        done = self.ledger.reconcile(code)
        for job_id in done.broken:
            _log.error("job %s is broken: %s", job_id, code.broken[job_id].strip().splitlines()[-1])
        if done.retired:
            _log.warning("gone from the code, retired: %s", ", ".join(done.retired))
        return done

    def refuse_foreign(self) -> None:
        """Raises ForeignLedger. A database that does not answer is no reason: the loop waits for it, and asks again."""
        try:
            self.ledger.refuse_foreign(self._code())
        except LedgerUnavailable as error:
            _log.warning("whose ledger it is could not be asked: %s", error)

    def _code(self) -> Code:
        declarations = list(self.declarations.values())
        return Code(declarations, {}, timezone=self.timezone, actor="code", application=self.application)

    def _broken(self) -> dict[str, str]:
        """Stored jobs that nobody declares and whose function cannot be imported."""
        broken = {}
        for record in self.ledger.jobs():
            if record.job_id in self.declarations or record.retired_at is not None:
                continue
            try:
                functions.load(record.func_ref)
            except Exception:  # noqa: BLE001 - importing the user's module may raise anything; the text goes on record
                broken[record.job_id] = traceback.format_exc(limit=-5)
        return broken


def of(app: Flask) -> SchedulerState:
    """The scheduler of an app, or of `current_app`. Raises SchedulerNotInstalled."""
    state = app.extensions.get(KEY)
    if not isinstance(state, SchedulerState):
        raise SchedulerNotInstalled(
            f"The Flask application {app.name!r} has no scheduler: call Scheduler(app) or scheduler.init_app(app)."
        )
    return state
