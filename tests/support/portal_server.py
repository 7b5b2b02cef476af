"""A TCP server under the test's own hand, the TSA driver on it, and what the driver said."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from drivers.api import BadFrame, DriverContext
from drivers.plant.clock import PlantClock
from drivers.plant.rig import Hearing, within
from drivers.readings import Reading
from drivers.rpm.tsa.driver import TsaDriver, TsaOptions

R = TypeVar("R")


class Wire:
    """One accepted connection: the test is the portal."""

    def __init__(self) -> None:
        self.clock = PlantClock(0)
        self.driver: TsaDriver
        self.hearing: Hearing
        self._writer: asyncio.StreamWriter

    async def send(self, data: bytes, more: int = 1) -> list[Reading | BadFrame]:
        """Send bytes in one piece and return the ``more`` items that they became."""
        before = len(self.hearing.items)
        self._writer.write(data)
        await self.until(lambda: len(self.hearing.items) >= before + more)
        return self.hearing.items[before:]

    async def hang_up(self) -> None:
        """End the connection as a portal that is switched off does."""
        self._writer.close()
        await self.until(lambda: self.hearing.ended)

    async def until(self, true: Callable[[], bool]) -> None:
        assert await within(5.0, true)


@contextlib.asynccontextmanager
async def portal_wire(memory: dict[str, Any] | None = None) -> AsyncIterator[Wire]:
    """A driver opened on a silent portal; virtual time stands still."""
    wire = Wire()
    accepted: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.put_nowait(writer)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        log = logging.getLogger("test")
        context = DriverContext("rpm1", wire.clock, log, lambda *_: None, {} if memory is None else memory)
        wire.driver = TsaDriver(TsaOptions(port=server.sockets[0].getsockname()[1]), context)
        await wire.driver.open()
        wire.hearing = Hearing(wire.driver)
        wire._writer = await accepted.get()
        try:
            yield wire
        finally:
            await wire.driver.close()
            await wire.hearing.stop()
            wire._writer.close()
            with contextlib.suppress(OSError):
                await wire._writer.wait_closed()


def only(items: list[Reading | BadFrame], kind: type[R]) -> list[R]:
    """The items of one kind."""
    return [item for item in items if isinstance(item, kind)]
