"""How many, and on which port: foreman's rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whalefall.errors import ConfigError, UsageError
from whalefall.planner.formation import base_ports, counts

NAMES = ["nginx", "web", "scheduler", "worker"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {"nginx": 1, "web": 1, "scheduler": 1, "worker": 1}),
        ("web=2,worker=0", {"nginx": 1, "web": 2, "scheduler": 1, "worker": 0}),
        ("all=0,web=1", {"nginx": 0, "web": 1, "scheduler": 0, "worker": 0}),
        (" web = 3 , ", {"nginx": 1, "web": 3, "scheduler": 1, "worker": 1}),
    ],
)
def test_a_formation_names_counts(text: str, expected: dict[str, int]) -> None:
    assert counts(text, NAMES) == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("wbe=2", "-c wbe=2: the Procfile has no 'wbe'. Did you mean 'web'?"),
        ("web", "-c web: '' is no number of processes. Write web=N"),
        ("web=two", "'two' is no number"),
        ("web=-1", "'-1' is no number"),
        ("web=101", "N from 0 to 100"),
        ("web=²", "is no number"),
        ("web=1,web=2", "'web' stands in it twice"),
        ("=2", "the Procfile has no ''"),
    ],
)
def test_a_bad_formation_is_a_usage_error(text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        counts(text, NAMES)
    assert sentence in str(caught.value)
    assert caught.value.exit_code == 2


def test_ports_go_by_hundreds_over_the_whole_procfile() -> None:
    assert base_ports(["web", "worker", "clock"], 5000, "") == {"web": 5000, "worker": 5100, "clock": 5200}


def test_the_front_swaps_with_the_first() -> None:
    assert base_ports(["web", "scheduler", "nginx"], 5000, "nginx") == {"nginx": 5000, "scheduler": 5100, "web": 5200}


def test_no_port_lies_beyond_the_last() -> None:
    with pytest.raises(ConfigError, match=r"PORT=65500 leaves no room: 2 process types .* base of 65435 or less"):
        base_ports(["web", "worker"], 65_500, "web")


@given(st.lists(st.text("abc", min_size=1), unique=True, min_size=1, max_size=8), st.integers(1, 60_000), st.data())
def test_ports_are_distinct_and_the_front_has_the_base(names: list[str], base: int, data: st.DataObject) -> None:
    front = data.draw(st.sampled_from(names))
    ports = base_ports(names, base, front)
    assert ports[front] == base
    assert sorted(ports.values()) == [base + 100 * at for at in range(len(names))]
    others = [name for name in names if name not in (front, names[0])]
    assert all(ports[name] == base + 100 * names.index(name) for name in others)
