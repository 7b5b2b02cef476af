"""Neutron limit for display: few counts, an exact tail, a background that is known or only estimated."""

from __future__ import annotations

import math

import numpy as np

from imaging.radiation.poisson import survival


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
    mean, variance = r * q / (1 - q), r * q / (1 - q) ** 2
    far = int(mean + 60 * math.sqrt(variance) + 60 / (1 - q) + 100)
    n = np.arange(far, dtype=np.float64)
    log_pmf = r * math.log1p(-q) + np.concatenate([[0.0], np.cumsum(np.log((n + r) / (n + 1) * q))])
    tail = np.cumsum(np.exp(log_pmf)[::-1])[::-1]
    return int(np.argmax(tail <= p))
