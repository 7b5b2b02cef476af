"""The byte streams under the drivers: TCP and serial, their ends, their sentences."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import socket
import struct
import termios
import threading
import tty
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from drivers.errors import ConnectFailed, LinkLost
from drivers.transport.link import Link
from drivers.transport.serial import open_serial
from drivers.transport.tcp import connect_tcp

Tapped = list[tuple[str, bytes]]


@contextlib.asynccontextmanager
async def tcp_pair(tapped: Tapped) -> AsyncIterator[tuple[Link, asyncio.StreamReader, asyncio.StreamWriter]]:
    accepted: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.put_nowait((reader, writer))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        link = await connect_tcp("127.0.0.1", port, tap=lambda way, data: tapped.append((way, data)))
        reader, writer = await accepted.get()
        yield link, reader, writer
        await link.close()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


# --- TCP ------------------------------------------------------------------------------------------


async def test_tcp_carries_bytes_past_the_tap_until_the_peer_ends() -> None:
    tapped: Tapped = []
    async with tcp_pair(tapped) as (link, reader, writer):
        writer.write(b"hello")
        assert await link.read() == b"hello"
        await link.write(b"world")
        assert await reader.readexactly(5) == b"world"
        writer.write_eof()
        assert await link.read() == b""
        assert tapped == [("rx", b"hello"), ("tx", b"world")]


async def test_tcp_sends_at_once_and_watches_the_peer() -> None:
    async with tcp_pair([]) as (link, _, _writer):
        sock: socket.socket = link._writer.get_extra_info("socket")  # type: ignore[attr-defined]
        tcp = socket.IPPROTO_TCP
        assert sock.getsockopt(tcp, socket.TCP_NODELAY) == 1
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        watched = [
            sock.getsockopt(tcp, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        ]
        assert watched == [2, 1, 3]


async def test_a_reset_is_a_lost_link_with_a_sentence() -> None:
    async with tcp_pair([]) as (link, _, writer):
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        with pytest.raises(LinkLost, match=r"the link to 127\.0\.0\.1:\d+ broke \(Connection reset"):
            await asyncio.wait_for(link.read(), 2)
        with pytest.raises(LinkLost, match="broke"):
            for _ in range(3):
                await link.write(b"x" * 100_000)
                await asyncio.sleep(0.01)


async def test_close_ends_a_waiting_read_and_is_idempotent() -> None:
    async with tcp_pair([]) as (link, _, _writer):
        reading = asyncio.create_task(link.read())
        await asyncio.sleep(0)
        await link.close()
        await link.close()
        assert await asyncio.wait_for(reading, 1) == b""
        assert threading.active_count() == 1


async def test_close_does_not_wait_for_a_peer_that_takes_nothing() -> None:
    async with tcp_pair([]) as (link, _, writer):
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(link.write(b"x" * 30_000_000), 0.2)
        await asyncio.wait_for(link.close(), 1.0)


async def test_nobody_answers() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        with pytest.raises(ConnectFailed, match=rf"127\.0\.0\.1:{port} cannot be reached .*check power"):
            await connect_tcp("127.0.0.1", port, tap=lambda *_: None)


async def test_an_answer_that_does_not_come_in_time() -> None:
    with socket.socket() as full:  # a listener whose queue is full lets a connection wait
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(2)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        with pytest.raises(ConnectFailed, match=r"did not answer within 0\.2 s"):
            await connect_tcp("127.0.0.1", full.getsockname()[1], tap=lambda *_: None, timeout_s=0.2)
        for client in waiting:
            client.close()


# --- serial ---------------------------------------------------------------------------------------


class Pty:
    """A pty whose far end is the test."""

    def __init__(self) -> None:
        self.controller, line = pty.openpty()
        tty.setraw(line)
        self.path = os.ttyname(line)
        self._open = [self.controller, line]

    def hang_up(self) -> None:
        while self._open:
            os.close(self._open.pop())


@pytest.fixture
def line() -> Iterator[Pty]:
    line = Pty()
    yield line
    line.hang_up()


async def test_serial_carries_bytes_both_ways_past_the_tap(line: Pty) -> None:
    tapped: Tapped = []
    link = await open_serial(line.path, 19_200, tap=lambda way, data: tapped.append((way, data)))
    os.write(line.controller, b"hello")
    assert await asyncio.wait_for(link.read(), 2) == b"hello"
    await link.write(b"world")
    assert os.read(line.controller, 100) == b"world"
    assert tapped == [("rx", b"hello"), ("tx", b"world")]
    await link.close()


async def test_a_hung_up_line_is_a_lost_link(line: Pty) -> None:
    link = await open_serial(line.path, 9600, tap=lambda *_: None)
    reading = asyncio.create_task(link.read())
    await asyncio.sleep(0)
    line.hang_up()
    with pytest.raises(LinkLost, match=f"{line.path} hung up"):
        await asyncio.wait_for(reading, 2)
    with pytest.raises(LinkLost, match="hung up"):
        await link.write(b"x")
    await link.close()


async def test_serial_close_ends_a_waiting_read_and_leaves_nothing(line: Pty) -> None:
    before = len(os.listdir("/proc/self/fd"))
    link = await open_serial(line.path, 9600, tap=lambda *_: None)
    reading = asyncio.create_task(link.read())
    await asyncio.sleep(0)
    await link.close()
    await link.close()
    assert await asyncio.wait_for(reading, 1) == b""
    assert await link.read() == b""
    assert len(os.listdir("/proc/self/fd")) == before
    assert threading.active_count() == 1


async def test_a_line_that_takes_nothing_delays_neither_the_loop_nor_close(line: Pty) -> None:
    link = await open_serial(line.path, 9600, tap=lambda *_: None)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(link.write(b"x" * 100_000), 0.2)
    await asyncio.wait_for(link.close(), 1.0)


async def test_a_line_without_modem_signals_opens(line: Pty, monkeypatch: pytest.MonkeyPatch) -> None:
    ioctl = fcntl.ioctl

    def no_modem(fd: int, request: int, *args: Any) -> Any:
        if request in (termios.TIOCMBIS, termios.TIOCMBIC):
            raise OSError(5, "Input/output error")  # what a pty answers to RTS on some kernels
        return ioctl(fd, request, *args)

    monkeypatch.setattr(fcntl, "ioctl", no_modem)
    link = await open_serial(line.path, 9600, tap=lambda *_: None)
    await link.close()


async def test_a_port_that_is_missing_or_taken(line: Pty) -> None:
    with pytest.raises(ConnectFailed, match=r"/dev/no-such-port cannot be opened at 9600 baud .*check cable"):
        await open_serial("/dev/no-such-port", 9600, tap=lambda *_: None)
    link = await open_serial(line.path, 9600, tap=lambda *_: None)
    with pytest.raises(ConnectFailed, match="no other program uses it"):
        await open_serial(line.path, 9600, tap=lambda *_: None)
    await link.close()
