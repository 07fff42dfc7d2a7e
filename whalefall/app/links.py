"""Text that comes from outside: addresses that we may send a visitor to, and text that a database can store."""

from urllib.parse import urlsplit

from flask import request

HOME = "/dashboard"


def local_path(wanted: str | None, otherwise: str = HOME) -> str:
    """`wanted` when it is a plain path of this site, else `otherwise`.

    Browsers read `//host`, `/\\host` and `/<tab>/host` as another site, so a path with such a start or with any
    control character is no path.
    """
    if not wanted or not wanted.startswith("/") or wanted[1:2] in ("/", "\\"):
        return otherwise
    if any(character <= " " or character in "\\\x7f" for character in wanted):
        return otherwise
    parts = urlsplit(wanted)
    return otherwise if parts.scheme or parts.netloc else wanted


def back(otherwise: str = HOME) -> str:
    """Where a form came from: its `next` field, else the page named by Referer on this very host."""
    if "next" in request.form:
        return local_path(request.form["next"], otherwise)
    referrer = urlsplit(request.referrer or "")
    same_site = referrer.netloc == request.host
    return (
        local_path(referrer.path + (f"?{referrer.query}" if referrer.query else ""), otherwise)
        if same_site
        else otherwise
    )


def is_storable(text: str) -> bool:
    """False for NUL (PostgreSQL refuses it) and lone surrogates (no encoding has them)."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
