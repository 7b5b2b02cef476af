"""The line scanner that speaks linestream v1 over TCP; nothing here can switch a beam.

The same driver object may be opened again after ``close``: it then resumes the scan from the first line
that was not acknowledged, and passes on only what it has not passed on before.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from itertools import count
from typing import TypeVar

from pydantic import Field

from drivers.api import (
    BadFrame,
    ConfigError,
    ConnectFailed,
    DeviceIdentity,
    DriverContext,
    DriverError,
    DriverSpec,
    LinkLost,
    Options,
    ProtocolError,
    Role,
    ScanKey,
    Stamp,
)
from drivers.formats.linestream.codes import ErrorCode
from drivers.formats.linestream.frames import Frame, FrameReader, encode
from drivers.formats.linestream.messages import Ack, Bye, Describe, Error, Hello, Message
from drivers.readings import ScannerReading
from drivers.scanner.linestream.session import Refusal, StationSession
from drivers.transport.link import Link
from drivers.transport.tcp import connect_tcp

GREETING_S = 5.0
"""Longest wait for HELLO, and then for DESCRIBE."""
END_DURABLE = 1

M = TypeVar("M", Hello, Describe)


class LinestreamOptions(Options):
    """Address of the scanner's front end, which listens."""

    host: str = "127.0.0.1"
    port: int = Field(default=7531, ge=1, le=65_535)


class LinestreamDriver:
    """One scanner (``drivers.api.LineScanner``)."""

    def __init__(self, options: LinestreamOptions, context: DriverContext) -> None:
        """Keep what it needs; opens nothing."""
        self._options = options
        self._context = context
        self._session: StationSession = context.memory.setdefault("session", StationSession())
        self._link: Link | None = None
        self._reader = FrameReader()
        self._inbox: deque[Frame | BadFrame] = deque()
        self._seq = count()
        self._stamp: Stamp = context.clock.stamp()

    async def open(self) -> DeviceIdentity:
        """Connect, exchange HELLO and ATTACH, read DESCRIBE; see ``Driver.open``."""
        await self.close()
        link = await connect_tcp(self._options.host, self._options.port, tap=self._context.tap)
        self._link, self._reader, self._seq = link, FrameReader(), count()
        self._inbox.clear()
        try:
            return await self._greet()
        except LinkLost as error:
            await self.close()
            raise ConnectFailed(str(error)) from error
        except BaseException:
            await self.close()
            raise

    async def readings(self) -> AsyncIterator[ScannerReading | BadFrame]:
        """Yield readings; see ``Driver.readings``.

        A damaged frame ends the link with ``LinkLost``, because lines may be gone that a new link brings
        back; a device that breaks the protocol is told so and ends it with ``ProtocolError``.
        """
        for ended in self._session.waiting():
            yield ended
        while (item := await self._next()) is not None:
            if isinstance(item, BadFrame):
                yield item
                raise LinkLost(
                    self._sentence(f"sent a damaged message ({item.kind}); {self._session.resumes()}")
                )
            if isinstance(item.message, Bye):
                return
            if isinstance(item.message, Error):
                raise LinkLost(self._sentence(_told(item.message)))
            try:
                for reading in self._session.take(item, self._stamp):
                    yield reading
            except Refusal as refusal:
                raise await self._refuse(refusal, item) from refusal
        for incomplete in self._reader.end():
            yield incomplete
        if self._link is not None:
            raise LinkLost(self._sentence(f"closed the link; {self._session.resumes()}"))

    async def ack(self, key: ScanKey, next_line: int, *, end: bool) -> None:
        """Tell the device what is durable; without a link the next one resumes from there."""
        self._session.durable(key, next_line)
        if self._link is not None and key.boot_id == self._session.boot_id:
            await self._send(Ack(next_line, END_DURABLE if end else 0), scan_id=key.scan_id)

    async def close(self) -> None:
        """Close the link; the scan is remembered."""
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    # --- inside ---------------------------------------------------------------------------------

    async def _greet(self) -> DeviceIdentity:
        frame, hello = await self._expect(Hello)
        try:
            await self._send(self._session.greet(hello, self._stamp))
            frame, description = await self._expect(Describe)
            return self._session.describe(description)
        except Refusal as refusal:
            raise await self._refuse(refusal, frame) from refusal

    async def _expect(self, kind: type[M]) -> tuple[Frame, M]:
        """Return the next message, which must be of this kind."""
        wanted = kind.__name__.upper()
        try:
            async with asyncio.timeout(GREETING_S):
                item = await self._next()
        except TimeoutError:
            raise ConnectFailed(self._sentence(f"sent no {wanted} within {GREETING_S:g} s")) from None
        if item is None:
            raise ConnectFailed(self._sentence(f"closed the link before {wanted}"))
        if isinstance(item, BadFrame):
            raise ProtocolError(
                self._sentence(f"sent no linestream message but {item.head!r:.80} ({item.kind})")
            )
        if isinstance(item.message, Error):
            busy = item.message.code == ErrorCode.BUSY
            raise (ConnectFailed if busy else ProtocolError)(self._sentence(_told(item.message)))
        if not isinstance(item.message, kind):
            raise ProtocolError(self._sentence(f"sent {type(item.message).__name__} where {wanted} was due"))
        return item, item.message

    async def _next(self) -> Frame | BadFrame | None:
        """Return the next message or damage, or nothing at the end of the link."""
        while not self._inbox:
            data = await self._link.read() if self._link is not None else b""
            if not data:
                return None
            self._stamp = self._context.clock.stamp()
            self._inbox.extend(self._reader.feed(data))
        return self._inbox.popleft()

    async def _send(self, message: Message, *, scan_id: int = 0) -> None:
        if self._link is not None:
            await self._link.write(encode(message, seq=next(self._seq), scan_id=scan_id))

    async def _refuse(self, refusal: Refusal, frame: Frame) -> DriverError:
        """Tell the device why the link ends, and return the error to raise."""
        with contextlib.suppress(LinkLost):
            await self._send(Error(refusal.code, frame.message.TYPE, frame.seq, str(refusal)))
        kind = ConfigError if refusal.code is ErrorCode.VERSION else ProtocolError
        return kind(self._sentence(f"cannot be used: {refusal}"))

    def _sentence(self, what: str) -> str:
        return f"the scanner at {self._options.host}:{self._options.port} {what}"


def _told(error: Error) -> str:
    known = error.code in set(ErrorCode)
    name = ErrorCode(error.code).name.lower() if known else str(error.code)
    return f"ended the link with ERROR {name}: {error.text or 'no text'}"


SPEC = DriverSpec(
    name="linestream",
    role=Role.LINE_SCANNER,
    options=LinestreamOptions,
    make=LinestreamDriver,
    simulator="drivers.scanner.linestream.sim:LinestreamEmulator",
)
