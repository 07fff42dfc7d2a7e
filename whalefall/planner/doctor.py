"""What `check` finds in application and settings, a sentence each. It imports the application, in a child.

What `serve` would die of is an error, what runs but will hurt a warning. The child has the variables of the service
that would import it, but a RUN_DIR, DATA_DIR and LOG_DIR of its own, so that nothing is left behind.
"""

import difflib
import json
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from whalefall.planner import applications, python
from whalefall.planner.build import Built
from whalefall.planner.environment import PRIVATE, Environment, masked, plain
from whalefall.planner.findings import Finding
from whalefall.planner.services import START_TIMEOUT_S
from whalefall.planner.world import World
from whalefall.settings import table

HOW_TO_MOVE = "docs/how-to/move-from-flask-apscheduler.md"
_DOCKER_S, _KUBERNETES_S = 10, 30  # what they wait by default between TERM and KILL
_OURS = "WHALEFALL_"
_NEARLY = 0.85  # all of them share ten letters
_HARDLY_ANOTHER = 0.9  # a letter or two; in .env, where people write and no other program does
_APART = ("scheduler", "release")  # names that change what happens; whoever misses one has nothing to see
_NOT_READ = frozenset({"WHALEFALL_SUPERVISOR", "WHALEFALL_TOKEN"})  # a tag of our own; what the how-tos call a token
# These are wrong wherever it is imported; of all others the cause may be what only this machine lacks.
_IN_THE_CODE = {
    "SyntaxError",
    "ImportError",
    "NameError",
    "AttributeError",
    "TypeError",
    "AppImportError",
    "JobDeclarationError",
}


def findings(built: Built, *, imports: bool = True) -> Iterator[Finding]:
    """In the order of how much it hurts. Without `imports` the application is left alone."""
    if imports:
        loads = loaded(built.world)
        for spec in filter(None, dict.fromkeys([*loads, built.world.app])):
            yield from _of_application(built, spec, loads.get(spec, ""))
    for sentence in _of_names(built.world):
        yield Finding(sentence)
    for sentence in _of_variables(built.world.environment):
        yield Finding(sentence)
    for sentence in _of_settings(built.world):
        yield Finding(sentence)


def loaded(world: World) -> Mapping[str, str]:
    """{application: the first instance of ours that loads it}; "" is the built-in one. Foreign commands know theirs."""
    found: dict[str, str] = {}
    for role in world.running_roles():
        if role.ours and role.role in ("web", "scheduler"):
            found.setdefault(role.app or world.app, f"{role.name}.1")
    return found


def _of_application(built: Built, spec: str, instance: str) -> Iterator[Finding]:
    """Where no `instance` of ours would load it, we only look."""
    home = built.world.request.home.absolute()
    found = _import(built, spec, instance)
    if problem := found["problem"]:
        mends = filter(None, [*_mends(problem, home), _elsewhere(problem)])
        yield Finding(" ".join([_refusal(spec, problem, home), *mends]), "error" if instance else "warning")
    if found["ledger"]:
        yield Finding(found["ledger"], "error" if instance else "warning")
    if found["pages_missing"]:
        yield Finding(f"{spec} has no /scheduler, no /dashboard and no API: `install(app)` of whalefall.app.", "note")
    for each in found["started"]:
        yield Finding(
            f"{_shown(each['file'], home)}:{each['line']} starts {each['what']} when the application is imported: each "
            f"web worker would run its jobs. {_way_out(each['what'])} See {HOW_TO_MOVE}."
        )


def new_code(spec: str, home: Path, environ: Mapping[str, str], within_s: float) -> str:
    """Why a process with this `environ` could not load `spec` now; "" when it could, or when nobody can say."""
    try:
        with tempfile.TemporaryDirectory(prefix="whalefall-check-") as place:
            found = _imported(spec, home, environ, Path(place) / "answer", within_s)
    except OSError:  # no room for a file or a process, or no `home`
        return ""
    problem = found["problem"]
    if found["ledger"]:
        return str(found["ledger"])
    if not problem or not problem["kinds"]:  # no exception: too slow, or killed; the real one may have time and room
        return ""
    again = "Then: whalefall reload (without a name, which reads .env again)." if problem["variable"] else ""
    return " ".join(filter(None, [_refusal(spec, problem, home), *_mends(problem, home), again]))


def _refusal(spec: str, problem: Mapping[str, Any], home: Path) -> str:
    place = f"{_shown(problem['file'], home)}:{problem['line']}: " if problem["file"] else ""
    said = masked("", problem["text"])
    return f"{place}{spec} cannot be imported: {said}{'' if said.endswith(('.', '?')) else '.'}"


def _shown(file: str, home: Path) -> Path:
    path = Path(file)
    return path.relative_to(home) if path.is_relative_to(home) else path


def _mends(problem: Mapping[str, Any], home: Path) -> Iterator[str]:
    if missing := problem["missing"]:
        yield _module_mend(missing, home)
    if variable := problem["variable"]:
        yield f"Set {variable} in the environment or in .env."


def _elsewhere(problem: Mapping[str, Any]) -> str:
    wrong_everywhere = _IN_THE_CODE & set(problem["kinds"])
    return "" if wrong_everywhere else "If only this machine lacks something, check with --no-import."


