"""THE REFERENCE IN PYTHON: a bare selectors loop that does what reference.c does, and nothing else."""

import os
import selectors
import signal
import sys
from pathlib import Path


def main() -> None:  # noqa: C901 - the whole of it on one screen is the point
    children = [tuple(line.split()) for line in Path(sys.argv[1]).read_text().splitlines()]
    selector = selectors.DefaultSelector()
    wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    selector.register(wake, selectors.EVENT_READ, None)
    running: dict[int, tuple[str, ...]] = {}
    held: dict[int, bytes] = {}
    stopping = False

    def start(child: tuple[str, ...]) -> None:
        read, write = os.pipe2(os.O_CLOEXEC)
        pid = os.posix_spawn(
            "/bin/sh",
            ["sh", child[1]],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, write, 1), (os.POSIX_SPAWN_DUP2, write, 2)],
            setsid=True,
        )
        os.close(write)
        running[pid], held[read] = child, b""
        selector.register(read, selectors.EVENT_READ, f"{child[0]} | ".encode())

    def pass_on(read: int, prefix: bytes) -> None:
        chunk = os.read(read, 65_536)
        if not chunk:
            selector.unregister(read)
            os.close(read)
            return
        whole, newline, held[read] = (held[read] + chunk).rpartition(b"\n")
        if newline:
            lines = prefix + whole.replace(b"\n", b"\n" + prefix) + b"\n"
            while lines:
                lines = lines[os.write(1, lines) :]

    for child in children:
        start(child)
    while running or not stopping:
        for key, _ in selector.select():
            if key.data is not None:
                pass_on(key.fd, key.data)
                continue
            if signal.SIGTERM in os.read(wake, 4_096):
                stopping = True
                for pid in running:
                    os.kill(pid, signal.SIGTERM)
            while running:
                pid, _ = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                child = running.pop(pid)
                if not stopping:
                    start(child)


main()
