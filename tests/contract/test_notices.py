"""The outbox of notices on both databases: told once whoever looks, sent once whoever sends, nothing lost."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import update

from tests.support.ledgers import bring_in, declared, end_lease, lead, opened, rewind
from tests.support.receivers import Hooks, answering, dripping, silent_port
from tests.support.waiting import wait_until
from whalefall.app.notify.crew import Crew, Duty, Pace
from whalefall.app.notify.incidents import OVER_RATE, Notice, Rules
from whalefall.app.notify.message import Site
from whalefall.app.notify.sending import Channel
from whalefall.app.notify.watch import Watch
from whalefall.app.notify.webhook import Webhook
from whalefall.app.store import notices
from whalefall.app.store.tables import deliveries, watches
from whalefall.app.store.tables import notices as notice_table
from whalefall.scheduler.core.runs import RunState
from whalefall.scheduler.ledger import Ledger
from whalefall.scheduler.ledger.records import Ending, Tenure

RULES = Rules(frozenset({"failed", "missed", "slow", "recovered"}), 20)
SITE = Site("shop", "https://shop.example")
QUICK = Pace(look_every_s=0.1, send_every_s=0.1, claim_s=5.0, again_after_s=(0.1, 0.1, 0.1))


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    with opened(database_url) as ledger:
        ledger.prepare()
        yield ledger


@pytest.fixture
def tenure(ledger: Ledger) -> Tenure:
    bring_in(ledger, declared("import"), declared("quiet", notify=False), declared("other"))
    return lead(ledger)


def run(ledger: Ledger, tenure: Tenure, job_id: str, state: RunState, error: str = "") -> str:
    """A run of the job, by hand, that ends so."""
    run_id = ledger.run_now(job_id, actor="a test", args=None, reason="", dedupe=None)
    [claimed] = ledger.claim(tenure, "thread", 10, 60)
    assert ledger.finish(tenure.holder, [Ending(run_id, claimed.run.attempt, state, error=error)])
    return run_id


def watch(ledger: Ledger, holder: str = "one", rules: Rules = RULES) -> Watch:
    return Watch(ledger, rules, ["webhook"], holder)


def looked(watch: Watch) -> list[str]:
    return [f"{notice.event} {notice.subject}" for notice in watch.look(ttl_s=30)]


def began(ledger: Ledger) -> None:
    """Somebody has looked once, and left: what happens from now on is news."""
    before = watch(ledger, "before")
    assert looked(before) == []
    before.leave()


def test_a_failure_and_its_recovery_are_told_once_each(ledger: Ledger, tenure: Tenure) -> None:
    one = watch(ledger)
    assert looked(one) == []
    run_id = run(ledger, tenure, "import", RunState.FAILED, "Traceback …\nValueError: no such file")
    [told] = one.look(ttl_s=30)
    assert (told.event, told.subject, told.run_id) == ("failed", "import", run_id)
    assert told.text == "Its run ended as failed: ValueError: no such file"
    assert looked(one) == []
    run(ledger, tenure, "import", RunState.FAILED)
    assert looked(one) == []
    run(ledger, tenure, "import", RunState.SUCCEEDED)
    assert looked(one) == ["recovered import"]
    assert looked(one) == []
    [end, begin] = notices.page(ledger.engine)
    assert (begin.event, end.event) == ("failed", "recovered")
    assert begin.ended_at is not None
    assert [each.state for each in end.deliveries] == ["waiting"]


def test_a_job_with_notify_false_is_never_told(ledger: Ledger, tenure: Tenure) -> None:
    one = watch(ledger)
    looked(one)
    run(ledger, tenure, "quiet", RunState.FAILED)
    run(ledger, tenure, "other", RunState.TIMED_OUT)
    assert looked(one) == ["failed other"]


def test_a_missed_instant_is_told_and_ends_with_a_good_run(ledger: Ledger, tenure: Tenure) -> None:
    bring_in(ledger, declared("import", catch_up="skip", misfire_grace_s=1), declared("other"))
    one = watch(ledger)
    looked(one)
    rewind(ledger, "import", timedelta(minutes=30, seconds=20))
    ledger.record_fires(tenure, ledger.now(), 100)
    [told] = one.look(ttl_s=30)
    assert (told.event, told.subject) == ("missed", "import")
    run(ledger, tenure, "import", RunState.SUCCEEDED)
    assert looked(one) == ["recovered import"]
    assert looked(one) == [], "the ledger still has the rows of what was missed"


def test_an_instant_in_whose_place_a_newer_one_ran_is_not_told(ledger: Ledger, tenure: Tenure) -> None:
    began(ledger)
    rewind(ledger, "import", timedelta(minutes=30))
    assert ledger.record_fires(tenure, ledger.now(), 100)
    assert looked(watch(ledger)) == []


def test_without_a_leader_it_is_told_when_it_lasts(ledger: Ledger, tenure: Tenure) -> None:
    one = watch(ledger)
    assert looked(one) == []
    end_lease(ledger)
    assert looked(one) == []
    age_pending(ledger)
    assert looked(one) == ["missed "]
    lead(ledger, "another")
    assert looked(one) == ["recovered "]


def age_pending(ledger: Ledger) -> None:
    """As if it had been seen a minute ago."""
    with ledger.writing() as connection:
        connection.execute(update(notice_table).values(seen_at=datetime.now(UTC) - timedelta(minutes=1)))


def test_many_who_look_at_once_tell_once(ledger: Ledger, tenure: Tenure) -> None:
    began(ledger)
    run(ledger, tenure, "import", RunState.FAILED)
    told: list[str] = []
    start = threading.Barrier(6)

    def look(number: int) -> None:
        mine = watch(ledger, f"looker-{number}")
        start.wait(30)
        for _ in range(5):
            told.extend(looked(mine))

    threads = [threading.Thread(target=look, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert told == ["failed import"]


def test_a_look_that_was_overtaken_writes_nothing(ledger: Ledger, tenure: Tenure) -> None:
    one, two = watch(ledger, "one"), watch(ledger, "two")
    looked(one)
    run(ledger, tenure, "import", RunState.FAILED)
    original = one._sightings

    def slow_sightings(now: datetime):
        found = original(now)
        with ledger.writing() as connection:
            connection.execute(update(watches).values(expires_at=now - timedelta(seconds=1)))
        assert looked(two) == ["failed import"]
        return found

    one._sightings = slow_sightings  # type: ignore[method-assign]
    assert looked(one) == []


def test_a_watch_whose_end_lies_far_in_the_future_was_left_by_a_clock_that_was_set_back(ledger: Ledger) -> None:
    ledger.prepare()
    looked(watch(ledger, "one"))
    with ledger.writing() as connection:
        connection.execute(update(watches).values(expires_at=datetime.now(UTC) + timedelta(days=1)))
        assert notices.take_watch(connection, "two", 30) is not None


def test_the_rate_holds_and_the_summary_tells_the_rest(ledger: Ledger) -> None:
    bring_in(ledger, *[declared(f"job-{number}") for number in range(8)])
    tenure = lead(ledger)
    one = watch(ledger, rules=replace(RULES, rate=3))
    looked(one)
    for number in range(8):
        run(ledger, tenure, f"job-{number}", RunState.FAILED)
    assert len(looked(one)) == 3
    age_pending(ledger)
    [summary] = one.look(ttl_s=30)
    assert summary.event == "summary"
    assert summary.text.startswith("5 more than NOTIFY_RATE lets through: 5 failed.")
    assert one.look(ttl_s=30) == []
    assert sum(each.reason == OVER_RATE for each in notices.page(ledger.engine)) == 5


def queue(ledger: Ledger, count: int = 1) -> None:
    """Notices that are due, without anybody who looked."""
    with ledger.writing() as connection:
        for number in range(count):
            notice = Notice("failed", "failing", f"job-{number}", datetime.now(UTC), "It failed.", f"run-{number}")
            assert notices._begin(connection, notice, datetime.now(UTC), ["webhook"])


def test_many_who_send_at_once_send_each_once(ledger: Ledger) -> None:
    queue(ledger, 20)
    sent: list[int] = []

    def send(number: int) -> None:
        misses = 0
        while misses < 5:
            with ledger.writing() as connection:
                found = notices.claim(connection, "webhook", f"sender-{number}", 60)
            if found is None:
                misses += 1
                continue
            sent.append(found.id)
            with ledger.writing() as connection:
                notices.settle(connection, "webhook", found, sent=True, answer="ok", again_in_s=None)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(sent) == len(set(sent)) == 20


def test_what_a_dead_process_was_sending_is_sent_by_another_with_the_same_id(ledger: Ledger) -> None:
    queue(ledger)
    with ledger.writing() as connection:
        first = notices.claim(connection, "webhook", "dead", 60)
        assert first is not None
        assert notices.claim(connection, "webhook", "alive", 60) is None
        connection.execute(update(deliveries).values(due_at=datetime.now(UTC) - timedelta(seconds=1)))
        again = notices.claim(connection, "webhook", "alive", 60)
        assert again is not None
        assert (again.id, again.since, again.attempts) == (first.id, first.since, 2)
        notices.settle(connection, "webhook", first, sent=False, answer="late", again_in_s=None)
        notices.settle(connection, "webhook", again, sent=True, answer="ok", again_in_s=None)
    [told] = notices.page(ledger.engine)
    assert [(each.state, each.answer) for each in told.deliveries] == [("sent", "ok")]


def crew(ledger: Ledger, *channels: Channel, holder: str = "one", outcomes: list | None = None) -> Crew:
    def observe(channel: str, outcome: str) -> None:
        (outcomes if outcomes is not None else []).append((channel, outcome))

    duty = Duty(ledger, channels, SITE, holder, observe, QUICK)
    return Crew(duty, Watch(ledger, RULES, [channel.name for channel in channels], holder))


@contextlib.contextmanager
def working(*crews: Crew) -> Iterator[None]:
    for each in crews:
        each.start()
    try:
        yield
    finally:
        for each in crews:
            each.stop(wait_s=10)


def delivered(ledger: Ledger) -> dict[str, str]:
    return {each.channel: each.state for told in notices.page(ledger.engine) for each in told.deliveries}


def test_two_crews_tell_a_receiver_once(ledger: Ledger, tenure: Tenure) -> None:
    began(ledger)
    with Hooks() as hooks:
        crews = [crew(ledger, Webhook(hooks.url, ()), holder=holder) for holder in ("one", "two", "three")]
        with working(*crews):
            run(ledger, tenure, "import", RunState.FAILED)
            wait_until(lambda: hooks.events("import") == ["failed"], "the failure arrives")
            run(ledger, tenure, "import", RunState.SUCCEEDED)
            wait_until(lambda: hooks.events("import") == ["failed", "recovered"], "the recovery arrives")
    first, last = hooks.documents()
    assert last["data"]["answers"] == first["data"]["id"] == hooks.got[0][0]["webhook-id"]
    assert first["data"]["url"].startswith("https://shop.example/runs/")


def test_a_receiver_that_refuses_is_tried_again_and_given_up_with_its_reason(ledger: Ledger) -> None:
    queue(ledger)
    outcomes: list[tuple[str, str]] = []
    with Hooks(answering(500)) as hooks, working(crew(ledger, Webhook(hooks.url, ()), outcomes=outcomes)):
        wait_until(lambda: delivered(ledger) == {"webhook": "failed"}, "it is given up")
    assert len(hooks.got) == 1 + len(QUICK.again_after_s)
    assert len({headers["webhook-id"] for headers, _ in hooks.got}) == 1
    assert outcomes == [*[("webhook", "retried")] * 3, ("webhook", "failed")]
    told = notices.page(ledger.engine)[-1]
    assert "answered 500: no" in told.deliveries[0].answer


class Named(Webhook):
    """A second channel: the outbox knows them by name."""

    name = "mail"


@pytest.mark.parametrize("how", ["hangs", "drips"])
def test_a_receiver_that_never_answers_holds_up_neither_the_other_channel_nor_the_looks(
    ledger: Ledger, tenure: Tenure, how: str
) -> None:
    began(ledger)
    done = threading.Event()
    with Hooks() as good, Hooks(dripping(done)) as bad, silent_port() as port:
        url = f"http://127.0.0.1:{port}/" if how == "hangs" else bad.url
        one = crew(ledger, Webhook(url, (), step_s=600, whole_s=600), Named(good.url, ()))
        one.start()
        try:
            for number in (1, 2):
                run(ledger, tenure, "import", RunState.FAILED)
                wait_until(partial(counted, good, "failed", number), "the other channel is told")
                run(ledger, tenure, "import", RunState.SUCCEEDED)
                wait_until(partial(counted, good, "recovered", number), "and of the recovery")
        finally:
            one.stop(wait_s=0)
            done.set()


def counted(hooks: Hooks, event: str, number: int) -> bool:
    return hooks.events("import").count(event) == number


def test_an_error_nobody_thought_of_ends_no_thread(ledger: Ledger) -> None:
    class Broken(Webhook):
        def send(self, message: object):
            raise ZeroDivisionError

    queue(ledger)
    one = crew(ledger, Broken("http://127.0.0.1:1/", ()))
    with working(one):
        wait_until(lambda: delivered(ledger) == {"webhook": "failed"}, "it is given up")
        assert all(thread.is_alive() for thread in one._threads)
    assert not any(thread.is_alive() for thread in one._threads)


def test_old_notices_are_forgotten_and_open_ones_kept(ledger: Ledger, tenure: Tenure) -> None:
    one = watch(ledger)
    looked(one)
    run(ledger, tenure, "import", RunState.FAILED)
    run(ledger, tenure, "other", RunState.FAILED)
    looked(one)
    run(ledger, tenure, "other", RunState.SUCCEEDED)
    looked(one)
    with ledger.writing() as connection:
        assert notices.prune(connection, ledger.now() + timedelta(days=1)) == 2
    assert [told.subject for told in notices.page(ledger.engine)] == ["import"]


def test_a_database_that_is_away_is_waited_for(tmp_path) -> None:
    """The crew starts before the database is there, and does its work when it is."""
    path = tmp_path / "no" / "such.db"
    with Hooks() as hooks, opened(f"sqlite:///{path}") as ledger:
        path.parent.rmdir()
        one = crew(ledger, Webhook(hooks.url, ()))
        one.start()
        one.stop(wait_s=0.3)
        assert not path.exists()
        with working(crew(ledger, Webhook(hooks.url, ()), holder="two")):
            path.parent.mkdir()
            wait_until(lambda: path.exists() and _has_watch(ledger), "the crew looks")


def _has_watch(ledger: Ledger) -> bool:
    with ledger.reading() as connection:
        return notices.is_watched_by_another(connection, "nobody")
