"""The outbox of notifications: incidents that are open, notices that are to be sent, and who looks and sends.

Every comparison of times uses the database's clock. Claims are single UPDATEs with the old state in their WHERE, so
that of several workers and replicas one gets the row; a claim ends by itself when its process has died.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, and_, delete, func, or_, select, update

from whalefall.app.notify.incidents import HOUR, OVER_RATE, Changes, Incident, Key, Known, Notice
from whalefall.app.store.tables import deliveries, notices, watches
from whalefall.scheduler.ledger.dialects import chunks, clock, clock_after, insert
from whalefall.scheduler.ledger.engine import reading

PAGE_MAX = 200
KEPT = timedelta(days=90)
_WATCH = "jobs"
_OPEN_MAX = 2_000  # incidents that are looked at; more is one disaster, not so many
_UNTOLD_MAX = 500  # that one summary counts


# Who looks


def take_watch(connection: Connection, holder: str, ttl_s: float) -> datetime | None:
    """When anybody looked for the first time, if the watch is ours for `ttl_s` now; None: somebody else has it."""
    fresh = insert(connection, watches).values(
        name=_WATCH, holder=holder, expires_at=clock_after(ttl_s), first_look_at=clock()
    )
    mine = or_(
        watches.c.holder == holder, watches.c.expires_at < clock(), watches.c.expires_at > clock_after(3 * ttl_s)
    )
    query = fresh.on_conflict_do_update(
        index_elements=[watches.c.name],
        set_={"holder": fresh.excluded.holder, "expires_at": fresh.excluded.expires_at},
        where=mine,
    ).returning(watches.c.first_look_at)
    found: datetime | None = connection.execute(query).scalar()
    return found


def is_watched_by_another(connection: Connection, holder: str) -> bool:
    """A look that writes nothing, so that those who stand by do not queue for the row."""
    query = select(watches.c.name).where(
        watches.c.name == _WATCH, watches.c.holder != holder, watches.c.expires_at > clock()
    )
    return connection.execute(query).first() is not None


def holds_watch(connection: Connection, holder: str) -> bool:
    """Still ours, and nobody's else before this transaction ends?"""
    query = select(watches.c.name).where(
        watches.c.name == _WATCH, watches.c.holder == holder, watches.c.expires_at > clock()
    )
    return connection.execute(query.with_for_update()).first() is not None


def leave_watch(connection: Connection, holder: str) -> None:
    """The next one may look at once."""
    mine = (watches.c.name == _WATCH) & (watches.c.holder == holder)
    connection.execute(update(watches).where(mine).values(expires_at=clock_after(-1)))


# What is known and what changes


def open_incidents(connection: Connection) -> list[Incident]:
    """Oldest first."""
    columns = [notices.c[name] for name in Incident.__slots__]
    query = select(*columns).where(notices.c.ended_at.is_(None)).order_by(notices.c.id).limit(_OPEN_MAX)
    return [Incident(*row) for row in connection.execute(query)]


def known(connection: Connection, now: datetime, first_look_at: datetime, ended_since: datetime) -> Known:
    """What the outbox says; what the ledger says is added by whoever looks."""
    untold = _untold(connection, now)
    summary_at = connection.execute(select(func.max(notices.c.told_at)).where(notices.c.event == "summary")).scalar()
    return Known(
        now=now,
        first_look_at=first_look_at,
        open=open_incidents(connection),
        told=_told(connection, now - HOUR),
        last_end=_last_ends(connection, ended_since),
        told_last_hour=_told_since(connection, now - HOUR),
        untold=[notice for notice, _ in untold],
        untold_since=untold[0][1] if untold else None,
        last_summary_at=summary_at,
        good_runs={},
    )


def _told(connection: Connection, since: datetime) -> dict[Key, int]:
    query = (
        select(notices.c.kind, notices.c.subject, func.count())
        .where(notices.c.told_at > since, notices.c.event.not_in(("recovered", "summary")))
        .group_by(notices.c.kind, notices.c.subject)
    )
    return {(kind, subject): count for kind, subject, count in connection.execute(query)}


