"""What the code says of a job: checked when it is said, with file and line in every complaint."""

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from whalefall.scheduler.core.policies import POLICY_NAMES, Policies, PolicyError, policies_from
from whalefall.scheduler.core.triggers import (
    TriggerError,
    TriggerSpec,
    argument_names,
    build_trigger,
    spec_from_arguments,
    zone_named,
)
from whalefall.scheduler.errors import InvalidArguments, JobDeclarationError
from whalefall.scheduler.functions import Function, check_arguments, reference, where

_ID = re.compile(r"[^\s/?#\\]{1,190}")  # fits a URL's path and an index of any database
# APScheduler's names for the same wishes.
_OTHER_NAMES = {"misfire_grace_time": "misfire_grace_s", "jitter": "jitter_s"}


@dataclass(frozen=True, slots=True)
class Declaration:
    """A job as declared in code. The time zone is None where the configuration decides."""

    job_id: str
    name: str
    description: str
    function: Function
    func_ref: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    trigger_kind: str
    trigger_arguments: dict[str, Any]
    timezone: str | None
    policies: Policies
    is_builtin: bool = False

    def spec(self, *, timezone: str, now: datetime) -> TriggerSpec:
        return spec_from_arguments(self.trigger_kind, self.trigger_arguments, timezone=timezone, now=now)


@dataclass(frozen=True, slots=True)
class Labels:
    """Who the job is, for people."""

    job_id: str | None = None
    name: str | None = None
    description: str | None = None
    is_builtin: bool = False


def declare(
    function: Function,
    trigger: str,
    labels: Labels,
    *,
    now: datetime,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    options: Mapping[str, Any],
) -> Declaration:
    """Checks everything that can be checked before the job is due. Raises JobDeclarationError."""
    func_ref = reference(function)
    job_id = labels.job_id or func_ref.partition(":")[2]
    place = f"{where(function)}: job {job_id!r}"
    if not _ID.fullmatch(job_id):
        raise JobDeclarationError(f"{place}: an id has 1 to 190 characters, none of them a space or one of / ? # \\.")
    remaining = {name: value for name, value in options.items() if name != "timezone"}
    trigger_arguments = {name: remaining.pop(name) for name in argument_names(trigger) if name in remaining}
    zone = options.get("timezone")
    timezone = None if zone is None else str(getattr(zone, "key", zone))
    try:
        zone_named(timezone or "UTC")
        spec = spec_from_arguments(trigger, trigger_arguments, timezone=timezone or "UTC", now=now)
        policies = policies_from(_policy_options(trigger, remaining))
        build_trigger(spec, timezone=timezone or "UTC", anchor=now, dst=policies.dst)
        check_arguments(function, args, kwargs or {})
    except (TriggerError, PolicyError, InvalidArguments) as error:
        raise JobDeclarationError(f"{place}: {error}") from None
    return Declaration(
        job_id=job_id,
        name=labels.name or job_id,
        description=labels.description or _first_line(function),
        function=function,
        func_ref=func_ref,
        args=tuple(json.loads(json.dumps(args))),  # as they will come back from the ledger
        kwargs=json.loads(json.dumps(dict(kwargs or {}))),
        trigger_kind=trigger,
        trigger_arguments=trigger_arguments,
        timezone=timezone,
        policies=policies,
        is_builtin=labels.is_builtin or func_ref.startswith("whalefall."),
    )


def _policy_options(trigger: str, options: Mapping[str, Any]) -> dict[str, Any]:
    policies: dict[str, Any] = {}
    for name, value in options.items():
        if name == "coalesce":
            policies.setdefault("catch_up", "last" if value else "all")
            continue
        target = _OTHER_NAMES.get(name, name)
        if target not in POLICY_NAMES:
            near = difflib.get_close_matches(name, [*argument_names(trigger), *POLICY_NAMES], 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise PolicyError(f"{name!r} is neither an argument of the trigger {trigger!r} nor a policy.{hint}")
        if value is not None or target in ("misfire_grace_s", "timeout_s", "memory_mb"):
            policies[target] = value
    return policies


def _first_line(function: Function) -> str:
    return (function.__doc__ or "").strip().partition("\n")[0]
