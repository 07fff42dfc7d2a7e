"""Who could not hear must not say that others were silent: how long one listens first, and when it begins anew."""

from whalefall.scheduler.hearing import Hearing


def heard(*moments: float) -> Hearing:
    """Listens for 30 s; more than 10 s without an answer is a break."""
    hearing = Hearing(listen_s=30, break_s=10)
    for moment in moments:
        hearing.answered(moment)
    return hearing


def test_who_has_never_heard_anything_knows_nothing() -> None:
    assert not heard().silence_counts(1e9)


def test_silence_counts_after_a_leases_life_of_listening() -> None:
    hearing = heard(100, 105, 110, 115, 120, 125)
    assert not hearing.silence_counts(129.9)
    hearing.answered(130)
    assert hearing.silence_counts(130)


def test_a_break_begins_it_anew() -> None:
    steady = [float(second) for second in range(100, 141, 5)]
    assert heard(*steady).silence_counts(140)
    after = heard(*steady, 151)
    assert not after.silence_counts(151)
    for second in range(156, 182, 5):
        after.answered(second)
    assert after.silence_counts(181)


def test_a_short_trouble_is_no_break() -> None:
    assert heard(100, 109, 119, 129, 138).silence_counts(138)


def test_who_was_stopped_meanwhile_does_not_count_on_what_he_heard_before() -> None:
    assert not heard(100, 110, 120, 130).silence_counts(145), "and has not asked since"
