"""An Aspect portal over Modbus TCP: its monitor block is read whole, in one request, five times a second.

A poll without an answer publishes nothing, and neither does one in which the portal's elapsed time has
stood still: what it shows is old. Three of them in a row and more than a second and a half of it (a time in
whole seconds stands still longer than three polls) end the link, and no later one publishes anything before
the time moves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field, model_validator

from drivers.api import (
    BadFrame,
    ConnectFailed,
    DeviceIdentity,
    DriverContext,
    DriverSpec,
    LinkTimeout,
    PortalFacts,
    ProtocolError,
    Role,
)
from drivers.formats.polled import PolledOptions, Publisher
from drivers.readings import Channel, PortalReading, Stamp
from drivers.rpm.aspect import codec
from drivers.transport.modbus import FAILED_POLLS, READ_HOLDING_REGISTERS, ModbusLink

UNITS = range(1, 33)
"""Units that are looked for where the lane file names none."""
SCAN_LIMIT_S = 3.0
"""Time after which the search for the unit is broken off; the next link goes on with it."""
FROZEN_NS = 1_500_000_000
"""A time that stands still longer is no time in whole seconds."""
ADVICE = "check the portal's own state and unit_id"

Seen = tuple[codec.Monitor, Stamp]


class AspectOptions(PolledOptions):
    """Where the portal is, what it counts, and how long it does."""

    unit_id: int = Field(default=0, ge=0, le=255)
    """Modbus unit; 0: look for it among the units 1 to 32."""
    channels: Annotated[
        tuple[Literal["gamma", "neutron"], ...], Field(strict=False, min_length=1, max_length=2)
    ] = ("gamma", "neutron")
    """Channels that the portal has detectors for; an alarm of the other one is an alarm all the same."""

    @model_validator(mode="after")
    def _both_or_none(self) -> AspectOptions:
        if bool(self.count_interval_s) != bool(self.bg_averaging_s):
            raise ValueError(
                "count_interval_s and bg_averaging_s belong together: give both, or neither, "
                "and the counts are kept and not judged"
            )
        return self

    @property
    def fitted(self) -> tuple[Channel, ...]:
        """Return the channels."""
        return tuple(map(Channel, self.channels))

    @property
    def portal(self) -> PortalFacts:
        """One number for all panels of a channel."""
        return PortalFacts(
            ("all",),
            frozenset(self.fitted),
            self.count_interval_s or None,
            self.bg_averaging_s or None,
        )


class AspectDriver:
    """One portal on one link (``drivers.api.Driver``)."""

    def __init__(self, options: AspectOptions, context: DriverContext) -> None:
        """Build it; ``open`` connects."""
        self._options = options
        self._clock = context.clock
        name = f"the portal at {options.host}:{options.port}"
        self._link = ModbusLink(name, options.host, options.port, options.timeout_s, context)
        self._publisher = Publisher(options)
        # Kept over broken links: where to look for the unit, and what the portal showed last.
        self._memory = context.memory
        self._unit_id = 0
        self._area = codec.USUAL

    async def open(self) -> DeviceIdentity:
        """Connect and find unit and monitor block.

        Raises ``ConnectFailed``, or ``ProtocolError`` when the unit of the lane file has no monitor block.
        """
        async with self._link.opening():
            return await (self._identify() if self._options.unit_id else self._search())

    async def readings(self) -> AsyncIterator[PortalReading | BadFrame]:
        """Yield readings; raises ``LinkLost`` when the link is gone, ``LinkTimeout`` when its data is old."""
        still, moved_ns = 0, None
        async with aclosing(self._link.poll(self._options.poll_s, self._poll, ADVICE)) as polls:
            async for item in polls:
                if isinstance(item, BadFrame):
                    yield item
                    continue
                seen, stamp = item
                before: codec.Monitor | None = self._memory.get("seen")
                self._memory["seen"] = seen
                moved = before is None or seen.elapsed != before.elapsed
                still = 0 if moved else still + 1
                if moved or moved_ns is None:
                    moved_ns = stamp.mono_ns
                if still >= FAILED_POLLS and stamp.mono_ns - moved_ns > FROZEN_NS:
                    raise LinkTimeout(
                        f"{self._link.name} answers, but its elapsed time has stood still for {still} polls: "
                        "what it shows is old; switch it off and on"
                    )
                if before is None or moved or seen.alarms - before.alarms:
                    for told in self._tell(seen, stamp, moved=moved):
                        yield told

    async def close(self) -> None:
        """Close the connection; idempotent."""
        self._link.close()

    def _tell(self, seen: codec.Monitor, stamp: Stamp, *, moved: bool) -> Iterator[PortalReading | BadFrame]:
        """Yield what one poll gives; an alarm counts in a portal that stands still, its numbers do not."""
        fitted = self._options.fitted
        for channel in fitted:
            if (wrong := seen.channel(channel).wrong) is not None:
                yield self._link.bad_frame(wrong)
        poll = seen.poll(stamp, fitted)
        yield from self._publisher.take(poll if moved else replace(poll, counts={}))

    # --- requests -------------------------------------------------------------------------------

    async def _poll(self) -> Seen | BadFrame:
        area = self._area
        registers = await self._read(self._unit_id, area.address, area.count)
        if isinstance(registers, BadFrame):
            return registers
        seen = codec.decode(registers)
        return self._link.bad_frame("wrong_answer") if seen is None else (seen, self._link.arrived)

    async def _read(self, unit_id: int, address: int, count: int) -> list[int] | BadFrame:
        return await self._link.read(READ_HOLDING_REGISTERS, address, count, unit_id)

    async def _identify(self) -> DeviceIdentity:
        """Look at the unit of the lane file."""
        first = await self._look(self._options.unit_id)
        if isinstance(first, BadFrame):
            raise ProtocolError(
                f"{self._link.name}, unit {self._unit_id}, answered the first poll with {first.kind} "
                f"({first.head.hex(' ')}); check unit_id, and whether this is an Aspect portal"
            )
        return first

    async def _search(self) -> DeviceIdentity:
        """Look at one unit after the other, where the last link left off; what is found is kept."""
        began_s = self._clock.monotonic_s()
        start = self._memory.setdefault("unit", UNITS[0])
        for unit_id in (*UNITS[start - 1 :], *UNITS[: start - 1]):
            if self._clock.monotonic_s() - began_s > SCAN_LIMIT_S:
                raise ConnectFailed(
                    f"{self._link.name} has no portal among the units that were asked in {SCAN_LIMIT_S:g} s; "
                    f"the search goes on with unit {unit_id}; give unit_id if it is known"
                )
            self._memory["unit"] = UNITS[unit_id % len(UNITS)]  # a unit that hangs up is not asked for ever
            try:
                found = await self._look(unit_id)
            except LinkTimeout:
                continue
            if isinstance(found, DeviceIdentity):
                self._memory["unit"] = unit_id
                return found
        raise ConnectFailed(
            f"{self._link.name} has no portal among the units {UNITS[0]} to {UNITS[-1]}; "
            "check the portal, its cable and the address"
        )

    async def _look(self, unit_id: int) -> DeviceIdentity | BadFrame:
        """Ask a unit for its descriptor, which it may lack, and once for its monitor block."""
        self._unit_id = unit_id
        descriptor = await self._read(unit_id, codec.DESCRIPTOR_ADDRESS, codec.DESCRIPTOR_COUNT)
        known = [] if isinstance(descriptor, BadFrame) else descriptor
        self._area = codec.monitor_area(known)
        first = await self._poll()
        if isinstance(first, BadFrame):
            return first
        signature = f", signature {known[0]:04x}" if known else ""
        return DeviceIdentity(model=f"unit {unit_id}{signature}")


SPEC = DriverSpec(
    name="aspect_modbus",
    role=Role.PORTAL_MONITOR,
    options=AspectOptions,
    make=AspectDriver,
    simulator="drivers.rpm.aspect.sim:AspectEmulator",
)
