"""The audit trail: who changed what, when, from where, and what it was before and after. Rows are never changed, only
forgotten when they are older than AUDIT_DAYS.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, delete, insert, select

from whalefall.app.store.tables import audit
from whalefall.scheduler.ledger.engine import reading, writing

PAGE_MAX = 200
_TEXT_MAX = 8_192  # characters of a before or after; the trail says what changed, it is no backup


@dataclass(frozen=True, slots=True)
class Entry:
    """One change."""

    id: int
    at: datetime
    actor: str
    address: str
    action: str
    target: str
    before: Any
    after: Any
    request_id: str


@dataclass(frozen=True, slots=True)
class Change:
    """What is written; `before` and `after` are anything JSON can say."""

    actor: str
    address: str
    action: str
    target: str
    request_id: str
    before: Any = None
    after: Any = None


def write(engine: Engine, change: Change) -> None:
    """Adds one entry."""
    values = {
        "at": datetime.now(UTC),
        "actor": change.actor[:160],
        "address": change.address[:64],
        "action": change.action,
        "target": change.target[:256],
        "before": _text(change.before),
        "after": _text(change.after),
        "request_id": change.request_id,
    }
    with writing(engine) as connection:
        connection.execute(insert(audit).values(values))


def _text(value: Any) -> str | None:
    if value is None:
        return None
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _TEXT_MAX else json.dumps(text[: _TEXT_MAX // 2] + "…")


def page(engine: Engine, *, before: int | None = None, limit: int = 50) -> list[Entry]:
    """The newest entries first, older than the entry `before`."""
    query = select(audit).order_by(audit.c.id.desc()).limit(min(limit, PAGE_MAX))
    if before is not None:
        query = query.where(audit.c.id < before)
    with reading(engine) as connection:
        return [
            Entry(
                row.id,
                row.at,
                row.actor,
                row.address,
                row.action,
                row.target,
                json.loads(row.before) if row.before else None,
                json.loads(row.after) if row.after else None,
                row.request_id,
            )
            for row in connection.execute(query)
        ]


def prune(engine: Engine, until: datetime) -> int:
    """Forgets what is older; returns how many entries."""
    with writing(engine) as connection:
        return connection.execute(delete(audit).where(audit.c.at < until)).rowcount
