"""A shop in one file: orders come in by the web process, two jobs look after them in the scheduler process.

Both processes load this file; only the one with the role `scheduler` runs the jobs.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flask import Flask, abort, request
from flask.typing import ResponseReturnValue

from whalefall import Scheduler, current_run
from whalefall.app import install

UNPAID_AFTER = "-30 minutes"

app = Flask(__name__)
app.config["SECRET_KEY"] = os.environ.get("SECRET_KEY")  # whalefall gives every process the same one
scheduler = Scheduler(app)


@contextmanager
def database() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(Path(os.environ.get("DATA_DIR", ".")) / "shop.db")
    try:
        with connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS orders ("
                "id INTEGER PRIMARY KEY, item TEXT NOT NULL, cents INTEGER NOT NULL,"
                "state TEXT NOT NULL DEFAULT 'open', placed TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"
            )
            yield connection
    finally:
        connection.close()


@app.get("/")
def orders() -> ResponseReturnValue:
    with database() as db:
        rows = db.execute("SELECT id, item, cents, state FROM orders ORDER BY id DESC LIMIT 50").fetchall()
    return [{"id": id_, "item": item, "cents": cents, "state": state} for id_, item, cents, state in rows]


@app.post("/orders")
def place_order() -> ResponseReturnValue:
    item, cents = request.form.get("item", ""), request.form.get("cents", type=int)
    if not item or cents is None:
        abort(400, "an order needs item and cents")
    with database() as db:
        number = db.execute("INSERT INTO orders (item, cents) VALUES (?, ?)", (item, cents)).lastrowid
    return {"id": number}, 201


@scheduler.task("interval", id="close-unpaid", minutes=1)
def close_unpaid() -> str:
    """Closes the orders that nobody paid."""
    with database() as db:
        closed = db.execute(
            "UPDATE orders SET state = 'closed' WHERE state = 'open' AND placed < datetime('now', ?)", (UNPAID_AFTER,)
        ).rowcount
    return f"{closed} closed"


@scheduler.task("cron", id="turnover", hour=1, catch_up="all")
def turnover() -> dict[str, int]:
    """Adds up what each item brought in, once a night."""
    with database() as db:
        items = [row[0] for row in db.execute("SELECT DISTINCT item FROM orders ORDER BY item")]
        total = {}
        for done, item in enumerate(items, 1):
            total[item] = db.execute("SELECT sum(cents) FROM orders WHERE item = ?", (item,)).fetchone()[0]
            current_run.progress(done / len(items), item)
    return total


install(app)  # the API under /api/v1 and the pages /scheduler and /dashboard, beside the shop's own
