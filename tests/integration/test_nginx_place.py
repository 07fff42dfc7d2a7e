"""Nginx's place in /tmp, where its workers go when they cannot reach RUN_DIR: nobody has to clean up after us."""

import contextlib
import os
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.deployment import Deployment
from tests.support.waiting import wait_until
from whalefall.planner import nginx
from whalefall.supervisor.edge import scratch

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root's Nginx changes the user of its workers")


@pytest.fixture
def site(tmp_path: Path) -> Deployment:
    (tmp_path / "Procfile").write_text("nginx: python -m whalefall nginx\nweb: python -m whalefall web shop:app\n")
    (tmp_path / "shop.py").write_text('def app(environ, start):\n    start("200 OK", [])\n    return [b"ok"]\n')
    tmp_path.chmod(0o700)  # so no worker gets into its RUN_DIR
    return Deployment(tmp_path)


def place_of(site: Deployment) -> Path:
    place = nginx.home(site.run_dir)
    assert place.parent == nginx.ELSEWHERE
    return place


def test_it_goes_when_whalefall_stops(site: Deployment) -> None:
    with site:
        site.until_ready()
        assert site.get("/").text == "ok"
        # As the workers' own user might leave it: nothing outside may be touched.
        kept = site.directory / "kept"
        kept.write_text("kept")
        (place_of(site) / "proxy" / "link").symlink_to(site.directory)
        (place_of(site) / "proxy" / "deep" / "er").mkdir(parents=True)
        (place_of(site) / "proxy" / "deep" / "er" / "file").write_text("")
        assert site.stop() == 0
    assert not place_of(site).exists()
    assert kept.read_text() == "kept"


def test_what_was_killed_outright_is_cleaned_up_after_by_the_next_start_of_anybody(
    site: Deployment, tmp_path_factory: pytest.TempPathFactory
) -> None:
    gone = tmp_path_factory.mktemp("gone") / "run"
    with site:
        site.until_ready()
        os.kill(site.pid, signal.SIGKILL)
        site.wait()
        wait_until(lambda: not any(alive_in(place_of(site))), "its Nginx has ended with it")
    assert place_of(site).exists()
    nginx.make_home(gone.parent / "other")
    assert place_of(site).exists(), "its RUN_DIR is still there, so somebody may start it again"
    shutil.rmtree(site.run_dir)
    nginx.make_home(gone.parent / "other")
    assert not place_of(site).exists()
    scratch.remove(str(nginx.home(gone.parent / "other")))


def alive_in(place: Path) -> list[int]:
    """Masters whose pid file is there."""
    pids = [int(file.read_text()) for file in place.glob("nginx-*.pid") if file.read_text().strip()]
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_check_leaves_nothing_there(site: Deployment) -> None:
    # A port may stand in what a killed one left there long ago: only an address of our own tells whose a file is.
    address = f"127.{random.randrange(1, 255)}.{random.randrange(256)}.{random.randrange(1, 255)}"
    site.environ["HOST"] = address
    done = site.whalefall("check")
    assert done.returncode == 0, done
    assert "nginx.1" in done.stdout
    assert not any(address in text for text in written())
    with site:
        site.until_ready()
        assert any(address in text for text in written()), "it would have been seen"


def written() -> Iterator[str]:
    """The configurations in all places; those of others may go while we look."""
    for place in nginx.ELSEWHERE.glob("whalefall-nginx-*"):
        with contextlib.suppress(FileNotFoundError):
            for file in place.glob("*.conf"):
                yield file.read_text()


def test_what_is_not_there_or_is_a_link_is_no_failure_and_not_followed(tmp_path: Path) -> None:
    scratch.remove(str(tmp_path / "none"))
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    scratch.remove(str(tmp_path / "link"))
    assert (tmp_path / "kept" / "file").exists()
