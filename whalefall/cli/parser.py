"""The command line's shape: one table of commands, held to `docs/reference/cli.md` by a test."""

import argparse
import difflib
import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from whalefall import __version__
from whalefall.errors import UsageError

GRACE_S_MAX = 3600
LINES_MAX = 10_000
COUNT_MAX = 100  # a service's ports reach no further


class _Parser(argparse.ArgumentParser):
    """argparse's errors as ours: one line, with the nearest known word, exit code 2."""

    def error(self, message: str) -> NoReturn:
        hint = _with_hint(message, self)
        raise UsageError(f"{hint}{'' if hint.endswith('?') else '.'} See: {self.prog} --help")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Raises UsageError. `run` of the answer is the command's function."""
    parser = make_parser()
    arguments, rest = parser.parse_known_args(list(argv))
    if rest:
        commands_of(parser)[arguments.command].error(f"unrecognized arguments: {' '.join(rest)}")
    return arguments


def make_parser() -> argparse.ArgumentParser:
    """Every command with its options."""
    parser = _Parser(
        prog="whalefall",
        description="Runs a Flask + APScheduler application: Nginx, web and scheduler under one small PID 1.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"whalefall {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, purpose: str, room: str) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = commands.add_parser(
            name, help=purpose, description=purpose, allow_abbrev=False
        )
        command.set_defaults(run=_later(room, name))
        return command

    _plan_options(add("serve", "plan, then run everything under one supervisor", "serve"))
    dev = add("dev", "serve for development: load changed code, .env wins, one process may have the terminal", "serve")
    _plan_options(dev)
    _attach(dev)
    dev.set_defaults(dev=True)
    plan = add("plan", "print what serve would run, and where each variable comes from", "planning")
    _plan_options(plan)
    plan.add_argument("--json", action="store_true", help="as JSON")
    plan.add_argument(
        "--secrets", action="store_true", help="show secrets; the JSON is then exactly what the supervisor reads"
    )
    plan.add_argument("--dev", action="store_true", help="what dev would run")
    _attach(plan)
    plan.add_argument("--for-supervisor", action="store_true", help=argparse.SUPPRESS)
    plan.add_argument("--scale", default="", help=argparse.SUPPRESS)  # the supervisor's, over --formation
    check = add("check", "validate Procfile, .env, settings, options and the Nginx configuration", "planning")
    _plan_options(check)
    check.add_argument("--json", action="store_true", help="what was found, as one JSON document")

    for role, purpose in (
        ("web", "become the web Gunicorn (a command for the Procfile)"),
        ("scheduler", "become the scheduler Gunicorn (a command for the Procfile)"),
    ):
        add(role, purpose, "roles").add_argument("app", nargs="?", default="", metavar="APP", help="module:callable")
    add("nginx", "become Nginx, configured (a command for the Procfile)", "roles")

    _talking(add)
    _jobs_and_ledger(add)
    notify = _control(add("notify", "notifications: send a test to everybody who would be told", "notify"))
    notify.add_argument("verb", choices=("test",), metavar="VERB", help="test")
    completion = _control(add("completion", "print what completes commands and services in your shell", "completion"))
    shells = ("bash", "zsh", "fish", "services")
    completion.add_argument("shell", choices=shells, metavar="SHELL", help="bash, zsh or fish")
    users = _control(add("users", "who may log in: list, add, passwd, setup-link", "users"))
    users.add_argument("verb", choices=("list", "add", "passwd", "setup-link"), metavar="VERB", help="what to do")
    users.add_argument("name", nargs="?", default="", metavar="NAME", help="for add and passwd")
    users.add_argument("--role", choices=("view", "admin"), default="view", help="for add (default view)")
    return parser


def _talking(add: Callable[[str, str, str], argparse.ArgumentParser]) -> None:
    status = _control(add("status", "what runs: state, uptime, restarts", "control"))
    status.add_argument("--json", action="store_true", help="as JSON")
    logs = _control(add("logs", "the last lines of each process", "control"))
    logs.add_argument("-f", "--follow", action="store_true", help="go on until interrupted")
    logs.add_argument("-n", "--lines", type=_lines, default=100, metavar="N", help="how many lines (default 100)")
    logs.add_argument("--json", action="store_true", help="one JSON object a line")
    logs.add_argument("service", nargs="?", default="", metavar="SERVICE", help="a service or an instance (web, web.1)")
    for name, purpose, many in (
        ("start", "start a service that is stopped, failed or waiting", ""),
        ("stop", "stop a service; without one, everything", "?"),
        ("restart", "stop and start a service", ""),
        ("reload", "plan again and replace what changed, without losing a request", "?"),
    ):
        command = _acting(add(name, purpose, "acting"))
        if many:
            command.add_argument("service", nargs="?", default="", metavar="SERVICE", help="a service or an instance")
        else:
            command.add_argument("service", metavar="SERVICE", help="a service or an instance")
    events = _control(add("events", "what the supervisor did and why", "control"))
    events.add_argument("-f", "--follow", action="store_true", help="go on until interrupted")
    events.add_argument("-n", "--lines", type=_lines, default=50, metavar="N", help="how many (default 50)")
    events.add_argument("--json", action="store_true", help="one JSON object a line")
    why = _control(add("why", "why did it end? the crash reports of a service, newest last", "control"))
    why.add_argument("service", nargs="?", default="", metavar="SERVICE", help="a service or an instance")
    why.add_argument("-n", "--lines", type=_lines, default=1, metavar="N", help="how many reports (default 1)")
    why.add_argument("--json", action="store_true", help="as JSON")
    scale = _acting(add("scale", "run more or fewer instances of a service, until the next start", "acting"))
    scale.add_argument("numbers", nargs="+", type=_count, metavar="SERVICE=N", help="as web=3")
    _acting(add("shutdown", "stop everything in order, and the supervisor with it", "acting"))
    _acting(add("health", "exit 0 when all is well, 1 with the reason when not", "health"))


def _jobs_and_ledger(add: Callable[[str, str, str], argparse.ArgumentParser]) -> None:
    jobs = _control(add("jobs", "jobs and runs: list, show, run, pause, resume, history, why", "jobs"))
    verbs = ("list", "show", "run", "pause", "resume", "history", "why")
    jobs.add_argument("verb", choices=verbs, metavar="VERB", help="what to do")
    jobs.add_argument("job", nargs="?", default="", metavar="JOB", help="a job's id")
    jobs.add_argument("time", nargs="?", default="", metavar="TIME", help="for why: 2026-12-31T18:00, UTC by default")
    jobs.add_argument("--args", default="", metavar="JSON", help="for run: an object of arguments")
    jobs.add_argument("--reason", default="", metavar="TEXT", help="for run and pause: why, for the record")
    jobs.add_argument("--dedupe", default="", metavar="KEY", help="for run: asking twice with one key runs once")
    jobs.add_argument("--until", default="", metavar="TIME", help="for pause: when it ends by itself")
    jobs.add_argument("--state", default="", metavar="STATE", help="for history: only runs in this state")
    jobs.add_argument("-n", "--lines", type=_lines, default=20, metavar="N", help="for history: how many (default 20)")
    jobs.add_argument("--json", action="store_true", help="for list, show and history: as JSON")
    ledger = _control(add("ledger", "the record of all runs: verify, fast-forward, vacuum, import", "jobs"))
    deeds = ("verify", "fast-forward", "vacuum", "import")
    ledger.add_argument("verb", choices=deeds, metavar="VERB", help="what to do")
    ledger.add_argument("url", nargs="?", default="", metavar="URL", help="for import: the database with the old table")
    ledger.add_argument("--from", dest="start", default="", metavar="TIME", help="for verify (default a day ago)")
    ledger.add_argument("--to", dest="end", default="", metavar="TIME", help="for verify (default now)")
    ledger.add_argument("--job", default="", metavar="JOB", help="for verify: only this job")
    ledger.add_argument("--table", default="apscheduler_jobs", metavar="NAME", help="for import: the table's name")
    ledger.add_argument("--dry-run", action="store_true", help="for import: only say what would be taken")


def command_names() -> list[str]:
    """In the order of the help."""
    return list(commands_of(make_parser()))


def commands_of(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    """The parser of each command."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no public list of its commands
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            return action.choices
    return {}


def _plan_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("app", nargs="?", default="", metavar="APP", help="the application as module:callable")
    command.add_argument("-f", "--procfile", type=Path, metavar="FILE", help="another Procfile than ./Procfile")
    command.add_argument("--port", "-p", type=_port, metavar="N", help="the public port (default: PORT, else 5000)")
    command.add_argument(
        "-c", "--formation", default="", metavar="TYPE=N,…", help="how many of each process type (default 1)"
    )
    command.add_argument("--grace", type=_grace, metavar="SECONDS", help="for a whole stop (default: GRACE, else 9)")
    command.add_argument("--env", type=Path, metavar="FILE", help="another file than .env beside the Procfile")


def _attach(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--attach", default="", metavar="TYPE", help="the process type that has the terminal, for pdb (with dev)"
    )


def _control(command: argparse.ArgumentParser) -> argparse.ArgumentParser:
    command.add_argument(
        "--procfile", type=Path, metavar="FILE", help="the Procfile that serve was given, if it was given one"
    )
    return command


def _acting(command: argparse.ArgumentParser) -> argparse.ArgumentParser:
    command.add_argument("--json", action="store_true", help="what came of it, as one JSON document")
    return _control(command)


def _later(room: str, name: str) -> Callable[[argparse.Namespace], int]:
    def run(arguments: argparse.Namespace) -> int:
        commands = importlib.import_module(f"whalefall.cli.{room}").COMMANDS
        code: int = commands[name](arguments)
        return code

    return run


def _port(text: str) -> int:
    return _number(text, 1, 65_535, "a port")


def _grace(text: str) -> int:
    return _number(text, 1, GRACE_S_MAX, "a number of seconds")


def _lines(text: str) -> int:
    return _number(text, 1, LINES_MAX, "a number of lines")


def _count(text: str) -> tuple[str, int]:
    name, equals, number = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not understood; write SERVICE=N, as web=3")
    return name, _number(number, 0, COUNT_MAX, "a number of instances")


def _number(text: str, low: int, high: int, what: str) -> int:
    if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}; write a whole number from {low} to {high}")
    return int(text)


def _with_hint(message: str, parser: argparse.ArgumentParser) -> str:
    """argparse's sentence, in our words where it is one that people meet often."""
    if match := re.match(r"argument COMMAND: invalid choice: '([^']*)'", message):
        near = difflib.get_close_matches(match[1], command_names(), 1)
        return f"there is no command '{match[1]}'" + (f", did you mean '{near[0]}'?" if near else "")
    if "arguments are required: COMMAND" in message:
        return "a command is missing, for example `whalefall serve`"
    if match := re.match(r"unrecognized arguments: (\S+)", message):
        flags = [flag for action in parser._actions for flag in action.option_strings]  # noqa: SLF001
        what = "option" if match[1].startswith("-") else "argument"
        near = difflib.get_close_matches(match[1].partition("=")[0], flags, 1) if what == "option" else []
        return f"{parser.prog} has no {what} '{match[1]}'" + (f", did you mean '{near[0]}'?" if near else "")
    return message
