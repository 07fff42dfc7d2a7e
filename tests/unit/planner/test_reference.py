"""The reference of options, Procfile and Plan says what the code does; its examples are run."""

import re
import tomllib

import pytest

from tests.support.supervised import ROOT
from tests.unit.planner.scene import Scene
from whalefall.plan import Instance, Plan
from whalefall.plan.records import fields
from whalefall.planner.options import SERVICE, TOP, Option, from_document
from whalefall.planner.procfile import parse
from whalefall.planner.world import carried_procfile

FOLDER = ROOT / "docs" / "reference"
OPTIONS = (FOLDER / "options.md").read_text()
PROCFILE = (FOLDER / "procfile.md").read_text()
PLAN = (FOLDER / "plan.md").read_text()


@pytest.mark.parametrize("row", [*TOP, *SERVICE], ids=lambda row: row.key)
def test_each_option_has_its_heading_and_its_purpose(row: Option) -> None:
    section = OPTIONS.partition(f"\n### `{row.key}`\n")[2].partition("\n#")[0]
    assert section.strip().lower().startswith(f"{row.kind.words}. {row.purpose}".lower())


def test_no_option_is_explained_that_is_not_there() -> None:
    assert re.findall(r"^### `(\w+)`$", OPTIONS, re.MULTILINE) == [row.key for row in (*TOP, *SERVICE)]


def test_the_examples_of_options_are_accepted() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", OPTIONS, re.DOTALL)
    document = tomllib.loads(block)
    assert from_document(document["tool"]["whalefall"], "pyproject.toml").services
    for line in re.findall(r"^`(\w+ = .*)`$", OPTIONS, re.MULTILINE):
        table = tomllib.loads(line)
        from_document(table if "app" in table else {"services": {"web": table}}, "pyproject.toml")


def test_the_procfile_that_is_printed_is_the_one_that_runs() -> None:
    (block,) = re.findall(r"```\n(.*?)```", PROCFILE, re.DOTALL)
    shown = [(each.name, each.command) for each in parse(block, "doc")]
    assert shown == [(each.name, each.command) for each in parse(carried_procfile().read_text(), "Procfile")]


@pytest.mark.parametrize(("record", "heading"), [(Plan, "Document"), (Instance, "Instance")])
def test_every_key_of_the_plan_is_explained(record: type, heading: str) -> None:
    section = PLAN.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    keys = {key for row in re.findall(r"^\| (`[^|]*)\|", section, re.MULTILINE) for key in re.findall(r"`(\w+)`", row)}
    assert keys == fields(record).keys()


def test_the_split_of_the_grace_is_as_printed(scene: Scene) -> None:
    scene.write("nginx", "#!/bin/sh\n")
    (scene.directory / "nginx").chmod(0o755)
    shares = scene.procfile("nginx: ./nginx\nweb: sleep 1\nscheduler: sleep 1\nworker: sleep 1\n").build().grace_s
    assert shares == {"nginx": 3, "web": 6, "scheduler": 6, "worker": 9}
