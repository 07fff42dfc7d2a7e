"""What `whalefall reload` says to a person when there is nothing to do, something, or something that cannot be done."""

import json
from pathlib import Path

from tests.support.deployment import Deployment


def test_reload_tells_what_it_changed_what_not_and_what_it_cannot(tmp_path: Path) -> None:
    (tmp_path / "Procfile").write_text("payments: sleep 1000\nweb: python -m whalefall web\n")
    with Deployment(tmp_path, HOST="") as deployment:
        deployment.until_ready()
        pid = deployment.master("web")

        unchanged = deployment.whalefall("reload")
        assert unchanged.returncode == 0
        assert unchanged.stdout == (
            "nothing in the Plan has changed; name a service to load new code, as in: whalefall reload web\n"
        )
        assert deployment.master("web") == pid

        (tmp_path / ".env").write_text("HOST=127.0.0.1\n")
        refused = deployment.whalefall("reload")
        assert refused.returncode == 1
        port = deployment.port
        assert (
            f"cannot listen on 127.0.0.1:{port} (http): whalefall itself holds 0.0.0.0:{port} (http)" in refused.stderr
        )
        assert "stop whalefall and start it again" in refused.stderr
        assert deployment.master("web") == pid, "nothing was changed"

        (tmp_path / ".env").unlink()
        (tmp_path / "Procfile").write_text("payments: sleep 2000\nweb: python -m whalefall web\n")
        assert deployment.whalefall("reload").stdout == "reloaded: payments.1\n"
        assert deployment.whalefall("reload", "payments").stdout.startswith("payments.1 reloaded (pid ")
        refused = deployment.whalefall("scale", "paymets=2")
        assert refused.stderr == (
            "whalefall: there is no service 'paymets', and nothing is changed. Did you mean 'payments'?\n"
        )
        assert "paymets" not in deployment.whalefall("events").stdout, "nobody had to plan for that"
        assert json.loads(deployment.whalefall("logs", "web", "-n", "1", "--json").stdout)["name"] == "web.1"
        assert deployment.whalefall("scale", "payments=1").stdout == "nothing to do: so many run already\n"
        assert deployment.whalefall("scale", "payments=2").stdout == "scaled: payments.2\n"
        assert deployment.whalefall("scale", "payments=0").stdout == "scaled: payments.1, payments.2\n"
        assert deployment.whalefall("scale", "payments=1").stdout == "scaled: payments.1\n", (
            "it does not run, and is known"
        )
        assert "scale payments=1: the new Plan is applied" in deployment.whalefall("events").stdout
        with (tmp_path / "Procfile").open("a") as procfile:
            procfile.write("fresh: sleep 1000\n")
        assert deployment.whalefall("scale", "fresh=2").stdout == "scaled: fresh.1, fresh.2\n", "new since the start"
        assert deployment.master("web") == pid
