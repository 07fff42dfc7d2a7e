"""From the command line's words to the planner's request."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whalefall.errors import UsageError
from whalefall.planner.formation import scaled
from whalefall.planner.world import Request


def of(arguments: argparse.Namespace) -> Request:
    """The request of `serve`, `plan` and `check`; the control commands fill what they have."""
    return _request(arguments, here(), dict(os.environ))


def of_the_next_plan(supervisor: Mapping[str, Any], numbers: Mapping[str, int]) -> Request:
    """What its planner would be asked, by its part of the status, for a `scale` to `numbers` or for none.

    Raises ValueError, UsageError or OSError where that cannot be told.
    """
    arguments = _replan(supervisor)
    arguments.scale = ",".join(f"{service}={number}" for service, number in numbers.items())
    return _request(arguments, Path(supervisor["replan_in"]), environ_of(supervisor["pid"]))


def planned(supervisor: Mapping[str, Any]) -> dict[str, str]:
    """{scheduler: what it is} of the Plan that runs; {} where an older planner has made that, so that all is new."""
    return dict(pair.split("=", 1) for pair in _replan(supervisor).planned.split(",") if pair)


def _replan(supervisor: Mapping[str, Any]) -> argparse.Namespace:
    from whalefall.cli.parser import parse

    words = supervisor.get("replan", [])
    return parse(words[words.index("plan") :])


def environ_of(pid: int) -> dict[str, str]:
    """As it was started with. Raises OSError where we may not read that."""
    entries = os.fsdecode(Path(f"/proc/{pid}/environ").read_bytes()).split("\0")
    return {name: value for name, _, value in (entry.partition("=") for entry in entries if "=" in entry)}


def _request(arguments: argparse.Namespace, directory: Path, environ: Mapping[str, str]) -> Request:
    return Request(
        directory=directory,
        environ=environ,
        procfile=arguments.procfile,
        app=getattr(arguments, "app", ""),
        port=getattr(arguments, "port", None),
        formation=scaled(getattr(arguments, "formation", ""), getattr(arguments, "scale", "")),
        grace_s=getattr(arguments, "grace", None),
        env_file=getattr(arguments, "env", None),
        development=getattr(arguments, "dev", False),
        attach=getattr(arguments, "attach", ""),
    )


def here() -> Path:
    """The working directory. Raises UsageError when it was deleted under us."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise UsageError("the working directory no longer exists. Change to one that does.") from None
