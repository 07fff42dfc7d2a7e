"""Gunicorn's access log without what tells nobody anything.

That is the supervisor's own questions, one every ten seconds; and a request that our Nginx has passed on, where its
line, which says more, is in the same output.
"""

import os
from typing import Any

from gunicorn.glogging import Logger

from whalefall.planner.gunicorn import LOGGED_BY

PROBE_AGENT = "whalefall-probe"


class QuietLogger(Logger):  # type: ignore[misc]  # gunicorn ships no types
    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: Any) -> None:
        """As Gunicorn's, for all other requests."""
        if environ.get("HTTP_USER_AGENT") != PROBE_AGENT and not self._is_nginxs(environ):
            super().access(resp, req, environ, request_time)

    def _is_nginxs(self, environ: dict[str, Any]) -> bool:
        """Who asks this port past Nginx sends no X-Real-IP, unless to hide. A log file shall be whole."""
        beside_it = self.cfg.accesslog == "-" and os.environ.get(LOGGED_BY) == "nginx"
        return beside_it and "HTTP_X_REAL_IP" in environ
