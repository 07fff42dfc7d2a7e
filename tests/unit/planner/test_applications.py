"""Is there such an application? Told without importing it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.planner.scene import attempt
from whalefall.errors import ConfigError
from whalefall.planner.applications import check


@pytest.fixture
def here(tmp_path: Path) -> Path:
    for name in ("shop.py", "pack/__init__.py", "pack/wsgi.py", "pack/inner/__init__.py", "space/deep.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("app = application = create_app = a = None\nraise SystemExit('imported by the planner')\n")
    return tmp_path


@pytest.mark.parametrize(
    "spec",
    [
        "shop:app",
        "shop",
        "pack.wsgi:app",
        "pack:create_app()",
        "pack.inner:a.b",
        "space.deep:app",
        "flask:Flask",
        "sys:x",
    ],
)
def test_what_is_there_is_found_and_not_imported(here: Path, spec: str) -> None:
    check(spec, here, {}, "X")


@pytest.mark.parametrize(
    ("spec", "missing"),
    [
        ("nope:app", "nope"),
        ("nope.inner:app", "nope"),
        ("pack.nope:app", "pack.nope"),
        ("shop.inner:app", "shop.inner"),
        ("pack.inner.deep.er:app", "pack.inner.deep"),
    ],
)
def test_the_first_part_that_is_missing_is_named(here: Path, spec: str, missing: str) -> None:
    with pytest.raises(ConfigError, match=rf"^X: there is no module '{missing}' in "):
        check(spec, here, {}, "X")


def test_a_dot_instead_of_the_colon_is_told_as_that(here: Path) -> None:
    with pytest.raises(ConfigError, match=r"^X: there is no module 'shop\.app'\. Did you mean 'shop:app'\?$"):
        check("shop.app", here, {}, "X")


@pytest.mark.parametrize(
    ("spec", "text", "hint"),
    [
        ("shop:app", "ap = Flask(__name__)", "Did you mean 'ap'?"),
        ("shop", "app = Flask(__name__)", "There are: app."),
        ("shop:make()", "def create():\n    pass", "There are: create."),
        ("shop:app", "import os", "Write the name of the application in it."),
    ],
)
def test_a_name_that_certainly_is_not_in_the_module_is_refused(here: Path, spec: str, text: str, hint: str) -> None:
    (here / "shop.py").write_text(text)
    with pytest.raises(ConfigError) as caught:
        check(spec, here, {}, "X")
    assert str(caught.value).startswith(f"X: {here / 'shop.py'} has no '")
    assert str(caught.value).endswith(hint)


@pytest.mark.parametrize(
    "text",
    ["from real import *", "def __getattr__(name): ...", "globals()['a' + 'pp'] = 1", "import app", "broken ("],
)
def test_a_name_that_may_come_in_another_way_is_left_to_the_child(here: Path, text: str) -> None:
    (here / "shop.py").write_text(text)
    check("shop:app", here, {}, "X")


def test_pythonpath_counts(here: Path) -> None:
    with pytest.raises(ConfigError):
        check("deep:app", here, {}, "X")
    check("deep:app", here, {"PYTHONPATH": f"/nowhere:{here / 'space'}"}, "X")


@pytest.mark.parametrize(
    "spec", ["", ":app", "shop:", "sh op:app", "shop/app:app", "1shop:app", "shop:app:x", "shop.py"]
)
def test_what_is_no_application_is_told_how_to_write_one(here: Path, spec: str) -> None:
    with pytest.raises(ConfigError, match=r"^X: '.*' is no application\. Write module:callable, as in \S+:\S+\.$"):
        check(spec, here, {}, "X")


@given(st.text(max_size=30))
def test_any_text_is_answered_by_silence_or_by_a_sentence(spec: str) -> None:
    _, sentence = attempt(lambda: check(spec, Path("/usr/lib"), {}, "X"))
    assert sentence == "" or sentence.startswith("X: ")
