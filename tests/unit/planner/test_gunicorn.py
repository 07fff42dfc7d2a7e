"""What a worker's log tells of an application that cannot be loaded."""

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from gunicorn.util import import_app

from whalefall.planner.gunicorn import begin_tracebacks_at_the_application

BROKEN = {
    "raises": ("def work():\n    1 / 0\nwork()\n", [("shop.py", "<module>"), ("shop.py", "work")]),
    "a module of its own": ("import depot\n", [("shop.py", "<module>"), ("depot.py", "<module>")]),
    "a syntax error": ("x = [\n", [("<frozen importlib._bootstrap>", "_call_with_frames_removed")]),
}


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[logging.Logger]:
    (tmp_path / "depot.py").write_text("raise ValueError('empty')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    log = logging.getLogger("gunicorn.error")
    level, filters = log.level, list(log.filters)
    log.setLevel(logging.INFO)
    begin_tracebacks_at_the_application()
    yield log
    log.setLevel(level)
    log.filters[:] = filters


def frames(log: logging.Logger, spec: str) -> list[tuple[str, str]]:
    """(file, function) of what the log has of the attempt to import it."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    log.addHandler(handler)
    try:
        import_app(spec)
    except Exception as error:
        found = error.__traceback__
        assert found is not None
        log.exception("Exception in worker process", exc_info=(type(error), error, found.tb_next))  # without us
    log.removeHandler(handler)
    said = logging.Formatter().format(records[0]).splitlines()
    parts = [line.split('"')[1:] for line in said if line.startswith("  File") and ", in " in line]
    return [(Path(file).name, rest.rpartition(", in ")[2]) for file, rest in parts]


@pytest.mark.parametrize(("content", "expected"), BROKEN.values(), ids=BROKEN)
def test_a_traceback_begins_at_the_application(
    log: logging.Logger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, expected: list[tuple[str, str]]
) -> None:
    for name in ("shop", "depot"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "shop.py").write_text(content)
    assert frames(log, "shop:app") == expected


def test_a_traceback_without_the_application_is_whole(log: logging.Logger) -> None:
    found = frames(log, "a_module_that_nobody_has:app")
    assert ("util.py", "import_app") in found


def test_at_debug_it_is_whole(log: logging.Logger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "shop", raising=False)
    log.filters.clear()
    log.setLevel(logging.DEBUG)
    begin_tracebacks_at_the_application()
    (tmp_path / "shop.py").write_text("1 / 0\n")
    assert ("util.py", "import_app") in frames(log, "shop:app")
