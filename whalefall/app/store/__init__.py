"""THE APP'S OWN TABLES, in the ledger's database: users, the setup link, API tokens, audit trail, login attempts,
host samples.

SQL stays in this folder; functions take an engine and answer with frozen values. The tables are made by the
ledger's migrations (numbers from 0100 on); `tables.py` is what they must arrive at, and a test holds the two together.
"""
