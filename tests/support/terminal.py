"""`whalefall dev` on a terminal of its own, as a person has it: keys go in, and what is shown is read all the time."""

import os
import pty
import select
import subprocess
import sys
import termios
import threading
from pathlib import Path
from typing import Self

from tests.support.deployment import Deployment
from tests.support.waiting import wait_until

INTERRUPT = "\x03"  # Ctrl-C


class Development(Deployment):
    """One `whalefall dev` whose controlling terminal is a pseudo terminal of ours."""

    def __init__(self, directory: Path, *words: str, **environ: str) -> None:
        super().__init__(directory, *words, **{"TERM": "xterm", **environ})
        self.ours, self.theirs = -1, -1
        self.reader: threading.Thread | None = None
        self.enough = threading.Event()

    def start(self) -> Self:
        self.ours, self.theirs = pty.openpty()
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        # setsid makes the terminal the controlling one: only then Ctrl-C is a signal.
        command = ["setsid", "--ctty", sys.executable, "-m", "whalefall", "dev", *self.words]
        self.process = subprocess.Popen(
            command, cwd=self.directory, env=self.environ, stdin=self.theirs, stdout=self.theirs, stderr=self.theirs
        )
        return self

    def __exit__(self, *problem: object) -> None:
        super().__exit__(*problem)
        self.close()

    def close(self) -> None:
        """The window is closed. The reader first: the kernel keeps a terminal for as long as somebody reads it."""
        if self.reader is None:
            return
        self.enough.set()
        self.reader.join(10)
        self.reader = None
        os.close(self.theirs)
        os.close(self.ours)

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())

    def until_shown(self, text: str, after: int = 0) -> int:
        """Where the next thing would be shown, once `text` was."""
        shown = wait_until(
            lambda: text in self.output()[after:] and self.output(), f"{text!r} is shown", 60, self.output
        )
        return shown.index(text, after) + len(text)

    def echoes(self) -> bool:
        """Whether one would see what one types."""
        return bool(termios.tcgetattr(self.theirs)[3] & termios.ECHO)

    def _read(self) -> None:
        with self.log.open("ab", buffering=0) as log:
            while not self.enough.is_set():
                if select.select([self.ours], [], [], 0.1)[0]:
                    log.write(os.read(self.ours, 65_536))
