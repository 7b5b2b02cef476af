"""How much faster than real time the lane's own logic runs: true wire bytes of portal, board and camera,
parsed by the real codecs, in virtual time, with an officer who releases what is free."""

from __future__ import annotations

import time
from typing import Any

from _row import Row

from drivers.io.modbus.sim import Plc
from drivers.plant.clock import PlantClock
from drivers.plant.vehicle import Scenario, Vehicle
from drivers.plant.world import Plant
from drivers.readings import CameraRead, Inputs, Picture, ScanClosed, ScanKey, ScanKind, ScanOpened
from drivers.rpm.tsa.driver import TsaDriver, TsaOptions
from drivers.rpm.tsa.portal import TsaPortal
from station.domain.values import Verdict
from station.lane.commands import Decide
from tests.support.lane_rig import GEOMETRY, SCANNER, Rig

TRUCKS, STEP_S = 10, 0.05


def rows() -> list[Row]:
    clock = PlantClock(0)
    truck = Vehicle(name="bench", plate="BENCH 1", length_m=12.0)
    plant = Plant(GEOMETRY, Scenario(title="bench", gap_s=2.0, truck=(truck,)), clock)
    rig = Rig(now_s=clock.monotonic_s())
    portal, plc = TsaPortal(plant, 1), Plc(plant)
    lane = _Drive(rig, plant, clock, portal, plc)
    start_s, began_s = time.perf_counter(), clock.monotonic_s()
    while rig.lane.core.sealed_count < TRUCKS:
        lane.step()
    spent_s = time.perf_counter() - start_s
    speed = (clock.monotonic_s() - began_s) / spent_s
    return [Row("virtual time over real time, lane logic", speed, "ratio", 100, True)]


class _Drive:
    """Everything around the lane, stepped by hand."""

    def __init__(self, rig: Rig, plant: Plant, clock: PlantClock, portal: TsaPortal, plc: Plc) -> None:
        import logging

        from drivers.api import DriverContext

        self.rig, self.plant, self.clock, self.portal, self.plc = rig, plant, clock, portal, plc
        context = DriverContext("rpm1", clock, logging.getLogger("bench"), lambda d, b: None)
        self.driver = TsaDriver(TsaOptions(), context)
        self.coils: dict[str, bool] = {}
        self.read = 0
        self.scan: ScanKey | None = None
        self._feed(self.portal.connected())

    def step(self) -> None:
        self.clock.advance(STEP_S)
        now_s = self.plant.advance()
        self.rig.now_s = now_s
        self._feed(self.portal.step(now_s))
        watchdog = int(now_s / 0.5) % 2 == 0
        self.coils.update({**self.rig.outputs, "watchdog": watchdog})
        self.rig.read("io1", Inputs(self.rig.stamp(), self.plc.step(now_s, self.coils)))
        self._see()
        self.rig.carry(self.rig.lane.tick(self.rig.stamp()))
        inspection = self.rig.lane.core.inspection
        if inspection is not None and not inspection.locks:
            self.rig.order(Decide(inspection.inspection_id, inspection.version, Verdict.RELEASE, "O"))

    def _feed(self, lines: list[bytes]) -> None:
        private: Any = self.driver
        for item in private._stream.feed(b"".join(lines)):
            self.rig.read("rpm1", private._reading(item, self.rig.stamp(), False))

    def _see(self) -> None:
        vehicle, plant = self.plant.vehicle, self.plant
        if vehicle is None:
            return
        if self.read != plant.passage and plant.nose_m > GEOMETRY.lpr_m:
            self.read = plant.passage
            picture = (Picture("scene", b"\xff\xd8"),)
            event = CameraRead(
                self.rig.stamp(), "plate", vehicle.plate, "", 0.97, str(self.read), "", False, picture
            )
            self.rig.read("lpr1", event)
        if self.scan is None and -0.4 < plant.scan_s_m < 1:
            self.scan = ScanKey(1, plant.passage)
            opened = ScanOpened(
                self.rig.stamp(), self.scan, ScanKind.VEHICLE, 8, 1, 0.002, 65535, True, False, SCANNER
            )
            self.rig.read("scanner1", opened)
        elif self.scan is not None and plant.scan_s_m > vehicle.length_m + 0.4:
            self.rig.read("scanner1", ScanClosed(self.rig.stamp(), self.scan, 100, 0, None))
            self.scan = None
