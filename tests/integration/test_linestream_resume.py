"""The linestream driver over real sockets: broken links, restarts, and devices that greet it badly."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from drivers.api import ConfigError, ConnectFailed, DriverContext, LinkLost, ProtocolError
from drivers.formats.linestream.codes import ErrorCode
from drivers.formats.linestream.frames import Frame, FrameReader, encode
from drivers.formats.linestream.messages import (
    Ack,
    Bye,
    Describe,
    Error,
    Hello,
    Message,
    Status,
)
from drivers.plant.chaos import ChaosProxy
from drivers.plant.clock import PlantClock
from drivers.plant.rig import within
from drivers.readings import BadFrame, LineBlock, Reading, ScanClosed, ScanOpened
from drivers.scanner.linestream import driver as driver_module
from drivers.scanner.linestream.driver import LinestreamDriver, LinestreamOptions
from drivers.scanner.linestream.sim import LinestreamEmulator
from tests.support.scanner_lane import (
    GEOMETRY_JSON,
    TRUCK_LINES,
    begin,
    chained_crc,
    every_line_once,
    plant_with,
    truck_after_dark,
)

RATE = 4.0
"""The virtual lane runs so much faster than real time."""
PATIENCE_S = 20.0
HELLO = Hello(1, 1, 1 << 22, 5, 0, 0, 30_000, 7, 0, 0, 0)


class Station:
    """One driver object, opened again and again as the supervisor does, acknowledging what it hears."""

    def __init__(self, port: int, clock: PlantClock) -> None:
        self.sent = b""
        self.items: list[Reading | BadFrame] = []
        self.acking = True
        self._context = DriverContext("scanner1", clock, logging.getLogger("scanner1"), self._tap)
        self._options = LinestreamOptions(port=port)
        self.driver = LinestreamDriver(self._options, self._context)

    async def renew(self) -> None:
        """Open a new link as the supervisor does: with a new driver and the device's memory."""
        await self.driver.close()
        self.driver = LinestreamDriver(self._options, self._context)
        await self.driver.open()

    def _tap(self, direction: str, data: bytes) -> None:
        self.sent += data if direction == "tx" else b""

    async def hear(self, until: Callable[[], bool]) -> None:
        """Read until something is so; a link that breaks raises."""
        async with asyncio.timeout(PATIENCE_S):
            async for item in self.driver.readings():
                self.items.append(item)
                if self.acking and isinstance(item, LineBlock):
                    await self.driver.ack(item.key, item.next_line, end=False)
                if self.acking and isinstance(item, ScanClosed):
                    await self.driver.ack(item.key, item.lines_total, end=True)
                if until():
                    return

    def of(self, kind: type) -> list:
        return [item for item in self.items if isinstance(item, kind)]

    def vehicle_lines(self) -> int:
        return max((block.next_line for block in self.blocks()), default=0)

    def blocks(self) -> list[LineBlock]:
        keys = [scan.key for scan in self.of(ScanOpened) if scan.kind == "vehicle"]
        return [block for block in self.of(LineBlock) if block.key in keys]


@contextlib.asynccontextmanager
async def lane() -> AsyncIterator[tuple[Station, LinestreamEmulator, ChaosProxy]]:
    """Scanner, link-fault proxy and station, the truck just coming."""
    clock = PlantClock(RATE)
    plant = plant_with()(clock)
    emulator = LinestreamEmulator(LinestreamOptions(), plant, clock, 1)
    coming = asyncio.create_task(truck_after_dark(emulator, plant))
    proxy = ChaosProxy(await emulator.start())
    station = Station(await proxy.start(), clock)
    try:
        yield station, emulator, proxy
    finally:
        coming.cancel()
        await station.driver.close()
        await proxy.stop()
        await emulator.stop()


