"""`whalefall jobs …` and `whalefall ledger …`: jobs and their record, from a shell beside the site's `.env`.

They open the ledger themselves and need no running whalefall; a running scheduler sees a change within a second.
"""

import argparse
import dataclasses
import os
import shutil
import sys
from collections.abc import Callable, Mapping

from whalefall.cli import requests
from whalefall.control.client import ask
from whalefall.control.protocol import Request as ControlRequest
from whalefall.errors import ControlError, WhalefallError
from whalefall.planner.directories import make_data_dir
from whalefall.planner.environment import naming_lines
from whalefall.planner.world import View, look
from whalefall.scheduler import SchedulerState, commands
from whalefall.scheduler.commands import Answer
from whalefall.scheduler.errors import JobNotFound

_ANSWER_WITHIN_S = 2.0
_Verb = Callable[[SchedulerState, argparse.Namespace], Answer]


def jobs(arguments: argparse.Namespace) -> int:
    """Does what the verb says. Raises WhalefallError with the nearest id for a job that there is not."""
    return _told(_JOBS, arguments)


def ledger(arguments: argparse.Namespace) -> int:
    """Does what the verb says. 1 when `verify` finds that something does not agree, or `import` refused a job."""
    return _told(_LEDGER, arguments)


def _told(verbs: Mapping[str, _Verb], arguments: argparse.Namespace) -> int:
    view = look(requests.of(arguments))
    with naming_lines(view.environment):
        state = _office(view)
        try:
            answer = verbs[arguments.verb](state, arguments)
        except JobNotFound as error:
            raise WhalefallError(f"{error} {commands.did_you_mean(state, error.job_id)}") from None
    print(answer.text)
    return answer.exit_code


def _how_to_start(given: argparse.Namespace) -> str:
    """What helps where no scheduler runs: `serve` would refuse beside a whalefall."""
    try:
        rows = ask(look(requests.of(given)).run_dir, ControlRequest("status"), _ANSWER_WITHIN_S)["instances"]
    except ControlError:
        return "Start one: whalefall serve"
    is_down = any(row["service"] == "scheduler" and row["state"] in ("stopped", "failed") for row in rows)
    return "Start it: whalefall start scheduler" if is_down else "See: whalefall status"


def _office(view: View) -> SchedulerState:
    """The site's ledger, where `serve` has it."""
    # `run` checks its arguments against the job's function; importing it must not start a scheduler here.
    os.environ["ENABLE_SCHEDULER"] = "false"
    sys.path.insert(0, str(requests.here()))
    make_data_dir(view.data_dir)
    return commands.office(dataclasses.replace(view.settings, data_dir=str(view.data_dir), run_dir=str(view.run_dir)))


def _width() -> int | None:
    """Of the terminal that the table is for; None where a file or a program reads."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _say(given: argparse.Namespace) -> Callable[[str], None]:
    def say(sentence: str) -> None:
        if not given.json:
            print(sentence, flush=True)

    return say


_JOBS: Mapping[str, _Verb] = {
    "list": lambda state, given: commands.jobs_list(state, as_json=given.json, width=_width()),
    "show": lambda state, given: commands.jobs_show(state, given.job, as_json=given.json),
    "run": lambda state, given: commands.jobs_run(
        state,
        given.job,
        args=given.args,
        reason=given.reason,
        dedupe=given.dedupe or None,
        as_json=given.json,
        wait=_say(given) if given.wait else None,
        start=lambda: _how_to_start(given),
    ),
    "pause": lambda state, given: commands.jobs_pause(state, given.job, reason=given.reason, until=given.until),
    "resume": lambda state, given: commands.jobs_resume(state, given.job),
    "history": lambda state, given: commands.jobs_history(
        state,
        given.job or None,
        run_state=given.state or None,
        limit=given.lines,
        as_json=given.json,
        width=_width(),
    ),
    "why": lambda state, given: commands.jobs_why(state, given.job, " ".join(given.time)),
}
_LEDGER: Mapping[str, _Verb] = {
    "verify": lambda state, given: commands.ledger_verify(
        state, start=given.start, end=given.end, job_id=given.job or None
    ),
    "fast-forward": lambda state, given: commands.ledger_fast_forward(state),
    "vacuum": lambda state, given: commands.ledger_vacuum(state),
    "import": lambda state, given: commands.ledger_import(state, given.url, table=given.table, dry_run=given.dry_run),
}
COMMANDS = {"jobs": jobs, "ledger": ledger}
