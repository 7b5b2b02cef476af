"""A central system that is slow, broken or lies (F20, F21, F22): nothing is dropped, the lane does not wait.

The other side, a consumer before a bad station, is in tests/integration/test_consume.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from station.api import connections
from tests.support.journal import append, draft, open_small, put_blob
from tests.support.served import Served, serve
from tests.support.station import running_station

MIB = 1024 * 1024
RECORDS = 45
TEXT = "x" * 100_000
"""So that a page does not fit into the buffers between station and central."""
NOTICED_S = 5.0
"""An append that takes longer waits for somebody; beside tests that break disks one took two seconds."""


@pytest.fixture
async def station(tmp_path: Path) -> AsyncIterator[Served]:
    """A served store with more records than one page holds."""
    store = await asyncio.to_thread(open_small, tmp_path / "state")
    try:
        async with serve(store) as served:
            for n in range(RECORDS):
                await append(store, [draft(n=n, text=TEXT)])
            assert (await served.client.get("/v1")).status_code == 200
            yield served
    finally:
        await asyncio.to_thread(store.close)


@contextlib.asynccontextmanager
async def lane_at_work(station: Served) -> AsyncIterator[list[float]]:
    """Append as a busy lane does until the block ends; gives the seconds that each append took."""
    took_s: list[float] = []
    ended = asyncio.Event()

    async def work() -> None:
        while not ended.is_set():
            began_s = time.monotonic()
            await append(station.store, [draft(n=RECORDS + len(took_s))])
            took_s.append(time.monotonic() - began_s)
            await asyncio.sleep(0.005)

    working = asyncio.create_task(work())
    try:
        yield took_s
    finally:
        ended.set()
        await working
    assert took_s
    assert max(took_s) < NOTICED_S


async def everything(station: Served) -> list[int]:
    """What a central system that behaves receives from the beginning: the test's numbers, proven dense."""
    after, found = 0, []
    while True:
        page = (await station.client.get("/v1/feed", params=station.feed(after))).json()
        assert [item["seq"] for item in page["items"]] == list(range(after + 1, page["next"] + 1))
        found += [item["event"]["data"]["n"] for item in page["items"]]
        after = page["next"]
        if not page["more"]:
            return found


async def assert_nothing_is_lost(station: Served) -> None:
    assert station.store.acked == {"central": 0}
    assert await everything(station) == list(range(station.store.published))
    body = {"epoch": station.store.epoch, "seq": station.store.published}
    assert (await station.client.post("/v1/consumers/central/ack", json=body)).json()["moved"] is True


