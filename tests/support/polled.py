"""Polled portals over real sockets: our emulators and our drivers on them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any, cast

from drivers.api import BadFrame, Driver, DriverContext, DriverSpec
from drivers.plant.clock import PlantClock
from drivers.plant.polled import PolledEmulator
from drivers.plant.rig import within
from drivers.readings import Reading
from drivers.rpm.aspect.driver import SPEC as ASPECT
from drivers.rpm.aspect.driver import AspectOptions
from drivers.rpm.aspect.sim import AspectEmulator
from drivers.rpm.modbus.driver import ModbusPortalOptions
from drivers.rpm.modbus.sim import ModbusPortalEmulator
from tests.support.lane_places import lane
from tests.support.modbus_wire import Wire


def driver_at(
    port: int, spec: DriverSpec = ASPECT, wire: Wire | None = None, memory: Any = None, **options: Any
) -> Driver:
    """A driver that has not been opened; ``memory`` is what the supervisor keeps over its links."""
    log = logging.getLogger("rpm1")
    kept: dict[str, Any] = {} if memory is None else memory
    context = DriverContext("rpm1", PlantClock(), log, (wire or Wire()).tap, kept)
    return spec.make(spec.options.model_validate({"port": port, "timeout_s": 0.3, **options}), context)


@contextlib.asynccontextmanager
async def emulated(spec: DriverSpec = ASPECT, **options: Any) -> AsyncIterator[tuple[PolledEmulator, int]]:
    """One of our emulators beside an empty lane, in real time."""
    clock = PlantClock()
    checked = spec.options.model_validate(options)
    emulator: PolledEmulator
    if isinstance(checked, AspectOptions):
        emulator = AspectEmulator(checked, lane(clock), clock, 1)
    else:
        assert isinstance(checked, ModbusPortalOptions)
        emulator = ModbusPortalEmulator(checked, lane(clock), clock, 1)
    try:
        yield emulator, await emulator.start()
    finally:
        await emulator.stop()


async def counted(emulator: PolledEmulator, intervals: int = 2) -> None:
    """Wait until the portal has counted anew so often: faults show in the next count."""
    until_s = emulator.portal.due_s + (intervals - 0.5) * emulator.portal.interval_s
    assert await within(10, lambda: emulator.portal.due_s > until_s)


@contextlib.asynccontextmanager
async def opened(driver: Driver) -> AsyncIterator[Driver]:
    await driver.open()
    try:
        yield driver
    finally:
        await driver.close()


async def take(driver: Driver, count: int) -> list[Reading | BadFrame]:
    """The next items of a driver."""
    items: list[Reading | BadFrame] = []
    async with asyncio.timeout(20), contextlib.aclosing(cast(Any, driver.readings())) as readings:
        async for item in readings:
            items.append(item)
            if len(items) == count:
                break
    return items
