"""Finding the Flask app in what Gunicorn serves."""

import functools
import logging
from typing import Any

import pytest
from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from whalefall.scheduler.worker import flask_apps, start_worker


class Middleware:
    def __init__(self, wrapped: Any) -> None:
        self._app = wrapped

    def __call__(self, environ: Any, start_response: Any) -> Any:
        return self._app(environ, start_response)


def in_a_closure(app: Any) -> Any:
    def middleware(environ: Any, start_response: Any) -> Any:
        return app(environ, start_response)

    return middleware


@pytest.fixture
def app() -> Flask:
    return Flask("one")


def test_itself(app: Flask) -> None:
    assert list(flask_apps(app)) == [app]


def test_inside_middleware_of_every_kind(app: Flask) -> None:
    for wrapped in (
        ProxyFix(app),
        Middleware(Middleware(app)),
        app.wsgi_app,
        in_a_closure(in_a_closure(app)),
        functools.partial(Middleware(app)),
    ):
        assert list(flask_apps(wrapped)) == [app]


def test_several_behind_a_dispatcher(app: Flask) -> None:
    two = Flask("two")
    assert list(flask_apps(DispatcherMiddleware(app, {"/two": two}))) == [app, two]


def test_a_circle_ends(app: Flask) -> None:
    one = Middleware(None)
    one._app = Middleware(one)
    assert list(flask_apps(one)) == []


def test_an_app_without_a_scheduler_gets_a_clear_line(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "whalefall"):
        assert start_worker(ProxyFix(app)) == 0
    assert "the Flask application 'one' has no scheduler, so no job will run" in caplog.text


def test_something_else_gets_a_clear_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "whalefall"):
        assert start_worker(lambda environ, start_response: []) == 0
    assert "no Flask application was found" in caplog.text
