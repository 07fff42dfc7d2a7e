"""Writes the reference from the OpenAPI document: `python -m whalefall.app.api.reference docs/reference/api.md`.

A test holds the file to what this writes, so the reference cannot drift from the code.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

INTRODUCTION = """\
# API reference

<!-- Written by `python -m whalefall.app.api.reference FILE`; a test compares. Change the code, not this file. -->

Everything is under `/api/v1`. The same in machine-readable form: `GET /api/v1/openapi.json` (OpenAPI 3). A page that
shows it is at `/api/v1/docs` when the setting `API_V1_DOCS_ENABLED` is true.

**Who may.** *anybody*; *view* (a user or token with the role `view` or `admin`, or any program on the same machine that
reaches us under a local name and through no other proxy); *admin*. A change made with a session cookie needs the header
`X-CSRFToken` (or the form field `csrf_token`) with the token from `GET /api/v1/auth/csrf-token`. With
`Authorization: Bearer TOKEN` neither cookie nor CSRF token is needed. How to get them:
[users and access](../how-to/users-and-access.md), [the API from scripts](../how-to/api-from-scripts.md).

**Success** is `{"success": true, "error": false, "message", "timestamp"}` with `data` and `meta` where there are any.
**Errors** are `{"success": false, "error": true, "message_code", "message", "error_id", "category", "severity",
"recoverable", "suggestions", "context", "timestamp"}`; `message` says what is wrong and how to mend it, `context` has
the request id that is also in the header `X-Request-ID` and in the access log. `message` is in the language of
`Accept-Language`, English or Simplified Chinese; programs look at `message_code`. Bodies are JSON objects of up to
64 KiB.

| status | codes | means |
|---|---|---|
| 400 | `VALIDATION_ERROR`, `INVALID_REQUEST` | the body or the query is wrong; `extra.fields` names each field |
| 401 | `AUTHENTICATION_REQUIRED` | nobody is logged in, or the token is unknown, expired or revoked |
| 403 | `PERMISSION_REQUIRED`, `CSRF_MISSING`, `CSRF_INVALID` | the role, or the CSRF token, is not enough |
| 404 | `RESOURCE_NOT_FOUND`, `INVALID_REQUEST` | there is no such job, run, user, …; there is no such address |
| 405 | `METHOD_NOT_ALLOWED` | the header `Allow` has the methods that there are |
| 409 | `CONSTRAINT_VIOLATION` | it is in no state for that; on `/scheduler/**`: this process runs no scheduler |
| 413, 415 | `PAYLOAD_TOO_LARGE`, `UNSUPPORTED_MEDIA_TYPE` | the body is too long, or no JSON |
| 429 | `RATE_LIMITED` | `Retry-After` has the seconds to wait |
| 503 | `UNHEALTHY`, `DATABASE_UNAVAILABLE`, `SUPERVISOR_UNAVAILABLE` | something that is needed does not answer now |

Answers to `GET` carry an `ETag`; send it back as `If-None-Match` and an unchanged answer is a 304 without a body.

Beside the API, `GET /metrics` (*view*) has Prometheus' format.
"""


def render(document: dict[str, Any]) -> str:
    """The whole file."""
    parts = [INTRODUCTION]
    tags = {tag["name"]: tag.get("description", "") for tag in document["tags"]}
    for tag, description in tags.items():
        parts.append(f"\n## {description}\n")
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if method != "parameters" and operation["tags"] == [tag]:
                    parts.append(_operation(document, path, method.upper(), operation))
    return "\n".join(parts).rstrip() + "\n"


def _operation(document: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> str:
    lines = [f"### `{method} {path}`", "", operation.get("description") or operation["summary"], ""]
    lines.append(f"*Who:* {operation['x-needs']}. *Answers:* {', '.join(sorted(operation['responses']))}.")
    lines += [
        f"* query `{parameter['name']}`: {_kind(document, parameter['schema'])}"
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "query"
    ]
    lines += [
        f"* body `{name}`: {_kind(document, schema)}{', required' if required else ''}"
        for name, schema, required in _body(document, operation)
    ]
    if data := _data(document, operation):
        lines += ["", f"`data`: {data}"]
    return "\n".join([*lines, ""])


def _body(document: dict[str, Any], operation: dict[str, Any]) -> list[tuple[str, dict[str, Any], bool]]:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if not content:
        return []
    schema = _resolved(document, content["schema"])
    required = schema.get("required", [])
    return [(name, field, name in required) for name, field in schema.get("properties", {}).items()]


def _data(document: dict[str, Any], operation: dict[str, Any]) -> str:
    envelope = _resolved(document, operation["responses"]["200"]["content"]["application/json"]["schema"])
    data = envelope["properties"].get("data")
    if data is None:
        return ""
    inner = _resolved(document, data.get("items", data))
    names = ", ".join(f"`{name}`" for name in inner["properties"])
    return f"a list, each with {names}" if "items" in data else names


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    found = schema.get("$ref") or next((part["$ref"] for part in schema.get("allOf", []) if "$ref" in part), None)
    return document["components"]["schemas"][found.rpartition("/")[2]] if found else schema


def _kind(document: dict[str, Any], schema: dict[str, Any]) -> str:
    schema = _resolved(document, schema)
    told = schema.get("format") or schema.get("type") or "any"
    if "enum" in schema:
        told = " or ".join(f"`{word}`" for word in schema["enum"] if word is not None)
    bounds = [f"{word} {schema[name]}" for name, word in _BOUNDS.items() if name in schema]
    if schema.get("default") is not None:
        bounds.append(f"default `{schema['default']}`")
    described = f". {schema['description']}" if schema.get("description") else ""
    return ", ".join([str(told), *bounds]) + described


_BOUNDS = {"minimum": "from", "maximum": "to", "minLength": "at least", "maxLength": "at most"}


def document() -> dict[str, Any]:
    """The OpenAPI document of the built-in application, made in a directory that is thrown away."""
    from whalefall.app.factory import create_app  # noqa: PLC0415 - only to write the file
    from whalefall.settings import Settings  # noqa: PLC0415 - same

    with tempfile.TemporaryDirectory() as directory:
        settings = Settings(data_dir=directory, run_dir=directory, secret_key="reference", admin_password="x" * 20)  # noqa: S106 - thrown away
        client = create_app(settings).test_client()
        found: dict[str, Any] = client.get("/api/v1/openapi.json").get_json()
    return found


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render(document()))