async def test_a_link_cut_in_mid_scan_is_resumed_with_every_line_once():
    async with lane() as (station, emulator, proxy):
        identity = await station.driver.open()
        assert (identity.make, identity.serial) == ("Carril", "SIM-1")
        await station.hear(lambda: station.vehicle_lines() > 400)
        station.acking = False  # some lines are passed on, but not durable
        await station.hear(lambda: station.vehicle_lines() > 600)
        proxy.set("cut_mid_record", after=30_000)
        with pytest.raises(LinkLost, match=r"closed the link; scan 3 resumes at line \d+"):
            await station.hear(lambda: False)
        assert [bad.kind for bad in station.of(BadFrame)] == ["incomplete"]
        proxy.set(None)
        station.acking = True
        await station.renew()
        await station.hear(lambda: len(station.of(ScanClosed)) == 3)

        vehicle = [scan for scan in station.of(ScanOpened) if scan.kind == "vehicle"]
        assert [scan.resent for scan in vehicle] == [False, True]
        assert every_line_once(station.blocks()) == TRUCK_LINES
        end = station.of(ScanClosed)[-1]
        assert (end.lines_total, end.lines_lost, end.aborted) == (TRUCK_LINES, 0, None)
        assert end.samples_crc == chained_crc(station.blocks())
        assert await within(PATIENCE_S, lambda: emulator.state()["acknowledged"] == [3, TRUCK_LINES])


@pytest.mark.parametrize("fault", ["reset", "refused"])
async def test_a_link_that_breaks_is_lost_in_words(fault: str):
    async with lane() as (station, _, proxy):
        await station.driver.open()
        await station.hear(lambda: bool(station.of(LineBlock)))
        proxy.set(fault)
        with pytest.raises(LinkLost, match=f"127.0.0.1:{proxy.port}"):
            await station.hear(lambda: False)


async def test_damage_on_the_link_ends_it_with_one_bad_frame():
    async with lane() as (station, emulator, _):
        await station.driver.open()
        await station.hear(lambda: bool(station.of(LineBlock)))
        emulator.fault("bad_crc", on=True)
        with pytest.raises(LinkLost, match=r"damaged message \(bad_checksum\); scan 1 resumes at line"):
            await station.hear(lambda: False)
        assert [bad.kind for bad in station.of(BadFrame)] == ["bad_checksum"]
        await station.driver.open()  # without close(): it closes what was left
        await station.hear(lambda: len(station.of(ScanClosed)) == 1)
        dark = [block for block in station.of(LineBlock) if block.key.scan_id == 1]
        assert every_line_once(dark) == 1_000


async def test_a_device_that_restarts_ends_the_scan_as_incomplete():
    async with lane() as (station, emulator, _):
        await station.driver.open()
        await station.hear(lambda: station.vehicle_lines() > 300)
        emulator.fault("reboot", on=True)
        with pytest.raises(LinkLost):
            await station.hear(lambda: False)
        await station.driver.close()
        held = station.vehicle_lines()
        await station.driver.ack(station.blocks()[-1].key, held, end=False)  # no link: no error
        await station.driver.open()
        await station.hear(
            lambda: bool(station.of(ScanClosed)) and station.of(ScanClosed)[-1].aborted is not None
        )
        end = station.of(ScanClosed)[-1]
        assert (end.aborted, end.lines_total, end.samples_crc) == ("device_restarted", held, None)
        sent = len(station.sent)
        await station.driver.ack(end.key, held, end=True)
        assert len(station.sent) == sent, "a scan of another boot is not acknowledged to this one"


async def test_a_new_station_on_the_same_address_replaces_the_old_one():
    async with lane() as (station, emulator, proxy):
        await station.driver.open()
        other = Station(proxy.port, PlantClock())
        await other.driver.open()
        with pytest.raises(LinkLost):
            await station.hear(lambda: False)
        await other.hear(lambda: len(other.items) > 3)
        assert emulator.state()["attached"]
        await other.driver.close()


async def test_a_scanner_of_another_version_is_a_matter_of_configuration():
    async with lane() as (station, emulator, _):
        emulator.fault("version_2", on=True)
        with pytest.raises(ConfigError, match="speaks linestream 2 to 2, this station speaks 1: update"):
            await station.driver.open()
        assert told(station) == [ErrorCode.VERSION]
        emulator.fault("version_2", on=False)
        await station.driver.open()


async def test_a_description_that_cannot_be_used_is_refused_and_said_so():
    async with lane() as (station, emulator, _):
        emulator.fault("bad_describe", on=True)
        with pytest.raises(ProtocolError, match="NaN"):
            await station.driver.open()
        assert told(station) == [ErrorCode.GEOMETRY]


