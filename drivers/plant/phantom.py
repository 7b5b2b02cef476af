"""A phantom: solids in a thin vertical fan of gamma rays, traced with exact source-to-detector chords.

Axes in metres: ``x`` along the vehicle (0 at its nose, growing to its tail), ``y`` across the lane (0 in its
middle, the source at negative y), ``z`` up from the road. A line of the scan is the plane of one ``x``: all
rays lie in that plane, so every solid is cut to a rectangle or an ellipse there, and the chord through that
is exact. Attenuation is Beer-Lambert without scatter, averaged over the lines of the source.

It has its own few constants, so that it cannot confirm a wrong table of the imaging chain.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CM_PER_M = 100.0

MASS_ATTENUATION: dict[str, tuple[float, float]] = {
    "steel": (0.05526, 0.05181),
    "aluminium": (0.05673, 0.05319),
    "water": (0.06527, 0.06117),
    "plastic": (0.06706, 0.06285),
    "wood": (0.06236, 0.05845),
    "ceramic": (0.05875, 0.05505),
}
"""Mass attenuation coefficients in cm²/g at the Co-60 lines, 1.1732 and 1.3325 MeV (NIST XCOM, interpolated;
wood, plastic and ceramic by electrons per gram). ``plastic`` stands for rubber and fuel, too."""


@dataclass(frozen=True)
class Fan:
    """Where the source and the detectors stand; also what the emulated scanner declares of itself."""

    detectors: int
    pitch_m: float
    bottom_m: float
    """Height of the lowest detector's centre."""
    plane_distance_m: float
    """From the source to the middle of the lane."""
    detector_distance_m: float
    source_height_m: float

    @cached_property
    def slope(self) -> Floats:
        """Rise per metre across the lane of the ray to each detector, row 0 the highest; never 0."""
        height = self.bottom_m + self.pitch_m * np.arange(self.detectors - 1, -1, -1)
        slope = (height - self.source_height_m) / self.detector_distance_m
        return np.where(np.abs(slope) < 1e-12, 1e-12, slope)

    @cached_property
    def stretch(self) -> Floats:
        """Length of each ray per metre across the lane."""
        return np.sqrt(1 + self.slope**2)

    @property
    def height_at_lane_m(self) -> Floats:
        """Height at which the ray to each detector crosses the middle of the lane."""
        return self.source_height_m + self.slope * self.plane_distance_m


# --- shapes ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Box:
    """All of ``x[0]..x[1]``, ``y[0]..y[1]``, ``z[0]..z[1]``."""

    x: tuple[float, float]
    y: tuple[float, float]
    z: tuple[float, float]

    def chords(self, fan: Fan, x_m: Floats) -> Floats:
        """Return chords in metres, shape (1, detectors): the same for every ``x`` inside."""
        return _through_rectangle(fan, self.y, self.z[0], self.z[1])


@dataclass(frozen=True, slots=True)
class Prism:
    """An outline in the side view, straight through from ``y[0]`` to ``y[1]``.

    ``outline`` holds (x, lower z, upper z) at growing x, joined by straight lines.
    """

    outline: tuple[tuple[float, float, float], ...]
    y: tuple[float, float]

    @property
    def x(self) -> tuple[float, float]:
        """First and last ``x``."""
        return self.outline[0][0], self.outline[-1][0]

    def chords(self, fan: Fan, x_m: Floats) -> Floats:
        """Return chords in metres, shape (x, detectors)."""
        xs, low, high = np.array(self.outline).T
        return _through_rectangle(
            fan, self.y, np.interp(x_m, xs, low)[:, None], np.interp(x_m, xs, high)[:, None]
        )


@dataclass(frozen=True, slots=True)
class Cylinder:
    """A finite cylinder about one axis; ``half_m`` is half its length."""

    axis: Literal["x", "y", "z"]
    centre: tuple[float, float, float]
    radius_m: float
    half_m: float

    @property
    def x(self) -> tuple[float, float]:
        """First and last ``x``."""
        reach = self.half_m if self.axis == "x" else self.radius_m
        return self.centre[0] - reach, self.centre[0] + reach

    def chords(self, fan: Fan, x_m: Floats) -> Floats:
        """Return chords in metres, shape (x, detectors); along ``x`` the same for every ``x`` inside."""
        x, y, z = self.centre
        if self.axis == "x":
            return _through_ellipse(fan, y, z, np.array([[self.radius_m]]), np.array([[self.radius_m]]))
        h = np.sqrt(np.maximum(0, self.radius_m**2 - (x_m - x) ** 2))[:, None]
        if self.axis == "y":
            return _through_rectangle(fan, (y - self.half_m, y + self.half_m), z - h, z + h)
        return _through_rectangle(fan, (y - h, y + h), z - self.half_m, z + self.half_m)


@dataclass(frozen=True, slots=True)
class Ellipsoid:
    """An ellipsoid with its half axes along x, y and z; a sphere where they are equal."""

    centre: tuple[float, float, float]
    half_axes: tuple[float, float, float]

    @property
    def x(self) -> tuple[float, float]:
        """First and last ``x``."""
        return self.centre[0] - self.half_axes[0], self.centre[0] + self.half_axes[0]

    def chords(self, fan: Fan, x_m: Floats) -> Floats:
        """Return chords in metres, shape (x, detectors)."""
        a, b, c = self.half_axes
        h = np.sqrt(np.maximum(1e-12, 1 - ((x_m - self.centre[0]) / a) ** 2))[:, None]
        return _through_ellipse(fan, self.centre[1], self.centre[2], b * h, c * h)


