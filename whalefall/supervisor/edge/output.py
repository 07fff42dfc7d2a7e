"""The children's pipes: read in large chunks, cut into lines, named, remembered, passed on to the sink.

The pipes have a selector of their own, which stands in the loop's as one descriptor. So that a trickle of lines (an
access log under load) does not wake us for each, it is left alone for a rest: the lines gather in their pipes. A rest
is as long as what comes meanwhile will fill half a pipe, so nobody who writes has to wait; what comes alone is passed
on at once, and a flood never rests.
"""

import contextlib
import json
import os
import selectors
import sys
from typing import Literal

from whalefall.plan.records import field, mutable
from whalefall.supervisor.core.lines import Lines, prefixed
from whalefall.supervisor.core.tail import Tail
from whalefall.supervisor.edge import clock
from whalefall.supervisor.edge.logfiles import LogFiles
from whalefall.supervisor.edge.sink import Sink

KEY = ("outputs", "")
REST_S = 0.04
_SHORTEST_REST_S = 0.002
_CHUNK_BYTES = 65_536  # a pipe's default capacity, pipe(7)
_GATHERED_BYTES = _CHUNK_BYTES // 2  # in a rest, from all pipes together
_LAST_CHUNKS = 16  # of a dead child, so that a flood cannot hold up its restart
_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)
_OURSELVES = "whalefall"


@mutable
class _Pipe:
    life: str
    name: str
    read: int
    lines: Lines = field(factory=Lines)
    watched: bool = False


