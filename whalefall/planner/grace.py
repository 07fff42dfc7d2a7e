"""How long may each service take to stop, so that the whole stop fits GRACE?

A service is asked only when all that comes after it is down, so the periods along a chain add up. Each gets its part of
the heaviest chain through it: the sum along any chain is then at most the total. Nginx weighs half, it only drains:
of 9 s it gets 3, web and scheduler, which stop side by side, get 6 each.
"""

from collections.abc import Callable, Mapping, Sequence

_LIGHT = frozenset({"nginx"})


def split(total_s: float, after: Mapping[str, Sequence[str]], roles: Mapping[str, str]) -> dict[str, float]:
    """Seconds per service. `after` names what each service waits for at the start; it has no circles."""
    weights = {name: 1.0 if roles.get(name) in _LIGHT else 2.0 for name in after}
    down = _heaviest(after, lambda name: weights[name])
    up = _heaviest(_reversed(after), lambda name: weights[name])
    return {name: round(total_s * weights[name] / (down[name] + up[name] - weights[name]), 2) for name in after}


def longest_s(after: Mapping[str, Sequence[str]], grace_s: Mapping[str, float]) -> tuple[float, list[str]]:
    """The chain that takes longest to stop, as (seconds, services in the order in which they stop)."""
    total = _heaviest(after, lambda name: grace_s[name])
    if not total:
        return 0.0, []
    name = max(total, key=lambda each: total[each])
    longest, chain = total[name], [name]
    while earlier := [each for each in after[name] if each in total]:
        name = max(earlier, key=lambda each: total[each])
        chain.append(name)
    return longest, chain


def _heaviest(edges: Mapping[str, Sequence[str]], weight: Callable[[str], float]) -> dict[str, float]:
    """The weight of the heaviest chain that starts at each name and follows `edges`."""
    found: dict[str, float] = {}

    def measure(name: str) -> float:
        if name not in found:
            found[name] = weight(name) + max((measure(each) for each in edges[name] if each in edges), default=0.0)
        return found[name]

    for name in edges:
        measure(name)
    return found


def _reversed(edges: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    return {name: [other for other in edges if name in edges[other]] for name in edges}
