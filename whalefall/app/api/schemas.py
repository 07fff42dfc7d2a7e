"""What the API takes and gives, as marshmallow schemas: they check, they serialise, and they document."""

from functools import cache
from typing import Self

import marshmallow
from marshmallow import fields, validate

TEXT_MAX = 500  # a reason that a person types


class Schema(marshmallow.Schema):
    """Never changed once it is made, so its copy is itself.

    flask-smorest copies all that an operation says at each of its decorators; real copies were 10 MB in each worker.
    """

    def __deepcopy__(self, _memo: dict[int, object]) -> Self:
        return self


def _time(text: str, *, allow_none: bool = True) -> fields.DateTime:
    return fields.DateTime(format="iso", allow_none=allow_none, metadata={"description": text})


class Envelope(Schema):
    """What every success answer has."""

    success = fields.Boolean(required=True)
    error = fields.Boolean(required=True)
    message = fields.String(required=True)
    timestamp = fields.String(required=True, metadata={"format": "date-time"})
    meta = fields.Dict(keys=fields.String(), metadata={"description": "Paging and other facts about the answer"})


class ErrorContext(Schema):
    request_id = fields.String(required=True)
    user_id = fields.String(allow_none=True)
    url = fields.String()
    method = fields.String()
    meta = fields.Dict(keys=fields.String())


class ErrorEnvelope(Schema):
    """What every error answer has."""

    success = fields.Boolean(required=True)
    error = fields.Boolean(required=True)
    error_id = fields.String(required=True)
    category = fields.String(required=True)
    severity = fields.String(required=True)
    message_code = fields.String(required=True, metadata={"description": "For programs"})
    message = fields.String(required=True, metadata={"description": "A sentence for people: what, and how to mend it"})
    timestamp = fields.String(required=True, metadata={"format": "date-time"})
    recoverable = fields.Boolean(required=True)
    suggestions = fields.List(fields.String(), required=True)
    context = fields.Nested(ErrorContext, required=True)
    extra = fields.Dict(keys=fields.String())


ERROR = ErrorEnvelope()  # one object, because each operation names it for each way to fail


@cache
def enveloped(inner: type[Schema] | None, *, many: bool) -> Schema:
    """The envelope around `inner`; one object per shape, so that OpenAPI names each once."""
    if inner is None:
        return Envelope()
    name = f"{inner.__name__}{'List' if many else ''}Envelope"
    made: type[Schema] = type(name, (Envelope,), {"data": fields.Nested(inner, many=many, required=True)})
    return made()


# --- health ---


class Word(Schema):
    status = fields.String(required=True)


class BasicHealth(Schema):
    status = fields.String(required=True, metadata={"description": "healthy"})
    timestamp = fields.Float(required=True, metadata={"description": "Unix time"})
    version = fields.String(required=True)


class Component(Schema):
    healthy = fields.Boolean(required=True)
    status = fields.String(required=True)
    reason = fields.String()


class Alarm(Schema):
    kind = fields.String(
        required=True,
        metadata={"description": "no_leader, hung, clock, overdue, waiting, missed, failing, slow or broken"},
    )
    job_id = fields.String(required=True, metadata={"description": "Empty for what concerns the scheduler itself"})
    since = fields.String(required=True, metadata={"format": "date-time"})
    text = fields.String(required=True, metadata={"description": "What is wrong"})
    run_id = fields.String(required=True, metadata={"description": "The run that shows it; empty for none"})


class DetailedHealth(BasicHealth):
    uptime = fields.Float(required=True, metadata={"description": "Seconds since this process started"})
    role = fields.String(required=True, metadata={"description": "web or scheduler: the process that answered"})
    database = fields.String(required=True)
    components = fields.Dict(keys=fields.String(), values=fields.Nested(Component), required=True)
    alarms = fields.Nested(
        Alarm, many=True, required=True, metadata={"description": "What a person should know now of jobs and scheduler"}
    )


# --- jobs ---


