"""An I/O board over Modbus TCP: polled inputs, written coils.

Every poll that the board answers is one fresh ``Inputs``; a poll that fails publishes nothing, so an old
value is never shown as a new one. The watchdog coil is an output like any other: who owns the outputs
toggles it. [MODBUS Messaging on TCP/IP Implementation Guide V1.0b, 2006]
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Annotated

from pydantic import Field, field_validator, model_validator
from pymodbus.pdu import ExceptionResponse

from drivers.api import (
    BadFrame,
    BoardOptions,
    CommandRefused,
    DeviceIdentity,
    DriverContext,
    DriverSpec,
    LinkTimeout,
    ProtocolError,
    Role,
    Stamp,
)
from drivers.io.modbus.codec import COILS, INPUTS, Block, blocks, check_map, check_names, decode, nearest
from drivers.readings import Inputs
from drivers.transport.modbus import READ_INPUTS, REASONS, ModbusLink

WRITE_COILS = 15


SLOWEST_S = 0.25
"""Time between two polls at which a contact that stands for half a second is still seen to stand."""


class ModbusIoOptions(BoardOptions):
    """Address and map of the board; only coils listed here can ever be written."""

    host: str = "127.0.0.1"
    port: int = Field(default=502, ge=1, le=65_535)
    unit_id: int = Field(default=1, ge=0, le=255)
    poll_s: float = Field(default=0.05, ge=0.01, le=10)
    timeout_s: float = Field(default=0.5, gt=0, le=5)
    """Longest wait for one answer, and for the connection."""
    identify: bool = True
    """Ask for the device identification (function 43/14); some boards hang up on it."""
    coils: dict[str, int] = Field(default_factory=lambda: dict(COILS))
    inputs: dict[str, int] = Field(default_factory=lambda: dict(INPUTS), min_length=1)
    normally_closed: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Inputs whose contact opens when what the name says is so."""

    @field_validator("coils")
    @classmethod
    def _check_coils(cls, coils: dict[str, int]) -> dict[str, int]:
        check_map("coil", coils, COILS)
        return coils

    @field_validator("inputs")
    @classmethod
    def _check_inputs(cls, inputs: dict[str, int]) -> dict[str, int]:
        check_map("input", inputs, INPUTS)
        return inputs

    @model_validator(mode="after")
    def _check_together(self) -> ModbusIoOptions:
        check_names("normally_closed", self.normally_closed, self.inputs)
        check_map("input", self.wired, self.wired)
        if self.portals and self.poll_s > SLOWEST_S:
            raise ValueError(
                f"poll_s = {self.poll_s:g} is too slow for the contacts of {', '.join(self.portals)}: "
                f"a short alarm would go unseen; at most {SLOWEST_S:g}"
            )
        return self

    @property
    def wired(self) -> Mapping[str, int]:
        """Return the address of every input that is read, those of portals behind the portal's name."""
        contacts = {
            f"{portal}.{name}": address
            for portal, wired in self.portals.items()
            for name, address in wired.contacts.items()
        }
        return {**self.inputs, **contacts}

    @property
    def closed(self) -> frozenset[str]:
        """Return the inputs whose contact opens when what the name says is so."""
        contacts = {
            f"{portal}.{name}"
            for portal, wired in self.portals.items()
            for name in wired.contacts.keys() - set(wired.normally_open)
        }
        return frozenset(self.normally_closed) | contacts


