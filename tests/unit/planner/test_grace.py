"""The periods of a stop fit into its total along every chain."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whalefall.planner.grace import longest_s, split

DEFAULT = {"nginx": ["web", "scheduler"], "web": [], "scheduler": []}


def test_nginx_gets_a_third_and_the_others_side_by_side_the_rest() -> None:
    assert split(9, DEFAULT, {"nginx": "nginx"}) == {"nginx": 3, "web": 6, "scheduler": 6}


def test_a_service_that_nobody_waits_for_has_all_of_it() -> None:
    assert split(9, {**DEFAULT, "worker": []}, {"nginx": "nginx"})["worker"] == 9


def test_the_longest_chain_is_told_in_the_order_of_the_stop() -> None:
    assert longest_s(DEFAULT, {"nginx": 3, "web": 6, "scheduler": 7}) == (10, ["nginx", "scheduler"])
    assert longest_s({}, {}) == (0, [])


@st.composite
def acyclic(draw: st.DrawFn) -> dict[str, list[str]]:
    count = draw(st.integers(1, 7))
    return {
        str(at): draw(st.lists(st.sampled_from([str(each) for each in range(at)]), unique=True) if at else st.just([]))
        for at in range(count)
    }


@given(acyclic(), st.integers(1, 3600), st.sets(st.integers(0, 6).map(str)))
def test_no_chain_takes_longer_than_the_total(after: dict[str, list[str]], total: int, light: set[str]) -> None:
    shares = split(total, after, dict.fromkeys(light, "nginx"))
    longest, _ = longest_s(after, shares)
    assert longest == pytest.approx(total, abs=0.05)
    assert min(shares.values()) > 0
