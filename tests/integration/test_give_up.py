"""Two persons give up a consumer that is gone, or a refused record: written down, and room is made again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from station.cli.main import main
from station.cli.report import store_reasons
from station.store.verify import verify
from tests.support.journal import append, draft, open_small
from tests.support.served import Served, ack, problem, serve
from tests.support.trimming import anchor, rest, within

BOTH = {"first": "M. Ortiz", "second": "A. Diaz", "reason": "that office was closed"}
QUOTA_BYTES = 8_000_000


@pytest.fixture
async def left(tmp_path: Path) -> AsyncIterator[Served]:
    """A station whose lane file no longer names ``old``, which was required and acknowledged two records."""
    state = tmp_path / "state"
    store = await asyncio.to_thread(open_small, state, consumers=[("central", True), ("old", True)])
    async with serve(store) as served:
        await append(store, [draft(n=n) for n in range(3)])
        body = {"epoch": store.epoch, "seq": 2, "nack": [{"seq": 1, "reason": "schema"}]}
        assert (await served.client.post("/v1/consumers/old/ack", json=body)).status_code == 200
    await asyncio.to_thread(store.close)
    store = await asyncio.to_thread(open_small, state, consumers=[("central", True)], quota_bytes=QUOTA_BYTES)
    async with serve(store) as served:
        yield served
    await asyncio.to_thread(store.close)


async def drop(left: Served, name: str, **change: str) -> Any:
    head = {"X-Carril": "1"}
    return await left.client.post(f"/v1/lane/consumers/{name}/drop", json=BOTH | change, headers=head)


async def test_what_was_required_stays_so_until_two_persons_drop_it(left: Served) -> None:
    store = left.store
    assert (await left.client.get("/v1/consumers/old")).json()["required"] is True
    assert "consumer_left_behind" in store_reasons(store)
    while store.quota_ratio < 0.82:
        await append(store, [draft(text="x" * 20_000) for _ in range(5)])
    await ack(left, store.published)
    await asyncio.to_thread(rest, store)
    assert anchor(store) <= 2, "it waits for old"

    problem(await drop(left, "nobody"), 404, "not-found")
    assert "The lane file names" in problem(await drop(left, "central"), 409, "refused")["detail"]
    assert "same person" in problem(await drop(left, "old", second=" m. ortiz"), 422, "invalid")["detail"]
    problem(await drop(left, "old", reason=""), 422, "invalid")
    assert store.acked.keys() == {"central", "old"}

    reply = await drop(left, "old")
    assert reply.status_code == 201
    seq = reply.json()["record"]["seq"]
    told = (await left.client.get(f"/v1/records/{seq}")).json()
    assert told["type"] == "carril.consumer.dropped"
    kept = {name: told["data"][name] for name in ("consumer", "acked", "persons", "reason", "authenticated")}
    assert kept == {
        "consumer": "old",
        "acked": 2,
        "persons": ["M. Ortiz", "A. Diaz"],
        "reason": "that office was closed",
        "authenticated": False,
    }
    assert store.acked.keys() == {"central"}
    assert "consumer_left_behind" not in store_reasons(store)
    problem(await left.client.get("/v1/consumers/old"), 404, "not-found")
    problem(await drop(left, "old"), 404, "not-found")
    await asyncio.to_thread(within, 20, lambda: anchor(store) > 2)


async def test_it_stays_dropped_and_the_journal_whole(left: Served, tmp_path: Path) -> None:
    assert (await drop(left, "old")).status_code == 201
    await asyncio.to_thread(left.store.close)
    again = await asyncio.to_thread(open_small, tmp_path / "state", consumers=[("central", True)])
    assert again.acked.keys() == {"central"}
    await asyncio.to_thread(again.close)
    assert verify(tmp_path / "state").ok


async def test_a_refused_record_is_given_up_and_not_kept_any_longer(
    left: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    def carril(*more: str) -> int:
        persons = ("--persons", BOTH["first"], BOTH["second"], "--reason", "never needed")
        return main(["drop", "old", *persons, "--port", str(left.port), *more])

    assert await asyncio.to_thread(carril, "--record", "2") == 2
    assert "Record 2 is not in the quarantine of 'old'" in capsys.readouterr().err
    assert await asyncio.to_thread(carril, "--record", "1") == 0
    seq = left.store.published
    assert capsys.readouterr().out == f"record 1 for old is given up; record {seq} says so\n"
    told = (await left.client.get(f"/v1/records/{seq}")).json()
    assert told["type"] == "carril.nack.cleared"
    assert (told["data"]["refused_seq"], told["data"]["why"], told["data"]["tries"]) == (1, "schema", 1)
    assert (await left.client.get("/v1/consumers/old/quarantine")).json()["items"] == []
    assert await asyncio.to_thread(carril) == 0
    assert capsys.readouterr().out == f"old is given up; record {seq + 1} says so\n"
