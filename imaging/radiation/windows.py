"""Energy windows: a change of the ratio of low to high energies, which cargo that shields does not make.

z = [ln(L/H) − ln(L_b/H_b)] / √(1/L + 1/H + 1/L_b + 1/H_b) is near to normal where the expected counts are
large; suppression takes from both windows alike and leaves z as it is. J. Ely et al., NIM A 560:373 (2006).
"""

from __future__ import annotations

import math
from statistics import NormalDist

ALGORITHM = "energy_windows"
VERSION = 1
LEAST_EXPECTED = 100.0
"""Background counts of one window that are *expected* for the test: a gate on observed ones biases z."""


def ratio_score(low: int, high: int, low_background: int, high_background: int) -> float:
    """Return z; all four counts must be above 0 (``ValueError``)."""
    counts = (low, high, low_background, high_background)
    if min(counts) <= 0:
        raise ValueError(f"the ratio of {counts} is not defined")
    change = math.log(low / high) - math.log(low_background / high_background)
    return change / math.sqrt(sum(1 / count for count in counts))


def ratio_limit(p_occupancy: float, windows: int, tests: int = 1) -> float:
    """Return the z above which an occupancy of so many windows alarms.

    The lower tail is heavier, and is no alarm.
    """
    return NormalDist().inv_cdf(1 - p_occupancy / (tests * windows))


def is_testable(low_background: int, high_background: int, t_b_s: float, t_w_s: float) -> bool:
    """Whether enough counts are expected in both windows."""
    return min(low_background, high_background) * t_w_s / t_b_s >= LEAST_EXPECTED
