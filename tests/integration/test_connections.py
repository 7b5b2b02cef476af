"""What a slow, greedy or broken client costs the station: one connection, for a limited time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from station.api import connections, limits
from station.api.events import events_router
from station.runtime.bus import Bus, Message
from tests.support.served import Served


async def talk(port: int, *parts: bytes, pause_s: float = 0.0) -> bytes:
    """Send the parts one after the other; return everything that comes until the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    said = asyncio.create_task(reader.read())
    for part in parts:
        if not said.done():
            writer.write(part)
            await asyncio.sleep(pause_s)
    try:
        return await asyncio.wait_for(said, 5)
    except ConnectionResetError:  # what was sent after the end came back as a reset
        return b""
    finally:
        writer.close()


async def test_a_header_that_is_not_complete_in_time_ends_the_connection(
    central: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEADER_S", 2.0)
    assert await talk(central.port) == b"", "nothing at all"
    head = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
    assert await talk(central.port, head, *[b"a"] * 10, pause_s=0.3) == b"", "a byte now and then"
    whole = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    again = await talk(central.port, whole, *[bytes([each]) for each in whole], pause_s=0.1)
    assert again.count(b"HTTP/1.1 200") == 1, "the second header of a connection is not waited for either"
    assert (await central.client.get("/healthz")).status_code == 200


async def test_a_long_answer_is_not_taken_for_a_slow_header(
    central: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEADER_S", 1.0)
    head = central.store.published
    reply = await central.client.get("/v1/feed", params=central.feed(head, wait=2))
    assert (reply.status_code, reply.json()["items"]) == (200, [])


async def test_a_body_that_does_not_come_is_refused(central: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_S", 0.2)
    head = b"POST /v1/consumers/central/ack HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{"
    said = await talk(central.port, head)
    assert said.startswith(b"HTTP/1.1 408")
    assert b"urn:carril:problem:request-timeout" in said


@pytest.mark.parametrize(
    "nonsense", [b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"]
)
async def test_what_is_no_http_is_a_problem_too(central: Served, nonsense: bytes) -> None:
    head, _, body = (await talk(central.port, nonsense)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert b"application/problem+json" in head
    assert json.loads(body)["type"] == "urn:carril:problem:bad-request"


async def test_too_many_connections_are_dropped_and_the_others_live(
    central: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await central.client.get("/healthz")).status_code == 200
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 3)
    held = [await asyncio.open_connection("127.0.0.1", central.port) for _ in range(5)]
    dropped = [await asyncio.wait_for(reader.read(), 5) for reader, _ in held[2:]]
    assert dropped == [b"", b"", b""]
    assert (await central.client.get("/healthz")).status_code == 200
    for _, writer in held:
        writer.close()


# --- a screen that stops reading ------------------------------------------------------------------


@pytest.fixture
def bus(central: Served) -> Bus:
    """The lane's bus, with its event stream served beside the central interface."""
    bus = Bus()
    store = central.store

    def lane() -> Any:
        """No record is replayed here: only where the lane stands counts."""
        return SimpleNamespace(at=f"{store.epoch}:{store.published}", model_dump=lambda mode: {})

    central.app.include_router(events_router(bus, central.services.stop, store, lane, dict))
    return bus


@contextlib.asynccontextmanager
async def unread_stream(port: int, bus: Bus) -> AsyncIterator[socket.socket]:
    """Open an event stream with small buffers, read nothing, and wait until the station cannot send more."""
    loop = asyncio.get_running_loop()
    with socket.socket() as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        link.setblocking(False)
        await loop.sock_connect(link, ("127.0.0.1", port))
        await loop.sock_sendall(link, b"GET /v1/lane/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(10):
            while not len(bus):
                await asyncio.sleep(0.01)
            (subscription,) = bus._subscribers
            text = "x" * 100_000
            while len(subscription._waiting) < 10:
                bus.publish(Message("live", {"text": text}))
                await asyncio.sleep(0.005)
        yield link


async def test_a_screen_that_stops_reading_is_told_to_look_again_and_costs_256_messages(
    central: Served, bus: Bus
) -> None:
    async with unread_stream(central.port, bus) as link:
        (subscription,) = bus._subscribers
        for number in range(1000):
            bus.publish(Message("live", {"number": number}))
            assert len(subscription._waiting) <= 257
        loop = asyncio.get_running_loop()
        got = b""
        async with asyncio.timeout(20):
            while b'"number":999' not in got:
                got = got[-200_000:] + await loop.sock_recv(link, 1 << 20)
    assert b"event: reset" in got


async def test_a_screen_that_never_reads_again_is_dropped(
    central: Served, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "STALLED_S", 0.3)
    async with unread_stream(central.port, bus), asyncio.timeout(10):
        while len(bus):
            await asyncio.sleep(0.02)
