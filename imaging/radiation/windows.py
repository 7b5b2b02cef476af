"""Energy windows: a change of the ratio of low to high energies, which cargo that shields does not make.

z = [ln(L/H) − ln(L_b/H_b)] / √(1/L + 1/H + 1/L_b + 1/H_b) is near to normal where the expected counts are
large; suppression takes from both windows alike and leaves z as it is. J. Ely et al., NIM A 560:373 (2006).
Of the smaller of two windows the upper tail is heavier than the normal one: z is tested only where the low
window is not the smaller one, and its probabilities there are the normal approximation, a little too large.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from statistics import NormalDist

from imaging.radiation.gross import GrossConfig
from imaging.radiation.run import Figures, Run
from imaging.radiation.verdict import BackgroundEstimate

ALGORITHM = "energy_windows"
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

    By the normal approximation. The lower tail is heavier where the low window is the larger one, and is no
    alarm.
    """
    return NormalDist().inv_cdf(1 - p_occupancy / (tests * windows))


def is_testable(low_background: int, high_background: int, t_b_s: float, t_w_s: float) -> bool:
    """Whether enough counts are expected in both windows, and not fewer in the low one."""
    least = min(low_background, high_background) * t_w_s / t_b_s
    return low_background >= high_background and least >= LEAST_EXPECTED


@dataclass(frozen=True, slots=True)
class RatioLimit:
    """The background's counts in both windows, and the z above which a window of time alarms."""

    low: int
    high: int
    t_b_s: float
    z: float

    @classmethod
    def of(cls, estimate: BackgroundEstimate, config: GrossConfig) -> RatioLimit | None:
        """Return the limit for a background of two rates, low and high; ``None``: it is not testable."""
        t_b_s = estimate.counting_s
        low, high = (round(cps * t_b_s) for cps in estimate.cps)
        if not is_testable(low, high, t_b_s, config.window_s):
            return None
        return cls(low, high, t_b_s, ratio_limit(config.p_occupancy, config.design_windows, config.tests))


class RatioRun(Run):
    """One occupancy: sliding sums of both energy windows, as long as those of the gross counts."""

    CHANNEL = "gamma"

    def __init__(self, config: GrossConfig, limit: RatioLimit) -> None:
        super().__init__(ALGORITHM)
        self._config, self._limit = config, limit
        self._window: deque[tuple[int, int]] = deque(maxlen=config.window_intervals)
        self._windows = 0
        self._peak: float | None = None

    def push(self, windows: tuple[int | None, int | None] | None, t_s: float) -> bool:
        """Take the counts of one interval, low and high; return whether this is the first crossing.

        A missing number begins the sums anew, and so does a window that counted nothing at all where a
        hundred were expected: its ratio is not defined, and its detector is not well.
        """
        low, high = windows or (None, None)
        if low is None or high is None:
            self.gap()
            return False
        self._window.append((low, high))
        if len(self._window) < self._config.window_intervals:
            return False
        sums = [sum(column) for column in zip(*self._window, strict=True)]
        if min(sums) == 0:
            self.gap()
            return False
        self._windows += 1
        z = ratio_score(sums[0], sums[1], self._limit.low, self._limit.high)
        self._peak = z if self._peak is None else max(self._peak, z)
        return z > self._limit.z and self._cross(t_s)

    def gap(self) -> None:
        """Start the sums afresh after missing data."""
        super().gap()
        self._window.clear()

    def _figures(self) -> Figures:
        limit, config = self._limit, self._config
        p_window = config.p_occupancy / (config.tests * config.design_windows)
        params: dict[str, float | int | str] = {
            "background_low": limit.low,
            "background_high": limit.high,
            "background_s": limit.t_b_s,
            "window_s": config.window_s,
            "p_occupancy": config.p_occupancy / config.tests,
            "design_windows": config.design_windows,
            "windows": self._windows,
            "p_window": float(f"{p_window:.4g}"),
            "p_by": "normal approximation",
            "false_alarm_bound": float(f"{min(1.0, self._windows * p_window):.4g}"),
        }
        peak = None if self._peak is None else round(self._peak, 4)
        return Figures(params, peak, round(limit.z, 4), self._windows)
