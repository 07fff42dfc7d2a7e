# ruff: noqa: RUF001 - Chinese
"""What PID 1 says reaches a Chinese reader in Chinese: events, last exits, reasons, crash reports.

Two witnesses, so that a new sentence cannot be forgotten. The words are read out of the supervisor's source, and each
must stand in a translated sentence. And the engine lives through random histories, and all that it says must be told
whole: no English word is left but names.
"""

import ast
import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from flask import Flask

import whalefall
from tests.support.world import World
from tests.unit.supervisor.test_simulation import CHANGES, GATED, KEPT, PLAN
from whalefall.app.retelling import _VALUE, retold, told_in
from whalefall.plan import Dependency, Instance, Plan, RestartPolicy
from whalefall.supervisor.core import actions as do
from whalefall.supervisor.core.snapshot import snapshot

ROOT = Path(whalefall.__file__).parent
CHINESE = {"Accept-Language": "zh-CN"}
# To the log or a terminal, or to systemd; what they say is no event.
SILENT = {f"supervisor/{name}" for name in ("control", "main", "manager", "core/tail", "edge/logfiles", "edge/sink")}
SUPERVISOR = {path.relative_to(ROOT).with_suffix("").as_posix() for path in ROOT.glob("supervisor/**/*.py")}
SPEAKING = (*sorted(SUPERVISOR - SILENT), "control/client")
# To a terminal, or to a program that asks what our pages never ask.
NOT_SHOWN = (
    "left behind, because they did not die of SIGKILL: ",
    '. Last error: "',
    '. Last line: "',
    ". Its last ",
    "' needs a service; there are: ",
    "' is not available in this version",
    "'scale' needs a number for each service, as web=3",
    "a file that is no socket is in the way",  # only in a sentence of listen(2), which is shown as it is
    "somebody answers there",
)
# Names of kinds, which no sentence contains.
NOT_SHOWN += ("by itself", "as asked", "because it was not ready in time", "because it no longer answered")
# Known elsewhere, and tested there.
KNOWN = ("there is no service or instance '", "'; there are: ", "no whalefall is running here (nothing answers at ")
KNOWN += ("). Start one: whalefall serve",)
# Of the operating system, not of our source.
ERRNO = {"No such file or directory", "Permission denied", "Operation not permitted", "Not a directory"}
ERRNO |= {"Exec format error", "Connection refused", "Connection reset by peer", "Connection timed out", "Broken pipe"}
ERRNO |= {"Too many open files", "Cannot allocate memory", "Resource temporarily unavailable"}
ERRNO |= {"No space left on device", "Read-only file system"}
NAMES = {"web", "scheduler", "nginx", "worker", "release", "whalefall", "WATCHDOG", "SIGKILL", "SIGTERM", "SIGQUIT"}
NAMES |= {"SIGSTOP", "lock", "pid"}
WORLD = {"MB", "refused", "no", "such", "file", "another"}  # what the simulated one answers
TWO_WORDS = re.compile(r"[A-Za-z]{2,}\W{0,2} \W?[A-Za-z]{2,}")


def translated() -> list[str]:
    return [english for english, _ in told_in("supervisor.zh_Hans.po")]


def pieces(names: Iterable[str] = SPEAKING) -> Iterator[tuple[str, str]]:
    """The literal parts of all texts of at least two words that these files may say."""
    for name in names:
        tree = ast.parse((ROOT / f"{name}.py").read_text())
        silent = {id(each) for node in ast.walk(tree) if _says_nothing(node) for each in ast.walk(node)}
        for node in ast.walk(tree):
            text = node.value if isinstance(node, ast.Constant) and id(node) not in silent else None
            if isinstance(text, str) and TWO_WORDS.search(text):
                yield f"{name}.py:{node.lineno}", text


def _says_nothing(node: ast.AST) -> bool:
    """Docstrings, assertions, and the request of a probe."""
    if isinstance(node, ast.Assert) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
        return True
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and "\r\n" in node.value


def test_every_word_of_the_supervisor_stands_in_a_translated_sentence() -> None:
    literal = [_VALUE.sub("\0", english).lower() for english in translated()]
    found = list(pieces())
    assert len(found) > 60
    forgotten = [
        (place, piece)
        for place, piece in found
        if piece not in NOT_SHOWN + KNOWN and not any(piece.lower() in sentence for sentence in literal)
    ]
    assert forgotten == []


