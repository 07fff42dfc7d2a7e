"""Sentences made in English reach a Chinese reader in Chinese: all that the API answers, all errors of the rooms below.

The sentences are read out of the code, so that a new one cannot be forgotten; each translation is of one that exists.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

import whalefall
from tests.unit.app.conftest import PASSWORD, Visitor
from tests.unit.app.test_retelling_supervisor import constants_of, is_said, parts_of, pieces
from whalefall.app.notify import incidents
from whalefall.app.retelling import _VALUE, retold, sentences, told_in

ROOT = Path(whalefall.__file__).parent
CHINESE = {"Accept-Language": "zh-CN"}
# Where the sentence stands among the arguments of what is called with it.
MADE_BY = {"ok": 1, "Problem": 2, "UsageError": 0, "InvalidTrigger": 0, "InvalidArguments": 0, "JobConflict": 0}
MADE_BY |= {"TriggerError": 0, "CronSyntaxError": 0}
# A terminal alone shows these.
NOT_SHOWN = ("scheduler/commands.py", "scheduler/verify.py", "scheduler/ledger/foreign.py", "app/notify/")
# Made in other ways than by such a call; each is shown by a test of its own below, or stored as a reason.
ALSO_SAID = (
    "There is no job 'x'.",
    "There is no run 'x'.",
    "There is no service or instance 'x'; there are: web, scheduler.",
    "No whalefall is running here (nothing answers at /run/control.sock). Start one: whalefall serve",
    "5 seconds",
    "5 minutes",
    "The request is malformed and was not understood.",
    "There is nothing at this address. The addresses that exist are in /api/v1/openapi.json.",
    "This address does not know the method; the Allow header lists those it knows.",
    "The body is too large; a request of this API never needs more than 64 KiB.",
    "Something broke on our side; the log has the details under this request id.",
    "The database does not answer right now, so nothing was changed. Try again in a few seconds.",
    "The ledger's database refuses: the disk is full (disk).",
    "The ledger's database does not answer: gone. Start it, or mend DATABASE_URL.",
    "no scheduler has ever run",
    "no scheduler leads since 2026-01-01 00:00:00 UTC",
    "the loop of host:1 has not turned for 30 s",
    "3 fires or starts are late by more than 30 s",
    "paused by ahab",
    "paused by ahab: the sea",
    "run 7 was still alive (1 of 1 allowed)",
    "5 runs were waiting already (queue_limit)",
    "cancelled by ahab before it started",
    "attempt 1 failed; again in 5 s",
    "lost: its runner host:1 stopped reporting",
    "its runner host:1 stopped reporting",
    "again, after 7",
    "Missing data for required field.",
    "Unknown field.",
    "Field may not be null.",
    "Invalid input type.",
    "Not a valid string.",
    "Not a valid integer.",
    "Not a valid boolean.",
    "Not a valid mapping type.",
    "Not a valid aware datetime.",
    "Not a valid datetime.",
    "Length must be between 1 and 64.",
    "Longer than maximum length 500.",
    "Must be one of: view, admin.",
    "Must be greater than or equal to 1 and less than or equal to 50.",
    "Only 'cron' triggers can be edited.",
    "2026-03-29: it would not run. There is no 02:30 in that night (dst_gap='skip').",
    "2026-03-29: it would run at 03:00. There is no 02:30 in that night (dst_gap='run').",
    "2026-10-25: it would run twice. There are two 02:30 in that night (dst_fold='both').",
    "2026-10-25: it would run once, at the first 02:30 of two (dst_fold='first').",
    "2026-10-25: it would run once, at the second 02:30 of two (dst_fold='second').",
    "Its trigger cannot be computed: 0 s is no interval.",
    "broken: Its trigger cannot be computed: 0 s is no interval.",
    "web.1 restarts.",
    "web.1 is reloaded.",
    *incidents.RECOVERED.values(),
    f"It is due, and no scheduler has looked. {incidents.LAST_OF_FLAPPING}",
    "An instant",
    "7 instants",
    "7 more than NOTIFY_RATE lets through: 7 failed.",
    *(incidents.FLAPPING, incidents.OVER_RATE, incidents.OLD, incidents.NOT_WANTED),
)


# Alarms are put together before they are raised: all that these say is said to people.
ALARMING = ("scheduler/watchman.py", "app/notify/watch.py")


def said_in_alarm() -> Iterator[tuple[str, str]]:
    for place in ALARMING:
        for node in ast.walk(ast.parse((ROOT / place).read_text())):
            if isinstance(node, ast.Assign | ast.Call):
                told = [node.value] if isinstance(node, ast.Assign) else node.args
                texts = [text.replace("<7>", "7") for part in told for text in _texts(part)]
                yield from ((f"{place}:{node.lineno}", text) for text in texts if text.count(" ") > 2)


# What a run's reason, or the scheduler's, is made of; and what of these files' words no page ever shows.
REASONING = ("core/fires", "core/runs", "ledger/fires", "ledger/jobs", "ledger/runs", "ledger/reconcile")
REASONING += ("ledger/ledger", "admin", "executors/processes", "runtime")
LOGGED = re.compile(r"%[sd.r]|SET LOCAL|celery\[redis\]|\b(?:DATABASE_URL|SCHEDULER_APPLICATION)\b|^declared anew$")
TO_THE_TERMINAL = ("), and this is ", " in its configuration.", "a watcher of the ledger failed")


def said_by_the_code() -> Iterator[tuple[str, str]]:
    yield from said_in_alarm()
    for path in [*ROOT.glob("app/**/*.py"), *ROOT.glob("scheduler/**/*.py")]:
        place = path.relative_to(ROOT).as_posix()
        if place.startswith(NOT_SHOWN):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and (name := _name(node.func)) in MADE_BY:
                told = node.args[MADE_BY[name] : MADE_BY[name] + 1]
                told += [word.value for word in node.keywords if word.arg in ("message", "suggestions")]
                yield from ((f"{place}:{node.lineno}", text) for part in told for text in _texts(part))


def _name(function: ast.expr) -> str:
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def _texts(node: ast.expr) -> Iterator[str]:
    """With values in it that no sentence has by itself; what is only a value is somebody else's sentence."""
    if isinstance(node, ast.Tuple):
        for part in node.elts:
            yield from _texts(part)
    elif isinstance(node, ast.Constant):
        yield str(node.value)
    elif isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else "<7>" for part in node.values]
        if re.search(r"\w{3}", "".join(part for part in parts if part != "<7>")):
            yield "".join(parts)


