"""What a Gunicorn says of its own workers, over the control socket that each of them has in RUN_DIR.

The supervisor knows processes; only their master knows which of them are its workers, the how manieth each is, and when
it last gave a sign of life. A master that does not answer is no reason to show less than before. (Its `booted` is not
passed on: it is set in the worker, so the master never sees it.)
"""

from pathlib import Path
from typing import Any

from gunicorn.ctl.client import ControlClient, ControlClientError

ANSWER_WITHIN_S = 1.0


def told(run_dir: Path, name: str, generation: int) -> dict[int, dict[str, Any]]:
    """By pid: `worker` (its running number), `heartbeat_age_s`, `aborted`; {} for what is no Gunicorn of ours."""
    for socket in (f"{name}#{generation}.gunicorn.ctl", f"{name}.gunicorn.ctl"):  # ours, and a plain one
        if (run_dir / socket).is_socket():
            return {worker["pid"]: _told(worker) for worker in _ask(run_dir / socket)}
    return {}


def _ask(path: Path) -> list[dict[str, Any]]:
    try:
        with ControlClient(str(path), timeout=ANSWER_WITHIN_S) as master:
            workers: list[dict[str, Any]] = master.send_command("show workers")["workers"]
    except (ControlClientError, OSError, KeyError, TypeError, ValueError):
        return []
    return workers


def _told(worker: dict[str, Any]) -> dict[str, Any]:
    age_s = worker.get("last_heartbeat")
    return {
        "worker": worker.get("age"),
        "heartbeat_age_s": None if age_s is None else max(0.0, age_s),  # it may come between Gunicorn's two looks
        "aborted": worker.get("aborted", False),
    }
