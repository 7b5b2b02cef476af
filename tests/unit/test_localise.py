"""The hot spot: as exact as the counts allow, honest about its error, none where there is none."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray

from imaging.radiation.localise import HotSpot, band_sigma_m, locate

Floats = NDArray[np.float64]
B, D, V, DT = 3100.0, 2.5, 2.2, 0.2
"""Background in counts per second, distance, speed and interval of the oracles."""
LENGTH = 12.0


def places(low_m: float = -4.0, high_m: float = 20.0, step_m: float = V * DT) -> Floats:
    """Stretches of a vehicle that drives on."""
    begins = np.arange(low_m, high_m, step_m)
    return np.stack([begins, begins + step_m], axis=1)


def seen(stretches: Floats, at_m: float, source_cps: float, hidden: float = 0.0, dt_s: float = DT) -> Floats:
    """Return the mean counts of each record: over each stretch, a vehicle of ``LENGTH`` hiding a share."""
    share = np.linspace(0, 1, 21)
    fine = stretches[:, :1] + share * np.diff(stretches)
    shadow = np.clip((fine + 1) / 2, 0, 1) * np.clip((LENGTH + 1 - fine) / 2, 0, 1)
    net = source_cps / (1 + ((fine - at_m) / D) ** 2)
    mean: Floats = (B * (1 - hidden * shadow) + net).mean(axis=1) * dt_s
    return mean


def drawn(mean: Floats, seed: int) -> Floats:
    return np.random.default_rng(seed).poisson(mean).astype(np.float64)


def found(stretches: Floats, mean: Floats, seed: int = 1, length_m: float | None = None) -> HotSpot:
    spot = locate(stretches, drawn(mean, seed), D, length_m)
    assert spot is not None
    return spot


# --- how exact it is ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "rms", "crude"), [(500, 0.31, 0.57), (1000, 0.16, 0.36), (3000, 0.063, 0.21)]
)
def test_it_is_as_good_as_the_bound_and_knows_it(source: float, rms: float, crude: float) -> None:
    """The Cramér–Rao bound is .309, .161 and .062 m; the middle of the largest second is far from it."""
    chance = np.random.default_rng(11)
    errors, told, naive = [], [], []
    stretches = places()
    for n in range(100):
        at_m = 7 + chance.uniform(-0.5, 0.5)
        counts = drawn(seen(stretches, at_m, source), n)
        spot = locate(stretches, counts, D)
        assert spot is not None
        errors.append(spot.s_m - at_m)
        told.append(spot.sigma_m)
        second = int(np.argmax(np.convolve(counts, np.ones(5), mode="valid")))
        naive.append(float(stretches[second + 2].mean()) - at_m)
    error = float(np.sqrt(np.mean(np.square(errors))))
    assert error == pytest.approx(rms, rel=0.2)
    assert float(np.mean(told)) == pytest.approx(error, rel=0.2)
    assert float(np.sqrt(np.mean(np.square(naive)))) == pytest.approx(crude, rel=0.2)


@pytest.mark.parametrize("speed", [1.0, 2.2, 4.0])
def test_neutrons_of_whole_seconds_are_as_good_as_they_say(speed: float) -> None:
    """One record is up to 4 m long: its share is the mean over its stretch, not the value at its middle."""
    chance, stretches = np.random.default_rng(5), places(-0.5, 12 + 2 * speed, speed)
    errors, told = [], []
    for n in range(100):
        at_m = 6.4 + chance.uniform(-1, 1)
        fine = stretches[:, :1] + np.linspace(0, 1, 21) * np.diff(stretches)
        mean = (3 + 42 / (1 + ((fine - at_m) / D) ** 2)).mean(axis=1)
        spot = locate(stretches, drawn(mean, n), D, LENGTH)
        if spot is not None:
            errors.append(spot.s_m - at_m)
            told.append(spot.sigma_m)
            assert not spot.distributed
    assert len(errors) >= 97
    assert abs(float(np.mean(errors))) < 0.1
    assert np.mean(np.abs(errors) < 2 * np.array(told)) > 0.9


# --- what the vehicle hides -----------------------------------------------------------------------


@pytest.mark.parametrize("at_m", [2.0, 6.0, 10.0])
def test_a_vehicle_that_hides_a_fifth_of_the_background_moves_nothing(at_m: float) -> None:
    stretches = places(-0.5, 17.0)
    errors = [found(stretches, seen(stretches, at_m, 1000, 0.2), n, LENGTH).s_m - at_m for n in range(60)]
    assert abs(float(np.mean(errors))) < 0.1
    assert float(np.std(errors)) < 0.25


def test_without_its_length_the_same_vehicle_hides_the_source_or_moves_it() -> None:
    """The control: what the length is for."""
    stretches = places(-0.5, 17.0)
    blind = [locate(stretches, drawn(seen(stretches, 10.0, 1000, 0.2), n), D) for n in range(60)]
    moved = [spot.s_m - 10.0 for spot in blind if spot is not None]
    assert len(moved) < 50 or float(np.mean(moved)) > 0.5


def test_a_reversal_moves_nothing() -> None:
    there, back, again = places(-2, 9), places(4, 9)[::-1, ::-1], places(4, 16)
    stretches = np.concatenate([there, back, again])
    spot = found(stretches, seen(stretches, 6.0, 1500, 0.1), 2, LENGTH)
    assert spot.s_m == pytest.approx(6, abs=4 * spot.sigma_m)


def test_a_vehicle_that_stood_for_an_hour_is_located_with_little() -> None:
    still = np.full((18_000, 2), 5.0)
    stretches = np.concatenate([places(-1, 5), still, places(5, 16)])
    mean = seen(stretches, 6.4, 1500, 0.1)
    tracemalloc.start()
    spot = found(stretches, mean, 3, LENGTH)
    assert tracemalloc.get_traced_memory()[1] < 8_000_000
    tracemalloc.stop()
    assert spot.s_m == pytest.approx(6.4, abs=3 * spot.sigma_m)
    assert spot.sigma_m < 0.3


# --- points and spread goods ----------------------------------------------------------------------


def goods(span_m: float, source_cps: float, stretches: Floats, at_m: float = 6.0) -> Floats:
    """Mean counts of a source that is spread about a place."""
    ends = at_m - span_m / 2, at_m + span_m / 2
    parts = [seen(stretches, part_m, source_cps, 0.1) for part_m in np.linspace(*ends, 9)]
    mean: Floats = np.mean(parts, axis=0)
    return mean


def test_goods_that_are_spread_are_told_from_a_point() -> None:
    stretches = places(-0.5, 17.0)
    point = found(stretches, seen(stretches, 6, 3000, 0.1), 3, LENGTH)
    spread = found(stretches, goods(8.0, 4000, stretches), 4, LENGTH)
    assert (point.distributed, spread.distributed) == (False, True)
    assert point.fwhm_m == pytest.approx(2 * D, abs=0.8)
    assert spread.fwhm_m > 9


@pytest.mark.parametrize("source", [500, 1000])
def test_chance_hardly_ever_spreads_a_point(source: float) -> None:
    """Without the second condition one weak point in five would be called goods, which is a hint of NORM."""
    stretches = places(-0.5, 17.0)
    spots = [found(stretches, seen(stretches, 6, source, 0.1), n, LENGTH) for n in range(100)]
    assert sum(spot.distributed for spot in spots) <= 2
    assert sum(spot.fwhm_m > 3 * D for spot in spots) >= (10 if source == 500 else 0)


def test_a_shape_that_does_not_fit_widens_the_error() -> None:
    stretches = places(-0.5, 17.0)
    two = (seen(stretches, 4.5, 4000, 0.1) + seen(stretches, 7.5, 4000, 0.1)) / 2
    one = found(stretches, seen(stretches, 6, 4000, 0.1), 1, LENGTH)
    assert found(stretches, two, 1, LENGTH).sigma_m > 1.7 * one.sigma_m


# --- nothing there --------------------------------------------------------------------------------


@pytest.mark.parametrize("at_m", [-6.0, 24.0])
def test_a_peak_at_an_end_is_no_place(at_m: float) -> None:
    stretches = places()
    assert locate(stretches, drawn(seen(stretches, at_m, 3000), 5), D) is None


def test_nothing_behind_the_vehicle_is_a_place_of_it() -> None:
    stretches = places()
    counts = drawn(seen(stretches, 12, 3000), 6)
    assert locate(stretches, counts, D, length_m=9) is None
    assert locate(stretches, counts, D, length_m=15) is not None


def test_goods_spread_to_an_end_are_found_and_not_hidden_by_the_dip_beside_them() -> None:
    """The control: were a dip allowed to fit better, it would take most of these for no peak at all."""
    stretches = places(-0.5, 17.0)
    mean = goods(8.0, 4000, stretches, 7.6)
    assert all(locate(stretches, drawn(mean, n), D, LENGTH) for n in range(20))


@pytest.mark.parametrize("begins", [[1.0, 2, 3, 4], [3.0, 3, 3, 3, 3, 3]])
def test_too_little_gives_none(begins: list[float]) -> None:
    stretches = np.stack([np.array(begins), np.array(begins)], axis=1)
    assert locate(stretches, np.full(len(begins), 100.0), D) is None


def test_all_errors_together() -> None:
    assert band_sigma_m(0, 11, 2, 0, 0, 0.3) == pytest.approx(0.3)
    assert band_sigma_m(0.3, 10, 2, 0.04, 0.0, 0) == pytest.approx(0.5)
    assert band_sigma_m(0, 10, 2, 0, 0.06, 0) == pytest.approx(0.12)
