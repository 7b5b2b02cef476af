"""A line camera over GigE Vision: control by GVCP, lines by GVSP; nothing here can switch a beam.

The camera keeps no lines: what was not received, and did not come when it was asked for again, is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Iterator

from drivers.api import (
    BadFrame,
    ConfigError,
    ConnectFailed,
    DeviceIdentity,
    DriverContext,
    DriverSpec,
    LinkError,
    LinkTimeout,
    ProtocolError,
    Role,
    ScanKey,
)
from drivers.formats.gige import gvcp, gvsp
from drivers.formats.gige.gvcp import Register
from drivers.formats.gige.gvsp import Assembler, Block, Jump, Resend
from drivers.readings import ScannerReading
from drivers.scanner.gige.control import Control
from drivers.scanner.gige.options import GigeOptions
from drivers.scanner.gige.session import ScanSession
from drivers.transport.udp import UdpLink, open_udp

OPEN_S = 4.5
LOOK_S = 0.02
"""How often deadlines are looked at while a block or a scan is open."""
WAIT_S = 0.1
"""How long a packet is waited for before it is asked for, and then before it is given up."""
AT_ONCE = 64
"""Datagrams after which the loop has its turn."""
MAX_WAITING = 16_384
"""Datagrams that wait for the station at most; what finds no room is lost, and asked for again."""
IMPOSSIBLE = {
    "extended_ids": "sends block ids of 64 bits: switch its extended id mode off",
    "pixel_format": "sends another pixel format than Mono16, the only one that can be read",
    "payload_type": "sends another payload than an image (with chunk data exactly where inputs are given)",
}


class GigeDriver:
    """One camera (``drivers.api.LineScanner``)."""

    def __init__(self, options: GigeOptions, context: DriverContext) -> None:
        """Keep what it needs; opens nothing."""
        self._options = options
        self._context = context
        stamp = context.clock.stamp()
        self._session: ScanSession = context.memory.setdefault("session", ScanSession(stamp.utc_ns))
        self._control: Control | None = None
        self._stream: UdpLink | None = None
        self._assembler: Assembler | None = None
        self._heart: asyncio.Task[None] | None = None
        self._inbox: deque[bytes | BadFrame] = deque()
        self._arrived = asyncio.Event()
        self._resends = False

    async def open(self) -> DeviceIdentity:
        """Take control, set the stream up and start acquisition; see ``Driver.open``."""
        await self.close()
        control = self._control = Control(
            self._options.host, self._options.port, self._context.tap, self._keep
        )
        try:
            async with asyncio.timeout(OPEN_S):
                return await self._begin(control)
        except (TimeoutError, LinkTimeout) as error:
            await self.close()
            late = control.sentence(f"was not ready within {OPEN_S:g} s")
            raise ConnectFailed(str(error) or late) from error
        except BaseException:
            await self.close()
            raise

    async def readings(self) -> AsyncIterator[ScannerReading | BadFrame]:
        """Yield readings; see ``Driver.readings``.

        Ends with ``LinkLost`` when the camera is silent or took its control away, with ``ProtocolError`` when
        it sends what cannot be read.
        """
        clock = self._context.clock
        for reading in self._session.greeting(clock.stamp()):
            yield reading
        while (control := self._control) is not None and (assembler := self._assembler) is not None:
            self._arrived.clear()
            for _ in range(min(len(self._inbox), AT_ONCE)):
                for item in self._feed(assembler, self._inbox.popleft()):
                    yield item
                    if isinstance(item, BadFrame) and item.kind in IMPOSSIBLE:
                        raise ProtocolError(control.sentence(IMPOSSIBLE[item.kind]))
            if self._inbox:  # what has come is no silence
                await asyncio.sleep(0)
                continue
            for item in self._read(assembler.tick(asyncio.get_running_loop().time())):
                yield item
            for reading in self._session.idle(clock.stamp()):
                yield reading
            if self._heart is not None and self._heart.done() and not self._heart.cancelled():
                self._heart.result()
            busy = assembler.due_s is not None or self._session.ends_s is not None
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), LOOK_S if busy else None)

    async def ack(self, key: ScanKey, next_line: int, *, end: bool) -> None:
        """Do nothing: the camera keeps no lines for anybody."""

    async def close(self) -> None:
        """Stop acquisition, give control back and close; the scan is remembered."""
        control, self._control = self._control, None
        stream, self._stream = self._stream, None
        heart, self._heart = self._heart, None
        if heart is not None:
            heart.cancel()
            await asyncio.gather(heart, return_exceptions=True)
        if control is not None:
            with contextlib.suppress(LinkError):
                if stream is not None:
                    control.tell(*self._options.registers.acquisition_stop)
                    control.tell(Register.STREAM_PORT, 0)
                control.tell(Register.PRIVILEGE, 0)
            control.close()
        if stream is not None:
            stream.close()
        self._inbox.clear()
        self._arrived.set()

    # --- opening --------------------------------------------------------------------------------

    async def _begin(self, control: Control) -> DeviceIdentity:
        options, registers = self._options, self._options.registers
        await control.open()
        identity = await control.identify()
        await control.write(Register.PRIVILEGE, gvcp.CONTROL)
        await control.write(Register.HEARTBEAT_MS, round(options.heartbeat_s * 1000))
        await control.write(*registers.acquisition_stop)
        await self._set(control, registers.width, options.detectors, "width")
        await self._set(control, registers.height, options.lines, "height")
        await self._set(control, registers.pixel_format, gvsp.MONO16, "pixel format")
        self._stream = await open_udp(self._came, lambda error: None, local=control.local)
        address = int.from_bytes(bytes(map(int, control.local.split("."))), "big")
        await control.write(Register.STREAM_ADDRESS, address)
        await control.write(Register.PACKET_SIZE, options.packet_bytes | gvcp.DO_NOT_FRAGMENT)
        await control.write(Register.STREAM_PORT, self._stream.local[1])
        self._assembler = Assembler(await self._form(control), WAIT_S)
        ticks = [await control.read(address) for address in (Register.TICKS_HIGH, Register.TICKS_LOW)]
        self._resends = bool(await control.read(Register.CAPABILITY) & gvcp.CAN_RESEND)
        self._inbox.clear()
        await control.write(*registers.acquisition_start)
        self._session.begin(options, identity, ticks[0] << 32 | ticks[1], self._context.clock.stamp())
        self._heart = asyncio.create_task(control.keep(options.heartbeat_s))
        self._heart.add_done_callback(lambda _: self._arrived.set())
        return identity

    async def _set(self, control: Control, address: int, value: int, what: str) -> None:
        """Set one of the camera's own registers, which must take the value."""
        await control.write(address, value)
        has = await control.read(address)
        if has != value:
            pixels = what == "pixel format"
            names = [gvsp.pixel_format(code) if pixels else str(code) for code in (has, value)]
            raise ConfigError(
                control.sentence(
                    f"has {what} {names[0]} and does not take {names[1]} (register {address:#x})"
                )
            )

    async def _form(self, control: Control) -> gvsp.Form:
        options = self._options
        packet_bytes = await control.read(Register.PACKET_SIZE) & gvcp.PACKET_SIZE_MASK
        if not gvsp.OVERHEAD < packet_bytes:
            raise ConfigError(control.sentence(f"has packets of {packet_bytes} bytes"))
        size = options.image_bytes
        if options.registers.payload_size is not None:
            size = await control.read(options.registers.payload_size)
        if size < options.image_bytes or size > options.image_bytes + gvsp.MAX_CHUNK_BYTES:
            raise ConfigError(
                control.sentence(f"sends {size} bytes a frame, its image has {options.image_bytes}")
            )
        return options.form(packet_bytes, size)

    # --- the stream -----------------------------------------------------------------------------

    def _came(self, datagram: bytes, host: str) -> None:
        """Keep a datagram of the camera; others are somebody else's."""
        if self._control is not None and host == self._control.peer:
            self._context.tap("rx", datagram)
            self._keep(datagram)
        else:
            self._keep(BadFrame("stranger", 0, datagram[: gvsp.HEAD_BYTES]))

    def _keep(self, item: bytes | BadFrame) -> None:
        if len(self._inbox) < MAX_WAITING:
            self._inbox.append(item)
        self._arrived.set()

    def _feed(self, assembler: Assembler, item: bytes | BadFrame) -> Iterator[ScannerReading | BadFrame]:
        if isinstance(item, BadFrame):
            yield item
        else:
            yield from self._read(assembler.feed(item, asyncio.get_running_loop().time()))

    def _read(self, items: list[gvsp.Item]) -> Iterator[ScannerReading | BadFrame]:
        stamp = self._context.clock.stamp()
        for item in items:
            match item:
                case BadFrame():
                    yield item
                case Resend() if self._resends and self._control is not None:
                    self._control.resend(item.block_id, item.first, item.last)
                case Jump():
                    yield from self._session.close(stamp, "device_restarted")
                case Block():
                    yield from self._session.take(item, stamp)


SPEC = DriverSpec(
    name="gige_vision",
    role=Role.LINE_SCANNER,
    options=GigeOptions,
    make=GigeDriver,
    simulator="drivers.scanner.gige.sim:GigeEmulator",
)
