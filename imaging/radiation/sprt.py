"""Sequential test of a neutron rate (A. Wald, Annals of Mathematical Statistics 16:117, 1945).

After each record the logarithm of the likelihood ratio grows by n·ln(λ1/λ0) − (λ1 − λ0)·dt. It alarms at
ln((1 − β)/α) and clears at ln(β/(1 − α)). Cleared, it begins again while the vehicle stands there, so Wald's
bound α/(1 − β) holds for each run of it and not for the occupancy: ``alpha_for`` finds the α for all runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from imaging.radiation.poisson import pmf
from imaging.radiation.run import Figures, Run

ALGORITHM = "neutron_sprt"
SOURCE_CPS = 4.0
"""Neutrons per second above the background that the test is made for: our choice."""
GRID = 1.1
"""Backgrounds are rounded up to a power of it, so that α is computed once for many of them."""
EXACT_RECORDS = 12
"""The exact sum takes some milliseconds for ten records, and grows with their square."""
EXACT_CPS = 100.0
"""It grows with the counts too: 20 ms here, half a second at ten times this."""
BETA = 0.01
MOST_ALPHA = 0.1
STEP_ALPHA = 0.1
"""To which fraction α is looked for, from below."""
SURE = 2.326
"""Normal deviate of 99 %."""


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
    """Return an α whose occupancies of so many records alarm falsely with at most ``p``, as large as may be.

    Where the exact sum would take too long it is Wald's bound: no more runs than records, each alarming
    with at most α/(1 − β). That bound is also where the search begins.
    """
    low, high = math.log(p * (1 - BETA) / records), math.log(MOST_ALPHA)
    exact = records <= EXACT_RECORDS and background <= EXACT_CPS
    while exact and high - low > STEP_ALPHA:
        middle = (low + high) / 2
        config = SprtConfig(background, source, math.exp(middle), BETA, interval_s)
        if alarm_probability(config, background, records) <= p:
            low = middle
        else:
            high = middle
    return math.exp(low)


def sure_rate(counted: int, t_b_s: float) -> float:
    """Return a rate that the true background exceeds in 1 of 100 cases.

    The quantile of a gamma distribution of shape ``counted`` + 1/2 (Jeffreys), by E. B. Wilson and
    M. M. Hilferty, PNAS 17:684 (1931): good to 1 % from half a count on.
    """
    shape = counted + 0.5
    third = 1 - 1 / (9 * shape) + SURE / (3 * math.sqrt(shape))
    return shape * third**3 / t_b_s


def calibrated(counted: int, t_b_s: float, records: int, p: float, record_s: float) -> SprtConfig:
    """Return the test whose occupancies of so many records alarm falsely with at most ``p``.

    The background is only known from ``counted`` counts in ``t_b_s`` seconds: the test is made for one that
    the true rate hardly exceeds.
    """
    step = math.ceil(math.log(max(sure_rate(counted, t_b_s), 1e-3)) / math.log(GRID))
    return _of_step(step, records, float(f"{p:.3g}"), record_s)


@lru_cache(maxsize=256)
def _of_step(step: int, records: int, p: float, record_s: float) -> SprtConfig:
    background, source = GRID**step, GRID**step + SOURCE_CPS
    return SprtConfig(background, source, alpha_for(background, source, records, p, record_s), BETA, record_s)


class SprtRun(Run):
    """One occupancy of the sequential test, with its verdict."""

    CHANNEL = "neutron"

    def __init__(self, config: SprtConfig, p_occupancy: float, design_records: int) -> None:
        """Begin; ``config`` alarms falsely with at most ``p_occupancy`` in so many records."""
        super().__init__(ALGORITHM)
        self._config, self._test = config, Sprt(config)
        self._p, self._design = p_occupancy, design_records
        self._records = 0

    def push(self, total: int | None, t_s: float) -> bool:
        """Take one record; return whether this is the first crossing."""
        if total is None:
            self.gap()
            return False
        self._records += 1
        return self._test.push(total) and self._cross(t_s)

    def _bound(self) -> float:
        """Return a bound of this occupancy's false alarms: a longer one has no more runs than records."""
        if self._records <= self._design:
            return self._p
        return min(1.0, self._records * self._config.alpha / (1 - self._config.beta))

    def _figures(self) -> Figures:
        config = self._config
        params = {
            "background_cps": round(config.background, 4),
            "source_cps": round(config.source, 4),
            "alpha": float(f"{config.alpha:.4g}"),
            "beta": config.beta,
            "record_s": config.interval_s,
            "records": self._records,
            "runs": self._test.runs + 1,
            "p_occupancy": self._p,
            "design_records": self._design,
            "false_alarm_bound": float(f"{self._bound():.4g}"),
        }
        peak = round(self._test.peak, 4) if self._records else None
        return Figures(params, peak, round(config.alarm_at, 4), self._records)
