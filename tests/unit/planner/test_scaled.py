"""What `scale` asked for stands over the command line's formation."""

import pytest

from whalefall.planner.formation import scaled


@pytest.mark.parametrize(
    ("text", "over", "result"),
    [
        ("", "", ""),
        ("web=2", "", "web=2"),
        ("", "web=3", "web=3"),
        ("web=2", "web=3", "web=3"),
        ("all=1,web=2", "web=3", "all=1,web=3"),
        ("web=2, worker=1", "worker=0,web=4", "worker=0,web=4"),
    ],
)
def test_the_newest_number_wins(text: str, over: str, result: str) -> None:
    assert scaled(text, over) == result
