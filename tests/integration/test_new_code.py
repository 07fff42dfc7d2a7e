"""`reload` and `restart` when the new code does not load: nobody may be left without a scheduler for that."""

import json
import socket
import subprocess
from pathlib import Path

import pytest

from tests.support.deployment import Deployment
from tests.support.waiting import wait_until
from whalefall.cli import newcode

SHOP = "from flask import Flask\nfrom whalefall import Scheduler\napp = Flask(__name__)\nscheduler = Scheduler(app)\n"
PROCFILE = "web: python -m whalefall web\nscheduler: python -m whalefall scheduler\n"


def test_code_that_does_not_load_leaves_the_scheduler_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = tmp_path / "shop.py"
    shop.write_text(SHOP)
    with Deployment(tmp_path, "shop:app", NGINX_BINARY="") as deployment:
        deployment.until_ready()
        pid = deployment.master("scheduler")

        shop.write_text(SHOP + "import os\nKEY = os.environ['SHOP_KEY']\n")
        refused = deployment.whalefall("reload", "scheduler")
        assert refused.returncode == 1
        assert refused.stderr == (
            "whalefall: scheduler.1 is not reloaded; the old one goes on: shop.py:6: shop:app cannot be imported: "
            "KeyError: 'SHOP_KEY'. Set SHOP_KEY in the environment or in .env. Then: whalefall reload (without a name, "
            "which reads .env again). (whalefall reload scheduler.1 --no-import does not ask.)\n"
        )
        assert deployment.master("scheduler") == pid
        assert newcode.environ_of_scheduler(pid)["WHALEFALL_APP"] == "shop:app"
        with monkeypatch.context() as somebody:
            somebody.setattr("os.geteuid", lambda: 4711)
            assert newcode.environ_of_scheduler(pid) == {}, "nothing is imported by somebody else"
        assert newcode.environ_of_scheduler(deployment.master("web")) == {}
        told = json.loads(deployment.whalefall("reload", "scheduler.1", "--json").stdout)
        assert (told["ok"], [row["name"] for row in told["instances"]]) == (False, ["scheduler.1"])

        (tmp_path / ".env").write_text("SHOP_KEY=secret\n")
        assert "scheduler.1" in deployment.whalefall("reload").stdout, "as the sentence says"
        pid = deployment.master("scheduler")
        shop.write_text(SHOP)
        assert deployment.whalefall("reload", "scheduler").stdout.startswith("scheduler.1 reloaded (pid ")
        assert deployment.master("scheduler") != pid

        pid = deployment.master("scheduler")
        shop.write_text("nonsense(\n")
        refused = deployment.whalefall("restart", "scheduler")
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
        assert refused.stderr.startswith("whalefall: scheduler.1 is not restarted; the old one goes on: shop.py:1: ")
        assert refused.stderr.endswith(" (whalefall restart scheduler.1 --no-import does not ask.)\n")
        assert deployment.master("scheduler") == pid
        assert deployment.whalefall("restart", "scheduler", "--no-import").returncode == 1
        wait_until(lambda: "degraded" in deployment.whalefall("health").stdout, "it was asked for, and is told")


def test_a_plan_that_replaces_the_scheduler_is_tried_with_its_variables(tmp_path: Path) -> None:
    (tmp_path / "Procfile").write_text(PROCFILE)
    shop, dotenv = tmp_path / "shop.py", tmp_path / ".env"
    shop.write_text(SHOP)
    dotenv.write_text("SHOP_KEY=secret\n")
    with Deployment(tmp_path, "shop:app", NGINX_BINARY="") as deployment:
        deployment.until_ready()
        pids = [deployment.master(name) for name in ("web", "scheduler")]

        shop.write_text(SHOP + "import os\nKEY = os.environ['SHOP_KEY']\n")
        dotenv.write_text("SHOP_KYE=secret\n")
        refused = deployment.whalefall("reload")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr.startswith(
            "whalefall: nothing is changed: scheduler.1 would be replaced, and shop.py:6: shop:app cannot be imported: "
            "KeyError: 'SHOP_KEY'. Set SHOP_KEY in the environment or in .env."
        )
        assert refused.stderr.endswith(" (reload --no-import does not ask.)\n")
        assert [deployment.master(name) for name in ("web", "scheduler")] == pids
        assert json.loads(deployment.whalefall("reload", "--json").stdout)["ok"] is False
        refused = deployment.whalefall("scale", "web=2")
        assert "would be replaced, and shop.py:6: shop:app cannot be imported: KeyError: 'SHOP_KEY'" in refused.stderr
        assert "web.2" not in deployment.rows()

        dotenv.write_text("SHOP_KEY=another\n")
        assert "scheduler.1" in deployment.whalefall("reload").stdout, "what the next Plan has counts"
        assert deployment.master("scheduler") != pids[1]

        pid = deployment.master("scheduler")
        shop.write_text("nonsense(\n")
        (tmp_path / "Procfile").write_text(PROCFILE + "payments: sleep 1000\n")
        assert deployment.whalefall("reload").stdout == "reloaded: payments.1\n", "the scheduler stays: nobody asks"
        assert deployment.master("scheduler") == pid

        dotenv.write_text("SHOP_KEY=third\n")
        assert "shop.py:1: " in deployment.whalefall("reload").stderr
        assert deployment.master("scheduler") == pid
        assert deployment.whalefall("reload", "--no-import").returncode == 1
        wait_until(lambda: deployment.rows()["scheduler.1"]["pid"] != pid, "it was asked for")


def test_a_plan_that_the_supervisor_refused_does_not_count_as_the_one_that_runs(tmp_path: Path) -> None:
    (tmp_path / "Procfile").write_text(PROCFILE + "payments: sleep 1000\n")
    shop = tmp_path / "shop.py"
    shop.write_text(SHOP)
    with Deployment(tmp_path, "shop:app", NGINX_BINARY="") as deployment:
        deployment.until_ready()
        pid = deployment.master("scheduler")

        with socket.create_server(("127.0.0.1", 0)) as stranger:
            address = f"127.0.0.1:{stranger.getsockname()[1]}"
            (tmp_path / "whalefall.toml").write_text(f'[services.payments]\nlisten = ["{address}"]\n')
            (tmp_path / ".env").write_text("SHOP_KEY=secret\n")
            assert f"cannot listen on {address}" in deployment.whalefall("reload").stderr

        shop.write_text("nonsense(\n")
        assert "scheduler.1 would be replaced, and shop.py:1: " in deployment.whalefall("reload").stderr
        assert deployment.master("scheduler") == pid


def test_a_directory_that_was_made_anew_is_the_one_whose_code_is_tried(tmp_path: Path) -> None:
    home = tmp_path / "shop"
    home.mkdir()
    with subprocess.Popen(["sleep", "1000"], cwd=home) as process:
        home.rmdir()
        home.mkdir()
        assert newcode.home_of(process.pid) == home
        process.kill()
