"""Where along the vehicle the source is: the shape of the counts as it passes the panels.

A point source that passes at distance ``d`` gives net counts of the shape g = 1/(1 + ((s − s₀)/d)²), where
s is the place behind the vehicle's nose that is before the panels; a record counts while the vehicle moves
on, so its share is the mean of g over its stretch. What the vehicle keeps of the background from the panels
is fitted beside it: a constant, and the step at its nose and tail where its length is known. Without that
step a weak source near an end is drawn outwards by up to a metre, or is not found. The inverse square
neglects collimation and cargo: ``d`` is fitted at commissioning.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

VERSION = 2
GRID_M, COARSE_M = 0.02, 0.2
WIDTHS_M = np.arange(10, 81) / 10
AROUND_M = np.arange(-10.0, 11.0) * 0.4
"""Where, beside the place, a wider peak is looked for."""
WIDTH_STEP = 5
"""Every so many widths are tried before those around the best of them."""
DISTRIBUTED = 1.5
"""A width above so many times that of a point source is one of spread goods: a hint of NORM …"""
SURE = 9.0
"""… if the wider shape leaves so many variances less over: chance alone says "spread" of one point in 400."""
LEAST_SAMPLES = 5
SHADOW_SAMPLES = 12
"""From so many on the vehicle's shadow is fitted, too; neutrons have fewer and hardly any."""
SHADOW_EDGE_M = 1.0
"""The shadow begins so far before the nose and is whole so far behind it, and likewise at the tail."""
SHORT_STEP = 1e-3
"""Stretches below this part of the width are points."""
MOST_STILL, STILL_M = 300, 0.01
"""Of a vehicle that stands so many records are enough: 20 minutes of them would take seconds to fit."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class HotSpot:
    """Place of the largest activity, in metres behind the nose.

    ``sigma_m`` is that of the counts alone; ``band_sigma_m`` (below) adds what else is not known. ``fwhm_m``
    is the full width at half maximum; ``height`` the net counts of one interval at the peak.
    """

    s_m: float
    sigma_m: float
    fwhm_m: float
    height: float
    distributed: bool


def locate(
    stretches_m: Floats, counts: Floats, distance_m: float, length_m: float | None = None
) -> HotSpot | None:
    """Return the hot spot, or ``None`` where there is none between the ends of what was seen.

    ``stretches_m``, float64 (n, 2): places before the panels at the beginning and end of each record, metres
    behind the nose, in any order (a vehicle may reverse). ``counts``, float64 (n,): of each record, all of
    one counting time. ``distance_m``: from the panels to the lane's middle. ``length_m``: of the vehicle;
    nothing behind its end is a place of it.
    """
    if counts.size < LEAST_SAMPLES:
        return None
    low, high = max(0.0, float(stretches_m.min())), float(stretches_m.max())
    if length_m is not None:
        high = min(high, length_m)
    if high - low < 2 * GRID_M:
        return None
    stretches_m, counts = _thinned(stretches_m, counts)
    fit = _Fit(stretches_m, counts, _ground(stretches_m, length_m))
    coarse = np.linspace(low, high, max(3, math.ceil((high - low) / COARSE_M) + 1))
    near = float(coarse[int(np.argmin(fit.of(coarse, distance_m)[0]))])
    places = np.arange(max(low, near - COARSE_M), min(high, near + COARSE_M) + GRID_M / 2, GRID_M)
    loss, heights = fit.of(places, distance_m)
    best = int(np.argmin(loss))
    place, height, left = float(places[best]), float(heights[best]), float(loss[best])
    if place <= low + GRID_M / 2 or place >= high - GRID_M or height <= 0:
        return None
    wide, rest = fit.width(np.clip(place + AROUND_M, low, high))
    noise = max(float(counts.mean()), left / max(1, counts.size - fit.unknowns))
    return HotSpot(
        s_m=round(place, 2),
        sigma_m=fit.sigma(place, height, distance_m, left),
        fwhm_m=round(2 * wide, 1),
        height=height,
        distributed=wide > DISTRIBUTED * distance_m and left - rest > SURE * noise,
    )


def _thinned(stretches_m: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """Return the records without most of those that a vehicle makes while it stands."""
    still = np.flatnonzero(np.abs(np.diff(stretches_m)[:, 0]) < STILL_M)
    kept = np.ones(counts.size, dtype=bool)
    kept[still] = False
    kept[still[:: max(1, math.ceil(still.size / MOST_STILL))]] = True
    return stretches_m[kept], counts[kept]


def _ground(stretches_m: Floats, length_m: float | None) -> Floats:
    """Return what lies under the peak, (n, 1 or 2): a constant, and the shadow if the length is known."""
    middles = stretches_m.mean(axis=1)
    constant = np.ones((middles.size, 1))
    if length_m is None or middles.size < SHADOW_SAMPLES:
        return constant
    edge = SHADOW_EDGE_M
    at_nose = np.clip((middles + edge) / (2 * edge), 0, 1)
    at_tail = np.clip((length_m + edge - middles) / (2 * edge), 0, 1)
    return np.column_stack([constant, at_nose * at_tail])


def _shape(stretches_m: Floats, places: Floats, width: float) -> Floats:
    """Return the mean of g over each stretch for a peak at each place, (places, stretches)."""
    ends = (stretches_m - places[:, None, None]) / width
    step = ends[..., 1] - ends[..., 0]
    short = np.abs(step) < SHORT_STEP
    turn = np.diff(np.arctan(ends))[..., 0]
    middle = ends.mean(axis=-1)
    shape: Floats = np.where(short, 1 / (1 + middle * middle), turn / np.where(short, 1.0, step))
    return shape


@dataclass(slots=True)
class _Fit:
    """Unweighted least squares of one peak over its ground."""

    stretches_m: Floats
    counts: Floats
    ground: Floats

    @property
    def unknowns(self) -> int:
        """Number of what is fitted: the ground, the peak's height and its place."""
        return int(self.ground.shape[1]) + 2

    def of(self, places: Floats, width: float) -> tuple[Floats, Floats]:
        """Return the squares left over and the height of the best fit, for a peak at each place.

        A dip is no fit: beside spread goods, or where cargo hides more, it would win.
        """
        base, _ = np.linalg.qr(self.ground)
        shape = _shape(self.stretches_m, places, width)
        shape -= (shape @ base) @ base.T
        over = self.counts - base @ (base.T @ self.counts)
        power = np.maximum((shape * shape).sum(axis=1), 1e-12)
        common = shape @ over
        return float(over @ over) - common * np.maximum(common, 0.0) / power, common / power

    def width(self, places: Floats) -> tuple[float, float]:
        """Return the width that fits best at any place, and the squares that it leaves over."""

        def best(numbers: range) -> tuple[float, int]:
            return min((float(self.of(places, float(WIDTHS_M[n]))[0].min()), n) for n in numbers)

        most = len(WIDTHS_M)
        _, near = best(range(0, most, WIDTH_STEP))
        left, n = best(range(max(0, near - WIDTH_STEP), min(most, near + WIDTH_STEP + 1)))
        return float(WIDTHS_M[n]), left

    def sigma(self, place: float, height: float, width: float, left: float) -> float:
        """Return the standard error of the place: Poisson counts, more where the shape does not fit."""
        before, at, after = _shape(self.stretches_m, place + np.array([-GRID_M, 0.0, GRID_M]), width)
        slope = height * (after - before) / (2 * GRID_M)
        design = np.column_stack([at, self.ground, slope])
        inverse = np.linalg.pinv(design.T @ design)
        variance = np.maximum(self.counts, 1.0)
        spread = design.T @ (design * variance[:, None])
        misfit = left / (float(variance.mean()) * max(1, self.counts.size - self.unknowns))
        return float(math.sqrt((inverse @ spread @ inverse)[-1, -1] * max(1.0, misfit)))


def band_sigma_m(
    sigma_m: float, travel_m: float, speed_mps: float, sigma_speed: float, sigma_t_s: float, sigma_x_m: float
) -> float:
    """Return the standard error of the place on the vehicle: counts, speed, begin of the occupancy, geometry.

    ``travel_m``: way since the occupancy began; ``sigma_speed``: relative error of the speed; ``sigma_t_s``:
    error of the begin; ``sigma_x_m``: of the places of beams and panels, and of the nose.
    """
    terms = (sigma_m, travel_m * sigma_speed, speed_mps * sigma_t_s, sigma_x_m)
    return math.hypot(*terms)
