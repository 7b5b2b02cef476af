"""The signed heads of an epoch that is over are served from quarantine, to whoever has its records."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from station.store.heads import public_keys, read_note
from tests.support.epochs import distrusted, salvage_ends, write
from tests.support.journal import open_small
from tests.support.served import Served, problem, serve

RECORDS = 5
PATH = "/v1/checkpoints"


@dataclass(frozen=True, slots=True)
class Renewed:
    """A served station in its third epoch, and its epochs, the oldest first."""

    central: Served
    epochs: list[str]
    ends: list[int]
    quarantine: Path


@pytest.fixture
async def renewed(tmp_path: Path) -> AsyncIterator[Renewed]:
    epochs, ends = [], []
    for _ in range(2):
        epoch, end = write(tmp_path, RECORDS)
        epochs.append(epoch)
        ends.append(end)
        distrusted(tmp_path)
    store = await asyncio.to_thread(open_small, tmp_path)
    await asyncio.to_thread(salvage_ends, store, 2)
    try:
        async with serve(store) as central:
            yield Renewed(central, [*epochs, store.epoch], ends, tmp_path / "quarantine")
    finally:
        await asyncio.to_thread(store.close)


async def test_the_last_head_of_each_earlier_epoch_is_there_and_proves_its_end(renewed: Renewed) -> None:
    client = renewed.central.client
    keys = public_keys((await client.get("/v1")).json()["head_key"])
    for epoch, end in zip(renewed.epochs, renewed.ends, strict=False):
        items = (await client.get(PATH, params={"epoch": epoch})).json()["items"]
        heads = [read_note(item["note"], keys) for item in items]
        assert [head.seq for head in heads] == [item["seq"] for item in items]
        assert {head.epoch for head in heads} == {epoch}
        assert heads[-1].seq == end
        behind = await client.get(PATH, params={"epoch": epoch, "after": heads[-1].seq})
        assert behind.json()["items"] == []
    before = await client.get("/v1/feed", params={"epoch": renewed.epochs[0], "after": 0})
    assert problem(before, 409, "epoch-changed")["previous"] == renewed.epochs[1]


async def test_the_epoch_of_now_may_be_named(renewed: Renewed) -> None:
    client, now = renewed.central.client, renewed.epochs[-1]
    after = {"after": renewed.ends[-1]}
    while not (found := (await client.get(PATH, params=after)).json()["items"]):
        await asyncio.sleep(0.01)
    named = (await client.get(PATH, params=after | {"epoch": now})).json()["items"]
    assert named[: len(found)] == found


async def test_what_is_not_kept_or_cannot_be_read_is_told(renewed: Renewed) -> None:
    client = renewed.central.client
    problem(await client.get(PATH, params={"epoch": "0" * 32}), 404, "not-found")
    problem(await client.get(PATH, params={"epoch": "first"}), 400, "bad-parameter")
    first, second = sorted(renewed.quarantine.iterdir())
    (first / "journal" / "station.db").write_bytes(b"no database" * 1000)
    found = problem(await client.get(PATH, params={"epoch": renewed.epochs[0]}), 410, "damaged")
    assert renewed.epochs[0] in found["detail"]
    assert (await client.get(PATH, params={"epoch": renewed.epochs[1]})).json()["items"]
    shutil.rmtree(second)
    problem(await client.get(PATH, params={"epoch": renewed.epochs[1]}), 404, "not-found")
