"""What the occupancy machine tells the lane, and what it asks of the second opinion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from drivers.readings import Channel, Counts
from imaging.radiation.verdict import OpinionResult, Verdict
from station.domain.occupancy_record import Occupancy


@dataclass(frozen=True, slots=True)
class Started:
    """A vehicle is in the portal; its record grows until ``Closed``."""

    occupancy: Occupancy


@dataclass(frozen=True, slots=True)
class AlarmRaised:
    """The device's own alarm, once per channel and occupancy, and again after a gap or a lost link.

    ``uncertain``: it came between two vehicles nose to tail and may belong to either.
    """

    occupancy_id: str
    channel: Channel
    reading: Counts
    uncertain: bool


@dataclass(frozen=True, slots=True)
class BackgroundTaken:
    """A record of a vacant portal that entered the background: nothing spoke against it."""

    reading: Counts


@dataclass(frozen=True, slots=True)
class StationAlarm:
    """The second opinion crossed its limit for the first time in this occupancy: advisory."""

    occupancy_id: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Closed:
    """The record is final; ``opinion`` is what the second opinion returned."""

    occupancy: Occupancy
    opinion: OpinionResult


@dataclass(frozen=True, slots=True)
class Orphaned:
    """The device ended an occupancy of which no record came: nothing was measured."""


@dataclass(frozen=True, slots=True)
class Amended:
    """The end marker of an occupancy that was closed without one."""

    occupancy_id: str
    device_count: int


@dataclass(frozen=True, slots=True)
class TamperChanged:
    """The device's tamper contact opened or closed."""

    open: bool


@dataclass(frozen=True, slots=True)
class SetupChanged:
    """The device reported another set-up."""

    setup_hash: str


@dataclass(frozen=True, slots=True)
class Missed:
    """The device's counter says that so many occupancies were never seen here."""

    count: int


@dataclass(frozen=True, slots=True)
class Noted:
    """Something to record without further effect.

    ``duplicate_end``, ``counter_reset`` (with the device's count); ``extended`` (60 s, the truck stands),
    ``stalled`` (600 s: tell the supervisor).
    """

    code: str
    device_count: int | None = None


Effect = (
    Started
    | AlarmRaised
    | BackgroundTaken
    | StationAlarm
    | Closed
    | Orphaned
    | Amended
    | TamperChanged
    | SetupChanged
    | Missed
    | Noted
)


class SecondOpinion(Protocol):
    """The station's algorithms on one portal; injected, because the domain does no number work.

    Times are monotonic nanoseconds, channels ``gamma`` and ``neutron``; ``windows`` are the counts of all
    panels at low and at high energies, where the portal tells them apart.
    """

    def background(
        self,
        channel: str,
        mono_ns: int,
        counts: tuple[int | None, ...],
        windows: tuple[int | None, int | None] | None = None,
        interval_s: float = 1.0,
    ) -> str | None:
        """Offer a background record; return why it was refused."""
        ...

    def open(self, mono_ns: int) -> None:
        """A vehicle is there: freeze the background."""
        ...

    def scan(
        self,
        channel: str,
        mono_ns: int,
        counts: tuple[int | None, ...],
        interval_s: float,
        windows: tuple[int | None, int | None] | None = None,
    ) -> Verdict | None:
        """Take a scan record; return a verdict at the first crossing."""
        ...

    def gap(self, channel: str) -> None:
        """Records of this channel are missing."""
        ...

    def close(self, mono_ns: int, *, scanner_active: bool) -> OpinionResult:
        """Return the verdicts and let the background go on."""
        ...
