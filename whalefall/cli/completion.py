"""`whalefall completion SHELL`: prints the script that completes commands, options, files and the names of services."""

import argparse
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator

from whalefall.cli import parser
from whalefall.cli.control import run_dir
from whalefall.control.client import ask
from whalefall.control.protocol import Request
from whalefall.errors import ControlError, WhalefallError

_ANSWER_WITHIN_S = 1.0  # somebody holds the Tab key
_FILES = frozenset({"procfile", "env"})


def completion(arguments: argparse.Namespace) -> int:
    """The script, or with `services` the names themselves, one a line."""
    if arguments.shell == "services":
        print("\n".join(_services(arguments)))
        return 0
    import shtab

    whole = parser.make_parser()
    for command in _all_of(whole):
        for action in command._actions:  # noqa: SLF001 - argparse has no public list of its arguments
            if action.dest == "service":
                action.complete = shtab.cmd("whalefall completion services 2>/dev/null")  # type: ignore[attr-defined]  # shtab's way
            elif action.dest in _FILES:
                action.complete = shtab.FILE  # type: ignore[attr-defined]  # likewise
    print(shtab.complete(whole, arguments.shell))
    return 0


def _all_of(whole: ArgumentParser) -> Iterator[ArgumentParser]:
    """Commands and their verbs."""
    for command in parser.commands_of(whole).values():
        yield command
        yield from _all_of(command)


def _services(arguments: argparse.Namespace) -> Iterable[str]:
    """Of what runs here, else of the Procfile; nothing when neither can be read: nobody wants an error at a Tab."""
    try:
        rows = ask(run_dir(arguments), Request("status"), _ANSWER_WITHIN_S)["instances"]
        return dict.fromkeys(name for row in rows for name in (row["service"], row["name"]))
    except ControlError:
        return _of_the_procfile(arguments)
    except WhalefallError:
        return []


def _of_the_procfile(arguments: argparse.Namespace) -> Iterable[str]:
    from whalefall.cli import requests
    from whalefall.planner.world import processes

    try:
        return [process.name for process in processes(requests.of(arguments))[1]]
    except WhalefallError:
        return []


COMMANDS = {"completion": completion}
