"""WHAT TO RUN: pure data, standard library only; the language between planner and supervisor.

Nothing here reads the world or acts on it. A Plan is complete: whoever holds one needs no Procfile, no `.env`, no
environment and no settings to run it.
"""

from whalefall.plan.codec import plan_from_json, plan_to_json
from whalefall.plan.model import (
    Command,
    Dependency,
    Instance,
    Listener,
    MemoryLimit,
    Plan,
    Probe,
    RestartPolicy,
    StopPolicy,
)

__all__ = [
    "Command",
    "Dependency",
    "Instance",
    "Listener",
    "MemoryLimit",
    "Plan",
    "Probe",
    "RestartPolicy",
    "StopPolicy",
    "plan_from_json",
    "plan_to_json",
]
