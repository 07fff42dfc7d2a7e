"""What the kernel's control group says about memory: evidence only, absent on many machines."""

import contextlib
import os

from whalefall.supervisor.edge import files

_ROOT = "/sys/fs/cgroup"


def oom_kills() -> int | None:
    """How many processes of our group the kernel has killed for memory so far; None where it does not say."""
    return next((kills for file in _counters() if (kills := oom_kills_in(file)) is not None), None)


def oom_kills_in(file: str) -> int | None:
    """What one memory.events or memory.oom_control says."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in files.read(file).splitlines():
            words = line.split()
            if words[0] == "oom_kill":
                return int(words[1])
    return None


def _counters() -> list[str]:
    """memory.events of cgroup v2, memory.oom_control of v1: in our own group and, as in a container, at the root."""
    found = []
    with contextlib.suppress(OSError):
        for line in files.read("/proc/self/cgroup").splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                found.append(os.path.join(_ROOT, path.lstrip("/"), "memory.events"))
            elif "memory" in controllers.split(","):
                found.append(os.path.join(_ROOT, "memory", path.lstrip("/"), "memory.oom_control"))
    return [*found, f"{_ROOT}/memory.events", f"{_ROOT}/memory/memory.oom_control"]
