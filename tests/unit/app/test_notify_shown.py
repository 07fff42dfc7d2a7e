"""Who was told is shown to administrators: as a page in both languages, and by the API; counted in the metrics."""

from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask

from tests.unit.app.conftest import Visitor, as_user
from tests.unit.app.test_metrics import scrape
from whalefall.app.counted import counts
from whalefall.app.notify.incidents import OVER_RATE, Changes, Notice
from whalefall.app.store import notices
from whalefall.scheduler import of

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.fixture
def told(app: Flask) -> Flask:
    """One that was sent by webhook and refused by mail, and one too many."""
    begun = [
        Notice("failed", "failing", "greet", NOON, "Its run ended as failed: <script>alert(1)</script>", "run-1"),
        Notice("slow", "slow", "greet", NOON, "Slow.", state="suppressed", reason=OVER_RATE),
    ]
    ledger = of(app).ledger
    with ledger.writing() as connection:
        notices.apply(connection, Changes(begun, [], [], [], []), NOON, ["webhook", "mail"])
        for channel, sent in (("webhook", True), ("mail", False)):
            outgoing = notices.claim(connection, channel, "me", 60)
            assert outgoing is not None
            answer = "hooks.example took it (204)" if sent else "mail.example refused user and password (535)"
            notices.settle(connection, channel, outgoing, sent=sent, answer=answer, again_in_s=None)
    return app


def test_the_api_says_who_was_told_and_who_was_not_and_why(told: Flask, admin: Visitor) -> None:
    answer = admin.get("/api/v1/notices?limit=2")
    assert answer.status_code == 200
    suppressed, failed = answer.json["data"]
    assert (suppressed["event"], suppressed["state"], suppressed["reason"]) == ("slow", "suppressed", OVER_RATE)
    assert (failed["event"], failed["subject"], failed["run_id"]) == ("failed", "greet", "run-1")
    assert {each["channel"]: each["state"] for each in failed["deliveries"]} == {"webhook": "sent", "mail": "failed"}
    older = admin.get(f"/api/v1/notices?limit=1&before={answer.json['meta']['next']}")
    assert older.json["data"] == []
    assert admin.get("/api/v1/notices?limit=0").status_code == 400


def test_the_page_shows_them_and_whom_they_reach_without_secrets(make, told: Flask) -> None:
    page = as_user(told, "admin").get("/notices").text
    assert "mail.example refused user and password (535)" in page
    assert OVER_RATE in page
    assert "&lt;script&gt;" in page
    assert "Only the log is told" in page
    site = make(
        notify_webhook_url="https://hooks.example/T0/B0/key",
        smtp_url="smtp://user:hunter2@mail.example:587?starttls",
        notify_mail_from="jobs@shop.example",
        notify_mail_to="oncall@shop.example",
    )
    page = as_user(site, "admin").get("/notices").text
    assert "https://hooks.example" in page
    assert "oncall@shop.example by mail.example:587" in page
    assert "T0/B0" not in page
    assert "hunter2" not in page
    chinese = as_user(site, "admin").get("/notices", headers={"Accept-Language": "zh-CN"}).text
    assert "已计入汇总" in chinese


def test_tries_are_counted(told: Flask, admin: Visitor) -> None:
    key = ("whalefall_notices_total", "channel=webhook", "outcome=sent")
    before = scrape(admin).get(key, 0)
    counts.notice("webhook", "sent")
    assert scrape(admin)[key] == before + 1


def test_notices_of_years_do_not_stop_the_page(told: Flask, admin: Visitor) -> None:
    many = [Notice("recovered", "failing", "greet", NOON + timedelta(seconds=n), "Well.") for n in range(60)]
    with of(told).ledger.writing() as connection:
        notices.apply(connection, Changes([], [], [], [], many), NOON, [])
    first = admin.get("/notices")
    assert 'rel="next"' in first.text
    assert first.text.count('<tr id="n-') == 50
