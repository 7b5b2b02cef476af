"""Neutron limit for display: a known background, few counts, an exact Poisson tail."""

from __future__ import annotations

import math

import numpy as np

from imaging.radiation.poisson import survival


def neutron_limit(expected: float, p: float) -> int:
    """Return the least n with Pr[Poisson(expected) >= n] <= p.

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
