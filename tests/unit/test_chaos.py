"""The link-fault proxy: each fault as the station feels it, each ends by itself, nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator

import pytest

from drivers.plant.chaos import FAULTS, JUNK, ChaosProxy
from drivers.plant.rig import within


class Echo:
    """A device that repeats what it hears and counts its links."""

    def __init__(self) -> None:
        self.links = 0
        self.heard = bytearray()
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.links += 1
        self.writers.append(writer)
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                self.heard += data
                writer.write(data)
                await writer.drain()
        writer.close()
        self.links -= 1


class Line:
    """The station's end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def ask(self, data: bytes, size: int | None = None) -> bytes:
        await self.say(data)
        return await asyncio.wait_for(self.reader.readexactly(size or len(data)), 5)

    async def silent(self, seconds: float = 0.2) -> bool:
        try:
            return not await asyncio.wait_for(self.reader.read(1), seconds) and False
        except TimeoutError:
            return True


class Stage:
    """Echo, proxy and the station's lines."""

    def __init__(self) -> None:
        self.echo = Echo()
        self.proxy: ChaosProxy
        self.lines: list[Line] = []

    async def dial(self) -> Line:
        line = Line(*await asyncio.open_connection("127.0.0.1", self.proxy.port))
        self.lines.append(line)
        return line


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    async with await asyncio.start_server(stage.echo.serve, "127.0.0.1", 0) as server:
        stage.proxy = ChaosProxy(server.sockets[0].getsockname()[1])
        await stage.proxy.start()
        yield stage
        await stage.proxy.stop()
        await stage.proxy.stop()
        for line in stage.lines:
            line.writer.close()
        assert await within(2, lambda: stage.echo.links == 0)
        ours = asyncio.all_tasks() - {asyncio.current_task()}
        assert await within(2, lambda: all(task.done() or "_Link" not in repr(task) for task in ours))


async def test_a_sound_link_carries_everything_both_ways_and_its_end(stage: Stage) -> None:
    line = await stage.dial()
    megabyte = bytes(range(256)) * 4096
    asking = asyncio.create_task(line.ask(megabyte))
    assert await asking == megabyte
    line.writer.write_eof()
    assert await line.reader.read() == b""


async def test_refused(stage: Stage) -> None:
    line = await stage.dial()
    await line.ask(b"x")
    stage.proxy.set("refused")
    assert await asyncio.wait_for(line.reader.read(), 2) == b""
    with pytest.raises(ConnectionRefusedError):
        await stage.dial()
    stage.proxy.set(None)
    assert await (await stage.dial()).ask(b"back") == b"back"


async def test_reset(stage: Stage) -> None:
    line = await stage.dial()
    await line.ask(b"x")
    stage.proxy.set("reset")
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(line.reader.read(), 2)
    with pytest.raises(ConnectionResetError):
        await (await stage.dial()).ask(b"x")
    stage.proxy.set(None)
    assert await (await stage.dial()).ask(b"back") == b"back"


async def test_half_open_is_for_ever_and_without_a_word(stage: Stage) -> None:
    line = await stage.dial()
    await line.ask(b"x")
    stage.proxy.set("half_open")
    await line.say(b"lost")
    stage.echo.writers[0].close()
    assert await line.silent()
    newer = await stage.dial()
    await newer.say(b"lost too")
    assert await newer.silent(0.1)
    stage.proxy.set(None)
    assert await line.silent(0.1)  # an old link stays dead
    assert await (await stage.dial()).ask(b"back") == b"back"
    assert bytes(stage.echo.heard) == b"xback"


async def test_cut_mid_record_is_that_many_bytes_then_the_end(stage: Stage) -> None:
    line = await stage.dial()
    assert await line.ask(b"before") == b"before"
    stage.proxy.set("cut_mid_record", after=10)
    await line.say(b"0123456")
    await line.say(b"789abcdef")
    assert await asyncio.wait_for(line.reader.read(), 2) == b"0123456789"
    line.writer.close()
    assert await within(2, lambda: stage.echo.links == 0)


async def test_silence_keeps_what_was_said_until_it_ends_by_itself(stage: Stage) -> None:
    line = await stage.dial()
    stage.proxy.set("silence", for_s=0.4)
    begun_s = time.monotonic()
    assert await line.ask(b"patience") == b"patience"
    assert time.monotonic() - begun_s >= 0.35
    assert stage.proxy.fault is None


async def test_what_a_silent_link_holds_back_is_bounded(stage: Stage) -> None:
    line = await stage.dial()
    stage.proxy.set("silence")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(line.say(b"x" * 64_000_000), 0.3)
    stage.proxy.set("reset")


