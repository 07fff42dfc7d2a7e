"""A user who may not look below a directory is told so, in a sentence: `Path.exists()` raises there before 3.14."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.supervised import ROOT
from tests.unit.planner.scene import Scene

# Root may look everywhere, unless these two are taken from it.
AS_ANYBODY = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
IN_GUNICORN = """
from pathlib import Path
from whalefall.planner import places
from whalefall.planner.gunicorn import control_socket, log_files
from whalefall.settings import Settings

assert log_files(Settings(log_dir="closed/x"), "scheduler") == ("-", "-")
assert log_files(Settings(log_dir="closed"), "scheduler") == ("-", "-")
assert log_files(Settings(log_dir="logs"), "web") == ("logs/web-access.log", "logs/web-error.log")
assert control_socket(Settings(run_dir="closed/x"), "web") == ("", True)
assert not places.exists(Path("closed/Procfile"))
assert not places.is_file(Path("closed/Procfile"))
assert not places.is_dir(Path("closed/x"))
assert places.is_dir(Path("closed"))
assert places.is_to_be_read(Path("Procfile"))
assert not places.is_to_be_read(Path("Procfile/x"))
"""


@pytest.fixture
def site(scene: Scene) -> Iterator[Scene]:
    """With a directory `closed` in it that is nobody's to enter."""
    scene.procfile("web: python -m whalefall web\n").write("closed/Procfile", "web: sleep 9\n")
    scene.setting(PYTHONPATH=str(ROOT), DATA_DIR=f"{scene.directory}/var", SECRET_KEY="k" * 40)
    closed = scene.directory / "closed"
    closed.chmod(0)
    yield scene
    closed.chmod(0o700)


def run(site: Scene, *words: str) -> tuple[int, str, str]:
    """(exit code, output, errors) of our Python with `words`."""
    if AS_ANYBODY and subprocess.run([*AS_ANYBODY, "true"], capture_output=True, timeout=30, check=False).returncode:
        pytest.skip("root cannot be kept from looking here")
    done = subprocess.run(
        [*AS_ANYBODY, sys.executable, *words],
        cwd=site.directory,
        env=site.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def whalefall(site: Scene, *words: str) -> tuple[int, str, str]:
    return run(site, "-m", "whalefall", *words)


@pytest.mark.parametrize("variable", ["RUN_DIR", "DATA_DIR"])
def test_a_directory_that_cannot_be_made_there_is_refused(site: Scene, variable: str) -> None:
    closed = site.directory / "closed"
    site.setting(**{variable: f"{closed}/x"})
    code, _, said = whalefall(site, "check")
    assert (code, said) == (
        2,
        f"whalefall: {variable}: {closed} cannot be written. Make it writable, or set another.\n",
    )
    code, _, said = whalefall(site, "serve")
    assert code == 2
    assert said.startswith(f"whalefall: {variable}: {closed}/x cannot be made a directory (Permission denied). Set ")
    assert said.count("\n") == 1


def test_a_log_dir_that_cannot_be_made_there_is_a_warning(site: Scene) -> None:
    code, told, said = whalefall(site.setting(LOG_DIR=f"{site.directory}/closed/x"), "check")
    assert (code, said) == (0, "")
    assert f"warning: LOG_DIR: {site.directory}/closed cannot be written. Make it writable, or set another." in told


@pytest.mark.parametrize("file", ["x.db", "deep/x.db?timeout=9"])
def test_an_sqlite_file_that_cannot_be_made_there_is_refused_by_check(site: Scene, file: str) -> None:
    closed = site.directory / "closed"
    code, _, said = whalefall(site.setting(DATABASE_URL=f"sqlite:///{closed}/{file}"), "check")
    sentence = f"DATABASE_URL: {closed} cannot be written. Make it writable, or set another.\n"
    assert (code, said) == (2, f"whalefall: {sentence}")
    code, _, said = whalefall(site, "jobs", "list")
    assert (code, said.count("\n")) == (1, 1), said
    assert "look at its path and permissions" in said


def test_files_in_a_directory_that_may_not_be_entered_are_not_taken_for_missing(site: Scene) -> None:
    sentence = (
        f"whalefall: {site.directory}/closed cannot be entered (Permission denied), so .env there cannot be read. "
        "Open it to this user, or work in another directory (cd, -f).\n"
    )
    assert whalefall(site, "serve", "-f", "closed/Procfile") == (2, "", sentence)


def test_gunicorn_starts_without_its_files(site: Scene) -> None:
    assert run(site, "-c", IN_GUNICORN) == (0, "", "")
