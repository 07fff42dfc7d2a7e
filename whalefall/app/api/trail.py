"""Writes a change into the audit trail with who, from where and under which request id."""

from typing import Any

from whalefall.app import access
from whalefall.app.api.envelope import request_id
from whalefall.app.store import audit
from whalefall.app.store.engine import engine


def record(action: str, target: str, *, before: Any = None, after: Any = None, actor: str | None = None) -> None:
    """Adds one entry for this request; `actor` only where nobody is logged in yet."""
    change = audit.Change(
        actor or access.actor(), access.source_address(), action, target, request_id(), before=before, after=after
    )
    audit.write(engine(), change)
