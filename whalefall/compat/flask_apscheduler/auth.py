"""Who asks: the header's `Authorization`, as Flask-APScheduler hands it to the `authenticate` callback."""

import base64
import binascii
from typing import Any

from flask import request


class Authorization(dict[str, Any]):
    """What the client sent; `auth_type` is lower case."""

    def __init__(self, auth_type: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.auth_type = auth_type


class HTTPAuth:
    """Base of the ways to authenticate."""

    def get_authorization(self) -> Authorization | None:
        """None if there is none, or none of this kind."""
        raise NotImplementedError

    def get_authenticate_header(self) -> str:
        """For the answer 401."""
        raise NotImplementedError


class HTTPBasicAuth(HTTPAuth):
    """HTTP Basic: `username` and `password`. The realm is what a browser shows beside its question."""

    www_authenticate_realm = "Authentication Required"

    def get_authorization(self) -> Authorization | None:
        kind, _, credentials = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "basic":
            return None
        try:
            username, separator, password = base64.b64decode(credentials, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        return Authorization("basic", username=username, password=password) if separator else None

    def get_authenticate_header(self) -> str:
        return f'Basic realm="{self.www_authenticate_realm}"'


def get_authorization_header() -> tuple[bytes, bytes] | None:
    """(type, credentials) of the request, or None."""
    kind, separator, credentials = request.headers.get("Authorization", "").partition(" ")
    return (kind.lower().encode(), credentials.encode()) if separator else None
