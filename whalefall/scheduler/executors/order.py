"""What the process of a run, and its minder, are told: one JSON file, written once, before they exist."""

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
    timeout_s: float | None
    begin_s: float  # to start Python and import the application; the job's own limit counts from its first line

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()


def order_from_json(text: bytes) -> Order:
    return Order(**json.loads(text))


def order_for(claimed: ClaimedRun, *, app_ref: str, begin_s: float) -> Order:
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
        timeout_s=claimed.policies.timeout_s,
        begin_s=begin_s,
    )
