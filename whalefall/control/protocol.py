"""The language of the control socket: one JSON object a line, requests in, replies out. No socket in here.

    → {"command": "status"}
    ← {"ok": true, "data": {...}}
    → {"command": "restart", "target": "web"}
    ← {"ok": false, "error": "there is no service or instance 'wbe'; there are: nginx, web, scheduler"}

A streaming command (`logs` or `events` with "follow": true) answers with one reply line per item until either side
closes. A request is at most REQUEST_BYTES_MAX long: the peer is local, but it may be broken.
"""

import json
from typing import Any

from whalefall.errors import ControlError
from whalefall.plan.records import field, frozen

REQUEST_BYTES_MAX = 16_384  # a command and a target; anything longer is not for us
REPLY_BYTES_MAX = 16_777_216  # a status of hundreds of instances with their last lines
SOCKET_NAME = "control.sock"

COMMANDS = ("status", "logs", "events", "start", "stop", "restart", "reload", "scale", "why", "shutdown")


@frozen
class Request:
    """`target` is a service (`web`), an instance (`web.1`) or "" for all."""

    command: str
    target: str = ""
    follow: bool = False
    lines: int = 100
    options: dict[str, Any] = field(factory=dict)


@frozen
class Reply:
    ok: bool
    data: Any = None
    error: str = ""


def encode_request(request: Request) -> bytes:
    """One line, newline included."""
    return _line(
        {
            "command": request.command,
            "target": request.target,
            "follow": request.follow,
            "lines": request.lines,
            "options": request.options,
        }
    )


def decode_request(line: bytes) -> Request:
    """Raises ControlError with a sentence for the peer when the line is no request."""
    if len(line) > REQUEST_BYTES_MAX:
        raise ControlError(f"the request is longer than {REQUEST_BYTES_MAX} bytes")
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):  # ValueError covers bad JSON and bad UTF-8
        raise ControlError("the request is not one line of JSON") from None
    if not isinstance(document, dict):
        raise ControlError("the request is not a JSON object")
    command = document.get("command")
    if command not in COMMANDS:
        raise ControlError(f"unknown command {command!r}; there are: {', '.join(COMMANDS)}")
    kinds: dict[str, type] = {"command": str, "target": str, "follow": bool, "lines": int, "options": dict}
    for key, value in document.items():
        if key not in kinds:
            raise ControlError(f"unknown key {key!r} in the request; there are: {', '.join(kinds)}")
        if type(value) is not kinds[key]:
            raise ControlError(f"'{key}' must be of type {kinds[key].__name__}")
    return Request(**document)


def encode_reply(reply: Reply) -> bytes:
    """One line, newline included."""
    return _line({"ok": True, "data": reply.data} if reply.ok else {"ok": False, "error": reply.error})


def decode_reply(line: bytes) -> Reply:
    """Raises ControlError when the line is no reply."""
    try:
        document = json.loads(line)
        return Reply(ok=document["ok"], data=document.get("data"), error=document.get("error", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ControlError("the answer on the control socket is not whalefall's") from None


def _line(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogateescape") + b"\n"
