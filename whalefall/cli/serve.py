"""`whalefall serve`: plan, catch everything that can be caught before anything starts, then become the supervisor.

`whalefall dev` is the same with another Plan.
"""

import argparse
import os
import signal
import sys
from typing import NoReturn

from whalefall.cli import requests
from whalefall.control.client import ask
from whalefall.control.protocol import Request as ControlRequest
from whalefall.errors import ConfigError, ControlError, UsageError
from whalefall.plan import Plan, plan_to_json
from whalefall.planner import activation, addresses, python
from whalefall.planner.build import build
from whalefall.planner.world import look

ANSWER_WITHIN_S = 2.0


def serve(arguments: argparse.Namespace) -> int:
    """Does not return when all is well. The planner's memory ends with the exec."""
    signal.signal(signal.SIGTERM, _stop_before_the_start)
    activation.take(os.environ)
    request = requests.of(arguments)
    refuse_second(look(request).run_dir)
    built = build(request)
    addresses.check_free(built.plan.listeners, dict(built.movers))
    activation.close(activation.strangers(built.plan.listeners, request.environ))
    become_supervisor(built.plan)


def dev(arguments: argparse.Namespace) -> int:
    """Like `serve`. Raises UsageError when there is no terminal to attach to."""
    if arguments.attach:
        _take_terminal(arguments.attach)
    return serve(arguments)


def _take_terminal(name: str) -> None:
    """An ignored signal stays ignored over exec: a stopped whalefall could not keep its process from the terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(f"--attach {name} needs a terminal, and standard input or output is none.")
    if os.tcgetpgrp(0) != os.getpgrp():
        raise UsageError(
            f"--attach {name} needs the terminal, and whalefall runs in the background. Start it without &."
        )
    signal.signal(signal.SIGTSTP, signal.SIG_IGN)


def _stop_before_the_start(_number: int, _frame: object) -> None:
    """Nothing has started yet. For PID 1 the kernel ignores a TERM without a handler: the stop would wait for KILL."""
    sys.exit(0)


def refuse_second(run_dir: object) -> None:
    """Raises ConfigError when a whalefall already answers in this RUN_DIR."""
    from pathlib import Path

    try:
        status = ask(Path(str(run_dir)), ControlRequest("status"), ANSWER_WITHIN_S)
    except ControlError:
        return
    pid = status.get("supervisor", {}).get("pid", "?") if isinstance(status, dict) else "?"
    raise ConfigError(
        f"whalefall already runs here (pid {pid}, {run_dir}). Stop it by `whalefall shutdown`, or set another RUN_DIR."
    )


def become_supervisor(plan: Plan) -> NoReturn:
    """exec: the Plan goes along in memory, so that its secrets touch no disk and no command line.

    Raises ConfigError where this user may not run the Python that PID 1 shall be.
    """
    descriptor = os.memfd_create("whalefall-plan", 0)  # 0: it must survive the exec
    with os.fdopen(descriptor, "w", encoding="utf-8", closefd=False) as file:
        file.write(plan_to_json(plan))
    os.lseek(descriptor, 0, os.SEEK_SET)
    sys.stdout.flush()
    sys.stderr.flush()
    argv = [*python.supervisor(), "--plan-fd", str(descriptor)]
    try:
        os.execv(argv[0], argv)  # noqa: S606 - no shell is the point
    except OSError as error:
        os.close(descriptor)
        raise ConfigError(
            f"cannot run {argv[0]}: {error.strerror}. It is the Python behind this virtual environment: "
            "let this user run it, or make the environment with another."
        ) from None


COMMANDS = {"serve": serve, "dev": dev}
