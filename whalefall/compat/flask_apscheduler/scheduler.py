"""`APScheduler`, with the names and manners of Flask-APScheduler 1.13, on top of the ledger.

What the code says at import time (`task`, `add_job`, `JOBS`) is a declaration. What is added in a request or in a job
is added to the ledger, and stays there until it is removed.
"""

import functools
import logging
import socket
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from apscheduler.events import (
    EVENT_ALL,
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_SCHEDULER_SHUTDOWN,
    EVENT_SCHEDULER_STARTED,
    JobExecutionEvent,
    SchedulerEvent,
)
from apscheduler.jobstores.base import ConflictingIdError, JobLookupError
from apscheduler.schedulers.base import STATE_PAUSED, STATE_RUNNING, STATE_STOPPED
from flask import Flask, Response, has_request_context, request

from whalefall.compat.flask_apscheduler import api
from whalefall.compat.flask_apscheduler.job import Job
from whalefall.compat.flask_apscheduler.utils import apscheduler_trigger, fix_job_def, our_trigger
from whalefall.scheduler.core.policies import policies_from
from whalefall.scheduler.core.triggers import TriggerError, spec_from_arguments
from whalefall.scheduler.declaration import Declaration, Labels, declare
from whalefall.scheduler.errors import InvalidTrigger, JobConflict, JobDeclarationError, JobNotFound
from whalefall.scheduler.extension import Scheduler
from whalefall.scheduler.functions import check_arguments, load
from whalefall.scheduler.ledger.records import JobRecord
from whalefall.scheduler.running import RunContext, current_run
from whalefall.scheduler.state import SchedulerState, of

_SETTLE_S = 1.0  # an application goes on declaring jobs after `start()`; this long nothing new must come
_ALL_PAUSED = "the whole scheduler was paused"
_IGNORED = frozenset({"jobstore", "replace_existing", "next_run_time"})
_DEFAULTS = ("misfire_grace_time", "coalesce", "max_instances")
_LOOPBACK = frozenset({"127.0.0.1", "::1", ""})
LOGGER = _log = logging.getLogger("flask_apscheduler")


