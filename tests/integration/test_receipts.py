"""Receipts for blobs: of the right bytes, of somebody known, durable, and taken back when they end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest

from station.store.draft import BlobRef
from station.store.journal import Store
from tests.support.journal import append, draft, open_small, put_blob
from tests.support.served import Served, serve

CONSUMERS = [("central", True, True), ("port", False, False)]
DATA = b"x" * 70_000


def receipts(store: Store) -> list[tuple[Any, ...]]:
    """What is on the disk."""
    return store._readers.look(
        lambda view: view.connection.execute("SELECT consumer, sha256, at_us FROM blob_receipt").fetchall()
    )


async def receive(central: Served, sha256: str, **changes: Any) -> httpx2.Response:
    body = {"consumer": "central", "bytes": len(DATA), "verified": True} | changes
    return await central.client.post(f"/v1/blobs/{sha256}/receipt", json=body)


def problem(reply: httpx2.Response, status: int, name: str) -> dict[str, Any]:
    assert reply.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = reply.json()
    assert (found["type"], found["status"]) == (f"urn:carril:problem:{name}", status), found
    assert reply.status_code == status
    return found


async def missing(central: Served) -> dict[str, int | None]:
    found = (await central.client.get("/v1/health")).json()["consumers"]
    return {name: each["receipts_missing"] for name, each in found.items()}


async def test_a_receipt_is_kept_once_and_survives_a_restart(tmp_path: Path) -> None:
    store = await asyncio.to_thread(open_small, tmp_path, consumers=CONSUMERS)
    async with serve(store) as central:
        names = [await put_blob(store, data, "image/png") for data in (DATA, b"other")]
        assert await missing(central) == {"central": 0, "port": None}, "no record names them: nobody knows"
        await append(store, [draft(blobs=tuple(BlobRef("photo", name) for name in names))])
        assert await missing(central) == {"central": 2, "port": None}
        for _ in range(2):
            reply = await receive(central, names[0])
            assert reply.status_code == 200, reply.text
            assert reply.json() == {"sha256": names[0], "consumer": "central", "received": True}
        ((consumer, digest, at_us),) = receipts(store)
        assert (consumer, digest.hex()) == ("central", names[0])
        assert at_us > 1_700_000_000_000_000
        assert await missing(central) == {"central": 1, "port": None}
        # A consumer of which nobody said that it takes blobs may send receipts all the same.
        assert (await receive(central, names[0], consumer="port")).status_code == 200
        lines = (await central.client.get("/metrics")).text.splitlines()
        assert 'carril_store_receipts_missing{consumer="central"} 1.0' in lines
    await asyncio.to_thread(store.close)
    store = await asyncio.to_thread(open_small, tmp_path, consumers=CONSUMERS)
    assert sorted(row[0] for row in receipts(store)) == ["central", "port"]
    assert ("central", digest, at_us) in receipts(store)
    await asyncio.to_thread(store.close)


async def test_a_receipt_for_other_bytes_is_none(central: Served) -> None:
    name = await put_blob(central.store, DATA, "image/png")
    found = problem(await receive(central, name, bytes=len(DATA) - 1), 409, "other-length")
    assert found["bytes"] == len(DATA)
    assert receipts(central.store) == []


async def test_bytes_that_are_not_those_of_the_name_are_counted_and_take_a_receipt_back(
    central: Served,
) -> None:
    name = await put_blob(central.store, DATA, "image/png")
    for _ in range(2):  # whatever their number
        reply = await receive(central, name, verified=False, bytes=3)
        assert (reply.status_code, reply.json()["received"]) == (200, False)
    assert receipts(central.store) == []
    assert (await receive(central, name)).status_code == 200
    assert (await receive(central, name, verified=False)).status_code == 200
    assert receipts(central.store) == [], "it does not have it any more"
    lines = (await central.client.get("/metrics")).text.splitlines()
    assert "carril_store_blobs_unverified_total 3.0" in lines


@pytest.mark.parametrize("verified", [True, False])
async def test_nobody_unknown_receives_anything_and_nothing_unknown_is_received(
    central: Served, verified: bool
) -> None:
    name = await put_blob(central.store, DATA, "image/png")
    reply = await receive(central, name, consumer="nobody", verified=verified)
    assert "'nobody'" in problem(reply, 404, "not-found")["detail"]
    problem(await receive(central, "0" * 64, verified=verified), 404, "not-found")
    assert receipts(central.store) == []


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"verified": "true"}, "body.verified"),
    ({"verified": None}, "body.verified"),
    ({"bytes": 1.5}, "body.bytes"),
    ({"bytes": -1}, "body.bytes"),
    ({"consumer": ""}, "body.consumer"),
    ({"at": 1}, "body.at"),
]


async def test_a_malformed_receipt_names_its_field(central: Served) -> None:
    for change, field in WRONG:
        found = problem(await receive(central, "0" * 64, **change), 422, "invalid")
        assert [error["field"] for error in found["errors"]] == [field]
    found = problem(await receive(central, "nonsense"), 400, "bad-parameter")
    assert [error["field"] for error in found["errors"]] == ["path.sha256"]
