"""Our style sheet, scripts and pictures under /static/whalefall/; Nginx serves the same folder by itself."""

import hashlib
from functools import cache
from pathlib import Path

from flask import Blueprint, Response, request, send_from_directory, url_for

from whalefall.app.roles import Role, needs

FOLDER = Path(__file__).parents[1] / "static" / "whalefall"
_YEAR_S = 31_536_000


def add_to(blueprint: Blueprint) -> None:
    """Registers the address."""
    blueprint.add_url_rule("/static/whalefall/<path:name>", "asset", asset)


@needs(Role.NONE)
def asset(name: str) -> Response:
    """A file of ours; one asked for by its content's digest never changes."""
    response = send_from_directory(FOLDER, name)
    if request.args.get("v") == _digest(name):
        response.cache_control.no_cache = None
        response.cache_control.max_age = _YEAR_S
        response.cache_control.public = True
        response.cache_control.immutable = True
    return response


def asset_url(name: str) -> str:
    """The address with the digest of the content, so that a new release is never shown with an old style sheet."""
    return url_for("whalefall_pages.asset", name=name, v=_digest(name))


@cache
def _digest(name: str) -> str:
    path = FOLDER / name
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path.is_file() else ""