class APScheduler:
    """The drop-in."""

    def __init__(self, scheduler: object = None, app: Flask | None = None) -> None:
        if scheduler is not None:
            _log.warning("the scheduler object %r is not used: the ledger decides what fires", scheduler)
        self._inner = Scheduler()
        self._pending: list[Callable[[], object]] = []  # said before the app, and with it the configuration, is known
        self._declared_at_s = 0.0
        self._started = False
        self._listeners: list[tuple[Callable[[Any], object], int]] = []
        self._authentication_callback: Callable[[Any], object] | None = None
        self._job_defaults: dict[str, Any] = {}
        self.host_name = socket.gethostname().lower()
        self.allowed_hosts: list[str] = ["*"]
        self.auth: Any = None
        self.api_enabled = False
        self.api_prefix = "/scheduler"
        self.endpoint_prefix = "scheduler."
        self.app: Flask | None = None
        if app is not None:
            self.init_app(app)

    # The application

    def init_app(self, app: Flask) -> None:
        """Reads SCHEDULER_* and JOBS, installs the REST API if it is enabled."""
        self.app = app
        app.apscheduler = self  # type: ignore[attr-defined]  # the original's own way, which users rely on
        self._load_config(app)
        self._inner.init_app(app)
        of(app).observers.append(self._observe)
        for said in self._pending:
            said()
        self._pending.clear()
        for job in app.config.get("SCHEDULER_JOBS") or app.config.get("JOBS") or ():
            self.add_job(**job)
        if self.api_enabled:
            self._load_api(app)

    @property
    def scheduler(self) -> "APScheduler":
        """The base scheduler of the original; here the same object."""
        return self

    @property
    def running(self) -> bool:
        return self._started and self._state.enabled

    @property
    def state(self) -> int:
        if not self.running:
            return int(STATE_STOPPED)
        views = self._state.admin.list_jobs()
        paused = views and all(view.pause_reason == _ALL_PAUSED for view in views)
        return int(STATE_PAUSED if paused else STATE_RUNNING)

    def start(self, paused: bool = False) -> None:
        """Starts where it is this process's role, once the application has said all its jobs."""
        if self.host_name not in self.allowed_hosts and "*" not in self.allowed_hosts:
            _log.debug("host %s may not start the scheduler; these may: %s", self.host_name, self.allowed_hosts)
            return
        first, self._started = not self._started, True
        if paused:
            self.pause()
        if first and self._state.enabled:
            threading.Thread(target=self._start_when_settled, name="wf-start", daemon=True).start()

    def shutdown(self, wait: bool = True) -> None:
        self._started = False
        self._state.stop(5.0 if wait else 0.0)
        self._tell(SchedulerEvent(EVENT_SCHEDULER_SHUTDOWN))

    def pause(self) -> None:
        """Pauses every job that is not paused."""
        for view in self._state.admin.list_jobs():
            if not view.paused_by:
                self._state.admin.pause(view.id, actor=self._actor, reason=_ALL_PAUSED)

    def resume(self) -> None:
        for view in self._state.admin.list_jobs():
            if view.pause_reason == _ALL_PAUSED:
                self._state.admin.resume(view.id, actor=self._actor)

    # Jobs

    def task(self, trigger: Any, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """`@scheduler.task("cron", id="report", hour=6)`."""

        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            given = dict(options)
            job_id = given.pop("id", None) or function.__qualname__
            self._say(lambda: self._declare(job_id, function, trigger, given))
            return function

        return decorate

    scheduled_job = task

    def add_job(self, id: str, func: Any, **kwargs: Any) -> Job:  # noqa: A002 - the original's signature
        """Raises apscheduler's ConflictingIdError if the id is taken."""
        definition: dict[str, Any] = {"trigger": None, **kwargs}
        fix_job_def(definition)
        trigger = definition.pop("trigger")
        function = load(func) if isinstance(func, str) else func
        if has_request_context() or current_run:
            return self._add_to_ledger(id, function, trigger, definition)
        if self.app is None:
            self._say(lambda: self._declare(id, function, trigger, definition))
            return self._not_yet(id, function, definition)
        return self._from_declaration(self._declare(id, function, trigger, definition))

    def get_job(self, id: str, jobstore: str | None = None) -> Job | None:  # noqa: A002
        """None if there is none."""
        try:
            return self._from_record(self._state.ledger.job(id))
        except JobNotFound:
            declared = self._inner.declarations.get(id)
            return self._from_declaration(declared) if declared is not None and not self._on_record else None

    def get_jobs(self, jobstore: str | None = None) -> list[Job]:
        records = {record.job_id: self._from_record(record) for record in self._state.ledger.jobs() if record.fires}
        if self._on_record:
            return list(records.values())
        waiting = {job_id: self._from_declaration(each) for job_id, each in self._inner.declarations.items()}
        return list((waiting | records).values())

    def modify_job(self, id: str, jobstore: str | None = None, **changes: Any) -> Job:  # noqa: A002
        """A new trigger is an edit, which survives deploys; the rest replaces what is stored."""
        self._settle()
        record = self._found(id)
        fix_job_def(changes)
        if "trigger" in changes:
            kind, arguments = our_trigger(changes.pop("trigger"), self._trigger_arguments(changes))
            self._state.ledger.edit_trigger(id, self._spec(kind, arguments, record.timezone), self._actor)
        if changes:
            self._state.ledger.change_job(id, **self._stored(record, changes))
        self._state.wake()
        return self._from_record(self._found(id))

    def reschedule_job(self, id: str, jobstore: str | None = None, trigger: Any = None, **trigger_args: Any) -> Job:  # noqa: A002
        return self.modify_job(id, trigger=trigger, **trigger_args)

    def pause_job(self, id: str, jobstore: str | None = None) -> Job:  # noqa: A002
        self._settle()
        self._found(id)
        self._state.admin.pause(id, actor=self._actor)
        return self._from_record(self._found(id))

    def resume_job(self, id: str, jobstore: str | None = None) -> Job:  # noqa: A002
        self._settle()
        self._found(id)
        self._state.admin.resume(id, actor=self._actor)
        return self._from_record(self._found(id))

    def run_job(self, id: str, jobstore: str | None = None) -> str:  # noqa: A002
        """Queues a run and answers its run_id; the original ran it in the request, unseen."""
        self._settle()
        self._found(id)
        return self._state.admin.run_now(id, actor=self._actor)

    def remove_job(self, id: str, jobstore: str | None = None) -> None:  # noqa: A002
        self._settle()
        self._found(id)
        self._inner.declarations.pop(id, None)
        self._state.admin.delete(id, actor=self._actor)

    def remove_all_jobs(self, jobstore: str | None = None) -> None:
        for job in self.get_jobs():
            self.remove_job(job.id)

    def delete_job(self, id: str, jobstore: str | None = None) -> None:  # noqa: A002
        warnings.warn("delete_job has been deprecated, use remove_job instead.", DeprecationWarning, stacklevel=2)
        self.remove_job(id, jobstore)

    def delete_all_jobs(self, jobstore: str | None = None) -> None:
        warnings.warn(
            "delete_all_jobs has been deprecated, use remove_all_jobs instead.", DeprecationWarning, stacklevel=2
        )
        self.remove_all_jobs(jobstore)

    def function_of(self, job: Job) -> Callable[..., Any]:
        return self._state.function(job.id, job.func_ref)

    # Listeners and access

    def add_listener(self, callback: Callable[[Any], object], mask: int = EVENT_ALL) -> None:
        """Told of the runs of this process's threads: EVENT_JOB_EXECUTED and EVENT_JOB_ERROR, start and shutdown."""
        self._listeners.append((callback, mask))

    def remove_listener(self, callback: Callable[[Any], object]) -> None:
        self._listeners = [(known, mask) for known, mask in self._listeners if known != callback]

    def authenticate(self, func: Callable[[Any], object]) -> Callable[[Any], object]:
        """A decorator: the function decides who may use the REST API."""
        self._authentication_callback = func
        return func

    # Inside

    @property
    def _state(self) -> SchedulerState:
        if self.app is None:
            raise JobDeclarationError("The scheduler has no application yet: call init_app(app) first.")
        return of(self.app)

    @property
    def _on_record(self) -> bool:
        """Does the ledger know all that this process declares?"""
        return self._started and self._state.runtime is not None

    @property
    def _actor(self) -> str:
        return f"REST API ({request.remote_addr})" if has_request_context() else "the application"

    def _say(self, said: Callable[[], object]) -> None:
        if self.app is None:
            self._pending.append(said)
        else:
            said()

    def _declare(
        self, job_id: str, function: Callable[..., Any], trigger: Any, options: Mapping[str, Any]
    ) -> Declaration:
        declaration = self._declaration(job_id, function, trigger, options)
        self._inner.add(declaration)
        self._declared_at_s = time.monotonic()
        if self._state.runtime is not None:
            self._state.reconcile()
        return declaration

    def _declaration(
        self, job_id: str, function: Callable[..., Any], trigger: Any, options: Mapping[str, Any]
    ) -> Declaration:
        given = {**self._job_defaults, **{name: value for name, value in options.items() if name not in _IGNORED}}
        args, kwargs = tuple(given.pop("args", None) or ()), dict(given.pop("kwargs", None) or {})
        name = given.pop("name", None) or job_id
        executor = given.pop("executor", "default")
        if executor in ("process", "processpool"):
            given["executor"] = "process"
        kind, arguments = our_trigger(trigger, self._trigger_arguments(given))
        return declare(
            function,
            kind,
            Labels(job_id, name),
            now=datetime.now(UTC),
            args=args,
            kwargs=kwargs,
            options={**given, **arguments},
        )

    @staticmethod
    def _trigger_arguments(options: dict[str, Any]) -> dict[str, Any]:
        """Takes them out of `options`."""
        names = (
            "year", "month", "day", "week", "day_of_week", "hour", "minute", "second", "expression",
            "weeks", "days", "hours", "minutes", "seconds", "run_date", "start_date", "end_date", "timezone", "jitter",
        )  # fmt: skip
        return {name: options.pop(name) for name in names if options.get(name) is not None}

    def _add_to_ledger(
        self, job_id: str, function: Callable[..., Any], trigger: Any, options: Mapping[str, Any]
    ) -> Job:
        self._settle()
        declaration = self._declaration(job_id, function, trigger, options)
        record = self._record_of(declaration, origin="added")
        try:
            self._state.ledger.add_job(record, self._actor, replace_existing=bool(options.get("replace_existing")))
        except JobConflict:
            raise ConflictingIdError(job_id) from None
        self._state.wake()
        return self._from_record(self._found(job_id))

    def _record_of(self, declaration: Declaration, origin: str) -> JobRecord:
        timezone, now = declaration.timezone or self._state.timezone, self._state.ledger.now()
        return JobRecord.of(declaration, timezone=timezone, now=now, origin=origin)

    def _found(self, job_id: str) -> JobRecord:
        try:
            return self._state.ledger.job(job_id)
        except JobNotFound:
            raise JobLookupError(job_id) from None

    def _settle(self) -> None:
        """Verbs on jobs need them on record: a process that runs no scheduler yet declares them itself."""
        ledger = self._state.ledger
        known = {record.job_id for record in ledger.jobs()}
        if set(self._inner.declarations) - known:
            self._state.reconcile()

    def _spec(self, kind: str, arguments: dict[str, Any], timezone: str) -> dict[str, Any]:
        given = {name: value for name, value in arguments.items() if name not in ("timezone", "jitter")}
        try:
            return spec_from_arguments(kind, given, timezone=timezone, now=datetime.now(UTC))
        except TriggerError as error:
            raise InvalidTrigger(str(error)) from None

    def _stored(self, record: JobRecord, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Changes in APScheduler's names as columns. Raises TypeError for what cannot be changed, InvalidArguments."""
        values: dict[str, Any] = {}
        policies = record.policies.to_json()
        if {"func", "args", "kwargs"} & changes.keys():
            function = changes.get("func") or record.func_ref
            function = load(function) if isinstance(function, str) else function
            check_arguments(function, changes.get("args", record.args), changes.get("kwargs", record.kwargs))
        for name, value in changes.items():
            if name in ("name", "kwargs"):
                values[name] = value
            elif name == "args":
                values["args"] = list(value)
            elif name == "func":
                values["func_ref"] = value if isinstance(value, str) else declare_ref(value)
            elif name == "coalesce":
                policies["catch_up"] = "last" if value else "all"
            elif name in ("misfire_grace_time", "max_instances"):
                policies["misfire_grace_s" if name == "misfire_grace_time" else name] = value
            elif name not in (*_IGNORED, "id", "executor"):
                raise TypeError(f"{name!r} of a job cannot be changed.")
        return {**values, "policies": policies_from(policies).to_json()}

    def _from_declaration(self, declaration: Declaration) -> Job:
        """As it will be on record once the scheduler has started."""
        record = self._record_of(declaration, origin="code")
        return replace(self._from_record(record), pending=True)

    def _from_record(self, record: JobRecord) -> Job:
        view_paused = record.pause is not None
        return Job(
            scheduler=self,
            id=record.job_id,
            name=record.name,
            func_ref=record.func_ref,
            args=tuple(record.args),
            kwargs=record.kwargs,
            trigger=apscheduler_trigger(record.effective_trigger, record.timezone, record.anchor),
            misfire_grace_time=record.policies.misfire_grace_s,
            coalesce=record.policies.catch_up != "all",
            max_instances=record.policies.max_instances,
            next_run_time=None if view_paused else record.next_fire_at,
            executor="default" if record.policies.executor == "thread" else record.policies.executor,
        )

    def _not_yet(self, job_id: str, function: Callable[..., Any], definition: Mapping[str, Any]) -> Job:
        """Before init_app nothing is known but what was said."""
        return Job(
            scheduler=self,
            id=job_id,
            name=definition.get("name") or job_id,
            func_ref=declare_ref(function),
            args=tuple(definition.get("args") or ()),
            kwargs=dict(definition.get("kwargs") or {}),
            trigger=definition.get("trigger"),
            misfire_grace_time=definition.get("misfire_grace_time"),
            coalesce=bool(definition.get("coalesce", True)),
            max_instances=definition.get("max_instances", 1),
            next_run_time=None,
            pending=True,
        )

    def _start_when_settled(self) -> None:
        while (rest_s := self._declared_at_s + _SETTLE_S - time.monotonic()) > 0:
            time.sleep(rest_s)
        if self._started:
            self._state.start()
            self._tell(SchedulerEvent(EVENT_SCHEDULER_STARTED))

    def _observe(self, context: RunContext) -> None:
        run = context.claimed.run
        code = EVENT_JOB_EXECUTED if context.raised is None else EVENT_JOB_ERROR
        event = JobExecutionEvent(code, run.job_id, "default", run.scheduled_at)
        event.retval, event.exception = context.returned, context.raised
        self._tell(event)

    def _tell(self, event: Any) -> None:
        for callback, mask in list(self._listeners):
            if event.code & mask:
                callback(event)

    def _load_config(self, app: Flask) -> None:
        config = app.config
        if config.get("SCHEDULER_JOBSTORES"):
            _log.warning("SCHEDULER_JOBSTORES is not used: the ledger (DATABASE_URL) keeps the jobs")
        default = (config.get("SCHEDULER_EXECUTORS") or {}).get("default")
        if isinstance(default, Mapping) and "max_workers" in default:
            config.setdefault("SCHEDULER_THREADS", default["max_workers"])
        defaults = config.get("SCHEDULER_JOB_DEFAULTS") or {}
        self._job_defaults = {name: defaults[name] for name in _DEFAULTS if name in defaults}
        self.auth = config.get("SCHEDULER_AUTH", self.auth)
        self.api_enabled = config.get("SCHEDULER_VIEWS_ENABLED", self.api_enabled)
        self.api_enabled = config.get("SCHEDULER_API_ENABLED", self.api_enabled)
        self.api_prefix = config.get("SCHEDULER_API_PREFIX", self.api_prefix)
        self.endpoint_prefix = config.get("SCHEDULER_ENDPOINT_PREFIX", self.endpoint_prefix)
        self.allowed_hosts = config.get("SCHEDULER_ALLOWED_HOSTS", self.allowed_hosts)

    def _load_api(self, app: Flask) -> None:
        routes: tuple[tuple[str, str, Callable[..., Response]], ...] = (
            ("GET", "", api.get_scheduler_info),
            ("POST", "/pause", api.pause_scheduler),
            ("POST", "/resume", api.resume_scheduler),
            ("POST", "/start", api.start_scheduler),
            ("POST", "/shutdown", api.shutdown_scheduler),
            ("POST", "/jobs", api.add_job),
            ("GET", "/jobs", api.get_jobs),
            ("GET", "/jobs/<job_id>", api.get_job),
            ("DELETE", "/jobs/<job_id>", api.delete_job),
            ("PATCH", "/jobs/<job_id>", api.update_job),
            ("POST", "/jobs/<job_id>/pause", api.pause_job),
            ("POST", "/jobs/<job_id>/resume", api.resume_job),
            ("POST", "/jobs/<job_id>/run", api.run_job),
        )
        for method, rule, view in routes:
            endpoint = f"{self.endpoint_prefix}{view.__name__}"
            app.add_url_rule(f"{self.api_prefix}{rule}", endpoint, self._guarded(view), methods=[method])

    def _guarded(self, view: Callable[..., Response]) -> Callable[..., Response]:
        @functools.wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Response:
            if self.auth is None:
                return view(*args, **kwargs) if _from_loopback() else Response("Access Denied", 403)
            given = self.auth.get_authorization()
            if given is None or self._authentication_callback is None or not self._authentication_callback(given):
                header = {"WWW-Authenticate": self.auth.get_authenticate_header()}
                return Response("Access Denied", 401, header)
            return view(*args, **kwargs)

        return guarded


def declare_ref(function: Callable[..., Any]) -> str:
    """The function's name as the ledger stores it."""
    from whalefall.scheduler.functions import reference  # noqa: PLC0415 - beside its only use

    return reference(function)


def _from_loopback() -> bool:
    """The original let anyone add a job, and with it run any code; here that needs an auth hook, or this machine."""
    forwarded = any(name in request.headers for name in ("X-Forwarded-For", "X-Real-IP", "Forwarded"))
    return (request.remote_addr or "") in _LOOPBACK and not forwarded
