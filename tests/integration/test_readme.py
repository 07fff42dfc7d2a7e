"""Every line of the README's code runs; what does not run here is named, with the test that runs it elsewhere.

The commands are given to the example shop, which the README shows, too.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.support.deployment import Deployment
from tests.support.supervised import ROOT
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

PASSWORD = "a long one for the shop"
README = (ROOT / "README.md").read_text()
CONSOLE = [
    line.removeprefix("$ ").partition(" #")[0].strip()
    for block in re.findall(r"^```console\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
    if line.startswith("$ ")
]
PYTHON = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
TUTORIAL = re.findall(
    r"^```python\n(.*?)^```", (ROOT / "docs" / "tutorial" / "first-steps.md").read_text(), re.MULTILINE | re.DOTALL
)
ELSEWHERE = {
    "make serve": "sets up the machine; CI begins with `make test`, which does the same",
    "make test": "is what runs this",
    "pip install '/path/to/whalefall[postgres]'": "test_wheel.py installs the built wheel",
    "whalefall serve shop:app": "is what the commands below are given to",
}
SAY = {
    "whalefall check": r"(?m)^ok: Procfile gives nginx\.1, web\.1, scheduler\.1",
    "whalefall status": r"(?m)^web\.1 +ready ",
    "whalefall logs -f": r"(?m)^web\.1 .*\| ",
    "whalefall reload web": r"(?m)^web\.1 ",
    "whalefall health": r"^ok$",
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    directory = tmp_path_factory.mktemp("shop")
    shutil.copytree(ROOT / "examples" / "shop", directory, dirs_exist_ok=True)
    with Deployment(directory, "shop:app", WHALEFALL_ADMIN_PASSWORD=PASSWORD) as deployment:
        yield deployment.until_ready()


def test_every_line_of_the_readme_is_accounted_for() -> None:
    assert set(CONSOLE) == set(SAY) | set(ELSEWHERE)


@pytest.mark.parametrize("line", [line for line in CONSOLE if line in SAY and "-f" not in line])
def test_the_commands_do_what_the_readme_shows(shop: Deployment, line: str) -> None:
    done = shop.whalefall(*line.split()[1:])
    assert done.returncode == 0, done.stderr
    assert re.search(SAY[line], done.stdout.strip())
    shop.until_ready()


def test_logs_are_followed_until_interrupted(shop: Deployment) -> None:
    command = [sys.executable, "-m", "whalefall", "logs", "-f"]
    with subprocess.Popen(command, cwd=shop.directory, env=shop.environ, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        shop.get("/")
        lines = iter(follower.stdout.readline, "")
        assert next(line for line in lines if re.search(SAY["whalefall logs -f"], line))
        follower.terminate()


@pytest.mark.parametrize("code", [*PYTHON, *TUTORIAL], ids=lambda code: code.split("\n")[0])
def test_the_code_runs(code: str, tmp_path: Path) -> None:
    (tmp_path / "shown.py").write_text(code)
    look = "import shown; from whalefall.scheduler import of; print(*of(shown.app).declarations)"
    environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{ROOT}:{tmp_path}", "DATA_DIR": str(tmp_path / "var")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", look],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(rf'id="{re.escape(done.stdout.split()[-1])}"', code)


# The example


def test_an_order_comes_in_by_web_and_a_job_looks_after_it_in_the_scheduler(shop: Deployment) -> None:
    made = requests.post(shop.url("/orders"), data={"item": "tea", "cents": "300"}, timeout=30)
    assert made.status_code == 201
    number = made.json()["id"]
    assert {"id": number, "item": "tea", "cents": 300, "state": "open"} in shop.get("/").json()

    run_id = run_now(shop, "turnover")

    def finished() -> object:
        run = shop.get(f"/api/v1/scheduler/runs/{run_id}").json()["data"]
        return run if run["state"] not in ("queued", "running", "claimed") else None

    run = wait_until(finished, "the run has ended", 30, shop.output)
    assert run["state"] == "succeeded"
    assert "300" in str(run)


def test_the_shop_refuses_half_an_order(shop: Deployment) -> None:
    assert requests.post(shop.url("/orders"), data={"item": "tea"}, timeout=30).status_code == 400


def test_the_pages_stand_beside_the_shops_own(shop: Deployment) -> None:
    assert [shop.get(path).status_code for path in ("/", "/scheduler", "/dashboard")] == [200, 200, 200]
    jobs = shop.get("/api/v1/scheduler/jobs").json()["data"]
    assert {"close-unpaid", "turnover"} <= {job["id"] for job in jobs}


def run_now(shop: Deployment, job_id: str) -> str:
    """As an administrator, by the API."""
    session = requests.Session()

    def post(path: str, body: dict[str, str]) -> requests.Response:
        token = session.get(shop.url("/api/v1/auth/csrf-token"), timeout=30).json()["data"]["csrf_token"]
        return session.post(shop.url(path), json=body, headers={"X-CSRFToken": token}, timeout=30)

    assert post("/api/v1/auth/login", {"username": "admin", "password": PASSWORD}).status_code == 200
    answer = post(f"/api/v1/scheduler/jobs/{job_id}/actions/run", {"reason": "to see it"})
    assert answer.status_code in (200, 202), answer.text
    return str(answer.json()["data"]["run_id"])
