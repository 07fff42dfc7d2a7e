"""JSON arguments, no pickle: what is stored can be read by a person, and reading it runs no code."""

import ast
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import PickleType

import whalefall
from tests.unit.scheduler.test_declaration import declared, refused
from whalefall.scheduler.errors import InvalidArguments
from whalefall.scheduler.executors.celery import make_celery
from whalefall.scheduler.functions import check_arguments
from whalefall.scheduler.ledger.schema import metadata

PACKAGE = Path(whalefall.__file__).parent
# Modules that make objects, and with them code, out of bytes; and what uses one of them behind our back.
UNREADABLE = {"pickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "copyreg", "multiprocessing", "joblib"}
IMPORTER = (
    PACKAGE / "compat" / "apscheduler_jobs.py"
)  # reads another scheduler's pickles, and makes only what is harmless


def take(*args: Any, **kwargs: Any) -> None: ...


def imported(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
            names |= {alias.name for alias in node.names}
    return names


def test_one_file_reads_pickles_and_it_is_not_the_schedulers() -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    assert [file for file in files if imported(file) & (UNREADABLE | {"PickleType"})] == [IMPORTER]


def test_no_column_of_the_ledger_is_pickled() -> None:
    columns = [column for table in metadata.tables.values() for column in table.columns]
    assert len(columns) > 50
    assert not [column for column in columns if isinstance(column.type, PickleType)]


def test_a_celery_worker_takes_json_and_nothing_else(celery_state: Any) -> None:
    conf = make_celery(celery_state).conf
    assert (set(conf.accept_content), conf.task_serializer, conf.event_serializer) == ({"json"}, "json", "json")


@pytest.fixture
def celery_state(tmp_path: Path) -> Any:
    from tests.support.flaskapp import make_app
    from whalefall import Scheduler, scheduler

    app = make_app(f"sqlite:///{tmp_path}/l.db", Scheduler(), SCHEDULER_CELERY_BROKER="redis://127.0.0.1:1/0")
    return scheduler.of(app)


NO_JSON = [
    object(), datetime(2026, 1, 1, tzinfo=UTC), b"bytes", {1, 2}, Path("/"), 1j, float("nan"), float("inf"),
    {(1, 2): "a tuple for a key"}, [[[object()]]], take,
]  # fmt: skip


@pytest.mark.parametrize("value", NO_JSON, ids=lambda value: type(value).__name__)
def test_what_is_no_json_is_refused_when_it_is_declared(value: Any) -> None:
    refused("The arguments of a job are stored as JSON", function=take, hour=1, args=[value])
    refused("The arguments of a job are stored as JSON", function=take, hour=1, kwargs={"x": value})


@pytest.mark.parametrize("value", NO_JSON, ids=lambda value: type(value).__name__)
def test_and_when_a_run_is_asked_for(value: Any) -> None:
    with pytest.raises(InvalidArguments, match="stored as JSON"):
        check_arguments(take, [], {"x": value})


def test_a_circle_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    refused("stored as JSON: Circular reference detected", function=take, hour=1, args=[circle])


def test_what_is_nested_without_end_is_refused() -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    refused("stored as JSON", function=take, hour=1, args=[nested])


def test_a_declaration_holds_what_will_come_back_from_the_ledger() -> None:
    """Or each start would find that the job has changed."""
    found = declared(function=take, args=[(1, 2), {3: "c"}], kwargs={"x": (4,), "y": {5: None}})
    assert found.args == ([1, 2], {"3": "c"})
    assert found.kwargs == {"x": [4], "y": {"5": None}}
