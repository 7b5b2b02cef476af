"""How much of the background a vehicle shields: recorded, and a reason to trust "no alarm" less.

s = 1 − min F₂/B̂, where F₂ is the moving mean rate over 2 s. The least of many means is low by chance alone,
so s counts as seen only above the 99.9 % point of what an empty portal shows (simulated, B̂ from 20 s).
"""

from __future__ import annotations

import math
from collections import deque

MEAN_S = 2.0
NULL_POINTS = ((20, 3.55), (50, 3.87), (100, 4.05), (300, 4.34), (600, 4.47))
"""Factor c of the 99.9 % point by the number of 200 ms intervals of an occupancy."""
LEAST_INTERVALS = 10
STRONG = 0.30
"""Suppression from which "no alarm" is of low confidence: our choice; ordinary cargo has 0.10 to 0.30."""


def null_limit(background_cps: float, counting_s: float, intervals: int) -> float | None:
    """Return the suppression that chance exceeds once in a thousand; ``None`` below ten intervals."""
    if intervals < LEAST_INTERVALS or background_cps <= 0 or counting_s <= 0:
        return None
    return _factor(intervals) * math.sqrt((1 / MEAN_S + 1 / counting_s) / background_cps)


def _factor(intervals: int) -> float:
    """Interpolate in the logarithm of the number; beyond the table its nearest end holds."""
    below = NULL_POINTS[0]
    for above in NULL_POINTS:
        if intervals <= above[0]:
            if above is below:
                return above[1]
            part = math.log(intervals / below[0]) / math.log(above[0] / below[0])
            return below[1] + part * (above[1] - below[1])
        below = above
    return below[1]


def half_detected(background: float, k: float, suppression: float) -> float:
    """Return S50: net counts of one window that alarm with a probability near one half."""
    return k * math.sqrt(background) + suppression * background


class Suppression:
    """The moving mean of one occupancy."""

    def __init__(self, interval_s: float = 0.2) -> None:
        self._length_s = MEAN_S
        self._window: deque[int] = deque(maxlen=round(MEAN_S / interval_s))
        self.intervals = 0
        self.least_cps: float | None = None
        """The lowest mean rate so far."""

    def push(self, total: int | None) -> None:
        """Take the counts of one interval; a missing number begins the mean anew."""
        if total is None:
            self.gap()
            return
        self.intervals += 1
        self._window.append(total)
        if len(self._window) == self._window.maxlen:
            mean_cps = sum(self._window) / self._length_s
            self.least_cps = mean_cps if self.least_cps is None else min(self.least_cps, mean_cps)

    def gap(self) -> None:
        """No mean reaches over what is missing."""
        self._window.clear()

    def of(self, background_cps: float) -> float | None:
        """Return s, between 0 and 1; ``None`` before the first whole mean."""
        if self.least_cps is None or background_cps <= 0:
            return None
        return min(1.0, max(0.0, 1 - self.least_cps / background_cps))
