"""Is the portal itself well? Panels that repeat themselves, drift, fall silent or scatter as counts do not.

A true count rate is Poisson, so its scatter is known: too little of it is an average, a stuck register or a
made-up number; too much is a bad connection or a divider that fails. All figures are of background records.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

BLOCK = 60
"""Records of one dispersion figure."""
DAY_BLOCKS = 288
"""Blocks of 60 records, 5 s apart, in 24 h."""
LEAST_BLOCKS = 36
"""Blocks (3 h) whose median is good enough to be held against what was learnt."""
CHANGED, SETTLED = 0.5, 0.25
"""Relative change of the dispersion from what was learnt that is a finding, and below which it ends: ours."""
STUCK_CHANCE = 1e-8
SILENT_CHANCE = 1e-7
LEARN_RECORDS = 720
"""Records (1 h) from which the panels' shares are learnt."""
SLACK, DRIFT_AT = 1.0, 10.0
"""Allowance and limit of the CUSUM, in standard deviations: by chance once in some 2·10⁹ records."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a panel: ``code`` is stuck, silent, drift or dispersion; ``value`` its figure.

    ``over``: it was so, and is no more.
    """

    code: str
    detector: int
    value: float
    over: bool = False


@dataclass(frozen=True, slots=True)
class Learnt:
    """What took hours and days to learn: ``shares`` of the panels and their ``dispersions``, and what stands.

    Empty (``None``: of that panel) where it is not known yet; ``standing`` are codes and detectors.
    """

    shares: tuple[float, ...] = ()
    dispersions: tuple[float | None, ...] = ()
    standing: frozenset[tuple[str, int]] = frozenset()


def dispersion(counts: Sequence[float]) -> float:
    """Return Σ(x − m)²/m/(n − 1): 1 for Poisson counts that are not averaged. Needs two counts, not all 0."""
    mean = sum(counts) / len(counts)
    return sum((x - mean) ** 2 for x in counts) / mean / (len(counts) - 1)


def step_dispersion(counts: Sequence[float]) -> float:
    """Return Σ(x_{i+1} − x_i)²/(2m(n − 1)): as ``dispersion``, but slow drift does not enter."""
    mean = sum(counts) / len(counts)
    steps = pairwise(counts)
    return sum((after - before) ** 2 for before, after in steps) / (2 * mean * (len(counts) - 1))


def block_dispersion(counts: Sequence[float], *, averaged: bool) -> float | None:
    """Return the dispersion of a block of records: of running means about their mean, else from step to step.

    ``None`` where nothing was counted.
    """
    if not any(counts):
        return None
    return dispersion(counts) if averaged else step_dispersion(counts)


def equal_run(mean: float) -> int:
    """Return how many equal successive counts of mean m chance does not make: (2πm)^(−(r−1)/2)/√r <= 1e-8.

    A mean below 1 counts as 1.
    """
    run = 2
    while (2 * math.pi * max(mean, 1.0)) ** (-(run - 1) / 2) / math.sqrt(run) > STUCK_CHANCE:
        run += 1
    return run


def zero_run(mean: float) -> int:
    """Return how many zeros in a row chance does not make (1e-7); ``mean``: counts a record, above 0."""
    return math.floor(-math.log(SILENT_CHANCE) / mean) + 1


@dataclass(slots=True)
class _Panel:
    last: int | None = None
    run: int = 0
    zeros: int = 0
    total: int = 0
    records: int = 0
    block: list[int] = field(default_factory=list)
    figures: deque[float] = field(default_factory=lambda: deque(maxlen=DAY_BLOCKS))
    learnt: float | None = None
    high: float = 0.0
    low: float = 0.0


