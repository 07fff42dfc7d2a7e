"""The command line: what it takes, and what it says when it does not."""

from pathlib import Path

import pytest

from whalefall import __version__
from whalefall.cli.main import main
from whalefall.cli.parser import command_names, parse
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
