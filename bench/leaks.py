"""UNPLEASANT ENDS: what is left of a child that ignores SIGTERM, of one that hides, and of all when we are killed."""

import time
from collections.abc import Callable

from bench.measures import SETTLE_S
from bench.peers import Child, Peer
from bench.stage import Stage, running, stage

LIMIT_S = 12.0  # more than anybody's grace period by default, circus' 30 s apart
_LOOK_EVERY_S = 0.01

# A grandchild in a session of its own, which outlives its parent.
_HIDDEN = "setsid /bin/sh -c 'echo hidden $$ > {0}/hello; exec sleep 1000000' & "


def deaf(peer: Peer) -> str:
    """A child that ignores SIGTERM, and the wish to stop."""
    script = "trap '' TERM; echo deaf $$ > {0}/hello; while :; do sleep 1000000 & wait; done"
    return _after(peer, script, ["deaf"], _ask)


def hidden(peer: Peer) -> str:
    """A grandchild that has left the session, and the wish to stop."""
    return _after(peer, _HIDDEN + "echo open $$ > {0}/hello; exec sleep 1000000", ["open", "hidden"], _ask)


def killed(peer: Peer) -> str:
    """SIGKILL of the supervisor itself: what becomes of child and hidden grandchild."""
    return _after(peer, _HIDDEN + "echo open $$ > {0}/hello; exec sleep 1000000", ["open", "hidden"], _kill)


def _after(peer: Peer, script: str, names: list[str], end: Callable[[Stage], None]) -> str:
    """`gone in 1.2 s`, or what is left when the time is up."""
    with stage() as place:
        place.start(peer, [Child("c0", script.format(place.directory))])
        place.until_all(names)
        time.sleep(SETTLE_S)  # it shall know what it has started
        since = time.monotonic()
        end(place)
        while time.monotonic() < since + LIMIT_S:
            if not any(running(place.heard[name][0]) for name in names):
                return f"gone in {time.monotonic() - since:.2f} s"
            time.sleep(_LOOK_EVERY_S)
        left = [name for name in names if running(place.heard[name][0])]
        return "left: " + ", ".join("the grandchild" if name == "hidden" else "the child" for name in left)


def _ask(place: Stage) -> None:
    assert place.process is not None
    assert place.peer is not None
    place.process.send_signal(place.peer.stop_signal)


def _kill(place: Stage) -> None:
    assert place.process is not None
    place.process.kill()
    place.process.wait(10)
