"""A portal of any make over Modbus TCP, by a map of its registers in the lane file.

It is the way to portals whose protocol nobody has published: the site's engineer knows which register of the
portal, or of the PLC beside it, says what. What the map does not have is not fitted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated

from pydantic import Field, model_validator

from drivers.api import (
    BadFrame,
    DeviceIdentity,
    DriverContext,
    DriverSpec,
    PortalFacts,
    ProtocolError,
    Role,
)
from drivers.formats.polled import Poll, PolledOptions, Publisher
from drivers.readings import Channel, PortalReading, Stamp
from drivers.rpm.modbus import codec
from drivers.transport.modbus import ModbusLink

ADVICE = "check the portal's own state, unit_id and the addresses of the map"


class ModbusPortalOptions(PolledOptions):
    """Where the portal is, and the map of what it says."""

    unit_id: int = Field(default=1, ge=0, le=255)
    map: Annotated[tuple[codec.Point, ...], Field(strict=False, min_length=1)]
    """What stands where; see the page of the driver."""

    @model_validator(mode="after")
    def _can_work(self) -> ModbusPortalOptions:
        if problem := codec.map_problem(self.map, self.unit_id):
            raise ValueError(f"the map {problem}")
        told = any(point.field in codec.BACKGROUNDS for point in self.map)
        if told and bool(self.count_interval_s) != bool(self.bg_averaging_s):
            raise ValueError(
                "the map has a background: count_interval_s and bg_averaging_s belong together; "
                "give both, or neither, and the counts are kept and not judged"
            )
        if self.bg_averaging_s and not told:
            raise ValueError("bg_averaging_s is the averaging of a background, and the map has none")
        return self

    @property
    def portal(self) -> PortalFacts:
        """One panel for each entry of counts; a background that the device does not tell is of one second."""
        panels = [sum(point.field == name for point in self.map) for name in codec.COUNTS]
        return PortalFacts(
            tuple(f"P{number}" for number in range(1, max(panels) + 1)),
            frozenset(channel for channel, count in zip(Channel, panels, strict=True) if count),
            self.count_interval_s or None,
            (self.bg_averaging_s or 1.0) if self.count_interval_s else None,
            windows=any(point.field in codec.WINDOWS for point in self.map),
            alarms=frozenset(c for c in Channel if any(point.field == f"{c}_alarm" for point in self.map)),
        )


class ModbusPortal:
    """One portal on one link (``drivers.api.Driver``)."""

    def __init__(self, options: ModbusPortalOptions, context: DriverContext) -> None:
        """Build it; ``open`` connects."""
        self._options = options
        name = f"the portal at {options.host}:{options.port}"
        self._link = ModbusLink(name, options.host, options.port, options.timeout_s, context)
        self._requests = codec.requests(options.map, options.unit_id)
        self._publisher = Publisher(options)

    async def open(self) -> DeviceIdentity:
        """Connect and read the whole map once; a map of registers has no identity.

        Raises ``ConnectFailed``, or ``ProtocolError`` when the portal does not know what the map names.
        """
        async with self._link.opening():
            await self._read_once()
        return DeviceIdentity()

    async def readings(self) -> AsyncIterator[PortalReading | BadFrame]:
        """Yield readings; raises ``LinkLost`` without a link, ``LinkTimeout`` after three failed polls."""
        async with aclosing(self._link.poll(self._options.poll_s, self._poll, ADVICE)) as polls:
            async for item in polls:
                if isinstance(item, BadFrame):
                    yield item
                    continue
                poll, flaws = item
                for kind in flaws:
                    yield self._link.bad_frame(kind)
                for reading in self._publisher.take(poll):
                    yield reading

    async def close(self) -> None:
        """Close the connection; idempotent."""
        self._link.close()

    async def _read_once(self) -> None:
        for request in self._requests:
            answer = await self._ask(request)
            if isinstance(answer, BadFrame):
                last = request.address + request.count - 1
                raise ProtocolError(
                    f"{self._link.name} answered function {request.function} for the addresses "
                    f"{request.address} to {last} of unit {request.unit_id} with {answer.kind} "
                    f"({answer.head.hex(' ')}); check these entries of the map"
                )

    async def _poll(self) -> tuple[Poll, tuple[str, ...]] | BadFrame:
        memory: dict[codec.Place, int] = {}
        stamp: Stamp | None = None
        for request in self._requests:
            answer = await self._ask(request)
            if isinstance(answer, BadFrame):
                return answer
            stamp = stamp or self._link.arrived
            for offset, value in enumerate(answer):
                memory[request.unit_id, request.function, request.address + offset] = value
        options = self._options
        return codec.poll(options.map, options.unit_id, memory, stamp or self._link.arrived)

    async def _ask(self, request: codec.Request) -> list[int] | BadFrame:
        return await self._link.read(request.function, request.address, request.count, request.unit_id)


SPEC = DriverSpec(
    name="generic_modbus",
    role=Role.PORTAL_MONITOR,
    options=ModbusPortalOptions,
    make=ModbusPortal,
    simulator="drivers.rpm.modbus.sim:ModbusPortalEmulator",
)
