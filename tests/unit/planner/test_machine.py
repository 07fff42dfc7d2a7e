"""`check` looks at the machine: what is really there is told with its mend, and nothing else."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.support.supervised import ROOT, free_port
from tests.unit.planner.scene import Scene
from whalefall.errors import ConfigError
from whalefall.planner import machine, nginx
from whalefall.planner.directories import make_run_dir
from whalefall.planner.machine import filesystem, findings
from whalefall.planner.world import survey

BINARY = nginx.find("nginx", os.environ["PATH"])
PROCFILE = "nginx: python -m whalefall nginx\nweb: python -m whalefall web\nscheduler: python -m whalefall scheduler\n"
with_nginx = pytest.mark.skipif(not BINARY, reason="there is no nginx program here")


@pytest.fixture
def site(scene: Scene) -> Scene:
    ports = {name: f"127.0.0.1:{free_port()}" for name in ("WEB_LISTEN", "SCHEDULER_LISTEN")}
    data = {"DATA_DIR": str(scene.directory / "var"), "HOST": "127.0.0.1", "PORT": str(free_port())}
    return scene.procfile(PROCFILE).setting(PYTHONPATH=str(ROOT), NGINX_BINARY=BINARY, **ports, **data)


def told(site: Scene, weight: str = "warning") -> list[str]:
    """The sentences, which are all of one weight."""
    found = list(findings(survey(site.request())))
    assert {each.weight for each in found} <= {weight}, found
    return [each.sentence for each in found]


def checked(site: Scene, *prefix: str, package: Path = ROOT) -> list[str]:
    """The warnings of `whalefall check` in a process of its own, behind `prefix`."""
    command = [*prefix, sys.executable, "-m", "whalefall", "check"]
    environ = {**site.environ, "PYTHONPATH": str(package)}
    done = subprocess.run(
        command, cwd=site.directory, env=environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done
    return re.findall(r"^warning: (.*)$", done.stdout, re.MULTILINE)


def within(mount: str, at: Path) -> tuple[str, ...]:
    """What runs a command in a mount namespace of its own, with a tmpfs at `at`."""
    at.mkdir()
    prefix = ("unshare", "--mount", "sh", "-c", f'mount -t tmpfs -o {mount} none "{at}" && exec "$@"', "sh")
    if subprocess.run([*prefix, "true"], capture_output=True, timeout=30, check=False).returncode != 0:
        pytest.skip("we may not mount anything here")
    return prefix


def test_a_good_machine_needs_no_advice(site: Scene, tmp_path: Path) -> None:
    assert told(site) == []
    assert [path.name for path in tmp_path.iterdir()] == ["Procfile"], "nothing is left behind"


def test_a_port_that_somebody_has_is_refused_unless_it_is_this_very_whalefall(site: Scene, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", int(site.environ["PORT"]))):
        (sentence,) = told(site, "error")
        assert sentence.startswith(f"`serve` would not start now: port {site.environ['PORT']} is taken by ")
        assert "--port" in sentence
        (tmp_path / "run").mkdir()
        with socket.socket(socket.AF_UNIX) as ours:
            ours.bind(str(tmp_path / "run" / "control.sock"))
            ours.listen()
            assert told(site, "note") == ["whalefall already runs here, and holds its own ports"]


@pytest.mark.parametrize(
    ("variable", "weight"),
    [("RUN_DIR", "error"), ("DATA_DIR", "error"), ("LOG_DIR", "warning")],  # without log files the site goes on
)
def test_a_place_that_cannot_be_made_is_told(site: Scene, variable: str, weight: str) -> None:
    with tempfile.NamedTemporaryFile(prefix="wf-") as file:  # of few letters, as a RUN_DIR needs them
        found = told(site.setting(**{variable: f"{file.name}/x"}), weight)
    assert f"{variable}: {file.name}/x cannot be made, because {file.name} is no directory. Set another." in found


@with_nginx
def test_a_disk_with_too_little_room_is_told(site: Scene, tmp_path: Path) -> None:
    prefix = within("size=20m", tmp_path / "small")
    (tmp_path / "small").chmod(0o755)
    site.setting(DATA_DIR=f"{tmp_path}/small/var", LOG_DIR=f"{tmp_path}/small/log")
    data, log = checked(site, *prefix)
    assert re.match(
        rf"DATA_DIR: {tmp_path}/small/var has only \d\d MB of room, and the ledger and crash reports ", data
    )
    assert data.endswith(" Make room for 256 MB, or set another.")
    assert log.startswith(f"LOG_DIR: {tmp_path}/small/log has only ")


@pytest.mark.parametrize("path", ["a-link", "a-file", "x" * 100])
def test_a_run_dir_that_serve_would_refuse_is_refused_in_its_words(site: Scene, tmp_path: Path, path: str) -> None:
    (tmp_path / "a-link").symlink_to(tmp_path)
    (tmp_path / "a-file").touch()
    run_dir = tmp_path / path
    with pytest.raises(ConfigError) as caught:
        make_run_dir(run_dir)
    assert told(site.setting(RUN_DIR=str(run_dir)), "error") == [str(caught.value)]


@with_nginx
def test_nginx_needs_room_for_uploads(site: Scene) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        Path(short).chmod(0o755)  # or root's Nginx would take a place elsewhere, where its workers can go
        prefix = within("size=20m", Path(short) / "small")
        (sentence,) = checked(site.setting(RUN_DIR=f"{short}/small/run"), *prefix)
    assert re.match(r"RUN_DIR: \S+ has only \d\d MB of room, and Nginx keeps what it cannot pass on at once", sentence)
    assert "uploads of 32 MB for example. Make room for 64 MB" in sentence


def test_the_size_of_an_upload_is_nginxs() -> None:
    template = (nginx.templates() / nginx.MAIN).read_text()
    assert f"client_max_body_size {machine.UPLOAD_BYTES // machine.MEBIBYTE}m;" in template


def test_a_disk_without_an_inode_left_is_told(site: Scene, tmp_path: Path) -> None:
    prefix = within("size=1g,nr_inodes=1", tmp_path / "small")
    (sentence,) = checked(site.setting(DATA_DIR=f"{tmp_path}/small"), *prefix)
    assert sentence.startswith(f"DATA_DIR: the file system of {tmp_path}/small has no inode left")


MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /srv rw - xfs /dev/sdb rw
31 22 0:41 / /srv/sha\\040red rw shared:2 master:1 - nfs4 host:/export rw
32 22 0:42 / /srv/over rw - nfs host:/export rw
33 32 0:43 / /srv/over rw - tmpfs none rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/srvother/var", "ext4"),
        ("/srv/var", "xfs"),
        ("/srv/sha red/var", "nfs4"),
        ("/srv/over/var", "tmpfs"),
    ],
)
def test_the_file_system_is_that_of_the_nearest_and_newest_mount(path: str, kind: str) -> None:
    assert filesystem(Path(path), MOUNTS) == kind


def test_where_the_kernel_does_not_say_nothing_is_said() -> None:
    assert filesystem(Path("/srv"), "") == ""


@with_nginx
def test_few_open_files_are_told(site: Scene) -> None:
    (sentence,) = checked(site, "sh", "-c", 'ulimit -n 1024 && exec "$@"', "sh")
    assert sentence.startswith("the limit of open files is 1024: each Nginx worker takes 512 connections at most.")


CA = """
[ca]
default_ca = us
[us]
database = index
new_certs_dir = .
serial = serial
default_md = sha256
policy = any
[any]
commonName = supplied
"""


def certificate(directory: Path, ends_at: float) -> None:
    """A self-signed one; `req` makes none that has ended, `ca` does."""
    key, asked, end = "key.pem", "asked.pem", time.strftime("%Y%m%d%H%M%SZ", time.gmtime(ends_at))
    for name, text in (("ca.cnf", CA), ("index", ""), ("serial", "01")):
        (directory / name).write_text(text)
    new = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost"]
    sign = ["ca", "-batch", "-selfsign", "-config", "ca.cnf", "-startdate", "20200101000000Z", "-enddate", end]
    for words in (
        [*new, "-keyout", key, "-out", asked],
        [*sign, "-keyfile", key, "-in", asked, "-out", "cert.pem", "-notext"],
    ):
        done = subprocess.run(["openssl", *words], cwd=directory, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr


@with_nginx
def test_a_certificate_that_ends_soon_is_told(site: Scene, tmp_path: Path) -> None:
    site.setting(TLS_CERTIFICATE="cert.pem", TLS_KEY="key.pem", TLS_PORT=str(free_port()))
    now, day_s = time.time(), 86_400
    certificate(tmp_path, now + 30 * day_s)
    assert told(site) == []
    certificate(tmp_path, now + 5.1 * day_s)
    (sentence,) = told(site)
    assert sentence == f"TLS_CERTIFICATE: {tmp_path}/cert.pem expires in 5 days. Renew it, then: whalefall reload nginx"
    certificate(tmp_path, now - 2.9 * day_s)
    (sentence,) = told(site)
    assert sentence.startswith(
        f"TLS_CERTIFICATE: {tmp_path}/cert.pem has expired 3 days ago: browsers refuse the site."
    )
    (tmp_path / "cert.pem").write_text("half a certif")
    assert told(site) == [], "Nginx says what is wrong with it"


@pytest.mark.parametrize(
    ("zone", "jobs"),
    [("UTC", ""), ("Etc/UTC", ""), ("", ""), ("CET-1CEST", "UTC"), ("<+03>-3", "UTC"), (":/etc/localtime", "UTC")],
)
def test_a_time_zone_that_hurts_nobody_is_not_told(site: Scene, zone: str, jobs: str) -> None:
    assert told(site.setting(TZ=zone, SCHEDULER_TIMEZONE=jobs)) == []


def test_a_time_zone_that_is_none_or_does_not_reach_the_jobs_is_told(site: Scene) -> None:
    (sentence,) = told(site.setting(TZ="Europe/Berln"))
    assert sentence.startswith("TZ=Europe/Berln (environment) names no time zone here, so local times are UTC.")
    (sentence,) = told(site.setting(TZ="Europe/Berlin"))
    assert "jobs that name no zone go by SCHEDULER_TIMEZONE, which is UTC" in sentence
    assert told(site.setting(SCHEDULER_TIMEZONE="Europe/Berlin")) == []
    assert told(site.procfile("web: python -m whalefall web\n").setting(SCHEDULER_TIMEZONE="")) == []


def test_a_zone_of_the_jobs_that_there_is_not_is_an_error_where_a_scheduler_runs(site: Scene) -> None:
    (sentence,) = told(site.setting(SCHEDULER_TIMEZONE="Europe/Berln"), weight="error")
    assert (
        sentence == "SCHEDULER_TIMEZONE (environment): there is no zone 'Europe/Berln'. Did you mean 'Europe/Berlin'?"
    )
    assert told(site.procfile("web: python -m whalefall web\n"), weight="error") == []


def test_a_clock_before_our_own_installation_is_told(site: Scene, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "whalefall", copy / "whalefall", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "nginx", copy / "nginx", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Procfile", copy)
    tomorrow = (copy / "whalefall" / "__init__.py").stat().st_mtime + 400 * 86_400
    os.utime(copy / "whalefall" / "__init__.py", (tomorrow, tomorrow))
    (sentence,) = checked(site, package=copy)
    assert sentence.startswith("the clock says 2")
    assert "before whalefall was installed" in sentence
