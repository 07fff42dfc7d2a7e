"""What a job wishes in every odd case, as one frozen value that travels as JSON."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args, get_origin

from whalefall.scheduler.core.zones import DstPolicy, Fold, Gap

CatchUp = Literal["skip", "last", "all"]
Overlap = Literal["skip", "queue", "allow"]
OnCrash = Literal["mark", "rerun"]
ExecutorName = Literal["thread", "process", "celery"]

ON_TIME_S = 60.0  # with catch_up="skip" and no grace of its own, later than this is too late


class PolicyError(ValueError):
    """A policy is unknown, ill-typed, or asks for what its executor cannot give."""


@dataclass(frozen=True, slots=True)
class Policies:
    """The defaults run each instant that can still be run once, never two runs of a job at a time."""

    catch_up: CatchUp = "last"
    misfire_grace_s: float | None = None  # older instants are skipped; None: no limit (60 s with catch_up="skip")
    catch_up_limit: int = 100  # newest missed instants that catch_up="all" still runs
    catch_up_per_minute: int | None = None  # rate of catch_up="all"; None: as fast as they go
    overlap: Overlap = "skip"
    max_instances: int = 1
    queue_limit: int = 100  # waiting runs of a job with overlap="queue"
    jitter_s: float = 0.0
    retries: int = 0
    retry_delay_s: float = 10.0  # before the first retry; doubles with each further one
    retry_delay_max_s: float = 3600.0
    timeout_s: float | None = None
    memory_mb: int | None = None
    executor: ExecutorName = "thread"
    on_crash: OnCrash = "mark"
    transactional: bool = False
    dst_gap: Gap = "run"
    dst_fold: Fold = "first"
    keep_runs: int = 1000
    keep_days: float = 90.0
    notify: bool = True  # are people told when it fails, is missed, and recovers?

    @property
    def dst(self) -> DstPolicy:
        return DstPolicy(self.dst_gap, self.dst_fold)

    @property
    def slots(self) -> int:
        """Runs of the job that may be alive at once; 0 means any number."""
        return 0 if self.overlap == "allow" else self.max_instances

    def to_json(self) -> dict[str, Any]:
        """Only what differs from the defaults, so that a row shows what was chosen."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        }


POLICY_NAMES = frozenset(field.name for field in dataclasses.fields(Policies))
_AT_LEAST = {
    "misfire_grace_s": 0,
    "catch_up_limit": 0,
    "catch_up_per_minute": 1,
    "max_instances": 1,
    "queue_limit": 1,
    "jitter_s": 0,
    "retries": 0,
    "retry_delay_s": 0,
    "retry_delay_max_s": 0,
    "timeout_s": 0.1,
    "memory_mb": 16,
    "keep_runs": 1,
    "keep_days": 0,
}


def policies_from(given: Mapping[str, Any]) -> Policies:
    """Checks names, types, ranges and combinations. Raises PolicyError."""
    for name, value in given.items():
        _check(name, value)
    policies = Policies(**given)
    if policies.executor == "thread":
        for name in ("timeout_s", "memory_mb"):
            if getattr(policies, name) is not None:
                raise PolicyError(f"{name} needs an executor that can be killed: add executor='process'.")
    if policies.memory_mb is not None and policies.executor == "celery":
        raise PolicyError("memory_mb needs executor='process': a Celery worker's memory is its own affair.")
    if policies.executor != "thread" and policies.transactional:
        raise PolicyError(
            "transactional=True needs executor='thread': the ledger's transaction cannot leave this process."
        )
    return policies


def stored_policies(given: Mapping[str, Any]) -> Policies:
    """Reads what another release may have written: unknown names are left out rather than refused."""
    return Policies(**{name: value for name, value in given.items() if name in POLICY_NAMES})


@lru_cache(4096)
def policies_of(text: str) -> Policies:
    """The same from the JSON text itself: few are different, and thousands are read at once."""
    return stored_policies(json.loads(text))


def _check(name: str, value: object) -> None:
    field = Policies.__dataclass_fields__.get(name)
    if field is None:
        raise PolicyError(f"{name!r} is not a policy; the policies are {', '.join(sorted(POLICY_NAMES))}.")
    choices = get_args(field.type) if get_origin(field.type) is Literal else ()
    if choices:
        if value not in choices:
            raise PolicyError(f"{name}={value!r}: write one of {', '.join(choices)}.")
        return
    if value is None and field.default is None:
        return
    expected: tuple[type, ...] = (bool,) if isinstance(field.default, bool) else (int, float)
    if not isinstance(value, expected) or isinstance(value, bool) != isinstance(field.default, bool):
        raise PolicyError(f"{name}={value!r}: write {'True or False' if expected == (bool,) else 'a number'}.")
    if name in _AT_LEAST and isinstance(value, (int, float)) and value < _AT_LEAST[name]:
        raise PolicyError(f"{name}={value!r}: write {_AT_LEAST[name]} or more.")
