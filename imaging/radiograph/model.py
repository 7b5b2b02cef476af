"""Words of the radiograph: the D16 scale, pixel and line flags, a calibration, calibrated columns.

D16 is a 16-bit logarithmic image, D = clip(round(63,487 − 4,096·a), 0, 65,535), where a = ln(I0/I) is the
attenuation. Air is light, dense is dark; means are linear in mass. Images are line-major: shape
(lines, detectors), row 0 of a drawn image is detector 0, the highest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
U16 = NDArray[np.uint16]
F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

D16_AIR = 63_487
D16_PER_NEPER = 4_096
D16_NO_DATA = 65_535
"""Value of a pixel without data; only its flag ``NO_DATA`` tells it from the lightest air."""
D16_WINDOW = (42_000, 64_000)
"""Window (low, high) in which an image is first shown.

Air (63,487) stays below white, so that thin goods are seen beside it, and the lower end (a = 5.2) lies beyond
what 1,000 quanta penetrate.
"""

# Flags of a pixel, uint8.
STARVED = 1
"""Fewer than 10 quanta: not penetrated; the attenuation is only a lower bound."""
DEAD_LINE = 2
"""The beam was on, but the line carries no usable exposure."""
SATURATED = 4
DEAD_DETECTOR = 8
INTERPOLATED = 16
I0_OBSTRUCTED = 32
"""Something covered the reference detectors: the beam monitor was used."""
NO_DATA = 64
SPEED_ASSUMED = 128

# Flags of a line, uint16, as the scanner's wire gives them [linestream v1, LINES record, offset 30].
LINE_BEAM_ON = 1
LINE_MONITOR_VALID = 4
LINE_SOURCE_OFF = 32
LINE_TEST_PATTERN = 64
LINE_PULSE_MISSED = 128

BLOCK_LINES = 64
"""Grid on which every stateful step works, by absolute line number."""
MAX_LINES = 2_000_000

PROVISIONAL_BELOW_LINES = 20_000
PROVISIONAL_BELOW_LINES_PULSED = 2_000


class RadiographError(ValueError):
    """An image or a calibration that cannot be made; the sentence says why and what to do."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What dark and air lines say about a detector column.

    ``dark_mean``, ``dark_sigma``: samples, float64 (detectors,). ``gain``: float64 (detectors,), mean 1 over
    live detectors, 1 where dead. ``level``: samples of a detector of gain 1 in air.
    ``units_per_quantum``: samples per detected quantum (1 for a counter). ``reference_detectors``: live
    ones above every vehicle. ``pulsed``: intensity jitters from line to line (linac).
    ``monitor_ratio``: air level per monitor count, ``monitor_sigma`` the relative scatter of one line's
    ratio, both ``None`` without a monitor.
    """

    dark_mean: F64
    dark_sigma: F64
    gain: F64
    dead: Mask
    level: float
    units_per_quantum: float
    reference_detectors: tuple[int, ...]
    pulsed: bool
    dark_lines: int
    air_lines: int
    monitor_ratio: float | None = None
    monitor_sigma: float | None = None
    made_us: int = 0
    """When its air lines ended, UTC microseconds; 0 where nobody said."""

    @property
    def detectors(self) -> int:
        """Number of detectors."""
        return int(self.gain.size)

    @property
    def sigma(self) -> float:
        """Read noise of a typical live detector, in samples."""
        live = self.dark_sigma[~self.dead]
        return float(np.median(live)) if live.size else 0.0

    @property
    def provisional(self) -> bool:
        """Whether more air lines are needed for the gains to be as good as they can be."""
        needed = PROVISIONAL_BELOW_LINES_PULSED if self.pulsed else PROVISIONAL_BELOW_LINES
        return self.air_lines < needed

    @property
    def air_noise(self) -> float:
        """Standard deviation of the attenuation of one pixel in air."""
        return math.sqrt(self.units_per_quantum * self.level + self.sigma**2) / self.level


@dataclass(frozen=True, slots=True)
class Columns:
    """Calibrated lines from ``first`` on: ``d16`` uint16 and ``flags`` uint8, both (lines, detectors)."""

    first: int
    d16: U16
    flags: U8

    @property
    def end(self) -> int:
        """Number of the line after these."""
        return self.first + int(self.d16.shape[0])
