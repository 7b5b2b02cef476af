"""The bytes of a TSA portal as the lane takes them: codec, stamps and occupancy machine, in virtual time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from drivers.plant.clock import PlantClock
from drivers.plant.vehicle import Vehicle
from drivers.readings import BadFrame, PortalReading
from drivers.rpm.tsa.driver import TsaReader
from drivers.rpm.tsa.portal import INTERVAL_S, TsaPortal
from station.domain.occupancy_effects import Closed, Effect
from tests.support.lane_places import APPROACH_S, HOT, lane
from tests.support.portal_lines import Portal, stamp

Wire = list[tuple[float, bytes]]
"""When the portal sent what, seconds from its first byte."""
PASSAGE_S = APPROACH_S + 11.0
"""Time in which a truck comes, passes and is forgotten."""


@dataclass
class PortalStream:
    """One portal on one link; every byte arrives when the test says so."""

    portal: Portal = field(default_factory=Portal)
    readings: list[PortalReading] = field(default_factory=list)
    bad: list[BadFrame] = field(default_factory=list)
    setup: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.connect(0.0)

    def connect(self, t_s: float) -> None:
        self._reader = TsaReader(stamp(t_s), self.setup)
        self.portal.link(True, t_s)

    def hear(self, data: bytes, t_s: float, *, wall_s: float = 0.0) -> list[Effect]:
        """Take what one read gives."""
        effects: list[Effect] = []
        for item in self._reader.take(data, stamp(t_s, wall_s)):
            if isinstance(item, BadFrame):
                self.bad.append(item)
            else:
                self.readings.append(item)
                effects += self.portal.take(item)
        return effects

    def hang_up(self, t_s: float) -> None:
        self.bad += self._reader.end()
        self.portal.link(False, t_s)

    def vacant(self, data: bytes = b"GB,250,250,250,250\nNB,1,0,1,0\n") -> None:
        """Background at 0, 5, 10 and 15 s."""
        for i in range(4):
            self.hear(data, 5.0 * i)

    def scans(self, from_s: float, to_s: float, gamma: bytes = b"GS,50,50,50,50\n") -> None:
        """Scan lines at their cadence, both ends included."""
        for i in range(round((to_s - from_s) / INTERVAL_S) + 1):
            neutron = b"NS,1,0,1,0\n" if i % 5 == 4 else b""
            self.hear(gamma + neutron, round(from_s + i * INTERVAL_S, 3))

    def end(self, t_s: float, line: bytes = b"GX,000001,004741,000000,000000\r\n") -> None:
        """The end marker, and the time after which the occupancy is closed."""
        self.hear(line, t_s)
        self.portal.tick(t_s + 2)

    @property
    def closed(self) -> list[Closed]:
        """Every record of an occupancy, with the second opinion on it."""
        return [effect for effect in self.portal.effects if isinstance(effect, Closed)]


def passage(
    *truck: Vehicle,
    faults: Iterable[str] = (),
    strike: str = "",
    gap_s: float = 15.0,
    seconds: float = PASSAGE_S,
) -> Wire:
    """Return what an emulated portal sends while trucks pass; ``strike`` begins when one is in it."""
    clock = PlantClock(0)
    begun_s = clock.monotonic_s()
    plant = lane(clock, *(truck or (HOT,)), gap_s=gap_s)
    portal = TsaPortal(plant, 1)
    for fault in faults:
        portal.fault(fault, on=True)
    wire: Wire = [(0.0, b"".join(portal.connected()))]
    for _ in range(round(seconds / INTERVAL_S)):
        clock.advance(INTERVAL_S)
        wire.append((round(clock.monotonic_s() - begun_s, 3), b"".join(portal.step(clock.monotonic_s()))))
        if strike and portal.occupied and wire[-1][0] >= APPROACH_S + 1:
            portal.fault(strike, on=True)
            strike = ""
    return wire


def heard(wire: Wire) -> PortalStream:
    """Let the lane hear all of it, and a minute of silence."""
    stream = PortalStream()
    for t_s, data in wire:
        stream.hear(data, t_s)
    stream.portal.tick(wire[-1][0] + 60)
    stream.portal.stop()
    return stream


def records(stream: PortalStream) -> list[dict[str, object]]:
    """Return every word of every record."""
    return [asdict(closed) for closed in stream.closed]
