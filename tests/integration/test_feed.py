"""The feed: dense, in order, exactly the hashed bytes; long polls that end when they should."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from station.store.chain import link
from station.store.errors import StoreUnavailable
from station.store.feed import read_alarms, read_page
from tests.support.journal import append, draft, open_small
from tests.support.served import Served


async def fill(central: Served, count: int, **settings: Any) -> None:
    for n in range(count):
        await append(central.store, [draft(f"subject{n}", n=n, **settings)])


async def page(central: Served, after: int, **parameters: Any) -> dict[str, Any]:
    reply = await central.client.get("/v1/feed", params=central.feed(after, **parameters))
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


async def problem(central: Served, **parameters: Any) -> dict[str, Any]:
    reply = await central.client.get("/v1/feed", params=parameters)
    assert reply.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = reply.json()
    assert found["status"] == reply.status_code
    return found


async def test_an_empty_journal_is_an_empty_page(central: Served) -> None:
    found = await page(central, 0)
    assert (found["items"], found["head"], found["next"], found["more"]) == ([], 0, 0, False)
    assert found["oldest"] == 1
    assert len(found["prev"]) == 64


async def test_pages_are_dense_and_prove_themselves(central: Served) -> None:
    await fill(central, 25)
    after, hash_, seen = 0, None, []
    while True:
        found = await page(central, after, limit=10)
        hash_ = hash_ or found["prev"]
        assert found["prev"] == hash_
        raw = await central.client.get("/v1/feed", params=central.feed(after, limit=10))
        bodies = raw_events(raw.content)
        for item, body in zip(found["items"], bodies, strict=True):
            seen.append(item["seq"])
            epoch = bytes.fromhex(central.store.epoch)
            hash_ = link(bytes.fromhex(hash_), epoch, item["seq"], body).hex()
            assert item["hash"] == hash_
            assert item["event"]["sequence"] == f"{item['seq']:020}"
        assert found["more"] == (found["next"] < 25)
        after = found["next"]
        if not found["more"]:
            break
    assert seen == list(range(1, 26))
    assert (await page(central, 25))["items"] == []


def raw_events(content: bytes) -> list[bytes]:
    """Cut the events out of a page's bytes, as a consumer does who checks hashes."""
    events = []
    at = content.index(b'"items":[') + 9
    decoder = json.JSONDecoder()
    text = content.decode()
    while (at := text.find(',"event":', at)) >= 0:
        at += 9
        _, end = decoder.raw_decode(text, at)
        events.append(text[at:end].encode())
        at = end
    return events


async def test_simulated_records_are_stubs_unless_asked_for(central: Served) -> None:
    await fill(central, 2)
    await fill(central, 1, simulated=True)
    plain = (await page(central, 0))["items"]
    assert [item.get("withheld") for item in plain] == [None, None, "simulated"]
    assert "event" not in plain[2]
    asked = (await page(central, 0, include="simulated"))["items"]
    assert [item["hash"] for item in asked] == [item["hash"] for item in plain]
    assert asked[2]["event"]["data"]["simulated"] is True


async def test_alarms_can_be_looked_at_ahead(central: Served) -> None:
    await fill(central, 5)
    await append(central.store, [draft("rpm1", prio=0, type="carril.radiation_alarm.raised")])
    await fill(central, 5)
    found = await page(central, 0, prio=0)
    assert [item["seq"] for item in found["items"]] == [6]
    assert (found["next"], found["more"]) == (11, False)
    assert (await page(central, 11, prio=0))["items"] == []


async def test_alarms_are_looked_at_page_by_page_and_simulated_ones_stay_stubs(central: Served) -> None:
    for simulated in (False, True, False):
        await fill(central, 2)
        await append(central.store, [draft("rpm1", prio=0, simulated=simulated)])
    first = await page(central, 0, prio=0, limit=2)
    assert [(item["seq"], item.get("withheld")) for item in first["items"]] == [(3, None), (6, "simulated")]
    assert (first["next"], first["more"]) == (6, True)
    rest = await page(central, first["next"], prio=0, limit=2, include="simulated")
    assert [item["seq"] for item in rest["items"]] == [9]
    assert (rest["next"], rest["more"]) == (9, False)
    asked = await page(central, 0, prio=0, include="simulated")
    assert asked["items"][1]["event"]["data"]["simulated"] is True