def test_every_sentence_of_the_code_is_known_in_chinese(shared: Flask) -> None:
    with shared.test_request_context(headers=CHINESE):
        found = list(said_by_the_code())
        assert len(found) > 60
        unknown = [(place, text) for place, text in found if retold(text) == text]
        assert unknown == []
        assert [text for text in ALSO_SAID if retold(text) == text] == []


def test_every_word_of_a_reason_stands_in_a_translated_sentence() -> None:
    known = [_VALUE.sub("\0", english).lower() for english, _ in told_in("sentences.zh_Hans.po")]
    found = [each for each in pieces(f"scheduler/{name}" for name in REASONING) if not LOGGED.search(each[1])]
    assert len(found) > 40
    forgotten = [
        (place, text)
        for place, text in found
        if text not in TO_THE_TERMINAL and not any(text.lower() in sentence for sentence in known)
    ]
    assert forgotten == []


def test_every_translation_is_of_a_sentence_that_exists_and_keeps_its_values() -> None:
    said = [*(text for _, text in said_by_the_code()), *ALSO_SAID, "f(a): b."]
    reasons = constants_of(f"scheduler/{name}" for name in REASONING)
    here = {english for english, _ in told_in("sentences.zh_Hans.po")}
    for sentence in (each for each in sentences() if each.english in here):
        parts = parts_of(sentence.english)
        is_reason = parts != [] and all(is_said(part, reasons) for part in parts)
        assert is_reason or any(sentence.pattern.fullmatch(text) for text in said), sentence.english
        assert set(_VALUE.findall(sentence.english)) == set(_VALUE.findall(sentence.chinese)), sentence.english


