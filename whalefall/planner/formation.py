"""How many of each process type, and which PORT has each? foreman's rules, with the public port for the front.

    PORT = base + 100 x index of the type in the full Procfile + (number - 1)

foreman counts over the whole Procfile, so that a port does not depend on what else is started (honcho counts over what
is selected). The front, which the world talks to, always has the base port: it swaps its index with the first type.
"""

from collections.abc import Mapping, Sequence

from whalefall.errors import ConfigError, UsageError
from whalefall.planner.options import nearest

STEP = 100
COUNT_MAX = STEP  # more instances of a type would run into the next type's ports
PORT_MAX = 65_535


def counts(text: str, names: Sequence[str], usual: Mapping[str, int] | None = None) -> dict[str, int]:
    """`web=2,worker=0` as a number per process type; `all=N` sets those that are not named (foreman).

    `usual` is what holds where the text says nothing; else one.
    """
    asked: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = (word.strip() for word in part.partition("="))
        if name != "all" and name not in names:
            raise UsageError(f"-c {part}: the Procfile has no '{name}'. {nearest(name, names)}")
        if not (number.isascii() and number.isdigit()) or int(number) > COUNT_MAX:
            raise UsageError(
                f"-c {part}: {number!r} is no number of processes. Write {name}=N with N from 0 to {COUNT_MAX}."
            )
        if name in asked:
            raise UsageError(f"-c {text}: '{name}' stands in it twice. Remove one.")
        asked[name] = int(number)
    if "all" in asked:
        return {name: asked.get(name, asked["all"]) for name in names}
    return {name: asked.get(name, (usual or {}).get(name, 1)) for name in names}


def scaled(text: str, over: str) -> str:
    """The formation `text` with the numbers of `over` in the place of its own."""
    named = {part.partition("=")[0].strip() for part in over.split(",")}
    kept = [part for part in text.split(",") if part.strip() and part.partition("=")[0].strip() not in named]
    return ",".join([*kept, over]) if over else text


def base_ports(names: Sequence[str], base: int, front: str) -> dict[str, int]:
    """The port of each type's first instance. Raises ConfigError when the last one would lie beyond 65535."""
    order = list(names)
    if front in order:
        at = order.index(front)
        order[0], order[at] = order[at], order[0]
    ports = {name: base + STEP * index for index, name in enumerate(order)}
    last = max(ports.values(), default=base)
    if last > PORT_MAX:
        raise ConfigError(
            f"PORT={base} leaves no room: {len(order)} process types need the ports up to {last}. "
            f"Choose a base of {PORT_MAX - STEP * (len(order) - 1)} or less."
        )
    return ports
