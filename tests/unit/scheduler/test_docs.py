"""The scheduler's pages say what is so: their examples run, their tables are the code's."""

import dataclasses
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from whalefall.scheduler import runtime
from whalefall.scheduler.core.policies import Policies
from whalefall.scheduler.core.runs import RunState, Source
from whalefall.scheduler.core.triggers import argument_names
from whalefall.scheduler.ledger.schema import metadata, run
from whalefall.scheduler.running import CurrentRun

DOCS = Path(__file__).parents[3] / "docs"
JOBS = (DOCS / "reference" / "jobs.md").read_text()
LEDGER = (DOCS / "reference" / "ledger.md").read_text()
PAGES = ["reference/jobs.md", "how-to/write-a-job.md", "how-to/move-from-flask-apscheduler.md"]


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_run(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One module for a page, as a reader would paste it."""
    module = ModuleType("shop")
    monkeypatch.setitem(sys.modules, "shop", module)
    for block in re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL):
        exec(compile(block, page, "exec"), module.__dict__)  # noqa: S102 - the examples are ours
    scheduler = getattr(module, "scheduler", None)
    if scheduler is not None:
        for declaration in scheduler.declarations.values():
            assert declaration.description, "an example shows what a docstring is for"


def test_celery_is_asked_for_as_our_extra_asks_for_it() -> None:
    """By Celery's own name: whalefall's is another project's where it did not come from an index of packages."""
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text())["project"]
    [celery] = project["optional-dependencies"]["celery"]
    for text in (JOBS, Path(runtime.__file__).read_text()):
        assert f"pip install '{celery}'" in text
        assert "pip install 'whalefall" not in text


def test_every_policy_is_explained_with_its_default() -> None:
    for field in dataclasses.fields(Policies):
        row = next((line for line in JOBS.splitlines() if line.startswith("|") and f"`{field.name}`" in line), None)
        assert row is not None, field.name
        shown = (
            "none"
            if field.default is None
            else f"{field.default:g}"
            if isinstance(field.default, float)
            else field.default
        )
        default = row.split("|")[2]
        assert str(shown) in default or str(shown) in default.replace('"', ""), (field.name, shown, default)


def test_every_argument_of_a_trigger_is_named() -> None:
    for kind in ("cron", "interval", "date", "calendarinterval"):
        row = next(line for line in JOBS.splitlines() if line.startswith(f"| `{kind}`"))
        for name in argument_names(kind):
            assert re.search(rf"\b{name}\b", row), (kind, name)


def test_everything_that_a_run_knows_is_named() -> None:
    table = JOBS.partition("| `current_run.`")[2]
    for name in (name for name in vars(CurrentRun) if not name.startswith("_")):
        assert name in table, name


def test_every_table_column_and_state_is_named() -> None:
    for table in metadata.tables:
        assert f"`{table}`" in LEDGER, table
    for state in RunState:
        assert re.search(rf"\b{state}\b", LEDGER), state
    unexplained = {column.name for column in run.columns if not re.search(rf"\b{column.name}\b", LEDGER)} - {
        "job_id",
        "slots",
        "executor",
        "args",
        "created_at",
        "cancel_requested",
        "cancelled_by",
        "progress_text",
    }
    assert unexplained == set()
    for source in Source:
        assert f"`{source}`" in LEDGER
