"""How an operation of the API is declared: method, path, who may, what it takes, what it gives, how it fails.

One decorator holds these together; the guard, the argument parser and the OpenAPI document all read the same line.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any

from flask import Response, request
from flask_smorest import Blueprint
from flask_smorest.utils import get_appcontext
from marshmallow import RAISE, Schema
from marshmallow.fields import Dict
from webargs.flaskparser import FlaskParser

from whalefall.app import access
from whalefall.app.api.errors import Problem, install_handlers
from whalefall.app.api.schemas import ERROR, enveloped
from whalefall.app.links import is_storable
from whalefall.app.roles import Role, needs

PREFIX = "/api/v1"
BODY_BYTES_MAX = 65_536  # a trigger and its arguments; nothing of ours is longer
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


class BodyParser(FlaskParser):
    """Reads a JSON object or a plain form (so that pages work without JavaScript); everything else is a Problem."""

    def load_json(self, req: Any, schema: Schema) -> Any:
        """The body as a mapping."""
        if req.mimetype in _FORMS:
            return _from_form(req.form, schema)
        if not req.get_data():
            return {}
        if not req.is_json:
            raise Problem(415, "UNSUPPORTED_MEDIA_TYPE", "Send the body as application/json.")
        return _strict_json(req.get_data())


def _from_form(form: Any, schema: Schema) -> dict[str, Any]:
    """An empty field was not filled in; a field for a mapping holds JSON."""
    filled = {name: text for name, text in form.items() if name not in (access.CSRF_FIELD, "next") and text.strip()}
    if not all(map(is_storable, filled.values())):
        raise Problem(400, "VALIDATION_ERROR", "The form has text with a NUL or half a surrogate pair; take it out.")
    return {
        name: _strict_json(text.encode(errors="surrogatepass")) if isinstance(schema.fields.get(name), Dict) else text
        for name, text in filled.items()
    }


def _strict_json(body: bytes) -> Any:
    """JSON as RFC 8259 has it: no NaN, no text that a database or another program could not store."""
    try:
        value = json.loads(body, parse_constant=_no_such_number)
    except (ValueError, RecursionError) as error:  # ValueError covers bad JSON, bad UTF-8 and endless numbers
        reason = error.args[0] if isinstance(error, json.JSONDecodeError) else "it could not be read"
        raise Problem(400, "INVALID_REQUEST", f"The body is not valid JSON: {reason}.") from None
    if _has_unstorable_text(value):
        raise Problem(400, "VALIDATION_ERROR", "The body has text with a NUL or half a surrogate pair; take it out.")
    return value


def _no_such_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _has_unstorable_text(value: Any) -> bool:
    if isinstance(value, str):
        return not is_storable(value)
    if isinstance(value, dict):
        return any(_has_unstorable_text(part) for pair in value.items() for part in pair)
    return isinstance(value, list) and any(_has_unstorable_text(item) for item in value)


class ApiBlueprint(Blueprint):  # type: ignore[misc]  # flask-smorest ships no types
    """A part of the API; see `operation`."""

    ARGUMENTS_PARSER = BodyParser()

    def __init__(self, name: str, url_prefix: str, description: str) -> None:
        super().__init__(f"whalefall_{name}", __name__, url_prefix=PREFIX + url_prefix, description=description)
        self.before_request(_limit_body)
        self.before_request(access.guard)
        self.after_request(_allow_cheap_polling)
        install_handlers(self)

    def operation(
        self,
        method: str,
        path: str,
        *,
        needs_role: Role,
        gives: type[Schema] | None = None,
        gives_many: type[Schema] | None = None,
        takes: type[Schema] | None = None,
        query: type[Schema] | None = None,
        fails: tuple[int, ...] = (),
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Declares one operation. Its function answers with `envelope.ok(...)` or raises Problem."""

        def declare(function: Callable[..., Any]) -> Callable[..., Any]:
            view = needs(needs_role)(function)
            if query:
                view = self.arguments(query, location="query", unknown=RAISE)(view)
            if takes:
                view = self.arguments(takes, location="json", required=_is_body_required(takes))(view)
            view = self.response(200, enveloped(gives or gives_many, many=gives_many is not None))(view)
            for status in sorted(_failures(method, path, needs_role, bool(takes), bool(query)) | set(fails)):
                view = self.alt_response(status, schema=ERROR)(view)
            secured: list[dict[str, list[str]]] = [] if needs_role is Role.NONE else [{"session": []}, {"token": []}]
            who = "anybody" if needs_role is Role.NONE else needs_role.name.lower()
            view = self.doc(security=secured, operationId=function.__name__, **{"x-needs": who})(view)
            self.route(path, methods=[method], endpoint=function.__name__)(view)
            return function

        return declare


def _is_body_required(schema: type[Schema]) -> bool:
    return any(field.required for field in schema().fields.values())


def _failures(method: str, path: str, role: Role, has_body: bool, has_query: bool) -> set[int]:
    """The statuses that an operation of this form can always answer with."""
    changes = method not in access.SAFE_METHODS
    found = {500}
    found |= {401} if role is not Role.NONE else set()
    found |= {403} if changes or role is Role.ADMIN else set()
    found |= {404} if "<" in path else set()
    found |= {400, 413, 415} if has_body else set()
    found |= {400} if has_query else set()
    return found


def _limit_body() -> None:
    request.max_content_length = BODY_BYTES_MAX
    if request.content_length is not None and request.content_length > BODY_BYTES_MAX:
        raise Problem(413, "PAYLOAD_TOO_LARGE", f"The body is larger than {BODY_BYTES_MAX} bytes.")
    if not all(map(is_storable, map(str, (request.view_args or {}).values()))):
        raise Problem(404, "RESOURCE_NOT_FOUND", "No name here has a NUL or half a surrogate pair in it.")
    if not all(map(is_storable, request.args.values())):
        raise Problem(400, "VALIDATION_ERROR", "The query has text with a NUL or half a surrogate pair; take it out.")


def _allow_cheap_polling(response: Response) -> Response:
    """An ETag over all but the timestamp: a page that polls an idle scheduler gets 304 and no body."""
    if request.method != "GET" or response.status_code != 200:
        return response
    dump = get_appcontext().get("result_dump")
    if isinstance(dump, dict):
        stable = {key: value for key, value in dump.items() if key != "timestamp"}
        response.set_etag(hashlib.sha256(json.dumps(stable, sort_keys=True, default=str).encode()).hexdigest()[:32])
        response.headers["Cache-Control"] = "private, no-cache"
        response.make_conditional(request)
    return response
