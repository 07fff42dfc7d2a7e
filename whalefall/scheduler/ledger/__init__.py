"""REMEMBERS: the only place with SQL. One database holds the jobs, every run, and who leads.

`ledger.Ledger` has the verbs; `schema` the tables; `migrations` how they came about; `dialects` where SQLite and
PostgreSQL differ. Whoever needs a fact about jobs or runs asks a verb; nobody else writes a query.
"""

from whalefall.scheduler.ledger.ledger import Ledger

__all__ = ["Ledger"]
