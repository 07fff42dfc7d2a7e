"""Gunicorn's access log without the supervisor's own questions: one every ten seconds tells nobody anything."""

from typing import Any

from gunicorn.glogging import Logger

PROBE_AGENT = "whalefall-probe"


class QuietLogger(Logger):  # type: ignore[misc]  # gunicorn ships no types
    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: Any) -> None:
        """As Gunicorn's, for everybody else's requests."""
        if environ.get("HTTP_USER_AGENT") != PROBE_AGENT:
            super().access(resp, req, environ, request_time)