def _module_mend(missing: str, home: Path) -> str:
    """Below a package that is there it is a name; else it may be one of the project's, or not installed."""
    package, _, name = missing.rpartition(".")
    near = applications.near(name if package else missing, home.joinpath(*package.split(".")) if package else home)
    if package:
        return f"Did you mean '{package}.{near}'?" if near else "Mend the name."
    mend = f"Did you mean '{near}'? If not, install" if near else "Mend the name, or install"
    return f"{mend} the package that has it, perhaps by: {sys.executable} -m pip install {missing}"


def _way_out(what: str) -> str:
    if what == "Flask-APScheduler":
        return "Import APScheduler from whalefall.compat.flask_apscheduler instead."
    return "Declare the jobs with `@scheduler.task(…)` of whalefall.Scheduler instead."


def _import(built: Built, spec: str, instance: str) -> dict[str, Any]:
    """What planner/imported.py tells. The application may do anything: it has a limit, and directories of its own."""
    environ = plain(built.environments.get(instance, built.world.environment))
    within_s = next((each.start_timeout_s for each in built.plan.instances if each.name == instance), START_TIMEOUT_S)
    with tempfile.TemporaryDirectory(prefix="whalefall-check-") as place:
        answer, scratch = Path(place) / "answer", str(Path(place) / "scratch")
        Path(scratch).mkdir()
        own = {"ENABLE_SCHEDULER": "false", "DATA_DIR": scratch, "RUN_DIR": scratch, "PYTHONDONTWRITEBYTECODE": "1"}
        if environ.get("LOG_DIR", "").strip():
            own["LOG_DIR"] = scratch
        return _imported(spec, built.world.request.home, environ | own, answer, within_s)


def _imported(spec: str, home: Path, environ: Mapping[str, str], answer: Path, within_s: float) -> dict[str, Any]:
    if not environ.get("SECRET_KEY", "").strip():
        environ = {**environ, "SECRET_KEY": secrets.token_hex(32)}  # the first start would generate one
    try:
        done = subprocess.run(
            [*python.module("whalefall.planner.imported"), spec, str(answer)],
            cwd=home,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # no pipe: what it leaves running would keep that open
            stderr=subprocess.DEVNULL,
            timeout=within_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        late = f"it takes longer than {within_s:g} s (start_timeout), and `serve` would not wait either"
        return _answer(answer, late)
    return _answer(answer, f"that ends its process {_by(done.returncode)}")


def _answer(file: Path, otherwise: str) -> dict[str, Any]:
    """Where it has left without an answer, `otherwise` is what happened."""
    try:
        found: dict[str, Any] = json.loads(file.read_bytes())
    except (OSError, ValueError):
        problem = {"kinds": [], "text": otherwise, "missing": "", "variable": "", "file": "", "line": 0}
        return {"started": [], "problem": problem, "pages_missing": False, "ledger": ""}
    return found


def _by(code: int) -> str:
    return f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"


def _of_names(world: World) -> Iterator[str]:
    """A name that misses ours by a letter, and an application that only one of the two has."""
    running = world.running_roles()
    names = [role.name for role in running]
    for role in running:
        near = difflib.get_close_matches(role.name, _APART, 1, _NEARLY)
        if near and not role.role and role.name not in _APART and near[0] not in names:
            yield f"{role.process.where}: '{role.name}' is treated as any other process. Did you mean '{near[0]}'?"
    ours = [role for role in running if role.ours and role.role in ("web", "scheduler")]
    given = next((role.app or world.app for role in ours if role.app or world.app), "")
    for role in ours:
        if given and not (role.app or world.app):
            also = "no job of it would run" if role.role == "scheduler" else "nobody would see it"
            yield (
                f"{role.process.where}: {role.name} runs the built-in application and not {given}: {also}. "
                f"Write: {role.process.command} {given}"
            )


def _of_variables(environment: Environment) -> Iterator[str]:
    """A misspelt variable of ours would be a default in silence."""
    all_settings = [row["variable"] for row in table()]
    settings = [name for name in all_settings if name.startswith(_OURS)]
    known = {*all_settings, *PRIVATE, *_NOT_READ}
    for name, variable in environment.items():
        near = difflib.get_close_matches(name, settings, 1, _NEARLY)
        if not near and Path(variable.source).name.startswith(".env"):
            near = difflib.get_close_matches(name, all_settings, 1, _HARDLY_ANOTHER)
        if name not in known and (near or name.startswith(_OURS)):
            hint = f"Did you mean '{near[0]}'?" if near else f"There are: {', '.join(settings)}."
            yield f"{name} ({variable.source}) is no variable of whalefall's and is not read. {hint}"


def _of_settings(world: World) -> Iterator[str]:
    settings = world.settings
    if settings.web_concurrency == 1 and any(role.role == "web" and role.ours for role in world.running_roles()):
        yield "WEB_CONCURRENCY=1: while the one worker is busy, hung or being replaced, all others wait. Take two."
    given = world.environment.get("GUNICORN_CMD_ARGS")
    if given and "--preload" in given.value and any(r.role == "scheduler" and r.ours for r in world.running_roles()):
        yield f"GUNICORN_CMD_ARGS ({given.source}) has --preload, which the scheduler refuses. Remove it."
    in_kubernetes = "KUBERNETES_SERVICE_HOST" in world.request.environ
    patience_s = _KUBERNETES_S if in_kubernetes else _DOCKER_S
    if settings.grace_s >= patience_s:
        who = "Kubernetes" if in_kubernetes else "Docker"
        mend = "terminationGracePeriodSeconds" if in_kubernetes else "stop_grace_period or `docker stop -t`"
        yield f"GRACE={settings.grace_s}: {who} kills after {patience_s} s unless told otherwise. Set {mend} above it."