@dataclass(frozen=True, slots=True)
class Hollow:
    """``outer`` without ``inner``, which must lie inside it."""

    outer: Box | Prism | Cylinder | Ellipsoid
    inner: Box | Prism | Cylinder | Ellipsoid

    @property
    def x(self) -> tuple[float, float]:
        """First and last ``x``."""
        return self.outer.x

    def chords(self, fan: Fan, x_m: Floats) -> Floats:
        """Return chords in metres, shape (x, detectors)."""
        inside = (x_m > self.inner.x[0]) & (x_m < self.inner.x[1])
        return self.outer.chords(fan, x_m) - np.where(inside[:, None], self.inner.chords(fan, x_m), 0.0)


Shape = Box | Prism | Cylinder | Ellipsoid | Hollow


def _through_rectangle(
    fan: Fan, y: tuple[float | Floats, float | Floats], low: float | Floats, high: float | Floats
) -> Floats:
    """Slab method: the part of each ray that lies between both pairs of sides."""
    at_low = (low - fan.source_height_m) / fan.slope - fan.plane_distance_m
    at_high = (high - fan.source_height_m) / fan.slope - fan.plane_distance_m
    enter = np.maximum(y[0], np.minimum(at_low, at_high))
    leave = np.minimum(y[1], np.maximum(at_low, at_high))
    chords: Floats = np.atleast_2d(np.maximum(0, leave - enter) * fan.stretch)
    return chords


def _through_ellipse(fan: Fan, y: float, z: float, half_y: Floats, half_z: Floats) -> Floats:
    """Line and ellipse: the distance between the two roots; ``half_y``, ``half_z`` of shape (x, 1)."""
    above = fan.source_height_m + fan.slope * (fan.plane_distance_m + y) - z
    scale = half_z**2 + (half_y * fan.slope) ** 2
    root = np.sqrt(np.maximum(0, scale - above**2))
    chords: Floats = 2 * half_y * half_z * root / scale * fan.stretch
    return chords


# --- solids ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Solid:
    """A shape filled with a material; the density in g/cm³ may be that of a loose filling."""

    shape: Shape
    material: str
    density_g_cm3: float


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A solid cut to the rows that it can shadow; ``depth`` holds its depth where all x are alike."""

    solid: Solid
    x: tuple[float, float]
    rows: slice
    depth: Floats | None


class Phantom:
    """Solids before one fan, prepared for many lines."""

    def __init__(self, solids: Iterable[Solid], fan: Fan) -> None:
        """Cut every solid to its rows once."""
        self.fan = fan
        self._prepared = [self._prepare(solid) for solid in solids]

    def _prepare(self, solid: Solid) -> _Prepared:
        first, last = solid.shape.x
        outer = solid.shape.outer if isinstance(solid.shape, Hollow) else solid.shape
        corners = [x for x, _, _ in outer.outline] if isinstance(outer, Prism) else []
        # A shadow is highest and lowest at a corner of an outline, or in the middle of a round shape.
        places = np.sort(np.array([first, (first + last) / 2, last, *corners]))
        depths = solid.shape.chords(self.fan, places)
        shadowed = np.flatnonzero(depths.any(axis=0))
        rows = slice(int(shadowed[0]), int(shadowed[-1]) + 1) if len(shadowed) else slice(0, 0)
        return _Prepared(solid, (first, last), rows, depths[0, rows] if len(depths) == 1 else None)

    def areal_density(self, x_m: Floats) -> dict[str, Floats]:
        """Return g/cm² of each material along each ray, shape (x, detectors); ``x_m`` ascending."""
        found: dict[str, Floats] = {}
        for part in self._prepared:
            first, last = np.searchsorted(x_m, part.x)
            if first == last:
                continue
            depth = part.depth
            if depth is None:
                depth = part.solid.shape.chords(self.fan, x_m[first:last])[:, part.rows]
            name = part.solid.material
            if name not in found:
                found[name] = np.zeros((len(x_m), self.fan.detectors))
            found[name][first:last, part.rows] += depth * (part.solid.density_g_cm3 * CM_PER_M)
        return found

    def transmission(self, x_m: Floats) -> NDArray[np.float32]:
        """Return the fraction of photons that pass, shape (x, detectors); ``x_m`` ascending."""
        densities = self.areal_density(x_m)
        passed = np.zeros((len(x_m), self.fan.detectors))
        lines = len(next(iter(MASS_ATTENUATION.values())))
        for line in range(lines):
            depth = sum(
                (MASS_ATTENUATION[name][line] * areal for name, areal in densities.items()),
                start=np.zeros_like(passed),
            )
            passed += np.exp(-depth)
        return (passed / lines).astype(np.float32)


def transmission(solids: Iterable[Solid], fan: Fan, x_m: Floats) -> NDArray[np.float32]:
    """Return the fraction of photons that pass the solids, shape (x, detectors); ``x_m`` ascending."""
    return Phantom(solids, fan).transmission(x_m)
