"""A control group (cgroup v2) for each generation: the kernel then knows who belongs to it, whatever they do.

A process may leave its session and its group and wipe its environment; out of its control group it cannot get without
rights that it should not have. Only where the group that we are in is ours to divide: the root of what we see (a
container's, or the whole machine's), one that systemd delegates (Delegate=yes), or one that belongs to our user. Else,
and wherever a step fails, everything goes on without: this is one more evidence beside trees.py, and nobody's premise.

Where the memory controller can be divided, each generation's own out-of-memory kills and peak are known, too. For that
no process may stay in the groups above (cgroups(7), "no internal processes"), so we go into one of our own.

While we live, we and our guardian hold a lock on the directory of our groups. Where nobody does, both were killed
outright, and the next of us removes what they left.
"""

import contextlib
import fcntl
import os

from whalefall.plan.records import field, frozen, mutable
from whalefall.supervisor.edge import cgroup, files

_OURSELVES = "supervisor"
_DELEGATED = ("user.delegate", "trusted.delegate")  # systemd's marks: org.systemd's Delegate=
_KEPT = 64  # lives whose memory is remembered until somebody asks; more do not end in one turn


@frozen
class Memory:
    """What a generation's group said at its end; None where it does not know."""

    oom_kills: int | None = None
    peak_bytes: int | None = None


@mutable
class Groups:
    """`directory` "" is a machine without: every verb then does nothing."""

    directory: str = ""
    with_memory: bool = False
    held: int = -1  # the descriptor whose lock says that somebody lives
    left: set[str] = field(factory=set)  # ended, but not yet empty: somebody may outlive a generation
    ended: dict[str, Memory] = field(factory=dict)

    def open(self, life: str) -> int | None:
        """A descriptor of the life's group, to be closed after the spawn; None where there is none."""
        if not self.directory:
            return None
        with contextlib.suppress(OSError):
            path = f"{self.directory}/{life}"
            with contextlib.suppress(FileExistsError):
                os.mkdir(path)
            return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return None

    def members(self, life: str) -> set[int]:
        """Pids in the life's group and below; zombies are in no group."""
        return _members(f"{self.directory}/{life}") if self.directory else set()

    def close(self, life: str) -> None:
        """The life is over: remember what it took, remove what is empty."""
        if not self.directory:
            return
        if self.with_memory:
            self.ended[life] = _memory(f"{self.directory}/{life}")
            while len(self.ended) > _KEPT:
                del self.ended[next(iter(self.ended))]
        self.left = {name for name in {*self.left, life} if not remove(f"{self.directory}/{name}")}

    def memory(self, life: str) -> Memory:
        """Of a life that has ended."""
        return self.ended.pop(life, Memory())

    def leave(self) -> None:
        """At our end: as if we had never been here."""
        if self.directory:
            leave(self.directory)
            os.close(self.held)
            self.held = -1


def divide(identity: str, cgroups: str = "/proc/self/cgroup", mounts: str = "/proc/self/mountinfo") -> Groups:
    """Groups below the one that we are in, for the supervisor `identity`; none where that is not ours to divide."""
    own = _own_group(cgroups, mounts)
    if not own:
        return Groups()
    _remove_abandoned(own)
    directory = f"{own}/whalefall-{identity}"
    try:
        os.mkdir(directory)
        held = _lock(directory)
    except OSError:
        return Groups()
    try:
        with_memory = _divide_memory(own, directory)
        _try_out(directory)
    except OSError:
        leave(directory)
        os.close(held)
        return Groups()
    return Groups(directory, with_memory, held)


def _remove_abandoned(own: str) -> None:
    """A number of a process would not tell: its owner may be of another pid namespace, or somebody new."""
    for directory in files.below(own):
        if os.path.basename(directory).startswith("whalefall-"):
            with contextlib.suppress(OSError):
                held = _lock(directory)
                remove(directory)
                os.close(held)


def _lock(directory: str) -> int:
    """A descriptor that holds it, as long as it or a fork's copy is open. Raises OSError when somebody else does."""
    held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        raise
    return held


