"""Real drivers under the supervisor, over real sockets that are cut, silent, spoilt, and come back."""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from drivers.plant.chaos import JUNK, ChaosProxy
from drivers.plant.clock import PlantClock
from drivers.plant.emulator import Emulator
from drivers.plant.vehicle import load_scenario
from drivers.plant.world import Plant
from drivers.readings import Counts, Reading
from station import plugins
from station.lanefile import FittedDevice, load_lane, shipped
from station.runtime.clock import SystemClock
from station.runtime.health import Health
from station.runtime.supervisor import Supervisor

PATIENCE_S = 10.0


@dataclass
class Bench:
    """One device of the demonstration lane behind the link-fault proxy, supervised."""

    device: str
    proxy: ChaosProxy
    seen: list[str] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    supervisor: Supervisor = field(init=False)

    async def until(self, true: Callable[[], bool]) -> float:
        """Wait for a condition; returns the real seconds that it took."""
        started_s = time.monotonic()
        while not true():
            assert time.monotonic() - started_s < PATIENCE_S, self.seen
            await asyncio.sleep(0.01)
        return time.monotonic() - started_s

    @property
    def state(self) -> Health:
        return self.supervisor.health(self.device).state


@asynccontextmanager
async def supervised(name: str, crash_dir: Path) -> AsyncIterator[Bench]:
    """Give a bench with this device; everything is closed afterwards."""
    lane = load_lane(shipped("lanes", "demo"), plugins.find)
    (device,) = (device for device in lane.devices if device.name == name)
    clock = PlantClock()
    plant = Plant(lane.geometry, load_scenario(shipped("scenarios", "demo")), clock)
    module, _, kind = device.spec.simulator.partition(":")
    emulator: Emulator = getattr(importlib.import_module(module), kind)(device.options, plant, clock, 1)
    proxy = ChaosProxy(await emulator.start())
    port = await proxy.start()
    fitted = FittedDevice(name, device.spec, "emulated", device.options.model_copy(update={"port": port}))
    bench = Bench(name, proxy)
    bench.supervisor = Supervisor(
        [fitted],
        SystemClock(),
        lambda _, reading: bench.readings.append(reading),
        lambda _, change: bench.seen.append(f"{change.before}→{change.to}"),
        crash_dir,
    )
    bench.supervisor.start()
    try:
        yield bench
    finally:
        await bench.supervisor.stop()
        await proxy.stop()
        await emulator.stop()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with supervised("io1", tmp_path) as board:
        yield board


async def test_a_cut_link_is_seen_at_once_and_back_within_seconds(bench: Bench) -> None:
    await bench.until(lambda: bench.state == Health.ONLINE and len(bench.readings) > 3)
    bench.proxy.set("refused")
    assert await bench.until(lambda: bench.state == Health.BACKOFF) < 1.0
    assert bench.supervisor.driver("io1") is None
    frozen = len(bench.readings)
    await asyncio.sleep(0.3)
    assert len(bench.readings) == frozen
    bench.proxy.set(None)
    assert await bench.until(lambda: bench.state == Health.ONLINE) < 5.0
    assert bench.seen == ["starting→online", "online→backoff", "backoff→online"]


async def test_a_half_open_link_publishes_nothing_old_and_is_opened_anew(bench: Bench) -> None:
    await bench.until(lambda: bench.state == Health.ONLINE)
    bench.proxy.set("half_open")
    await bench.until(lambda: bench.state in (Health.STALE, Health.BACKOFF))
    frozen = len(bench.readings)
    await bench.until(lambda: bench.state == Health.BACKOFF)
    assert len(bench.readings) == frozen
    bench.proxy.set(None)
    await bench.until(lambda: bench.state == Health.ONLINE)
    assert not (bench.supervisor.health("io1").crashes)


async def test_rubbish_is_counted_kept_raw_and_read_past(tmp_path: Path) -> None:
    async with supervised("rpm1", tmp_path) as portal:
        portal.proxy.set("garbage")
        await portal.until(lambda: sum(portal.supervisor.health("rpm1").bad_frames.values()) >= 2)
        await portal.until(lambda: any(isinstance(reading, Counts) for reading in portal.readings))
        status = portal.supervisor.health("rpm1")
        assert (status.state, status.cause) == (Health.DEGRADED, "bad_frames")
        assert {frame.head for _, frame in status.last_bad_frames} == {JUNK.removesuffix(b"\n")}
        assert JUNK in status.tail, "as it came"
        assert status.opened == 1, "the link was never given up"
        assert not status.crashes


async def test_one_byte_segments_are_the_same_readings(tmp_path: Path) -> None:
    async with supervised("rpm1", tmp_path) as portal:
        portal.proxy.set("slicer")
        await portal.until(lambda: any(isinstance(reading, Counts) for reading in portal.readings))
        status = portal.supervisor.health("rpm1")
        assert (status.state, status.bad_frames, status.opened) == (Health.ONLINE, {}, 1)
