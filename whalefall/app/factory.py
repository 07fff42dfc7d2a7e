"""Makes the built-in application, and installs the API and the pages into any Flask application with a Scheduler."""

from datetime import timedelta

from flask import Flask, Response, request
from flask.sessions import SecureCookieSessionInterface

from whalefall import Scheduler
from whalefall.app import access, first_start, headers, jobs, metrics, pages, sampler, state
from whalefall.app.api import accounts, auth, document, errors, forms, health, notices, processes, runs
from whalefall.app.proxies import BelievedHops
from whalefall.app.secret import secret_key
from whalefall.settings import Settings

SESSION_COOKIE = "whalefall_session"


class SessionCookies(SecureCookieSessionInterface):
    """Flask's signed cookies; `Secure` whenever the visitor came over TLS, which only the request can tell."""

    def get_cookie_secure(self, app: Flask) -> bool:
        """Behind a proxy that ends TLS this is what X-Forwarded-Proto says."""
        return bool(app.config["SESSION_COOKIE_SECURE"]) or request.is_secure


def create_app(settings: Settings | None = None) -> Flask:
    """The built-in application, on `settings` or those of the environment."""
    settings = settings or Settings.load()
    app = Flask("whalefall.app", static_folder=None)
    app.config.update(
        SECRET_KEY=secret_key(settings),
        SESSION_COOKIE_NAME=SESSION_COOKIE,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        PERMANENT_SESSION_LIFETIME=timedelta(seconds=settings.session_lifetime_s),
        MAX_CONTENT_LENGTH=1_048_576,  # ours are limited further; this is for addresses that do not exist
    )
    app.session_interface = SessionCookies()
    scheduler = Scheduler()
    scheduler.init_app(app, settings)
    jobs.declare(scheduler)
    _install(app, settings, is_builtin=True)
    return app


def install(app: Flask, settings: Settings | None = None) -> None:
    """Registers the API and the pages on an application that has a Scheduler; its own addresses stay its own.

    An application without a SECRET_KEY gets the site's, which both processes share.
    """
    settings = settings or Settings.load()
    app.secret_key = app.secret_key or secret_key(settings)
    _install(app, settings, is_builtin=False)


def _install(app: Flask, settings: Settings, *, is_builtin: bool) -> None:
    state.put(app, settings, is_builtin=is_builtin)
    app.wsgi_app = BelievedHops(app.wsgi_app, settings.trusted_proxies)  # type: ignore[method-assign]  # Flask's own way
    headers.init_headers(app)
    access.init_login(app)
    api = document.Document(app)
    for part in (health, runs, processes, auth, accounts, notices):
        api.register_blueprint(part.blueprint)
    document.serve(app, api)
    pages.register(app)
    metrics.init_metrics(app)
    sampler.init_sampler(app)
    _replace_foreign_csrf_check(app)
    app.before_request(_answer_unknown_api_addresses)
    app.after_request(forms.send_back)
    first_start.prepare(app, settings)


def _replace_foreign_csrf_check(app: Flask) -> None:
    """The application's own CSRFProtect would refuse scripts with a token; our guard checks our addresses itself."""
    protect = app.extensions.get("csrf")
    for name, blueprint in app.blueprints.items():
        if protect is not None and name.startswith(headers.OUR_BLUEPRINTS):
            protect.exempt(blueprint)


def _answer_unknown_api_addresses() -> Response | None:
    """404 and 405 under our part of /api get the envelope, without touching the application's own error pages."""
    if request.routing_exception is not None and headers.is_our_api_path(request.path):
        return errors.respond_to_http_error(request.routing_exception)
    return None
