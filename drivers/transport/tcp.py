"""A TCP client as a ``Link``: no delay, keepalive that finds a dead peer in about five seconds."""

from __future__ import annotations

import asyncio
import socket

from drivers.api import Tap
from drivers.errors import ConnectFailed, LinkLost

READ_SIZE = 65_536
CLOSE_S = 0.5
"""How long a close waits for unsent bytes."""
KEEPALIVE_IDLE_S, KEEPALIVE_EVERY_S, KEEPALIVE_PROBES = 2, 1, 3


async def connect_tcp(host: str, port: int, *, tap: Tap, timeout_s: float = 5.0) -> TcpLink:
    """Connect to ``host:port``; raises ``ConnectFailed`` within ``timeout_s``."""
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        raise ConnectFailed(
            f"{host}:{port} did not answer within {timeout_s:g} s: check power, network and address"
        ) from None
    except OSError as error:
        raise ConnectFailed(
            f"{host}:{port} cannot be reached ({error.strerror or error}): check power, network and address"
        ) from error
    harden(writer.get_extra_info("socket"))
    return TcpLink(reader, writer, tap, f"{host}:{port}")


def harden(sock: socket.socket) -> None:
    """Send small messages at once and notice a peer that is gone without a word."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_EVERY_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)


class TcpLink:
    """An open TCP connection."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tap: Tap, peer: str
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._tap = tap
        self._peer = peer
        self._closed = False

    async def read(self) -> bytes:
        """Return what has come; see ``Link.read``."""
        try:
            data = await self._reader.read(READ_SIZE)
        except OSError as error:
            if self._closed:
                return b""
            raise LinkLost(f"the link to {self._peer} broke ({error.strerror or error})") from error
        if data:
            self._tap("rx", data)
        return data

    async def write(self, data: bytes) -> None:
        """Send ``data``; see ``Link.write``."""
        self._tap("tx", data)
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise LinkLost(f"the link to {self._peer} broke ({error.strerror or error})") from error

    async def close(self) -> None:
        """Close; see ``Link.close``."""
        if self._closed:
            return
        self._closed = True
        self._writer.close()
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._writer.wait_closed()
        except OSError:  # TimeoutError too: the peer takes nothing more, or is gone
            self._writer.transport.abort()
