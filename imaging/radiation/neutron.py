"""Neutrons: few counts, an exact tail, a background that is known or only estimated."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from imaging.radiation.poisson import survival
from imaging.radiation.run import Figures, Run
from imaging.radiation.verdict import BackgroundEstimate

ALGORITHM = "neutron_predictive"
BURST_PANELS = 3
"""A spike of one record on so many panels is rather a shower or a spark than a source that passes."""


def neutron_limit(expected: float, p: float) -> int:
    """Return the least n with Pr[Poisson(expected) >= n] <= p: the limit of a known background.

    ``expected`` is background rate times record length in counts, ``p`` the false alarm probability
    allowed for one record (that of an occupancy divided by its number of records).
    """
    if not (0 <= expected < math.inf and 0 < p < 1):
        raise ValueError(
            f"neutron limit of {expected} expected counts at p = {p}: need counts >= 0, 0 < p < 1"
        )
    if expected == 0:
        return 1
    far = int(expected + 40 * math.sqrt(expected) + 100)
    return int(np.argmax(survival(expected, 0, far) <= p))


def predictive_limit(counted: int, t_b_s: float, t_s: float, p: float) -> int:
    """Return the least n that ``t_s`` seconds of background reach or exceed with a probability <= ``p``.

    The background is only known from ``counted`` counts in ``t_b_s`` seconds, so counts to come follow
    the negative binomial of size r = counted + 1/2 (Jeffreys) and success probability t_b/(t_b + t):
    Pr[n + 1]/Pr[n] = (n + r)/(n + 1) · t/(t_b + t).
    """
    if not (counted >= 0 and 0 < t_b_s < math.inf and 0 < t_s < math.inf and 0 < p < 1):
        raise ValueError(
            f"neutron limit from {counted} counts in {t_b_s} s for {t_s} s at p = {p}: "
            "need counts >= 0, times > 0, 0 < p < 1"
        )
    r, q = counted + 0.5, t_s / (t_b_s + t_s)
    mean = r * q / (1 - q)
    far = int(mean + 60 * math.sqrt(mean / (1 - q)) + 160 / (1 - q))
    n = np.arange(far)
    log_pmf = r * math.log1p(-q) + np.cumsum(np.log((n + r) / (n + 1) * q))
    tail = np.cumsum(np.exp(log_pmf)[::-1])[::-1]
    return 1 + int(np.argmax(tail <= p))


@dataclass(frozen=True, slots=True)
class NeutronLimit:
    """What one record must reach for an alarm: the sum of all panels, and each panel alone."""

    limit: int
    panel_limits: tuple[int, ...]
    background_cps: float
    t_b_s: float
    record_s: float
    p_record: float
    """False alarms that were allowed for one record."""

    @classmethod
    def of(cls, estimate: BackgroundEstimate, record_s: float, p_record: float) -> NeutronLimit:
        """Return the limits for a background that is known from what was counted."""
        t_b_s = estimate.counting_s

        def limit(cps: float) -> int:
            return predictive_limit(round(cps * t_b_s), t_b_s, record_s, p_record)

        panels = tuple(limit(cps) for cps in estimate.cps)
        return cls(limit(estimate.total_cps), panels, estimate.total_cps, t_b_s, record_s, p_record)


class NeutronRun(Run):
    """One occupancy: each record against the predictive limit."""

    CHANNEL = "neutron"

    def __init__(self, limit: NeutronLimit) -> None:
        super().__init__(ALGORITHM)
        self._limit = limit
        self._records = self._crossed = self._panels = 0
        self._peak: int | None = None

    def push(self, counts: tuple[int | None, ...], t_s: float) -> bool:
        """Take one record, one number per panel; return whether it is the first to reach the limit.

        A record in which a panel sent no number is not judged, and "no alarm" is not plain any more.
        """
        present = [count for count in counts if count is not None]
        if not present or len(present) < len(counts):
            self.gap()
            return False
        total = sum(present)
        self._records += 1
        self._peak = total if self._peak is None else max(self._peak, total)
        if total < self._limit.limit:
            return False
        self._crossed += 1
        if len(present) == len(self._limit.panel_limits):
            pairs = zip(present, self._limit.panel_limits, strict=True)
            self._panels = max(self._panels, sum(count >= limit for count, limit in pairs))
        return self._cross(t_s)

    def _figures(self) -> Figures:
        limit = self._limit
        params = {
            "background_cps": round(limit.background_cps, 4),
            "background_s": limit.t_b_s,
            "record_s": limit.record_s,
            "p_record": float(f"{limit.p_record:.4g}"),
            "records": self._records,
            "false_alarm_bound": float(f"{min(1.0, self._records * limit.p_record):.4g}"),
        }
        burst = self._crossed == 1 and self._panels >= BURST_PANELS
        notes = ("burst_suspect",) if burst else ()
        return Figures(params, self._peak, limit.limit, self._records, notes)
