"""The command line's shape: one table of commands, held to `docs/reference/cli.md` by a test."""

import argparse
import difflib
import importlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from whalefall import __version__
from whalefall.errors import UsageError

GRACE_S_MAX = 3600
LINES_MAX = 10_000
_PROCFILE_HELP = "the Procfile that serve was given, if it was given one"
COUNT_MAX = 100  # a service's ports reach no further


_SubParsers = argparse._SubParsersAction  # noqa: SLF001 - argparse has no public name for it
_AddVerb = Callable[[str, str], argparse.ArgumentParser]


class _Parser(argparse.ArgumentParser):
    """argparse's errors as ours: one line, with the nearest known word, exit code 2."""

    def error(self, message: str) -> NoReturn:
        if "arguments are required: VERB" in message:
            raise UsageError(f"a verb is missing. See: {self.prog} VERB --help\n{_verbs_told(self)}")
        hint = _with_hint(message, self)
        raise UsageError(f"{hint}{' ' if hint.endswith('?') else '. '}See: {self.prog} --help")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Raises UsageError. `run` of the answer is the command's function."""
    parser = make_parser()
    _refuse_too_early(parser, argv)
    arguments, rest = parser.parse_known_args(list(argv))
    if rest:
        command = commands_of(parser)[arguments.command]
        verb = commands_of(command).get(getattr(arguments, "verb", ""), command)
        verb.error(f"unrecognized arguments: {' '.join(rest)}")
    return arguments


