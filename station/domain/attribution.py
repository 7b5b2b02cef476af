"""Whose report it is: a passage that was told afterwards, matched by its time and by what the portal knew.

A plate or container that agrees names the vehicle, also where the portal's clock is off by minutes. Without
one the time decides: a vehicle passes the portal between the entry loop and the booth. Where two vehicles fit
or the report names another plate than the vehicle has, it is matched and not certain. Nobody is matched
because nobody better is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from station.domain.identity import folded
from station.domain.values import Identity

TOLERANCE_US = 5_000_000
"""Two clocks that are well may differ by so much."""
NEAR_US = 900_000_000
"""The same vehicle may come again: what names it counts for reports so near in time."""
UNSEEN_US = 60_000_000
"""Where nobody saw the vehicle come, it may have passed the portal so long before it was seen."""


@dataclass(frozen=True, slots=True)
class Vehicle:
    """A vehicle that is or was in the lane: when it can have passed the portal (UTC), and what names it.

    ``plate`` is the accepted one, ``texts`` every one that was read, folded.
    """

    inspection_id: str
    from_us: int
    to_us: int
    plate: str = ""
    texts: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls, inspection_id: str, opened_us: int, moments: Mapping[str, int], gone_us: int, identity: Identity
    ) -> Vehicle:
        """Return a vehicle as its inspection knows it; ``moments`` are when it was seen where."""
        known = [part for part in (identity.plate, identity.container) if part is not None]
        plate = identity.plate
        return cls(
            inspection_id,
            moments.get("entry", opened_us - UNSEEN_US),
            min(moments.get("booth", gone_us), gone_us),
            folded(plate.text) if plate is not None and plate.status == "accepted" else "",
            frozenset(filter(None, (folded(part.text) for part in known))),
        )

    def overlap_us(self, span: tuple[int, int]) -> int:
        """Return for how long it can have been the one; negative: by how much it cannot."""
        return min(self.to_us, span[1]) - max(self.from_us, span[0])


@dataclass(frozen=True, slots=True)
class Match:
    """The vehicle that a report belongs to, and those that fit its time as well."""

    vehicle: Vehicle
    certain: bool
    others: tuple[Vehicle, ...] = ()


def match(span: tuple[int, int] | None, item: Mapping[str, str], vehicles: Sequence[Vehicle]) -> Match | None:
    """Return whose passage it was; ``span`` is UTC in microseconds, ``item`` what the portal knew."""
    named = [vehicle for vehicle in vehicles if vehicle.texts & texts(item.values())]
    if span is None:
        return Match(named[0], certain=True) if len(named) == 1 else None

    def within(vehicles: Iterable[Vehicle], limit_us: int) -> list[Vehicle]:
        near = [vehicle for vehicle in vehicles if vehicle.overlap_us(span) >= -limit_us]
        return sorted(near, key=lambda vehicle: -vehicle.overlap_us(span))

    fitting = within(vehicles, TOLERANCE_US)
    if named := within(named, NEAR_US):
        certain = len(named) == 1 or named[0] in fitting
        return Match(named[0], certain, tuple(each for each in fitting if each != named[0]))
    if not fitting:
        return None
    best, *others = fitting
    return Match(best, not others and not contradicted(item, best), tuple(others))


def contradicted(item: Mapping[str, str], vehicle: Vehicle) -> bool:
    """Whether the portal knew another plate than the vehicle has."""
    plates = texts(value for name, value in item.items() if "plate" in name.casefold())
    return bool(vehicle.plate and plates) and vehicle.plate not in plates


def texts(values: Iterable[str]) -> frozenset[str]:
    """Return what can name a vehicle, folded."""
    return frozenset(filter(None, map(folded, values)))
