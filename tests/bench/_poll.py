"""What a polled portal costs: driver and library on a real socket, the emulator in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time

from _row import Row

from drivers.rpm.aspect.driver import SPEC as ASPECT
from drivers.rpm.modbus.driver import SPEC as GENERIC
from tests.support.polled import driver_at, emulated, opened
from tests.support.portal_map import KNOWN, WHOLE

SECONDS = 10.0


def rows() -> list[Row]:
    """Row 11 of the peer's defects: its loop took a whole core; ours polls five times a second."""
    title = "share of a core that polls"
    return [
        Row(f"{title} an Aspect portal", _share(ASPECT, KNOWN), "core", 0.05),
        Row(f"{title} a mapped portal", _share(GENERIC, {"map": WHOLE, **KNOWN}), "core", 0.05),
    ]


def _share(spec: object, options: dict[str, object]) -> float:
    """Return the driver's thread time by the time that passed."""
    port: list[int] = []
    ready, ended = threading.Event(), threading.Event()

    async def serve() -> None:
        async with emulated(spec, **options) as (_, place):
            port.append(place)
            ready.set()
            await asyncio.to_thread(ended.wait)

    device = threading.Thread(target=asyncio.run, args=(serve(),))
    device.start()
    try:
        ready.wait(10)
        return asyncio.run(_poll(spec, port[0], options))
    finally:
        ended.set()
        device.join()


async def _poll(spec: object, port: int, options: dict[str, object]) -> float:
    heard = 0
    async with opened(driver_at(port, spec, **options)) as driver:
        began_s, busy_s = time.perf_counter(), time.thread_time()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SECONDS):
                async for _ in driver.readings():
                    heard += 1
        share = (time.thread_time() - busy_s) / (time.perf_counter() - began_s)
    if not heard:
        raise RuntimeError("the portal told nothing")
    return share
