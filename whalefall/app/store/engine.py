"""The database of this application: the scheduler's, because the app's tables live beside the ledger's."""

from flask import current_app
from sqlalchemy import Engine

from whalefall import scheduler


def engine() -> Engine:
    """The engine of the current application."""
    return scheduler.of(current_app).engine