@mutable
class Output:
    """`pipes` by life; `tails` by instance, so that a crash report survives the crash."""

    sink: Sink
    selector: selectors.BaseSelector
    format: Literal["text", "json", "raw"] = "text"
    formats: dict[str, str] = field(factory=dict)  # by instance, where it has one of its own
    pipes: dict[str, _Pipe] = field(factory=dict)
    tails: dict[str, Tail] = field(factory=dict)
    prefixes: dict[str, bytes] = field(factory=dict)
    files: LogFiles | None = None
    followers: list["Follower"] = field(factory=list)
    paused: bool = False
    speaking: selectors.DefaultSelector = field(factory=selectors.DefaultSelector)
    taken: int = 0  # bytes in this turn, or in this rest
    taken_at: float = 0.0  # the last turn that brought any
    rests_until: float | None = None

    def name_all(self, names: list[str]) -> None:
        """Prefixes of one width; colour only on a terminal (and not if NO_COLOR is set, no-color.org)."""
        width = max(map(len, [*names, _OURSELVES]))
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        for index, name in enumerate(names):
            text = f"{name:<{width}} | "
            number = _COLOURS[index % len(_COLOURS)]
            self.prefixes[name] = f"\x1b[{number}m{text}\x1b[0m".encode() if colour else text.encode()
        self.prefixes[_OURSELVES] = f"{_OURSELVES:<{width}} | ".encode()

    def open(self, life: str, name: str, log: str = "") -> int | None:
        """The write end for a new life, to be closed after the spawn; None in `raw`: it inherits ours.

        `log` is its own format, "" for the one of all; `none` is remembered and written to its file, but not shown.
        """
        self.tails.setdefault(name, Tail())
        self.formats[name] = log or self.format
        if self.formats[name] == "raw":
            return None
        read, write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(read, False)
        self.pipes[life] = _Pipe(life, name, read)
        if not self.paused:
            self._watch(self.pipes[life])
        return write

    def readable(self, life: str) -> None:
        """One of `speaking` has something: at most one chunk."""
        pipe = self.pipes.get(life)
        if pipe is not None and not self._read_chunk(pipe):
            self._unwatch(pipe)
        if self.sink.full:
            self._pause()

    def drain(self, life: str) -> None:
        """What the dead said last; bounded, because a survivor may go on talking."""
        pipe = self.pipes.get(life)
        if pipe is not None:
            for _ in range(_LAST_CHUNKS):
                if not self._read_chunk(pipe):
                    break

    def close(self, life: str) -> None:
        self.drain(life)  # survivors have outlived the leader; during a rest nobody has read what they said
        pipe = self.pipes.pop(life, None)
        if pipe is not None:
            self._unwatch(pipe)
            self._pass_on(pipe.name, pipe.lines.flush(), life)
            os.close(pipe.read)

    def say(self, text: str, name: str = _OURSELVES) -> None:
        """A line of our own. In `raw` it goes out without a prefix, like everything else."""
        self._pass_on(name, text.encode(errors="replace") + b"\n")

    def last(self, name: str, count: int, life: str = "") -> list[str]:
        tail = self.tails.get(name)
        return [] if tail is None else tail.last(count, life)

    def spoke(self, now: float) -> list[selectors.SelectorKey]:
        """At the end of a rest: whoever has said something meanwhile."""
        if self.rests_until is None or now < self.rests_until:
            return []
        return [key for key, _ in self.speaking.select(0)]

    def look_at_the_clock(self, now: float) -> None:
        """Once a turn, after all that was to be read: begin a rest, go on with it, or end it."""
        resting = self.rests_until is not None
        if self.rests_until is not None and now < self.rests_until:
            return
        rest_s, since_s = 0.0, now - self.taken_at
        if self.taken and (resting or since_s < REST_S):
            rest_s = min(REST_S, since_s * _GATHERED_BYTES / self.taken)
        if rest_s >= _SHORTEST_REST_S:
            self.rests_until = now + rest_s
            if not resting:
                self.selector.unregister(self.speaking)
        elif resting:
            self.rests_until = None
            self.selector.register(self.speaking, selectors.EVENT_READ, KEY)
        if self.taken:
            self.taken_at, self.taken = now, 0

    def resume(self) -> None:
        """After the sink has moved: read the children again if there is room."""
        if self.paused and self.sink.has_room:
            self.paused = False
            for pipe in self.pipes.values():
                self._watch(pipe)

    def _pause(self) -> None:
        if not self.paused:
            self.paused = True
            for pipe in self.pipes.values():
                self._unwatch(pipe)

    def _read_chunk(self, pipe: _Pipe) -> bool:
        """False when there is nothing more to read now, or ever."""
        try:
            chunk = os.read(pipe.read, _CHUNK_BYTES)
        except BlockingIOError:
            return True
        self.taken += len(chunk)
        self._pass_on(pipe.name, pipe.lines.feed(chunk) if chunk else pipe.lines.flush(), pipe.life)
        return bool(chunk)

    def _pass_on(self, name: str, lines: bytes, life: str = "") -> None:
        if not lines:
            return
        if life:
            self.tails[name].add(life, lines)
        if dressed := self._dressed(name, lines):
            self.sink.put(dressed, clock.now())
        if self.files is not None and (complaint := self.files.write(name, lines)):
            self.say(complaint)
        for follower in self.followers:
            follower.hear(name, lines)

    def _dressed(self, name: str, lines: bytes) -> bytes:
        match self.formats.get(name, self.format):
            case "raw":
                return lines
            case "json":
                return _as_json(name, lines)
            case "none":
                return b""
            case _:
                return prefixed(lines, self.prefixes.get(name) or f"{name} | ".encode())

    def _watch(self, pipe: _Pipe) -> None:
        if not pipe.watched:
            self.speaking.register(pipe.read, selectors.EVENT_READ, ("output", pipe.life))
            pipe.watched = True

    def _unwatch(self, pipe: _Pipe) -> None:
        if pipe.watched:
            with contextlib.suppress(KeyError):
                self.speaking.unregister(pipe.read)
            pipe.watched = False


class Follower:
    """Somebody who wants to hear lines as they come (`logs -f`)."""

    def hear(self, name: str, lines: bytes) -> None:
        raise NotImplementedError


def _as_json(name: str, lines: bytes) -> bytes:
    stamp = round(clock.wall(), 3)
    records = (
        json.dumps(
            {"time": stamp, "instance": name, "line": line.decode(errors="backslashreplace")}, ensure_ascii=False
        )
        for line in lines[:-1].split(b"\n")
    )
    return "".join(record + "\n" for record in records).encode()
