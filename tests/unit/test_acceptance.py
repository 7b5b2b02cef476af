"""Acceptance sizes: the exact figures that a demonstration is planned with."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging.radiation.acceptance import (
    at_least,
    confidence,
    interval,
    lower_limit,
    trials_without_event,
    upper_limit,
)


@pytest.mark.parametrize(
    ("successes", "trials", "limit"),
    [(15, 20, 0.544), (59, 60, 0.923), (60, 60, 0.951), (29, 29, 0.902), (59, 59, 0.9505), (10, 10, 0.741)],
)
def test_the_lower_limit_at_95_percent(successes: int, trials: int, limit: float) -> None:
    assert lower_limit(successes, trials) == pytest.approx(limit, abs=5e-4)


@pytest.mark.parametrize(
    ("successes", "trials", "p", "shown"),
    [(15, 20, 0.5, 0.9793), (14, 20, 0.5, 0.9423), (59, 60, 0.9, 0.986), (58, 60, 0.9, 0.947)],
)
def test_the_confidence_of_a_result(successes: int, trials: int, p: float, shown: float) -> None:
    assert confidence(successes, trials, p) == pytest.approx(shown, abs=6e-4 if trials == 60 else 6e-5)


@pytest.mark.parametrize(
    ("successes", "trials", "p", "chance"),
    [
        (15, 20, 0.8, 0.804),
        (15, 20, 0.9, 0.989),
        (59, 60, 0.95, 0.192),
        (59, 60, 0.99, 0.879),
        (59, 60, 0.999, 0.998),
        (2995, 2995, 1 - 1e-4, 0.741),
        (2995, 2995, 1 - 1.7e-5, 0.950),
    ],
)
def test_the_chance_to_pass(successes: int, trials: int, p: float, chance: float) -> None:
    assert at_least(successes, trials, p) == pytest.approx(chance, abs=6e-4)


def test_how_many_occupancies_without_an_alarm() -> None:
    assert trials_without_event(1e-3) == 2995
    assert trials_without_event(1e-4) == 29_956
    assert upper_limit(0, 2995) == pytest.approx(1e-3, rel=1e-3)


@given(st.integers(1, 400), st.floats(1e-9, 1 - 1e-9), st.data())
def test_the_sum_is_that_of_exact_integers(trials: int, p: float, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, trials))
    wanted = math.fsum(
        math.exp(math.log(math.comb(trials, k)) + k * math.log(p) + (trials - k) * math.log1p(-p))
        for k in range(successes, trials + 1)
    )
    assert at_least(successes, trials, p) == pytest.approx(wanted, rel=1e-8, abs=1e-300)


@given(st.integers(1, 300), st.data())
def test_the_interval_holds_what_was_seen(trials: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, trials))
    low, high = interval(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1
    if successes:
        assert at_least(successes, trials, low) == pytest.approx(0.025, rel=1e-6)


@pytest.mark.parametrize(("successes", "trials", "p"), [(-1, 5, 0.5), (6, 5, 0.5), (0, 0, 0.5), (1, 5, 1.5)])
def test_what_is_no_result_is_refused(successes: int, trials: int, p: float) -> None:
    with pytest.raises(ValueError, match=r"trials|probability"):
        at_least(successes, trials, p)


@pytest.mark.parametrize(("p", "level"), [(0, 0.95), (1, 0.95), (0.1, 1)])
def test_a_plan_of_nothing_is_refused(p: float, level: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        trials_without_event(p, level)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_certainty_is_certain(p: float) -> None:
    assert (at_least(3, 5, p), at_least(0, 5, p)) == (p, 1.0)
