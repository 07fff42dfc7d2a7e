"""What is said of a notice: one headline, one text, one JSON document; the same whichever channel carries it."""

import json
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from whalefall.app.notify.incidents import SCHEDULER
from whalefall.app.store.notices import Outgoing

TEXT_MAX = 2_000  # characters; a receiver is told what happened, the page has the rest


@dataclass(frozen=True, slots=True)
class Site:
    """Who speaks, and where its pages are; '' when the application has none of ours."""

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class Message:
    """A notice, ready for any channel. `id` is the same at each try, so that a receiver knows what it has already."""

    id: str
    event: str
    kind: str
    job: str
    since: datetime
    told_at: datetime
    headline: str
    text: str
    url: str
    site: str
    run_id: str = ""
    answers: str = ""  # the id of the message that this one is the end of

    def document(self) -> bytes:
        """For programs, in the shape of Standard Webhooks (type, timestamp, data); `text` is for chat programs."""
        data = {
            "id": self.id,
            "event": self.event,
            "kind": self.kind,
            "job": self.job or None,
            "run_id": self.run_id or None,
            "since": _iso(self.since),
            "text": self.text,
            "url": self.url or None,
            "site": self.site,
            "answers": self.answers or None,
        }
        text = "\n".join(part for part in (f"{self.headline} on {self.site}", self.text, self.url) if part)
        whole = {"type": f"whalefall.{self.event}", "timestamp": _iso(self.told_at), "data": data, "text": text}
        return json.dumps(whole, ensure_ascii=True, separators=(",", ":")).encode()

    def letter(self) -> str:
        """For people."""
        facts = [
            ("job", self.job),
            ("since", f"{self.since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"),
            ("run", self.run_id),
            ("site", self.site),
            ("page", self.url),
            ("more", f"whalefall jobs history {shlex.quote(self.job)}" if self.job and not self.url else ""),
        ]
        lines = [f"{name + ':':<7}{value}" for name, value in facts if value]
        return "\n".join([self.text, "", *lines, ""])


def message_id(since: datetime, notice_id: int | str) -> str:
    """The same from every host. No dots in it: Standard Webhooks signs id.timestamp.body."""
    return f"whalefall-{int(since.timestamp() * 1_000_000):x}-{notice_id}"


def message_of(outgoing: Outgoing, site: Site) -> Message:
    """A row of the outbox in words. A recovery has its incident's `since`, thus knows the id of what it answers."""
    return Message(
        id=message_id(outgoing.since, outgoing.id),
        event=outgoing.event,
        kind=outgoing.kind,
        job=outgoing.subject,
        since=outgoing.since,
        told_at=outgoing.told_at,
        headline=headline(outgoing.event, outgoing.subject),
        text=outgoing.text[:TEXT_MAX],
        url=page_url(site.url, outgoing.event, outgoing.subject, outgoing.run_id),
        site=site.name,
        run_id=outgoing.run_id,
        answers=message_id(outgoing.since, outgoing.answers) if outgoing.answers else "",
    )


def test_message(site: Site, now: datetime) -> Message:
    """What `whalefall notify test` sends."""
    text = "This is a test: notices of failed, missed and recovered jobs arrive here."
    name = message_id(now, "test")
    return Message(
        name,
        "test",
        "test",
        SCHEDULER,
        now,
        now,
        "test: notices arrive",
        text,
        page_url(site.url, "test", "", ""),
        site.name,
    )


def headline(event: str, subject: str) -> str:
    """`failed: import_orders`: the beginning is what people filter by."""
    if event == "summary":
        return "summary: more notices than NOTIFY_RATE"
    return f"{event}: {one_line(subject) if subject != SCHEDULER else 'the scheduler'}"


def one_line(text: str) -> str:
    """Whatever is no printable character becomes a space: such text stands in headers."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def page_url(base: str, event: str, subject: str, run_id: str) -> str:
    """Where to look: the run, else the job, else the scheduler's page; '' without pages."""
    if not base:
        return ""
    if run_id and event != "recovered":
        return f"{base}/runs/{quote(run_id, safe='')}"
    return f"{base}/scheduler/jobs/{quote(subject, safe='')}" if subject else f"{base}/scheduler"


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
