"""The emulated Aspect portal: its registers on a Modbus server, counting on the virtual truck.

One gamma and one neutron number, each the sum of all panels over ``count_interval_s`` (0.2 s where the
options do not say); the elapsed time is in milliseconds. Both are this emulator's own: no source says how a
portal does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from drivers.api import Clock, Options
from drivers.plant.modbus import FAULTS as WIRE_FAULTS
from drivers.plant.modbus import ModbusServer
from drivers.plant.polled import INTERVAL_S, PolledEmulator, PolledPortal
from drivers.plant.world import Plant
from drivers.rpm.aspect.codec import (
    DESCRIPTOR_ADDRESS,
    DESCRIPTOR_COUNT,
    USUAL,
    Inputs,
    Measured,
    Monitor,
    Outputs,
    Status,
    encode,
)
from drivers.rpm.aspect.driver import UNITS, AspectOptions
from drivers.transport.modbus import READ_HOLDING_REGISTERS

SIGNATURE, MONITOR_BLOCK = 0x4153, 1
WORD, LONG = 1 << 16, 1 << 32
CONTACTS = {
    "error": Inputs.ERROR,
    "low_battery": Inputs.LOW_BATTERY,
    "power_fail": Inputs.POWER_FAIL,
    "tamper": Inputs.OPEN,
}
TROUBLES = {"high_count": Status.HIGH_COUNT, "low_count": Status.LOW_COUNT, "overload": Status.OVERLOAD}
"""Faults that the portal itself shows, and the bits that show them."""


class AspectPortal(PolledPortal):
    """The portal behind its registers, without a wire."""

    FAULTS: ClassVar[frozenset[str]] = (
        PolledPortal.FAULTS
        | CONTACTS.keys()
        | TROUBLES.keys()
        | {"bad_descriptor", "negative_count", "not_a_number"}
    )

    def __init__(self, plant: Plant, seed: int, interval_s: float = INTERVAL_S) -> None:
        """Switch on now."""
        super().__init__(plant, seed, interval_s)
        self._shown: list[int] = []

    @property
    def descriptor(self) -> list[int]:
        """The registers of the descriptor."""
        place = (4, 9) if "bad_descriptor" in self.faults else (USUAL.address, USUAL.count)
        return [SIGNATURE, USUAL.address + USUAL.count, MONITOR_BLOCK, *place, 0, 0, 0]

    def registers(self, now_s: float) -> list[int]:
        """Return the monitor block as it stands at ``now_s``."""
        self.step(now_s)
        if "frozen" not in self.faults or not self._shown:
            self._shown = encode(self._monitor())
        return self._shown

    def _monitor(self) -> Monitor:
        gamma_background, neutron_background = self.background
        gamma = self._measured(int(self.panels.gamma[-1].sum()), gamma_background, alarm=self.gamma_alarm)
        neutron = self._measured(
            int(self.panels.neutron[-1].sum()), neutron_background, alarm=self.neutron_alarm
        )
        if "negative_count" in self.faults:
            gamma = replace(gamma, count=-1)
        if "not_a_number" in self.faults:
            neutron = replace(neutron, background=math.nan)
        inputs = Inputs(0)
        if self.occupied:
            inputs |= Inputs.OCCUPIED_0 | Inputs.FORWARD
        for name, contact in CONTACTS.items():
            inputs |= contact if name in self.faults else Inputs(0)
        return Monitor(
            elapsed=round(self.elapsed_s * 1000) % LONG,
            inputs=inputs,
            gamma=gamma,
            neutron=neutron,
            object_count=self.count,
            speed_mmps=round(self.plant.speed_mps * 1000) % WORD if self.occupied else 0,
            outputs=Outputs.ALARM if self.gamma_alarm or self.neutron_alarm else Outputs.ENTRY_GREEN,
        )

    def _measured(self, count: int, background: float, *, alarm: bool) -> Measured:
        status = Status(0) if "not_ready" in self.faults else Status.READY
        status |= Status.ALARM_1 if alarm else Status(0)
        for name, trouble in TROUBLES.items():
            status |= trouble if name in self.faults else Status(0)
        return Measured(status, count, background, background)  # of a Poisson number both are the same


class AspectEmulator(PolledEmulator):
    """The portal on a Modbus server."""

    FAULTS: ClassVar[frozenset[str]] = AspectPortal.FAULTS | WIRE_FAULTS

    def __init__(self, options: Options, plant: Plant, clock: Clock, seed: int) -> None:
        """Build it; opens nothing. Without a unit in the options it is the first that is looked for."""
        if not isinstance(options, AspectOptions):
            raise TypeError(f"the Aspect emulator needs AspectOptions, not {type(options).__name__}")
        self._unit_id = options.unit_id or UNITS[0]
        self._aspect = AspectPortal(plant, seed, options.count_interval_s or INTERVAL_S)
        places = [(DESCRIPTOR_ADDRESS, DESCRIPTOR_COUNT), (USUAL.address, USUAL.count)]
        server = ModbusServer({self._unit_id: {READ_HOLDING_REGISTERS: places}}, self._asked)
        super().__init__(self._aspect, server, clock)

    async def _asked(self, address: int, values: Sequence[int] | None) -> None:
        """Show the portal as it is now: its elapsed time runs between two intervals."""
        for place, registers in (
            (DESCRIPTOR_ADDRESS, self._aspect.descriptor),
            (USUAL.address, self._aspect.registers(self._clock.monotonic_s())),
        ):
            await self._server.write(self._unit_id, READ_HOLDING_REGISTERS, place, registers)
