"""Blobs over HTTP: whole, in ranges, conditional, always the bytes that were stored."""

from __future__ import annotations

import asyncio
import base64
import time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import httpx2
import pytest

from station.api.pace import Pace
from station.store.blobs import CHUNK_BYTES
from tests.support.journal import put_blob
from tests.support.served import Served

RAW = bytes(range(256)) * 12_000  # 3,072,000 bytes: three MiB begun
NAME = sha256(RAW).hexdigest()


@pytest.fixture
async def central(central: Served) -> Served:
    assert await put_blob(central.store, RAW, "image/jpeg") == NAME
    return central


async def get(central: Served, **headers: str) -> httpx2.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await central.client.get(f"/v1/blobs/{NAME}", headers=named)


def digest_of(content: bytes) -> str:
    """A digest as RFC 9530 writes it."""
    return f"sha-256=:{base64.b64encode(sha256(content).digest()).decode()}:"


async def test_a_whole_blob_says_what_it_is(central: Served) -> None:
    reply = await get(central)
    assert reply.status_code == 200
    assert reply.content == RAW
    assert reply.headers["content-type"] == "image/jpeg"
    assert reply.headers["content-length"] == str(len(RAW))
    assert reply.headers["etag"] == f'"{NAME}"'
    assert reply.headers["accept-ranges"] == "bytes"
    assert reply.headers["repr-digest"] == reply.headers["content-digest"] == digest_of(RAW)
    assert "immutable" in reply.headers["cache-control"]
    assert reply.headers["content-security-policy"].startswith("sandbox")
    assert reply.headers["x-content-type-options"] == "nosniff"


async def test_head_says_the_same_without_the_bytes(central: Served) -> None:
    whole, head = await get(central), await central.client.head(f"/v1/blobs/{NAME}")
    assert head.status_code == 200
    assert head.content == b""
    for name in ("content-length", "content-type", "etag", "repr-digest", "accept-ranges"):
        assert head.headers[name] == whole.headers[name]
    # A range is defined for GET alone.
    ranged = await central.client.head(f"/v1/blobs/{NAME}", headers={"Range": "bytes=0-1"})
    assert ranged.status_code == 200
    assert ranged.headers["content-length"] == str(len(RAW))


@pytest.mark.parametrize(
    ("asked", "first", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("bytes=5-5", 5, 6),
        ("bytes=-1", len(RAW) - 1, len(RAW)),
        ("bytes=-500", len(RAW) - 500, len(RAW)),
        ("bytes=3071999-", len(RAW) - 1, len(RAW)),
        ("bytes=3071000-9999999", 3_071_000, len(RAW)),
        (f"bytes={CHUNK_BYTES - 1}-{CHUNK_BYTES}", CHUNK_BYTES - 1, CHUNK_BYTES + 1),
        (f"bytes={CHUNK_BYTES}-{2 * CHUNK_BYTES - 1}", CHUNK_BYTES, 2 * CHUNK_BYTES),
        ("bytes=100-2999999", 100, 3_000_000),
    ],
)
async def test_one_range_is_served(central: Served, asked: str, first: int, stop: int) -> None:
    reply = await get(central, Range=asked)
    assert reply.status_code == 206
    assert reply.headers["content-range"] == f"bytes {first}-{stop - 1}/{len(RAW)}"
    assert reply.headers["content-length"] == str(stop - first)
    assert reply.content == RAW[first:stop]
    assert reply.headers["repr-digest"] == digest_of(RAW)
    assert reply.headers["content-digest"] == digest_of(RAW[first:stop])


@pytest.mark.parametrize("asked", ["bytes=3072000-", "bytes=9999999-10000000", "bytes=-0"])
async def test_a_range_outside_is_refused_with_the_size(central: Served, asked: str) -> None:
    reply = await get(central, Range=asked)
    assert reply.status_code == 416
    assert reply.headers["content-range"] == f"bytes */{len(RAW)}"
    assert reply.json()["type"] == "urn:carril:problem:range"


@pytest.mark.parametrize(
    "asked", ["bytes=0-1,5-6", "lines=1-2", "bytes=-", "bytes=9-3", "bytes=a-b", "nonsense"]
)
async def test_other_range_headers_are_ignored(central: Served, asked: str) -> None:
    reply = await get(central, Range=asked)
    assert reply.status_code == 200
    assert reply.content == RAW


async def test_a_download_resumes_only_if_it_is_the_same(central: Served) -> None:
    same = await get(central, Range="bytes=3000000-", If_Range=f'"{NAME}"')
    assert (same.status_code, same.content) == (206, RAW[3_000_000:])
    for other in ('"other"', f'W/"{NAME}"', "Tue, 24 Nov 2026 04:00:00 GMT"):
        assert (await get(central, Range="bytes=3000000-", If_Range=other)).status_code == 200


