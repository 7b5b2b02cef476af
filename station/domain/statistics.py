"""What an hour of a lane amounts to, as counts that only add up, and what follows from them.

A tally holds no mean, no rate and no quantile: those of a day are made from the sum of its tallies, so that
the day is the sum of its hours however often an hour was cut in pieces. What an occupancy or a decision gave
as a measure is listed, and a day's quantiles are exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import Any, Literal, get_args

from pydantic import Field

from imaging.radiation.acceptance import interval
from station.domain.values import Value

HOUR_US = 3_600_000_000
LEVEL = 0.95
"""Confidence of the intervals of rates."""
DIGITS = 4

Kind = Literal["real", "simulated", "test", "exercise"]
"""What a record is of; what has several flags is of the one that is furthest from real."""
KINDS: tuple[Kind, ...] = get_args(Kind)

REAL_CODES, INNOCENT_CODES, FALSE_CODES = (1, 2), (3, 4, 5), (6, 7, 8)
"""Codes of an adjudication [OSCAR]; 0 is an alarm that nobody has adjudicated."""


def kind_of(flags: Mapping[str, Any]) -> Kind:
    """Return what a record with these flags (``simulated``, ``test``, ``exercise``) is of."""
    return next((kind for kind in KINDS[1:] if flags.get(kind)), "real")


def flags_of(kind: Kind) -> dict[str, bool]:
    """Return the flags of what is of this kind."""
    return {name: name == kind for name in KINDS[1:]}


class Panel(Value):
    """Background of one panel: its records, their counts and counting time, and the dispersion of each 60."""

    records: int = 0
    counts: int = 0
    counted_s: float = 0.0
    dispersions: tuple[float, ...] = ()


class Tally(Value):
    """What was counted in a stretch of time, all of it additive."""

    covered_s: float = 0.0
    """Seconds in which the lane ran."""
    occupancies: int = 0
    gamma: int = 0
    """Occupancies with a gamma alarm of the device and no neutron alarm."""
    neutron: int = 0
    gamma_neutron: int = 0
    faults: int = 0
    """How often a portal began to report a fault, of whatever kind."""
    gamma_faults: int = 0
    neutron_faults: int = 0
    tampers: int = 0
    incomplete: dict[str, int] = Field(default_factory=dict)
    """Occupancies that were not measured whole, by what closed them."""
    missed: int = 0
    extended: int = 0
    """Vehicles that stood for a minute."""
    disagreed: dict[str, int] = Field(default_factory=dict)
    """``device_only`` and ``station_only``."""
    alarms: int = 0
    codes: dict[str, int] = Field(default_factory=dict)
    """Alarms of these hours by the code that they have by now."""
    decisions_s: tuple[float, ...] = ()
    """From a vehicle's first alarm to the first decision after it."""
    down_s: dict[str, dict[str, float]] = Field(default_factory=dict)
    """Seconds in which a device was neither online nor degraded, by its name and the cause."""
    suppressions: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    """Of each occupancy, by portal."""
    panels: dict[str, dict[str, dict[str, Panel]]] = Field(default_factory=dict)
    """By portal, channel and panel."""


def total(tallies: Iterable[Tally]) -> Tally:
    """Return the sum."""
    return Tally.model_validate(rounded(reduce(_plus, (tally.model_dump() for tally in tallies), {})))


def _plus(one: Any, two: Any) -> Any:
    """Add numbers, join lists, and in tables do so by name."""
    if not isinstance(one, dict):
        return one + two
    both = {name: _plus(one[name], two[name]) for name in one.keys() & two.keys()}
    return one | two | both


def rounded(tree: Any) -> Any:
    """Return the values with at most four digits behind the point."""
    if isinstance(tree, dict):
        return {name: rounded(value) for name, value in tree.items()}
    if isinstance(tree, tuple | list):
        return tuple(map(rounded, tree))
    return round(tree, DIGITS) if isinstance(tree, float) else tree


# --- what follows ---------------------------------------------------------------------------------


class Rate(Value):
    """``count`` of ``of``; ``rate`` and the limits of its exact 95 % interval, ``None`` of nothing."""

    count: int
    of: int
    rate: float | None
    low: float | None
    high: float | None


class Spread(Value):
    """How listed values spread: quantiles are values that occurred, ``None`` where there is none."""

    count: int
    p50: float | None
    p95: float | None
    most: float | None


def rate(count: int, of: int) -> Rate:
    """Return a rate with its Clopper–Pearson interval."""
    if of < 1:
        return Rate(count=count, of=of, rate=None, low=None, high=None)
    low, high = interval(count, of, LEVEL)
    return Rate(count=count, of=of, **rounded({"rate": count / of, "low": low, "high": high}))


def spread(values: Sequence[float]) -> Spread:
    """Return the quantiles: the least value that at least so many of all do not exceed."""
    ordered = sorted(values)

    def quantile(part: float) -> float | None:
        return ordered[math.ceil(part * len(ordered)) - 1] if ordered else None

    return Spread(count=len(ordered), p50=quantile(0.5), p95=quantile(0.95), most=quantile(1.0))


def coded(codes: Mapping[str, int], wanted: Iterable[int]) -> int:
    """Return how many alarms have one of these codes."""
    return sum(codes.get(str(code), 0) for code in wanted)
