"""Sequential test of a neutron rate (A. Wald, Annals of Mathematical Statistics 16:117, 1945).

After each record the logarithm of the likelihood ratio grows by n·ln(λ1/λ0) − (λ1 − λ0)·dt. It alarms at
ln((1 − β)/α) and clears at ln(β/(1 − α)). Cleared, it begins again while the vehicle stands there, so Wald's
bound α/(1 − β) holds for each run of it and not for the occupancy: ``alpha_for`` finds the α for all runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from imaging.radiation.poisson import pmf

ALGORITHM = "neutron_sprt"
VERSION = 1
ALPHAS = (1e-12, 0.1)


@dataclass(frozen=True, slots=True)
class SprtConfig:
    """Rates per second without and with a source, error probabilities of one run, seconds of one record."""

    background: float
    source: float
    alpha: float
    beta: float = 0.01
    interval_s: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what gives no test; raises ``ValueError``."""
        rates = 0 < self.background < self.source < math.inf and self.interval_s > 0
        if not (rates and 0 < self.alpha < 1 - self.beta < 1):
            raise ValueError(f"no sequential test: {self}")

    @property
    def gain(self) -> float:
        """What one count adds."""
        return math.log(self.source / self.background)

    @property
    def loss(self) -> float:
        """What one record takes away."""
        return (self.source - self.background) * self.interval_s

    @property
    def alarm_at(self) -> float:
        """The upper limit."""
        return math.log((1 - self.beta) / self.alpha)

    @property
    def clear_at(self) -> float:
        """The lower limit."""
        return math.log(self.beta / (1 - self.alpha))


class Sprt:
    """One occupancy."""

    def __init__(self, config: SprtConfig) -> None:
        self._config = config
        self._sum = 0.0
        self.peak = -math.inf
        """The largest value so far."""
        self.runs = 0
        """How often it has cleared."""
        self.alarmed = False

    def push(self, count: int) -> bool:
        """Take one record; return whether this is the first crossing of the upper limit."""
        config = self._config
        self._sum += count * config.gain - config.loss
        self.peak = max(self.peak, self._sum)
        if self._sum >= config.alarm_at:
            first, self.alarmed, self._sum = not self.alarmed, True, 0.0
            return first
        if self._sum <= config.clear_at:
            self._sum, self.runs = 0.0, self.runs + 1
        return False


def alarm_probability(config: SprtConfig, rate: float, records: int, *, restarts: bool = True) -> float:
    """Return the exact probability of an alarm within so many records at a true ``rate`` per second.

    The value after j records of a run is a line over the counts of that run, so the probability of each pair
    of (records in the run, counts in it) is followed; without ``restarts`` the first clear ends it.
    """
    weight = pmf(rate * config.interval_s, 0, _most(config, rate))
    runs = [1.0] + [0.0] * records
    """Probability that a run begins after so many records."""
    alarm = 0.0
    for begun in range(records):
        if not runs[begun]:
            continue
        alive = np.array([runs[begun]])
        for record in range(begun + 1, records + 1):
            spread = np.convolve(alive, weight)
            value = np.arange(spread.size) * config.gain - (record - begun) * config.loss
            high, low = value >= config.alarm_at, value <= config.clear_at
            alarm += float(spread[high].sum())
            if restarts:
                runs[record] += float(spread[low].sum())
            alive = np.where(high | low, 0.0, spread)[: int(np.argmax(high)) or None]
    return alarm


def _most(config: SprtConfig, rate: float) -> int:
    """Return more counts of one record than can matter."""
    mean = rate * config.interval_s
    return math.ceil(mean + 12 * math.sqrt(mean) + 30)


def alpha_for(background: float, source: float, records: int, p: float, interval_s: float = 1.0) -> float:
    """Return an α, as large as may be, whose occupancies of so many records alarm falsely with at most ``p``.

    Raises ``ValueError`` where even the least α does not do.
    """

    def false(alpha: float) -> float:
        config = SprtConfig(background, source, alpha, interval_s=interval_s)
        return alarm_probability(config, background, records)

    if false(ALPHAS[0]) > p:
        raise ValueError(f"no α keeps {records} records of {background}/s within {p}")
    low, high = (math.log(alpha) for alpha in ALPHAS)
    while high - low > 0.01:
        middle = (low + high) / 2
        if false(math.exp(middle)) <= p:
            low = middle
        else:
            high = middle
    return math.exp(low)