async def test_slicer_sends_single_bytes(stage: Stage) -> None:
    line = await stage.dial()
    stage.proxy.set("slicer")
    seen: list[bytes] = []
    await line.say(b"sliced")
    while sum(map(len, seen)) < 6:
        seen.append(await asyncio.wait_for(line.reader.read(100), 2))
    assert b"".join(seen) == b"sliced"
    assert len(seen) > 1  # segments that come close together may be read as one
    assert stage.proxy.struck >= 5


async def test_garbage_and_garble_spoil_the_devices_words_only(stage: Stage) -> None:
    line = await stage.dial()
    stage.proxy.set("garbage", data=b"junk!")
    assert await line.ask(b"abc", 8) == b"junk!abc"
    stage.proxy.set("garbage")
    assert await line.ask(b"abc", len(JUNK) + 3) == JUNK + b"abc"
    stage.proxy.set("garble", share=0.1)
    zeros = bytes(10_000)
    garbled = await line.ask(zeros)
    flipped = [byte for byte in garbled if byte]
    assert 800 < len(flipped) < 1200
    assert all(byte.bit_count() == 1 for byte in flipped)
    assert bytes(stage.echo.heard) == b"abcabc" + zeros


async def test_latency_delays_each_way_without_changing_the_order(stage: Stage) -> None:
    line = await stage.dial()
    stage.proxy.set("latency", delay_s=0.1, jitter_s=0.05)
    begun_s = time.monotonic()
    assert await line.ask(b"1") == b"1"
    assert 0.09 < time.monotonic() - begun_s < 1.0
    for number in range(20):
        await line.say(b"%02d" % number)
    assert await asyncio.wait_for(line.reader.readexactly(40), 5) == b"".join(b"%02d" % n for n in range(20))


async def test_flap_comes_and_goes(stage: Stage) -> None:
    stage.proxy.set("flap", period_s=0.2)
    outcomes = []
    for _ in range(12):
        try:
            line = await stage.dial()
            outcomes.append("open")
            line.writer.close()
        except OSError:
            outcomes.append("refused")
        await asyncio.sleep(0.05)
    assert set(outcomes) == {"open", "refused"}
    stage.proxy.set(None)
    assert await (await stage.dial()).ask(b"back") == b"back"


async def test_bandwidth(stage: Stage) -> None:
    line = await stage.dial()
    stage.proxy.set("bandwidth", bytes_per_s=2_000)
    begun_s = time.monotonic()
    await line.ask(b"x" * 500)
    assert 0.2 < time.monotonic() - begun_s < 1.5


async def test_a_dialling_device_is_the_one_that_is_spoilt() -> None:
    heard = asyncio.Queue[bytes]()

    async def station(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.put_nowait(await reader.read(100))
        writer.write(b"thanks")
        writer.close()

    async with await asyncio.start_server(station, "127.0.0.1", 0) as server:
        proxy = ChaosProxy(server.sockets[0].getsockname()[1], device_dials=True)
        reader, writer = await asyncio.open_connection("127.0.0.1", await proxy.start())
        proxy.set("garbage", data=b"junk!")
        writer.write(b"event")
        assert await asyncio.wait_for(heard.get(), 2) == b"junk!event"
        assert await asyncio.wait_for(reader.read(), 2) == b"thanks"
        writer.close()
        await proxy.stop()


async def test_a_link_that_ends_before_it_began_is_closed_all_the_same(stage: Stage) -> None:
    with socket.create_connection(("127.0.0.1", stage.proxy.port)) as station:
        assert stage.proxy._listener is not None
        stage.proxy._accept(stage.proxy._listener)
        stage.proxy.set("refused")  # at once: the link's task has not run yet
        await asyncio.sleep(0.05)
        station.setblocking(False)
        assert station.recv(1) == b"", "it was closed"


async def test_a_device_that_is_switched_off_is_a_broken_link() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        proxy = ChaosProxy(nobody.getsockname()[1])
        reader, writer = await asyncio.open_connection("127.0.0.1", await proxy.start())
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 2)
        writer.close()
        await proxy.stop()


@pytest.mark.parametrize("fault", sorted(FAULTS))
async def test_every_fault_ends_by_itself(stage: Stage, fault: str) -> None:
    stage.proxy.set(fault, for_s=0.05)
    assert stage.proxy.fault == fault
    assert await within(2, lambda: stage.proxy.fault is None)
    assert await (await stage.dial()).ask(b"back") == b"back"


async def test_a_wrong_fault_or_argument_is_named_with_what_is_known(stage: Stage) -> None:
    with pytest.raises(ValueError, match="'gremlins' is no link fault; known are bandwidth, cut_mid_record"):
        stage.proxy.set("gremlins")
    with pytest.raises(ValueError, match="slicer takes size, not sise"):
        stage.proxy.set("slicer", sise=1)
    with pytest.raises(ValueError, match="reset takes no argument"):
        stage.proxy.set("reset", hard=True)
    assert stage.proxy.fault is None
