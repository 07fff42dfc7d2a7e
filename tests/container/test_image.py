"""What is in the image, and what is not."""

import json

import pytest

from tests.container.engine import IMAGE, Container, engine

NOT_FOR_PRODUCTION = ("gcc", "cc", "make", "pip", "pip3", "git", "curl", "wget")
PATHS = ("/api/v1/health/basic", "/api/v1/scheduler/jobs", "/dashboard", "/scheduler", "/whalefall/nginx/health")


def test_pid_1_is_the_supervisor(plain: Container) -> None:
    words = plain.run("cat", "/proc/1/cmdline").stdout.split("\0")
    assert any(word.endswith("/whalefall/supervisor/__main__.py") for word in words)
    assert plain.host_pid(1).pid == plain.leader().pid


@pytest.mark.parametrize("path", PATHS)
def test_the_addresses_answer_through_nginx(plain: Container, path: str) -> None:
    assert plain.get(path) == 200


def test_the_jobs_are_never_asked_of_a_process_without_scheduler(plain: Container) -> None:
    assert [plain.get("/api/v1/scheduler/jobs") for _ in range(50)] == [200] * 50
    assert plain.get("/api/v1/scheduler/jobs", plain.ports.web) == 409


def test_the_healthcheck_of_the_image_says_that_all_is_well(plain: Container) -> None:
    image = json.loads(engine("inspect", IMAGE).stdout)[0]
    check = image["Config"].get("Healthcheck") or image["Healthcheck"]  # Docker's place, podman's place
    assert check["Test"] == ["CMD", "whalefall", "health"]
    assert plain.run(*check["Test"][1:]).stdout == "ok\n"


def test_it_does_not_run_as_root_and_speaks_on_an_unprivileged_port(plain: Container) -> None:
    config = json.loads(engine("inspect", IMAGE).stdout)[0]["Config"]
    assert config["User"] == "10001:0"
    assert list(config["ExposedPorts"]) == ["8080/tcp"]
    assert "PORT=8080" in config["Env"]
    assert {process.uids().effective for process in plain.tree()} == {10001}


def test_nothing_that_builds_is_in_it(plain: Container) -> None:
    found = [tool for tool in NOT_FOR_PRODUCTION if plain.run("sh", "-c", f"command -v {tool}", check=False).stdout]
    assert found == []
    assert plain.run("python3", "-m", "pip", check=False).returncode != 0
    caches = "find /var/cache /var/lib/apt/lists /root -type f 2>/dev/null | grep -E 'deb$|Packages|pip/'"
    assert plain.run("sh", "-c", caches, check=False).stdout == ""


def test_a_command_of_whalefall_stands_where_serve_stands(image: str) -> None:
    done = engine("run", "--rm", "--network", "host", image, "check")
    assert "ok: the built-in Procfile gives nginx.1, web.1, scheduler.1" in done.stdout


def test_an_application_that_is_not_there_ends_the_container_with_2_and_a_sentence(image: str) -> None:
    with Container("--env", "WHALEFALL_APP=nowhere.to:be_found") as container:
        assert container.until_exited() == 2
        assert "WHALEFALL_APP" in container.logs()
        assert "nowhere" in container.logs()
