"""Steady load through Nginx, and a record of everything that a client could notice."""

import http.client
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self


@dataclass
class Failure:
    at: float
    method: str
    path: str
    what: str


@dataclass
class Load:
    """`clients` threads that ask `paths` in turn, each over connections of its own, until told to stop.

    A client is as simple as one can be: no retry, no connection pool, so that nothing hides a failure.
    """

    port: int
    paths: tuple[str, ...]
    clients: int = 4
    pause_s: float = 0.005
    timeout_s: float = 30.0
    good: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    slowest_s: dict[str, float] = field(default_factory=dict)
    threads: list[threading.Thread] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        for number in range(self.clients):
            thread = threading.Thread(target=self._ask, args=(number,))
            thread.start()
            self.threads.append(thread)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join(self.timeout_s + 10)

    @property
    def answered(self) -> int:
        return sum(self.good.values())

    def _ask(self, number: int) -> None:
        turn = number
        while not self.ended.wait(self.pause_s):
            path = self.paths[turn % len(self.paths)]
            turn += 1
            began = time.monotonic()
            what = self._outcome(path)
            self.slowest_s[path] = max(self.slowest_s.get(path, 0.0), time.monotonic() - began)
            if what:
                self.failures.append(Failure(time.monotonic(), "GET", path, what))
            else:
                self.good[path] += 1

    def _outcome(self, path: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout_s)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            return f"{type(error).__name__}: {error}"
        else:
            return "" if answer.status == 200 else f"status {answer.status}"
        finally:
            connection.close()