async def test_a_scanner_that_stays_silent_after_hello(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(driver_module, "GREETING_S", 0.2)
    async with lane() as (station, emulator, _):
        emulator.fault("no_describe", on=True)
        with pytest.raises(ConnectFailed, match="sent no DESCRIBE within"):
            await station.driver.open()


def told(station: Station) -> list[int]:
    """The error codes that the station told the device."""
    frames = FrameReader(journal=True).feed(station.sent)
    return [
        frame.message.code
        for frame in frames
        if isinstance(frame, Frame) and isinstance(frame.message, Error)
    ]


# --- devices that are not ours --------------------------------------------------------------------


@contextlib.asynccontextmanager
async def device(*script: Message | bytes, scan_id: int = 1) -> AsyncIterator[Station]:
    """A peer that says its script at once and waits to be closed."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for seq, item in enumerate(script):
            writer.write(item if isinstance(item, bytes) else encode(item, seq=seq, scan_id=scan_id))
        with contextlib.suppress(ConnectionError):
            if script and isinstance(script[-1], bytes):
                writer.write_eof()
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    station = Station(server.sockets[0].getsockname()[1], PlantClock())
    try:
        yield station
    finally:
        await station.driver.close()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("script", "error", "says"),
    [
        ([b""], ConnectFailed, "closed the link before HELLO"),
        ([b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n"], ProtocolError, "SSH-2.0-OpenSSH"),
        ([Bye()], ProtocolError, "sent Bye where HELLO was due"),
        ([HELLO, Status(*[0] * 13)], ProtocolError, "sent Status where DESCRIBE was due"),
        ([Error(2, 0, 0, "lane 4 is connected")], ConnectFailed, "ERROR busy: lane 4 is connected"),
        ([Error(3, 0, 0)], ProtocolError, "ERROR malformed: no text"),
        ([Error(99, 0, 0)], ProtocolError, "ERROR 99"),
    ],
)
async def test_a_greeting_that_is_none(script: list[Message | bytes], error: type[Exception], says: str):
    async with device(*script) as station:
        with pytest.raises(error, match=says):
            await station.driver.open()


async def test_a_link_that_is_reset_before_hello():
    async with lane() as (station, _, proxy):
        proxy.set("reset")
        with pytest.raises(ConnectFailed):
            await station.driver.open()


async def test_bye_ends_the_readings_in_good_order():
    async with device(HELLO, Describe(GEOMETRY_JSON), Bye()) as station:
        await station.driver.open()
        await station.hear(lambda: False)
        assert station.items == []


async def test_messages_of_the_link_before_are_not_taken_for_the_next():
    status = Status(*[0] * 13)
    async with device(HELLO, Describe(GEOMETRY_JSON), *[status] * 20) as station:
        await station.driver.open()
        await station.hear(lambda: len(station.items) == 1)  # the other nineteen have come, unread
        identity = await station.driver.open()
        assert identity.make == "M"


async def test_an_error_of_the_device_is_told():
    async with device(HELLO, Describe(GEOMETRY_JSON), Error(4, 0, 0, "too slow")) as station:
        await station.driver.open()
        with pytest.raises(LinkLost, match="ended the link with ERROR limit: too slow"):
            await station.hear(lambda: False)


async def test_a_scan_that_breaks_the_protocol_is_refused_and_said_so():
    async with device(HELLO, Describe(GEOMETRY_JSON), begin(sample_format=2)) as station:
        await station.driver.open()
        with pytest.raises(ProtocolError, match="set the scanner to 16-bit samples"):
            await station.hear(lambda: False)
        assert told(station) == [ErrorCode.MALFORMED]


async def test_closing_ends_the_readings_without_an_error():
    async with device(HELLO, Describe(GEOMETRY_JSON), begin()) as station:
        await station.driver.open()
        hearing: Awaitable[None] = asyncio.ensure_future(station.hear(lambda: False))
        await asyncio.sleep(0.05)
        await station.driver.close()
        await station.driver.close()
        await hearing
        assert len(station.items) == 1


async def test_acknowledgements_carry_the_scan_and_are_numbered():
    async with device(HELLO, Describe(GEOMETRY_JSON), begin()) as station:
        await station.driver.open()
        await station.hear(lambda: bool(station.items))
        key = station.items[0].key  # type: ignore[union-attr]
        await station.driver.ack(key, 64, end=False)
        await station.driver.ack(key, 80, end=True)
        _, first, second = FrameReader().feed(station.sent)
        assert isinstance(first, Frame)
        assert isinstance(second, Frame)
        assert (first.message, first.scan_id, first.seq) == (Ack(64, 0), 1, 1)
        assert (second.message, second.scan_id, second.seq) == (Ack(80, 1), 1, 2)
