"""How much faster than real time the lane's own logic runs: true wire bytes of portal, board and camera,
parsed by the real codecs, in virtual time, with an officer who releases what is free."""

from __future__ import annotations

import time
from collections.abc import Iterable

from _row import Row

from drivers.plant.clock import PlantClock
from drivers.plant.vehicle import Vehicle
from drivers.plant.world import Plant
from drivers.readings import BadFrame, PortalReading, Stamp
from drivers.rpm.tsa.driver import TsaReader
from drivers.rpm.tsa.portal import TsaPortal
from tests.support.drive import Drive, Portal

TRUCKS = 10


def rows() -> list[Row]:
    drive = Drive(_portal, Vehicle(name="bench", plate="BENCH 1", length_m=12.0))
    start_s, began_s = time.perf_counter(), drive.clock.monotonic_s()
    drive.sealed(TRUCKS)
    spent_s = time.perf_counter() - start_s
    speed = (drive.clock.monotonic_s() - began_s) / spent_s
    return [Row("virtual time over real time, lane logic", speed, "ratio", 100, True)]


def _portal(plant: Plant) -> Portal:
    portal = TsaPortal(plant, 1)
    reader = TsaReader(PlantClock(0).stamp(), {})
    greeting = portal.connected()

    def said(stamp: Stamp) -> Iterable[PortalReading]:
        lines = [*greeting, *portal.step(stamp.mono_ns / 1e9)]
        greeting.clear()
        items = reader.take(b"".join(lines), stamp)
        return [item for item in items if not isinstance(item, BadFrame)]

    return said
