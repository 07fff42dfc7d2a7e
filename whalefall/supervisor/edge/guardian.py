"""Nothing outlives a supervisor that is killed outright: a process that only waits for our death.

The death signal (prctl(2)) reaches our direct children, not what left their session. As PID 1 of a pid namespace the
kernel ends everything with us; elsewhere this small fork of ours waits for the end of a pipe, looks through /proc for
the environment tag of this very supervisor and into its control groups, and kills what it finds. It is asleep for all
its life.
"""

import contextlib
import os
import signal
import time

from whalefall.supervisor.edge import files, groups

TAG = "WHALEFALL_SUPERVISOR"
_GRACE_S = 1.0  # for those that the death signal has asked to stop
_ROUNDS = 50  # a process may fork between our look and our kill
_PAUSE_S = 0.02


def watch_over(identity: str, directory: str = "") -> int | None:
    """Its pid, or None as PID 1. Call before anything else is started: the fork shares every open descriptor.

    `directory` is that of our control groups, "" where there are none: who is in one of them is known without a tag.
    """
    if os.getpid() == 1:
        return None
    read, write = os.pipe2(os.O_CLOEXEC)  # our end is never closed while we live
    pid = os.fork()
    if pid == 0:
        os.close(write)
        _wait_for_the_end(read, identity, directory)
    os.close(read)
    return pid


def _wait_for_the_end(read: int, identity: str, directory: str) -> None:
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):  # or a reader of our output would wait for us
            os.dup2(null, descriptor)
        while os.read(read, 1):
            pass
        time.sleep(_GRACE_S)
        for _ in range(_ROUNDS):
            left = {*_tagged(f"{TAG}={identity}"), *(groups.everybody(directory) if directory else ())}
            if not left:
                break
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(_PAUSE_S)
        if directory:
            groups.leave(directory)
    finally:
        os._exit(0)


def _tagged(variable: str) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit() and variable in files.read(f"/proc/{name}/environ").split("\0"):
                found.append(int(name))
    return found
