"""A database whose driver is not installed is refused in one sentence, before anything starts."""

import subprocess
import sys

import pytest

from tests.support.supervised import ROOT
from tests.unit.planner.scene import Scene, attempt

SENTENCE = "DATABASE_URL needs a driver that is not installed (psycopg): pip install 'whalefall[postgres]'"
JOBS = "from flask import Flask\nfrom whalefall import Scheduler\napp = Flask(__name__)\nScheduler(app)\n"
PROCFILE = "web: python -m whalefall web {0}\nscheduler: python -m whalefall scheduler {0}\n"


@pytest.fixture
def bare(scene: Scene) -> Scene:
    """An installation without the extra, and a site that needs it."""
    scene.write("without/sitecustomize.py", "import sys\nsys.modules['psycopg'] = None\n").write("shop.py", JOBS)
    scene.write("with/psycopg2/__init__.py", "").procfile(PROCFILE.format("shop:app"))
    without = f"{ROOT}:{scene.directory / 'without'}"
    return scene.setting(
        PYTHONPATH=without, DATABASE_URL="postgresql://x@localhost:1/y", DATA_DIR=str(scene.directory / "var")
    )


def run(scene: Scene, *words: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "whalefall", *words],
        cwd=scene.directory,
        env=scene.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("words", [("check",), ("plan",), ("serve",), ("jobs", "list")])
def test_a_missing_driver_is_one_sentence_and_exit_code_2(bare: Scene, words: tuple[str, ...]) -> None:
    assert run(bare, *words) == (2, "", f"whalefall: {SENTENCE}\n")


def test_with_another_driver_the_variable_may_be_the_applications_so_it_is_asked(bare: Scene) -> None:
    bare.setting(PYTHONPATH=f"{bare.environ['PYTHONPATH']}:{bare.directory / 'with'}")
    code, _, said = run(bare, "check")
    assert (code, said) == (2, f"whalefall: {SENTENCE}\n")
    elsewhere = "app.config['SCHEDULER_DATABASE_URL'] = 'sqlite:///own.db'\nScheduler(app)\n"
    bare.write("shop.py", JOBS.replace("Scheduler(app)\n", elsewhere))
    code, _, said = run(bare, "check")
    assert (code, said) == (0, "")
    bare.procfile(PROCFILE.format(""))
    assert run(bare, "check") == (2, "", f"whalefall: {SENTENCE}\n"), "the built-in application has no other ledger"


def test_who_runs_nothing_of_ours_needs_no_driver_of_ours(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    scene.setting(DATABASE_URL="postgres://x@localhost/y")
    assert attempt(scene.procfile("web: sleep 9\n").build)[1] == ""
    assert attempt(scene.procfile("web: python -m whalefall web\n").build)[1] == SENTENCE
    scene.write("whalefall.toml", "[services.web.env]\nDATABASE_URL = 'sqlite:///own.db'\n")
    assert attempt(scene.build)[1] == ""
