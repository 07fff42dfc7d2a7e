"""The surroundings that orchestrators impose: any user, nothing writable, little memory, no HOME."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.container.engine import Container, Memory

ANY_USER = ("--user", "12345:0")
READ_ONLY = ("--read-only", "--tmpfs", "/tmp", "--tmpfs", "/run/whalefall", "--tmpfs", "/var/lib/whalefall")
NO_HOME = ("--entrypoint", "env")
BUSY_PATHS = ("/dashboard", "/scheduler", "/api/v1/scheduler/jobs", "/api/v1/scheduler/runs", "/api/v1/openapi.json")
MEMORY_MAX = 256 * 1024 * 1024

SURROUNDINGS = {
    "any user": ANY_USER,
    "a read-only root": READ_ONLY,
    "any user and a read-only root": (*ANY_USER, *READ_ONLY),
    "no capability at all": ("--cap-drop", "all", "--security-opt", "no-new-privileges"),
    "root": ("--user", "0:0"),
    "lines as JSON": ("--env", "LOG_FORMAT=json"),
    "lines untouched": ("--env", "LOG_FORMAT=raw"),
}


def serves(container: Container) -> None:
    container.until_ready()
    assert container.get("/api/v1/health/basic") == 200
    assert container.get("/api/v1/scheduler/jobs") == 200
    assert container.run("whalefall", "health").stdout == "ok\n"


@pytest.mark.parametrize("options", SURROUNDINGS.values(), ids=SURROUNDINGS.keys())
def test_it_serves_in(image: str, options: tuple[str, ...]) -> None:
    with Container(*options) as container:
        serves(container)


def test_it_serves_without_home(image: str) -> None:
    with Container(*NO_HOME, *ANY_USER, command=("-u", "HOME", "whalefall", "serve")) as container:
        serves(container)
        assert "HOME=" not in container.run("cat", "/proc/1/environ").stdout


def test_256_megabytes_are_enough(image: str, record_property: Callable[[str, object], None]) -> None:
    with Container("--memory", "256m", *ANY_USER, *READ_ONLY) as container:
        serves(container)
        with ThreadPoolExecutor(8) as visitors:
            assert set(visitors.map(container.get, BUSY_PATHS * 50)) == {200}
        memory = Memory.of(container)
        record_property("memory", f"{memory.usage / 2**20:.0f} MiB of 256, {memory.processes} processes")
        assert memory.oom_kills == 0
        assert memory.usage < MEMORY_MAX
