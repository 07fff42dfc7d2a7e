"""env.example and the reference of settings say the same as the one table of settings."""

import re

import pytest

from tests.support.supervised import ROOT
from whalefall.planner import dotenv
from whalefall.planner.environment import plain
from whalefall.settings import Settings, table

EXAMPLE = (ROOT / "env.example").read_text()
REFERENCE = (ROOT / "docs" / "reference" / "settings.md").read_text()
ROWS = {row["variable"]: row for row in table()}


def shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def folded(text: str) -> str:
    return " ".join(text.replace("# ", "").split())


def test_the_example_has_every_variable_once_in_the_tables_order() -> None:
    assert re.findall(r"^#([A-Z0-9_]+)=", EXAMPLE, re.MULTILINE) == list(ROWS)


def test_the_example_as_it_is_changes_nothing() -> None:
    assert dotenv.parse(EXAMPLE, "env.example", {}) == {}


def test_the_example_uncommented_is_the_defaults() -> None:
    uncommented = re.sub(r"^#([A-Z0-9_]+=)", r"\1", EXAMPLE, flags=re.MULTILINE)
    values = plain(dotenv.parse(uncommented, "env.example", {}))
    assert list(values) == list(ROWS)
    assert Settings.load(values) == Settings()


@pytest.mark.parametrize("variable", ROWS)
def test_each_variable_is_explained_above_its_line(variable: str) -> None:
    block = EXAMPLE.partition(f"\n#{variable}=")[0].rpartition("\n\n")[2]
    assert folded(block) == folded(ROWS[variable]["purpose"])


@pytest.mark.parametrize("variable", ROWS)
def test_each_variable_has_its_heading_in_the_reference(variable: str) -> None:
    section = REFERENCE.partition(f"\n### `{variable}`\n")[2].partition("\n#")[0]
    default = shown(ROWS[variable]["default"])
    assert folded(section).startswith(folded(ROWS[variable]["purpose"]))
    assert f"Default: `{default}`." in section or (default == "" and "Default: empty." in section)
    assert ("Secret" in section) is ROWS[variable]["secret"]


def test_the_reference_explains_nothing_that_is_not_there() -> None:
    assert re.findall(r"^### `([A-Z0-9_]+)`$", REFERENCE, re.MULTILINE) == list(ROWS)


# Other people's conventions, and what the supervisor gives to its own children.
NOT_SETTINGS = {
    *("PATH", "XDG_RUNTIME_DIR", "GUNICORN_CMD_ARGS", "HONCHO_PROCESS_NAME", "NOTIFY_SOCKET", "NO_COLOR"),
    *(
        "FLASK_RUN_FROM_CLI",
        "PROMETHEUS_MULTIPROC_DIR",
        "SERVER_SOFTWARE",
        "PS",
        "WHALEFALL_LIFE",
        "WHALEFALL_DIRECT",
        "NGINX",
        "LISTEN_FDS",
        "LISTEN_PID",
        "LISTEN_FDNAMES",
    ),
}


def test_no_variable_is_read_behind_the_tables_back() -> None:
    """A setting that is not in the table is one that nobody can find."""
    found: set[str] = set()
    for path in (ROOT / "whalefall").rglob("*.py"):
        found |= set(re.findall(r"os\.environ(?:\.get\(|\[)\s*\"([A-Z0-9_]+)\"", path.read_text()))
    assert "XDG_RUNTIME_DIR" in found  # or the pattern has gone blind
    assert found - set(ROWS) - NOT_SETTINGS == set()
