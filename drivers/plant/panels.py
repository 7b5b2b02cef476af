"""Counts of a portal's panels: Poisson and seeded, interval by interval, and the background learnt from them.

What every emulated portal does before its own protocol begins. A portal has been counting for a while when
it is switched on. All that is told of an interval is as it was in its middle, however late it is asked for: a
truck breaks the beams on average one whole interval before its first record is sent.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from drivers.plant.world import Plant

BACKGROUND_TIME_S = 20.0
NEUTRON_BACKGROUND_TIME_S = 120.0
NSIGMA = 7.0
ALPHA = 1e-6
FAR_M = 1.0
"""A truck that moves further within one interval is looked at more than once: a point source passes the
panels in a few metres."""


def poisson_limit(mean: float, probability: float) -> int:
    """Return the smallest n that a Poisson number of ``mean`` reaches with at most ``probability``."""
    term, below = math.exp(-mean), 0.0
    for n in itertools.count():
        if 1 - below <= probability:
            return n
        below += term
        term *= mean / (n + 1)
    raise AssertionError("unreachable")


class Panels:
    """All panels of one portal; a window is one second."""

    def __init__(
        self, plant: Plant, random: np.random.Generator, interval_s: float, nsigma: float = NSIGMA
    ) -> None:
        """Learn the background of an empty lane; ``interval_s`` divides a second."""
        self.plant = plant
        self.nsigma = nsigma
        self.intervals = round(1 / interval_s)
        """Intervals of a window."""
        self._random = random
        self._interval_s = interval_s
        lengths = round(BACKGROUND_TIME_S / interval_s), round(NEUTRON_BACKGROUND_TIME_S / interval_s)
        self._gamma_past = self._known(plant.background.gamma_cps, lengths[0])
        self._neutron_past = self._known(plant.background.neutron_cps, lengths[1])
        self.gamma = deque(itertools.islice(self._gamma_past, self.intervals), self.intervals)
        """Counts per panel (int64) of the last intervals, one second of them."""
        self.neutron = deque(itertools.islice(self._neutron_past, self.intervals), self.intervals)
        self.seen = plant.at()
        """The vehicle in the middle of the last interval."""
        self.occupied = plant.occupied()
        """Whether it was in the beams then."""

    def _known(self, cps: Sequence[float], length: int) -> deque[NDArray[np.int64]]:
        return deque(self._random.poisson(np.array(cps) * self._interval_s, (length, len(cps))), length)

    def count(self, end_s: float, *, gain: float = 1.0, noise_cps: float = 0.0) -> None:
        """Count the interval that ended at ``end_s`` (monotonic seconds of the plant, now or before).

        The first gamma panel has ``gain``, the first neutron panel ``noise_cps``.
        """
        middle_s = end_s - self._interval_s / 2
        self.seen, self.occupied = self.plant.at(middle_s), self.plant.occupied(middle_s)
        looks = self._looks(end_s)
        gamma_cps, neutron_cps = _mean(self.plant.gamma_cps, looks), _mean(self.plant.neutron_cps, looks)
        gamma_cps[0] *= gain
        neutron_cps[0] += noise_cps
        self.gamma.append(self._random.poisson(gamma_cps * self._interval_s))
        self.neutron.append(self._random.poisson(neutron_cps * self._interval_s))

    def _looks(self, end_s: float) -> list[float]:
        """Return the middles of the parts of an interval in which the truck moves no more than ``FAR_M``."""
        way_m = abs(self.seen.speed_mps) * self._interval_s
        parts = max(1, math.ceil(way_m / FAR_M))
        return [end_s - self._interval_s * (part + 0.5) / parts for part in range(parts)]

    def learn(self) -> None:
        """Take the last interval into the background."""
        self._gamma_past.append(self.gamma[-1])
        self._neutron_past.append(self.neutron[-1])

    @property
    def gamma_background(self) -> float:
        """Learnt gamma background per window, summed over the panels."""
        return float(np.sum(self._gamma_past)) / len(self._gamma_past) * self.intervals

    @property
    def gamma_limit(self) -> float:
        """Sum of one window above which the portal alarms: B + N sqrt(B)."""
        return self.gamma_background + self.nsigma * math.sqrt(self.gamma_background)

    @property
    def gamma_alarm(self) -> bool:
        """Whether the last window is above the limit."""
        return float(np.sum(self.gamma)) > self.gamma_limit

    @property
    def neutron_background(self) -> float:
        """Learnt neutron background per second, summed over the panels."""
        return float(np.sum(self._neutron_past)) / len(self._neutron_past) / self._interval_s

    @property
    def neutron_limit(self) -> int:
        """Sum of one second from which the portal alarms: background has it with probability ``ALPHA``."""
        return poisson_limit(self.neutron_background, ALPHA)

    @property
    def neutron_alarm(self) -> bool:
        """Whether the last second has reached the limit."""
        return float(np.sum(self.neutron)) >= self.neutron_limit


def _mean(rates: Callable[[float], tuple[float, ...]], looks: list[float]) -> NDArray[np.float64]:
    """Return the mean rate of each panel, counts per second."""
    mean: NDArray[np.float64] = np.mean([rates(at_s) for at_s in looks], axis=0)
    return mean
