"""Which requests has Gunicorn's access log? Each is somewhere, and in one output once."""

import os
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger

from tests.unit.planner.scene import Scene
from whalefall.planner import nginx
from whalefall.planner.gunicorn import LOGGED_BY
from whalefall.planner.quiet_log import PROBE_AGENT, QuietLogger

OURS = "nginx: whalefall nginx\nweb: whalefall web\nscheduler: whalefall scheduler\n"
BINARY = nginx.find("nginx", os.environ["PATH"])
BY_NGINX = {"HTTP_USER_AGENT": "curl", "HTTP_X_REAL_IP": "192.0.2.1"}


def is_logged(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], accesslog: str = "-") -> bool:
    written: list[Any] = []
    monkeypatch.setattr(Logger, "access", lambda *given: written.append(given))
    logger = QuietLogger(Config())
    logger.cfg.set("accesslog", accesslog)  # not earlier: it would open the file
    logger.access(SimpleNamespace(), SimpleNamespace(), environ, None)
    return bool(written)


def test_what_nginx_has_in_the_same_output_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_logged(monkeypatch, BY_NGINX), "an Nginx, but none of ours"
    monkeypatch.setenv(LOGGED_BY, "nginx")
    assert not is_logged(monkeypatch, BY_NGINX)
    assert is_logged(monkeypatch, {"HTTP_USER_AGENT": "curl"}), "past Nginx"
    assert is_logged(monkeypatch, BY_NGINX, "/var/log/access.log"), "a file is whole"


def test_the_supervisors_own_questions_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_logged(monkeypatch, {"HTTP_USER_AGENT": PROBE_AGENT})


@pytest.mark.skipif(not BINARY, reason="there is no nginx program here")
@pytest.mark.parametrize(
    ("formation", "options", "expected"),
    [
        ("", "", "nginx"),
        ("nginx=0", "", None),
        ("web=0,nginx=0", "", None),
        ("", '[services.nginx]\nlog = "json"\n', "nginx"),
        ("", '[services.nginx]\nlog = "none"\n', None),
        ("", '[services.scheduler]\nlisten = ["unix:/tmp/s"]\n', "nginx"),
        ("", '[services.scheduler]\nlisten = ["127.0.0.1:5002", "0.0.0.0:5003"]\n', None),
    ],
)
def test_the_scheduler_is_told_whether_nginx_logs(
    scene: Scene, formation: str, options: str, expected: str | None
) -> None:
    found = scene.procfile(OURS).write("whalefall.toml", options).setting(NGINX_BINARY=BINARY)
    instances = found.instances(formation=formation)
    assert instances["scheduler.1"].command.env.get(LOGGED_BY) == expected
    assert all(LOGGED_BY not in each.command.env for name, each in instances.items() if name != "scheduler.1")


def test_in_direct_mode_it_is_not_told(scene: Scene) -> None:
    assert LOGGED_BY not in scene.procfile(OURS).instances()["scheduler.1"].command.env
