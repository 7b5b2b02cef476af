"""Registers of an Aspect portal: the descriptor and the monitor block, both ways.

The descriptor stands at address 0 and says where the monitor block is. A number of 32 bits has its **low**
word first, so that the registers as little-endian words are the block as one little-endian structure::

    0-1   u32  elapsed time          10     bits  neutron status     17  u16   object counter
    2     bits inputs                11-12  i32   neutron count      18  u16   object mark
    3     bits gamma status          13-14  f32   neutron background 19  u16   speed, mm/s
    4-5   i32  gamma count           15-16  f32   neutron variance   20  bits  outputs
    6-7   f32  gamma background
    8-9   f32  gamma variance

Source: the OSCAR drivers of OpenSensorHub. It states no unit of the elapsed time and no counting time, and
not what tells the two alarms apart. Pure: any registers become a value, never an exception.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import IntFlag

from drivers.formats.polled import Poll, flaw
from drivers.readings import Channel, PortalStatus, Stamp
from drivers.transport.modbus import ADDRESSES, MOST_REGISTERS

DESCRIPTOR_ADDRESS, DESCRIPTOR_COUNT = 0, 8
BLOCK = struct.Struct("<IHHiffHiffHHHH")
BLOCK_COUNT = BLOCK.size // 2
"""Registers of the block that are known: 21; a longer one has more, which mean nothing here."""


@dataclass(frozen=True, slots=True)
class Area:
    """Registers that one request reads."""

    address: int
    count: int


USUAL = Area(100, BLOCK_COUNT)


class Inputs(IntFlag):
    """What the contacts of the portal say. Both directions at once: it does not know."""

    OCCUPIED_0, OCCUPIED_1, OCCUPIED_2, OCCUPIED_3 = 0x01, 0x02, 0x04, 0x08
    BUTTON, SENSOR, FORWARD, BACKWARD = 0x10, 0x20, 0x40, 0x80
    POWER_FAIL, LOW_BATTERY, OPEN, ERROR = 0x0100, 0x0200, 0x0400, 0x0800
    RESET = 0x8000

    OCCUPIED = 0x0F
    WARN = 0x8500
    """It measures, and somebody should see to it: Reset, Open, PowerFail."""
    FAIL = 0x0A00
    """It does not measure: Error, LowBattery."""


class Status(IntFlag):
    """What the portal says of one channel; bits 0100 to 8000 are N0 to N7, of unknown meaning."""

    ALARM_1, ALARM_2 = 0x01, 0x02
    LOW_COUNT, HIGH_COUNT, OVERLOAD, READY = 0x10, 0x20, 0x40, 0x80

    ALARM = 0x03
    FAULT = 0x70


class Outputs(IntFlag):
    """What the portal shows: lamps, relays, and whether it still learns its background."""

    ALARM, VIDEO, YELLOW, FAST_FLASH, SLOW_FLASH, BUSY, ADAPTATION = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40
    ENTRY_GREEN, EXIT_GREEN, EXIT_ARROW = 0x0100, 0x0200, 0x0400


@dataclass(frozen=True, slots=True)
class Measured:
    """One channel in the block; background and variance in the unit of the count."""

    status: int = 0
    count: int = 0
    background: float = 0.0
    variance: float = 0.0

    @property
    def ready(self) -> bool:
        """Whether the channel measures."""
        return bool(self.status & Status.READY)

    @property
    def wrong(self) -> str | None:
        """Why its numbers are none, if it measures at all."""
        if not self.ready:
            return None
        return flaw(self.count) or flaw(self.background) or flaw(abs(self.variance))


@dataclass(frozen=True, slots=True)
class Monitor:
    """The block: what the portal says of itself now."""

    elapsed: int
    inputs: int
    gamma: Measured
    neutron: Measured
    object_count: int = 0
    object_mark: int = 0
    speed_mmps: int = 0
    outputs: int = 0

    def channel(self, channel: Channel) -> Measured:
        """Return one channel."""
        return self.gamma if channel is Channel.GAMMA else self.neutron

    @property
    def alarms(self) -> frozenset[Channel]:
        """Channels in alarm, whether they are fitted or ready or not."""
        return frozenset(each for each in Channel if self.channel(each).status & Status.ALARM)

    def text(self) -> bytes:
        """Return its fourteen fields in their order, as a line of a recording."""
        fields = (
            *(self.elapsed, f"{self.inputs:04x}", *_fields(self.gamma), *_fields(self.neutron)),
            *(self.object_count, self.object_mark, self.speed_mmps, f"{self.outputs:04x}"),
        )
        return ",".join(map(str, fields)).encode("ascii")

    def poll(self, stamp: Stamp, fitted: Collection[Channel]) -> Poll:
        """Return what it says in the words of all portals; a channel that is not ready has no numbers."""
        channels = {each: self.channel(each) for each in fitted}
        sound = {each for each, known in channels.items() if known.ready and known.wrong is None}
        troubled = any(known.status & Status.FAULT or not known.ready for known in channels.values())
        status = PortalStatus(
            stamp,
            occupied=bool(self.inputs & Inputs.OCCUPIED),
            gamma_alarm=Channel.GAMMA in self.alarms,
            neutron_alarm=Channel.NEUTRON in self.alarms,
            fault=troubled or bool(self.inputs & Inputs.FAIL),
            warning=bool(self.inputs & Inputs.WARN),
            tamper=bool(self.inputs & Inputs.OPEN),
            occupancy_count=self.object_count,
            raw=self.text(),
        )
        return Poll(
            status,
            counts={each: (known.count if each in sound else None,) for each, known in channels.items()},
            background={
                each: (known.background if each in sound else None,) for each, known in channels.items()
            },
            speed_mps=self.speed_mmps / 1000,
        )


def monitor_area(descriptor: Sequence[int]) -> Area:
    """Return where the monitor block is, by the descriptor if that is plausible, else where it usually is."""
    if len(descriptor) != DESCRIPTOR_COUNT:
        return USUAL
    area = Area(descriptor[3], descriptor[4])
    behind = area.address >= DESCRIPTOR_COUNT and area.address + area.count <= ADDRESSES
    return area if behind and BLOCK_COUNT <= area.count <= MOST_REGISTERS else USUAL


def decode(registers: Sequence[int]) -> Monitor | None:
    """Return what a monitor block says; ``None`` when it is too short."""
    if len(registers) < BLOCK_COUNT:
        return None
    words = struct.pack(f"<{BLOCK_COUNT}H", *registers[:BLOCK_COUNT])
    elapsed, inputs, *fields = BLOCK.unpack(words)
    return Monitor(elapsed, inputs, Measured(*fields[:4]), Measured(*fields[4:8]), *fields[8:])


def encode(monitor: Monitor) -> list[int]:
    """Return the registers of a block, as a portal has them."""
    words = BLOCK.pack(
        *(monitor.elapsed, monitor.inputs, *_numbers(monitor.gamma), *_numbers(monitor.neutron)),
        *(monitor.object_count, monitor.object_mark, monitor.speed_mmps, monitor.outputs),
    )
    return list(struct.unpack(f"<{BLOCK_COUNT}H", words))


def _numbers(measured: Measured) -> tuple[int, int, float, float]:
    return measured.status, measured.count, measured.background, measured.variance


def _fields(measured: Measured) -> tuple[str, int, str, str]:
    status, count, background, variance = _numbers(measured)
    return f"{status:04x}", count, f"{background:.7g}", f"{variance:.7g}"
