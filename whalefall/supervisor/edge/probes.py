"""Questions to a service, asked without waiting: HTTP, a bare connection, or a command's exit code."""

import errno
import os
import selectors
import socket

from whalefall.plan import Command, Probe
from whalefall.plan.records import field, mutable
from whalefall.supervisor.core.events import Event, ExitStatus, ProbeFailed, ProbeSucceeded
from whalefall.supervisor.edge.listeners import parse
from whalefall.supervisor.edge.spawn import Handed, SpawnError, spawn

_ANSWER_BYTES_MAX = 65_536  # the status line is all we read; a server that talks more is cut off
_STATUS_BAD = 400  # Kubernetes: any status from 200 to 399 is success


@mutable
class Probes:
    """The questions that are out, at most one per life."""

    selector: selectors.BaseSelector
    asked: dict[str, "_Question"] = field(factory=dict)
    commands: dict[int, str] = field(factory=dict)  # pid of an exec probe → life

    def ask(self, life: str, probe: Probe, address: str, command: Command) -> list[Event]:
        """Starts asking; an answer that is known at once is returned."""
        self.drop(life)
        try:
            if probe.kind == "exec":
                return self._run(life, probe, command)
            question = _Question(life, probe, address, self.selector)
            self.asked[life] = question
            return self._finish_if_known(life, question.connect())
        except (
            OSError,
            ValueError,
        ) as error:  # out of descriptors, or an address that is none: an answer like any other
            self.drop(life)
            return [ProbeFailed(life, f"cannot ask {address}: {error}")]

    def drop(self, life: str) -> None:
        question = self.asked.pop(life, None)
        if question is not None:
            question.close()
        for pid in [pid for pid, owner in self.commands.items() if owner == life]:
            del self.commands[pid]
            os.killpg(pid, 9)  # with what it started; not reaped yet, so the number is still this child's

    def exited(self, pid: int, status: ExitStatus) -> list[Event]:
        """An exec probe has ended; [] when `pid` is none of ours."""
        life = self.commands.pop(pid, None)
        if life is None:
            return []
        return [ProbeSucceeded(life) if status.code == 0 else ProbeFailed(life, f"the probe {status}")]

    def answered(self, life: str) -> list[Event]:
        """The selector's callback."""
        question = self.asked.get(life)
        return [] if question is None else self._finish_if_known(life, question.proceed())

    def _finish_if_known(self, life: str, answer: Event | None) -> list[Event]:
        if answer is None:
            return []
        self.asked.pop(life).close()
        return [answer]

    def _run(self, life: str, probe: Probe, command: Command) -> list[Event]:
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        asking = Command(probe.argv, command.cwd, command.env, command.user)
        try:
            pid = spawn(asking, Handed(output=null), {}, death_signal=9)
        except SpawnError as error:
            return [ProbeFailed(life, str(error))]
        finally:
            os.close(null)
        self.commands[pid] = life
        return []


@mutable
class _Question:
    """One connection: connect, send, read the status line."""

    life: str
    probe: Probe
    address: str
    selector: selectors.BaseSelector
    connection: socket.socket | None = None
    sent: bool = False
    answer: bytes = b""

    def connect(self) -> Event | None:
        family, target = parse(self.address)
        self.connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        outcome = self.connection.connect_ex(target)
        if outcome not in (0, errno.EINPROGRESS):
            return ProbeFailed(self.life, f"cannot connect to {self.address}: {os.strerror(outcome)}")
        self.selector.register(self.connection, selectors.EVENT_WRITE, ("probe", self.life))
        return None

    def proceed(self) -> Event | None:
        assert self.connection is not None  # noqa: S101 - registered only when connected
        try:
            return self._read() if self.sent else self._send()
        except BlockingIOError:
            return None
        except OSError as error:
            return ProbeFailed(self.life, f"{self.address}: {error.strerror}")

    def _send(self) -> Event | None:
        assert self.connection is not None  # noqa: S101 - see proceed
        failed = self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failed:
            return ProbeFailed(self.life, f"cannot connect to {self.address}: {os.strerror(failed)}")
        if self.probe.kind == "tcp":
            return ProbeSucceeded(self.life)
        request = f"GET {self.probe.path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: whalefall-probe\r\n"
        self.connection.send(f"{request}Connection: close\r\n\r\n".encode())
        self.sent = True
        self.selector.modify(self.connection, selectors.EVENT_READ, ("probe", self.life))
        return None

    def _read(self) -> Event | None:
        assert self.connection is not None  # noqa: S101 - see proceed
        chunk = self.connection.recv(4_096)
        self.answer += chunk
        line, newline, _ = self.answer.partition(b"\r\n")
        if not newline and chunk and len(self.answer) < _ANSWER_BYTES_MAX:
            return None
        words = line.split(b" ", 2)
        if not newline or not words[0].startswith(b"HTTP/") or len(words) < 2 or not words[1].isdigit():
            return ProbeFailed(self.life, f"{self.address} did not answer in HTTP")
        status = int(words[1])
        if status < _STATUS_BAD:
            return ProbeSucceeded(self.life)
        return ProbeFailed(self.life, f"GET {self.probe.path} answered {status}")

    def close(self) -> None:
        if self.connection is not None:
            if self.connection.fileno() in self.selector.get_map():
                self.selector.unregister(self.connection)
            self.connection.close()
