"""The fan: where the ray to each detector crosses the lane, and what area a pixel stands for.

The source shines in one plane across the lane; the detectors stand in a column behind it. Across the fan the
image is magnified by what stands how near to the source; along the lane it is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from imaging.radiograph.model import F64


@dataclass(frozen=True)
class FanGeometry:
    """One column of detectors; row 0 is the highest.

    ``bottom_m`` is the height of the lowest detector's centre, ``plane_distance_m`` goes from the source to
    the plane of the lane to which all lengths refer.
    """

    detectors: int
    pitch_m: float
    bottom_m: float
    source_height_m: float
    plane_distance_m: float
    detector_distance_m: float

    @cached_property
    def slope(self) -> F64:
        """Rise of the ray to each detector per metre across the lane, float64 (detectors,)."""
        height = self.bottom_m + self.pitch_m * np.arange(self.detectors - 1, -1, -1, dtype=np.float64)
        slope: F64 = (height - self.source_height_m) / self.detector_distance_m
        return slope

    @property
    def pixel_height_m(self) -> float:
        """Height of a pixel at the lane plane: dz = pitch·d_lane/d_detector, the same for every row."""
        return self.pitch_m * self.plane_distance_m / self.detector_distance_m

    def height_m(self, row: float, distance_m: float | None = None) -> float:
        """Return how high the ray to a row is above the road there; by default at the lane plane."""
        away_m = self.plane_distance_m if distance_m is None else distance_m
        slope = np.interp(row, np.arange(self.detectors), self.slope)
        return float(self.source_height_m + slope * away_m)

    def pixel_area_m2(self, pixel_width_m: float, distance_m: float | None = None) -> F64:
        """Return the area of a pixel across its ray, float64 (detectors,): r·Δθ·Δx with r = d/cos θ.

        Areal density along the ray times this is mass, for matter at that distance; what stands nearer to the
        source looks larger and heavier, hence the bounds of ``near`` and ``far``.
        """
        away_m = self.plane_distance_m if distance_m is None else distance_m
        across = self.pitch_m * away_m / self.detector_distance_m / np.sqrt(1 + self.slope**2)
        area: F64 = across * pixel_width_m
        return area