class Job(Schema):
    """A job in the list; the first names are those of the original platform."""

    id = fields.String(required=True)
    task_id = fields.String(required=True)
    name = fields.String(required=True)
    task_name = fields.String(required=True)
    description = fields.String(required=True)
    next_run_time = _time("The next fire; null when paused or over")
    last_run_time = _time("Start of the newest run")
    trigger_type = fields.String(required=True)
    trigger_args = fields.Dict(keys=fields.String(), required=True)
    cron_expression = fields.String(allow_none=True)
    timezone = fields.String(allow_none=True)
    state = fields.String(required=True, validate=validate.OneOf(["STATE_RUNNING", "STATE_PAUSED"]))
    paused_until = _time("When the pause ends by itself")
    pause_reason = fields.String(allow_none=True)
    broken_reason = fields.String(allow_none=True)
    is_builtin = fields.Boolean(required=True)
    editable_fields = fields.List(fields.String(), required=True)
    func = fields.String(required=True)
    args = fields.List(fields.Raw(), required=True)
    kwargs = fields.Dict(keys=fields.String(), required=True)
    source = fields.String(required=True, metadata={"description": "code, edited, broken or retired"})


class JobQuery(Schema):
    q = fields.String(
        load_default="",
        validate=validate.Length(max=100),
        metadata={"description": "Part of an id, name or description"},
    )
    limit = fields.Integer(
        load_default=None,
        allow_none=True,
        validate=validate.Range(1, 500),
        metadata={"description": "Without it, all jobs; with it, jobs gone from the code come last"},
    )
    offset = fields.Integer(
        load_default=0, validate=validate.Range(0, 10_000_000), metadata={"description": "meta.next of the page before"}
    )


class JobDetail(Job):
    trigger = fields.String(required=True)
    func_ref = fields.String(required=True)
    misfire_grace_time = fields.Float(allow_none=True)
    max_instances = fields.Integer(required=True)
    coalesce = fields.Boolean(required=True)


class TriggerEdit(Schema):
    trigger_type = fields.String(
        load_default="cron",
        validate=validate.OneOf(["cron"], error="Only 'cron' triggers can be edited."),
    )
    cron_expression = fields.String(
        required=True,
        validate=validate.Length(1, 200),
        metadata={
            "description": "5 fields (minute hour day month weekday), 6 (second first) or 7 (year last); weekdays "
            "mon to sun, or as numbers, 0 and 7 Sunday",
            "example": "30 2 * * *",
        },
    )


class PreviewQuery(Schema):
    cron_expression = fields.String(load_default=None, validate=validate.Length(1, 200))
    count = fields.Integer(load_default=10, validate=validate.Range(1, 50))


class Preview(Schema):
    fires = fields.List(fields.DateTime(format="iso"), required=True)
    odd_nights = fields.List(
        fields.String(),
        required=True,
        metadata={"description": "What the next changes of the clocks would do: run twice, elsewhere, or not at all"},
    )


class UpcomingQuery(Schema):
    hours = fields.Integer(load_default=24, validate=validate.Range(1, 168))


class Upcoming(Schema):
    job_id = fields.String(required=True)
    fires = fields.List(fields.DateTime(format="iso"), required=True)
    is_dense = fields.Boolean(required=True, metadata={"description": "It fires more often than listed"})


class PauseRequest(Schema):
    reason = fields.String(load_default="", validate=validate.Length(max=TEXT_MAX))
    until = fields.AwareDateTime(
        load_default=None,
        allow_none=True,
        format="iso",
        default_timezone=None,
        metadata={"description": "With an offset; the job resumes then by itself"},
    )
    minutes = fields.Integer(
        load_default=None,
        allow_none=True,
        validate=validate.Range(1, 525_600),
        metadata={"description": "The same, counted from now"},
    )


class RunRequest(Schema):
    kwargs = fields.Dict(
        keys=fields.String(),
        load_default=None,
        allow_none=True,
        metadata={"description": "Take the place of the job's keyword arguments of the same names"},
    )
    reason = fields.String(load_default="", validate=validate.Length(max=TEXT_MAX))
    dedupe = fields.String(
        load_default=None,
        allow_none=True,
        validate=validate.Length(1, 100),
        metadata={"description": "A key of your own: the same key never makes a second run"},
    )


