"""Draws docs/reference/states.md from the code: `python -m tests.architecture.states_page`; a test compares."""

from collections.abc import Iterator

from tests.support.supervised import ROOT
from whalefall.supervisor.core.handover import State
from whalefall.supervisor.core.lifecycle import TRANSITIONS, Ending, Phase

PAGE = ROOT / "docs" / "reference" / "states.md"

STATES = {
    State.WAITING: "what it comes `after` is not as far as it must be",
    State.STARTING: "it runs, and has not answered its readiness probe yet",
    State.READY: "it serves; a liveness probe, where there is one, goes on asking",
    State.STOPPING: "it was asked to stop, or has died, and something of its tree is still there",
    State.BACKOFF: "it has crashed; the moment of its next start is known (`retry_in_s`)",
    State.STOPPED: "somebody asked for that",
    State.FINISHED: "a run-once process (`release`) has ended well",
    State.FAILED: "it has crashed too often and was given up; `on_give_up` says what follows",
}

PHASES = {
    Phase.STARTING: "spawned, not ready",
    Phase.READY: "ready",
    Phase.STOPPING: "the leader was asked to stop; its grace period runs",
    Phase.DRAINING: 'the leader died by itself; its children finish what they have (`orphans = "drain"`)',
    Phase.CLEARING: "the whole tree was killed; waiting until every process of it is reaped",
    Phase.GONE: "nothing of it is left; only now may the next life of a `kill` service begin",
}


_TEMPLATE = """\
# States

<!-- Written by `python -m tests.architecture.states_page`; a test compares. Change the code. -->

What `whalefall status`, the pages and `/api/v1/processes` show of an instance:

| state | means |
|---|---|
{states}

## A life

An instance lives many lives, one after the other: its generations, `web.1#1`, `web.1#2`, … Each goes through these
phases, on these edges only (checked at every change). While one is being replaced, the next is `starting` or `ready`
beside it.

```mermaid
stateDiagram-v2
    [*] --> {first}
{arrows}
    {last} --> [*]
```

| phase | means | then |
|---|---|---|
{phases}

A life ends {endings}.
"""


def page() -> str:
    return _TEMPLATE.format(
        states="\n".join(f"| `{state.value}` | {STATES[state]} |" for state in State),
        first=next(iter(TRANSITIONS)).value,
        arrows="\n".join(_arrows()),
        last=Phase.GONE.value,
        phases="\n".join(f"| `{phase.value}` | {PHASES[phase]} | {_followers(phase)} |" for phase in TRANSITIONS),
        endings=_endings(),
    )


def _arrows() -> Iterator[str]:
    for phase, followers in TRANSITIONS.items():
        for follower in _in_order(followers):
            yield f"    {phase.value} --> {follower.value}"


def _followers(phase: Phase) -> str:
    return ", ".join(f"`{each.value}`" for each in _in_order(TRANSITIONS[phase])) or "the end"


def _in_order(phases: frozenset[Phase]) -> list[Phase]:
    return [phase for phase in Phase if phase in phases]


def _endings() -> str:
    *first, last = (ending.value for ending in Ending)
    return f"{', '.join(first)} or {last}"


if __name__ == "__main__":
    PAGE.write_text(page())
