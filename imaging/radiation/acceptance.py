"""How much a demonstration shows: exact binomial probabilities and Clopper–Pearson limits.

A detection probability or a false alarm probability is shown by a number of trials; nothing here is
approximated. The exact limits are those of C. J. Clopper and E. S. Pearson, Biometrika 26:404 (1934);
acceptance sizes of portals are discussed by T. Burr and A. Gavron, Modern Instrumentation 1:28 (2012).
"""

from __future__ import annotations

import math

import numpy as np


def at_least(successes: int, trials: int, p: float) -> float:
    """Return Pr[Binomial(trials, p) >= successes]: the chance that a device of true ``p`` passes.

    Raises ``ValueError`` unless ``0 <= successes <= trials``, ``trials >= 1`` and ``0 <= p <= 1``.
    """
    _check(successes, trials)
    if not 0 <= p <= 1:
        raise ValueError(f"a probability lies in 0 … 1, not {p}")
    if successes == 0:
        return 1.0
    if p in (0.0, 1.0):
        return p
    anchor = max(successes, min(trials, math.floor((trials + 1) * p)))
    log_anchor = (
        math.lgamma(trials + 1)
        - math.lgamma(anchor + 1)
        - math.lgamma(trials - anchor + 1)
        + anchor * math.log(p)
        + (trials - anchor) * math.log1p(-p)
    )
    odds = p / (1 - p)
    up = np.arange(anchor, trials, dtype=np.float64)
    down = np.arange(anchor, successes, -1, dtype=np.float64)
    above = np.cumsum(np.log((trials - up) / (up + 1) * odds))
    below = np.cumsum(np.log(down / (trials - down + 1) / odds))
    terms = np.exp(log_anchor + np.concatenate([below, [0.0], above]))
    return min(1.0, float(np.sort(terms).sum()))


def confidence(successes: int, trials: int, p: float) -> float:
    """Return with which confidence this result shows that the true probability is above ``p``."""
    return 1.0 - at_least(successes, trials, p)


def lower_limit(successes: int, trials: int, level: float = 0.95) -> float:
    """Return the one-sided lower Clopper–Pearson limit of the true probability."""
    _check(successes, trials)
    low, high = 0.0, 1.0
    while successes and high - low > 1e-12:
        middle = (low + high) / 2
        if at_least(successes, trials, middle) > 1 - level:
            high = middle
        else:
            low = middle
    return low


def upper_limit(successes: int, trials: int, level: float = 0.95) -> float:
    """Return the one-sided upper Clopper–Pearson limit of the true probability."""
    return 1.0 - lower_limit(trials - successes, trials, level)


def interval(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Return the two-sided Clopper–Pearson interval of the true probability."""
    one_sided = (1 + level) / 2
    return lower_limit(successes, trials, one_sided), upper_limit(successes, trials, one_sided)


def trials_without_event(p: float, level: float = 0.95) -> int:
    """Return the least number of trials without one event that shows a probability of at most ``p``."""
    if not (0 < p < 1 and 0 < level < 1):
        raise ValueError(f"a probability and a level lie between 0 and 1, not {p} and {level}")
    return math.ceil(math.log1p(-level) / math.log1p(-p) - 1e-9)


def _check(successes: int, trials: int) -> None:
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(
            f"{successes} successes in {trials} trials: need 0 <= successes <= trials, trials >= 1"
        )
