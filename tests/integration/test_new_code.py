"""`whalefall reload scheduler`, when the new code does not load: nobody may be left without a scheduler for that."""

import json
from pathlib import Path

import pytest

from tests.support.deployment import Deployment
from tests.support.waiting import wait_until
from whalefall.cli import newcode

SHOP = "from flask import Flask\nfrom whalefall import Scheduler\napp = Flask(__name__)\nscheduler = Scheduler(app)\n"


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
            "which reads .env again). (whalefall restart scheduler.1 does not ask.)\n"
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

        shop.write_text("nonsense(\n")
        assert deployment.whalefall("restart", "scheduler").returncode == 1
        wait_until(lambda: "degraded" in deployment.whalefall("health").stdout, "it was asked for, and is told")
