"""Where one image ends and the next begins: between the cars of a train, and where a vehicle is too long.

A train cannot be kept whole: each car is an image of its own, made while the next one passes. Between two
cars only the coupler is in the beam. What never ends is cut hard, and the next image begins with the last
columns of the one before; in every measure those belong to the earlier image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from imaging.radiograph.measure import matter_below
from imaging.radiograph.model import DEAD_DETECTOR, NO_DATA, Calibration, Columns

GAP_M = 0.1
"""So wide a gap ends a car."""
COUPLER_M = 0.4
"""So high is what may be left in it."""
LEAST_CAR_M = 2.0
"""A shorter car is part of the next."""
HARD_COLUMNS = 16_384
OVERLAP_COLUMNS = 256


@dataclass(frozen=True, slots=True)
class Cut:
    """The image ends here; ``overlap`` columns before it begin the next one, too."""

    overlap: int


class CarCutter:
    """Watches columns of pitch ``pixel_m`` go by; without ``at_gaps`` only what is too long is cut."""

    def __init__(self, calibration: Calibration, pixel_m: float, *, at_gaps: bool) -> None:
        self._below = matter_below(calibration)
        self._at_gaps = at_gaps
        self._gap = math.ceil(GAP_M / pixel_m)
        self._coupler_rows = COUPLER_M / pixel_m
        self._least = math.ceil(LEAST_CAR_M / pixel_m)
        self._length = 0
        """Columns of this image."""
        self._seen = self._empty = 0
        """Columns with a car in them, and the row of those without one that came last."""

    def push(self, columns: Columns) -> Iterator[Columns | Cut]:
        """Yield the columns in pieces, with a ``Cut`` between two that are of different images."""
        begin = 0
        for end, cut in self._ends(columns):
            yield Columns(columns.first + begin, columns.d16[begin:end], columns.flags[begin:end])
            yield cut
            begin = end
        if begin < columns.d16.shape[0]:
            yield Columns(columns.first + begin, columns.d16[begin:], columns.flags[begin:])

    def _ends(self, columns: Columns) -> Iterator[tuple[int, Cut]]:
        """Yield where images end, as numbers of columns of this piece."""
        bad = columns.flags & np.uint8(NO_DATA | DEAD_DETECTOR)
        rows = np.count_nonzero((columns.d16 < self._below) & (bad == 0), axis=1)
        unknown = (columns.flags & np.uint8(NO_DATA)).all(axis=1)  # a column without data is no gap
        for at, car in enumerate(((rows > self._coupler_rows) | unknown).tolist(), start=1):
            self._length += 1
            self._seen += car
            self._empty = 0 if car else self._empty + 1
            if self._at_gaps and self._empty >= self._gap and self._seen >= self._least:
                self._fresh(0)
                yield at, Cut(0)
            elif self._length >= HARD_COLUMNS:
                self._fresh(OVERLAP_COLUMNS)
                yield at, Cut(OVERLAP_COLUMNS)

    def _fresh(self, length: int) -> None:
        self._length, self._seen, self._empty = length, 0, 0
