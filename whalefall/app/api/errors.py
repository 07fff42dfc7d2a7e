"""Errors of the API: a Problem is a sentence with a code and a status; everything else becomes one at the border."""

import http
import logging
from typing import Any

from flask import Blueprint, Flask, Response, g, jsonify
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException

from whalefall.app.api.envelope import Failure, failed
from whalefall.app.retelling import retold
from whalefall.errors import ConfigError, UsageError, WhalefallError
from whalefall.scheduler import errors as scheduling
from whalefall.scheduler.ledger.troubles import sentence_of

log = logging.getLogger(__name__)

# Werkzeug's own descriptions speak of URLs and servers; these say what to do.
_SENTENCES = {
    400: ("INVALID_REQUEST", "The request is malformed and was not understood."),
    404: ("INVALID_REQUEST", "There is nothing at this address. The addresses that exist are in /api/v1/openapi.json."),
    405: ("METHOD_NOT_ALLOWED", "This address does not know the method; the Allow header lists those it knows."),
    413: ("PAYLOAD_TOO_LARGE", "The body is too large; a request of this API never needs more than 64 KiB."),
    415: ("UNSUPPORTED_MEDIA_TYPE", "Send the body as application/json."),
    500: ("INTERNAL_ERROR", "Something broke on our side; the log has the details under this request id."),
}


# What the rooms below raise, as status and code; the first class that fits counts.
_KINDS: tuple[tuple[type[WhalefallError], int, str], ...] = (
    (scheduling.JobNotFound, 404, "RESOURCE_NOT_FOUND"),
    (scheduling.RunNotFound, 404, "RESOURCE_NOT_FOUND"),
    (scheduling.InvalidTrigger, 400, "VALIDATION_ERROR"),
    (scheduling.InvalidArguments, 400, "VALIDATION_ERROR"),
    (scheduling.JobConflict, 409, "CONSTRAINT_VIOLATION"),
    (scheduling.SchedulerDisabled, 409, "CONSTRAINT_VIOLATION"),
    (scheduling.JobDeclarationError, 409, "CONSTRAINT_VIOLATION"),
    (scheduling.LedgerUnavailable, 503, "DATABASE_UNAVAILABLE"),
    (UsageError, 400, "VALIDATION_ERROR"),
    (ConfigError, 500, "INTERNAL_ERROR"),
)


class Problem(Exception):  # noqa: N818 - it is what the API calls an error's document (RFC 9457)
    """Ends the request with the error envelope; the message is a sentence that says how to mend it."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        suggestions: tuple[str, ...] = (),
        extra: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.failure = Failure(status, code, message, suggestions, extra)
        self.headers = headers or {}


def respond_to_problem(problem: Problem) -> Response:
    """Flask error handler for Problem."""
    return _response(problem.failure, problem.headers)


def respond_to_http_error(error: HTTPException) -> Response:
    """Flask error handler for werkzeug's errors: 404, 405, 413, 415, 422 from the argument parser, 500."""
    if error.response is not None:  # a redirect to the address with its slash is no error
        return error.response  # type: ignore[return-value]  # always a flask Response within Flask
    status = error.code or 500
    if status == http.HTTPStatus.UNPROCESSABLE_ENTITY:
        return _response(_validation_failure(getattr(error, "data", {}).get("messages", {})), {})
    if status == http.HTTPStatus.PERMANENT_REDIRECT or status < 400:
        return error.get_response()  # type: ignore[return-value]  # same
    code, sentence = _SENTENCES.get(status, (_code_named(status), error.description or "The request failed."))
    headers = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After")}
    return _response(Failure(status, code, sentence), headers)


def respond_to_whalefall_error(error: WhalefallError) -> Response:
    """Flask error handler for what the rooms below raise; the sentence is theirs."""
    for kind, status, code in _KINDS:
        if isinstance(error, kind):
            return _response(Failure(status, code, str(error)), {"Retry-After": "5"} if status == 503 else {})
    log.exception("unexpected %s", type(error).__name__)
    return _response(Failure(500, *_SENTENCES[500]), {})


def respond_to_database_error(error: SQLAlchemyError) -> Response:
    """Flask error handler for a database that refuses: away, locked, read-only, full. The rest stays in the log."""
    log.error("the database refused: %s", getattr(error, "orig", error))
    sentence = sentence_of(error) or (
        "The database does not answer right now, so nothing was changed. Try again in a few seconds."
    )
    return _response(Failure(503, "DATABASE_UNAVAILABLE", sentence), {"Retry-After": "5"})


def install_handlers(place: Flask | Blueprint) -> None:
    """Gives `place` the error envelope."""
    place.register_error_handler(Problem, respond_to_problem)
    place.register_error_handler(HTTPException, respond_to_http_error)
    place.register_error_handler(WhalefallError, respond_to_whalefall_error)
    for kind in (DBAPIError, PoolTimeout):
        place.register_error_handler(kind, respond_to_database_error)


def _validation_failure(messages: Any) -> Failure:
    """400, not webargs' 422: clients of the original platform look for it. Every wrong field is named."""
    fields = _flat(messages)
    sentence = " ".join(f"{name}: {text}" for name, text in fields.items()) or "The request was not understood."
    return Failure(400, "VALIDATION_ERROR", sentence, extra={"fields": fields})


def _flat(messages: Any, path: str = "") -> dict[str, str]:
    """{"json": {"cron": ["bad"]}} → {"cron": "bad"}: the location is webargs' business, not the reader's."""
    if isinstance(messages, dict):
        found: dict[str, str] = {}
        for key, value in messages.items():
            inner = path if not path and key in ("json", "query", "form") else f"{path}.{key}".lstrip(".")
            found |= _flat(value, inner)
        return found
    told = messages if isinstance(messages, list) else [messages]
    return {path or "body": " ".join(retold(str(text)) for text in told)}


def _code_named(status: int) -> str:
    return http.HTTPStatus(status).name


def _response(failure: Failure, headers: dict[str, str]) -> Response:
    who = g.get("whalefall_identity")
    response = jsonify(failed(failure, who.name if who and who.name else None))
    response.status_code = failure.status
    response.headers.update(headers)
    return response
