"""Panels that are ill are found; panels that are well are left alone."""

from __future__ import annotations

import math

import numpy as np
import pytest

from imaging.radiation.health import (
    BLOCK,
    DAY_BLOCKS,
    LEARN_RECORDS,
    Finding,
    PanelHealth,
    dispersion,
    equal_run,
    step_dispersion,
    zero_run,
)


def poisson(mean: float, records: int, seed: int = 1, panels: int = 4) -> list[list[int]]:
    counts: list[list[int]] = np.random.default_rng(seed).poisson(mean, (records, panels)).tolist()
    return counts


def test_the_scatter_of_counts_is_one_and_that_of_a_running_mean_is_not() -> None:
    counts = np.random.default_rng(2).poisson(780, 60 * 300)
    assert dispersion(counts.tolist()) == pytest.approx(1, abs=0.03)
    assert step_dispersion(counts.tolist()) == pytest.approx(1, abs=0.03)
    per_second = np.random.default_rng(3).poisson(780, 5 * 60 * 300 + 20)
    running = np.convolve(per_second, np.ones(20) / 20, "valid")[::5][: 60 * 300].round()
    blocks = [dispersion(running[n : n + 60].tolist()) for n in range(0, running.size, 60)]
    assert float(np.median(blocks)) == pytest.approx(0.045, abs=0.01)


def test_slow_drift_is_no_scatter() -> None:
    counts = [round(780 + 2 * n) for n in range(60)]
    assert step_dispersion(counts) < 0.01 < 1 < dispersion(counts)


@pytest.mark.parametrize("mean", [256, 780])
def test_six_equal_counts_are_no_chance(mean: float) -> None:
    assert equal_run(mean) == 6


def test_the_chance_of_equal_counts_is_as_computed() -> None:
    counts = np.random.default_rng(4).poisson(30, 3_000_000)
    equal = (counts[:-2] == counts[1:-1]) & (counts[1:-1] == counts[2:])
    assert equal.mean() == pytest.approx((2 * math.pi * 30) ** -1 / math.sqrt(3), rel=0.03)


def test_zeros_in_a_row() -> None:
    assert zero_run(2.0) == 9
    assert math.exp(-2.0 * 9) < 1e-7 < math.exp(-2.0 * 8)


def test_a_day_of_a_sound_portal_finds_nothing() -> None:
    health, neutron = PanelHealth(4, averaged=False), PanelHealth(4, averaged=False, neutron=True)
    records = DAY_BLOCKS * BLOCK + 3000
    assert [f for record in poisson(780, records) for f in health.push(record)] == []
    assert [f for record in poisson(2, records, 5) for f in neutron.push(record)] == []
    assert all(d == pytest.approx(1, abs=0.05) for d in health.dispersions() if d)
    assert neutron.dispersions() == (None,) * 4


def test_a_stuck_panel_is_told_once_and_again_after_it_moved() -> None:
    health = PanelHealth(4, averaged=False)
    for record in poisson(780, 100):
        health.push(record)
    stuck = [[a, 777, c, d] for a, _, c, d in poisson(780, 20, 6)]
    assert [f for record in stuck for f in health.push(record)] == [Finding("stuck", 1, 6)]
    health.push([780, 778, 780, 781])
    assert Finding("stuck", 1, 6) in [f for record in stuck for f in health.push(record)]


def test_equal_means_are_no_fault() -> None:
    health = PanelHealth(1, averaged=True)
    assert [f for _ in range(50) for f in health.push([780])] == []


def test_a_silent_neutron_panel_is_told() -> None:
    health = PanelHealth(2, averaged=False, neutron=True)
    for record in poisson(2, 200, panels=2):
        health.push(record)
    told = [f for _ in range(20) for f in health.push([0, 3])]
    assert [(f.code, f.detector) for f in told] == [("silent", 0)]


def test_a_panel_that_drifts_against_the_others_is_told_within_a_minute() -> None:
    health = PanelHealth(4, averaged=False)
    for record in poisson(780, LEARN_RECORDS):
        health.push(record)
    drifted = [[round(a * 0.85), b, c, d] for a, b, c, d in poisson(780, 12, 8)]
    told = [f for record in drifted for f in health.push(record)]
    assert ("drift", 0) in [(f.code, f.detector) for f in told]
    together = PanelHealth(4, averaged=False)
    for record in poisson(780, LEARN_RECORDS) + poisson(600, 300, 9):
        assert together.push(record) == [], "rain on all panels is no drift of one"


def test_a_bad_connection_changes_the_scatter() -> None:
    health = PanelHealth(1, averaged=False)
    for record in poisson(780, DAY_BLOCKS * BLOCK, panels=1):
        health.push(record)
    chance = np.random.default_rng(10)
    noisy = [[int(chance.poisson(780 * chance.uniform(0.9, 1.1)))] for _ in range(DAY_BLOCKS * BLOCK)]
    told = [f for record in noisy for f in health.push(record)]
    assert [(f.code, f.detector) for f in told] == [("dispersion", 0)]
    assert told[0].value > 1.4


def test_missing_and_empty_records_are_no_evidence() -> None:
    health = PanelHealth(2, averaged=False)
    for _ in range(BLOCK + LEARN_RECORDS):
        assert health.push([None, 0]) == []
        assert health.push([0, 0]) == []
    assert health.dispersions() == (None, None)
