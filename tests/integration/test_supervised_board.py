"""A real driver under the supervisor, over a real socket that is cut, goes silent and comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from drivers.plant.chaos import ChaosProxy
from drivers.plant.clock import PlantClock
from drivers.plant.vehicle import load_scenario
from drivers.plant.world import Plant
from drivers.readings import Inputs
from station import plugins
from station.lanefile import FittedDevice, load_lane, shipped
from station.runtime.clock import SystemClock
from station.runtime.health import Health
from station.runtime.supervisor import Supervisor

PATIENCE_S = 10.0


@dataclass
class Bench:
    """The I/O board of the demonstration lane behind the link-fault proxy, supervised."""

    proxy: ChaosProxy
    supervisor: Supervisor
    seen: list[str] = field(default_factory=list)
    inputs: list[Inputs] = field(default_factory=list)

    async def until(self, true: Callable[[], bool]) -> float:
        """Wait for a condition; returns the real seconds that it took."""
        started_s = time.monotonic()
        while not true():
            assert time.monotonic() - started_s < PATIENCE_S, self.seen
            await asyncio.sleep(0.01)
        return time.monotonic() - started_s

    @property
    def state(self) -> Health:
        return self.supervisor.health("io1").state


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    from drivers.io.modbus.sim import ModbusEmulator

    lane = load_lane(shipped("lanes", "demo"), plugins.find)
    (board,) = (device for device in lane.devices if device.name == "io1")
    clock = PlantClock()
    emulator = ModbusEmulator(
        board.options, Plant(lane.geometry, load_scenario(shipped("scenarios", "demo")), clock), clock, 1
    )
    proxy = ChaosProxy(await emulator.start())
    port = await proxy.start()
    fitted = FittedDevice("io1", board.spec, "emulated", board.options.model_copy(update={"port": port}))
    bench = Bench(proxy, None)  # type: ignore[arg-type]  # in a moment
    bench.supervisor = Supervisor(
        [fitted],
        SystemClock(),
        lambda _, reading: bench.inputs.append(reading),  # type: ignore[arg-type]  # a board gives Inputs
        lambda _, change: bench.seen.append(f"{change.before}→{change.to}"),
        tmp_path / "crash",
    )
    bench.supervisor.start()
    yield bench
    await bench.supervisor.stop()
    await proxy.stop()
    await emulator.stop()


async def test_a_cut_link_is_seen_at_once_and_back_within_seconds(bench: Bench) -> None:
    await bench.until(lambda: bench.state == Health.ONLINE and len(bench.inputs) > 3)
    bench.proxy.set("refused")
    assert await bench.until(lambda: bench.state == Health.BACKOFF) < 1.0
    assert bench.supervisor.driver("io1") is None
    frozen = len(bench.inputs)
    await asyncio.sleep(0.3)
    assert len(bench.inputs) == frozen
    bench.proxy.set(None)
    assert await bench.until(lambda: bench.state == Health.ONLINE) < 5.0
    assert bench.seen == ["starting→online", "online→backoff", "backoff→online"]


async def test_a_half_open_link_publishes_nothing_old_and_is_opened_anew(bench: Bench) -> None:
    await bench.until(lambda: bench.state == Health.ONLINE)
    bench.proxy.set("half_open")
    await bench.until(lambda: bench.state in (Health.STALE, Health.BACKOFF))
    frozen = len(bench.inputs)
    await bench.until(lambda: bench.state == Health.BACKOFF)
    assert len(bench.inputs) == frozen
    bench.proxy.set(None)
    await bench.until(lambda: bench.state == Health.ONLINE)
    assert not (bench.supervisor.health("io1").crashes)
