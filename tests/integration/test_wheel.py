"""What `pip install` gives is whole: the built wheel serves from an empty environment, far away from the checkout."""

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.deployment import Deployment
from tests.support.supervised import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Installed(Deployment):
    """`whalefall serve` of another environment, where nobody knows of the checkout."""

    def __init__(self, directory: Path, environment: Path) -> None:
        super().__init__(directory)
        self.program = environment / "bin" / "whalefall"
        self.environ = {name: value for name, value in self.environ.items() if name != "PYTHONPATH"}
        self.environ["PATH"] = os.defpath

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.program), *words],
            cwd=self.directory,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def serve(self) -> "Installed":
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(self.program), "serve", "--port", str(self.port)],
                cwd=self.directory,
                env=self.environ,
                stdout=log,
                stderr=log,
            )
        return self


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel and the source archive."""
    target = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--outdir", str(target), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return target


@pytest.fixture(scope="module")
def environment(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel, what it depends on, and nothing else."""
    directory = tmp_path_factory.mktemp("environment")
    venv.create(directory, with_pip=True)
    (wheel,) = built.glob("*.whl")
    done = subprocess.run(
        [str(directory / "bin" / "pip"), "install", "--quiet", str(wheel)],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return directory


@pytest.fixture
def installed(environment: Path, tmp_path: Path) -> Iterator[Installed]:
    with Installed(tmp_path, environment).serve() as deployment:
        yield deployment


def test_it_serves_through_nginx_and_stops_with_0(installed: Installed) -> None:
    installed.until_ready()
    for path in ("/api/v1/health/basic", "/api/v1/scheduler/jobs", "/dashboard", "/scheduler"):
        assert installed.get(path).status_code == 200, path
    assert "nginx" in {process.name() for process in installed.tree()}
    assert installed.command("status").stdout.count(" ready ") == 3
    assert installed.command("health").stdout == "ok\n"
    assert _code_comes_from(installed, "site-packages")
    tree = installed.tree()
    assert installed.command("shutdown").stdout == "stopped\n"
    assert installed.wait() == 0
    assert [process for process in tree if process.is_running()] == []


def _code_comes_from(installed: Installed, place: str) -> bool:
    """No process of it has a file of the checkout in memory or on its command line."""
    for process in [psutil.Process(installed.pid), *installed.tree()]:
        words = " ".join(process.cmdline())
        assert f" {ROOT}/" not in words, words
    done = subprocess.run(
        [str(installed.program.with_name("python")), "-c", "import whalefall; print(whalefall.__file__)"],
        cwd=installed.directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return place in done.stdout


def test_the_wheel_carries_what_it_renders_and_nothing_of_the_workshop(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (
        "whalefall/_nginx/Procfile",
        "whalefall/_nginx/nginx.conf.template",
        "whalefall/_nginx/gunicorn/gunicorn-prod.conf.py",
        "whalefall/_nginx/errors/50x.html",
        "whalefall/app/static/whalefall/whalefall.css",
        "whalefall/app/templates/whalefall/dashboard.html",
        "whalefall/app/translations/zh_Hans.po",
        "whalefall/scheduler/ledger/migrations/versions/0001_ledger.py",
        "whalefall/py.typed",
    ):
        assert wanted in names
    assert [name for name in names if not name.startswith(("whalefall/", "whalefall-"))] == []


def test_a_wheel_can_be_made_from_the_source_archive(built: Path, tmp_path: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as source:
        source.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path / "dist"), str(unpacked)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (again,) = (tmp_path / "dist").glob("*.whl")
    (wheel,) = built.glob("*.whl")
    assert sorted(zipfile.ZipFile(again).namelist()) == sorted(zipfile.ZipFile(wheel).namelist())
