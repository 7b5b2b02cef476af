"""From a link that breaks to the next reading: supervisor, driver and emulator on real sockets."""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from pathlib import Path

from _row import Row, percentile

from drivers.plant.chaos import ChaosProxy
from drivers.plant.clock import PlantClock
from drivers.rpm.tsa.driver import SPEC, TsaOptions
from drivers.rpm.tsa.sim import TsaEmulator
from station.lanefile import FittedDevice
from station.runtime.clock import SystemClock
from station.runtime.supervisor import Supervisor
from tests.support.lane_places import lane

BREAKS = 20


def rows() -> list[Row]:
    return [Row("reading again after a broken link, p95", percentile(asyncio.run(_measure()), 0.95), "s", 5)]


async def _measure() -> list[float]:
    logging.disable(logging.WARNING)  # each break is told
    clock = PlantClock(1.0)
    device = TsaEmulator(TsaOptions(), lane(clock), clock, 1)
    proxy = ChaosProxy(await device.start())
    heard = asyncio.Event()
    options = TsaOptions(host="127.0.0.1", port=await proxy.start())
    taken_s: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        supervisor = Supervisor(
            [FittedDevice("rpm1", SPEC, "real", options)],
            SystemClock(),
            lambda name, reading: heard.set(),
            lambda name, change: None,
            Path(folder),
        )
        supervisor.start()
        await heard.wait()
        for _ in range(BREAKS):
            proxy.set("reset")
            await asyncio.sleep(0.05)
            heard.clear()
            broken_s = time.perf_counter()
            proxy.set(None)
            await asyncio.wait_for(heard.wait(), 60)
            taken_s.append(time.perf_counter() - broken_s)
        await supervisor.stop()
    await proxy.stop()
    await device.stop()
    logging.disable(logging.NOTSET)
    return taken_s
