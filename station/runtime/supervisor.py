"""The supervisor: the only owner of time-outs, staleness, back-off, restarts and health of devices.

Each device has one task and its own luck: whatever its driver does, the others go on.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from drivers.api import Clock, Driver
from station.lanefile import FittedDevice
from station.runtime.clock import end
from station.runtime.device import DeviceStatus, OnHealth, OnReading, SupervisedDevice
from station.runtime.health import Health
from station.runtime.retry import Backoff

TICK_S = 0.1
"""How often time is let pass for every device."""
STOP_LIMIT_S = 2.0

log = logging.getLogger(__name__)


class Supervisor:
    """All devices of a lane. The two callbacks run in the event loop, never in another thread."""

    def __init__(
        self,
        devices: Sequence[FittedDevice],
        clock: Clock,
        on_reading: OnReading,
        on_health: OnHealth,
        crash_dir: Path,
        *,
        draw: Callable[[], float] = random.random,
        beat: Callable[[], object] = lambda: None,
    ) -> None:
        """Build it; opens nothing. ``draw`` feeds the jitter, ``beat`` tells the watchdog of every tick."""
        self._clock = clock
        self._beat = beat
        self._devices = {
            fitted.name: SupervisedDevice(fitted, clock, on_reading, on_health, crash_dir, Backoff(draw))
            for fitted in devices
        }
        self._ticker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Open every device and keep it open."""
        self._ticker = asyncio.create_task(self._tick(), name="supervisor")
        self._ticker.add_done_callback(_ended)
        for device in self._devices.values():
            device.start()

    async def stop(self) -> None:
        """Close every device, in two seconds at most; idempotent."""
        if self._ticker is not None:
            await end(self._ticker)
        await self._end(self._devices.values())
        await asyncio.gather(*(device.settle_reports() for device in self._devices.values()))

    def driver(self, name: str) -> Driver | None:
        """Return the driver for a command, or ``None`` while its link is not open."""
        return self._devices[name].driver

    def health(self, name: str) -> DeviceStatus:
        """Return what is known of a device now."""
        return self._devices[name].status()

    def ages(self) -> dict[str, float]:
        """Return the age in seconds of each device's last reading; devices without one are left out."""
        now_s = self._clock.monotonic_s()
        ages = {name: device.health.age_s(now_s) for name, device in self._devices.items()}
        return {name: age_s for name, age_s in ages.items() if age_s is not None}

    def suspect(self, name: str, code: str, *, on: bool) -> None:
        """Degrade a device for what only the lane can know (``on``), or withdraw that."""
        device = self._devices[name]
        device.tell(device.health.suspect(self._clock.monotonic_s(), code, on=on))

    async def disable(self, name: str, detail: str) -> None:
        """Close a device until ``enable``: a person does without it, ``detail`` says who and why."""
        device = self._devices[name]
        await self._end([device])
        device.tell(device.health.disabled(detail))

    def enable(self, name: str) -> None:
        """Open a disabled device again."""
        device = self._devices[name]
        if device.health.state == Health.DISABLED:
            device.tell(device.health.enabled())
            device.start()

    async def _end(self, devices: Iterable[SupervisedDevice]) -> None:
        tasks = [device.task for device in devices if device.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=STOP_LIMIT_S)
            for task in left:
                log.error("%s does not stop: its driver ignores that it was cancelled", task.get_name())

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(TICK_S)
            for device in self._devices.values():
                device.tick()
            self._beat()


def _ended(ticker: asyncio.Task[None]) -> None:
    if not ticker.cancelled():
        log.critical("nobody watches the devices any more", exc_info=ticker.exception())