@pytest.mark.parametrize("tag", [f'"{NAME}"', f'W/"{NAME}"', f'"x", "{NAME}"', "*"])
async def test_what_the_client_has_is_not_sent_again(central: Served, tag: str) -> None:
    for reply in (
        await get(central, If_None_Match=tag),
        await get(central, If_None_Match=tag, Range="bytes=0-1"),
        await central.client.head(f"/v1/blobs/{NAME}", headers={"If-None-Match": tag}),
    ):
        assert reply.status_code == 304
        assert reply.content == b""
        assert reply.headers["etag"] == f'"{NAME}"'
    assert (await get(central, If_None_Match='"other"')).status_code == 200


async def test_unknown_and_misspelt_names_are_problems(central: Served) -> None:
    missing = await central.client.get(f"/v1/blobs/{'0' * 64}")
    assert (missing.status_code, missing.json()["type"]) == (404, "urn:carril:problem:not-found")
    wrong = await central.client.get("/v1/blobs/ABC")
    assert wrong.status_code == 400
    assert wrong.json()["errors"][0]["field"] == "path.sha256"


async def test_an_empty_blob_is_served(central: Served) -> None:
    name = await put_blob(central.store, b"", "text/plain")
    reply = await central.client.get(f"/v1/blobs/{name}")
    assert (reply.status_code, reply.content, reply.headers["content-length"]) == (200, b"", "0")


def file_of(tmp_path: Path) -> Path:
    return tmp_path / "state" / "blobs" / NAME[:2] / NAME[2:4] / NAME


@pytest.mark.fault("F9")
async def test_damaged_bytes_are_never_sent(central: Served, tmp_path: Path) -> None:
    content = bytearray(RAW)
    content[2 * CHUNK_BYTES + 7] ^= 1
    file_of(tmp_path).write_bytes(content)
    # Sound parts are served; a damaged one is not, whether it is the first that is sent or a later one.
    assert (await get(central, Range="bytes=0-99")).status_code == 206
    damaged = await get(central, Range=f"bytes={2 * CHUNK_BYTES}-")
    assert (damaged.status_code, damaged.json()["type"]) == (410, "urn:carril:problem:damaged")
    whole = await get(central)
    assert (whole.status_code, whole.json()["type"]) == (410, "urn:carril:problem:damaged")
    file_of(tmp_path).unlink()
    assert (await get(central)).status_code == 410


async def test_downloads_keep_their_pace_and_nothing_else_waits_for_them(central: Served) -> None:
    services = replace(central.services, pace=Pace(bytes_per_s=4 * CHUNK_BYTES, burst_bytes=CHUNK_BYTES))
    central.app.state.services = services
    big = await put_blob(central.store, bytes(4 * CHUNK_BYTES), "application/octet-stream")
    began_s = time.monotonic()
    download = asyncio.create_task(central.client.get(f"/v1/blobs/{big}"))
    async with asyncio.timeout(10):
        while not services.downloads._held:
            await asyncio.sleep(0)
    assert (await central.client.get("/healthz")).status_code == 200
    own = await central.client.get(f"/v1/blobs/{big}", headers={"Sec-Fetch-Site": "same-origin"})
    assert (own.status_code, download.done()) == (200, False)
    assert len((await download).content) == 4 * CHUNK_BYTES
    assert time.monotonic() - began_s > 0.74  # three MiB at four a second, after a burst of one


async def test_who_hangs_up_leaves_place_and_pace_to_others(central: Served) -> None:
    slow = Pace(bytes_per_s=2 * CHUNK_BYTES, burst_bytes=CHUNK_BYTES)
    services = replace(central.services, pace=slow)
    central.app.state.services = services
    big = await put_blob(central.store, bytes(64 * CHUNK_BYTES), "application/octet-stream")
    async with central.client.stream("GET", f"/v1/blobs/{big}") as dropped:
        assert dropped.status_code == 200
    async with asyncio.timeout(15):  # of the 32 s that all of it would take
        while services.downloads._held:
            await asyncio.sleep(0.01)
    now_s = asyncio.get_running_loop().time()
    assert slow.wait_s(0, now_s) < 2.0, "what was not sent is not waited for"


async def test_a_client_has_two_downloads_at_once(central: Served) -> None:
    big = await put_blob(central.store, bytes(30_000_000), "application/octet-stream")
    url = f"/v1/blobs/{big}"
    async with central.client.stream("GET", url) as first, central.client.stream("GET", url) as second:
        assert (first.status_code, second.status_code) == (200, 200)
        third = await central.client.get(url)
        assert third.status_code == 429
        assert third.headers["retry-after"] == "1"
        assert sum([len(part) async for part in first.aiter_raw()]) == 30_000_000
    # A third has its turn when a place is free, and a screen does not wait for a program's stalled downloads.
    async with central.client.stream("GET", url), central.client.stream("GET", url) as second:
        own = await central.client.get(url, headers={"Sec-Fetch-Site": "same-origin", "Range": "bytes=0-1"})
        assert own.status_code == 206
        waiting = asyncio.create_task(central.client.get(url, headers={"Range": "bytes=0-1"}))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await second.aclose()
        assert (await waiting).status_code == 206
    # Read to the end or dropped: both places are free again.
    async with asyncio.timeout(10):
        while central.services.downloads._held:
            await asyncio.sleep(0.01)
