"""The built-in application's own check of the ledger: it passes, and it fails with the list."""

from datetime import timedelta

import pytest
from flask import Flask

from tests.support.databases import *  # noqa: F403 - fixtures are found by their names
from tests.support.flaskapp import make_app
from tests.support.ledgers import age, bring_in, declared, lead
from whalefall import Scheduler
from whalefall.scheduler import builtin, of
from whalefall.scheduler.ledger.history import Wanted
from whalefall.scheduler.ledger.schema import run


@pytest.fixture
def app(sqlite_url: str) -> Flask:
    scheduler = Scheduler()
    builtin.register(scheduler)
    app = make_app(sqlite_url, scheduler)
    ledger = of(app).ledger
    bring_in(ledger, declared("tidy"))
    age(ledger, "tidy", timedelta(minutes=10))
    ledger.record_fires(lead(ledger), ledger.now(), 10)
    return app


def test_it_is_a_builtin_job(app: Flask) -> None:
    state = of(app)
    state.reconcile()
    view = state.admin.get_job("check_ledger")
    assert view.is_builtin
    assert view.description.startswith("Verifies that every instant of the last day is on record exactly once")


def test_a_sound_ledger_passes(app: Flask) -> None:
    with app.app_context():
        assert builtin.check_ledger() == "8 instants of 1 jobs, each on record once"


def test_a_missing_row_fails_it_with_the_list(app: Flask) -> None:
    ledger = of(app).ledger
    victim = ledger.page(Wanted())[5]
    with ledger.writing() as connection:
        connection.execute(run.delete().where(run.c.run_id == victim.run_id))
    with (
        app.app_context(),
        pytest.raises(RuntimeError, match=f"tidy {victim.scheduled_at:%Y-%m-%d %H:%M:%S} UTC: missing"),
    ):
        builtin.check_ledger()
