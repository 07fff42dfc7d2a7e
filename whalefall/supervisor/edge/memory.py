"""How much memory processes hold: resident bytes, the second number of /proc/PID/statm (proc(5)), which costs no walk
through their pages."""

import contextlib
import os

from whalefall.supervisor.edge import files, trees

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def of_workers(leader: trees.Leader) -> dict[int, int]:
    """Each child of the leader by itself."""
    return {pid: size for pid in trees.children(leader.pid) if (size := _resident(pid))}


def of_tree(leader: trees.Leader) -> dict[int, int]:
    """All of it together, under the leader's pid."""
    return {leader.pid: sum(map(_resident, trees.members(leader)))}


def _resident(pid: int) -> int:
    """0 when it has gone meanwhile, and for a zombie."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int(files.read(f"/proc/{pid}/statm").split()[1]) * _PAGE_BYTES
    return 0