def _last_ends(connection: Connection, since: datetime) -> dict[Key, datetime]:
    query = (
        select(notices.c.kind, notices.c.subject, func.max(notices.c.ended_at))
        .where(notices.c.seen_at > since, notices.c.ended_at.is_not(None), notices.c.event != "recovered")
        .group_by(notices.c.kind, notices.c.subject)
    )
    return {(kind, subject): ended_at for kind, subject, ended_at in connection.execute(query)}


def _told_since(connection: Connection, since: datetime) -> int:
    query = select(func.count()).select_from(notices)
    return int(connection.execute(query.where(notices.c.told_at > since, notices.c.event != "summary")).scalar_one())


def _untold(connection: Connection, now: datetime) -> list[tuple[Notice, datetime]]:
    """What the rate has held back since the last summary, oldest first."""
    last = select(func.max(notices.c.id)).where(notices.c.event == "summary").scalar_subquery()
    query = (
        select(notices)
        .where(notices.c.reason == OVER_RATE, notices.c.seen_at > now - 2 * HOUR, notices.c.id > func.coalesce(last, 0))
        .order_by(notices.c.id)
        .limit(_UNTOLD_MAX)
    )
    return [
        (Notice(row.event, row.kind, row.subject, row.since, row.text, row.run_id), row.seen_at)
        for row in connection.execute(query)
    ]


def apply(connection: Connection, changes: Changes, now: datetime, channels: Sequence[str]) -> list[Notice]:
    """Writes a look down. Answers what is to be told because of it."""
    told = [_begin(connection, notice, now, channels) for notice in changes.begun]
    for incident, state, reason in changes.promoted:
        values = {"state": state, "reason": reason, "told_at": now if state == "told" else None}
        connection.execute(update(notices).where(notices.c.id == incident.id).values(values))
        if state == "told":
            _deliver(connection, incident.id, channels)
            told.append(_as_notice(connection, incident.id))
    for part in chunks([incident.id for incident in changes.dropped]):
        connection.execute(delete(notices).where(notices.c.id.in_(part)))
    for part in chunks([incident.id for incident in changes.ended]):
        connection.execute(update(notices).where(notices.c.id.in_(part)).values(ended_at=now))
    last = [*changes.recovered, *([changes.summary] if changes.summary else [])]
    told += [_begin(connection, notice, now, channels) for notice in last]
    return [notice for notice in told if notice is not None]


def _begin(connection: Connection, notice: Notice, now: datetime, channels: Sequence[str]) -> Notice | None:
    """The notice, if it is to be told. What is on record already stays as it is: it was told, or held back."""
    is_told = notice.state == "told"
    is_moment = notice.event in ("recovered", "summary")
    row = {name: getattr(notice, name) for name in Notice.__slots__}
    row |= {"seen_at": now, "told_at": now if is_told else None, "ended_at": now if is_moment else None}
    query = insert(connection, notices).values(row).on_conflict_do_nothing().returning(notices.c.id)
    notice_id = connection.execute(query).scalar()
    if notice_id is None or not is_told:
        return None
    _deliver(connection, notice_id, channels)
    return notice


def _deliver(connection: Connection, notice_id: int, channels: Sequence[str]) -> None:
    for channel in channels:
        row = {"notice_id": notice_id, "channel": channel, "state": "waiting", "attempts": 0, "due_at": clock()}
        connection.execute(insert(connection, deliveries).values(row | {"claimed_by": "", "answer": ""}))


def _as_notice(connection: Connection, notice_id: int) -> Notice:
    row = connection.execute(select(notices).where(notices.c.id == notice_id)).one()
    return Notice(row.event, row.kind, row.subject, row.since, row.text, row.run_id)


def prune(connection: Connection, before: datetime) -> int:
    """Forgets what ended long ago."""
    old = select(notices.c.id).where(notices.c.seen_at < before, notices.c.ended_at.is_not(None))
    connection.execute(delete(deliveries).where(deliveries.c.notice_id.in_(old)))
    return connection.execute(delete(notices).where(notices.c.id.in_(old))).rowcount


