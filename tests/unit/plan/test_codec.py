"""A Plan survives JSON unchanged, and a wrong one is refused with the path of what is wrong."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whalefall.errors import PlanError
from whalefall.plan import (
    Command,
    Dependency,
    Instance,
    Listener,
    Plan,
    Probe,
    RestartPolicy,
    StopPolicy,
    plan_from_json,
    plan_to_json,
)

_text = st.text(max_size=20)
_words = st.lists(_text, min_size=1, max_size=3).map(tuple)
_seconds = st.floats(0, 1e6)
_commands = st.builds(
    Command, _words, _text, st.dictionaries(_text, _text, max_size=3), umask=st.none() | st.integers(0, 0o777)
)
_probes = st.builds(
    Probe, st.sampled_from(["http", "tcp", "exec", "notify"]), _text, argv=_words, period_s=_seconds, timeout_s=_seconds
)
_instances = st.builds(
    Instance,
    _text,
    st.integers(1, 9),
    _commands,
    listeners=st.just(()) | _words,
    sockets=st.sampled_from(["listen_fds", "nginx"]),
    after=st.lists(st.builds(Dependency, _text, st.sampled_from(["started", "ready", "finished"])), max_size=2).map(
        tuple
    ),
    ready=st.none() | _probes,
    live=st.none() | _probes,
    restart=st.builds(RestartPolicy, on_give_up=st.sampled_from(["exit", "degrade", "stop"])),
    stop=st.builds(StopPolicy, _text, grace_s=_seconds),
    run_once=st.booleans(),
)
_plans = st.builds(
    Plan,
    st.lists(_instances, max_size=3).map(tuple),
    st.lists(st.builds(Listener, _text, _text), max_size=2).map(tuple),
    log_format=st.sampled_from(["text", "json", "raw"]),
    replan=st.none() | _commands,
)


@given(_plans)
def test_a_plan_survives_json(plan: Plan) -> None:
    assert plan_from_json(plan_to_json(plan)) == plan


def test_bytes_that_are_no_text_survive_json_and_its_bytes() -> None:
    plan = Plan(
        (Instance("web", 1, Command(("true",), "/", {"ODD": b"\xc3\xa9\xff".decode("ascii", "surrogateescape")})),)
    )
    assert plan_from_json(plan_to_json(plan).encode().decode()) == plan


GOOD = Plan((Instance("web", 1, Command(("true",), "/"), ready=Probe("tcp", "127.0.0.1:1")),))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda d: d.pop("instances"), "plan.instances is missing"),
        (lambda d: d.update(colour="blue"), "plan.colour is unknown; Plan has instances, listeners"),
        (lambda d: d["instances"][0].pop("service"), r"plan.instances\[0\].service is missing"),
        (lambda d: d["instances"][0].update(number="1"), r"plan.instances\[0\].number must be of type int, not '1'"),
        (lambda d: d["instances"][0].update(number=True), r"plan.instances\[0\].number must be of type int, not True"),
        (lambda d: d["instances"][0]["stop"].update(grace_s="5"), r"stop.grace_s must be a number, not '5'"),
        (
            lambda d: d["instances"][0]["stop"].update(orphans="eat"),
            r"stop.orphans must be one of 'kill', .*, not 'eat'",
        ),
        (lambda d: d["instances"][0]["command"].update(argv="true"), r"command.argv must be a list, not 'true'"),
        (lambda d: d["instances"][0]["command"].update(env=[]), r"command.env must be an object, not \[\]"),
        (lambda d: d["instances"][0]["ready"].update(kind="smell"), r"ready.kind must be one of .*, not 'smell'"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(change, sentence) -> None:
    document = json.loads(plan_to_json(GOOD))
    change(document)
    with pytest.raises(PlanError, match=sentence):
        plan_from_json(json.dumps(document))


@pytest.mark.parametrize("text", ["", "{", "null", "[]", '"plan"', "7"])
def test_what_is_no_plan_at_all_is_refused(text: str) -> None:
    with pytest.raises(PlanError):
        plan_from_json(text)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000])
def test_what_is_no_json_is_one_sentence(text: str) -> None:
    with pytest.raises(PlanError, match=r"^the Plan is not JSON: "):
        plan_from_json(text)