class ModbusIo:
    """One board on one connection (``drivers.api.DigitalIo``)."""

    def __init__(self, options: ModbusIoOptions, context: DriverContext) -> None:
        """Build it; ``open`` connects."""
        self._options = options
        self._blocks = blocks(options.wired)
        self._closed = options.closed
        name = f"the I/O board at {options.host}:{options.port}, unit {options.unit_id},"
        self._link = ModbusLink(name, options.host, options.port, options.timeout_s, context)

    async def open(self) -> DeviceIdentity:
        """Connect, read the inputs once and ask who answers.

        Raises ``ConnectFailed``, or ``ProtocolError`` when the board does not know the mapped inputs.
        """
        async with self._link.opening():
            first = await self._poll()
            identity = await self._identify() if self._options.identify else DeviceIdentity()
            if isinstance(first, BadFrame):
                raise ProtocolError(
                    f"{self._link.name} answered the first poll with {first.kind} ({first.head.hex(' ')}); "
                    f"check unit_id and the addresses of inputs."
                )
            return identity

    def readings(self) -> AsyncIterator[Inputs | BadFrame]:
        """Poll every ``poll_s``: ``Inputs`` when answered, ``BadFrame`` for a refusal or a wrong answer.

        Raises ``LinkLost`` as soon as the link ends and ``LinkTimeout`` after three failed polls in a row.
        """
        advice = "check the board's own state, unit_id and the addresses of inputs."
        return self._link.poll(self._options.poll_s, self._poll, advice)

    @property
    def outputs(self) -> frozenset[str]:
        """Return the coils of the map."""
        return frozenset(self._options.coils)

    async def write(self, outputs: Mapping[str, bool], *, deadline_s: float) -> None:
        """Set the named coils, one request for each run of neighbouring addresses.

        Raises ``CommandRefused`` for a coil that is not listed (then nothing is written) or a board that
        does not confirm, ``LinkTimeout`` after ``deadline_s``, ``LinkLost`` without a link.
        """
        coils = self._options.coils
        for name in outputs:
            if name not in coils:
                raise CommandRefused(f"output {name!r} is not in the coil map; {nearest(name, coils)}")
        try:
            async with asyncio.timeout(deadline_s):
                for block in blocks({name: coils[name] for name in outputs}):
                    await self._write(block, [outputs[name] for name in block.names])
        except TimeoutError as error:
            raise LinkTimeout(
                f"{self._link.name} did not confirm {', '.join(outputs)} within {deadline_s} s."
            ) from error

    async def close(self) -> None:
        """Close the connection; idempotent."""
        self._link.close()

    # --- requests -----------------------------------------------------------------------------

    async def _poll(self) -> Inputs | BadFrame:
        options = self._options
        values: dict[str, bool] = {}
        stamp: Stamp | None = None
        for block in self._blocks:
            bits = await self._link.read(READ_INPUTS, block.address, len(block.names), options.unit_id)
            if isinstance(bits, BadFrame):
                return bits
            stamp = stamp or self._link.arrived
            values |= decode(block, bits, self._closed)
        return Inputs(stamp or self._link.arrived, values)

    async def _write(self, block: Block, bits: list[bool]) -> None:
        names, link = ", ".join(block.names), self._link
        request = link.client.write_coils(block.address, bits, device_id=self._options.unit_id)
        answer = await link.ask(request)
        if isinstance(answer, ExceptionResponse):
            code = answer.exception_code
            raise CommandRefused(f"{link.name} refused {names}: {REASONS.get(code, 'exception')} ({code}).")
        if (answer.function_code, answer.address, answer.count) != (WRITE_COILS, block.address, len(bits)):
            raise CommandRefused(f"{link.name} did not confirm {names} but said: {answer}")

    async def _identify(self) -> DeviceIdentity:
        """Read vendor, product code and revision; a board that cannot tell has an empty identity."""
        request = self._link.client.read_device_information(device_id=self._options.unit_id)
        try:
            answer = await self._link.ask(request)
        except LinkTimeout:
            return DeviceIdentity()
        told = getattr(answer, "information", {})
        make, model, firmware = (
            value.decode("ascii", "replace") if isinstance(value := told.get(key), bytes) else ""
            for key in range(3)
        )
        return DeviceIdentity(make=make, model=model, firmware=firmware)


SPEC = DriverSpec(
    name="modbus_io",
    role=Role.DIGITAL_IO,
    options=ModbusIoOptions,
    make=ModbusIo,
    simulator="drivers.io.modbus.sim:ModbusEmulator",
)
