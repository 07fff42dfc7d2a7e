"""Nothing heavy here: fixtures that only some suites need live beside them."""

import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# These machines are shared: how long a draw takes says nothing about a strategy.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


@pytest.fixture(autouse=True)
def the_present_has_come() -> Iterator[None]:
    """Ids of runs only grow in a process; a test that lived next year would leave its ids to all that follow it."""
    yield
    records = sys.modules.get("whalefall.scheduler.ledger.records")
    if records is not None:
        records._ticks = type(records._ticks)()