# Sending


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A notice that is ours to send by one channel."""

    id: int
    event: str
    kind: str
    subject: str
    since: datetime
    text: str
    run_id: str
    told_at: datetime
    answers: int | None
    attempts: int  # this one included


def is_due(connection: Connection, channel: str) -> bool:
    """A look that writes nothing: on SQLite a claim that finds nothing would hold up all who write."""
    return connection.execute(select(deliveries.c.notice_id).where(_due(channel)).limit(1)).first() is not None


def _due(channel: str) -> ColumnElement[bool]:
    return and_(
        deliveries.c.channel == channel,
        deliveries.c.state.in_(("waiting", "sending")),
        deliveries.c.due_at <= clock(),
    )


def claim(connection: Connection, channel: str, holder: str, lease_s: float) -> Outgoing | None:
    """The delivery that has been due for longest, ours for `lease_s`. None: there is none, or another was quicker."""
    due = _due(channel)
    query = select(deliveries.c.notice_id, deliveries.c.attempts).where(due).order_by(deliveries.c.due_at).limit(1)
    row = connection.execute(query).first()
    if row is None:
        return None
    this = (deliveries.c.notice_id == row.notice_id) & (deliveries.c.attempts == row.attempts) & due
    mine = {"state": "sending", "attempts": row.attempts + 1, "claimed_by": holder, "due_at": clock_after(lease_s)}
    if connection.execute(update(deliveries).where(this).values(mine)).rowcount != 1:
        return None
    found = connection.execute(select(notices).where(notices.c.id == row.notice_id)).one()
    values = {name: getattr(found, name) for name in Outgoing.__slots__ if name != "attempts"}
    return Outgoing(**values, attempts=row.attempts + 1)


def settle(
    connection: Connection, channel: str, outgoing: Outgoing, *, sent: bool, answer: str, again_in_s: float | None
) -> None:
    """Sent; or again after a while; or given up (None). Only as long as the claim is still ours."""
    ours = and_(
        deliveries.c.notice_id == outgoing.id,
        deliveries.c.channel == channel,
        deliveries.c.state == "sending",
        deliveries.c.attempts == outgoing.attempts,
    )
    values: dict[str, Any] = {"answer": answer}
    if sent:
        values |= {"state": "sent", "sent_at": clock()}
    elif again_in_s is None:
        values |= {"state": "failed"}
    else:
        values |= {"state": "waiting", "due_at": clock_after(again_in_s)}
    connection.execute(update(deliveries).where(ours).values(values))


# Looking back


@dataclass(frozen=True, slots=True)
class Delivery:
    """How one channel fared with a notice."""

    channel: str
    state: str
    attempts: int
    sent_at: datetime | None
    answer: str


@dataclass(frozen=True, slots=True)
class Told:
    """A notice as the API and the pages show it."""

    id: int
    event: str
    kind: str
    subject: str
    since: datetime
    text: str
    run_id: str
    state: str
    reason: str
    seen_at: datetime
    told_at: datetime | None
    ended_at: datetime | None
    deliveries: tuple[Delivery, ...] = ()


def page(engine: Engine, *, before: int | None = None, limit: int = 50) -> list[Told]:
    """The newest notices first, older than the notice `before`."""
    query = select(notices).order_by(notices.c.id.desc()).limit(min(limit, PAGE_MAX))
    if before is not None:
        query = query.where(notices.c.id < before)
    with reading(engine) as connection:
        rows = connection.execute(query).all()
        sent = _deliveries_of(connection, [row.id for row in rows])
    return [_told_row(row, sent.get(row.id, ())) for row in rows]


def _deliveries_of(connection: Connection, ids: Sequence[int]) -> dict[int, tuple[Delivery, ...]]:
    found: dict[int, tuple[Delivery, ...]] = {}
    query = select(deliveries).where(deliveries.c.notice_id.in_(ids)).order_by(deliveries.c.channel.desc())
    for row in connection.execute(query):
        one = Delivery(row.channel, row.state, row.attempts, row.sent_at, row.answer)
        found[row.notice_id] = (*found.get(row.notice_id, ()), one)
    return found


def _told_row(row: Row[Any], sent: tuple[Delivery, ...]) -> Told:
    return Told(**{name: getattr(row, name) for name in Told.__slots__ if name != "deliveries"}, deliveries=sent)