def test_values_are_kept_words_are_translated_and_the_unknown_stays(shared: Flask) -> None:
    with shared.test_request_context(headers=CHINESE):
        assert retold("'nightly' is paused.") == "“nightly”已暂停。"
        assert retold("attempt 2 timed out; again in 8 s") == "第 2 次尝试：超时；8 秒后重试"  # noqa: RUF001 - Chinese
        assert retold("lost: its runner host:1 stopped reporting") == "丢失：执行者 host:1 不再报告"  # noqa: RUF001 - Chinese
        assert retold("late by 400.2 s, the grace is 60 s") == "迟到 400.2 秒，宽限为 60 秒"  # noqa: RUF001 - Chinese
        assert retold("lost: its process vanished, and whoever minded it").startswith("丢失")
        assert retold("the shop was down") == "the shop was down"
        assert retold("100 % (percent)s") == "100 % (percent)s"
    with shared.test_request_context():
        assert retold("'nightly' is paused.") == "'nightly' is paused."


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/scheduler/jobs/greet", {"cron_expression": "0 99 * * *"}),
        ("PUT", "/scheduler/jobs/greet", {"cron_expression": "1 2 3"}),
        ("PUT", "/scheduler/jobs/greet", {}),
        ("PUT", "/scheduler/jobs/greet", {"cron_expression": 7, "surprise": 1}),
        ("PUT", "/scheduler/jobs/greet", {"cron_expression": "* * * * *", "trigger_type": "date"}),
        ("PUT", "/scheduler/jobs/nobody", {"cron_expression": "* * * * *"}),
        ("POST", "/scheduler/jobs/greet/actions/run", {"kwargs": {"nome": 1}}),
        ("POST", "/scheduler/jobs/greet/actions/run", {"kwargs": [1]}),
        ("POST", "/scheduler/jobs/greet/actions/pause", {"until": "2020-01-01T00:00:00+00:00"}),
        ("POST", "/scheduler/jobs/greet/actions/pause", {"until": "soon", "minutes": 0, "reason": "x" * 501}),
        ("POST", "/scheduler/runs/nothing/actions/cancel", {}),
        ("POST", "/users", {"name": "ahab", "password": "short"}),
        ("POST", "/users", {"name": "Ahab!", "password": PASSWORD}),
        ("POST", "/users", {"name": "admin", "password": PASSWORD, "role": "view"}),
        ("POST", "/users", {"name": "ahab", "password": PASSWORD, "role": "captain"}),
        ("PUT", "/users/admin", {"role": "view"}),
        ("POST", "/auth/password", {"current_password": "wrong", "new_password": PASSWORD}),
        ("POST", "/nothing", {}),
        ("POST", "/processes/web/actions/restart", {}),
    ],
)
def test_what_the_api_refuses_is_told_in_chinese(looking_admin: Visitor, method: str, path: str, body: dict) -> None:
    answer = looking_admin.ask(method, f"/api/v1{path}", json=body, headers=CHINESE)
    assert answer.status_code >= 400
    assert re.search(r"[\u4e00-\u9fff]", answer.json["message"]), answer.json["message"]
    for text in answer.json.get("extra", {}).get("fields", {}).values():
        assert re.search(r"[\u4e00-\u9fff]", text), text


def test_a_script_that_asks_for_no_language_gets_english(looking_admin: Visitor) -> None:
    answer = looking_admin.put("/api/v1/scheduler/jobs/nobody", json={"cron_expression": "* * * * *"})
    assert answer.json["message"] == "There is no job 'nobody'."
    assert "Accept-Language" in answer.headers["Vary"]