class RunStarted(Schema):
    manual_job_id = fields.String(required=True)
    run_id = fields.String(required=True)


class NoBody(Schema):
    """An empty object, or nothing."""


class Reloaded(Schema):
    deleted = fields.List(fields.String(), required=True)
    reloaded = fields.List(fields.String(), required=True)
    deleted_count = fields.Integer(required=True)
    reloaded_count = fields.Integer(required=True)


# --- runs ---


class Run(Schema):
    run_id = fields.String(required=True)
    job_id = fields.String(required=True)
    source = fields.String(required=True, metadata={"description": "Why it exists: its schedule, a person, a retry, …"})
    scheduled_at = _time("The nominal instant")
    state = fields.String(required=True)
    attempt = fields.Integer(required=True)
    started_at = _time("When it began")
    finished_at = _time("When it ended")
    duration_s = fields.Float(allow_none=True)
    lateness_s = fields.Float(allow_none=True)
    progress = fields.Float(allow_none=True)
    progress_text = fields.String(allow_none=True)
    created_by = fields.String(allow_none=True)
    reason = fields.String(allow_none=True, metadata={"description": "Why it ended so, or did not run"})
    note = fields.String(allow_none=True, metadata={"description": "Why a person asked for it"})


class RunDetail(Run):
    output = fields.String(allow_none=True)
    error = fields.String(allow_none=True)


class RunQuery(Schema):
    job_id = fields.String(load_default=None, validate=validate.Length(1, 191))
    state = fields.String(load_default=None, validate=validate.Length(1, 32))
    source = fields.String(load_default=None, validate=validate.Length(1, 32))
    before = fields.String(
        load_default=None, validate=validate.Length(1, 200), metadata={"description": "meta.next of the page before"}
    )
    after = fields.String(
        load_default=None,
        validate=validate.Length(1, 200),
        metadata={"description": "The same with order=oldest; also the newest run that you know, to ask for news"},
    )
    order = fields.String(load_default="newest", validate=validate.OneOf(["newest", "oldest"]))
    limit = fields.Integer(load_default=50, validate=validate.Range(1, 200))


class Standby(Schema):
    holder = fields.String(required=True)
    host = fields.String(required=True)
    pid = fields.Integer(required=True)
    since = _time("Since when it waits", allow_none=False)
    seen_at = _time("When it last told of itself", allow_none=False)


class SchedulerState(Schema):
    leader = fields.String(allow_none=True)
    term = fields.Integer(required=True)
    last_tick_age_s = fields.Float(allow_none=True)
    next_fire_at = _time("The next fire of any job")
    backlog = fields.Integer(required=True)
    healthy = fields.Boolean(required=True)
    reason = fields.String(required=True)
    standbys = fields.List(fields.Nested(Standby), required=True)


# --- processes ---


class Process(Schema):
    name = fields.String(required=True)
    service = fields.String(required=True)
    state = fields.String(required=True)
    pid = fields.Integer(allow_none=True)
    generation = fields.Integer(allow_none=True)
    uptime_s = fields.Float(allow_none=True)
    state_for_s = fields.Float(allow_none=True)
    restarts = fields.Integer(required=True)
    last_exit = fields.String(allow_none=True)
    reason = fields.String(allow_none=True)
    retry_in_s = fields.Float(allow_none=True)
    memory_bytes = fields.Integer(allow_none=True, metadata={"description": "Resident memory of its whole tree"})
    cpu_percent = fields.Float(allow_none=True)
    workers = fields.Integer(allow_none=True, metadata={"description": "Processes below its leader"})


class Supervisor(Schema):
    pid = fields.Integer(required=True)
    version = fields.String(required=True)
    state = fields.String(required=True)
    uptime_s = fields.Float(allow_none=True)


class Processes(Schema):
    supervisor = fields.Nested(Supervisor, required=True)
    instances = fields.Nested(Process, many=True, required=True)


class LogQuery(Schema):
    lines = fields.Integer(load_default=100, validate=validate.Range(1, 1_000))


class LogLines(Schema):
    lines = fields.List(fields.List(fields.String()), required=True)


