"""`whalefall web`, `whalefall scheduler`, `whalefall nginx`: become that program. Commands for a Procfile.

Under `serve` the planner resolves them and these never run; under honcho, on a PaaS or by hand they do the same thing
with what they are given: a socket in LISTEN_FDS, else $PORT, else the addresses of the settings.
"""

import argparse
import os
from typing import NoReturn

from whalefall.cli import requests
from whalefall.planner import standalone
from whalefall.planner.world import Request


def web(arguments: argparse.Namespace) -> int:
    """Becomes the web Gunicorn."""
    _become(standalone.gunicorn("web", _request(arguments.app)))


def scheduler(arguments: argparse.Namespace) -> int:
    """Becomes the scheduler Gunicorn."""
    _become(standalone.gunicorn("scheduler", _request(arguments.app)))


def nginx(_: argparse.Namespace) -> int:
    """Becomes Nginx."""
    _become(standalone.nginx(_request("")))


def _request(app: str) -> Request:
    return Request(directory=requests.here(), environ=dict(os.environ), app=app)


def _become(command: standalone.Standalone) -> NoReturn:
    os.execve(command.argv[0], list(command.argv), dict(command.env))  # noqa: S606 - no shell is the point


COMMANDS = {"web": web, "scheduler": scheduler, "nginx": nginx}
