"""What a person or a script is told by `health` and by the commands that change something."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.deployment import Deployment
from whalefall.control.client import ask
from whalefall.control.protocol import Request

APPLICATION = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]
"""
PROCFILE = """\
nginx: python -m whalefall nginx
web: python -m whalefall web shop:app
scheduler: python -m whalefall scheduler
payments: sleep 1000
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Deployment]:
    (tmp_path / "shop.py").write_text(APPLICATION)
    (tmp_path / "Procfile").write_text(PROCFILE)
    with Deployment(tmp_path, LOG_LEVEL="warning") as deployment:
        yield deployment.until_ready()


def document(site: Deployment, *words: str, code: int = 0) -> dict[str, Any]:
    """What the command prints with --json; the sentence of an error must stand on standard error, too."""
    done = site.whalefall(*words, "--json")
    assert done.returncode == code, f"{done}\n{site.story()}"
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["ok"] == (code == 0)
    assert done.stderr == (f"whalefall: {found['error']}\n" if code else "")
    assert bool(found["error"]) == bool(code)
    return found


def done_to(found: dict[str, Any]) -> dict[str, str]:
    return {row["name"]: row["done"] for row in found["instances"]}


def test_a_machine_is_told_what_was_done_to_each_instance(site: Deployment) -> None:
    (row,) = document(site, "restart", "web")["instances"]
    assert row == site.rows()["web.1"] | {name: row[name] for name in ("done", "uptime_s", "state_for_s", "draining")}
    assert (row["service"], row["state"], row["generation"], row["done"]) == ("web", "ready", 2, "restarted")
    assert done_to(document(site, "reload", "payments")) == {"payments.1": "reloaded"}

    assert done_to(document(site, "stop", "payments")) == {"payments.1": "stopped"}
    assert done_to(document(site, "stop", "payments")) == {"payments.1": ""}, "nothing was to be done"
    assert done_to(document(site, "start", "payments")) == {"payments.1": "started"}
    assert done_to(document(site, "start", "payments")) == {"payments.1": ""}

    found = document(site, "scale", "payments=2")
    assert (found["changed"], done_to(found)) == (["payments.2"], {"payments.2": "started"})
    found = document(site, "scale", "payments=1")
    assert (found["changed"], done_to(found)) == (["payments.2"], {"payments.2": "removed"})
    assert found["instances"][0]["state"] == "removed"
    assert document(site, "reload") == {"ok": True, "error": "", "changed": [], "instances": []}

    found = document(site, "restart", "wbe", code=1)
    assert found["error"] == "there is no service or instance 'wbe'. Did you mean 'web'?"
    for command in ("logs", "why", "start", "stop", "reload"):
        done = site.whalefall(command, "web.2")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "whalefall: there is no service or instance 'web.2'. Did you mean 'web.1'?\n"
    assert "There are: nginx, web, scheduler, payments." in site.whalefall("logs", "xyzzy").stderr

    found = document(site, "shutdown")
    assert set(done_to(found).values()) == {"stopped"}
    assert {row["state"] for row in found["instances"]} == {"stopped"}
    assert site.wait() == 0
    assert "no whalefall is running here" in document(site, "health", code=1)["error"]


def test_a_run_that_waits_for_a_stopped_scheduler_says_how_to_start_that(tmp_path: Path) -> None:
    with Deployment(tmp_path, NGINX_BINARY="") as deployment:
        deployment.until_ready()
        assert deployment.whalefall("stop", "scheduler").returncode == 0
        told = deployment.whalefall("jobs", "run", "check_ledger").stdout
        assert "is waiting for a scheduler, and none runs (" in told, told
        assert told.splitlines()[0].endswith("). Start it: whalefall start scheduler")


def test_what_does_not_become_ready_is_told_with_its_last_words(site: Deployment) -> None:
    pid = site.master("web")
    (site.directory / "shop.py").write_text("import no_such_module\n" + APPLICATION)
    found = document(site, "reload", "web", code=1)
    assert "web.1 is not reloaded: " in found["error"]
    assert (
        "the old one goes on serving. It said: \"ModuleNotFoundError: No module named 'no_such_module'\" "
        f"({site.directory}/shop.py:1). See: "
    ) in found["error"]
    assert done_to(found) == {"web.1": ""}
    assert site.master("web") == pid
    assert site.get("/").text == "ok"

    # A new Plan, whose new generation does not become ready either: `reload` must not say that all is well.
    (site.directory / "Procfile").write_text(PROCFILE.replace("web: ", "web: COLOUR=blue "))
    found = document(site, "reload", code=1)
    assert "web.1 is not reloaded: " in found["error"]
    assert "No module named 'no_such_module'" in found["error"]
    assert (found["changed"], done_to(found)) == (["web.1"], {"web.1": ""})
    assert site.master("web") == pid
    assert site.get("/").text == "ok"


def test_two_schedulers_are_refused_with_the_reason_before_anything_changes(site: Deployment) -> None:
    before = {name: row["pid"] for name, row in site.rows().items()}
    done = site.whalefall("scale", "payments=2", "scheduler=2")
    assert done.returncode == 1
    assert done.stderr.startswith(
        "whalefall: nothing is changed: scheduler=2 is refused: two schedulers on one host would compete for every job."
    )
    assert {name: row["pid"] for name, row in site.rows().items()} == before
    told = site.whalefall("events").stdout
    assert (
        "! scale payments=2,scheduler=2: nothing is changed: scheduler=2 is refused: two schedulers on one host" in told
    )
    assert "reload" not in told


def test_health_names_what_was_stopped_by_hand(site: Deployment) -> None:
    assert document(site, "health")["degraded"] == ""
    site.whalefall("stop", "payments")
    assert site.whalefall("health").stdout == (
        "degraded: payments.1 was stopped by hand. Start it: whalefall start payments\n"
    )
    site.whalefall("stop", "web")
    assert document(site, "health", code=1)["error"] == "web.1 was stopped by hand. Start it: whalefall start web"
    site.whalefall("start", "web")
    found = document(site, "health")
    assert found["degraded"].startswith("payments.1 was stopped")
    assert {row["name"] for row in found["instances"]} == set(site.rows())


def test_clients_of_what_was_stopped_by_hand_are_refused_at_once_and_none_is_once_it_is_started(
    site: Deployment,
) -> None:
    site.whalefall("stop", "web")
    # Nobody would answer: without a refusal each of these waits longer than this client does (REQUEST_TIMEOUT).
    for _ in range(5):
        assert site.get("/").status_code == 502
    refused = site.get("/api/v1/anything")
    assert (refused.status_code, refused.json()["message_code"]) == (502, "SERVICE_UNAVAILABLE")
    said = "web was stopped by hand, so its clients are refused at once. Start it: whalefall start web"
    assert said in site.whalefall("events").stdout
    assert site.output().count(said) == 1

    ask(site.run_dir, Request("start", "web"))  # answers before the new generation is ready
    with ThreadPoolExecutor(20) as clients:
        assert {answer.text for answer in clients.map(lambda _: site.get("/"), range(60))} == {"ok"}


def test_a_front_that_was_stopped_by_hand_refuses_too(site: Deployment) -> None:
    site.whalefall("stop", "nginx")
    with pytest.raises(requests.ConnectionError):
        site.get("/")
    ask(site.run_dir, Request("start", "nginx"))
    assert site.get("/").text == "ok"
    site.whalefall("stop", "nginx")
    assert site.stop() == 0, "a stop of the whole with a service that is stopped already"


def test_a_start_that_fails_is_told_with_the_last_words(tmp_path: Path) -> None:
    (tmp_path / "Procfile").write_text("broken: echo no luck today; exit 7\nworker: exec sleep 1000\n")
    (tmp_path / "whalefall.toml").write_text(
        '[services.broken]\non_give_up = "stop"\nready = ["false"]\nearly_crashes = 1\n'
    )
    with Deployment(tmp_path) as deployment:
        deployment.until(lambda rows: rows and rows["broken.1"]["state"] == "failed", "it has given up")
        found = document(deployment, "start", "broken", code=1)
        assert found["error"] == (
            'broken.1 failed: exited with code 7. It said: "no luck today". See: whalefall logs broken.1'
        )
        (row,) = found["instances"]
        assert (row["state"], row["done"], row["reason"]) == ("failed", "", "exited with code 7")
        assert document(deployment, "health", code=1)["error"] == "broken.1 is failed (exited with code 7)"
        found = document(deployment, "stop")
        assert done_to(found) == {"broken.1": "", "worker.1": "stopped"}, "without a service: everything"
        assert deployment.wait() == 0


def test_check_tells_a_machine_what_it_found(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(APPLICATION)
    (tmp_path / "Procfile").write_text(PROCFILE)
    deployment = Deployment(tmp_path, WEB_CONCURRENCY="1", NGINX_BINARY="")
    found = document(deployment, "check")
    assert [row["name"] for row in found["instances"]] == ["web.1", "scheduler.1", "payments.1"]
    assert found["address"] == f"127.0.0.1:{deployment.port}"
    assert found["notes"][0].startswith("direct mode: NGINX_BINARY is empty")
    assert any(sentence.startswith("WEB_CONCURRENCY=1: ") for sentence in found["warnings"])
    assert (found["applications"], found["errors"]) == (["shop:app", "the built-in application"], [])
    (tmp_path / "shop.py").write_text("import nobody_has_it\n" + APPLICATION)
    found = document(deployment, "check", code=2)
    assert found["errors"] == [found["error"]]
    assert found["error"].startswith("shop.py:1: shop:app cannot be imported: ")
    (tmp_path / "Procfile").write_text("web no colon\n")
    found = document(deployment, "check", code=2)
    assert found["error"].startswith("Procfile:1: ")
    assert found["instances"] == []
