"""The emulated camera as a whole: GVCP on one UDP port, GVSP to whoever controls it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any, ClassVar, cast

from drivers.api import BadFrame, Clock, Options
from drivers.formats.gige import gvcp, gvsp
from drivers.formats.gige.gvcp import Answer, Command, Register, Request, Status
from drivers.plant.world import Plant
from drivers.scanner.gige.options import GigeOptions
from drivers.scanner.gige.sim.camera import Camera
from drivers.scanner.gige.sim.faults import Faults
from drivers.scanner.gige.sim.registers import TICKS_PER_S, Registers

STEP_S = 0.02
HELD_BLOCKS = 16
"""Blocks whose packets can be asked for again."""
Address = tuple[str, int]


class GigeEmulator(asyncio.DatagramProtocol):
    """A line camera on a loopback port (``drivers.plant.emulator.Emulator``)."""

    FAULTS: ClassVar[frozenset[str]] = Faults.NAMES
    DIALS: ClassVar[bool] = False
    DATAGRAMS: ClassVar[bool] = True

    def __init__(self, options: Options, plant: Plant, clock: Clock, seed: int, *, port: int = 0) -> None:
        """Build it; ``port`` 0 is any."""
        self._options = cast("GigeOptions", options)
        self._plant = plant
        self._clock = clock
        self._port = port
        self._camera = Camera(self._options, plant, seed)
        self._registers = Registers(self._options, self._camera.payload_bytes)
        self._faults = Faults()
        self._controller: Address | None = None
        self._heard_s = 0.0
        self._acquiring = False
        self._block_id = 0
        self._held: deque[tuple[int, list[bytes]]] = deque(maxlen=HELD_BLOCKS)
        self._transport: asyncio.DatagramTransport | None = None
        self._stepping: asyncio.Task[None] | None = None
        self.resent = 0
        """Packets that were asked for again."""

    async def start(self, dial_port: int | None = None) -> int:
        """Serve GVCP on a loopback port and return it; ``dial_port`` has no meaning here."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", self._port))
        self._transport = transport
        self._stepping = asyncio.create_task(self._step_for_ever())
        return int(transport.get_extra_info("sockname")[1])

    async def stop(self) -> None:
        """Stop serving; idempotent."""
        if self._stepping is not None:
            self._stepping.cancel()
            await asyncio.wait([self._stepping])
        if self._transport is not None:
            self._transport.close()
        self._transport = self._stepping = None

    # --- control --------------------------------------------------------------------------------

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """Answer a request."""
        request = gvcp.read_request(data)
        if isinstance(request, BadFrame) or "silent" in self._faults.on:
            return
        self._watch_heart()
        if addr == self._controller:
            self._heard_s = time.monotonic()
        status, payload = self._serve(request, addr)
        if request.wants_answer and self._transport is not None:
            answer = Answer(status, request.command, request.number, payload)
            self._transport.sendto(gvcp.pack_answer(answer), addr)

    def _serve(self, request: Request, addr: Address) -> tuple[int, bytes]:
        body = request.payload
        match request.command:
            case Command.DISCOVERY:
                return Status.SUCCESS, self._registers.read(0, gvcp.DISCOVERY_BYTES) or b""
            case Command.READ_REGISTER if body:
                words = [self._registers.read(gvcp.word(body, index)) for index in range(len(body) // 4)]
                if None in words:
                    return Status.INVALID_ADDRESS, b""
                return Status.SUCCESS, b"".join(word or b"" for word in words)
            case Command.READ_MEMORY if len(body) >= 8:
                read = self._registers.read(gvcp.word(body), min(gvcp.word(body, 1), gvcp.MAX_READ))
                if read is None:
                    return Status.INVALID_ADDRESS, b""
                return Status.SUCCESS, body[:4] + read
            case Command.WRITE_REGISTER if len(body) >= 8:
                status = self._write(gvcp.word(body), gvcp.word(body, 1), addr)
                return status, gvcp.words(1 if status == Status.SUCCESS else 0)
            case Command.WRITE_MEMORY if len(body) >= 8:
                for index in range(1, len(body) // 4):
                    status = self._write(gvcp.word(body) + 4 * index - 4, gvcp.word(body, index), addr)
                    if status != Status.SUCCESS:
                        return status, gvcp.words(4 * index - 4)
                return Status.SUCCESS, gvcp.words(len(body) - 4)
            case Command.RESEND if len(body) >= 12:
                self._resend(gvcp.word(body) & 0xFFFF, gvcp.word(body, 1), gvcp.word(body, 2))
                return Status.SUCCESS, b""
            case _:
                return Status.NOT_IMPLEMENTED, b""

    def _write(self, address: int, value: int, addr: Address) -> Status:
        if self._controller not in (None, addr):
            return Status.ACCESS_DENIED
        if self._controller is None and address != Register.PRIVILEGE:
            return Status.ACCESS_DENIED
        status = self._registers.write(address, value)
        if status != Status.SUCCESS:
            return status
        own = self._options.registers
        if address == Register.PRIVILEGE:
            self._controller, self._heard_s = (addr, time.monotonic()) if value else (None, 0.0)
            if not value:
                self._stop_acquisition()
        if (address, value) == own.acquisition_stop:
            self._stop_acquisition()
        elif (address, value) == own.acquisition_start:
            self._acquiring, self._block_id = True, 0
        return status

    def _stop_acquisition(self) -> None:
        self._acquiring = False
        self._camera.abandon()

    def _watch_heart(self) -> None:
        """Take control away from who has not been heard for too long."""
        silent_s = time.monotonic() - self._heard_s
        if self._controller is not None and silent_s > self._registers[Register.HEARTBEAT_MS] / 1000:
            self._give_up_control()

    def _give_up_control(self) -> None:
        self._controller = None
        self._registers.write(Register.PRIVILEGE, 0)
        self._stop_acquisition()

    # --- stream ---------------------------------------------------------------------------------

    async def _step_for_ever(self) -> None:
        while True:
            now_s = self._plant.advance()
            self._watch_heart()
            if self._acquiring:
                for time_s, payload in self._camera.step(now_s):
                    await self._send(time_s, payload)
            await self._clock.sleep(STEP_S)

    async def _send(self, time_s: float, payload: bytes) -> None:
        """Send one frame, packet by packet: the system's buffers are small."""
        self._block_id = self._faults.after(self._block_id)
        size = self._registers[Register.PACKET_SIZE]
        form = self._options.form(size, self._camera.payload_bytes)
        code = self._faults.pixel_format()
        packets = gvsp.pack_block(form, self._block_id, round(time_s * TICKS_PER_S), payload, code)
        self._held.append((self._block_id, packets))
        for packet in self._faults.spoil(packets):
            if self._acquiring:
                self._stream(packet)
                await asyncio.sleep(0)

    def _stream(self, packet: bytes) -> None:
        port = self._registers[Register.STREAM_PORT]
        host = ".".join(map(str, self._registers[Register.STREAM_ADDRESS].to_bytes(4, "big")))
        if self._transport is not None and port:
            self._transport.sendto(packet, (host, port))

    def _resend(self, block_id: int, first: int, last: int) -> None:
        held = next((packets for name, packets in self._held if name == block_id), None)
        last = min(last & gvsp.PACKET_ID, len(held) - 1 if held else first)
        for number in range(first, last + 1):
            self.resent += 1
            if held is None or "loss_for_good" in self._faults.on:
                word = gvsp.PAYLOAD_FORMAT << 24 | number
                self._stream(gvsp.HEADER.pack(Status.PACKET_UNAVAILABLE, block_id, word))
            else:
                self._stream(held[number])

    # --- faults and state -----------------------------------------------------------------------

    def fault(self, name: str, *, on: bool) -> None:
        """Show or end a protocol fault; ``ValueError`` for a name not in ``FAULTS``."""
        if name not in self.FAULTS:
            raise ValueError(f"the camera has no fault {name!r}; it has {', '.join(sorted(self.FAULTS))}")
        if name == "lost_heartbeat":
            if on:
                self._give_up_control()
        else:
            self._faults.set(name, on=on)

    def state(self) -> dict[str, Any]:
        """Return what it believes at the moment."""
        return {
            "controlled": self._controller is not None,
            "acquiring": self._acquiring,
            "phase": self._camera.phase,
            "calibrated": self._camera.calibrated,
            "block_id": self._block_id,
            "resent": self.resent,
            "faults": sorted(self._faults.on),
        }
