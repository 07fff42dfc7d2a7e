"""Start order, and what a Plan may not contain."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whalefall.errors import PlanError
from whalefall.plan import Command, Dependency, Instance, Listener, Plan
from whalefall.plan.order import check, start_order


def _instance(service: str, *after: str, number: int = 1, listeners: tuple[str, ...] = ()) -> Instance:
    edges = tuple(Dependency(name) for name in after)
    return Instance(service, number, Command(("true",), "/"), after=edges, listeners=listeners)


def test_each_comes_behind_all_that_it_waits_for() -> None:
    assert start_order({"nginx": ["web"], "web": ["release"], "release": []}) == ["release", "web", "nginx"]


@given(st.permutations("abcdef"), st.data())
def test_any_set_of_edges_without_a_cycle_has_an_order(names: list[str], data: st.DataObject) -> None:
    after = {
        name: data.draw(st.lists(st.sampled_from(names[:i]), unique=True)) if i else [] for i, name in enumerate(names)
    }
    order = start_order(dict(sorted(after.items())))
    assert sorted(order) == sorted(names)
    assert all(order.index(earlier) < order.index(name) for name in names for earlier in after[name])


def test_a_circle_is_drawn() -> None:
    with pytest.raises(PlanError, match="in a circle: a → b → c → a"):
        start_order({"a": ["b"], "b": ["c"], "c": ["a"]})


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        (Plan((_instance("a"), _instance("a"))), "a.1 is in the Plan twice"),
        (Plan((_instance("a", listeners=("web",)),)), "a.1 wants listener 'web', which the Plan does not have"),
        (Plan((_instance("a", "b"),)), "a.1 waits for 'b', which is no service of this Plan"),
        (Plan((_instance("a", "a"),)), "in a circle: a → a"),
        (
            Plan((_instance("a"), Instance("b", 1, Command(("true",), "/"), after=(Dependency("a", "finished"),)))),
            "b.1 waits until 'a' is finished, which never ends by itself",
        ),
    ],
)
def test_a_plan_that_cannot_be_kept_is_refused(plan: Plan, sentence: str) -> None:
    with pytest.raises(PlanError, match=sentence):
        check(plan)


def test_a_good_plan_passes() -> None:
    web = _instance("web", listeners=("web",))
    check(Plan((web, _instance("web", number=2), _instance("nginx", "web")), (Listener("web", "127.0.0.1:1"),)))
