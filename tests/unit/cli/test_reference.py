"""docs/reference/cli.md names every command and every option, and nothing else."""

import argparse
import re

from tests.support.supervised import ROOT
from whalefall.cli.parser import command_names, commands_of, make_parser

REFERENCE = (ROOT / "docs" / "reference" / "cli.md").read_text()
SHARED = {"-h", "--help"}
PLANNING = {"serve", "dev", "plan", "check"}  # their common options are explained at `serve`
CONTROL_OPTION = {"--procfile"}  # explained once for all commands that talk to a running whalefall


def section(name: str) -> str:
    return REFERENCE.partition(f"\n### `whalefall {name}`\n")[2].partition("\n#")[0]


def options(name: str) -> set[str]:
    command = commands_of(make_parser())[name]
    return {
        flag
        for each in (command, *commands_of(command).values())
        for action in each._actions
        if action.help != argparse.SUPPRESS
        for flag in action.option_strings
        if flag.startswith("--")
    } - SHARED


def test_every_command_has_its_heading_in_the_order_of_the_table() -> None:
    documented = re.findall(r"^### `whalefall ([a-z]+)`$", REFERENCE, re.MULTILINE)
    assert sorted(documented) == sorted(command_names())


def test_every_verb_is_explained_where_its_command_is() -> None:
    verbs = [(name, verb) for name, command in commands_of(make_parser()).items() for verb in commands_of(command)]
    assert ("jobs", "why") in verbs
    assert [each for each in verbs if f"`whalefall {' '.join(each)}" not in section(each[0])] == []


def test_every_option_is_explained_where_its_command_is() -> None:
    for name in command_names():
        shared = options("serve") if name in PLANNING - {"serve"} else CONTROL_OPTION
        for flag in options(name) - (shared if name != "serve" else set()):
            assert flag in section(name), (name, flag)


def test_no_option_is_explained_that_is_not_there() -> None:
    for name in command_names():
        for flag in re.findall(r"`(?:-\w`, `)?(--[a-z-]+)", section(name)):
            assert flag in options(name), (name, flag)
