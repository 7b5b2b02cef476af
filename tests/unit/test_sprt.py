"""The sequential test against exact figures, simulation, and its own bound."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from imaging.radiation.sprt import (
    Sprt,
    SprtConfig,
    SprtRun,
    alarm_probability,
    alpha_for,
    calibrated,
    sure_rate,
)

FAST = SprtConfig(2, 6, 1e-3, 0.01, 0.2)
SLOW = SprtConfig(2, 6, 1e-3, 0.01, 1.0)


@pytest.mark.parametrize(("config", "false", "found"), [(FAST, 4.83e-4, 0.9927), (SLOW, 2.68e-4, 0.9958)])
def test_one_test_alone(config: SprtConfig, false: float, found: float) -> None:
    assert alarm_probability(config, 2, 600, restarts=False) == pytest.approx(false, rel=2e-3)
    assert alarm_probability(config, 6, 600, restarts=False) == pytest.approx(found, abs=5e-5)


@pytest.mark.parametrize(
    ("config", "seconds", "false"),
    [(FAST, 10, 1.56e-3), (FAST, 60, 1.03e-2), (SLOW, 10, 7.63e-4), (SLOW, 60, 4.88e-3)],
)
def test_begun_again_it_breaks_the_bound_of_one_test(config: SprtConfig, seconds: int, false: float) -> None:
    records = round(seconds / config.interval_s)
    assert alarm_probability(config, 2, records) == pytest.approx(false, rel=4e-3)
    one = config.alpha / (1 - config.beta)
    assert (alarm_probability(config, 2, records) > one) == (false > one)


@pytest.mark.parametrize(("config", "mean"), [(FAST, 15.05), (SLOW, 3.55)])
def test_how_many_records_it_needs_beside_a_source(config: SprtConfig, mean: float) -> None:
    """Exactly: the sum of the probabilities that it has not ended yet."""
    weight = scipy.stats.poisson.pmf(np.arange(60), 6 * config.interval_s)
    alive, expected = np.ones(1), 0.0
    for record in range(1, 300):
        expected += alive.sum()
        alive = np.convolve(alive, weight)
        value = np.arange(alive.size) * config.gain - record * config.loss
        alive[(value >= config.alarm_at) | (value <= config.clear_at)] = 0
        alive = np.trim_zeros(alive, "b")
    assert expected == pytest.approx(mean, abs=5e-3)


def test_the_test_itself_alarms_as_computed() -> None:
    chance = np.random.default_rng(7)
    alarms, steps = 0, []
    for counts in chance.poisson(6, (4000, 60)):
        test = Sprt(SLOW)
        found = next((n for n, count in enumerate(counts, 1) if test.push(int(count))), None)
        if found is not None and test.runs == 0:
            alarms += 1
            steps.append(found)
    assert alarms / 4000 == pytest.approx(0.9958, abs=3 * math.sqrt(0.9958 * 0.0042 / 4000))
    assert np.mean(steps) == pytest.approx(3.55, abs=0.1)


def test_alpha_is_that_of_the_whole_occupancy() -> None:
    alpha = alpha_for(2, 6, 10, 1e-4)
    false = alarm_probability(SprtConfig(2, 6, alpha), 2, 10)
    assert false <= 1e-4
    assert alarm_probability(SprtConfig(2, 6, alpha * 1.12), 2, 10) > 1e-4, "it is as large as may be"


def test_it_goes_on_after_a_clear_and_alarms_once() -> None:
    test = Sprt(SLOW)
    assert not any(test.push(0) for _ in range(20))
    assert (test.runs, test.alarmed) == (10, False)
    assert [test.push(30) for _ in range(3)] == [True, False, False]
    assert test.peak >= SLOW.alarm_at


@pytest.mark.parametrize(
    "wrong", [{"background": 0}, {"source": 1}, {"alpha": 0}, {"beta": 1}, {"interval_s": 0}]
)
def test_what_gives_no_test_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="no sequential test"):
        SprtConfig(**{"background": 2, "source": 6, "alpha": 1e-3, **wrong})


@pytest.mark.parametrize("counted", [0, 1, 3, 10, 40, 600])
def test_a_rate_that_the_true_one_hardly_exceeds(counted: int) -> None:
    exact = scipy.stats.gamma.ppf(0.99, counted + 0.5) / 20
    assert sure_rate(counted, 20) == pytest.approx(exact, rel=0.01)


@pytest.mark.parametrize("counted", [3, 40, 200])
def test_the_calibrated_test_keeps_the_owners_false_alarms(counted: int) -> None:
    p = 1e-4 / 3
    config = calibrated(counted, 20, 10, p, 1)
    assert sure_rate(counted, 20) <= config.background <= 1.1 * sure_rate(counted, 20)
    assert config.source == config.background + 4
    assert p / 3 < alarm_probability(config, config.background, 10) <= p
    assert alarm_probability(config, counted / 20, 10) < p / 5, "the likely rate has fewer"
    assert alarm_probability(config, counted / 20 + 8, 10) > 0.5


@pytest.mark.parametrize(("records", "p"), [(13, 1e-4), (600, 1e-4)])
def test_a_long_occupancy_takes_the_bound(records: int, p: float) -> None:
    config = calibrated(100, 20, records, p, 1)
    assert config.alpha == pytest.approx(0.99 * p / records, rel=1e-3, abs=0)
    if records == 13:
        assert alarm_probability(config, config.background, records) <= p


def test_a_large_background_takes_the_bound_too() -> None:
    """The exact sum would hold the lane for a minute: a garbled line may say any background."""
    p, records = 1e-4, 10
    bound = p * (1 - 0.01) / records
    assert alpha_for(99.0, 103.0, records, p) > 1.5 * bound
    assert alpha_for(101.0, 105.0, records, p) == pytest.approx(bound)


@pytest.mark.parametrize("records", [1, 10, 11, 60, 600])
def test_the_bound_that_is_stated_holds_for_a_truck_that_stands(records: int) -> None:
    p = 1e-4 / 3
    config = calibrated(80, 20, 10, p, 1)
    run = SprtRun(config, p, 10)
    for n in range(records):
        run.push(4, n)
    params = run.verdict().params
    bound = float(params["false_alarm_bound"])
    assert (params["p_occupancy"], params["design_records"], params["records"]) == (p, 10, records)
    assert (bound > p) is (records > 10)
    assert bound <= 1
    if records <= 60:
        assert alarm_probability(config, config.background, records) <= bound * 1.001
