"""Steady load through Nginx, and a record of everything that a client could notice."""

import http.client
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: when (monotonic seconds), what, and how it ended; "" is well. `token` is a POST's body."""

    began: float
    at: float
    method: str
    path: str
    what: str
    token: str = ""
    client: int = 0

    @property
    def took_s(self) -> float:
        return self.at - self.began

    @property
    def refused(self) -> bool:
        return "refused" in self.what.lower()


@dataclass
class Load:
    """`clients` threads that ask `paths` in turn and one more for each of `posts`, until told to stop.

    A client is as simple as one can be: a connection for each request, no retry, so that nothing hides a failure. Each
    POST carries a token of its own, so that the other side can tell how often it was applied.
    """

    port: int
    paths: tuple[str, ...]
    clients: int = 4
    pause_s: float = 0.005
    timeout_s: float = 30.0
    posts: tuple[str, ...] = ()
    good: Counter[str] = field(default_factory=Counter)
    asked: list[Asked] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        askers: list[Callable[[], None]] = [lambda n=number: self._get(n) for number in range(self.clients)]
        askers += [lambda n=number, p=path: self._post(n, p) for number, path in enumerate(self.posts, self.clients)]
        for asker in askers:
            thread = threading.Thread(target=asker)
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

    @property
    def failures(self) -> list[Asked]:
        return [each for each in list(self.asked) if each.what]

    def _get(self, number: int) -> None:
        for turn in itertools.count(number):
            if self.ended.wait(self.pause_s):
                return
            self._ask(number, "GET", self.paths[turn % len(self.paths)])

    def _post(self, number: int, path: str) -> None:
        for turn in itertools.count():
            if self.ended.wait(self.pause_s):
                return
            self._ask(number, "POST", path, f"{path}#{turn}")

    def _ask(self, number: int, method: str, path: str, token: str = "") -> None:
        began = time.monotonic()
        what = self._outcome(method, path, token)
        self.asked.append(Asked(began, time.monotonic(), method, path, what, token, number))
        if not what:
            self.good[path] += 1

    def _outcome(self, method: str, path: str, token: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout_s)
        try:
            connection.request(method, path, token.encode() or None)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            return f"{type(error).__name__}: {error}"
        else:
            return "" if answer.status == 200 else f"status {answer.status}"
        finally:
            connection.close()
