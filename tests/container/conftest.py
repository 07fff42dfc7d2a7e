"""Builds the image once per session, from the working tree as it is."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.container.engine import IMAGE, NOT_HERE, ROOT, Container, engine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name == "container":
            item.add_marker(pytest.mark.container)
            item.add_marker(pytest.mark.timeout(600))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What was measured on the way."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")


@pytest.fixture(scope="session")
def engine_ready() -> None:
    ready = engine("ready", timeout_s=500, check=False)
    if ready.returncode == NOT_HERE:
        pytest.skip(ready.stderr.strip())
    assert ready.returncode == 0, ready.stderr


@pytest.fixture(scope="session")
def image(engine_ready: None) -> str:
    engine("build", "--tag", IMAGE, str(ROOT), timeout_s=500)
    return IMAGE


@pytest.fixture(scope="session")
def bridged(image: str) -> None:
    """Containers can have a network of their own here, which a machine may refuse to those who may run containers."""
    name = f"whalefall-test-{os.getpid()}"
    engine("network", "create", name, check=False)
    try:
        tried = engine("run", "--rm", "--network", name, "--entrypoint", "true", image, check=False)
    finally:
        engine("network", "rm", "--force", name, check=False)
    if tried.returncode:
        pytest.skip(f"containers get no network of their own here: {tried.stderr.strip().splitlines()[-1:]}")


@pytest.fixture(scope="module")
def plain(image: str) -> Iterator[Container]:
    """`docker run IMAGE` and nothing more; for the tests that leave it as it was."""
    with Container() as container:
        yield container.until_ready()
