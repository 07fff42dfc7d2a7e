"""The docs say what is so: every link leads somewhere, every page is reached, every name that is used exists."""

import re
from pathlib import Path

import pytest
import yaml

from tests.architecture import states_page
from tests.support.supervised import ROOT
from whalefall.cli.parser import command_names
from whalefall.settings import table
from whalefall.supervisor.core.handover import State
from whalefall.supervisor.core.lifecycle import Phase

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
IDS = [str(page.relative_to(ROOT)) for page in PAGES]
SETTINGS = {row["variable"] for row in table()}
POSTGRES_IMAGES_OWN = {"POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD"}

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def links(page: Path) -> list[str]:
    return [link for link in _LINK.findall(_CODE.sub("", page.read_text())) if "://" not in link]


def target(page: Path, link: str) -> Path:
    return (page.parent / link.partition("#")[0]).resolve() if link.partition("#")[0] else page


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    wrong = []
    for link in links(page):
        file, heading = target(page, link), link.partition("#")[2]
        if not file.exists() or (heading and heading not in anchors(file)):
            wrong.append(link)
    assert wrong == []


def anchors(page: Path) -> set[str]:
    """As GitHub makes them: lower case, punctuation gone, spaces become dashes."""
    headings = re.findall(r"^#+ (.*)$", _CODE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_reached_from_the_readme() -> None:
    start = ROOT / "README.md"
    reached, waiting = {start}, [start]
    while waiting:
        page = waiting.pop()
        for link in links(page):
            found = target(page, link)
            pages = found.rglob("*.md") if found.is_dir() else [found] if found.suffix == ".md" else []
            new = [each for each in pages if each not in reached]
            reached.update(new)
            waiting += new
    own = {page for page in PAGES if page.is_relative_to(ROOT / "docs") or page.parent == ROOT}
    assert own - reached == set()


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_command_that_a_page_names_exists(page: Path) -> None:
    known = {*command_names(), "--version", "--help"}
    named = re.findall(r"(?:^\$? ?|[`\s])whalefall ([a-z-]+)(?= |`|$)", _commands(page), re.MULTILINE)
    assert {word for word in named if word not in known} == set()


def _commands(page: Path) -> str:
    """What stands in code: fenced blocks and `…`, without comments."""
    text = page.read_text()
    blocks = re.findall(r"^```(?:sh|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    inline = re.findall(r"`(whalefall [^`]+)`", _CODE.sub("", text))
    lines = [line.partition(" #")[0].strip() for line in "\n".join([*blocks, *inline]).splitlines()]
    return "\n".join(line for line in lines if line.removeprefix("$ ").startswith("whalefall "))


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_make_target_that_a_page_names_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"(?:^\$? ?|`)make ([a-z-]+)", page.read_text(), re.MULTILINE)
    assert set(named) - targets == set()


def test_the_page_of_states_is_the_code_s() -> None:
    assert set(states_page.STATES) == set(State)
    assert set(states_page.PHASES) == set(Phase)
    assert states_page.PAGE.read_text() == states_page.page(), "run: python -m tests.architecture.states_page"


def test_the_composition_sets_only_what_there_is() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.prod.yml").read_text())["services"]
    assert set(services) == {"whalefall", "postgres", "redis"}
    assert set(services["whalefall"]["environment"]) - SETTINGS == {"PGPASSWORD"}
    stop_s = int(services["whalefall"]["stop_grace_period"].removesuffix("s"))
    assert stop_s > int(services["whalefall"]["environment"]["GRACE"])
    text = (ROOT / "docker-compose.prod.yml").read_text()
    assert set(re.findall(r"\$\{([A-Z_]+)", text)) - SETTINGS - POSTGRES_IMAGES_OWN == {"HTTP_PORT"}


def test_the_image_sets_only_what_there_is() -> None:
    text = (ROOT / "Dockerfile").read_text().rpartition("\nENV ")[2].partition("\n#")[0]
    names = set(re.findall(r"([A-Z_]+)=", text))
    assert names - SETTINGS == {"PATH", "PYTHONUNBUFFERED", "XDG_RUNTIME_DIR", "MALLOC_ARENA_MAX"}


def test_the_unit_for_systemd_sets_only_what_there_is() -> None:
    text = (ROOT / "docs" / "how-to" / "run-under-systemd.md").read_text()
    for line in re.findall(r"^Environment=(.*)$", text, re.MULTILINE):
        assert {word.partition("=")[0] for word in line.split()} - SETTINGS == set()
