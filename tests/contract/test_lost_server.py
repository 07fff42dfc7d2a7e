"""A server that ends a connection in the middle of a transaction."""

import pytest
from sqlalchemy import text

from tests.support.ledgers import bring_in, declared, opened
from tests.support.postgres import PostgresServer
from whalefall.scheduler.errors import LedgerUnavailable
from whalefall.scheduler.ledger import Ledger
from whalefall.scheduler.ledger.engine import writing
from whalefall.scheduler.ledger.news import gathering
from whalefall.scheduler.ledger.troubles import sentences


def test_a_connection_that_is_lost_in_a_transaction_is_a_sentence_also_where_somebody_listens(
    postgres: PostgresServer, postgres_url: str
) -> None:
    with opened(postgres_url) as ledger:
        bring_in(ledger, declared("tidy"))
        with pytest.raises(LedgerUnavailable, match="terminating connection"):
            _lose_a_connection(ledger, postgres)
        assert [record.job_id for record in ledger.jobs()] == ["tidy"]


def _lose_a_connection(ledger: Ledger, server: PostgresServer) -> None:
    with sentences(), writing(ledger.engine) as connection, gathering(connection):
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with server.connect("postgres") as other:
            other.execute("SELECT pg_terminate_backend(%s)", [pid])
        connection.execute(text("UPDATE wf_job SET name = name"))
