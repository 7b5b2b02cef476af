"""The station's end of a pushing camera: a driver that listens, and everything that it has said."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from drivers.api import BadFrame, DeviceIdentity, DriverContext
from drivers.camera.push.driver import HttpPush, HttpPushOptions
from drivers.geometry import LaneGeometry
from drivers.plant.clock import PlantClock
from drivers.plant.vehicle import Vehicle
from drivers.readings import CameraRead

PLACES = LaneGeometry(
    entry_loop_m=-2.0, portal_m=4.0, portal_beams_m=(3.5, 4.5), lpr_m=5.0, scan_plane_m=8.0,
    booth_loop_m=19.0, stop_line_m=21.0, barrier_m=22.0, exit_loop_m=24.0,
)  # fmt: skip
CLEAN = Vehicle(name="clean", plate="R4K 7719", container="MXLU4021176", seed=1, speed_mps=10)
MUDDY = Vehicle(name="muddy", plate="48-AX-2P", region="MX", plate_readable=False, seed=2, speed_mps=10)
Item = CameraRead | BadFrame


class Ears:
    """A listening driver and everything that it has said."""

    def __init__(self, driver: HttpPush, clock: PlantClock) -> None:
        self.driver = driver
        self.clock = clock
        self.said: asyncio.Queue[Item] = asyncio.Queue()
        self.received = 0
        self.answered = b""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.driver.port}/any/path?channel=1"

    def tap(self, direction: str, data: bytes) -> None:
        self.received += len(data) if direction == "rx" else 0
        self.answered += data if direction == "tx" else b""

    async def listen(self) -> None:
        async for item in self.driver.readings():
            self.said.put_nowait(item)

    async def next(self) -> Item:
        return await asyncio.wait_for(self.said.get(), 10)

    async def read(self) -> CameraRead:
        item = await self.next()
        assert isinstance(item, CameraRead), item
        return item

    async def bad(self) -> str:
        item = await self.next()
        assert isinstance(item, BadFrame), item
        return item.kind


@contextlib.asynccontextmanager
async def ears(*, heard: bool = True, rate: float = 1.0, **options: Any) -> AsyncIterator[Ears]:
    clock = PlantClock(rate)
    taps: list[Ears] = []
    context = DriverContext("lpr1", clock, logging.getLogger("lpr1"), lambda d, b: taps[0].tap(d, b))
    driver = HttpPush(HttpPushOptions.model_validate({"port": 0, **options}), context)
    taps.append(Ears(driver, clock))
    assert await driver.open() == DeviceIdentity()
    listening = asyncio.create_task(taps[0].listen()) if heard else None
    try:
        yield taps[0]
    finally:
        await driver.close()
        if listening is not None:
            await asyncio.wait_for(listening, 1)