def test_every_translation_is_of_something_that_the_supervisor_says_and_keeps_its_values() -> None:
    constants = constants_of(SPEAKING)
    for english, chinese in told_in("supervisor.zh_Hans.po"):
        assert set(_VALUE.findall(english)) == set(_VALUE.findall(chinese)), english
        assert english in ERRNO or all(is_said(part, constants) for part in parts_of(english)), english


def constants_of(names: Iterable[str]) -> set[str]:
    """All literal text of these files."""
    return {
        str(node.value).lower()
        for name in names
        for node in ast.walk(ast.parse((ROOT / f"{name}.py").read_text()))
        if isinstance(node, ast.Constant)
    }


def parts_of(sentence: str) -> list[str]:
    """What stands between its values and has two words."""
    found = [part for part in re.split(r"%\(\w+\)s", sentence) if TWO_WORDS.search(part)]
    return [part.lower().strip(").") for part in found]


def is_said(part: str, constants: set[str]) -> bool:
    """In one piece, or put together from several."""
    if any(part in constant for constant in constants):
        return True
    ends = [constant for constant in constants if constant[1:] and part.endswith(constant)]
    return any(is_said(part.removesuffix(end), constants) for end in ends)


class Listening(World):
    """A world that writes down what people would read."""

    heard: ClassVar[set[str]] = set()

    def _do(self, actions: list[do.Action]) -> None:
        for action in actions:
            match action:
                case do.Report(text=text):
                    self.heard.add(text)
                case do.KeepDossier(what=what, facts=facts):
                    self.heard |= {what, str(facts["crashes"]), str(facts["last_probe"])}
        super()._do(actions)
        for row in snapshot(self.engine, self.now):
            self.heard |= {row["reason"], row["last_exit"]}


def _stops(on_give_up: str) -> Plan:
    """What happens only to services of another kind."""
    fragile = Instance("web", 1, PLAN.instances[1].command, restart=RestartPolicy(on_give_up=on_give_up))
    return Plan((fragile, Instance("worker", 1, fragile.command, after=(Dependency("web"),))))


@pytest.fixture(scope="module")
def heard() -> set[str]:
    chance = random.Random(7)
    histories = [*KEPT.values(), *([chance.randrange(256) for _ in range(120)] for _ in range(800))]
    plans = [(PLAN, CHANGES), (GATED, ()), (_stops("exit"), ()), (_stops("stop"), ())]
    Listening.heard.clear()
    for number, numbers in enumerate(histories):
        plan, changes = plans[number % len(plans)]
        Listening.of(numbers).run(plan, changes)
    return Listening.heard - {""}


def test_all_that_the_engine_says_in_its_histories_is_told_in_chinese(shared: Flask, heard: set[str]) -> None:
    kinds = {re.sub(r"[\d.]+", "7", text) for text in heard}
    assert len(kinds) > 60
    with shared.test_request_context(headers=CHINESE):
        told = {text: retold(text) for text in heard}
    left = {text: words for text, chinese in told.items() if (words := _english(chinese))}
    assert left == {}


def _english(text: str) -> set[str]:
    return set(re.findall(r"[A-Za-z]{2,}", text)) - NAMES - WORLD


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        (
            "scheduler.1 was killed by signal 9 (SIGKILL) 0.4 s after its start (crash 1 of 10 in 600 s); "
            "restarting at once",
            "scheduler.1 启动 0.4 秒后被信号 9（SIGKILL）终止（600 秒内崩溃 1 次，上限 10 次）；立即重启",
        ),
        (
            "web.1 could not be started: cannot run flask: No such file or directory 0.0 s after its start",
            "web.1 无法启动（0.0 秒）：无法运行 flask：没有那个文件或目录",
        ),
        ("waits for release to be finished, web to be ready", "等待 release 完成、web 就绪"),
        (
            "reload: nothing is changed: Procfile:3: 'web' is already defined on line 1. Rename one of them.",
            "重新加载：未做任何更改：Procfile:3: 'web' is already defined on line 1. Rename one of them.",
        ),
        (
            "last probe: cannot connect to 127.0.0.1:5001: Connection refused",
            "上次探测：无法连接 127.0.0.1:5001：拒绝连接",
        ),
        ("what the shop left behind", "what the shop left behind"),
    ],
)
def test_a_sentence_within_a_sentence_is_told_too(shared: Flask, english: str, chinese: str) -> None:
    with shared.test_request_context(headers=CHINESE):
        assert retold(english) == chinese
    with shared.test_request_context():
        assert retold(english) == english
