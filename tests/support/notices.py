"""A notice to be told by any channel."""

from datetime import UTC, datetime

from whalefall.app.notify.message import Message

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
FAILURE = Message(
    id="whalefall-1-2",
    event="failed",
    kind="failing",
    job="import_orders",
    since=NOON,
    told_at=NOON,
    headline="failed: import_orders",
    text="Its run ended as failed: ValueError: ☃",
    url="https://site.example/runs/1",
    site="site.example",
    run_id="1",
)
