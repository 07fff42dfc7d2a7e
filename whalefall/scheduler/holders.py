"""Who a scheduler is, by name: host, process, namespace and chance. And whether a name's owner is certainly dead.

A killed leader's lease has up to ten seconds to run. A successor on the same host need not wait: the kernel knows that
the process is gone. Only "certainly dead" counts; whoever is elsewhere, or in doubt, keeps the lease until it ends.
"""

import os
import secrets
import socket
from pathlib import Path


def name() -> str:
    """Like `shop-1/4711/f0000001.3fa2c1`: a hostname is shared by what was restarted, a pid by what came later."""
    return f"{socket.gethostname()}/{os.getpid()}/{_namespace()}.{secrets.token_hex(3)}"


def host_and_pid(holder: str) -> tuple[str, int]:
    """Of a name that `name()` has made; another name is a host without a process."""
    host, _, pid = holder.rpartition("/")[0].rpartition("/")
    return (host, int(pid)) if pid.isdigit() else (holder, 0)


def is_certainly_dead(holder: str) -> bool:
    """True only for a process of this host and this pid namespace that is gone, or a zombie."""
    host, pid = host_and_pid(holder)
    namespace = holder.rpartition("/")[2].partition(".")[0]
    if not pid or host != socket.gethostname() or namespace != _namespace():
        return False
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return Path("/proc/self/stat").exists()  # without /proc nothing is certain
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] in ("Z", "X")


def _namespace() -> str:
    """Two containers may share a hostname and count their processes alike; not their pid namespace."""
    try:
        return f"{Path('/proc/self/ns/pid').stat().st_ino:x}"
    except OSError:
        return "?"
