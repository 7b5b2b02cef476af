"""A virtual lane with one truck and a GigE Vision camera on it, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

from drivers.api import DriverContext
from drivers.plant.clock import PlantClock
from drivers.plant.rig import Hearing
from drivers.scanner.gige.driver import GigeDriver
from drivers.scanner.gige.options import GigeOptions
from drivers.scanner.gige.sim import GigeEmulator
from tests.support.scanner_lane import plant_with

DETECTORS, LINES = 128, 16
REGISTERS = {
    "width": 0x100,
    "height": 0x104,
    "pixel_format": 0x128,
    "acquisition_start": (0x124, 1),
    "acquisition_stop": (0x124, 0),
}
"""Those of Aravis' fake camera."""
COLUMN = {
    "pitch_mm": 38.4,
    "bottom_m": -0.412,
    "source_height_m": 1.4,
    "plane_distance_m": 18.0,
    "detector_distance_m": 21.6,
    "source": "Co-60",
    "quantity": "counts",
    "full_scale": 4_000,
    "read_noise": 1.0,
    "reference_detectors": (0, 1, 2),
}
PLAIN: dict[str, Any] = {
    "detectors": DETECTORS,
    "lines": LINES,
    "line_period_us": 2_000.0,
    "line_pitch_mm": 8.0,
    "registers": REGISTERS,
    "column": COLUMN,
}
"""A camera that says nothing but its lines."""
WITH_INPUTS: dict[str, Any] = {
    **PLAIN,
    "registers": {**REGISTERS, "payload_size": 0x140},
    "inputs": {"chunk": 0x1000, "beam": 0, "calibration": 1},
}


def options(port: int = 3956, setup: dict[str, Any] = PLAIN, **more: Any) -> GigeOptions:
    return GigeOptions.model_validate({**setup, **more, "port": port})


class GigeLane:
    """One camera, and the drivers that are made for it; they share what a device remembers."""

    def __init__(self, setup: dict[str, Any], rate: float) -> None:
        self.clock = PlantClock(rate)
        self.plant = plant_with()(self.clock)
        self.plant.entry_green = False
        self.setup = setup
        self.memory: dict[str, Any] = {}
        self.emulator = GigeEmulator(options(setup=setup), self.plant, self.clock, 1)
        self.port = 0
        self._open: list[tuple[GigeDriver, Hearing]] = []

    def driver(self, memory: dict[str, Any] | None = None) -> GigeDriver:
        context = DriverContext(
            "scanner1",
            self.clock,
            logging.getLogger("scanner1"),
            lambda way, data: None,
            self.memory if memory is None else memory,
        )
        return GigeDriver(options(self.port, self.setup), context)

    async def open(self) -> tuple[GigeDriver, Hearing]:
        driver = self.driver()
        await driver.open()
        hearing = Hearing(driver)
        self._open.append((driver, hearing))
        return driver, hearing

    async def close(self) -> None:
        for driver, hearing in self._open:
            await driver.close()
            await hearing.stop()
        await self.emulator.stop()


@contextlib.asynccontextmanager
async def gige_lane(setup: dict[str, Any] = PLAIN, rate: float = 5.0) -> AsyncIterator[GigeLane]:
    lane = GigeLane(setup, rate)
    lane.port = await lane.emulator.start()
    try:
        yield lane
    finally:
        await lane.close()


async def until(true: Callable[[], bool], limit_s: float = 20.0) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(limit_s):
        while not true():
            await asyncio.sleep(0.005)
