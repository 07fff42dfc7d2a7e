"""Costly answers are kept, quick ones are fresh, and the time that passes is an argument."""

from whalefall.app.remembering import Remembered


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def costing(self, seconds: float, answer: str):
        def find() -> str:
            self.now += seconds
            return answer

        return find


def test_what_took_half_a_second_is_kept_for_ten() -> None:
    clock = Clock()
    kept: Remembered[str] = Remembered(clock)
    assert kept.get("today", clock.costing(0.5, "one")) == "one"
    clock.now += 9.9
    assert kept.get("today", clock.costing(0.5, "two")) == "one"
    assert kept.get("yesterday", clock.costing(0.0, "other")) == "other"
    clock.now += 0.1
    assert kept.get("today", clock.costing(0.5, "two")) == "two"


def test_what_took_no_time_is_found_anew() -> None:
    clock = Clock()
    kept: Remembered[str] = Remembered(clock)
    assert [kept.get("today", clock.costing(0.0, answer)) for answer in ("one", "two")] == ["one", "two"]


def test_it_does_not_keep_everything_for_ever() -> None:
    clock = Clock()
    kept: Remembered[str] = Remembered(clock)
    for number in range(1_000):
        kept.get(number, clock.costing(1.0, "x"))
    assert len(kept._kept) < 100