class CountQuery(Schema):
    limit = fields.Integer(load_default=20, validate=validate.Range(1, 200))


class ProcessEvent(Schema):
    at = fields.Float(required=True, metadata={"description": "Unix time"})
    instance = fields.String(required=True)
    level = fields.String(required=True)
    text = fields.String(required=True)


class Dossier(Schema):
    at = fields.Float(required=True, metadata={"description": "Unix time"})
    instance = fields.String(required=True)
    what = fields.String(required=True, metadata={"description": "How it ended, as a sentence"})
    generation = fields.Integer(required=True)
    pid = fields.Integer(allow_none=True)
    exit = fields.String(allow_none=True)
    ran_for_s = fields.Float(allow_none=True)
    ready_after_s = fields.Float(allow_none=True)
    last_probe = fields.String(allow_none=True)
    crashes = fields.String(allow_none=True)
    peak_memory_bytes = fields.Integer(allow_none=True)
    out_of_memory_kills = fields.Integer(allow_none=True)
    lines = fields.List(fields.String(), required=True, metadata={"description": "Its last lines"})


class Accepted(Schema):
    accepted = fields.List(fields.String(), required=True)


# --- access ---


class Login(Schema):
    username = fields.String(required=True, validate=validate.Length(1, 64))
    password = fields.String(required=True, validate=validate.Length(1, 1_024))


class CsrfToken(Schema):
    csrf_token = fields.String(required=True)


class UserShown(Schema):
    id = fields.Integer(allow_none=True)
    username = fields.String(required=True)
    role = fields.String(required=True)


class SessionShown(Schema):
    authenticated = fields.Boolean(required=True)
    auth_model = fields.String(required=True)
    csrf_token = fields.String(required=True)
    permissions = fields.List(fields.String(), required=True)
    user = fields.Nested(UserShown, allow_none=True)


class User(Schema):
    id = fields.Integer(required=True)
    name = fields.String(required=True)
    role = fields.String(required=True)
    is_enabled = fields.Boolean(required=True)
    created_at = _time("When it was made")
    last_login_at = _time("The last login")


class NewUser(Schema):
    name = fields.String(required=True, validate=validate.Length(1, 64))
    password = fields.String(required=True, validate=validate.Length(1, 1_024))
    role = fields.String(load_default="view", validate=validate.OneOf(["view", "admin"]))


class UserEdit(Schema):
    role = fields.String(load_default=None, validate=validate.OneOf(["view", "admin"]))
    password = fields.String(load_default=None, validate=validate.Length(1, 1_024))
    is_enabled = fields.Boolean(load_default=None)


class PasswordChange(Schema):
    current_password = fields.String(required=True, validate=validate.Length(1, 1_024))
    new_password = fields.String(required=True, validate=validate.Length(1, 1_024))


class Token(Schema):
    id = fields.Integer(required=True)
    name = fields.String(required=True)
    role = fields.String(required=True)
    created_by = fields.String(required=True)
    created_at = _time("When it was made")
    expires_at = _time("When it ends by itself")
    last_used_at = _time("To the minute")
    revoked_at = _time("When it was ended by a person")


class NewToken(Schema):
    name = fields.String(required=True, validate=validate.Length(1, 64))
    role = fields.String(load_default="view", validate=validate.OneOf(["view", "admin"]))
    days = fields.Integer(load_default=None, allow_none=True, validate=validate.Range(1, 3_650))


class TokenMade(Token):
    secret = fields.String(required=True, metadata={"description": "Shown this once"})


class AuditEntry(Schema):
    id = fields.Integer(required=True)
    at = _time("When")
    actor = fields.String(required=True)
    address = fields.String(required=True)
    action = fields.String(required=True)
    target = fields.String(required=True)
    before = fields.Raw(allow_none=True)
    after = fields.Raw(allow_none=True)
    request_id = fields.String(required=True)


class AuditQuery(Schema):
    before = fields.Integer(load_default=None, validate=validate.Range(1, 2**62))
    limit = fields.Integer(load_default=50, validate=validate.Range(1, 200))
