"""The bench on which a driver is checked: emulator, link-fault proxy, clock and a driver's readings.

``drivers.contract`` holds the checks; this file holds what they stand on.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib
import logging
import os
import pty
import secrets
import shutil
import socket
import tempfile
import time
import tty
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from drivers.api import BadFrame, Driver, DriverContext, DriverSpec, LinkError, Options, Reading
from drivers.plant.chaos import ChaosProxy
from drivers.plant.clock import PlantClock
from drivers.plant.emulator import Emulator
from drivers.plant.world import Plant

OPEN_LIMIT_S = 5.0
"""Longest time that ``open`` may take, with or without success (the supervisor's own limit)."""
PORTS = 20_000, 30_000
PTY_BUFFER = 2_048
"""Bytes that a serial line takes at once without losing any."""


class ContractBroken(AssertionError):
    """The driver does not keep its contract; the sentence says where."""


class NotApplicable(Exception):
    """This check says nothing about this kind of device; the sentence says why."""


def host_and_port(place: int | str) -> Mapping[str, Any]:
    """Return the options that lead a network driver to a loopback port."""
    return {"host": "127.0.0.1", "port": place}


def essence(reading: object) -> object:
    """Return what a reading says, without when it came: comparable, arrays as bytes."""
    if isinstance(reading, np.ndarray):
        return (reading.shape, str(reading.dtype), reading.tobytes())
    if not dataclasses.is_dataclass(reading):
        return reading
    names = [f.name for f in dataclasses.fields(reading) if not f.name.startswith("stamp")]
    return (type(reading).__name__, *[(name, essence(getattr(reading, name))) for name in names])


@dataclass(frozen=True, slots=True)
class DriverCase:
    """One device under contract.

    ``options`` are the driver's own options as a lane file would give them, without the address;
    ``address`` turns a loopback port (``serial``: the path of a pty) into the rest. ``plant`` builds the
    virtual lane on a clock; it has run ``start_s`` seconds when the device is switched on, and then runs
    ``rate`` times faster than real time. ``readings`` of them must come within ``patience_s`` real seconds.
    """

    name: str
    spec: DriverSpec
    plant: Callable[[PlantClock], Plant]
    options: Mapping[str, Any] = field(default_factory=dict)
    address: Callable[[int | str], Mapping[str, Any]] = host_and_port
    start_s: float = 0.0
    rate: float = 5.0
    readings: int = 12
    patience_s: float = 10.0
    serial: bool = False
    """The emulator's ``start_pty()`` is used instead of ``start()``; no proxy stands in between."""
    folder: bool = False
    """The device leaves files in a folder, which ``address`` is given; no proxy stands in between."""
    reads_on_connect: bool = True
    """A reading comes soon after every connect."""
    junk: bytes = b"\x00\xffjunk,\r\n"
    junk_is_counted: bool = True
    """Junk on the link becomes ``BadFrame`` values (false: the protocol's library drops it)."""
    junk_ends_link: bool = False
    """After junk the link may end; the next one must work."""
    cut_after: int = 150
    """Bytes of the device after which the link is cut: in the middle of a record."""
    cut_is_counted: bool = True
    """The unfinished record becomes a ``BadFrame``."""
    replayable: bool = True
    """The device speaks by itself, so that its recorded bytes can be served again."""
    essence: Callable[[object], object] = essence
    in_order: bool = True
    """Two visits hear the same in the same order (false: polled, so when each comes is of the moment)."""

    def emulator(self) -> type[Emulator]:
        """Import the emulator named by the spec."""
        module, _, name = self.spec.simulator.partition(":")
        found: type[Emulator] = getattr(importlib.import_module(module), name)
        return found

    @property
    def datagrams(self) -> bool:
        """Whether the device speaks UDP; no proxy stands in between."""
        return bool(getattr(self.emulator(), "DATAGRAMS", False))

    def validated(self, place: int | str) -> Options:
        """Return the driver's options with the address of ``place``."""
        return self.spec.options.model_validate({**self.options, **self.address(place)})


class Hearing:
    """Everything that one driver has said since it was opened, heard in the background."""

    def __init__(self, driver: Driver) -> None:
        """Start to listen."""
        self.items: list[Reading | BadFrame] = []
        self.error: BaseException | None = None
        self._task = asyncio.create_task(self._listen(driver))

    async def _listen(self, driver: Driver) -> None:
        try:
            async for item in driver.readings():
                self.items.append(item)
        except LinkError as error:
            self.error = error

    @property
    def readings(self) -> list[Reading]:
        """All items that are no bad frames."""
        return [item for item in self.items if not isinstance(item, BadFrame)]

    @property
    def bad_frames(self) -> list[BadFrame]:
        """All items that are bad frames."""
        return [item for item in self.items if isinstance(item, BadFrame)]

    @property
    def ended(self) -> bool:
        """Whether the iterator has ended; a bug in the driver is raised here."""
        if self._task.done() and not self._task.cancelled():
            self._task.result()
        return self._task.done()

    async def stop(self) -> None:
        """Stop listening, whatever the driver does."""
        self._task.cancel()
        await asyncio.wait([self._task])


class Rig:
    """One emulator on one virtual lane, the proxy before it, and the drivers made for it."""

    def __init__(self, case: DriverCase) -> None:
        """Build everything, start nothing."""
        self.case = case
        self.clock = PlantClock(case.rate)
        self.plant = case.plant(self.clock)
        self.clock.advance(case.start_s)
        self.plant.advance()
        emulator = case.emulator()
        self.dials = emulator.DIALS
        self.place: int | str = tempfile.mkdtemp() if case.folder else ""
        options = case.validated(self.place if case.serial or case.folder else 1)
        self.emulator = emulator(options, self.plant, self.clock, 1)
        self.received, self.sent = bytearray(), bytearray()
        """All that the drivers' taps have seen."""
        self._proxy: ChaosProxy | None = None
        self._open: list[tuple[Driver, Hearing]] = []

    @property
    def proxy(self) -> ChaosProxy:
        """The proxy; raises ``NotApplicable`` where no stream of bytes can pass one."""
        if self._proxy is None:
            raise NotApplicable("a serial line, a folder or datagrams have no link-fault proxy")
        return self._proxy

    async def __aenter__(self) -> Rig:
        """Switch the device on (one that dials: as soon as the driver listens)."""
        if self.case.serial:
            self.place = await self.emulator.start_pty()  # type: ignore[attr-defined]  # serial only
        elif self.case.folder:
            await self.emulator.start()
        elif self.case.datagrams:
            self.place = await self.emulator.start()
        elif self.dials:
            self.place = free_port()
            self._proxy = ChaosProxy(self.place, device_dials=True)
            await self.emulator.start(await self._proxy.start())
        else:
            self._proxy = ChaosProxy(await self.emulator.start())
            self.place = await self._proxy.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every driver, then the proxy and the device."""
        for driver, hearing in self._open:
            await driver.close()
            await hearing.stop()
        if self._proxy is not None:
            await self._proxy.stop()
        await self.emulator.stop()
        if self.case.folder:
            shutil.rmtree(str(self.place))

    def make(self, place: int | str | None = None) -> Driver:
        """Make an unopened driver for the device (or for another place)."""
        context = DriverContext(self.case.name, self.clock, logging.getLogger("contract"), self._tap)
        return self.case.spec.make(self.case.validated(self.place if place is None else place), context)

    def _tap(self, direction: str, data: bytes) -> None:
        self.received += data if direction == "rx" else b""
        self.sent += data if direction == "tx" else b""

    async def open(self, place: int | str | None = None) -> tuple[Driver, Hearing]:
        """Make and open a driver and listen to it."""
        driver = self.make(place)
        await asyncio.wait_for(driver.open(), OPEN_LIMIT_S)
        hearing = Hearing(driver)
        self._open.append((driver, hearing))
        return driver, hearing

    def forget(self) -> None:
        """Forget the drivers opened so far: they have been closed."""
        self._open.clear()

    async def hear(self, hearing: Hearing, more: int, what: str) -> None:
        """Wait until ``more`` further readings have come."""
        wanted = len(hearing.readings) + more
        await self.until(lambda: len(hearing.readings) >= wanted or hearing.ended, what)
        expect(
            len(hearing.readings) >= wanted,
            f"{what}: the readings ended ({hearing.error!r}) {wanted - len(hearing.readings)} too soon",
        )

    async def until(self, true: Callable[[], bool], what: str) -> None:
        """Wait at most ``patience_s`` for a condition."""
        if not await within(self.case.patience_s, true):
            raise ContractBroken(f"{self.case.name}: {what}: not within {self.case.patience_s} s")


def expect(true: bool, sentence: str) -> None:
    """Raise ``ContractBroken`` with the sentence unless ``true``."""
    if not true:
        raise ContractBroken(sentence)


async def within(seconds: float, true: Callable[[], bool], pause_s: float = 0.005) -> bool:
    """Wait until a condition holds, at most ``seconds`` (real); return whether it does."""
    until_s = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until_s:
            return False
        await asyncio.sleep(pause_s)
    return True


def free_port() -> int:
    """Return a free loopback port, below those that the system gives to whoever asks for any."""
    for port in secrets.SystemRandom().sample(range(*PORTS), 100):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no loopback port is free")


@contextlib.asynccontextmanager
async def served_again(
    pieces: list[bytes], *, serial: bool
) -> AsyncIterator[tuple[int | str, asyncio.Future[bytearray]]]:
    """Serve recorded bytes in these segments; yield the place and what begins it.

    Over TCP each connection gets them at once, then FIN. A serial line (pty) knows of no connect: it gets
    them when the future is given the buffer to which the driver's tap adds what it receives; then it
    hangs up.
    """
    begin: asyncio.Future[bytearray] = asyncio.get_running_loop().create_future()
    served: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.current_task())
        with contextlib.suppress(ConnectionError):
            for segment in pieces:
                writer.write(segment)
                await writer.drain()
                await asyncio.sleep(0)
            writer.write_eof()
            await reader.read()  # a close with unread bytes would reset the link and lose what is under way
            writer.close()
            await writer.wait_closed()

    if serial:
        controller, line = pty.openpty()
        tty.setraw(line)
        typing = asyncio.create_task(_type(controller, pieces, begin))
        try:
            yield os.ttyname(line), begin
        finally:
            typing.cancel()
            await asyncio.wait([typing])
            os.close(line)
        return
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], begin
    finally:
        server.close()
        await within(2.0, lambda: all(task is None or task.done() for task in served))


async def _type(controller: int, pieces: list[bytes], begin: asyncio.Future[bytearray]) -> None:
    """Send each piece down a serial line when the one before has been received, then hang up."""
    try:
        received = await begin
        expected = len(received)
        for segment in pieces:
            for start in range(0, len(segment), PTY_BUFFER):
                expected += os.write(controller, segment[start : start + PTY_BUFFER])
                await within(2.0, lambda wanted=expected: len(received) >= wanted, 0)  # type: ignore[misc]
    finally:
        os.close(controller)
