"""From the command line's words to the planner's request."""

import argparse
import os
from pathlib import Path

from whalefall.errors import UsageError
from whalefall.planner.formation import scaled
from whalefall.planner.world import Request


def of(arguments: argparse.Namespace) -> Request:
    """The request of `serve`, `plan` and `check`; the control commands fill what they have."""
    return Request(
        directory=here(),
        environ=dict(os.environ),
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
