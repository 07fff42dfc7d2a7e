"""THE PAGES: server-rendered and read-only; every change they offer is a request to the API under /api/v1.

The web process serves them and reads the ledger directly, so that they stay up when the scheduler is down. They work
without JavaScript; `live.js` makes them live.
"""

from typing import Any

from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
    current_app,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.globals import request_ctx
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException, NotFound

from whalefall.app import access, headers
from whalefall.app.api.errors import Problem, respond_to_http_error
from whalefall.app.language import translate
from whalefall.app.links import is_storable
from whalefall.app.pages import accounts, assets, dashboard, entrance, job, notices, runs, scheduler, show, timeline
from whalefall.app.retelling import retold
from whalefall.app.roles import needed_by
from whalefall.app.state import app_state
from whalefall.errors import WhalefallError
from whalefall.scheduler.errors import JobNotFound, RunNotFound
from whalefall.scheduler.ledger.troubles import sentence_of

_PARTS = (assets, entrance, dashboard, scheduler, timeline, job, runs, accounts, notices)


def register(app: Flask) -> None:
    """Registers every page; `/` and the 404 page only in the built-in application."""
    blueprint = Blueprint("whalefall_pages", __name__, template_folder="../templates")
    blueprint.before_request(_guard)
    blueprint.context_processor(_context)
    blueprint.register_error_handler(Problem, _show_problem)
    blueprint.register_error_handler(HTTPException, _show_http_error)
    blueprint.register_error_handler(WhalefallError, _show_whalefall_error)
    for kind in (DBAPIError, PoolTimeout):
        blueprint.register_error_handler(kind, _show_database_error)
    for part in _PARTS:
        part.add_to(blueprint)
    with app.app_context():
        is_builtin = app_state().is_builtin
    if is_builtin:
        entrance.add_root(blueprint)
        app.register_error_handler(HTTPException, _show_http_error)
    app.register_blueprint(blueprint)
    app.before_request(_leave_out_the_last_slash)


def _leave_out_the_last_slash() -> Response | None:
    """/scheduler/ leads to /scheduler where nothing else is; a rule for it could stand before the application's own."""
    adapter = request_ctx.url_adapter
    if not isinstance(request.routing_exception, NotFound) or not request.path.endswith("/") or adapter is None:
        return None
    try:
        endpoint, values = adapter.match(request.path.removesuffix("/"), method="GET")
    except HTTPException:
        return None
    if request.method not in access.SAFE_METHODS or not endpoint.startswith("whalefall_pages."):
        return None
    query = request.query_string.decode("latin-1")
    there = url_for(endpoint, **values) + (f"?{query}" if query else "")
    return redirect(there, 308)  # type: ignore[return-value]  # Flask's redirect


def _guard() -> Response | None:
    """Like the API's guard, but a visitor who is nobody is shown the way in."""
    needed = needed_by(current_app.view_functions.get(request.endpoint or ""))
    who = access.identity()
    if needed and request.method in access.SAFE_METHODS and not who.role.may(needed) and who.by != "session":
        if access.has_foreign_login(current_app):  # it knows where its own way in is
            return current_app.login_manager.unauthorized()  # type: ignore[attr-defined,no-any-return]  # Flask-Login's
        here = request.full_path.rstrip("?")
        return redirect(url_for("whalefall_pages.login", next=here))  # type: ignore[return-value]  # Flask's redirect
    access.guard()
    _refuse_what_cannot_be_stored()
    return None


def _refuse_what_cannot_be_stored() -> None:
    if not all(map(is_storable, map(str, (request.view_args or {}).values()))):
        abort(404)
    if not all(map(is_storable, request.values.values())):
        abort(400, "There is text with a NUL or half a surrogate pair in the request; take it out.")


def _show_problem(problem: Problem) -> Response:
    response = _error_page(problem.failure.status, retold(problem.failure.message))
    response.headers.update(problem.headers)
    return response


def _show_http_error(error: HTTPException) -> Response:
    if error.response is not None or (error.code or 500) < 400 or headers.is_our_api_path(request.path):
        return respond_to_http_error(error)
    status = error.code or 500
    sentences = {
        404: translate("There is no page at this address."),
        405: translate("This address does not know the method."),
        413: translate("That was too much at once."),
        500: translate("Something broke on our side. The log has the details under this request id."),
    }
    response = _error_page(status, sentences.get(status) or error.description or "")
    response.headers.update({name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After")})
    return response


def _show_whalefall_error(error: WhalefallError) -> Response:
    return _error_page(404 if isinstance(error, JobNotFound | RunNotFound) else 503, retold(str(error)))


def _show_database_error(error: SQLAlchemyError) -> Response:
    current_app.logger.error("the database refused: %s", getattr(error, "orig", error))
    told = sentence_of(error)
    again = translate("The database does not answer right now. Try again in a few seconds.")
    return _error_page(503, retold(told) if told else again)


def _error_page(status: int, sentence: str) -> Response:
    page = render_template("whalefall/error.html", status=status, sentence=sentence, **_context())
    return make_response(page, status)


def _context() -> dict[str, Any]:
    """What templates have at hand; as little as can be when the database is what is broken."""
    try:
        return show.context()
    except (DBAPIError, PoolTimeout, WhalefallError, Problem):
        return show.bare_context()
