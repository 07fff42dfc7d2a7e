"""A directory with a Procfile, and the request of a command line in it."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from whalefall.errors import ConfigError
from whalefall.plan import Instance
from whalefall.planner.build import Built, build
from whalefall.planner.world import Request

Answer = TypeVar("Answer")
PATH = f"{Path(sys.executable).parent}:/usr/bin:/bin"


class Scene:
    """Files by keyword (`Procfile="…"`), the environment by `environ`; direct mode unless a test wants Nginx."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environ = {"PATH": PATH, "RUN_DIR": str(directory / "run"), "NGINX_BINARY": "", "HOME": "/nowhere"}

    def write(self, name: str, content: str) -> "Scene":
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return self

    def procfile(self, content: str) -> "Scene":
        return self.write("Procfile", content)

    def setting(self, **values: str) -> "Scene":
        self.environ |= values
        return self

    def request(self, **options: Any) -> Request:
        return Request(self.directory, self.environ, **options)

    def build(self, **options: Any) -> Built:
        return build(self.request(**options), dry=True)

    def instances(self, **options: Any) -> dict[str, Instance]:
        return {each.name: each for each in self.build(**options).plan.instances}


def attempt(question: Callable[[], Answer]) -> tuple[Answer | None, str]:
    """(answer, "") or (None, the sentence of the refusal); anything but our own errors is a failure."""
    try:
        return question(), ""
    except ConfigError as error:
        return None, str(error)
