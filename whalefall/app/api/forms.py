"""Pages without JavaScript: a plain form posted to the API is sent back to its page with the answer's sentence."""

from flask import Response, flash, redirect, request

from whalefall.app.headers import OUR_BLUEPRINTS
from whalefall.app.links import back

_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


def send_back(response: Response) -> Response:
    """Turns the envelope into a redirect when a browser posted a form; scripts never see this."""
    if not (request.blueprint or "").startswith(OUR_BLUEPRINTS) or not _is_browser_form() or not response.is_json:
        return response
    envelope = response.get_json()
    flash(envelope.get("message", ""), "success" if envelope.get("success") else "error")
    sent_back = redirect(back(), 303)
    sent_back.headers["X-Request-ID"] = response.headers.get("X-Request-ID", "")
    return sent_back  # type: ignore[return-value]  # werkzeug's Response is what Flask expects here


def _is_browser_form() -> bool:
    if request.method != "POST" or request.mimetype not in _FORMS:
        return False
    accepted = request.accept_mimetypes
    return accepted.best_match(["application/json", "text/html"]) == "text/html"
