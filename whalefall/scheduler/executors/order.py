"""What the parent tells the process of a run, as JSON on its standard input; and what comes back, as JSON lines."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from whalefall.scheduler.ledger.records import ClaimedRun


@dataclass(frozen=True, slots=True)
class Order:
    """All that a process needs to perform one run."""

    run_id: str
    job_id: str
    scheduled_at: str
    attempt: int
    source: str
    func_ref: str
    args: list[Any]
    kwargs: dict[str, Any]
    app_ref: str  # module:callable of the Flask app or its factory; empty: look beside the function
    memory_mb: int | None
    report_fd: int
    parent_pid: int

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()


def order_from_json(text: bytes) -> Order:
    return Order(**json.loads(text))


def order_for(claimed: ClaimedRun, *, app_ref: str, report_fd: int, parent_pid: int) -> Order:
    run = claimed.run
    return Order(
        run_id=run.run_id,
        job_id=run.job_id,
        scheduled_at=run.scheduled_at.isoformat(),
        attempt=run.attempt,
        source=run.source,
        func_ref=claimed.func_ref,
        args=claimed.args,
        kwargs=claimed.kwargs,
        app_ref=app_ref,
        memory_mb=claimed.policies.memory_mb,
        report_fd=report_fd,
        parent_pid=parent_pid,
    )
