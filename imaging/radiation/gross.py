"""Calibrated k-sigma on gross counts: a sliding sum against one integer, with an exact false alarm rate.

A window of ``t_w`` seconds alarms when its counts F exceed B + k·√B, where B is the background measured
over ``t_b`` seconds. Both are Poisson, so the false alarm probability of one window is the exact sum

    P_w(k) = Σ_x Pois(x; b·t_b/t_w) · Pr[Pois(b) > ⌊B(x) + k·√B(x)⌋],  B(x) = x·t_w/t_b

and k is the least value for which n·P_w stays within the owner's false alarms per occupancy of n windows.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from imaging.radiation.poisson import pmf, survival
from imaging.radiation.run import Figures, Run
from imaging.radiation.verdict import BackgroundEstimate

ALGORITHM = "gross_ksigma_calibrated"
LEAST_BACKGROUND = 20.0
"""Below this many counts per window a k-sigma test is the wrong test."""
K_RANGE = (1.0, 20.0)
DRIFT = 0.02
"""Relative change of the background at which k is computed again."""


@dataclass(frozen=True, slots=True)
class GrossConfig:
    """What the owner allows.

    ``p_occupancy``: false alarms per occupancy of ``design_s`` seconds, shared by ``tests`` simultaneous
    tests. A window is ``window_intervals`` intervals of ``interval_s`` seconds.
    """

    p_occupancy: float = 1e-4
    design_s: float = 10.0
    interval_s: float = 0.2
    window_intervals: int = 5
    tests: int = 1

    @property
    def window_s(self) -> float:
        """Length of one window."""
        return self.interval_s * self.window_intervals

    @property
    def design_windows(self) -> int:
        """Sliding windows in an occupancy of the design length."""
        return round(self.design_s / self.interval_s) - self.window_intervals + 1


def window_false_alarm(b: float, t_b_s: float, t_w_s: float = 1.0) -> Callable[[float], float]:
    """Return the function P_w(k) for a true background of ``b`` counts per window, counted for ``t_b_s``.

    The function never rises with k. Needs ``b > 0`` and ``t_b_s > 0``. The backgrounds x that have one limit
    are summed first: there are far fewer limits than backgrounds.
    """
    mean_x = b * t_b_s / t_w_s
    reach = 10 * math.sqrt(mean_x)
    low, high = max(0, math.floor(mean_x - reach)), math.ceil(mean_x + reach) + 20
    below = np.concatenate([[0.0], np.cumsum(pmf(mean_x, low, high))])
    first = max(0, math.floor(b - 10 * math.sqrt(b)))
    last = math.ceil(b + 30 * math.sqrt(b)) + 60
    tail = np.append(survival(b, first, last), 0.0)

    def p_window(k: float) -> float:
        limits = np.arange(*(integer_limit(x, t_b_s, t_w_s, k) + n for n, x in enumerate((low, high))))
        begins = ((np.sqrt(k * k + 4 * limits[1:]) - k) / 2) ** 2 * (t_b_s / t_w_s)
        # the least x of each limit; what falls on a whole number is that, whichever way it was rounded
        begins = np.clip(np.ceil(begins - 1e-6).astype(np.int64), low, high + 1)
        weight = np.diff(below[np.concatenate([[low], begins, [high + 1]]) - low])
        return float(weight @ tail[np.clip(limits + 1 - first, 0, tail.size - 1)])

    return p_window


def k_for(b: float, t_b_s: float, windows: int, p_occupancy: float, t_w_s: float = 1.0) -> float | None:
    """Return the least k in 1 … 20 with ``windows``·P_w(k) <= ``p_occupancy``, or ``None``: there is none."""
    p_window = window_false_alarm(b, t_b_s, t_w_s)
    low, high = K_RANGE
    if windows * p_window(high) > p_occupancy:
        return None
    while high - low > 1e-4:
        middle = (low + high) / 2
        if windows * p_window(middle) <= p_occupancy:
            high = middle
        else:
            low = middle
    return high


def integer_limit(counts: int, t_b_s: float, t_w_s: float, k: float) -> int:
    """Return the counts per window that may not be exceeded, from ``counts`` of background in ``t_b_s``."""
    background = counts * (t_w_s / t_b_s)
    return math.floor(background + k * math.sqrt(background))


@dataclass(frozen=True, slots=True)
class GrossLimit:
    """The cached threshold: an alarm is a window sum above ``limit``."""

    limit: int
    k: float
    background: float
    """Background counts per window."""
    t_b_s: float
    p_window: float
    """Exact false alarm probability of one window at this background."""


class GrossThreshold:
    """Turns background estimates into integer limits; k is kept while the background hardly moves."""

    def __init__(self, config: GrossConfig) -> None:
        self.config = config
        self._known: tuple[float, float, float | None] | None = None
        """Background counts of a window, the time that they were counted, and k for both."""

    def limit(self, estimate: BackgroundEstimate) -> GrossLimit | None:
        """Return the limit for this background, or ``None`` where k-sigma is not the right test."""
        config = self.config
        t_b_s, t_w_s = estimate.counting_s, config.window_s
        counts = round(estimate.total_cps * t_b_s)
        b = counts * t_w_s / t_b_s
        if b < LEAST_BACKGROUND:
            return None
        known = self._known
        if known is None or known[1] != t_b_s or abs(b / known[0] - 1) > DRIFT:
            k = k_for(b, t_b_s, config.design_windows, config.p_occupancy / config.tests, t_w_s)
            self._known = known = (b, t_b_s, k)
        k = known[2]
        if k is None:
            return None
        p_window = window_false_alarm(b, t_b_s, t_w_s)(k)
        return GrossLimit(integer_limit(counts, t_b_s, t_w_s, k), k, b, t_b_s, p_window)


class GrossRun(Run):
    """One occupancy: a sliding sum of whole intervals against one cached integer."""

    CHANNEL = "gamma"

    def __init__(self, config: GrossConfig, limit: GrossLimit, algorithm: str = ALGORITHM) -> None:
        super().__init__(algorithm)
        self._config, self._limit = config, limit
        self._window: deque[int] = deque(maxlen=config.window_intervals)
        self._sum = 0
        self._windows = 0
        self._peak: int | None = None

    def push(self, total: int | None, t_s: float) -> bool:
        """Take the counts of one interval over all panels; return whether this is the first crossing.

        ``t_s`` is seconds after the first scan record. ``None`` (a panel sent no number) breaks the
        window: a sum is never smaller than what was there.
        """
        if total is None:
            self.gap()
            return False
        if len(self._window) == self._config.window_intervals:
            self._sum -= self._window[0]
        self._window.append(total)
        self._sum += total
        if len(self._window) < self._config.window_intervals:
            return False
        self._windows += 1
        if self._peak is None or self._sum > self._peak:
            self._peak = self._sum
        return self._sum > self._limit.limit and self._cross(t_s)

    def gap(self) -> None:
        """Start the window afresh after missing data."""
        super().gap()
        self._window.clear()
        self._sum = 0

    def _figures(self) -> Figures:
        limit, config = self._limit, self._config
        params = {
            "k": round(limit.k, 4),
            "background_counts": round(limit.background, 3),
            "background_s": limit.t_b_s,
            "window_s": config.window_s,
            "p_occupancy": config.p_occupancy / config.tests,
            "design_windows": config.design_windows,
            "windows": self._windows,
            "p_window": float(f"{limit.p_window:.4g}"),
            "false_alarm_bound": float(f"{min(1.0, self._windows * limit.p_window):.4g}"),
        }
        return Figures(params, self._peak, limit.limit, self._windows)


def replica_limit(estimate: BackgroundEstimate, nsigma: float, t_w_s: float) -> GrossLimit | None:
    """Return the limit by the device's own rule, on the background that was measured here.

    Its false alarms are stated, not chosen. ``None`` without a background.
    """
    t_b_s = estimate.counting_s
    counts = round(estimate.total_cps * t_b_s)
    if counts == 0:
        return None
    b = counts * t_w_s / t_b_s
    p_window = window_false_alarm(b, t_b_s, t_w_s)(nsigma)
    return GrossLimit(integer_limit(counts, t_b_s, t_w_s, nsigma), nsigma, b, t_b_s, p_window)
