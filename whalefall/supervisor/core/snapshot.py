"""What `status` answers: the engine's state as plain data. Pure."""

from typing import Any

from whalefall.supervisor.core.engine import Engine
from whalefall.supervisor.core.handover import Slot, State


def snapshot(engine: Engine, now: float) -> list[dict[str, Any]]:
    """One row per instance, in the order of the Plan."""
    return [_row(slot, now) for slot in engine.slots.values()]


def _row(slot: Slot, now: float) -> dict[str, Any]:
    life = slot.current
    since = life.since if life else slot.since
    return {
        "name": slot.instance.name,
        "service": slot.instance.service,
        "state": slot.state.value,
        "pid": life.pid if life and life.leader_alive else None,
        "generation": life.generation if life else slot.generation,
        "uptime_s": round(now - life.born, 3) if life else None,
        "state_for_s": round(now - since, 3),
        "restarts": slot.restarts.total,
        "last_exit": slot.last_exit,
        "reason": _reason(slot),
        "retry_in_s": round(max(0.0, slot.deadline - now), 3) if life is None and slot.deadline is not None else None,
        "replacing": slot.incoming is not None,
        "draining": len(slot.retired),
        "wanted": slot.wanted,  # false: when it ends, nothing follows
    }


def _reason(slot: Slot) -> str:
    if slot.state is State.WAITING:
        return "waits for " + ", ".join(f"{d.service} to be {d.until}" for d in slot.instance.after)
    if slot.state is State.STARTING and slot.current is not None and slot.current.probe_said:
        return f"last probe: {slot.current.probe_said}"
    return slot.reason
