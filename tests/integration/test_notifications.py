"""Notices as people get them: a real site with Nginx, two web workers and a scheduler, and real receivers."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook as Verifier

from tests.support.deployment import Deployment, thread_names
from tests.support.receivers import Hooks, Letters, answering, mail_server
from tests.support.waiting import wait_until

SECRET = "whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVowMTIzNDU="
APPLICATION = '''
from pathlib import Path

from flask import Flask
from whalefall import Scheduler
from whalefall.app import install

app = Flask(__name__)
scheduler = Scheduler(app)
broken = Path(__file__).with_name("broken")


@scheduler.task("interval", id="import_orders", seconds=2)
def import_orders() -> None:
    """Fails as long as a file says so."""
    if broken.exists():
        raise ValueError("no orders today")


@scheduler.task("interval", id="quiet", seconds=2, notify=False)
def quiet() -> None:
    """Fails, and nobody wants to know."""
    raise ValueError("as always")


install(app)
'''
_SOON_S = 120.0  # three looks, a lease that runs out, and a machine that does other things


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    with Hooks() as hooks:
        yield hooks


@pytest.fixture
def mails() -> Iterator[tuple[Letters, int]]:
    with mail_server() as found:
        yield found


@pytest.fixture
def site(tmp_path: Path, hooks: Hooks, mails: tuple[Letters, int]) -> Iterator[Deployment]:
    if not shutil.which("nginx"):
        pytest.skip("no nginx here; .ci/system-packages installs it")
    (tmp_path / "shop.py").write_text(APPLICATION)
    (tmp_path / ".env").write_text(
        f"NOTIFY_WEBHOOK_URL={hooks.url}/T0/B0/key\n"
        f"NOTIFY_WEBHOOK_SECRET={SECRET}\n"
        f"SMTP_URL=smtp://localhost:{mails[1]}\n"
        "NOTIFY_MAIL_FROM=jobs@shop.example\n"
        "NOTIFY_MAIL_TO=oncall@shop.example\n"
        "WHALEFALL_URL=https://shop.example\n"
    )
    with Deployment(tmp_path, "shop:app", WHALEFALL_ADMIN_PASSWORD="correct horse battery") as site:
        yield site.until_ready()


def until_told(site: Deployment, hooks: Hooks, letters: Letters, job: str | None, events: list[str]) -> None:
    """Exactly these, by webhook and by mail, in this order."""

    def mailed() -> list[str]:
        return [each["X-Whalefall-Event"] for each in letters.got if (each["X-Whalefall-Job"] or None) == job]

    def is_told() -> bool:
        return hooks.events(job) == events == mailed()

    said = f"{events} of {job or 'the scheduler'} by webhook and by mail"
    wait_until(is_told, said, _SOON_S, lambda: f"{hooks.documents()}\n{mailed()}\n{site.output()}")


@pytest.mark.heavy
def test_failed_missed_and_recovered_are_told_once_by_whoever_is_up(
    site: Deployment, hooks: Hooks, mails: tuple[Letters, int], tmp_path: Path
) -> None:
    letters, _ = mails
    broken = tmp_path / "broken"
    broken.touch()
    until_told(site, hooks, letters, "import_orders", ["failed"])
    assert site.whalefall("restart", "web").returncode == 0
    assert hooks.events("import_orders") == ["failed"]

    assert site.whalefall("stop", "scheduler").returncode == 0
    until_told(site, hooks, letters, None, ["missed"])
    assert "No scheduler leads" in letters.got[-1].get_content()
    broken.unlink()
    assert site.whalefall("start", "scheduler").returncode == 0
    until_told(site, hooks, letters, None, ["missed", "recovered"])
    until_told(site, hooks, letters, "import_orders", ["failed", "recovered"])

    _everything_is_signed_and_nothing_is_told_twice(hooks, letters)
    shown = site.whalefall("plan").stdout
    assert "/T0/B0/key" not in shown
    assert SECRET not in shown
    assert site.stop() == 0
    assert SECRET not in site.output()
    assert len(hooks.got) == len(letters.got) == 4


def _everything_is_signed_and_nothing_is_told_twice(hooks: Hooks, letters: Letters) -> None:
    for headers, body in hooks.got:
        assert Verifier(SECRET).verify(body, headers)["type"].startswith("whalefall.")
    assert {each["data"]["job"] for each in hooks.documents()} == {"import_orders", None}
    failure = hooks.documents()[0]
    assert failure["data"]["text"] == "Its run ended as failed: ValueError: no orders today"
    assert failure["data"]["url"].startswith("https://shop.example/runs/")
    by_id = {each["Message-ID"]: each for each in letters.got}
    ends = [each for each in letters.got if each["X-Whalefall-Event"] == "recovered"]
    assert [by_id[each["In-Reply-To"]]["X-Whalefall-Job"] for each in ends] == [
        each["X-Whalefall-Job"] for each in ends
    ]


@pytest.mark.heavy
def test_a_killed_scheduler_that_cannot_come_back_is_told_by_the_web_workers(tmp_path: Path, hooks: Hooks) -> None:
    """And receivers that are away hold up neither the site nor its stop."""
    (tmp_path / "shop.py").write_text(APPLICATION)
    environ = {"NOTIFY_WEBHOOK_URL": hooks.url, "SMTP_URL": "smtp://127.0.0.1:1", "NGINX_BINARY": ""}
    mail = {"NOTIFY_MAIL_FROM": "jobs@shop.example", "NOTIFY_MAIL_TO": "oncall@shop.example"}
    with Deployment(tmp_path, "shop:app", **environ, **mail) as site:
        site.until_ready()
        (tmp_path / "shop.py").write_text(
            APPLICATION + "\nimport os\nassert os.environ['ENABLE_SCHEDULER'] == 'false'\n"
        )
        os.kill(site.master("scheduler"), signal.SIGKILL)
        wait_until(lambda: hooks.events(None) == ["missed"], "nobody leads", _SOON_S, site.output)
        assert site.get("/api/v1/health/basic").status_code == 200
        assert site.stop() == 0


@pytest.mark.heavy
def test_without_a_receiver_the_log_tells_it_once(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(APPLICATION)
    (tmp_path / "broken").touch()
    with Deployment(tmp_path, "shop:app", NGINX_BINARY="") as site:
        site.until_ready()
        failed = "WARNING whalefall.notify: failed: import_orders: Its run ended as failed: ValueError: no orders today"
        wait_until(lambda: failed in site.output(), "the log tells of the failure", _SOON_S, site.story)
        (tmp_path / "broken").unlink()
        recovered = "INFO whalefall.notify: recovered: import_orders: Its newest run has succeeded."
        wait_until(lambda: recovered in site.output(), "the log tells that it is over", _SOON_S, site.story)
        names = {name for process in site.tree() for name in thread_names(process.pid)}
        assert site.stop() == 0
    assert "wf-watch" in names
    assert not names & {"wf-webhook", "wf-mail"}, "nobody is to be sent anything"
    assert site.output().count(" failed: import_orders") == 1
    assert "failed: quiet" not in site.output()


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("NOTIFY_WEBHOOK_URL", "hooks.example/x", "write https://host or http://host"),
        ("NOTIFY_WEBHOOK_URL", "https://user:hunter2@hooks.example/x", "NOTIFY_WEBHOOK_SECRET"),
        ("NOTIFY_WEBHOOK_SECRET", "hunter2", "whsec_"),
        ("SMTP_URL", "mail.example:587", "write smtp://"),
        ("SMTP_URL", "smtp://u:hunter2@mail.example", "in the clear"),
        ("SMTP_URL", "smtps://u:hunter2@mail.example", "belong together"),
        ("NOTIFY_MAIL_TO", "a@b.example\r\nBcc: c@d.example", "no plain address"),
        ("NOTIFY_ON", "failed,everything", "failed, missed, slow, recovered"),
        ("NOTIFY_RATE", "0", "from 1 to 1000"),
    ],
)
def test_a_setting_that_will_not_do_is_one_sentence_at_the_start(
    tmp_path: Path, variable: str, value: str, words: str
) -> None:
    site = Deployment(tmp_path, **{variable: value})
    done = site.whalefall("serve")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert variable in done.stderr
    assert words in done.stderr
    assert "hunter2" not in done.stderr


class TestTheTestNotice:
    """`whalefall notify test`, which needs nothing that runs."""

    def test_each_channel_says_that_it_has_it(self, tmp_path: Path, hooks: Hooks, mails: tuple[Letters, int]) -> None:
        addresses = {"NOTIFY_MAIL_FROM": "jobs@shop.example", "NOTIFY_MAIL_TO": "oncall@shop.example"}
        environ = {"NOTIFY_WEBHOOK_URL": hooks.url, "SMTP_URL": f"smtp://localhost:{mails[1]}", **addresses}
        done = Deployment(tmp_path, **environ).whalefall("notify", "test")
        assert done.returncode == 0, done
        assert [line.partition(":")[0] for line in done.stdout.splitlines()] == ["webhook", "mail"]
        assert len(hooks.documents()) == 1

    def test_a_receiver_that_refuses_is_exit_code_1_and_a_sentence(self, tmp_path: Path) -> None:
        with Hooks(answering(500)) as sick:
            done = Deployment(tmp_path, NOTIFY_WEBHOOK_URL=sick.url).whalefall("notify", "test")
        assert done.returncode == 1
        assert "500" in done.stderr
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize("url", ["", "ftp://shop.example/hook"])
    def test_without_a_receiver_or_with_a_wrong_one_it_is_a_usage_error(self, tmp_path: Path, url: str) -> None:
        done = Deployment(tmp_path, NOTIFY_WEBHOOK_URL=url).whalefall("notify", "test")
        assert done.returncode == 2
        assert "NOTIFY_WEBHOOK_URL" in done.stderr
        assert len(done.stderr.splitlines()) == 1
