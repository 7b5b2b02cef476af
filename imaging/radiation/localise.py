"""Where along the vehicle the source is: the shape of the counts as it passes the panels.

A point source that passes at distance ``d`` gives net counts of the shape g = 1/(1 + ((s − s₀)/d)²), where s
is the place behind the vehicle's nose that is before the panels. A constant beside it takes up what the
vehicle shields. The inverse square neglects collimation and cargo: ``d`` is fitted at commissioning.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

VERSION = 1
GRID_M = 0.02
WIDTHS_M = np.arange(1.0, 8.05, 0.1)
DISTRIBUTED = 1.5
"""A width above so many times that of a point source is one of spread goods: a hint of NORM."""
LEAST_SAMPLES = 5


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
    s_m: NDArray[np.float64],
    counts: NDArray[np.float64],
    background: float,
    distance_m: float,
    length_m: float | None = None,
) -> HotSpot | None:
    """Return the hot spot, or ``None`` where there is none between the ends of what was seen.

    ``s_m``, float64 (n,): place before the panels at the middle of each interval, metres behind the nose, in
    any order (a vehicle may reverse). ``counts``, float64 (n,): counts of each interval. ``background``:
    counts of one interval without a vehicle. ``distance_m``: from the panels to the lane's middle.
    ``length_m``: of the vehicle; nothing behind its end is a place of it.
    """
    if s_m.size < LEAST_SAMPLES:
        return None
    low, high = max(0.0, float(s_m.min())), float(s_m.max())
    if length_m is not None:
        high = min(high, length_m)
    places = np.arange(low, high + GRID_M / 2, GRID_M)
    if places.size < 3:
        return None
    net = counts - background
    loss, heights = _fit(s_m, net, places, distance_m)
    best = int(np.argmin(loss))
    height = float(heights[best])
    if best in (0, places.size - 1) or height <= 0:
        return None
    place = float(places[best])
    wide = min((float(_fit(s_m, net, places[::5], width)[0].min()), float(width)) for width in WIDTHS_M)[1]
    return HotSpot(
        s_m=round(place, 2),
        sigma_m=_sigma(s_m, counts, place, height, distance_m),
        fwhm_m=round(2 * wide, 1),
        height=height,
        distributed=wide > DISTRIBUTED * distance_m,
    )


def _shape(s_m: NDArray[np.float64], place: float | NDArray[np.float64], width: float) -> NDArray[np.float64]:
    shape: NDArray[np.float64] = 1 / (1 + ((s_m - place) / width) ** 2)
    return shape


def _fit(
    s_m: NDArray[np.float64], net: NDArray[np.float64], places: NDArray[np.float64], width: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the squares left over and the height of the best fit, for a peak at each place."""
    shape = _shape(s_m, places[:, None], width)
    shape -= shape.mean(axis=1, keepdims=True)
    centred = net - net.mean()
    power = np.maximum((shape * shape).sum(axis=1), 1e-12)
    common = shape @ centred
    return float(centred @ centred) - common * common / power, common / power


def _sigma(
    s_m: NDArray[np.float64], counts: NDArray[np.float64], place: float, height: float, width: float
) -> float:
    """Return the standard error of the place: unweighted least squares of Poisson counts."""
    shape = _shape(s_m, place, width)
    slope = height * 2 * (s_m - place) / width**2 * shape**2
    design = np.stack([shape, np.ones_like(shape), slope], axis=1)
    inverse = np.linalg.pinv(design.T @ design)
    spread = design.T @ (design * np.maximum(counts, 1.0)[:, None])
    return float(math.sqrt((inverse @ spread @ inverse)[2, 2]))


def band_sigma_m(
    sigma_m: float, travel_m: float, speed_mps: float, sigma_speed: float, sigma_t_s: float, sigma_x_m: float
) -> float:
    """Return the standard error of the place on the vehicle: counts, speed, begin of the occupancy, geometry.

    ``travel_m``: way since the occupancy began; ``sigma_speed``: relative error of the speed; ``sigma_t_s``:
    error of the begin; ``sigma_x_m``: of the places of beams and panels, and of the nose.
    """
    terms = (sigma_m, travel_m * sigma_speed, speed_mps * sigma_t_s, sigma_x_m)
    return math.hypot(*terms)
