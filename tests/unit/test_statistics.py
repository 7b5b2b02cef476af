"""Sums, rates and quantiles of a day, against numbers worked out by hand."""

from __future__ import annotations

import pytest
from scipy.stats import beta

from station.domain.statistics import (
    FALSE_CODES,
    INNOCENT_CODES,
    REAL_CODES,
    Panel,
    Rate,
    Spread,
    Tally,
    coded,
    flags_of,
    kind_of,
    rate,
    spread,
    total,
)


def test_what_has_several_flags_is_of_one_kind() -> None:
    assert kind_of({}) == "real"
    assert kind_of({"simulated": False, "test": False, "exercise": True}) == "exercise"
    assert kind_of({"test": True, "exercise": True}) == "test"
    assert kind_of({"simulated": True, "test": True}) == "simulated"
    assert flags_of("real") == {"simulated": False, "test": False, "exercise": False}
    assert flags_of("test") == {"simulated": False, "test": True, "exercise": False}


def test_tallies_add_up_name_by_name() -> None:
    one = Tally(
        covered_s=1800.5,
        occupancies=3,
        gamma=1,
        incomplete={"gx": 1, "timeout": 2},
        decisions_s=(4.0,),
        down_s={"rpm1": {"silence": 2.5}},
        panels={"rpm1": {"gamma": {"ML": Panel(records=2, counts=1200, counted_s=2.0, dispersions=(1.1,))}}},
    )
    two = Tally(
        covered_s=1799.5,
        occupancies=4,
        incomplete={"timeout": 1},
        decisions_s=(9.0, 1.0),
        down_s={"rpm1": {"silence": 1.0, "crash": 0.25}, "lpr1": {"silence": 7.0}},
        suppressions={"rpm1": (0.2,)},
        panels={"rpm1": {"gamma": {"ML": Panel(records=1, counts=650, counted_s=1.0, dispersions=(0.9,))}}},
    )
    assert total([one, two]) == Tally(
        covered_s=3600.0,
        occupancies=7,
        gamma=1,
        incomplete={"gx": 1, "timeout": 3},
        decisions_s=(4.0, 9.0, 1.0),
        down_s={"rpm1": {"silence": 3.5, "crash": 0.25}, "lpr1": {"silence": 7.0}},
        suppressions={"rpm1": (0.2,)},
        panels={
            "rpm1": {"gamma": {"ML": Panel(records=3, counts=1850, counted_s=3.0, dispersions=(1.1, 0.9))}}
        },
    )
    assert total([]) == Tally()


@pytest.mark.parametrize(("count", "of"), [(0, 29), (3, 143), (1, 1), (15, 20), (20, 20)])
def test_a_rate_has_its_exact_interval(count: int, of: int) -> None:
    found = rate(count, of)
    low = beta.ppf(0.025, count, of - count + 1) if count else 0.0
    high = beta.ppf(0.975, count + 1, of - count) if count < of else 1.0
    assert (found.count, found.of) == (count, of)
    assert found.rate == pytest.approx(count / of, abs=5e-5)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_of_nothing_there_is_no_rate() -> None:
    assert rate(0, 0) == Rate(count=0, of=0, rate=None, low=None, high=None)


def test_quantiles_are_values_that_occurred() -> None:
    assert spread([5.0, 1.0, 3.0]) == Spread(count=3, p50=3.0, p95=5.0, most=5.0)
    assert spread([4.0, 2.0]) == Spread(count=2, p50=2.0, p95=4.0, most=4.0)
    assert spread(range(1, 101)) == Spread(count=100, p50=50, p95=95, most=100)
    assert spread(()) == Spread(count=0, p50=None, p95=None, most=None)


def test_codes_fall_into_three_groups() -> None:
    codes = {"0": 9, "1": 1, "4": 2, "5": 1, "6": 5, "9": 7}
    assert [coded(codes, group) for group in (REAL_CODES, INNOCENT_CODES, FALSE_CODES)] == [1, 3, 5]
