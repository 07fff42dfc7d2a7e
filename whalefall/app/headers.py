"""Headers of every answer of ours: the request id, and a browser told to run nothing that we did not ship.

Inside somebody's own application only our addresses get the security headers; its pages are its own business.
"""

from flask import Flask, Response, request

from whalefall.app.api.envelope import request_id
from whalefall.app.state import app_state

OUR_BLUEPRINTS = "whalefall_"
_OUR_API = ("health", "scheduler", "processes", "auth", "users", "tokens", "audit", "openapi.json", "docs")

# No inline script or style, nothing from elsewhere, no framing, no plugins, forms only to ourselves.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; manifest-src 'self'"
)
_SECURITY = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # keeps a setup link's token from other sites
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_YEAR_S = 31_536_000


def init_headers(app: Flask) -> None:
    """Adds the hooks."""
    app.before_request(request_id_first)
    app.after_request(add_headers)


def request_id_first() -> None:
    """Settles the request id before anything can fail."""
    request_id()


def add_headers(response: Response) -> Response:
    """After every request."""
    response.headers["X-Request-ID"] = request_id()
    if not is_ours():
        return response
    response.vary.add("Accept-Language")
    for name, value in _SECURITY.items():
        response.headers.setdefault(name, value)
    if request.is_secure:
        response.headers.setdefault("Strict-Transport-Security", f"max-age={_YEAR_S}")
    if "Cache-Control" not in response.headers:
        response.headers["Cache-Control"] = "no-store"
    return response


def is_ours() -> bool:
    """Whether the requested address belongs to us."""
    if request.blueprint:
        return request.blueprint.startswith(OUR_BLUEPRINTS)
    return app_state().is_builtin or is_our_api_path(request.path)


def is_our_api_path(path: str) -> bool:
    """Whether the path lies in our part of /api; in the built-in application all of /api is ours."""
    if app_state().is_builtin:
        return path == "/api" or path.startswith("/api/")
    return path.startswith("/api/v1/") and path.removeprefix("/api/v1/").partition("/")[0] in _OUR_API
