"""Trucks through a lane in virtual time: the real plant, cabinet and portal, an officer who sends them on."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from drivers.io.modbus.sim import Plc
from drivers.plant.clock import PlantClock
from drivers.plant.vehicle import Scenario, Vehicle
from drivers.plant.world import Plant
from drivers.readings import (
    CameraRead,
    Inputs,
    Picture,
    PortalReading,
    ScanClosed,
    ScanKey,
    ScanKind,
    ScanOpened,
    Stamp,
)
from station.domain.values import Verdict
from station.lane.commands import Decide
from station.lane.core import LaneFacts
from tests.support.lane_facts import GEOMETRY, SCANNER, facts
from tests.support.lane_rig import Rig

STEP_S = 0.05

Portal = Callable[[Stamp], Iterable[PortalReading]]
"""What the portal's driver says at a time."""


class Drive:
    """A rig in the middle of its world; ``portal`` is made for the plant, once that stands."""

    def __init__(
        self,
        portal: Callable[[Plant], Portal],
        *trucks: Vehicle,
        gap_s: float = 2.0,
        lane_facts: LaneFacts | None = None,
        cabinet: Callable[[Plant], Plc] = Plc,
    ) -> None:
        self.clock = PlantClock(0)
        self.plant = Plant(GEOMETRY, Scenario(title="drive", gap_s=gap_s, truck=trucks), self.clock)
        self.rig = Rig(lane_facts or facts(), now_s=self.clock.monotonic_s())
        self.releases = True
        """Whether the officer does anything."""
        self.plc = cabinet(self.plant)
        self._portal = portal(self.plant)
        self._coils: dict[str, bool] = {}
        self._read = 0
        self._scan: ScanKey | None = None

    def until(self, true: Callable[[], bool], limit_s: float = 120.0) -> None:
        """Let time pass until something is so."""
        ends_s = self.rig.now_s + limit_s
        while not true():
            assert self.rig.now_s < ends_s, f"not within {limit_s} s: {self.rig.types()[-8:]}"
            self.step()

    def run(self, seconds: float) -> None:
        """Let time pass."""
        for _ in range(round(seconds / STEP_S)):
            self.step()

    def sealed(self, count: int = 1) -> None:
        """Drive until so many vehicles have been sealed since the lane began."""
        self.until(lambda: self.rig.lane.core.sealed_count >= count, 60.0 * count)

    def step(self) -> None:
        """Move the world and the lane by one step."""
        self.clock.advance(STEP_S)
        rig = self.rig
        rig.now_s = now_s = self.plant.advance()
        for reading in self._portal(rig.stamp()):
            rig.read("rpm1", reading)
        watchdog = int(now_s / 0.5) % 2 == 0
        self._coils.update({**rig.outputs, "watchdog": watchdog})
        rig.read("io1", Inputs(rig.stamp(), self.plc.step(now_s, self._coils)))
        self._see()
        rig.carry(rig.lane.tick(rig.stamp()))
        inspection = rig.lane.core.inspection
        if self.releases and inspection is not None and not inspection.locks:
            rig.order(Decide(inspection.inspection_id, inspection.version, Verdict.RELEASE, "O"))

    def _see(self) -> None:
        """Let the camera read the plate and the scanner scan, once each."""
        vehicle, plant, rig = self.plant.vehicle, self.plant, self.rig
        if vehicle is None:
            return
        if self._read != plant.passage and plant.nose_m > GEOMETRY.lpr_m:
            self._read = plant.passage
            picture = (Picture("scene", b"\xff\xd8"),)
            event = CameraRead(
                rig.stamp(), "plate", vehicle.plate, "", 0.97, str(self._read), "", False, picture
            )
            rig.read("lpr1", event)
        if self._scan is None and -0.4 < plant.scan_s_m < 1:
            self._scan = ScanKey(1, plant.passage)
            opened = ScanOpened(
                rig.stamp(), self._scan, ScanKind.VEHICLE, 8, 1, 0.002, 65535, True, False, SCANNER
            )
            rig.read("scanner1", opened)
        elif self._scan is not None and plant.scan_s_m > vehicle.length_m + 0.4:
            rig.read("scanner1", ScanClosed(rig.stamp(), self._scan, 100, 0, None))
            self._scan = None