def everybody(directory: str) -> set[int]:
    """All that run in any generation's group."""
    return set().union(*(_members(each) for each in files.below(directory) if os.path.basename(each) != _OURSELVES))


def leave(directory: str) -> None:
    """Out of `directory`, and away with it as far as nobody is left in it."""
    above = os.path.dirname(directory)
    ours = f"{directory}/{_OURSELVES}"
    for group in files.below(directory):
        if group != ours:
            remove(group)
    if os.path.exists(ours):
        with contextlib.suppress(OSError):
            _write(f"{directory}/cgroup.subtree_control", "-memory")
        with contextlib.suppress(OSError):
            _write(f"{above}/cgroup.subtree_control", "-memory")
        for pid in _members(ours):
            with contextlib.suppress(OSError):
                _write(f"{above}/cgroup.procs", str(pid))
        remove(ours)
    remove(directory)


def remove(group: str) -> bool:
    """Whether it has gone; it stays while somebody is in it. Groups that others made below it go first."""
    if _rmdir(group):  # a look at what is below costs more than all else, and there is hardly ever anything
        return True
    for each in files.below(group):
        remove(each)
    return _rmdir(group)


def _rmdir(group: str) -> bool:
    """Whether it has gone."""
    try:
        os.rmdir(group)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _own_group(cgroups: str, mounts: str) -> str:
    """The directory of the group that we are in, "" where we may not divide it."""
    with contextlib.suppress(OSError, ValueError):
        line = next((line for line in files.read(cgroups).splitlines() if line.startswith("0::/")), "")
        path = line.removeprefix("0::")
        # proc(5): … root mount-point options - type …; `root` is the part of the hierarchy that is mounted there.
        fields = [line.split() for line in files.read(mounts).splitlines() if " - cgroup2 " in line]
        for root, point in ((words[3], words[4]) for words in fields):
            if path and ".." not in path and (path + "/").startswith(root.rstrip("/") + "/"):
                own = os.path.join(point, path[len(root.rstrip("/")) :].lstrip("/")).rstrip("/")
                return own if os.access(own, os.W_OK) and _is_ours(own, is_root=path == root) else ""
    return ""


def _is_ours(group: str, *, is_root: bool) -> bool:
    """Writable is not enough: root could write into the groups that systemd keeps for itself."""
    if is_root or (os.geteuid() != 0 and os.stat(group).st_uid == os.geteuid()):
        return True
    for mark in _DELEGATED:
        with contextlib.suppress(OSError):
            if os.getxattr(group, mark) == b"1":
                return True
    return False


def _divide_memory(own: str, directory: str) -> bool:
    """False where it cannot be had; raises OSError when not even the groups can."""
    if "memory" not in files.read(f"{own}/cgroup.controllers").split():
        return False
    home = f"{directory}/{_OURSELVES}"
    os.mkdir(home)
    _write(f"{home}/cgroup.procs", str(os.getpid()))
    with contextlib.suppress(OSError):  # EBUSY: others are in our old group, a shell perhaps
        _write(f"{own}/cgroup.subtree_control", "+memory")
        _write(f"{directory}/cgroup.subtree_control", "+memory")
        return True
    return False


def _try_out(directory: str) -> None:
    """Raises OSError where a generation could not get a group."""
    trial = f"{directory}/trial"
    os.mkdir(trial)
    writable = os.access(f"{trial}/cgroup.procs", os.W_OK)
    os.rmdir(trial)
    if not writable:
        raise PermissionError


def _members(group: str) -> set[int]:
    found: set[int] = set()
    with contextlib.suppress(OSError):
        found |= set(map(int, files.read(f"{group}/cgroup.procs").split()))
    found.discard(0)  # somebody outside of our pid namespace; to kill(2) it would mean ourselves
    return found.union(*map(_members, files.below(group)))


def _memory(group: str) -> Memory:
    peak = None
    with contextlib.suppress(OSError, ValueError):
        peak = int(files.read(f"{group}/memory.peak"))
    return Memory(cgroup.oom_kills_in(f"{group}/memory.events"), peak)


def _write(file: str, text: str) -> None:
    """One write(2), which the kernel takes as one command."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
