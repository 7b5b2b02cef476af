"""The wire of Modbus devices under test: every byte of a link, and a server with the test's own answers."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable
from typing import cast

Answer = Callable[[bytes], bytes | None]
"""Returns the bytes to send for a request, perhaps none of them, or ``None`` to hang up."""


class Wire:
    """Every byte of the driver's link, as its tap saw it."""

    def __init__(self) -> None:
        self.rx = b""
        self.tx = b""

    def tap(self, direction: str, data: bytes) -> None:
        setattr(self, direction, getattr(self, direction) + data)


@contextlib.asynccontextmanager
async def foreign_board(answer: Answer) -> AsyncIterator[int]:
    """Serve raw answers on a loopback port."""
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(cast("asyncio.Task[None]", asyncio.current_task()))
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readexactly(6)
                request = head + await reader.readexactly(struct.unpack(">H", head[4:6])[0])
                if (reply := answer(request)) is None:
                    break
                writer.write(reply)
                await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()
        if serving:
            await asyncio.wait(serving)


def asked(request: bytes) -> tuple[int, int, int]:
    """Unit, address and number of registers of a request."""
    address, count = struct.unpack(">HH", request[8:12])
    return request[6], address, count


def registers(request: bytes, values: list[int]) -> bytes:
    """The answer to a request that reads registers."""
    body = struct.pack(f">BB{len(values)}H", request[7], 2 * len(values), *values)
    return request[:4] + struct.pack(">HB", len(body) + 1, request[6]) + body


def refusal(request: bytes, code: int) -> bytes:
    """The answer that refuses a request."""
    return request[:4] + struct.pack(">HBBB", 3, request[6], request[7] | 0x80, code)
