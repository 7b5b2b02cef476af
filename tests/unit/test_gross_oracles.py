"""Exact false alarm rates and thresholds against tables, scipy and a seeded simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from imaging.radiation.gross import (
    GrossConfig,
    GrossThreshold,
    integer_limit,
    k_for,
    window_false_alarm,
)
from imaging.radiation.neutron import neutron_limit, predictive_limit
from imaging.radiation.poisson import pmf, survival
from imaging.radiation.verdict import BackgroundEstimate

EXACT = [  # b, k, t_b, exact P_w to four digits
    (1000, 3, 20, 1.953e-3),
    (1000, 4, 20, 6.512e-5),
    (1000, 5, 20, 9.823e-7),
    (1000, 7, 20, 2.167e-11),
    (3000, 4, 20, 5.718e-5),
    (3000, 5, 20, 7.659e-7),
    (1000, 4, 5, 1.792e-4),
    (1000, 4, 120, 4.657e-5),
]
GAUSSIAN = {3: 1.350e-3, 4: 3.167e-5, 5: 2.867e-7, 7: 1.280e-12}

K_TABLE = {
    1e-3: {500: 4.318, 1000: 4.281, 2000: 4.254, 3100: 4.241, 4000: 4.235},
    1e-4: {500: 4.872, 1000: 4.824, 2000: 4.790, 3100: 4.774, 4000: 4.766},
    1e-5: {500: 5.378, 1000: 5.320, 2000: 5.279, 3100: 5.259, 4000: 5.249},
}


@pytest.mark.parametrize(("b", "k", "t_b", "exact"), EXACT)
def test_exact_false_alarm_of_one_window_to_the_digits(b: int, k: int, t_b: int, exact: float) -> None:
    assert f"{window_false_alarm(b, t_b)(k):.3e}" == f"{exact:.3e}"


@pytest.mark.parametrize(
    ("b", "k", "t_b", "t_w"),
    [
        *((b, k, t_b, 1.0) for b, k, t_b, _ in EXACT),
        (800, 4, 20, 0.8),
        (2000, 5, 10, 2.0),
        (20, 20, 0.5, 1.0),  # beyond the last count that can matter
        (20, 0, 0.5, 1.0),  # and from no count on
    ],
)
def test_scipy_agrees_to_one_in_a_million(b: int, k: int, t_b: float, t_w: float) -> None:
    mean = b * t_b / t_w
    x = np.arange(max(0, int(mean - 12 * math.sqrt(mean))), int(mean + 12 * math.sqrt(mean)) + 30)
    background = x * t_w / t_b
    limit = np.floor(background + k * np.sqrt(background))
    oracle = float((stats.poisson.pmf(x, mean) * stats.poisson.sf(limit, b)).sum())
    assert window_false_alarm(b, t_b, t_w)(k) == pytest.approx(oracle, rel=1e-6, abs=1e-24)


def test_the_gaussian_would_promise_far_too_much() -> None:
    assert {k: f"{stats.norm.sf(k):.3e}" for k in GAUSSIAN} == {k: f"{q:.3e}" for k, q in GAUSSIAN.items()}
    missed = [exact / GAUSSIAN[k] for _, k, _, exact in EXACT if k < 7]
    assert (min(missed), max(missed)) == (pytest.approx(1.45, abs=0.01), pytest.approx(5.66, abs=0.01))
    assert window_false_alarm(1000, 20)(7) / GAUSSIAN[7] == pytest.approx(17, rel=0.02)


@pytest.mark.parametrize(
    ("p_occupancy", "b", "k"), [(p, b, k) for p, row in K_TABLE.items() for b, k in row.items()]
)
def test_k_by_bisection(p_occupancy: float, b: int, k: float) -> None:
    assert k_for(b, 20, 46, p_occupancy) == pytest.approx(k, abs=0.0005 + 1e-4)  # printed, bisected


@pytest.mark.parametrize(("t_b", "k"), [(2, 5.754), (10, 4.891), (20, 4.774)])
def test_a_short_background_needs_a_larger_k(t_b: int, k: float) -> None:
    assert k_for(3100, t_b, 46, 1e-4) == pytest.approx(k, abs=0.0006)


def test_the_long_background_k_used_after_two_seconds_would_break_the_promise() -> None:
    assert 46 * window_false_alarm(3100, 2)(4.774) == pytest.approx(3e-3, rel=0.1)


def test_k_that_cannot_be_reached_is_said() -> None:
    assert k_for(20, 0.5, 46, 1e-9) is None


def test_a_million_simulated_windows_hold_the_exact_rate() -> None:
    """One window per occupancy, because overlapping windows correlate; three sigma of the binomial."""
    rng = np.random.default_rng(20240501)
    b, k, t_b, trials = 1000, 3.0, 20, 1_000_000
    x = rng.poisson(b * t_b, trials)
    window = rng.poisson(b / 5, (trials, 5)).sum(axis=1)
    limit = np.floor(x / t_b + k * np.sqrt(x / t_b))
    assert abs(int((window > limit).sum()) - 1953) <= 133
    assert limit[:50].tolist() == [integer_limit(int(n), t_b, 1.0, k) for n in x[:50]]


def test_simulated_occupancies_lie_below_the_bound_of_their_windows() -> None:
    """Windows overlap, so an occupancy alarms less often than n·P_w, and more often than P_w."""
    rng, trials = np.random.default_rng(20240502), 200_000
    background = rng.poisson(20_000, trials) / 20
    sums = np.zeros((trials, 51), dtype=np.int32)
    np.cumsum(rng.poisson(200.0, (trials, 50)), axis=1, out=sums[:, 1:])
    largest = (sums[:, 5:] - sums[:, :-5]).max(axis=1)
    p_window = window_false_alarm(1000, 20)
    assert 46 * p_window(4) == pytest.approx(3.00e-3, abs=5e-6)
    for k, occupancy in ((3, 5.76e-2), (4, 2.32e-3)):
        share = float((largest > background + k * np.sqrt(background)).mean())
        assert share == pytest.approx(occupancy, abs=3 * math.sqrt(occupancy / trials))
        assert p_window(k) < share < 46 * p_window(k)


@pytest.mark.parametrize(
    ("net", "detected"), [(0, None), (100, 0.2116), (200, 0.9838), (300, 1.0000)], ids=str
)
def test_how_probable_a_detection_is(net: int, detected: float | None) -> None:
    """At b = 1000, k = 4, known background: what counts is the source less what the load shields."""
    limit = integer_limit(20_000, 20, 1.0, 4.0)
    chance = float(survival(1000 + net, 0, 2000)[limit + 1])
    assert chance < 1e-4 if detected is None else chance == pytest.approx(detected, abs=5e-5)


@pytest.mark.parametrize(("suppression", "detected"), [(0.0, 0.98), (0.1, 0.21), (0.2, 0.0), (0.3, 0.0)])
def test_shielded_background_hides_a_source_of_two_hundred_counts(
    suppression: float, detected: float
) -> None:
    rate = 1000 * (1 - suppression) + 200
    assert float(survival(rate, 0, 2000)[1127]) == pytest.approx(detected, abs=5e-3)


def test_a_long_occupancy_states_its_own_bound() -> None:
    """K for 10 s used over 120 s: 596 windows, 1.3e-3 instead of 1e-4."""
    k = k_for(3100, 20, 46, 1e-4)
    assert k is not None
    assert 596 * window_false_alarm(3100, 20)(k) == pytest.approx(1.3e-3, rel=0.02)


@pytest.mark.parametrize(
    ("expected", "limits"),
    [(1, (6, 7, 9)), (2, (9, 10, 11)), (5, (14, 16, 18)), (8, (19, 21, 24)), (20, (36, 40, 43))],
)
def test_neutron_limits_of_a_known_background(expected: int, limits: tuple[int, int, int]) -> None:
    assert tuple(neutron_limit(expected, p) for p in (1e-3, 1e-4, 1e-5)) == limits


def test_neutron_limit_is_exact_at_two_counts() -> None:
    tail = [float(survival(2, 0, 60)[n]) for n in (9, 10, 11)]
    assert tail == pytest.approx([2.37e-4, 4.65e-5, 8.31e-6], rel=2e-3)


def test_no_background_at_all_makes_one_neutron_remarkable() -> None:
    assert neutron_limit(0, 1e-5) == 1


@pytest.mark.parametrize(
    ("counted", "t_b", "limits"),
    [(0, 20, (2, 3, 4)), (40, 20, (9, 10, 12)), (600, 300, (9, 10, 11)), (160, 20, (19, 22, 24))],
)
def test_neutron_limits_of_an_estimated_background(
    counted: int, t_b: float, limits: tuple[int, int, int]
) -> None:
    assert tuple(predictive_limit(counted, t_b, 1.0, p) for p in (1e-3, 1e-4, 1e-5)) == limits


@pytest.mark.parametrize("counted", [0, 1, 7, 40, 600, 20_000])
@pytest.mark.parametrize(("t_b", "t"), [(2.0, 1.0), (20.0, 1.0), (300.0, 10.0), (1.0, 30.0)])
def test_scipys_negative_binomial_agrees(counted: int, t_b: float, t: float) -> None:
    for p in (1e-2, 1e-5, 1e-8):
        n = predictive_limit(counted, t_b, t, p)
        oracle = stats.nbinom(counted + 0.5, t_b / (t_b + t))
        assert oracle.sf(n - 1) <= p * (1 + 1e-9)
        assert n == 0 or oracle.sf(n - 2) > p * (1 - 1e-9)


@pytest.mark.parametrize(
    "wrong", [(-1, 20.0, 1.0, 0.1), (1, 0.0, 1.0, 0.1), (1, 20.0, 0.0, 0.1), (1, 20.0, 1.0, 0.0)]
)
def test_a_predictive_limit_of_nonsense_is_refused(wrong: tuple[int, float, float, float]) -> None:
    with pytest.raises(ValueError, match="need counts >= 0, times > 0"):
        predictive_limit(*wrong)


@pytest.mark.parametrize(("expected", "p"), [(-1, 0.1), (math.inf, 0.1), (1, 0), (1, 1), (math.nan, 0.1)])
def test_neutron_limit_refuses_nonsense_with_a_sentence(expected: float, p: float) -> None:
    with pytest.raises(ValueError, match="need counts >= 0"):
        neutron_limit(expected, p)


@pytest.mark.parametrize("mean", [0.3, 2.0, 19.7, 1000.0, 62_000.0])
def test_poisson_sums_against_scipy(mean: float) -> None:
    low = max(0, int(mean - 10 * math.sqrt(mean)))
    high = int(mean + 10 * math.sqrt(mean)) + 20
    n = np.arange(low, high + 1)
    np.testing.assert_allclose(pmf(mean, low, high), stats.poisson.pmf(n, mean), rtol=1e-9)
    middle = slice(0, n.size // 2)
    np.testing.assert_allclose(
        survival(mean, low, high)[middle], stats.poisson.sf(n - 1, mean)[middle], rtol=1e-9
    )


def estimate(total_cps: float, counting_s: float) -> BackgroundEstimate:
    return BackgroundEstimate((total_cps,), counting_s, 20, 0)


def test_k_is_kept_while_the_background_drifts_less_than_two_percent() -> None:
    threshold = GrossThreshold(GrossConfig())
    first = threshold.limit(estimate(3100, 20))
    near = threshold.limit(estimate(3150, 20))
    far = threshold.limit(estimate(3200, 20))
    short = threshold.limit(estimate(3200, 10))
    assert first is not None
    assert near is not None
    assert far is not None
    assert short is not None
    assert near.k == first.k
    assert near.limit > first.limit  # the integer follows every record
    assert far.k < first.k
    assert short.k > far.k
    assert first.k == pytest.approx(4.774, abs=1e-3)
    assert first.limit == math.floor(3100 + first.k * math.sqrt(3100))
    assert first.p_window * 46 <= 1e-4


def test_a_window_of_another_length_keeps_the_promise_too() -> None:
    config = GrossConfig(interval_s=0.25, window_intervals=3, design_s=12.0)
    limit = GrossThreshold(config).limit(estimate(1600, 20))
    assert limit is not None
    assert (limit.background, config.design_windows) == (1200, 46)
    assert limit.k == k_for(1200, 20, 46, 1e-4, 0.75)
    assert limit.p_window == window_false_alarm(1200, 20, 0.75)(limit.k)
    assert 46 * limit.p_window <= 1e-4 < 46 * window_false_alarm(1200, 20, 0.75)(limit.k - 2e-4)
    assert limit.limit == integer_limit(32_000, 20, 0.75, limit.k)


def test_the_false_alarms_are_those_of_the_background_of_now_with_the_k_of_then() -> None:
    threshold = GrossThreshold(GrossConfig())
    first, near = threshold.limit(estimate(3100, 20)), threshold.limit(estimate(3050, 20))
    assert first is not None
    assert near is not None
    assert near.k == first.k
    assert near.p_window == window_false_alarm(3050, 20)(first.k)


def test_simultaneous_tests_share_the_false_alarms() -> None:
    one = GrossThreshold(GrossConfig()).limit(estimate(1000, 20))
    ten = GrossThreshold(GrossConfig(tests=10)).limit(estimate(1000, 20))
    assert one is not None
    assert ten is not None
    assert (one.k, ten.k) == (pytest.approx(4.824, abs=1e-3), pytest.approx(5.320, abs=1e-3))


def test_below_twenty_counts_k_sigma_is_not_used() -> None:
    threshold = GrossThreshold(GrossConfig())
    assert threshold.limit(estimate(19.9, 20)) is None
    assert threshold.limit(estimate(20, 20)) is not None
    assert threshold.limit(estimate(0, 20)) is None


def test_no_k_gives_no_limit() -> None:
    assert GrossThreshold(GrossConfig(p_occupancy=1e-12)).limit(estimate(20, 0.5)) is None
