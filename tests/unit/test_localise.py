"""The hot spot: as exact as the counts allow, honest about its error, none where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from imaging.radiation.localise import band_sigma_m, locate

B, D, V = 3100 * 0.2, 2.5, 2.2
S = np.arange(-4, 20, V * 0.2)


def passage(source: float, place: float, seed: int, runs: int) -> NDArray[np.float64]:
    """Counts of 200 ms intervals; ``source`` is the net rate per second at the peak."""
    mean = B + source * 0.2 / (1 + ((S - place) / D) ** 2)
    return np.random.default_rng(seed).poisson(mean, (runs, S.size)).astype(np.float64)


@pytest.mark.parametrize(("source", "rms"), [(500, 0.31), (1000, 0.16), (3000, 0.063)])
def test_it_is_as_good_as_the_bound_and_knows_it(source: float, rms: float) -> None:
    chance = np.random.default_rng(11)
    errors, told = [], []
    for n in range(400):
        place = 7 + chance.uniform(-0.5, 0.5)
        found = locate(S, passage(source, place, n, 1)[0], B, D)
        assert found is not None
        errors.append(found.s_m - place)
        told.append(found.sigma_m)
    error = float(np.sqrt(np.mean(np.square(errors))))
    assert error == pytest.approx(rms, rel=0.13)
    assert float(np.mean(told)) == pytest.approx(error, rel=0.13)


def test_a_reversal_and_a_shielded_background_move_nothing() -> None:
    s = np.concatenate([np.arange(-2, 9, 0.4), np.arange(9, 4, -0.4), np.arange(4, 16, 0.4)])
    mean = 0.8 * B + 300 / (1 + ((s - 6) / D) ** 2)
    found = locate(s, np.random.default_rng(2).poisson(mean).astype(np.float64), B, D)
    assert found is not None
    assert found.s_m == pytest.approx(6, abs=4 * found.sigma_m)


def test_goods_that_are_spread_are_told_from_a_point() -> None:
    point = locate(S, passage(3000, 7, 3, 1)[0], B, D)
    spread = sum(400 * 0.2 / (1 + ((S - x) / D) ** 2) for x in np.arange(2, 14, 1.0))
    goods = locate(S, np.random.default_rng(4).poisson(B + spread).astype(np.float64), B, D)
    assert point is not None
    assert goods is not None
    assert (point.distributed, goods.distributed) == (False, True)
    assert point.fwhm_m == pytest.approx(2 * D, abs=0.8)
    assert goods.fwhm_m > 10


@pytest.mark.parametrize("place", [-6.0, 24.0])
def test_a_peak_at_an_end_is_no_place(place: float) -> None:
    assert locate(S, passage(3000, place, 5, 1)[0], B, D) is None


def test_nothing_behind_the_vehicle_is_a_place_of_it() -> None:
    counts = passage(3000, 12, 6, 1)[0]
    assert locate(S, counts, B, D, length_m=9) is None
    found = locate(S, counts, B, D, length_m=15)
    assert found is not None


def test_a_dip_is_no_peak() -> None:
    assert locate(S, np.full(S.size, B) - 100 / (1 + ((S - 7) / D) ** 2), B, D) is None


@pytest.mark.parametrize("s", [[1.0, 2, 3, 4], [3.0, 3, 3, 3, 3, 3]])
def test_too_little_gives_none(s: list[float]) -> None:
    assert locate(np.array(s), np.full(len(s), 100.0), 10, D) is None


def test_all_errors_together() -> None:
    assert band_sigma_m(0, 11, 2, 0, 0, 0.3) == pytest.approx(0.3)
    assert band_sigma_m(0.3, 10, 2, 0.04, 0.0, 0) == pytest.approx(0.5)
    assert band_sigma_m(0, 10, 2, 0, 0.06, 0) == pytest.approx(0.12)
