"""Who is really asking: the client's address behind our Nginx and trusted proxies, and whether that is this machine.

Every hop of X-Forwarded-For that we believe was appended by a peer we know: our own Nginx (its peer address is
loopback or a unix socket) and TRUSTED_PROXIES more in front of it. Anything further left was written by the client.
"""

import ipaddress
from collections.abc import Iterable

from flask import Request
from werkzeug.middleware.proxy_fix import ProxyFix

DIRECT = "whalefall.direct"  # in the environ of a request that reached the public port itself: no Nginx of ours
_ORIGINAL = "werkzeug.proxy_fix.orig"
_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")


def _is_loopback(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address.strip())
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return bool((mapped or parsed).is_loopback)


def _is_local_peer(address: str | None) -> bool:
    """A unix socket has no peer address; its file permissions have decided already."""
    return not address or _is_loopback(address)


class BelievedHops:
    """WSGI middleware: werkzeug's ProxyFix with as many hops as can be believed for this very connection.

    ProxyFix alone wants one fixed number and changes nothing when there are fewer hops, so a client that goes around
    the outer proxies would keep Nginx's own loopback address.
    """

    def __init__(self, app: object, trusted: int) -> None:
        self.trusted = trusted
        self._by_hops = [
            ProxyFix(app, x_for=hops, x_proto=min(hops, 1), x_host=0)  # type: ignore[arg-type]  # any WSGI callable
            for hops in range(trusted + 2)
        ]

    def __call__(self, environ: dict[str, object], start_response: object) -> Iterable[bytes]:
        forwarded = str(environ.get("HTTP_X_FORWARDED_FOR", ""))
        if forwarded:
            # ProxyFix reads a quoted comma as one hop, so a client could swallow the hop that Nginx appended.
            environ["HTTP_X_FORWARDED_FOR"] = forwarded = forwarded.replace('"', "")
        hops = forwarded.count(",") + 1 if forwarded else 0
        believed = self.trusted + (1 if _our_nginx_may_be_in_front(environ) else 0)
        return self._by_hops[min(hops, believed)](environ, start_response)  # type: ignore[arg-type]


def _our_nginx_may_be_in_front(environ: dict[str, object]) -> bool:
    return DIRECT not in environ and _is_local_peer(str(environ.get("REMOTE_ADDR") or ""))


def client_address(request: Request) -> str:
    """The client's address for people, logs and rate limits; "local" when it came over a unix socket."""
    return request.remote_addr or "local"


def is_this_machine(request: Request) -> bool:
    """True when a program on this machine asks: over our Nginx alone or directly, and under a local name.

    The name matters: a page in the administrator's browser can point its own domain at 127.0.0.1 (DNS rebinding).
    """
    original = request.environ.get(_ORIGINAL) or {}
    peer = original.get("REMOTE_ADDR", request.environ.get("REMOTE_ADDR"))
    if not _is_local_peer(peer) or "Forwarded" in request.headers or "Via" in request.headers:
        return False
    forwarded = request.headers.get("X-Forwarded-For")
    if forwarded is not None and (DIRECT in request.environ or not _is_loopback(forwarded)):  # two hops are no address
        return False
    name = request.host.rsplit(":", 1)[0] if not request.host.endswith("]") else request.host
    return name.lower() in _LOCAL_NAMES
