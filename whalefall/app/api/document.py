"""The OpenAPI 3 document at /api/v1/openapi.json and, by the setting API_V1_DOCS_ENABLED, a page that shows it.

flask-smorest's Api under a prefix of our own, so that an application with an Api of its own keeps it.
"""

from typing import Any

from flask import Blueprint, Flask, Response, abort, jsonify
from flask_smorest import Api

from whalefall import __version__
from whalefall.app import access
from whalefall.app.api.blueprint import PREFIX
from whalefall.app.api.errors import install_handlers
from whalefall.app.roles import Role, needs
from whalefall.app.state import app_state


class Document(Api):  # type: ignore[misc]  # flask-smorest ships no types
    """The document and nothing else: our blueprints have their own error handlers."""

    DEFAULT_ERROR_RESPONSE_NAME = None  # each operation lists its own; "default" would allow everything

    def __init__(self, app: Flask) -> None:
        app.config.setdefault("WHALEFALL_API_TITLE", "whalefall")
        app.config.setdefault("WHALEFALL_API_VERSION", __version__)
        app.config.setdefault("WHALEFALL_OPENAPI_VERSION", "3.0.3")
        super().__init__(app, config_prefix="WHALEFALL_", spec_kwargs=_spec())

    def _register_error_handlers(self) -> None:
        """None for the whole application: it may be somebody else's."""


def _spec() -> dict[str, Any]:
    return {
        "info": {"description": "Jobs, runs and processes of one whalefall. Every answer has the same envelope."},
        "components": {
            "securitySchemes": {
                "session": {"type": "apiKey", "in": "cookie", "name": "whalefall_session"},
                "token": {"type": "http", "scheme": "bearer"},
            }
        },
    }


def serve(app: Flask, api: Document) -> None:
    """Registers the document's address."""
    blueprint = Blueprint("whalefall_openapi", __name__, url_prefix=PREFIX)
    install_handlers(blueprint)
    blueprint.before_request(access.guard)

    @blueprint.get("/openapi.json")
    @needs(Role.NONE)
    def openapi_json() -> Response:
        return jsonify(api.spec.to_dict())

    @blueprint.get("/docs")
    @needs(Role.NONE)
    def docs() -> str:
        from whalefall.app.pages.docs import render  # noqa: PLC0415 - pages know the API, not the other way round

        if not app_state().settings.api_docs:
            abort(404)
        return render(api.spec.to_dict())

    app.register_blueprint(blueprint)
