"""Jobs of the scheduler's integration tests: found by name, as a user's are."""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flask import current_app, g
from sqlalchemy import text

from whalefall import current_run

gate = threading.Event()  # what waits here goes on when a test says so
seen: list[Any] = []


@contextlib.contextmanager
def fresh() -> Iterator[None]:
    """Nothing seen and the gate closed; at the end nobody is left waiting at it."""
    seen.clear()
    gate.clear()
    yield
    gate.set()


def note(**what: Any) -> None:
    """Remembers what it was given and where it ran."""
    seen.append({"app": current_app.name, "attempt": current_run.attempt, **what})


def talk() -> str:
    print("hello from the job")  # noqa: T201 - what a job prints is kept
    logging.getLogger("shop").warning("stock is low")
    current_run.progress(0.4, "almost")
    return "42 things"


def fail() -> None:
    raise ValueError("the shelf is empty")


def fail_once() -> None:
    if current_run.attempt == 1:
        raise ValueError("not yet")


def leave() -> None:
    raise SystemExit(3)


def wait() -> None:
    gate.wait(30)


def wait_for_cancel() -> None:
    while not current_run.cancelled:
        time.sleep(0.01)
    current_run.raise_if_cancelled()


def use_context() -> None:
    g.something = 1
    seen.append(g.something)


def write_in_the_ledgers_transaction(fails: bool = False) -> None:
    current_run.connection.execute(text("INSERT INTO shop (run_id) VALUES (:run_id)"), {"run_id": current_run.run_id})
    if fails:
        raise ValueError("no")


def write_in_the_ledgers_transaction_and_wait() -> None:
    write_in_the_ledgers_transaction()
    seen.append("written")
    gate.wait(30)


def append(path: str, pause_s: float = 0.0) -> None:
    """An outside record: one line per start, with the time that this process believes it to be."""
    run = current_run
    with Path(path).open("a") as file:
        file.write(f"{run.job_id} {run.scheduled_at.timestamp():.6f} {run.attempt} {time.time():.6f} {os.getpid()}\n")
    if pause_s:
        threading.Event().wait(
            pause_s
        )  # not time.sleep: libfaketime moves its deadline, although no clock of it is faked


def what_is_the_run() -> None:
    seen.append(
        (current_run.run_id, current_run.job_id, current_run.scheduled_at, current_run.attempt, current_run.source)
    )


def remember(what: Any) -> None:
    """Needs no run of ours around it."""
    seen.append(what)
