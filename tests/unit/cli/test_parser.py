"""The command line: what it takes, and what it says when it does not."""

import re
from pathlib import Path

import pytest

from whalefall import __version__
from whalefall.cli.main import main
from whalefall.cli.parser import command_names, commands_of, make_parser, parse
from whalefall.errors import UsageError


def test_serve_takes_everything_together() -> None:
    words = "serve shop:app -f deploy/Procfile --port 8000 -c web=2,worker=0 --grace 20 --env prod.env"
    found = parse(words.split())
    assert (found.app, found.procfile, found.port) == ("shop:app", Path("deploy/Procfile"), 8000)
    assert (found.formation, found.grace, found.env) == ("web=2,worker=0", 20, Path("prod.env"))


@pytest.mark.parametrize("words", [[], ["-p", "1"], ["--port=1"]])
def test_serve_needs_nothing(words: list[str]) -> None:
    assert parse(["serve", *words]).app == ""


WRONG = {
    "nothing": ([], "a command is missing, for example `whalefall serve`. See: whalefall --help"),
    "a typo": (["serv"], "there is no command 'serv', did you mean 'serve'?"),
    "nonsense": (["xyzzy"], "there is no command 'xyzzy'. See: whalefall --help"),
    "an option": (["serve", "--prot", "1"], "whalefall serve has no option '--prot', did you mean '--port'?"),
    "an abbreviation": (["serve", "--por", "1"], "has no option '--por', did you mean '--port'?"),
    "an argument too many": (["serve", "a:b", "c"], "whalefall serve has no argument 'c'. See: whalefall serve --help"),
    "a port in words": (["serve", "--port", "http"], "'http' is not a port; write a whole number from 1 to 65535"),
    "port 0": (["serve", "--port", "0"], "'0' is not a port"),
    "a negative port": (["serve", "--port=-1"], "'-1' is not a port"),
    "a huge port": (["serve", "--port", "70000"], "'70000' is not a port"),
    "no grace": (["serve", "--grace", "0"], "'0' is not a number of seconds; write a whole number from 1 to 3600"),
    "a fraction": (["serve", "--grace", "1.5"], "'1.5' is not a number of seconds"),
    "no value": (["serve", "--port"], "argument --port/-p: expected one argument"),
    "a missing service": (["restart"], "the following arguments are required: SERVICE. See: whalefall restart --help"),
    "a verb's typo": (["jobs", "lst"], "whalefall jobs has no verb 'lst', did you mean 'list'? See: whalefall jobs"),
    "a verb like no other": (["users", "xyzzy"], "has no verb 'xyzzy'; there are: list, add, passwd, setup-link. See:"),
    "a choice": (
        ["users", "add", "x", "--role", "vew"],
        "whalefall users add has no --role 'vew', did you mean 'view'?",
    ),
    "a shell": (["completion", "bsh"], "whalefall completion has no SHELL 'bsh', did you mean 'bash'?"),
    "another verb's option": (["jobs", "list", "--until", "x"], "whalefall jobs list has no option '--until'"),
    "an option too early": (["jobs", "--json", "list"], "--json stands too early; write it at the end. See:"),
    "nothing but an option": (["--json"], "a command is missing, for example `whalefall serve`. See: whalefall --help"),
    "nothing but its value": (["-n", "5"], "a command is missing, for example `whalefall serve`."),
    "before a typo": (["--json", "statsu"], "--json stands too early; write it at the end. See: whalefall --help"),
    "before the command": (["--json", "status"], "--json stands too early; write it at the end. See: whalefall status"),
    "with a value": (
        ["jobs", "-n", "5", "history"],
        "-n stands too early; write it at the end. See: whalefall jobs hist",
    ),
    "with a value at once": (["jobs", "-n5", "history"], "-n stands too early; write it at the end. See: whalefall jo"),
    "a value like a verb": (["jobs", "--state", "list", "history"], "--state stands too early; write it at the end."),
    "behind one that may": (["jobs", "--procfile", "P", "-n", "5", "history"], "-n stands too early; write it at the"),
    "too early by two": (
        ["-n", "5", "jobs", "history"],
        "-n stands too early; write it at the end. See: whalefall jobs h",
    ),
    "with a value and a typo": (
        ["jobs", "-n", "5", "histroy"],
        "-n stands too early; write it at the end. See: whalef",
    ),
    "nobody's, with a value": (
        ["jobs", "-x", "5", "history"],
        "whalefall jobs history has no option '-x'. See: whalef",
    ),
    "a verb's argument too many": (["jobs", "list", "x"], "whalefall jobs list has no argument 'x'"),
    "no job": (["jobs", "show"], "the following arguments are required: JOB|RUN. See: whalefall jobs show --help"),
    "no job to ask why": (["jobs", "why"], "the following arguments are required: JOB. See: whalefall jobs why --help"),
    "no lines": (["logs", "-n", "0"], "'0' is not a number of lines"),
}


@pytest.mark.parametrize(("words", "sentence"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_one_sentence_with_the_way_on(words: list[str], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(words)
    assert sentence in str(caught.value)
    assert "See: whalefall" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_front_door_prints_one_line_and_answers_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serv"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "whalefall: there is no command 'serv', did you mean 'serve'? See: whalefall --help\n"


@pytest.mark.parametrize("name", ["jobs", "users", "ledger", "notify"])
def test_a_command_without_its_verb_shows_the_verbs_with_a_line_each(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse([name])
    first, *lines = str(caught.value).splitlines()
    assert first == f"a verb is missing. See: whalefall {name} VERB --help"
    verbs = commands_of(commands_of(make_parser())[name])
    assert [line.split()[0] for line in lines] == list(verbs)
    assert all(re.fullmatch(r"  [a-z-]+ {2,}\w.*", line) for line in lines)
    assert max(map(len, lines)) < 80


@pytest.mark.parametrize("words", ["--procfile a/Procfile jobs list", "jobs list --procfile a/Procfile"])
def test_the_procfile_may_stand_before_and_behind_the_verb(words: str) -> None:
    first, *rest = words.split()
    found = parse(["jobs", first, rest[0], *rest[2:]] if first == "--procfile" else words.split())
    assert found.procfile == Path("a/Procfile")


def test_a_time_may_be_pasted_without_quotes() -> None:
    assert parse(["jobs", "why", "report", "2026-12-31", "18:00:00", "UTC"]).time == ["2026-12-31", "18:00:00", "UTC"]
    assert parse(["jobs", "why", "report"]).time == []


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"whalefall {__version__}\n"


@pytest.mark.parametrize("name", command_names())
def test_every_command_has_help_and_a_room(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    import importlib

    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])
    assert caught.value.code == 0
    assert f"whalefall {name}" in capsys.readouterr().out
    rooms = ("serve", "planning", "roles", "control", "acting", "health", "users", "jobs", "notify", "completion")
    assert sum(name in importlib.import_module(f"whalefall.cli.{room}").COMMANDS for room in rooms) == 1
