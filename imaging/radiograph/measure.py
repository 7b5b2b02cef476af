"""What the lane measures on a D16 image now: where the vehicle begins and ends, and areas."""

from __future__ import annotations

import math

import numpy as np

from imaging.radiograph.model import D16_AIR, D16_PER_NEPER, DEAD_DETECTOR, NO_DATA, Calibration, Columns

LEAST_ATTENUATION = 0.15
NOISE_SIGMA = 6.0
LEAST_ROWS = 4
LEAST_LINES = 3


def matter_below(calibration: Calibration) -> int:
    """Return the D16 value below which a pixel sees more than air and its noise."""
    attenuation = max(LEAST_ATTENUATION, NOISE_SIGMA * calibration.air_noise)
    return max(0, math.floor(D16_AIR - D16_PER_NEPER * attenuation))


def least_attenuation(
    sample_sum: float, air_sum: float, units_per_quantum: float, read_variance: float
) -> float:
    """Return what a region that was not penetrated attenuates at least, with 95 % confidence.

    ``sample_sum`` samples of the region, dark taken off, ``air_sum`` what they would be in air, both summed
    over its pixels; ``read_variance`` the sum of their read noise variances. The upper bound of the counts is
    Wilson's: s + 1.353·k + 1.645·√(k·s + 0.676·k² + σ²).
    """
    k, s = units_per_quantum, max(sample_sum, 0.0)
    most = s + 1.353 * k + 1.645 * math.sqrt(k * s + 0.676 * k * k + read_variance)
    return math.log(air_sum / most)


class VehicleFinder:
    """Watches columns arrive and knows the vehicle's first line as soon as it was seen.

    A line belongs to a vehicle when at least four detectors see more than air and its noise; three such
    lines in a row make a vehicle. Lines without data neither begin nor end a row of lines; those with no
    line of air between them and the vehicle may hide a part of it.
    """

    def __init__(self, calibration: Calibration) -> None:
        self._below = matter_below(calibration)
        self.nose: int | None = None
        """First line of the vehicle."""
        self.tail: int | None = None
        """Last line of the vehicle so far."""
        self._run_start = 0
        self._run = 0
        self._hidden = 0
        """Lines without data before the last row of vehicle lines, inside it or right after it."""
        self._blanks = 0
        """Lines without data since the last line with data."""
        self._behind_vehicle = False
        """Whether the last line with data was one of the vehicle."""

    @property
    def blind(self) -> int:
        """Lines without data that may hide a part of the vehicle."""
        return self._hidden + (self._blanks if self._behind_vehicle else 0)

    def push(self, columns: Columns) -> None:
        """Look at the next columns."""
        bad = columns.flags & np.uint8(NO_DATA | DEAD_DETECTOR)
        seen = (columns.d16 < self._below) & (bad == 0)
        occupied = (np.count_nonzero(seen, axis=1) >= LEAST_ROWS).tolist()
        blank = ((columns.flags & np.uint8(NO_DATA)) != 0).all(axis=1).tolist()
        for i in range(len(blank)):
            if blank[i]:
                self._blanks += 1
                continue
            if occupied[i] or self._behind_vehicle:
                self._hidden += self._blanks
            self._blanks, self._behind_vehicle = 0, occupied[i]
            if not occupied[i]:
                self._run = 0
                continue
            line = columns.first + i
            if self._run == 0:
                self._run_start = line
            self._run += 1
            if self._run >= LEAST_LINES:
                self.nose = self._run_start if self.nose is None else self.nose
                self.tail = line
