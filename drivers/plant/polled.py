"""A virtual portal that keeps its state for whoever asks: what its electronics do, and the server around it.

Every interval is counted. The portal is occupied while its beams see a vehicle; its alarms stand from the
first window above the limit to ``HOLD_S`` after the vehicle; its counter steps when the vehicle has left.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import numpy as np

from drivers.api import Clock
from drivers.plant.modbus import FAULTS as WIRE_FAULTS
from drivers.plant.modbus import ModbusServer
from drivers.plant.panels import Panels
from drivers.plant.world import ROUNDING_S, Plant

INTERVAL_S = 0.2
HOLD_S = 1.0
COUNTER = 65_536
JUMP = 5


class PolledPortal:
    """One portal; it has been counting for a while when it is switched on."""

    FAULTS: ClassVar[frozenset[str]] = frozenset(
        {
            "counter_jump",  # at once: five vehicles that nobody saw
            "counter_wrap",  # at once: the next step is that from 65535 to 0
            "double_step",  # the counter also steps when the beams are broken
            "frozen",  # what it shows stays as it is
            "gamma_high",  # the first panel counts ten times too much
            "gamma_low",  # the first panel is dead
            "missing_step",  # the counter stands still
            "neutron_high",  # noise in the first neutron panel
            "not_ready",
            "stuck_beam",  # it sees a vehicle that is not there
            "tamper",  # its cabinet is open
        }
    )

    def __init__(self, plant: Plant, seed: int, interval_s: float = INTERVAL_S) -> None:
        """Switch on now; one number of counts is of ``interval_s``."""
        now_s = plant.advance()
        self.plant = plant
        self.interval_s = interval_s
        self.faults: set[str] = set()
        self.panels = Panels(plant, np.random.default_rng(seed), interval_s)
        self.occupied = False
        self.count = 0
        self.gamma_alarm = self.neutron_alarm = False
        self._began_s = now_s
        self._tick_s = now_s + interval_s
        self._cleared_s = now_s

    @property
    def due_s(self) -> float:
        """When ``step`` will have something to count."""
        return self._tick_s

    @property
    def elapsed_s(self) -> float:
        """Time since it was switched on."""
        return self.plant.advance() - self._began_s

    @property
    def background(self) -> tuple[float, float]:
        """Learnt gamma and neutron background, mean counts of all panels in one interval."""
        panels = self.panels
        return panels.gamma_background / panels.intervals, panels.neutron_background * self.interval_s

    def step(self, now_s: float) -> None:
        """Count every interval that has ended by ``now_s``."""
        while self._tick_s <= now_s + ROUNDING_S:
            self.plant.advance()
            self._interval(self._tick_s)
            self._tick_s += self.interval_s

    def fault(self, name: str, *, on: bool) -> None:
        """Begin or end a fault; ``ValueError`` for an unknown name."""
        if name not in self.FAULTS:
            known = ", ".join(sorted(self.FAULTS))
            raise ValueError(f"{name!r} is no fault of this portal; known are {known}")
        (self.faults.add if on else self.faults.discard)(name)
        if on and name == "counter_jump":
            self.count = (self.count + JUMP) % COUNTER
        if on and name == "counter_wrap":
            self.count = COUNTER - 1

    def _interval(self, at_s: float) -> None:
        self.panels.count(
            at_s,
            gain=10.0 if "gamma_high" in self.faults else 0.0 if "gamma_low" in self.faults else 1.0,
            noise_cps=50.0 if "neutron_high" in self.faults else 0.0,
        )
        before, self.occupied = self.occupied, self.panels.occupied or "stuck_beam" in self.faults
        if self.occupied:
            self._cleared_s = at_s
            self.gamma_alarm |= self.panels.gamma_alarm
            self.neutron_alarm |= self.panels.neutron_alarm
        else:
            self.panels.learn()
            if at_s - self._cleared_s >= HOLD_S:
                self.gamma_alarm = self.neutron_alarm = False
        left, came = before and not self.occupied, self.occupied and not before
        if "missing_step" not in self.faults and (left or (came and "double_step" in self.faults)):
            self.count = (self.count + 1) % COUNTER


class PolledEmulator:
    """What the emulators of polled portals share (``drivers.plant.emulator.Emulator``)."""

    DIALS: ClassVar[bool] = False

    def __init__(self, portal: PolledPortal, server: ModbusServer, clock: Clock) -> None:
        """Build it; opens nothing."""
        self.portal = portal
        self._server = server
        self._clock = clock
        self._counting: asyncio.Task[None] | None = None

    async def start(self, dial_port: int | None = None) -> int:
        """Serve on an ephemeral loopback port and return it; ``dial_port`` has no meaning here."""
        port = await self._server.start()
        self._counting = asyncio.create_task(self._count())
        return port

    async def stop(self) -> None:
        """Stop serving; idempotent."""
        if self._counting is not None:
            self._counting.cancel()
            await asyncio.wait([self._counting])
        self._counting = None
        await self._server.stop()

    def fault(self, name: str, *, on: bool) -> None:
        """Show or end a fault; ``ValueError`` for an unknown name."""
        if name in WIRE_FAULTS:
            (self._server.faults.add if on else self._server.faults.discard)(name)
        else:
            self.portal.fault(name, on=on)

    def state(self) -> dict[str, Any]:
        """Return what the portal believes; backgrounds are counts of one interval."""
        portal = self.portal
        gamma_background, neutron_background = portal.background
        return {
            "occupied": portal.occupied,
            "occupancy_count": portal.count,
            "gamma_alarm": portal.gamma_alarm,
            "neutron_alarm": portal.neutron_alarm,
            "gamma_background": gamma_background,
            "neutron_background": neutron_background,
            "faults": sorted(portal.faults | self._server.faults),
        }

    async def _count(self) -> None:
        """Go on counting while nobody asks."""
        while True:
            now_s = self._clock.monotonic_s()
            self.portal.step(now_s)
            await self._clock.sleep(max(0.0, self.portal.due_s - now_s))
