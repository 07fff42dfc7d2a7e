"""What the kernel's control group says about memory: evidence only, absent on many machines."""

import contextlib
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


def oom_kills() -> int | None:
    """How many processes of our group the kernel has killed for memory so far; None where it does not say."""
    return next((kills for file in _files() if (kills := oom_kills_in(file)) is not None), None)


def oom_kills_in(file: Path) -> int | None:
    """What one memory.events or memory.oom_control says."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in file.read_text().splitlines():
            words = line.split()
            if words[0] == "oom_kill":
                return int(words[1])
    return None


def _files() -> list[Path]:
    """memory.events of cgroup v2, memory.oom_control of v1: in our own group and, as in a container, at the root."""
    files = []
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                files.append(_ROOT / path.lstrip("/") / "memory.events")
            elif "memory" in controllers.split(","):
                files.append(_ROOT / "memory" / path.lstrip("/") / "memory.oom_control")
    return [*files, _ROOT / "memory.events", _ROOT / "memory" / "memory.oom_control"]
