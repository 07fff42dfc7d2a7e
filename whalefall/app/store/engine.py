"""The database of this application: the scheduler's, because the app's tables live beside the ledger's."""

from contextlib import AbstractContextManager

from flask import current_app
from sqlalchemy import Connection, Engine

from whalefall import scheduler
from whalefall.scheduler.ledger.engine import reading


def engine() -> Engine:
    """The engine of the current application."""
    return scheduler.of(current_app).engine


def looking() -> AbstractContextManager[Connection]:
    """A transaction that only reads, for the ledger's overview."""
    return reading(engine())
