"""The control channel of one camera: requests, their answers, and the heartbeat that keeps the privilege."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from drivers.api import BadFrame, ConfigError, ConnectFailed, DeviceIdentity, LinkLost, LinkTimeout, Tap
from drivers.formats.gige import gvcp
from drivers.formats.gige.gvcp import Answer, Command, Register, Request, Status
from drivers.transport.udp import UdpLink, open_udp

ANSWER_S = 0.3
TRIES = 3
"""A datagram may be lost: each request is sent so often."""
BEATS_PER_TIMEOUT = 3


class Control:
    """Registers of one camera, and its privilege once it was taken."""

    def __init__(self, host: str, port: int, tap: Tap, on_bad: Callable[[BadFrame], None]) -> None:
        """Build it; ``on_bad`` is given what is no answer."""
        self._where = (host, port)
        self._tap = tap
        self._on_bad = on_bad
        self._link: UdpLink | None = None
        self._number = 0
        self._waiting: dict[int, asyncio.Future[Answer]] = {}

    async def open(self) -> None:
        """Open the socket; nothing is sent yet."""
        self._link = await open_udp(self._answered, self._failed, peer=self._where)

    @property
    def local(self) -> str:
        """Address of this computer on the way to the camera."""
        return self._open_link.local[0]

    @property
    def peer(self) -> str:
        """Address of the camera."""
        return self._open_link.peer

    @property
    def _open_link(self) -> UdpLink:
        if self._link is None:
            raise LinkLost(self.sentence("is not open"))
        return self._link

    async def identify(self) -> DeviceIdentity:
        """Ask who answers."""
        block = await self._ask(Command.DISCOVERY, b"", "DISCOVERY")
        if len(block) < gvcp.DISCOVERY_BYTES:
            raise ConnectFailed(self.sentence(f"answered DISCOVERY with {len(block)} bytes, 248 expected"))
        return gvcp.identity(block)

    async def read(self, address: int) -> int:
        """Return the value of a register."""
        return gvcp.word(await self._ask(Command.READ_REGISTER, gvcp.words(address), f"{address:#06x}"))

    async def write(self, address: int, value: int) -> None:
        """Set a register."""
        await self._ask(Command.WRITE_REGISTER, gvcp.words(address, value), f"{address:#06x} = {value:#x}")

    def tell(self, address: int, value: int) -> None:
        """Set a register without an answer."""
        payload = gvcp.words(address, value)
        self._send(Request(Command.WRITE_REGISTER, self._next(), payload, wants_answer=False))

    def resend(self, block: int, first: int, last: int) -> None:
        """Ask for packets again, without an answer."""
        datagram = gvcp.resend(block, first, last, self._next())
        self._tap("tx", datagram)
        self._open_link.send(datagram)

    async def keep(self, heartbeat_s: float) -> None:
        """Beat until the camera is silent or has another master, then raise ``LinkLost``.

        ``heartbeat_s`` is the camera's own time-out; three times in that the privilege is read.
        """
        while True:
            await asyncio.sleep(heartbeat_s / BEATS_PER_TIMEOUT)
            try:
                privilege = await self.read(Register.PRIVILEGE)
            except (LinkTimeout, ConnectFailed, ConfigError) as error:
                raise LinkLost(str(error)) from error
            if not privilege & gvcp.CONTROL:
                raise LinkLost(self.sentence("took its control away from the station; it is opened anew"))

    def close(self) -> None:
        """Close; idempotent."""
        link, self._link = self._link, None
        if link is not None:
            link.close()
        for answer in self._waiting.values():
            answer.cancel()

    # --- requests and answers -------------------------------------------------------------------

    def _next(self) -> int:
        self._number = self._number % 0xFFFF + 1
        return self._number

    def _send(self, request: Request) -> None:
        datagram = gvcp.pack_request(request)
        self._tap("tx", datagram)
        self._open_link.send(datagram)

    async def _ask(self, command: Command, payload: bytes, what: str) -> bytes:
        """Return what a request is answered with.

        Raises ``LinkTimeout`` without an answer, ``ConnectFailed`` where nobody listens or somebody else has
        control, ``ConfigError`` for any other refusal.
        """
        request = Request(command, self._next(), payload)
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[request.number] = answered
        try:
            for _ in range(TRIES):
                self._send(request)
                with contextlib.suppress(TimeoutError):
                    answer = await asyncio.wait_for(asyncio.shield(answered), ANSWER_S)
                    break
            else:
                raise LinkTimeout(self.sentence(f"did not answer ({what}): check power, network and address"))
        finally:
            del self._waiting[request.number]
            answered.cancel()
        if answer.status == Status.ACCESS_DENIED:
            raise ConnectFailed(self.sentence("is under the control of another application"))
        if answer.status & 0x8000:
            raise ConfigError(self.sentence(f"refused {what}: {gvcp.refusal(answer.status)}"))
        return answer.payload

    def _answered(self, datagram: bytes, _: str) -> None:
        self._tap("rx", datagram)
        answer = gvcp.read_answer(datagram)
        if isinstance(answer, BadFrame):
            self._on_bad(answer)
        elif answer.command != Command.PENDING:
            waiting = self._waiting.get(answer.number)
            if waiting is not None and not waiting.done():
                waiting.set_result(answer)

    def _failed(self, error: OSError) -> None:
        for answer in self._waiting.values():
            if not answer.done():
                why = error.strerror or str(error)
                answer.set_exception(ConnectFailed(self.sentence(f"cannot be reached ({why})")))

    def sentence(self, what: str) -> str:
        """Return a sentence about the camera."""
        host, port = self._where
        return f"the camera at {host}:{port} {what}"
