"""Sockets that a service manager has bound for us (sd_listen_fds(3)): which of our listeners is which of them?

A socket that is named as a listener decides its address: `http` is HOST and PORT, `https` is TLS_PORT, `web` and
`scheduler` are WEB_LISTEN and SCHEDULER_LISTEN. One without such a name is taken where its address is a listener's.
Descriptors keep their numbers through the exec, so the Plan names them; on a reload the planner is another process,
and learns of them by a variable.
"""

import contextlib
import dataclasses
import json
import os
import socket
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass

from whalefall.errors import ConfigError
from whalefall.plan import Listener
from whalefall.plan.records import replace

VARIABLE = "WHALEFALL_SOCKETS"
_FIRST = 3  # sd_listen_fds(3): SD_LISTEN_FDS_START
_COUNT_MAX = 64  # we have a handful of listeners; a number beyond this is nonsense
_PARTS = {"http": ("HOST", "PORT"), "https": ("", "TLS_PORT")}
_WHOLE = {"web": "WEB_LISTEN", "scheduler": "SCHEDULER_LISTEN"}


@dataclass(frozen=True, slots=True)
class Passed:
    """`address` is as in the Plan; "" when it is no listening stream socket."""

    descriptor: int
    name: str
    address: str


def take(environ: MutableMapping[str, str]) -> None:
    """Reads what is for this process and removes it from `environ`, where VARIABLE then tells the planner."""
    count, pid, names = (environ.pop(name, "") for name in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"))
    environ.pop("LISTEN_PIDFDID", None)
    environ.pop(VARIABLE, None)
    if pid != str(os.getpid()) or not count.isdecimal() or not 0 < int(count) <= _COUNT_MAX:
        return
    named = names.split(":")
    found = [
        Passed(_FIRST + at, named[at] if at < len(named) else "", _address(_FIRST + at)) for at in range(int(count))
    ]
    environ[VARIABLE] = _text(found)


def passed(environ: Mapping[str, str]) -> tuple[Passed, ...]:
    """What `take` has found, in this process or in the one that reloads."""
    return tuple(Passed(**row) for row in json.loads(environ.get(VARIABLE) or "[]"))


def variables(environ: Mapping[str, str]) -> dict[str, str]:
    """The settings that the sockets decide by their names. Raises ConfigError when one cannot be what it is named."""
    decided: dict[str, str] = {}
    for each in passed(environ):
        if not each.address or each.name not in {*_PARTS, *_WHOLE}:
            continue
        if each.name in _WHOLE:
            decided.setdefault(_WHOLE[each.name], each.address)
            continue
        if each.address.startswith("unix:"):
            raise ConfigError(
                f"the service manager's socket '{each.name}' is {each.address}, but the site listens on host:port. "
                "Mend ListenStream."
            )
        host, _, port = each.address.rpartition(":")
        for variable, value in zip(_PARTS[each.name], (host.strip("[]"), port), strict=True):
            if variable:
                decided.setdefault(variable, value)
    return decided


def adopt(listeners: Sequence[Listener], environ: Mapping[str, str]) -> tuple[Listener, ...]:
    """Each listener with the descriptor of its socket, where there is one. Raises ConfigError for two addresses."""
    left = list(passed(environ))
    adopted = []
    for listener in listeners:
        found = next((each for each in left if each.address and each.name == listener.name), None)
        if found and found.address != listener.address:
            raise ConfigError(
                f"the service manager's socket '{found.name}' is {found.address}, but whalefall would listen on "
                f"{listener.address}. Make them the same."
            )
        found = found or next((each for each in left if each.address == listener.address), None)
        if found:
            left.remove(found)
        adopted.append(replace(listener, descriptor=found.descriptor) if found else listener)
    return tuple(adopted)


def strangers(listeners: Sequence[Listener], environ: Mapping[str, str]) -> tuple[Passed, ...]:
    """Those that no listener is."""
    taken = {listener.descriptor for listener in listeners}
    return tuple(each for each in passed(environ) if each.descriptor not in taken)


def notes(listeners: Sequence[Listener], environ: Mapping[str, str]) -> list[str]:
    """What becomes of each stranger, and how to mend that."""
    return [_note(stranger, listeners) for stranger in strangers(listeners, environ)]


def _note(stranger: Passed, listeners: Sequence[Listener]) -> str:
    what = f"descriptor {stranger.descriptor}" + (f" ('{stranger.name}')" if stranger.name else "")
    where = f"on {stranger.address}" if stranger.address else "which is no listening stream socket,"
    names = ", ".join(listener.name for listener in listeners)
    return (
        f"the service manager's {what} {where} belongs to no listener and is closed. "
        f"Name it by FileDescriptorName= ({names}), or remove it."
    )


def close(given: Sequence[Passed]) -> None:
    """Our copies; the manager has its own."""
    for each in given:
        try:
            os.close(each.descriptor)
        except OSError:  # LISTEN_FDS promised more than there is
            continue


def remaining(listeners: Sequence[Listener], environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` for the planner of the next reload: with those that were adopted, for the others are closed by then."""
    gone = strangers(listeners, environ)
    kept = [each for each in passed(environ) if each not in gone]
    others = {name: value for name, value in environ.items() if name != VARIABLE}
    return {**others, VARIABLE: _text(kept)} if kept else others


def _address(descriptor: int) -> str:
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as looked_at:
        if looked_at.type != socket.SOCK_STREAM or not looked_at.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return ""
        name = looked_at.getsockname()
        match looked_at.family:
            case socket.AF_UNIX:
                return f"unix:{name}" if isinstance(name, str) and name.startswith("/") else ""
            case socket.AF_INET6:
                return f"[{name[0]}]:{name[1]}"
            case socket.AF_INET:
                return f"{name[0]}:{name[1]}"
    return ""


def _text(rows: Sequence[Passed]) -> str:
    return json.dumps([dataclasses.asdict(row) for row in rows])
