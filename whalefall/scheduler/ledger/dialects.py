"""Where SQLite and PostgreSQL differ: how an instant is stored, whose clock it is, how a row is locked.

Every comparison of times happens in the database, with the database's own clock; the clocks of the hosts decide
nothing but how long somebody sleeps.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    DateTime,
    Dialect,
    Double,
    Select,
    Table,
    TableValuedAlias,
    Text,
    TypeDecorator,
    bindparam,
    cast,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

Insert = postgresql.Insert | sqlite.Insert


class Words(TypeDecorator[str]):
    """Text that both databases can store, whatever a job printed or raised.

    PostgreSQL's text has no NUL, and no encoder takes the lone surrogates that os.listdir(3) gives for file names that
    are not UTF-8. One such character must not keep the end of a run, and of all in its batch, from being recorded.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else value.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime: timestamptz in PostgreSQL, fixed-width text in SQLite, so that order is order in time."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        assert value.tzinfo is not None, "the ledger stores aware times only"  # noqa: S101 - a naive time here is a bug of ours
        instant = value.astimezone(UTC)
        return instant.replace(tzinfo=None) if dialect.name == "sqlite" else instant

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class clock(FunctionElement[datetime]):  # noqa: N801 - reads as the SQL function that it is
    """The database's clock now, not at the start of the transaction."""

    type = Instant()
    inherit_cache = True


class clock_after(FunctionElement[datetime]):  # noqa: N801 - reads as the SQL function that it is
    """The database's clock plus so many seconds (one argument)."""

    type = Instant()
    inherit_cache = True

    def __init__(self, seconds: float | ColumnElement[Any]) -> None:
        super().__init__(cast(seconds, Double))


@compiles(clock, "postgresql")
def _clock_postgresql(element: clock, compiler: SQLCompiler, **options: Any) -> str:
    return "clock_timestamp()"


@compiles(clock, "sqlite")
def _clock_sqlite(element: clock, compiler: SQLCompiler, **options: Any) -> str:
    # %f has milliseconds; the zeros make it as wide as what SQLAlchemy stores.
    return "strftime('%Y-%m-%d %H:%M:%f000', 'now')"


@compiles(clock_after, "postgresql")
def _clock_after_postgresql(element: clock_after, compiler: SQLCompiler, **options: Any) -> str:
    return f"clock_timestamp() + make_interval(secs => {compiler.process(element.clauses, **options)})"


@compiles(clock_after, "sqlite")
def _clock_after_sqlite(element: clock_after, compiler: SQLCompiler, **options: Any) -> str:
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', ({compiler.process(element.clauses, **options)}) || ' seconds')"


class in_index_order(FunctionElement[str]):  # noqa: N801 - reads as the SQL function that it is
    """Selected, it holds for the rest of the transaction: ORDER BY with LIMIT walks an index instead of sorting all.

    PostgreSQL plans by what its last ANALYZE has seen. When ten thousand runs wait where usually none does, or ten
    thousand jobs are due, it would look at all of them, each time, to take the first few.
    """

    type = Text()
    inherit_cache = True


@compiles(in_index_order, "postgresql")
def _in_index_order_postgresql(element: in_index_order, compiler: SQLCompiler, **options: Any) -> str:
    return "set_config('enable_sort', 'off', true)"


@compiles(in_index_order, "sqlite")
def _in_index_order_sqlite(element: in_index_order, compiler: SQLCompiler, **options: Any) -> str:
    return "'off'"


class _strings(FunctionElement[str]):  # noqa: N801 - a function of SQL
    """The rows of a JSON list."""

    inherit_cache = True


@compiles(_strings, "postgresql")
def _strings_postgresql(element: _strings, compiler: SQLCompiler, **options: Any) -> str:
    words = compiler.process(element.clauses, **options)
    return f"(SELECT json_array_elements_text(CAST({words} AS json)))"


@compiles(_strings, "sqlite")
def _strings_sqlite(element: _strings, compiler: SQLCompiler, **options: Any) -> str:
    words = compiler.process(element.clauses, **options)
    return f"(SELECT value FROM json_each({words}))"  # noqa: S608 - the name of a parameter


def among(column: Column[Any], parameter: str) -> ColumnElement[bool]:
    """Is the column one of the strings of the list in this parameter, made by `as_list`?

    A list of any length is one parameter and always the same text of SQL: five hundred parameters take longer to write
    down than to look up, and both databases limit their number.
    """
    return column.bool_op("IN")(_strings(bindparam(parameter, type_=Text)))


def as_list(strings: Iterable[str]) -> str:
    """What `among` reads."""
    return json.dumps(list(strings))


class _pairs(FunctionElement[str]):  # noqa: N801 - a function of SQL
    """The rows of a JSON object."""

    inherit_cache = True


@compiles(_pairs, "postgresql")
def _pairs_postgresql(element: _pairs, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_each_text(CAST({compiler.process(element.clauses, **options)} AS json))"


@compiles(_pairs, "sqlite")
def _pairs_sqlite(element: _pairs, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **options)})"


def pairs(parameter: str) -> TableValuedAlias:
    """The object in this parameter, made by `as_object`, as a table with the columns `key` and `value`."""
    return _pairs(bindparam(parameter, type_=Text)).table_valued("key", "value", name=parameter)


def as_object(values: Mapping[str, float | None]) -> str:
    """What `pairs` reads, in order of the keys: who changes the same rows in the same order waits, and no more."""
    return json.dumps(values, sort_keys=True)


def insert(connection: Connection, table: Table) -> Any:
    """INSERT that knows ON CONFLICT; both dialects have the same methods, but no common type."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


def locked(query: Select[Any]) -> Select[Any]:
    """Holds the rows until the transaction ends. SQLite leaves it out: a writer there holds everything."""
    return query.with_for_update()


def chunks(items: Sequence[Any], size: int = 500) -> list[Sequence[Any]]:
    """Both databases limit the parameters of one statement."""
    return [items[start : start + size] for start in range(0, len(items), size)]
