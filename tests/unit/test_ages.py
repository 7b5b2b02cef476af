"""The age of what waits follows monotonic time; the wall clock counts only for the time before the start."""

from __future__ import annotations

import pytest

from station.store.ages import MOST, Ages


class Now:
    """Monotonic seconds that a test sets."""

    at_s = 100.0

    def __call__(self) -> float:
        """Return them."""
        return self.at_s


@pytest.mark.fault("F11")
def test_a_clock_set_back_does_not_make_records_young() -> None:
    now = Now()
    ages = Ages(now, 5)
    now.at_s = 110.0
    ages.note(7)
    now.at_s = 160.0
    assert ages.age_s(6, wall_s=-3600.0) == ages.age_s(7, wall_s=1e9) == 50.0
    assert ages.age_s(5, wall_s=-3600.0) == 60.0
    assert ages.age_s(5, wall_s=500.0) == 500.0


def test_ages_stay_bounded_and_are_never_too_young() -> None:
    now = Now()
    ages = Ages(now, 0)
    for seq in range(1, 3 * MOST):
        now.at_s += 1.0
        ages.note(seq)
    assert len(ages._seqs) == len(ages._times) <= MOST
    for seq in range(1, 3 * MOST, 97):
        assert 3 * MOST - 1 - seq <= ages.age_s(seq, 0.0) <= 3 * MOST + 64 - seq
