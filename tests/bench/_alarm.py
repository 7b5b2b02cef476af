"""From the last byte of an alarm line on a real socket to the lane's decision, while images are made."""

from __future__ import annotations

import asyncio
import logging
import threading
import time

import numpy as np
from _row import Row, percentile

from drivers.api import DriverContext
from drivers.readings import BadFrame
from drivers.rpm.tsa.driver import TsaDriver, TsaOptions
from imaging.radiograph.kernel import LutKernel
from imaging.radiograph.model import Calibration
from station.runtime.clock import SystemClock
from station.runtime.watchdog import LoopLag
from tests.support.lane_rig import Rig

ALARMS = 300
EVERY_S = 0.02
LINE = b"GA,000900,000900,000900,000900\r\n"


def rows() -> list[Row]:
    late_ms, lag_ms = asyncio.run(measure())
    return [
        Row("alarm decided after the last byte under image load, p99", percentile(late_ms, 0.99), "ms", 50),
        Row("event-loop lag under image load, max", lag_ms, "ms", 100),
    ]


async def measure() -> tuple[list[float], float]:
    """Return how late each alarm was decided and the longest lag of the loop, in ms."""
    sent: list[float] = []
    late_ms: list[float] = []
    rig, clock, lag = Rig(), SystemClock(), LoopLag()
    done, stop = asyncio.Event(), threading.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(ALARMS):
            await asyncio.sleep(EVERY_S)
            sent.append(time.perf_counter())
            writer.write(LINE)
        await done.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    context = DriverContext("rpm1", clock, logging.getLogger("bench"), lambda direction, data: None)
    driver = TsaDriver(TsaOptions(host="127.0.0.1", port=port), context)
    await driver.open()
    load = threading.Thread(target=_images, args=(stop,))
    load.start()
    lagging = asyncio.create_task(lag.run())
    async for reading in driver.readings():
        if not isinstance(reading, BadFrame):
            rig.read("rpm1", reading)
            late_ms.append((time.perf_counter() - sent[len(late_ms)]) * 1000)
        if len(late_ms) == ALARMS:
            break
    worst_ms = lag.take_max() * 1000
    stop.set()
    done.set()
    load.join()
    lagging.cancel()
    await driver.close()
    server.close()
    return late_ms, worst_ms


def _images(stop: threading.Event) -> None:
    """Make radiographs in a thread, as fast as one core can."""
    flat = np.ones(1024)
    calibration = Calibration(
        flat * 100, flat * 2, flat, np.zeros(1024, bool), 1000.0, 1.0, (0,), False, 2000, 20000
    )
    kernel = LutKernel(calibration, 4000, 256)
    samples = np.full((256, 1024), 500, dtype=np.uint16)
    ln_i0 = np.full(256, np.log(1000.0))
    while not stop.is_set():
        kernel(samples, ln_i0)