@pytest.mark.parametrize("seq", [1, 3, 4])
@pytest.mark.parametrize("forged", ["body", "body and hash", "prev"])
def test_alarms_are_checked_as_a_page_checks_them(tmp_path: Path, seq: int, forged: str) -> None:
    """A row that was replaced with its own hash shows by the one after it; the mark has the last one."""
    store = open_small(tmp_path)
    store.append_soon([draft(n=n, prio=0, text="xxx") for n in range(4)]).result(10)
    with contextlib.closing(sqlite3.connect(tmp_path / "journal" / "station.db")) as connection:
        statement = "SELECT body, prev FROM record WHERE seq = ?"
        body, prev = connection.execute(statement, (seq,)).fetchone()
        prev = bytes(32) if forged == "prev" else prev
        body = body if forged == "prev" else body.replace("xxx", "yyy")
        connection.execute("UPDATE record SET body = ?, prev = ? WHERE seq = ?", (body, prev, seq))
        if forged == "body and hash":
            digest = link(prev, bytes.fromhex(store.epoch), seq, body.encode())
            connection.execute("UPDATE record SET hash = ? WHERE seq = ?", (digest, seq))
        connection.commit()
    told = [
        store._readers.look(partial(read, epoch=store.epoch, after=0, limit=100, simulated=False)).items
        for read in (read_page, read_alarms)
    ]
    store.close()
    assert told[0] == told[1]
    assert [b"damaged" in item for item in told[1]] == [n == seq for n in (1, 2, 3, 4)]


@pytest.mark.parametrize("prio", [{}, {"prio": 0}])
async def test_a_page_ends_at_4_mib(central: Served, prio: dict[str, int]) -> None:
    for n in range(30):
        await append(central.store, [draft(n=n, prio=0, text="x" * 200_000)])
    found = await page(central, 0, **prio)
    assert found["more"]
    assert 15 < len(found["items"]) < 25
    rest = await page(central, found["next"], **prio)
    assert [item["seq"] for item in found["items"] + rest["items"]] == list(range(1, 31))


async def test_gzip_is_sent_to_those_who_accept_it(central: Served) -> None:
    await fill(central, 50)
    parameters = central.feed(0)
    plain = await central.client.get("/v1/feed", params=parameters, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    async with central.client.stream(
        "GET", "/v1/feed", params=parameters, headers={"Accept-Encoding": "br;q=0.1, gzip"}
    ) as reply:
        raw = b"".join([part async for part in reply.aiter_raw()])
        assert reply.headers["content-encoding"] == "gzip"
        assert reply.headers["vary"] == "Accept-Encoding"
    assert gzip.decompress(raw) == plain.content
    assert len(raw) < len(plain.content) / 3
    refused = await central.client.get("/v1/feed", params=parameters, headers={"Accept-Encoding": "gzip;q=0"})
    assert "content-encoding" not in refused.headers


@pytest.mark.fault("F9")
async def test_damaged_and_missing_records_are_stubs_that_keep_the_count(
    central: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    from station.store import feed

    await fill(central, 6)
    rows_after = feed._rows_after

    def damaged(*arguments: Any) -> Any:
        for row in rows_after(*arguments):
            if row.seq == 3:
                continue
            if row.seq == 5:
                object.__setattr__(row, "body", row.body.replace(b'"n":4', b'"n":5'))
            yield row

    monkeypatch.setattr(feed, "_rows_after", damaged)
    found = await page(central, 0)
    assert [item["seq"] for item in found["items"]] == [1, 2, 3, 4, 5, 6]
    assert [item.get("withheld") for item in found["items"]] == [None, None, "damaged", None, "damaged", None]


# --- wrong cursors --------------------------------------------------------------------------------


async def test_another_epoch_is_told_where_to_go_on(central: Served) -> None:
    await fill(central, 3)
    found = await problem(central, after=3, epoch="0" * 32)
    assert found["type"] == "urn:carril:problem:epoch-changed"
    assert found["status"] == 409
    assert (found["epoch"], found["first_seq"]) == (central.store.epoch, 1)
    assert found["previous"] is None


async def test_a_cursor_beyond_the_head_is_refused_and_counted(central: Served) -> None:
    await fill(central, 3)
    found = await problem(central, **central.feed(4))
    assert (found["type"], found["status"], found["head"]) == ("urn:carril:problem:beyond-head", 409, 3)
    assert "carril_store_beyond_head_total 1.0" in (await central.client.get("/metrics")).text


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({}, "query.after"),
        ({"after": -1}, "query.after"),
        ({"after": "x"}, "query.after"),
        ({"after": 2**53}, "query.after"),
        ({"after": 1, "epoch": "0B8E"}, "query.epoch"),
        ({"after": 1, "limit": 0}, "query.limit"),
        ({"after": 1, "limit": 2001}, "query.limit"),
        ({"after": 1, "wait": 31}, "query.wait"),
        ({"after": 1, "prio": 1}, "query.prio"),
        ({"after": 1, "include": "all"}, "query.include"),
        ({"after": 1, "since": "2026-11-24T04:00:00Z"}, "query.since"),  # no cursor in time
        ({"after": 1, "offset": 5}, "query.offset"),
    ],
)
async def test_a_wrong_parameter_is_named(central: Served, parameters: dict[str, Any], field: str) -> None:
    found = await problem(central, **({"epoch": central.store.epoch} | parameters))
    assert (found["status"], found["type"]) == (400, "urn:carril:problem:bad-parameter")
    assert field in [error["field"] for error in found["errors"]]
    assert field in found["detail"]


