"""An I/O board over Modbus TCP: polled inputs, written coils.

Every poll that the board answers is one fresh ``Inputs``; a poll that fails publishes nothing, so an old
value is never shown as a new one. The watchdog coil is an output like any other: who owns the outputs
toggles it. [MODBUS Messaging on TCP/IP Implementation Guide V1.0b, 2006]
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Annotated

from pydantic import Field, field_validator, model_validator
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusIOException
from pymodbus.pdu import ExceptionResponse, ModbusPDU

from drivers.api import (
    BadFrame,
    CommandRefused,
    ConnectFailed,
    DeviceIdentity,
    DriverContext,
    DriverSpec,
    LinkError,
    LinkLost,
    LinkTimeout,
    Options,
    ProtocolError,
    Role,
    Stamp,
)
from drivers.io.modbus.codec import COILS, INPUTS, Block, blocks, check_map, check_names, decode, nearest
from drivers.readings import Inputs

FAILED_POLLS = 3
"""Failed polls in a row after which the link counts as gone."""
HEAD_BYTES = 64
READ_DISCRETE_INPUTS = 2
WRITE_COILS = 15

_REASONS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledge, not done yet",
    6: "device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "no device behind the gateway",
}
"""Exception codes. [MODBUS Application Protocol Specification V1.1b3, section 7]"""

# Every failure leaves this driver as a typed error; the library would log the same at every poll.
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)


class ModbusIoOptions(Options):
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
    def _check_normally_closed(self) -> ModbusIoOptions:
        check_names("normally_closed", self.normally_closed, self.inputs)
        return self


class ModbusIo:
    """One board on one connection (``drivers.api.DigitalIo``)."""

    def __init__(self, options: ModbusIoOptions, context: DriverContext) -> None:
        """Build it; ``open`` connects."""
        self._options = options
        self._context = context
        self._blocks = blocks(options.inputs)
        self._name = f"the I/O board at {options.host}:{options.port}, unit {options.unit_id},"
        self._client: AsyncModbusTcpClient | None = None
        self._gone: asyncio.Future[str]
        """Why the link ended, as soon as it has: the library would let every request run out."""
        self._arrived: Stamp | None = None
        self._frame = b""
        """Bytes of the answer that is arriving."""
        self._received = 0

    async def open(self) -> DeviceIdentity:
        """Connect, read the inputs once and ask who answers.

        Raises ``ConnectFailed``, or ``ProtocolError`` when the board does not know the mapped inputs.
        """
        options = self._options
        self._gone = asyncio.get_running_loop().create_future()
        self._client = AsyncModbusTcpClient(
            options.host,
            port=options.port,
            timeout=options.timeout_s,
            retries=0,
            reconnect_delay=0,
            trace_connect=self._on_connect,
            trace_packet=self._on_packet,
        )
        try:
            if not await self._client.connect():
                raise ConnectFailed(
                    f"{self._name} does not accept a connection; check its power, its cable and the address."
                )
            self._client.ctx.connect = _no_second_link  # type: ignore[method-assign]
            try:
                first = await self._poll()
                identity = await self._identify() if options.identify else DeviceIdentity()
            except LinkError as error:
                raise ConnectFailed(str(error)) from error
            if isinstance(first, BadFrame):
                raise ProtocolError(
                    f"{self._name} answered the first poll with {first.kind} ({first.head.hex(' ')}); "
                    f"check unit_id and the addresses of inputs."
                )
        except BaseException:
            await self.close()
            raise
        return identity

    async def readings(self) -> AsyncIterator[Inputs | BadFrame]:
        """Poll every ``poll_s``: ``Inputs`` when answered, ``BadFrame`` for a refusal or a wrong answer.

        Raises ``LinkLost`` as soon as the link ends and ``LinkTimeout`` after three failed polls in a row.
        """
        clock = self._context.clock
        due_s = clock.monotonic_s()
        failed = 0
        while True:
            try:
                item = await self._poll()
            except LinkTimeout:
                failed, last = failed + 1, "no answer"
            else:
                failed, last = (0, "") if isinstance(item, Inputs) else (failed + 1, f"a {item.kind}")
                yield item
            if failed == FAILED_POLLS:
                raise LinkTimeout(
                    f"{self._name} failed {failed} polls in a row, the last with {last}; "
                    "check the board's own state, unit_id and the addresses of inputs."
                )
            due_s = max(due_s + self._options.poll_s, clock.monotonic_s())
            await clock.sleep(due_s - clock.monotonic_s())

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
                f"{self._name} did not confirm {', '.join(outputs)} within {deadline_s} s."
            ) from error

    async def close(self) -> None:
        """Close the connection; idempotent."""
        if self._client is not None:
            self._lose("was closed by us")
            self._client.close()

    # --- requests -----------------------------------------------------------------------------

    async def _poll(self) -> Inputs | BadFrame:
        unit_id = self._options.unit_id
        values: dict[str, bool] = {}
        stamp: Stamp | None = None
        for block in self._blocks:
            count = len(block.names)
            answer = await self._answer(
                self._link().read_discrete_inputs(block.address, count=count, device_id=unit_id)
            )
            stamp = stamp or self._arrived
            if isinstance(answer, ExceptionResponse):
                return self._bad_frame("modbus_exception")
            bits = decode(block, answer.bits, self._options.normally_closed)
            if answer.function_code != READ_DISCRETE_INPUTS or bits is None:
                return self._bad_frame("wrong_answer")
            values |= bits
        return Inputs(stamp or self._context.clock.stamp(), values)

    async def _write(self, block: Block, bits: list[bool]) -> None:
        names = ", ".join(block.names)
        answer = await self._answer(
            self._link().write_coils(block.address, bits, device_id=self._options.unit_id)
        )
        if isinstance(answer, ExceptionResponse):
            code = answer.exception_code
            raise CommandRefused(f"{self._name} refused {names}: {_REASONS.get(code, 'exception')} ({code}).")
        if (answer.function_code, answer.address, answer.count) != (WRITE_COILS, block.address, len(bits)):
            raise CommandRefused(f"{self._name} did not confirm {names} but said: {answer}")

    async def _identify(self) -> DeviceIdentity:
        """Read vendor, product code and revision; a board that cannot tell has an empty identity."""
        try:
            answer = await self._answer(self._link().read_device_information(device_id=self._options.unit_id))
        except LinkTimeout:
            return DeviceIdentity()
        told = getattr(answer, "information", {})
        make, model, firmware = (
            value.decode("ascii", "replace") if isinstance(value := told.get(key), bytes) else ""
            for key in range(3)
        )
        return DeviceIdentity(make=make, model=model, firmware=firmware)

    def _link(self) -> AsyncModbusTcpClient:
        if self._client is None:
            raise LinkLost(f"{self._name} has not been opened.")
        if self._gone.done():
            raise LinkLost(f"{self._name} {self._gone.result()}.")
        return self._client

    async def _answer(self, request: Awaitable[ModbusPDU]) -> ModbusPDU:
        """Wait for an answer: ``LinkLost`` as soon as the link ends, ``LinkTimeout`` after ``timeout_s``."""
        answer = asyncio.ensure_future(request)
        try:
            await asyncio.wait((answer, self._gone), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise LinkLost(f"{self._name} {self._gone.result()}.")
            return answer.result()
        except ConnectionException as error:
            raise LinkLost(f"{self._name} has no connection any more.") from error
        except ModbusIOException as error:
            raise LinkTimeout(f"{self._name} did not answer within {self._options.timeout_s} s.") from error
        finally:
            answer.cancel()

    def _bad_frame(self, kind: str) -> BadFrame:
        return BadFrame(kind, self._received - len(self._frame), self._frame[:HEAD_BYTES])

    # --- what the library sees of the link ------------------------------------------------------

    def _on_connect(self, connected: bool) -> None:
        if not connected:
            self._lose("ended the connection")

    def _lose(self, why: str) -> None:
        if not self._gone.done():
            self._gone.set_result(why)

    def _on_packet(self, sending: bool, data: bytes) -> bytes:
        """Tap the bytes; the library shows an unfinished answer again with every segment that comes."""
        if sending:
            self._frame = b""
            self._context.tap("tx", data)
            return data
        grown = len(data) > len(self._frame) and data.startswith(self._frame)
        new = data[len(self._frame) :] if grown else data
        self._frame = data
        self._received += len(new)
        self._arrived = self._context.clock.stamp()
        self._context.tap("rx", new)
        return data


async def _no_second_link() -> bool:
    """Stand in for the library's own connect, which a request runs on a link that has just ended.

    Nobody would close that connection, and a board has few.
    """
    return False


SPEC = DriverSpec(
    name="modbus_io",
    role=Role.DIGITAL_IO,
    options=ModbusIoOptions,
    make=ModbusIo,
    simulator="drivers.io.modbus.sim:ModbusEmulator",
)
