"""Records behave as the dataclasses that type checkers take them for."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whalefall.plan import records


@records.frozen
class Point:
    x: int
    y: int = 2
    marks: tuple[str, ...] = records.field(factory=tuple)

    @property
    def far(self) -> bool:
        return self.x > 1


@dataclasses.dataclass(frozen=True)
class Model:
    """The same by dataclasses."""

    x: int
    y: int = 2
    marks: tuple[str, ...] = dataclasses.field(default_factory=tuple)


@records.mutable
class Basket:
    owner: str
    apples: list[int] = records.field(factory=list)


def made(make: Callable[..., Any], *values: Any, **named: Any) -> str:
    """What came of it, in words that both kinds share."""
    try:
        return repr(make(*values, **named)).partition("(")[2]
    except TypeError:
        return "refused"


@given(
    st.lists(st.integers(0, 3), max_size=4),
    st.dictionaries(st.sampled_from(["x", "y", "marks", "z"]), st.integers(0, 3), max_size=4),
)
def test_it_takes_what_a_dataclass_takes_and_refuses_what_it_refuses(values: list[int], named: dict[str, int]) -> None:
    assert made(Point, *values, **named) == made(Model, *values, **named)


def test_frozen_ones_are_equal_by_value_and_can_be_keys() -> None:
    assert Point(1) == Point(x=1, y=2) != Point(1, 3)
    assert Point(1) != Model(1)
    assert {Point(1): "a"}[Point(1)] == "a"
    assert Point(2).far


@pytest.mark.parametrize("change", [lambda p: setattr(p, "x", 5), lambda p: delattr(p, "x")])
def test_frozen_ones_do_not_change(change: Callable[[Point], None]) -> None:
    point = Point(1)
    with pytest.raises(AttributeError, match="Point is frozen: 'x' cannot be changed"):
        change(point)
    assert point == Point(1)
    assert records.replace(point, x=5) == Point(5)


def test_mutable_ones_are_themselves_and_share_nothing() -> None:
    one, other = Basket("a"), Basket("a")
    one.apples.append(1)
    one.owner = "b"
    assert (one.apples, other.apples, one.owner) == ([1], [], "b")
    assert one not in [other, Basket("b", [1])]


def test_a_missing_one_is_named() -> None:
    with pytest.raises(TypeError, match="Basket needs 'owner'"):
        Basket()  # type: ignore[call-arg]


def test_patterns_take_fields_by_name() -> None:
    match Point(4, 5):
        case Point(x=4, y=y):
            assert y == 5
        case _:
            pytest.fail("no match")
