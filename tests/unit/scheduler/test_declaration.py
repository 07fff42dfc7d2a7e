"""What the code may say of a job, and what is refused before it is due, with file and line."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from whalefall import Scheduler
from whalefall.scheduler.core.triggers import TriggerError, spec_from_arguments
from whalefall.scheduler.declaration import Declaration
from whalefall.scheduler.errors import InvalidArguments, JobDeclarationError
from whalefall.scheduler.functions import check_arguments, load, reference

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def work(x: int, *, y: str = "") -> None:
    """Works a little.

    And more.
    """


def idle() -> None: ...


def other() -> None: ...


class Box:
    @staticmethod
    def inside() -> None: ...


def declared(trigger: str = "cron", function: Any = idle, **options: Any) -> Declaration:
    scheduler = Scheduler()
    scheduler.task(trigger, **({"hour": 1} if trigger == "cron" and "id" not in options else {}), **options)(function)
    return next(iter(scheduler.declarations.values()))


def refused(sentence: str, trigger: str = "cron", function: Any = idle, **options: Any) -> None:
    with pytest.raises(JobDeclarationError) as caught:
        Scheduler().task(trigger, **options)(function)
    assert sentence in str(caught.value)
    assert caught.value.exit_code == 2


def test_the_decorator_gives_the_function_back() -> None:
    assert Scheduler().task("interval", seconds=1)(idle) is idle


def test_id_name_and_description_have_defaults() -> None:
    found = declared(function=work, args=[1])
    assert (found.job_id, found.name, found.description) == ("work", "work", "Works a little.")
    assert found.func_ref == f"{__name__}:work"


def test_a_static_method_has_a_name_too() -> None:
    found = declared(function=Box.inside, id="inside", hour=1)
    assert found.func_ref == f"{__name__}:Box.inside"
    assert load(found.func_ref) is Box.inside


def test_a_lambda_is_refused_with_its_line() -> None:
    function = lambda: None  # noqa: E731 - it is about lambdas
    line = function.__code__.co_firstlineno
    refused(f"{Path(__file__).name}:{line}: a lambda cannot be found by name", function=function, hour=1)


def test_a_function_inside_a_function_is_refused() -> None:
    def inner() -> None: ...

    refused("a function inside a function cannot be found by name", function=inner, hour=1)


def test_two_jobs_of_one_id_are_refused_with_both_places() -> None:
    scheduler = Scheduler()
    scheduler.task("cron", id="a", hour=1)(idle)
    scheduler.task("cron", id="a", hour=2)(idle)
    with pytest.raises(JobDeclarationError, match=r"job 'a' is already declared at .*Give one of them another id"):
        scheduler.task("cron", id="a", hour=1)(other)


@pytest.mark.parametrize("job_id", ["a b", "a/b", "a?b", "", "x" * 191])
def test_an_id_that_does_not_fit_a_url_is_refused(job_id: str) -> None:
    if job_id:
        refused("an id has 1 to 190 characters", id=job_id, hour=1)
    else:
        assert declared(id="", hour=1).job_id == "idle"


def test_apschedulers_names_work() -> None:
    found = declared(misfire_grace_time=300, coalesce=False, max_instances=3, jitter=5)
    policies = found.policies
    assert (policies.misfire_grace_s, policies.catch_up, policies.max_instances, policies.jitter_s) == (
        300,
        "all",
        3,
        5,
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"hour": 25}, "'25': the field hour goes from 0 to 23"),
        ({"hours": 1}, "'hours' is neither an argument of the trigger 'cron' nor a policy. Did you mean 'hour'?"),
        ({"hour": 1, "overlap": "maybe"}, "overlap='maybe': write one of skip, queue, allow"),
        ({"hour": 1, "retries": -1}, "retries=-1: write 0 or more"),
        ({"hour": 1, "retries": "3"}, "retries='3': write a number"),
        ({"hour": 1, "transactional": 1}, "transactional=1: write True or False"),
        ({"hour": 1, "timeout_s": 5}, "timeout_s needs an executor that can be killed: add executor='process'"),
        ({"hour": 1, "memory_mb": 64}, "memory_mb needs an executor that can be killed"),
        ({"hour": 1, "transactional": True, "executor": "process"}, "transactional=True needs executor='thread'"),
        ({"hour": 1, "timezone": "Mars/Olympus"}, "'Mars/Olympus' is not a time zone"),
        ({"day_of_week": 0}, "0 is Monday in APScheduler and Sunday in cron"),
        ({"day_of_week": "1-5", "hour": 1}, "Write names"),
        ({"expression": "0 1 * * *", "hour": 1}, "Give either an expression or fields"),
        ({"day": 30, "month": 2}, "never comes true"),
        ({"hour": 1, "args": [object()]}, "stored as JSON"),
        ({"hour": 1, "args": [1]}, "too many positional arguments"),
        ({"hour": 1, "kwargs": {"z": 1}}, "unexpected keyword argument 'z'"),
        ({"hour": 1, "kwargs": {"x": float("nan")}}, "stored as JSON"),
    ],
)
def test_nonsense_is_refused_when_it_is_said(options: dict[str, Any], sentence: str) -> None:
    refused(sentence, **options)


def test_an_unknown_trigger_is_refused() -> None:
    refused("'hourly' is not a trigger", "hourly")


def test_an_interval_needs_a_length() -> None:
    refused("An interval needs a length", "interval")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"days": 10**12}, "The length of the interval means nothing"),
        ({"days": 4_000_000}, "is not a trigger: OverflowError"),
        ({"seconds": "5"}, "The length of the interval means nothing"),
        ({"seconds": 0}, "An interval needs a length of 0.1 s at least"),
        ({"seconds": -5}, "An interval needs a length of 0.1 s at least"),
    ],
)
def test_an_interval_that_no_calendar_holds_is_refused(options: dict[str, Any], sentence: str) -> None:
    refused(sentence, "interval", **options)


def test_weekday_names_and_ordinals_are_no_ambiguity() -> None:
    assert declared(day_of_week="mon-fri").trigger_arguments["day_of_week"] == "mon-fri"
    assert declared("cron", id="third", day_of_week="fri#3").policies


def test_a_policy_that_the_process_executor_can_keep_is_taken() -> None:
    assert declared(executor="process", timeout_s=5, memory_mb=64).policies.timeout_s == 5


# Which wish needs which executor: a thread cannot be killed or measured, only a thread has the ledger's transaction.
CAN = {"timeout_s": ("process", "celery"), "memory_mb": ("process",), "transactional": ("thread",)}
WISHES = {"timeout_s": 5, "memory_mb": 64, "transactional": True}


@pytest.mark.parametrize("executor", ["thread", "process", "celery"])
@pytest.mark.parametrize("wish", WISHES)
def test_what_an_executor_cannot_give_is_refused_when_it_is_declared(wish: str, executor: str) -> None:
    options = {"hour": 1, "executor": executor, wish: WISHES[wish]}
    if executor in CAN[wish]:
        assert getattr(declared(id="a", **options).policies, wish) == WISHES[wish]
    else:
        refused(wish, **options)


@pytest.mark.parametrize(
    ("kind", "arguments", "spec"),
    [
        ("interval", {"minutes": 5}, {"type": "interval", "seconds": 300.0}),
        ("interval", {"hours": 1, "seconds": 1}, {"type": "interval", "seconds": 3601.0}),
        ("date", {"run_date": "2026-12-31 18:00"}, {"type": "date", "at": "2026-12-31T17:00:00+00:00"}),
        ("date", {"run_date": datetime(2026, 12, 31, tzinfo=UTC)}, {"type": "date", "at": "2026-12-31T00:00:00+00:00"}),
    ],
)
def test_specs_are_plain_json_in_utc(kind: str, arguments: dict[str, Any], spec: dict[str, Any]) -> None:
    assert spec_from_arguments(kind, arguments, timezone="Europe/Berlin", now=NOW) == spec


def test_a_bad_date_is_refused() -> None:
    with pytest.raises(TriggerError, match="'soon' is not a date"):
        spec_from_arguments("date", {"run_date": "soon"}, timezone="UTC", now=NOW)


def test_arguments_are_checked_against_the_signature() -> None:
    check_arguments(work, [1], {"y": "a"})
    with pytest.raises(InvalidArguments, match="missing a required argument: 'x'"):
        check_arguments(work, [], {"y": "a"})


def test_a_builtin_has_a_reference() -> None:
    assert reference(print) == "builtins:print"


def test_what_is_gone_says_so() -> None:
    with pytest.raises(LookupError, match="has no 'nothing' any more"):
        load(f"{__name__}:nothing")


def test_defaults_are_left_out_of_what_is_stored() -> None:
    assert declared(retries=2).policies.to_json() == {"retries": 2}
