"""ONE SHAPE FOR EVERY ANSWER: success and error envelopes, as the original platform's clients expect them."""

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flask import g, request

from whalefall.app.retelling import retold

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}\Z")
CATEGORIES = {
    400: "validation",
    401: "authentication",
    403: "authorization",
    404: "not_found",
    409: "conflict",
    429: "rate_limit",
    502: "external",
}


def ok(data: Any = None, message: str = "OK", *, meta: dict[str, Any] | None = None) -> dict[str, Any]:
    """The success envelope; `data` and `meta` are left out when there are none."""
    envelope: dict[str, Any] = {"success": True, "error": False, "message": retold(message), "timestamp": now()}
    if data is not None:
        envelope["data"] = data
    if meta is not None:
        envelope["meta"] = meta
    return envelope


@dataclass(frozen=True, slots=True)
class Failure:
    """What an error envelope says; the sentence is for people, the code for programs."""

    status: int
    code: str
    message: str
    suggestions: tuple[str, ...] = ()
    extra: dict[str, Any] | None = None


def failed(failure: Failure, user: str | None) -> dict[str, Any]:
    """The error envelope."""
    envelope: dict[str, Any] = {
        "success": False,
        "error": True,
        "error_id": secrets.token_hex(8),
        "category": CATEGORIES.get(failure.status, "validation" if failure.status < 500 else "system"),
        "severity": "high" if failure.status >= 500 else "medium",
        "message_code": failure.code,
        "message": retold(failure.message),
        "timestamp": now(),
        "recoverable": failure.status not in (401, 403, 404, 405),
        "suggestions": [retold(text) for text in failure.suggestions],
        "context": _context(user),
    }
    if failure.extra is not None:
        envelope["extra"] = failure.extra
    return envelope


def _context(user: str | None) -> dict[str, Any]:
    return {
        "request_id": request_id(),
        "user_id": user,
        "url": request.path,  # without the query: it may carry what belongs in no log
        "method": request.method,
        "meta": {"ip_address": request.remote_addr, "user_agent": request.headers.get("User-Agent", "")[:256]},
    }


def now() -> str:
    """ISO 8601 with the offset."""
    return datetime.now(UTC).isoformat()


def request_id() -> str:
    """Nginx's X-Request-ID, or one of our own; a malformed one is not repeated (header and log injection)."""
    if "whalefall_request_id" not in g:
        sent = request.headers.get("X-Request-ID", "")
        g.whalefall_request_id = sent if _REQUEST_ID.match(sent) else secrets.token_hex(16)
    known: str = g.whalefall_request_id
    return known
