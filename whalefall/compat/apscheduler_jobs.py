"""Brings an existing `apscheduler_jobs` table into the ledger.

APScheduler stores pickles. Unpickling runs code, so only what a job consists of may be made: APScheduler's triggers,
dates, zones and plain values. Whatever else a pickle asks for, its job is refused by name, and the others go on.
"""

import io
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from whalefall.compat.flask_apscheduler.utils import our_trigger
from whalefall.errors import WhalefallError
from whalefall.scheduler.core.triggers import TriggerError
from whalefall.scheduler.declaration import Labels, declare
from whalefall.scheduler.errors import JobConflict
from whalefall.scheduler.functions import load
from whalefall.scheduler.ledger.foreign import APSCHEDULER_TABLE, apscheduler_rows
from whalefall.scheduler.ledger.records import JobRecord
from whalefall.scheduler.state import SchedulerState

_HARMLESS_MODULES = ("apscheduler.triggers.", "zoneinfo", "pytz", "dateutil.tz")
_HARMLESS = frozenset(
    {
        ("pytz", "_UTC"),
        ("pytz", "_p"),
        ("datetime", "datetime"),
        ("datetime", "date"),
        ("datetime", "time"),
        ("datetime", "timedelta"),
        ("datetime", "timezone"),
        ("builtins", "set"),
        ("builtins", "frozenset"),
        ("builtins", "list"),
        ("builtins", "dict"),
        ("builtins", "tuple"),
        ("copyreg", "_reconstructor"),
        ("builtins", "object"),
    }
)


@dataclass(frozen=True, slots=True)
class Imported:
    """One job of the old table, and what became of it: empty for a job that is in the ledger now."""

    job_id: str
    refused: str = ""


class _HarmlessUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _HARMLESS:
            return super().find_class(module, name)
        if module.startswith(_HARMLESS_MODULES) and "." not in name:
            found = super().find_class(module, name)
            # Only what is defined there: such modules import others, and those have functions of every kind.
            if isinstance(found, type) and found.__module__.startswith(_HARMLESS_MODULES):
                return found
        if (module, name) == ("builtins", "getattr"):
            return _zone_maker
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no job needs")


def _zone_maker(owner: object, name: str) -> Any:
    """`zoneinfo` pickles itself as getattr(ZoneInfo, "_unpickle"): this getattr knows nothing else."""
    if owner is ZoneInfo and name == "_unpickle":
        return ZoneInfo._unpickle  # type: ignore[attr-defined]  # noqa: SLF001 - what the pickle calls
    raise pickle.UnpicklingError(f"it asks for {name} of {owner!r}, which no job needs")


def import_jobs(
    state: SchedulerState, url: str, *, table: str = APSCHEDULER_TABLE, actor: str, dry_run: bool
) -> Iterator[Imported]:
    """Adds every job that can be read and called. With `dry_run` nothing is written."""
    for job_id, pickled in apscheduler_rows(url, table):
        try:
            record = _record(state, job_id, pickled, actor)
            if not dry_run:
                state.ledger.add_job(record, actor, replace_existing=False)
        except (JobConflict, WhalefallError, TriggerError) as error:
            yield Imported(job_id, str(error))
        except (
            pickle.UnpicklingError,
            EOFError,
            AttributeError,
            ImportError,
            KeyError,
            TypeError,
            LookupError,
        ) as error:
            yield Imported(job_id, f"its stored state cannot be read: {error}")
        else:
            yield Imported(job_id)


def _record(state: SchedulerState, job_id: str, pickled: bytes, actor: str) -> JobRecord:
    stored = _HarmlessUnpickler(io.BytesIO(pickled)).load()
    kind, arguments = our_trigger(stored["trigger"], {})
    if kind == "interval":
        arguments["start_date"] = stored["trigger"].start_date  # it goes on in step, however young it is
    timezone = str(arguments.pop("timezone", None) or state.timezone)
    declaration = declare(
        load(stored["func"]),
        kind,
        Labels(job_id, stored.get("name") or job_id),
        now=datetime.now(UTC),
        args=tuple(stored.get("args") or ()),
        kwargs=stored.get("kwargs") or {},
        options={
            **arguments,
            "timezone": timezone,
            "misfire_grace_time": stored.get("misfire_grace_time"),
            "coalesce": stored.get("coalesce", True),
            "max_instances": stored.get("max_instances", 1),
        },
    )
    now = state.ledger.now()
    record = JobRecord.of(declaration, timezone=timezone, now=now, origin="added")
    if stored.get("next_run_time") is not None:
        return record
    return replace(record, paused_at=now, paused_by=actor, pause_reason="it was paused in APScheduler")
