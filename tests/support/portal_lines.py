"""A portal under the occupancy machine: lines of the TSA dialect at chosen seconds, effects out."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from drivers.readings import (
    Channel,
    Counts,
    DeviceFlag,
    OccupancyEnd,
    Phase,
    PortalReading,
    PortalSetup,
    Speed,
    Stamp,
    Tamper,
    UnknownRecord,
)
from imaging.radiation.opinion import StationOpinion
from station.domain.occupancy_effects import AlarmRaised, Closed, Effect
from station.domain.occupancy_record import Occupancy
from station.domain.polled import PolledMachine

S = 1_000_000_000
BOTH = frozenset({Channel.GAMMA, Channel.NEUTRON})
TAGS = {
    "GB": (Channel.GAMMA, Phase.BACKGROUND, DeviceFlag.NONE, 1.0),
    "GH": (Channel.GAMMA, Phase.BACKGROUND, DeviceFlag.FAULT_HIGH, 1.0),
    "GL": (Channel.GAMMA, Phase.BACKGROUND, DeviceFlag.FAULT_LOW, 1.0),
    "GS": (Channel.GAMMA, Phase.SCAN, DeviceFlag.NONE, 0.2),
    "GA": (Channel.GAMMA, Phase.SCAN, DeviceFlag.ALARM, 0.2),
    "NB": (Channel.NEUTRON, Phase.BACKGROUND, DeviceFlag.NONE, 1.0),
    "NH": (Channel.NEUTRON, Phase.BACKGROUND, DeviceFlag.FAULT_HIGH, 1.0),
    "NL": (Channel.NEUTRON, Phase.BACKGROUND, DeviceFlag.FAULT_LOW, 1.0),
    "NS": (Channel.NEUTRON, Phase.SCAN, DeviceFlag.NONE, 1.0),
    "NA": (Channel.NEUTRON, Phase.SCAN, DeviceFlag.ALARM, 1.0),
}
USUAL = {"G": (50, 50, 50, 50), "N": (1, 0, 1, 0)}
BACKGROUND = {"G": (250, 250, 250, 250), "N": (1, 0, 1, 0)}


def stamp(t_s: float, wall_s: float = 0.0) -> Stamp:
    """Monotonic seconds; the wall clock may be anywhere."""
    return Stamp(1_700_000_000 * S + round((t_s + wall_s) * S), round(t_s * S), "boot")


def line(tag: str, t_s: float, *values: object, wall_s: float = 0.0) -> PortalReading:
    """One line: counts (usual ones if not given), or the number, speed or hash of other tags."""
    at = stamp(t_s, wall_s)
    if tag in TAGS:
        channel, phase, flag, interval_s = TAGS[tag]
        usual = BACKGROUND if phase is Phase.BACKGROUND else USUAL
        counts = tuple(values) or usual[tag[0]]
        return Counts(at, channel, phase, interval_s, counts, flag)  # type: ignore[arg-type]
    match tag:
        case "GX":
            return OccupancyEnd(at, int(str(values[0])), 4.741)
        case "SP":
            return Speed(at, float(str(values[0])))
        case "TT" | "TC":
            return Tamper(at, open=tag == "TT")
        case "SG1" | "SG2" | "SG3" | "SN1" | "SN2":
            return PortalSetup(at, tag, {"nsigma": 6.5}, str(values[0]) if values else "hash")
        case _:
            return UnknownRecord(at, tag)


@dataclass
class Portal:
    """A machine with the real second opinion; ``effects`` is everything that it ever said."""

    fitted: frozenset[Channel] = BOTH
    last_count: int | None = None
    effects: list[Effect] = field(default_factory=list)

    def __post_init__(self) -> None:
        ids = itertools.count(1)
        self.opinion = StationOpinion()
        self.machine = PolledMachine(
            self.fitted, self.opinion, lambda: f"occ-{next(ids)}", last_count=self.last_count
        )

    def say(self, tag: str, t_s: float, *values: object, wall_s: float = 0.0) -> list[Effect]:
        return self.take(line(tag, t_s, *values, wall_s=wall_s))

    def take(self, reading: PortalReading) -> list[Effect]:
        return self._keep(self.machine.accept(reading))

    def tick(self, t_s: float) -> list[Effect]:
        return self._keep(self.machine.tick(round(t_s * S)))

    def link(self, up: bool, t_s: float) -> list[Effect]:
        return self._keep(self.machine.link(up=up, now_ns=round(t_s * S)))

    def stop(self) -> list[Effect]:
        return self._keep(self.machine.stop())

    def vacant(self, from_s: float = 0.0, records: int = 4) -> float:
        """Connect and learn background; return when the last record came."""
        self.link(True, from_s)
        for i in range(records):
            self.say("GB", from_s + 5 * i)
            self.say("NB", from_s + 5 * i)
        return from_s + 5 * (records - 1)

    def scans(self, from_s: float, to_s: float, *, gamma: str = "GS", neutron: str = "NS") -> list[Effect]:
        """Scan lines at their cadence: gamma every 200 ms, neutron every second, both ends included."""
        effects: list[Effect] = []
        steps = round((to_s - from_s) / 0.2)
        for i in range(steps + 1):
            t_s = round(from_s + i * 0.2, 3)
            if gamma:
                effects += self.say(gamma, t_s)
            if neutron and i % 5 == 4:
                effects += self.say(neutron, t_s)
        return effects

    def _keep(self, effects: list[Effect]) -> list[Effect]:
        self.effects += effects
        return effects

    @property
    def closed(self) -> list[Occupancy]:
        return [effect.occupancy for effect in self.effects if isinstance(effect, Closed)]

    @property
    def alarms(self) -> list[AlarmRaised]:
        return [effect for effect in self.effects if isinstance(effect, AlarmRaised)]

    def missing(self, index: int = -1) -> tuple[str, ...]:
        """Why that closed occupancy is incomplete; empty: it is complete."""
        return self.closed[index].missing(self.fitted)
