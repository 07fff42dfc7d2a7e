"""What a leader left behind. Reads /proc; knows processes by parentage, session, group and environment tag.

We are the subreaper: whatever outlives its parent becomes our direct child, so every survivor is one of our children or
below one. That makes a sweep cost what our own tree costs, not what the machine runs.
"""

import contextlib
import os
import signal
from collections.abc import Collection, Iterable

from whalefall.plan.records import frozen

TAG = "WHALEFALL_LIFE"
RUN = "run#"  # the tag of a job's process begins so


@frozen
class Leader:
    """A life's leader, alive or dead: the pid that its session and its group are named after."""

    life: str
    pid: int


def survivors(dead: Leader, orphans: Iterable[int], grouped: Collection[int] = frozenset()) -> set[int]:
    """Pids of `dead`'s tree that are still there. `orphans` are our children that nobody leads.

    `grouped` are those in the life's control group, where there is one. Without it an orphan that nothing ties to any
    life (it left session and group and wiped its environment) is not counted here; `everything()` ends it when the
    supervisor leaves.
    """
    found: set[int] = set()
    for child in orphans:
        if _belongs(child, dead) or (child in grouped and not outlives(child)):
            found |= {child} | _descendants(child)
    return found


def outlives(pid: int) -> bool:
    """A job's process belongs to no generation, whatever group it was born in: a scheduler's reload leaves it alone."""
    return _tag(pid).startswith(RUN)


def everything() -> set[int]:
    """All that is below us."""
    return _descendants(os.getpid())


def members(leader: Leader) -> set[int]:
    """The tree of a leader who is alive, the leader included."""
    return {leader.pid} | _descendants(leader.pid)


def stopped(pids: Iterable[int]) -> frozenset[int]:
    """Those that a signal has stopped: state T of proc(5)."""
    return frozenset(pid for pid in pids if _stat(pid)[:1] == [b"T"])


def children(pid: int) -> list[int]:
    """Those that any of its threads has started; [] when it has gone."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            found += map(int, _read(f"/proc/{pid}/task/{thread}/children").split())
    return found


def life_of(pid: int, leaders: Iterable[Leader]) -> str:
    """Which life `pid` belongs to, by its session, its group or its tag; "" for a stranger."""
    return next((leader.life for leader in leaders if _belongs(pid, leader)), "")


def send(pids: Iterable[int], signum: int) -> None:
    """To each that is still there. Our own children's pids cannot be reused before we reap them."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signum)


def kill(leader: Leader, pids: Iterable[int]) -> None:
    """SIGKILL to the whole group at once, then to whoever left it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader.pid, signal.SIGKILL)
    send(pids, signal.SIGKILL)


def _belongs(pid: int, leader: Leader) -> bool:
    group, session = _group_and_session(pid)
    return leader.pid in (group, session) or _tag(pid) == leader.life


def _descendants(pid: int) -> set[int]:
    found: set[int] = set()
    queue = [pid]
    while queue:
        for child in children(queue.pop()):
            if child not in found:
                found.add(child)
                queue.append(child)
    return found


def _group_and_session(pid: int) -> tuple[int, int]:
    fields = _stat(pid)
    return (int(fields[2]), int(fields[3])) if fields else (0, 0)


def _stat(pid: int) -> list[bytes]:
    """State, parent, group, session, …; [] when it has gone. The command may hold anything, so count from its end."""
    return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()


def _tag(pid: int) -> str:
    for variable in _read(f"/proc/{pid}/environ").split(b"\0"):
        name, _, value = variable.partition(b"=")
        if name == TAG.encode():
            return value.decode(errors="replace")
    return ""


def _read(path: str) -> bytes:
    """b"" when the process has gone meanwhile."""
    with contextlib.suppress(OSError), open(path, "rb", buffering=0) as file:
        return file.readall()
    return b""
