"""What is on record of an exception begins where the job's own code does."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from whalefall.scheduler import functions, tracebacks

_ATTEMPT = """
def attempt():
    try:
        call()
    except Exception as error:
        return told(error)
def call():
    {}
"""


def called_by_us(function: Callable[[], None], ours: str = "function()") -> str:
    """The record of what `function` raises below two frames of ours, the inner one having `ours` to do."""
    names: dict[str, Callable[..., Any]] = {"function": function, "told": tracebacks.told}
    exec(compile(_ATTEMPT.format(ours), str(Path(tracebacks.__file__).with_name("made_up.py")), "exec"), names)  # noqa: S102
    said: str = names["attempt"]()
    return said


def frames(said: str) -> list[str]:
    """The functions in it, and the sentences between tracebacks."""
    lines = [line for line in said.splitlines() if line.startswith(("  File", "The above", "During"))]
    return [line.partition(", in ")[2] or line for line in lines]


def job() -> None:
    _shelf("empty")


def _shelf(what: str) -> None:
    raise ValueError(f"the shelf is {what}")


def job_with_a_cause() -> None:
    try:
        job()
    except ValueError as error:
        raise ValueError("no book") from error


def test_our_frames_at_its_beginning_are_left_out() -> None:
    said = called_by_us(job)
    assert frames(said) == ["job", "_shelf"]
    assert said.startswith(f'Traceback (most recent call last):\n  File "{__file__}", line ')
    assert said.endswith("ValueError: the shelf is empty\n")


def test_what_caused_it_stays_as_it_is() -> None:
    cause = "The above exception was the direct cause of the following exception:"
    assert frames(called_by_us(job_with_a_cause)) == ["job_with_a_cause", "job", "_shelf", cause, "job_with_a_cause"]


def test_a_failure_of_ours_after_the_jobs_begins_each_where_it_was() -> None:
    said = called_by_us(
        job, "try:\n        function()\n    except ValueError:\n        raise ValueError('and the commit')"
    )
    meanwhile = "During handling of the above exception, another exception occurred:"
    assert frames(said) == ["job", "_shelf", meanwhile, "attempt", "call"]


def test_an_error_with_more_causes_than_python_may_recurse_is_told() -> None:
    error = ValueError("first")
    for number in range(sys.getrecursionlimit()):
        following = ValueError(number)
        following.__cause__ = error
        error = following
    assert tracebacks.told(error).startswith("ValueError: first\n")


def test_our_frames_stay_where_there_are_no_others() -> None:
    assert frames(called_by_us(job, "raise ValueError('no such function')")) == ["attempt", "call"]


def test_our_frames_below_the_jobs_stay() -> None:
    def asking() -> None:
        functions.load("whalefall:nothing")

    assert frames(called_by_us(asking)) == ["asking", "load"]
