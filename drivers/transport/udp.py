"""UDP without waiting: datagrams out at once, datagrams in by a callback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import cast

from drivers.errors import ConnectFailed

RECEIVE_BUFFER_BYTES = 8 << 20
"""What the system is asked to hold; it may give less."""

OnDatagram = Callable[[bytes, str], None]
OnError = Callable[[OSError], None]


class UdpLink(asyncio.DatagramProtocol):
    """One UDP socket; ``on_datagram`` is given each datagram and the address that it came from."""

    def __init__(self, on_datagram: OnDatagram, on_error: OnError) -> None:
        """Build it; ``open_udp`` opens it."""
        self._on_datagram = on_datagram
        self._on_error = on_error
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Pass a datagram on."""
        self._on_datagram(data, addr[0])

    def error_received(self, exc: Exception) -> None:
        """Pass on that nobody listens there, or that the network is down."""
        self._on_error(exc if isinstance(exc, OSError) else OSError(str(exc)))

    @property
    def local(self) -> tuple[str, int]:
        """Own address and port."""
        return self._name("sockname")

    @property
    def peer(self) -> str:
        """Address of the other side, where there is only one."""
        return self._name("peername")[0]

    def _name(self, what: str) -> tuple[str, int]:
        host, port = self._transport.get_extra_info(what)[:2] if self._transport else ("", 0)
        return str(host), int(port)

    def send(self, data: bytes) -> None:
        """Send to the peer; after ``close`` nothing."""
        if self._transport is not None:
            self._transport.sendto(data)

    def close(self) -> None:
        """Close; idempotent."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()


async def open_udp(
    on_datagram: OnDatagram,
    on_error: OnError,
    *,
    local: str | None = None,
    peer: tuple[str, int] | None = None,
) -> UdpLink:
    """Open a socket on any port of ``local``, or towards one ``peer``; raises ``ConnectFailed``."""
    loop = asyncio.get_running_loop()
    where = None if local is None else (local, 0)
    link = UdpLink(on_datagram, on_error)
    try:
        transport, _ = await loop.create_datagram_endpoint(
            lambda: link, local_addr=where, remote_addr=peer, family=socket.AF_INET
        )
    except OSError as error:
        host = peer or where
        raise ConnectFailed(f"no UDP socket for {host}: {error.strerror or error}") from error
    with contextlib.suppress(OSError):
        transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES
        )
    return link
