"""The emulated portal on the wire: every TCP client, and a pty, hear the same lines at the same time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import tty
from typing import Any, ClassVar

from drivers.api import Clock, Options
from drivers.plant.world import Plant
from drivers.rpm.tsa.portal import FAULTS, TsaPortal

MOST_UNSENT = 65_536
"""Bytes that a client may leave unread; then its link is broken, as a device with little memory does."""
CLOSE_S = 0.9


class TsaEmulator:
    """``drivers.plant.emulator.Emulator`` for ``tsa_ascii``: the device pushes, the station says nothing."""

    FAULTS: ClassVar[frozenset[str]] = FAULTS
    DIALS: ClassVar[bool] = False

    def __init__(self, options: Options, plant: Plant, clock: Clock, seed: int) -> None:
        """Build it; opens nothing. The options (names of panels) do not change what is sent."""
        self.portal = TsaPortal(plant, seed)
        self._clock = clock
        self._clients: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}
        self._server: asyncio.Server | None = None
        self._running: asyncio.Task[None] | None = None
        self._pty: tuple[int, int] | None = None

    async def start(self, dial_port: int | None = None) -> int:
        """Serve on an ephemeral loopback port and return it."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._run()
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def start_pty(self) -> str:
        """Serve on a pty instead, as an RS-232 line that is always plugged in; return its path."""
        controller, line = pty.openpty()
        tty.setraw(line)
        os.set_blocking(controller, False)
        self._pty = controller, line
        self._run()
        return os.ttyname(line)

    async def stop(self) -> None:
        """Stop serving: links end, a pty hangs up; idempotent."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
            self._running = None
        if self._server is not None:
            self._server.close()
            self._server = None
        for client in self._clients:
            client.close()
        if serving := [task for task in self._clients.values() if task is not None]:
            await asyncio.wait(serving, timeout=CLOSE_S)
        for descriptor in self._pty or ():
            os.close(descriptor)
        self._pty = None

    def fault(self, name: str, *, on: bool) -> None:
        """Show or end a protocol fault; ``ValueError`` for an unknown name."""
        self.portal.fault(name, on=on)

    def state(self) -> dict[str, Any]:
        """Return what the portal believes."""
        return {**self.portal.state, "clients": len(self._clients)}

    def _run(self) -> None:
        if self._running is None:
            self._running = asyncio.create_task(self._loop())

    async def _loop(self) -> None:
        while True:
            now_s = self._clock.monotonic_s()
            if lines := self.portal.step(now_s):
                self._broadcast(b"".join(lines))
            await self._clock.sleep(max(0.0, self.portal.due_s - now_s))

    def _broadcast(self, data: bytes) -> None:
        for client in self._clients:
            if client.transport.get_write_buffer_size() > MOST_UNSENT:
                client.transport.abort()
            else:
                client.write(data)
        if self._pty is not None:
            with contextlib.suppress(BlockingIOError):  # nobody reads the line
                os.write(self._pty[0], data)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(self.portal.connected()))
        self._clients[writer] = asyncio.current_task()
        with contextlib.suppress(OSError):
            while await reader.read(256):
                pass  # the protocol has no words for the station
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        del self._clients[writer]
