"""The routes that take directives, before any lane: what is wrong is named alike, and read off the loop."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from pydantic import TypeAdapter

from station.api.directives import directives_router
from station.api.problems import handle_problems
from station.domain import signed
from station.domain.directives import Envelope
from tests.support.directives import MANIFEST, SIG, terms

HOLD = {"hold_kind": "legal", "authority": "Court", "keys": {"plate": "R4K7719"}, "action": "hold"}
LARGEST = 2**53 - 1


@pytest.fixture
async def central() -> AsyncIterator[httpx2.AsyncClient]:
    """A station that knows no issuer: what is sound is forbidden, and no lane is asked."""
    app = FastAPI()
    handle_problems(app)
    app.include_router(directives_router(None, None, {}))  # type: ignore[arg-type]
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://station") as client:
        yield client


def sent(kind: str = "hold", **change: Any) -> dict[str, Any]:
    return {**terms(kind, sig=SIG, body=HOLD if kind == "hold" else MANIFEST), **change}


def without(name: str) -> dict[str, Any]:
    return {member: value for member, value in sent().items() if member != name}


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (sent(version="1"), "body.version"),
        (sent(version=LARGEST + 1), "body.version"),
        (sent(body={**HOLD, "keys": {"plate": 7}}), "body.body.keys.plate"),
        (sent(body={**HOLD, "ack_within_s": LARGEST + 1}), "body.body.ack_within_s"),
        (sent(more=1), "body.more"),
        (sent(kind="nonsense"), "body.kind"),
        (without("kind"), "body.kind"),
        (without("body"), "body.body"),
        (sent("manifest", body={**MANIFEST, "consist": [{"seq": LARGEST + 1}]}), "body.body.consist.0.seq"),
        (
            sent("manifest", body={**MANIFEST, "shipments": [{"qty": LARGEST + 1}]}),
            "body.body.shipments.0.qty",
        ),
        (sent(valid_from="2027-01-01T00:00:00Z", valid_to="2026-12-31T00:00:00Z"), "body"),
        (sent(valid_from="2025-02-01T00:00:00Z", valid_to="2025-01-01T00:00:00Z"), "body"),
    ],
)
async def test_a_wrong_field_has_one_name(
    central: httpx2.AsyncClient, wrong: dict[str, Any], field: str
) -> None:
    alone = await central.put("/v1/directives/D-1", json=wrong)
    batch = await central.post("/v1/directives:batch", json={"items": [{**wrong, "id": "D-1"}]})
    (result,) = batch.json()["results"]
    assert (alone.status_code, result["status"]) == (422, 422)
    assert [error["field"] for error in alone.json()["errors"]] == [field]
    assert result["problem"] == alone.json()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1", b'{"kind":"hold","id":"D-1"}'])
async def test_what_is_no_directive_at_all_is_refused(central: httpx2.AsyncClient, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    reply = await central.put("/v1/directives/D-1", content=body, headers=headers)
    assert (reply.status_code, reply.json()["type"]) == (422, "urn:carril:problem:invalid")


async def test_a_text_that_is_none_is_refused(central: httpx2.AsyncClient) -> None:
    """Half of a surrogate pair cannot be signed."""
    wrong = sent(body={**HOLD, "case_ref": "\ud800"})
    headers = {"Content-Type": "application/json"}
    reply = await central.put("/v1/directives/D-1", content=json.dumps(wrong), headers=headers)
    assert [error["field"] for error in reply.json()["errors"]] == ["body.body.case_ref"]


@pytest.mark.parametrize("name", ["\ud800", "", "no name", 7, None, ["D-1"]])
async def test_what_is_no_name_costs_its_neighbours_nothing(central: httpx2.AsyncClient, name: Any) -> None:
    sound = {**sent(), "id": "D-1"}
    content = json.dumps({"items": [sound, {**sent(), "id": name}, sound]})
    headers = {"Content-Type": "application/json"}
    reply = await central.post("/v1/directives:batch", content=content, headers=headers)
    results = reply.json()["results"]
    assert [(each["id"], each["status"]) for each in results] == [("D-1", 403), (None, 422), ("D-1", 403)]


async def test_what_is_sent_is_checked_off_the_loop(
    central: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long one takes its time, and devices wait for nobody."""
    threads, check = set[int](), signed._without_point

    def noted(value: Any) -> Any:
        if not isinstance(value, list):  # a batch is only counted, its directives are not looked into
            threads.add(threading.get_ident())
        return check(value)

    monkeypatch.setattr(signed, "_without_point", noted)
    assert (await central.put("/v1/directives/D-1", json=sent())).status_code == 403
    await central.post("/v1/directives:batch", json={"items": [{**sent("manifest"), "id": "D-1"}]})
    assert threads
    assert threading.get_ident() not in threads


def numbers(schema: Any) -> list[dict[str, Any]]:
    """Every description of a number."""
    if isinstance(schema, list):
        return [found for each in schema for found in numbers(each)]
    if not isinstance(schema, dict):
        return []
    own = [schema] if schema.get("type") in ("integer", "number") else []
    return own + [found for each in schema.values() for found in numbers(each)]


def test_every_number_of_a_directive_has_bounds_within_which_json_is_exact() -> None:
    found = numbers(TypeAdapter(Envelope).json_schema())
    assert len(found) > 10
    for number in found:
        assert 0 <= number["minimum"] <= number["maximum"] <= LARGEST, number