def _refuse_too_early(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Raises UsageError for an option that stands before its command or verb: argparse takes its value for that."""
    words = list(argv)
    while words and (choices := commands_of(parser)):
        word = words.pop(0)
        if word in choices:
            parser = choices[word]
        elif not word.startswith("-") or word == "--":
            return
        elif (own := _option(parser, word)) is None:
            meant = list(_meant(parser, words))
            for command in [*(each for each in meant if _option(each, word)), *meant][:1]:
                command.error(f"unrecognized arguments: {word}")
            if known := [option for each in _below(parser) if (option := _option(each, word))]:
                if not words[_takes_the_next(known[0], word) :]:
                    parser.error(f"the following arguments are required: {_what_is_below(parser)}")
                parser.error(f"{_flag(word)} stands too early; write it at the end")
            return
        elif _takes_the_next(own, word):
            words[:1] = []


def _takes_the_next(option: argparse.Action, word: str) -> bool:
    """Its value stands behind it, and not in the word itself as in --lines=5 or -n5."""
    return option.nargs is None and word == _flag(word)


def _meant(parser: argparse.ArgumentParser, words: Sequence[str]) -> Iterator[argparse.ArgumentParser]:
    """Each command, with its verb where it has verbs, that `words` may name; the likeliest first."""
    choices = commands_of(parser)
    if not choices:
        yield parser
    for at, word in enumerate(words):
        if word in choices:
            yield from _meant(choices[word], words[at + 1 :])


def _below(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Every command of it, and every verb."""
    for command in commands_of(parser).values():
        yield command
        yield from _below(command)


def _what_is_below(parser: argparse.ArgumentParser) -> str:
    """COMMAND or VERB."""
    return next(str(action.metavar) for action in parser._actions if isinstance(action, _SubParsers))  # noqa: SLF001


def _option(parser: argparse.ArgumentParser, word: str) -> argparse.Action | None:
    """What `word` is to the parser, as --lines=5 or -n5 are an option to some; None when it has no such option."""
    return parser._option_string_actions.get(_flag(word))  # noqa: SLF001 - argparse has no public list of its options


def _flag(word: str) -> str:
    return word.partition("=")[0] if word.startswith("--") else word[:2]


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
    plan.add_argument("--planned", default="", help=argparse.SUPPRESS)  # what newcode.py compares the next Plan with
    check = add("check", "say what serve would refuse: Procfile, .env, settings, application, machine", "planning")
    _plan_options(check)
    check.add_argument("--json", action="store_true", help="what was found, as one JSON document")
    check.add_argument("--no-import", action="store_true", help="leave the application alone, where it cannot run")

    for role, purpose in (
        ("web", "become the web Gunicorn (a command for the Procfile)"),
        ("scheduler", "become the scheduler Gunicorn (a command for the Procfile)"),
    ):
        add(role, purpose, "roles").add_argument("app", nargs="?", default="", metavar="APP", help="module:callable")
    add("nginx", "become Nginx, configured (a command for the Procfile)", "roles")

    _talking(add)
    _jobs(_verbs(add("jobs", "jobs and runs: list, show, run, pause, resume, history, why", "jobs")))
    _ledger(_verbs(add("ledger", "the record of all runs: verify, fast-forward, vacuum, import", "jobs")))
    notify = _verbs(add("notify", "notifications: send a test to everybody who would be told", "notify"))
    notify("test", "send a test notice through each channel of the settings")
    completion = _control(add("completion", "print what completes commands and services in your shell", "completion"))
    shells = ("bash", "zsh", "fish", "services")
    completion.add_argument("shell", choices=shells, metavar="SHELL", help="bash, zsh or fish")
    _users(_verbs(add("users", "who may log in: list, add, passwd, setup-link", "users")))
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
        if name in ("restart", "reload"):
            _no_import(command)
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
    _no_import(scale)
    scale.add_argument("numbers", nargs="+", type=_count, metavar="SERVICE=N", help="as web=3")
    _acting(add("shutdown", "stop everything in order, and the supervisor with it", "acting"))
    _acting(add("health", "exit 0 when all is well, 1 with the reason when not", "health"))


def _jobs(verb: _AddVerb) -> None:
    listed = verb("list", "a line for each job: state, trigger, next and last time")
    shown = verb("show", "all about one job, or about one run with its output")
    shown.add_argument("job", metavar="JOB|RUN", help="a job's id, or a run's")
    run = verb("run", "run a job now")
    run.add_argument("job", metavar="JOB", help="a job's id")
    run.add_argument("--args", default="", metavar="JSON", help="an object of arguments")
    run.add_argument("--reason", default="", metavar="TEXT", help="why, for the record")
    run.add_argument("--dedupe", default="", metavar="KEY", help="asking twice with one key runs once")
    run.add_argument("--wait", action="store_true", help="until it has ended: exit code 0 if it succeeded, else 1")
    pause = verb("pause", "let a job not fire, until it is resumed")
    pause.add_argument("job", metavar="JOB", help="a job's id")
    pause.add_argument("--reason", default="", metavar="TEXT", help="why, for the record")
    pause.add_argument("--until", default="", metavar="TIME", help="when it ends by itself, as '2026-12-31 18:00'")
    verb("resume", "let a paused job go on").add_argument("job", metavar="JOB", help="a job's id")
    history = verb("history", "runs, and instants without a run and why")
    history.add_argument("job", nargs="?", default="", metavar="JOB", help="only of this job")
    history.add_argument("--state", default="", metavar="STATE", help="only runs in this state, as failed")
    history.add_argument("-n", "--lines", type=_lines, default=20, metavar="N", help="how many (default 20)")
    why = verb("why", "the chain of reasons why it ran at a time, or did not")
    why.add_argument("job", metavar="JOB", help="a job's id")
    when = "as in history, UTC unless it says so (default: the last)"
    # The default is argparse's own; unless it is given, its errors call TIME required.
    why.add_argument("time", nargs="*", default=[], metavar="TIME", help=when)
    for each, what in ((listed, "as JSON"), (shown, "as JSON"), (run, "the run as JSON"), (history, "as JSON")):
        each.add_argument("--json", action="store_true", help=what)


def _ledger(verb: _AddVerb) -> None:
    verify = verb("verify", "is each expected instant on record once? exit code 1 if not")
    verify.add_argument("--from", dest="start", default="", metavar="TIME", help="default: a day ago")
    verify.add_argument("--to", dest="end", default="", metavar="TIME", help="default: now")
    verify.add_argument("--job", default="", metavar="JOB", help="only this job")
    verb("fast-forward", "after restoring a backup: catch up nothing from the past")
    verb("vacuum", "forget old runs by each job's policy, and give the space back")
    taken = verb("import", "take over an apscheduler_jobs table")
    taken.add_argument("url", metavar="URL", help="the database with the old table")
    taken.add_argument("--table", default="apscheduler_jobs", metavar="NAME", help="the table's name")
    taken.add_argument("--dry-run", action="store_true", help="only say what would be taken")


def _users(verb: _AddVerb) -> None:
    verb("list", "a line for each user: role and last login")
    added = verb("add", "make a user; asks for the password, or reads a line of it")
    added.add_argument("name", metavar="NAME", help="the new user's")
    what = "what they may (default view; of the first one admin)"
    added.add_argument("--role", choices=("view", "admin"), default="", help=what)
    changed = verb("passwd", "give a user a new password, and end their sessions")
    changed.add_argument("name", metavar="NAME", help="the user's")
    verb("setup-link", "print where to make the first administrator")


def command_names() -> list[str]:
    """In the order of the help."""
    return list(commands_of(make_parser()))


def commands_of(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    """The parser of each command."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no public list of its commands
        if isinstance(action, _SubParsers):
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


def _no_import(command: argparse.ArgumentParser) -> None:
    command.add_argument("--no-import", action="store_true", help="do not try the scheduler's new code first")


def _control(command: argparse.ArgumentParser) -> argparse.ArgumentParser:
    command.add_argument("--procfile", type=Path, metavar="FILE", help=_PROCFILE_HELP)
    return command


def _verbs(command: argparse.ArgumentParser) -> _AddVerb:
    """What adds a verb to a command that has several, each with arguments of its own."""
    _control(command)
    verbs = command.add_subparsers(dest="verb", metavar="VERB", required=True, title="verbs")

    def add(name: str, purpose: str) -> argparse.ArgumentParser:
        verb: argparse.ArgumentParser = verbs.add_parser(name, help=purpose, description=purpose, allow_abbrev=False)
        # Also behind the verb; without a default, which would win over what stands before it.
        verb.add_argument("--procfile", type=Path, default=argparse.SUPPRESS, metavar="FILE", help=_PROCFILE_HELP)
        return verb

    return add


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
    if match := re.match(r"argument (\S+): invalid choice: '([^']*)'", message):
        return _no_choice(match[1], match[2], parser)
    if "arguments are required: COMMAND" in message:
        return "a command is missing, for example `whalefall serve`"
    if match := re.match(r"unrecognized arguments: (\S+)", message):
        if _option(parser, match[1]):  # this one would know it
            return f"{_flag(match[1])} stands too early; write it at the end"
        word = match[1].partition("=")[0]
        flags = [flag for action in parser._actions for flag in action.option_strings]  # noqa: SLF001
        what = "option" if match[1].startswith("-") else "argument"
        near = difflib.get_close_matches(word, flags, 1) if what == "option" else []
        return f"{parser.prog} has no {what} '{match[1]}'" + (f", did you mean '{near[0]}'?" if near else "")
    return message


def _no_choice(where: str, word: str, parser: argparse.ArgumentParser) -> str:
    choices = [word for action in parser._actions if where in _names(action) for word in action.choices or ()]  # noqa: SLF001
    near = difflib.get_close_matches(word, choices, 1)
    told = f", did you mean '{near[0]}'?" if near else ""
    if where == "COMMAND":
        return f"there is no command '{word}'{told}"
    what = "verb" if where == "VERB" else where
    return f"{parser.prog} has no {what} '{word}'" + (told or f"; there are: {', '.join(choices)}")


def _names(action: argparse.Action) -> tuple[str, ...]:
    """As argparse's errors call it."""
    return "/".join(action.option_strings), str(action.metavar)


def _verbs_told(parser: argparse.ArgumentParser) -> str:
    """A line for each verb."""
    listed = [action._choices_actions for action in parser._actions if isinstance(action, _SubParsers)]  # noqa: SLF001
    lines = [(verb.dest, verb.help or "") for verbs in listed for verb in verbs]
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"  {name:{width}}  {purpose}" for name, purpose in lines)