def request(station: Served, path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{station.port}\r\n\r\n".encode()


def page_request(station: Served) -> bytes:
    return request(station, f"/v1/feed?after=0&epoch={station.store.epoch}")


# --- F20: slow ------------------------------------------------------------------------------------


@pytest.mark.fault("F20")
async def test_a_central_that_reads_a_page_slowly_gets_it_whole_and_the_lane_does_not_wait(
    station: Served,
) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket() as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        link.setblocking(False)
        await loop.sock_connect(link, ("127.0.0.1", station.port))
        async with lane_at_work(station) as appends:
            await loop.sock_sendall(link, page_request(station))
            content = b""
            while b"]}" not in content[-2:]:
                content += await loop.sock_recv(link, 65536)
                await asyncio.sleep(0.005)
        assert len(appends) > 20, "the lane went on meanwhile"
    page = json.loads(content.partition(b"\r\n\r\n")[2])
    assert [item["seq"] for item in page["items"]] == list(range(1, len(page["items"]) + 1))
    await assert_nothing_is_lost(station)


@pytest.mark.fault("F20")
async def test_a_central_that_stops_reading_is_let_go_and_the_lane_does_not_wait(
    station: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "STALLED_S", 0.3)
    loop = asyncio.get_running_loop()
    lost, connection_lost = asyncio.Queue[Any](), connections.Connection.connection_lost

    def noted(self: connections.Connection, error: Exception | None) -> None:
        lost.put_nowait(self.transport.get_extra_info("peername"))
        connection_lost(self, error)

    monkeypatch.setattr(connections.Connection, "connection_lost", noted)
    with socket.socket() as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        link.setblocking(False)
        await loop.sock_connect(link, ("127.0.0.1", station.port))
        async with lane_at_work(station):
            await loop.sock_sendall(link, page_request(station))
            async with asyncio.timeout(10):
                while await lost.get() != link.getsockname():
                    pass
        size = 0
        with contextlib.suppress(ConnectionResetError):
            async with asyncio.timeout(5):
                while part := await loop.sock_recv(link, 1 << 20):
                    size += len(part)
        assert size < 4_000_000, "the rest of the page is not sent any more"
    await assert_nothing_is_lost(station)


@pytest.mark.fault("F20")
async def test_a_download_and_a_page_that_stand_still_do_not_let_the_log_grow(tmp_path: Path) -> None:
    state = tmp_path / "state"
    store = await asyncio.to_thread(open_small, state, quota_bytes=512 * MIB)
    loop, highest = asyncio.get_running_loop(), 0
    async with serve(store) as served:
        name = await put_blob(store, bytes(40 * MIB), "application/octet-stream")
        await append(store, [draft(n=n, text=TEXT) for n in range(RECORDS)])
        with socket.socket() as download, socket.socket() as poller:
            for link, asked in (
                (download, request(served, f"/v1/blobs/{name}")),
                (poller, page_request(served)),
            ):
                link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                link.setblocking(False)
                await loop.sock_connect(link, ("127.0.0.1", served.port))
                await loop.sock_sendall(link, asked)
                assert await loop.sock_recv(link, 12) == b"HTTP/1.1 200"
            for _ in range(20):
                await append(store, [draft(text=TEXT) for _ in range(50)])
                highest = max(highest, (state / "journal" / "station.db-wal").stat().st_size)
            for link in (download, poller):
                assert await loop.sock_recv(link, 1), "it was not let go meanwhile"
    await asyncio.to_thread(store.close)
    assert 0 < highest < 64 * MIB


@pytest.mark.fault("F20")
async def test_centrals_that_wait_and_go_away_leave_nothing_behind(station: Served) -> None:
    path = f"/v1/feed?after={station.store.published}&epoch={station.store.epoch}&wait=30"
    async with asyncio.timeout(10):
        for _ in range(12):
            _, writer = await asyncio.open_connection("127.0.0.1", station.port)
            writer.write(request(station, path))
            await asyncio.sleep(0.01)
            writer.close()
        while station.services.waits._held:
            await asyncio.sleep(0.01)
    async with lane_at_work(station) as appends, asyncio.timeout(10):
        while len(appends) < 10:
            await asyncio.sleep(0.005)
    await assert_nothing_is_lost(station)


# --- F21: broken ----------------------------------------------------------------------------------

HTML = b"<html><h1>502 Bad Gateway</h1></html>"
BROKEN = {
    "500": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
    "html": b"POST /v1/consumers/central/ack HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/html\r\n"
    b"Content-Length: %d\r\n\r\n" % len(HTML) + HTML,
    "truncated": b"POST /v1/consumers/central/ack HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n"
    b'{"epoch":"EPOCH","seq":1}',
    "truncated header": b"POST /v1/consumers/central/ack HTTP/1.1\r\nHost: loc",
    "chunk": b"POST /v1/consumers/central/ack HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Type: application/json\r\n\r\nzz\r\n",
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.fault("F21")
async def test_what_a_broken_central_sends_acknowledges_nothing(station: Served, kind: str) -> None:
    sent = BROKEN[kind].replace(b"EPOCH", station.store.epoch.encode())
    async with lane_at_work(station):
        for _ in range(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", station.port)
            writer.write(sent)
            writer.write_eof()
            said = await asyncio.wait_for(reader.read(), 5)
            writer.close()
            assert said[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 422"), said
    await assert_nothing_is_lost(station)


@pytest.mark.fault("F21")
async def test_a_central_that_hangs_up_in_every_page_misses_nothing_later(station: Served) -> None:
    async with lane_at_work(station):
        for _ in range(8):
            reader, writer = await asyncio.open_connection("127.0.0.1", station.port)
            writer.write(page_request(station))
            assert await reader.read(10_000)
            writer.transport.abort()
    await assert_nothing_is_lost(station)


# --- F22: it lies ---------------------------------------------------------------------------------


async def ack(station: Served, seq: int, epoch: str = "") -> httpx2.Response:
    body = {"epoch": epoch or station.store.epoch, "seq": seq}
    return await station.client.post("/v1/consumers/central/ack", json=body)


def name_of(reply: httpx2.Response) -> Any:
    return reply.json()["type"].rpartition(":")[2]


@pytest.mark.fault("F22")
async def test_a_lying_central_is_refused_and_counted_and_moves_nothing(station: Served) -> None:
    async with lane_at_work(station):
        far = station.store.published + 100_000
        replies = await asyncio.gather(*(ack(station, far + n) for n in range(10)))
        replies.append(await station.client.get("/v1/feed", params=station.feed(far)))
        assert {(reply.status_code, name_of(reply)) for reply in replies} == {(409, "beyond-head")}
        assert station.store.stats.beyond_head == 11
        old = [await ack(station, 1, "ab" * 16)]
        old.append(await station.client.get("/v1/feed", params=station.feed(0) | {"epoch": "ab" * 16}))
        assert {(reply.status_code, name_of(reply)) for reply in old} == {(409, "epoch-changed")}
        assert all(reply.json()["first_seq"] == 1 for reply in old)
    await assert_nothing_is_lost(station)


@pytest.mark.fault("F22")
def test_the_lane_is_told_of_a_central_that_is_ahead(tmp_path: Path) -> None:
    with running_station(tmp_path, rate=1.0) as lane:
        body = {"epoch": lane.get("/v1").json()["epoch"], "seq": 9_000_000}
        for _ in range(5):
            assert lane.post("/v1/consumers/central/ack", body).json()["type"].endswith("beyond-head")

        def alarms() -> list[Any]:
            return [alarm for alarm in lane.lane()["alarms"] if alarm["code"] == "consumer_ahead"]

        (alarm,) = lane.until(alarms, "it is an alarm")
        assert (alarm["priority"], alarm["values"]) == (2, {"consumer": "central"})
        (told,) = lane.records("consumer.ahead")
        assert (told["consumer"], told["seq"]) == ("central", 9_000_000)
        assert len(lane.records("lane_alarm.raised", code="consumer_ahead")) == 1
        assert lane.post(f"/v1/lane/alarms/{alarm['alarm_id']}/ack", {}).status == 201
        lane.until(lambda: not alarms(), "it was seen, and is over")
        lane.assert_sound()


@pytest.mark.fault("F22")
async def test_late_and_concurrent_acknowledgements_of_two_pollers_end_highest(
    station: Served,
) -> None:
    async with lane_at_work(station):
        pages = await asyncio.gather(
            *(station.client.get("/v1/feed", params=station.feed(0, limit=20)) for _ in range(2))
        )
        assert pages[0].json()["items"] == pages[1].json()["items"], "an old cursor reads the same again"
        seqs = [3, 20, 7, 20, 1, 19, 20, 2]
        replies = await asyncio.gather(*(ack(station, seq) for seq in seqs))
        assert {reply.status_code for reply in replies} == {200}
        assert sum(reply.json()["moved"] for reply in replies) >= 1
        assert (await ack(station, 5)).json() == {"epoch": station.store.epoch, "acked": 20, "moved": False}
        assert station.store.acked == {"central": 20}
    assert await everything(station) == list(range(station.store.published)), "acknowledged is not removed"