# --- long polls -----------------------------------------------------------------------------------


async def poll(central: Served, after: int, wait: int = 30, **parameters: Any) -> dict[str, Any]:
    return await page(central, after, wait=wait, **parameters)


async def waiting(central: Served, count: int, who: str = "127.0.0.1") -> None:
    """Return when this many long polls wait."""
    async with asyncio.timeout(10):
        while central.services.waits._held.get(who, 0) != count:
            await asyncio.sleep(0.005)


async def test_a_poll_returns_at_once_when_there_is_something(central: Served) -> None:
    await fill(central, 1)
    async with asyncio.timeout(5):
        assert len((await poll(central, 0))["items"]) == 1


async def test_a_poll_ends_with_the_next_commit(central: Served) -> None:
    polls = [asyncio.create_task(poll(central, 0)) for _ in range(3)]
    await waiting(central, 3)
    async with asyncio.timeout(5):
        await fill(central, 1)
        for found in await asyncio.gather(*polls):
            assert [item["seq"] for item in found["items"]] == [1]
    await waiting(central, 0)


async def test_a_poll_for_alarms_waits_for_an_alarm(central: Served) -> None:
    task = asyncio.create_task(poll(central, 0, prio=0))
    await waiting(central, 1)
    await fill(central, 3)
    await asyncio.sleep(0)
    assert not task.done()
    async with asyncio.timeout(5):
        await append(central.store, [draft("rpm1", prio=0)])
        assert [item["seq"] for item in (await task)["items"]] == [4]


async def test_a_poll_ends_empty_when_its_time_is_over(central: Served) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    found = await poll(central, 0, wait=1)
    assert found["items"] == []
    assert 0.9 < loop.time() - began < 5


async def test_a_fifth_poll_of_one_client_is_refused(central: Served) -> None:
    polls = [asyncio.create_task(poll(central, 0)) for _ in range(4)]
    await waiting(central, 4)
    reply = await central.client.get("/v1/feed", params=central.feed(0, wait=30))
    assert reply.status_code == 429
    assert reply.headers["retry-after"] == "1"
    assert reply.json()["type"] == "urn:carril:problem:too-many"
    # Those who need not wait are served.
    assert (await page(central, 0))["items"] == []
    await fill(central, 1)
    await asyncio.gather(*polls)
    await waiting(central, 0)


async def test_a_consumer_has_places_of_its_own(central: Served) -> None:
    others = [asyncio.create_task(poll(central, 0)) for _ in range(4)]
    await waiting(central, 4)
    mine = [asyncio.create_task(poll(central, 0, consumer="central")) for _ in range(4)]
    await waiting(central, 4, "consumer central")
    fifth = await central.client.get("/v1/feed", params=central.feed(0, wait=30, consumer="central"))
    assert fifth.status_code == 429
    nobody = await central.client.get("/v1/feed", params=central.feed(0, wait=30, consumer="nobody"))
    assert (nobody.status_code, nobody.json()["type"]) == (404, "urn:carril:problem:not-found")
    await fill(central, 1)
    await asyncio.gather(*others, *mine)
    await waiting(central, 0, "consumer central")


async def test_clients_that_went_away_leave_their_places(central: Served) -> None:
    for _ in range(3):
        polls = [asyncio.create_task(poll(central, 0)) for _ in range(4)]
        await waiting(central, 4)
        for task in polls:
            task.cancel()
        await asyncio.gather(*polls, return_exceptions=True)
        await waiting(central, 0)


async def test_a_stopping_station_frees_its_polls(central: Served) -> None:
    task = asyncio.create_task(poll(central, 0))
    await waiting(central, 1)
    async with asyncio.timeout(5):
        central.services.stop.set()
        assert (await task)["items"] == []


async def test_no_commit_is_missed_between_look_and_wait(central: Served) -> None:
    """Records that come while polls begin and end: each poller sees all, in order."""

    async def consume(count: int) -> list[int]:
        after, seen = 0, []
        while after < count:
            found = await poll(central, after, limit=7)
            seen += [item["seq"] for item in found["items"]]
            after = found["next"]
        return seen

    async with asyncio.timeout(30):
        consumers = [asyncio.create_task(consume(150)) for _ in range(3)]
        for n in range(150):
            await append(central.store, [draft(n=n)])
            if n % 3 == 0:
                await asyncio.sleep(0.002)
        for seen in await asyncio.gather(*consumers):
            assert seen == list(range(1, 151))


async def test_a_closed_journal_is_a_problem_with_a_time_to_retry(
    central: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*_: Any) -> Any:
        raise StoreUnavailable("The journal is not open.")

    monkeypatch.setattr(central.store, "read", closed)
    reply = await central.client.get("/v1/feed", params=central.feed(0))
    assert reply.status_code == 503
    assert reply.json()["type"] == "urn:carril:problem:store-unavailable"
    assert int(reply.headers["retry-after"]) > 0
