"""Refused records: kept and offered again, blocking nothing, however often the other side refuses or lies."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from station.domain.schemas import catalogue
from station.store import nacks
from station.store.chain import REOFFERED
from station.store.verify import verify
from tests.support.journal import append, draft, of_inspection, open_small
from tests.support.served import Served, serve

URL = "/v1/consumers/central"


async def fill(central: Served, count: int) -> None:
    await append(central.store, [draft(f"subject{n}", n=n) for n in range(count)])


async def ack(central: Served, seq: int, *refused: int, reason: str = "schema") -> httpx2.Response:
    nack = [{"seq": each, "reason": reason} for each in refused]
    body = {"epoch": central.store.epoch, "seq": seq, "nack": nack}
    return await central.client.post(f"{URL}/ack", json=body)


async def acked(central: Served, seq: int, *refused: int, reason: str = "schema") -> dict[str, Any]:
    reply = await ack(central, seq, *refused, reason=reason)
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


async def quarantine(central: Served, **parameters: int) -> list[tuple[int, str, int, int | None]]:
    reply = await central.client.get(f"{URL}/quarantine", params=parameters)
    assert reply.status_code == 200, reply.text
    return [tuple(item.values()) for item in reply.json()["items"]]


async def retry(central: Served, seq: int) -> dict[str, Any]:
    reply = await central.client.post(f"{URL}/quarantine/{seq}/retry")
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


async def event(central: Served, seq: int) -> dict[str, Any]:
    found: dict[str, Any] = (await central.client.get(f"/v1/records/{seq}")).json()
    return found


def problem(reply: httpx2.Response, status: int, name: str) -> dict[str, Any]:
    assert reply.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = reply.json()
    assert (found["type"], found["status"]) == (f"urn:carril:problem:{name}", status), found
    assert reply.status_code == status
    return found


async def test_cursor_and_nacks_move_in_one_operation_that_can_be_repeated(central: Served) -> None:
    await fill(central, 5)
    assert await quarantine(central) == []
    for moved in (True, False, False):
        assert (await acked(central, 4, 2, 3))["moved"] is moved
        assert await quarantine(central) == [(2, "schema", 1, None), (3, "schema", 1, None)]
    assert central.store.acked == {"central": 4}
    # What was taken can turn out to be unusable later.
    assert (await acked(central, 3, 1, reason="no such lane"))["acked"] == 4
    assert (await quarantine(central))[0] == (1, "no such lane", 1, None)


WRONG: list[tuple[Any, str, str]] = [
    ([{"seq": 4, "reason": "x"}], "body.nack.0.seq", "is above the acknowledged 3"),
    ([{"seq": 1, "reason": "x"}] * 2, "body.nack.1.seq", "names record 1 a second time"),
    ([{"seq": 0, "reason": "x"}], "body.nack.0.seq", "greater than or equal to 1"),
    ([{"seq": True, "reason": "x"}], "body.nack.0.seq", "valid integer"),
    ([{"seq": 1, "reason": ""}], "body.nack.0.reason", "at least 1 character"),
    ([{"seq": 1, "reason": "x" * 201}], "body.nack.0.reason", "at most 200 characters"),
    ([{"seq": 1, "reason": "\ud800"}], "body.nack.0.reason", "valid string"),
    ([{"seq": 1}], "body.nack.0.reason", "required"),
    ([{"seq": 1, "reason": "x", "why": "y"}], "body.nack.0.why", "unknown here"),
    ({"1": "x"}, "body.nack", "valid list"),
    ([{"seq": n, "reason": "x"} for n in range(1, 502)], "body.nack", "at most 500 items"),
]


async def test_a_wrong_nack_is_refused_with_its_field_and_nothing_of_the_call_holds(central: Served) -> None:
    await fill(central, 4)
    for nack, field, rule in WRONG:
        body = json.dumps({"epoch": central.store.epoch, "seq": 3, "nack": nack})
        sent = {"Content-Type": "application/json"}
        found = problem(await central.client.post(f"{URL}/ack", content=body, headers=sent), 422, "invalid")
        assert [(error["field"], rule in error["message"]) for error in found["errors"]] == [(field, True)]
        assert central.store.acked == {"central": 0}
        assert await quarantine(central) == []


async def test_the_other_refusals_write_no_nack_either(central: Served) -> None:
    await fill(central, 3)
    problem(await ack(central, 4, 1), 409, "beyond-head")
    body = {"epoch": "0" * 32, "seq": 3, "nack": [{"seq": 1, "reason": "x"}]}
    problem(await central.client.post(f"{URL}/ack", json=body), 409, "epoch-changed")
    assert await quarantine(central) == []


async def test_a_refused_record_is_offered_once_as_the_whole_event_and_closed_by_its_acknowledgement(
    central: Served,
) -> None:
    # A number that Python would write otherwise than it was written.
    await append(central.store, [of_inspection("i1", "carril.inspection.opened", weight=1e16, text='"é')])
    await fill(central, 1)
    original = await event(central, 1)
    await acked(central, 2, 1)
    offer = {"epoch": central.store.epoch, "seq": 1, "offered_seq": 3}
    assert await retry(central, 1) == offer | {"new": True}
    assert await retry(central, 1) == offer | {"new": False}, "nothing is offered twice"
    assert central.store.published == 3
    assert await quarantine(central) == [(1, "schema", 1, 3)]
    offered = await event(central, 3)
    data = offered["data"]
    assert offered["type"] == REOFFERED
    assert (offered["subject"], offered["prio"]) == (original["subject"], original["prio"])
    assert (data["consumer"], data["refused_seq"], data["original"]) == ("central", 1, original)
    catalogue()[REOFFERED].model_validate(data)
    whole = (await central.client.get("/v1/records/1")).content
    assert whole in (await central.client.get("/v1/records/3")).content, "byte for byte"
    await acked(central, 2)
    assert len(await quarantine(central)) == 1, "an acknowledgement below the offer says nothing of it"
    await acked(central, 3)
    assert await quarantine(central) == []
    found = await central.client.post(f"{URL}/quarantine/1/retry")
    assert "not in the quarantine" in problem(found, 404, "not-found")["detail"]
    assert (await central.client.get("/v1/inspections/i1")).json()["state"] == "open", "the index saw it once"


@pytest.mark.parametrize("by", ["offer", "original", "both"])
async def test_refusing_an_offer_is_one_more_try_of_the_first_record(central: Served, by: str) -> None:
    await fill(central, 1)
    original = await event(central, 1)
    await acked(central, 1, 1)
    for tries in range(2, 5):
        offered = (await retry(central, 1))["offered_seq"]
        refused = {"offer": [offered], "original": [1], "both": [1, offered]}[by]
        for _ in range(2):
            await acked(central, offered, *refused, reason=f"try {tries}")
            assert await quarantine(central) == [(1, f"try {tries}", tries, None)]
        assert (await event(central, offered))["data"]["original"] == original
    assert central.store.published == 4


async def test_an_offer_to_somebody_else_can_be_refused_and_is_offered_without_its_wrapping(
    tmp_path: Path,
) -> None:
    store = await asyncio.to_thread(open_small, tmp_path, consumers=[("central", True), ("port", False)])
    async with serve(store) as central:
        await fill(central, 1)
        original = await event(central, 1)
        await acked(central, 1, 1)
        assert (await retry(central, 1))["offered_seq"] == 2
        body = {"epoch": store.epoch, "seq": 2, "nack": [{"seq": 2, "reason": "not mine"}]}
        assert (await central.client.post("/v1/consumers/port/ack", json=body)).status_code == 200
        assert [item[:3] for item in await quarantine(central)] == [(1, "schema", 1)]
        reply = await central.client.post("/v1/consumers/port/quarantine/2/retry")
        assert reply.json()["offered_seq"] == 3
        data = (await event(central, 3))["data"]
        assert (data["consumer"], data["refused_seq"], data["original"]) == ("port", 2, original)
    await asyncio.to_thread(store.close)
    assert verify(tmp_path).ok


async def test_an_offered_simulated_record_stays_withheld_from_those_who_do_not_ask(central: Served) -> None:
    await append(central.store, [draft(simulated=True, prio=0)])
    await acked(central, 1, 1)
    await retry(central, 1)
    items = (await central.client.get("/v1/feed", params=central.feed(0))).json()["items"]
    assert [item.get("withheld") for item in items] == ["simulated", "simulated"]
    asked = central.feed(0, include="simulated", prio=0)
    items = (await central.client.get("/v1/feed", params=asked)).json()["items"]
    assert items[1]["event"]["data"]["original"] == items[0]["event"]


async def test_a_record_that_is_refused_for_ever_blocks_no_other(central: Served) -> None:
    await fill(central, 30)
    taken: set[int] = set()
    after, poison = 0, 7
    for _ in range(12):
        page = (await central.client.get("/v1/feed", params=central.feed(after, limit=9))).json()
        assert [item["seq"] for item in page["items"]] == list(range(after + 1, page["next"] + 1))
        refused = []
        for item in page["items"]:
            original = item["event"]["data"].get("original", item["event"])
            if original["id"].endswith(f":{poison}"):
                refused.append(item["seq"])
            else:
                taken.add(int(original["sequence"]))
        after = page["next"]
        await acked(central, after, *refused)
        if after > poison:
            await retry(central, poison)
    assert taken == set(range(1, 31)) - {poison}
    ((seq, _, tries, offered),) = await quarantine(central)
    assert (seq, offered) == (poison, central.store.published)
    assert tries > 3


async def test_the_quarantine_comes_in_pages(central: Served) -> None:
    await fill(central, 25)
    await acked(central, 25, *range(1, 26, 2))
    after, seen = 0, []
    while True:
        params = {"after": after, "limit": 5}
        page = (await central.client.get(f"{URL}/quarantine", params=params)).json()
        seen += [item["seq"] for item in page["items"]]
        after = page["next"]
        if not page["more"]:
            break
    assert seen == list(range(1, 26, 2))
    problem(await central.client.get(f"{URL}/quarantine?limit=1001"), 400, "bad-parameter")
    problem(await central.client.get("/v1/consumers/nobody/quarantine"), 404, "not-found")
    problem(await central.client.post("/v1/consumers/nobody/quarantine/1/retry"), 404, "not-found")
    problem(await central.client.post(f"{URL}/quarantine/0/retry"), 400, "bad-parameter")


async def test_a_damaged_record_stays_in_quarantine_and_is_offered_to_nobody(
    central: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(central, 2)
    await acked(central, 2, 1)
    monkeypatch.setattr("station.store.chain.Row.sound", lambda self, epoch: False)
    found = problem(await central.client.post(f"{URL}/quarantine/1/retry"), 410, "damaged")
    assert "stays in quarantine" in found["detail"]
    assert (await quarantine(central), central.store.published) == ([(1, "schema", 1, None)], 2)


async def test_a_record_that_was_removed_cannot_be_refused(central: Served) -> None:
    await fill(central, 6)
    await acked(central, 6, 2)

    def trim() -> Any:
        class Trim:
            size, records, vital = 1, 0, False

            def prepare(self) -> None: ...

            def apply(self, tx: Any) -> None:
                tx.connection.execute("DELETE FROM record WHERE seq IN (1, 3, 4)")
                tx.connection.execute("UPDATE head SET anchor_seq = 4")

        return Trim()

    await central.store.run(trim)
    found = problem(await ack(central, 6, 3), 422, "invalid")
    assert "body.nack.0.seq: is removed" in found["detail"]
    assert "5 is the oldest" in found["detail"]
    # A repeat of what was accepted is none.
    await acked(central, 6, 2)
    assert (await retry(central, 2))["offered_seq"] == 7


async def test_health_and_metrics_count_what_is_refused(
    central: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(central, 4)
    await acked(central, 3, 1, 2)

    async def told() -> dict[str, Any]:
        found: dict[str, Any] = (await central.client.get("/v1/health")).json()["consumers"]["central"]
        return found

    assert await told() == {"depth": 1, "refused": 2, "receipts_missing": None, "reasons": []}
    lines = (await central.client.get("/metrics")).text.splitlines()
    assert 'carril_store_refused_records{consumer="central"} 2.0' in lines
    monkeypatch.setattr("station.api.health.MANY_REFUSED", 1)
    assert (await told())["reasons"] == ["refused_records"]
    monkeypatch.setattr(nacks, "COUNTED", 0)
    assert (await told())["refused"] == 1, "a count never reads a whole table"


async def test_health_is_told_while_the_journal_cannot_be_read(
    central: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    from station.store.errors import StoreUnavailable

    async def broken(_: object) -> None:
        raise StoreUnavailable("The journal is not open.")

    monkeypatch.setattr(type(central.store), "read", lambda self, fn: broken(fn))
    found = (await central.client.get("/v1/health")).json()["consumers"]["central"]
    assert found == {"depth": 0, "refused": None, "receipts_missing": None, "reasons": []}
    text = (await central.client.get("/metrics")).text
    assert "carril_store_refused_records{" not in text, "what is not known is not 0"