class PanelHealth:
    """All panels of one channel of a portal, over background records; its memory is bounded.

    A finding is told once until it has ended, and then that it has.
    """

    def __init__(
        self, detectors: int, *, averaged: bool, neutron: bool = False, before: Learnt | None = None
    ) -> None:
        """``averaged``: the device sends running means, whose equal successive values mean nothing.

        ``before``: what these panels were known by when the station ended.
        """
        before = before or Learnt()
        known = before.dispersions if len(before.dispersions) == detectors else (None,) * detectors
        self._panels = [_Panel(learnt=dispersion) for dispersion in known]
        self._averaged, self._neutron = averaged, neutron
        self._learnt_records = 0
        self._shares = before.shares if len(before.shares) == detectors else ()
        self._standing = {(code, number) for code, number in before.standing if number < detectors}
        for code, number in self._standing:
            if code == "drift":  # which way, nobody knows any more
                self._panels[number].high = self._panels[number].low = 2 * DRIFT_AT

    @property
    def detectors(self) -> int:
        """Return how many panels there are."""
        return len(self._panels)

    @property
    def learnt(self) -> Learnt:
        """Return what a restart must know."""
        dispersions = tuple(panel.learnt for panel in self._panels)
        return Learnt(self._shares, dispersions, frozenset(self._standing))

    def push(self, counts: Sequence[int | None]) -> list[Finding]:
        """Take one record; return what is newly found, and what is over."""
        found: list[Finding] = []
        for number, (panel, count) in enumerate(zip(self._panels, counts, strict=True)):
            if count is not None:
                found += self._alone(number, panel, count)
        present = [count for count in counts if count is not None]
        if len(present) == len(counts) and not self._neutron:
            found += self._together(present)
        return found

    def dispersions(self) -> tuple[float | None, ...]:
        """Return each panel's median dispersion over the last day; ``None`` before its first 60 records."""
        return tuple(median(panel.figures) if panel.figures else None for panel in self._panels)

    def _alone(self, number: int, panel: _Panel, count: int) -> list[Finding]:
        same = panel.last is None or count == panel.last
        panel.records += 1
        panel.total += count
        panel.run = panel.run + 1 if count == panel.last else 1
        panel.zeros = panel.zeros + 1 if count == 0 else 0
        panel.last = count
        mean = panel.total / panel.records
        if self._neutron:
            silent = mean > 0 and panel.zeros >= zero_run(mean)
            return self._tell("silent", number, silent, panel.zeros, stays=count == 0)
        stuck = not self._averaged and mean > 0 and panel.run >= equal_run(mean)
        told = self._tell("stuck", number, stuck, panel.run, stays=same and not self._averaged)
        return told + self._scatter(number, panel, count)

    def _scatter(self, number: int, panel: _Panel, count: int) -> list[Finding]:
        panel.block.append(count)
        if len(panel.block) < BLOCK:
            return []
        figure = block_dispersion(panel.block, averaged=self._averaged)
        panel.block = []
        if figure is None:
            return []
        panel.figures.append(figure)
        if panel.learnt is None:
            if len(panel.figures) == DAY_BLOCKS:
                panel.learnt = median(panel.figures)
            return []
        if len(panel.figures) < LEAST_BLOCKS:  # after a restart
            return []
        now = median(panel.figures)
        change = abs(now - panel.learnt)
        is_so, stays = change > CHANGED * panel.learnt, change > SETTLED * panel.learnt
        return self._tell("dispersion", number, is_so, now, stays=stays)

    def _together(self, counts: list[int]) -> list[Finding]:
        total = sum(counts)
        if total == 0:
            return []
        if not self._shares:
            self._learnt_records += 1
            if self._learnt_records >= LEARN_RECORDS:
                totals = [panel.total for panel in self._panels]
                self._shares = tuple(each / sum(totals) for each in totals)
            return []
        found = []
        for number, (panel, count, share) in enumerate(zip(self._panels, counts, self._shares, strict=True)):
            sigma = math.sqrt(share * (1 - share) * total)
            z = (count - share * total) / sigma if sigma else 0.0
            panel.high = min(2 * DRIFT_AT, max(0.0, panel.high + z - SLACK))
            panel.low = min(2 * DRIFT_AT, max(0.0, panel.low - z - SLACK))
            drift = max(panel.high, panel.low)
            found += self._tell("drift", number, drift > DRIFT_AT, drift, stays=drift > 0)
        return found

    def _tell(self, code: str, number: int, is_so: bool, value: float, *, stays: bool) -> list[Finding]:
        """``stays``: what was found is not over, although it would not be found anew."""
        key, figure = (code, number), round(float(value), 3)
        if key in self._standing and not (is_so or stays):
            self._standing.discard(key)
            return [Finding(code, number, figure, over=True)]
        if key in self._standing or not is_so:
            return []
        self._standing.add(key)
        return [Finding(code, number, figure)]
