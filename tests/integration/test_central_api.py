"""The rest of the central interface, and who may use it."""

from __future__ import annotations

import asyncio
import json

import pytest

from station.domain.schemas import catalogue
from station.store import readers
from station.store.errors import StoreUnavailable
from tests.support.journal import append, draft, of_inspection
from tests.support.served import Served, ack, problem


async def test_a_client_begins_at_the_index(central: Served) -> None:
    for _ in range(3):
        await append(central.store, [draft()])
    assert (await central.client.get("/v1")).json() == {
        "station": "LAR-04",
        "epoch": central.store.epoch,
        "first_seq": 1,
        "oldest": 1,
        "head": 3,
        "clock": "sync",
        "head_key": central.store.head_key,
        "api": "1.0",
        "limits": {"limit": 2000, "wait": 30, "page_bytes": 4194304},
    }


# --- consumers ------------------------------------------------------------------------------------


async def test_acknowledging_is_cumulative_and_idempotent(central: Served) -> None:
    for _ in range(5):
        await append(central.store, [draft()])
    epoch = central.store.epoch
    known = {"epoch": epoch, "acked": 0, "required": True}
    assert (await central.client.get("/v1/consumers/central")).json() == known
    assert (await ack(central, 3)).json() == {"epoch": epoch, "acked": 3, "moved": True}
    assert (await ack(central, 3)).json() == {"epoch": epoch, "acked": 3, "moved": False}
    assert (await ack(central, 1)).json() == {"epoch": epoch, "acked": 3, "moved": False}
    assert (await central.client.get("/v1/consumers/central")).json() == known | {"acked": 3}
    health = (await central.client.get("/v1/health")).json()
    assert health["consumers"]["central"]["depth"] == 2


async def test_reading_never_acknowledges(central: Served) -> None:
    await append(central.store, [draft()])
    await central.client.get("/v1/feed", params=central.feed(0))
    assert (await central.client.get("/v1/consumers/central")).json()["acked"] == 0


async def test_a_lying_consumer_changes_nothing(central: Served) -> None:
    await append(central.store, [draft()])
    assert problem(await ack(central, 2), 409, "beyond-head")["head"] == 1
    changed = problem(await ack(central, 1, epoch="0" * 32), 409, "epoch-changed")
    assert changed["epoch"] == central.store.epoch
    assert (await central.client.get("/v1/consumers/central")).json()["acked"] == 0
    problem(await central.client.get("/v1/consumers/nobody"), 404, "not-found")
    body = {"epoch": central.store.epoch, "seq": 1}
    problem(await central.client.post("/v1/consumers/nobody/ack", json=body), 404, "not-found")


async def test_concurrent_acknowledgements_end_at_the_highest(central: Served) -> None:
    for _ in range(40):
        await append(central.store, [draft()])
    replies = await asyncio.gather(*(ack(central, seq) for seq in (7, 31, 2, 40, 19, 40, 1)))
    assert all(reply.status_code == 200 for reply in replies)
    assert central.store.acked == {"central": 40}


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"[]", "body"),
        (b"[" * 100_000, "body"),
        (b'{"seq":' * 100_000, "body"),
        (b"\xff\xfe", "body"),
        (b'{"epoch":"x"}', "body.seq"),
        (b'{"epoch":"x","seq":1}', "body.epoch"),
        (b'{"epoch":"%b","seq":"1"}', "body.seq"),
        (b'{"epoch":"%b","seq":true}', "body.seq"),
        (b'{"epoch":"%b","seq":1.5}', "body.seq"),
        (b'{"epoch":"%b","seq":9007199254740992.0}', "body.seq"),
        (b'{"epoch":"%b","seq":-1}', "body.seq"),
        (b'{"epoch":"%b","seq":9007199254740992}', "body.seq"),
        (b'{"epoch":"%b","seq":1,"nacks":[]}', "body.nacks"),
    ],
)
async def test_a_malformed_acknowledgement_names_its_field(
    central: Served, content: bytes, field: str
) -> None:
    content = content.replace(b"%b", central.store.epoch.encode())
    headers = {"Content-Type": "application/json"}
    reply = await central.client.post("/v1/consumers/central/ack", content=content, headers=headers)
    found = problem(reply, 422, "invalid")
    assert field in [error["field"] for error in found["errors"]], found


async def test_a_body_of_another_type_is_told_which_type_it_must_be(central: Served) -> None:
    body = json.dumps({"epoch": central.store.epoch, "seq": 0})
    reply = await central.client.post(
        "/v1/consumers/central/ack", content=body, headers={"Content-Type": "text/plain"}
    )
    found = problem(reply, 422, "invalid")
    assert found["detail"] == "body: must be JSON, with Content-Type: application/json and not 'text/plain'"


@pytest.mark.parametrize(
    ("path", "field", "sentence"),
    [
        ("/v1?x=1", "x", "is unknown: none is taken here"),
        ("/v1/health?limit=1", "limit", "is unknown: none is taken here"),
        ("/v1/records/1?after=1", "after", "is unknown: none is taken here"),
        ("/v1/inspections?plates=AB", "plates", "is unknown here; known are plate, container, after"),
        ("/v1/inspections?plate=A&plate=B", "plate", "stands more than once"),
        ("/v1/feed?after=0&epoch=0&offset=3", "offset", "is unknown here; known are after, epoch, limit"),
        ("/v1/feed?after=0&epoch=0&since=2026-01-01", "since", "is unknown here"),
        ("/v1/feed?after=0&after=5&epoch=0", "after", "stands more than once"),
    ],
)
async def test_no_parameter_is_ignored(central: Served, path: str, field: str, sentence: str) -> None:
    found = problem(await central.client.get(path), 400, "bad-parameter")
    assert [(error["field"]) for error in found["errors"]] == [f"query.{field}"]
    assert sentence in found["detail"]


async def test_metrics_are_served_while_the_journal_cannot_be_read(
    central: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: object) -> None:
        raise StoreUnavailable("The journal is not open.")

    monkeypatch.setattr(type(central.store), "read", lambda self, fn: broken(fn))
    reply = await central.client.get("/metrics")
    assert reply.status_code == 200
    assert 'carril_store_acked_seq{consumer="central"}' in reply.text
    assert "carril_store_oldest_unacked_seconds{" not in reply.text, "what is not known is not 0"
    problem(await central.client.get("/v1"), 503, "store-unavailable")


# --- records and inspections ----------------------------------------------------------------------


async def test_a_record_is_the_exact_bytes_that_were_hashed(central: Served) -> None:
    await append(central.store, [draft(n=1.0, text="é")])
    reply = await central.client.get("/v1/records/1")
    (row,) = await central.store.records_after(0)
    assert reply.content == row.body
    assert reply.headers["content-type"] == "application/cloudevents+json"
    assert reply.headers["etag"] == f'"{row.hash.hex()}"'
    problem(await central.client.get("/v1/records/2"), 404, "not-found")
    for wrong in ("0", "x", "-1"):
        problem(await central.client.get(f"/v1/records/{wrong}"), 400, "bad-parameter")


PLATE = {"identity": {"status": "accepted", "plate": {"text": "AB 12-34"}, "container": None}}
BOX = {
    "identity": {"status": "accepted", "plate": {"text": "AB 12-34"}, "container": {"text": "CSQU3054383"}}
}


async def test_inspections_are_found_by_what_their_records_say_last(central: Served) -> None:
    opened, resolved, sealed = (
        f"carril.{name}" for name in ("inspection.opened", "identity.resolved", "inspection.sealed")
    )
    await append(central.store, [of_inspection("i1", opened), of_inspection("i1", resolved, **PLATE)])
    await append(central.store, [of_inspection("i2", opened), of_inspection("i2", resolved, **BOX)])
    await append(central.store, [of_inspection("i1", sealed, **PLATE)])
    # An amendment never reopens what is sealed.
    await append(central.store, [of_inspection("i1", "carril.inspection.amended")])

    async def search(**parameters: str) -> list[tuple[str, str, int]]:
        reply = await central.client.get("/v1/inspections", params=parameters)
        assert reply.status_code == 200, reply.text
        return [(item["id"], item["state"], item["last_seq"]) for item in reply.json()["items"]]

    both = [("i2", "open", 4), ("i1", "sealed", 6)]
    assert await search() == both
    assert await search(plate="ab1234") == both
    assert await search(container="csqu 305438-3") == both[:1]
    assert await search(plate="AB1234", container="CSQU3054383") == both[:1]
    assert await search(plate="AB123") == []
    for nothing in ("", "---", " "):
        problem(await central.client.get("/v1/inspections", params={"plate": nothing}), 400, "bad-parameter")
    one = (await central.client.get("/v1/inspections/i1")).json()
    assert one["plate"] == "AB1234"
    assert [(line["seq"], line["type"]) for line in one["records"]] == [
        (1, opened),
        (2, resolved),
        (5, sealed),
        (6, "carril.inspection.amended"),
    ]
    problem(await central.client.get("/v1/inspections/i3"), 404, "not-found")
    found = problem(await central.client.get("/v1/inspections?since=yesterday"), 400, "bad-parameter")
    assert found["errors"][0]["field"] == "query.since"


async def found_by(central: Served, **parameters: str) -> list[str]:
    reply = await central.client.get("/v1/inspections", params=parameters)
    assert reply.status_code == 200, reply.text
    return [item["id"] for item in reply.json()["items"]]


@pytest.mark.parametrize("typed", ["QO0-I1", "000 11", "oq011"])
async def test_a_plate_is_found_as_holds_are_matched(central: Served, typed: str) -> None:
    read = {"identity": {"plate": {"text": "OO0 1I"}}}
    await append(central.store, [of_inspection("i1", "carril.inspection.opened", **read)])
    assert await found_by(central, plate=typed) == ["i1"]
    assert await found_by(central, plate="OO0 12") == []
    one = (await central.client.get("/v1/inspections/i1")).json()
    assert one["plate"] == "OO01I", "told as it was read"


async def test_a_vehicle_is_found_by_each_container_of_its_manifest(central: Served) -> None:
    """Nobody read them: the answer says that they are declared."""

    async def matched(name: str, status: str, *equipment: str) -> None:
        record = of_inspection(name, "carril.manifest.matched", status=status, equipment=list(equipment))
        await append(central.store, [record])

    for name in ("i1", "i2"):
        await append(central.store, [of_inspection(name, "carril.inspection.opened")])
    await matched("i1", "partial", "CSQU 305438-3", "msku9070323", "CSQU3054383")
    await matched("i2", "matched", "MSKU9070323")
    assert await found_by(central, container="CSQU3054383") == ["i1"]
    assert await found_by(central, container="MSKU 907032-3") == ["i2", "i1"]
    assert await found_by(central, container="MSKU9070323", after="2") == ["i1"]
    assert await found_by(central, container="MSKU9070324") == []
    one = (await central.client.get("/v1/inspections/i1")).json()
    assert (one["container"], one["declared"]) == ("", ["CSQU3054383", "MSKU9070323"])
    # Papers that are not surely its own are not its papers.
    await matched("i1", "ambiguous", "CSQU3054383")
    await append(central.store, [of_inspection("i1", "carril.inspection.sealed")])
    assert await found_by(central, container="CSQU3054383") == []
    await matched("i2", "none")
    assert await found_by(central, container="MSKU9070323") == []


async def test_the_history_of_the_lane_is_not_read_for_an_inspection(
    central: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(10):
        await append(central.store, [draft("lane") for _ in range(100)])
    await append(central.store, [of_inspection("i1", "carril.inspection.opened")])
    monkeypatch.setattr(readers, "LIMIT_S", 0.0)  # what takes more than a few steps is broken off
    for path in ("lane", "lane/n42"):
        problem(await central.client.get(f"/v1/inspections/{path}"), 404, "not-found")
    assert (await central.client.get("/v1/inspections/i1")).status_code == 200


@pytest.mark.parametrize(
    ("verdict", "state"),
    [("release", "decided"), ("secondary", "referred_secondary"), ("hold", "awaiting_decision")],
)
async def test_only_an_executed_order_changes_the_state(central: Served, verdict: str, state: str) -> None:
    for name, data in (
        ("inspection.opened", {}),
        ("decision.requested", {}),
        ("decision.recorded", {"verdict": verdict}),
    ):
        await append(central.store, [of_inspection("i1", f"carril.{name}", **data)])
    assert (await central.client.get("/v1/inspections/i1")).json()["state"] == state


async def test_a_long_list_of_inspections_goes_on(central: Served) -> None:
    opened = [of_inspection(f"i{n}", "carril.inspection.opened") for n in range(250)]
    for start in range(0, 250, 50):
        await append(central.store, opened[start : start + 50])
    seen: list[str] = []
    after: dict[str, str] = {}
    for _ in range(3):
        found = (await central.client.get("/v1/inspections", params=after)).json()
        seen += [item["id"] for item in found["items"]]
        after = {"after": found["next"]}
    assert seen == [f"i{n}" for n in reversed(range(250))]
    assert found["next"] is None


# --- schemas, health, metrics ---------------------------------------------------------------------


async def test_every_event_has_its_schema(central: Served) -> None:
    names = (await central.client.get("/v1/schemas")).json()["items"]
    assert len(names) == len(catalogue())
    for name in names:
        schema = (await central.client.get(f"/v1/schemas/{name}")).json()
        assert schema["$id"] == f"urn:carril:schema:{name}"
    assert (await central.client.get("/v1/schemas/inspection.sealed")).status_code == 200
    for wrong in ("inspection.sealed:9", "nonsense", "inspection.sealed:x"):
        problem(await central.client.get(f"/v1/schemas/{wrong}"), 404, "not-found")


async def test_health_says_how_each_part_is(central: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    await append(central.store, [draft()])
    assert (await central.client.get("/healthz")).json() == {"status": "ok"}
    found = (await central.client.get("/v1/health")).json()
    assert (found["lane"], found["reasons"]) == ("ok", [])
    assert found["devices"] == {"rpm1": "online"}
    assert found["store"]["state"] == "open"
    assert 0 < found["store"]["quota"] < 0.01
    central.lane.silent_s = 6.0
    silent = await central.client.get("/healthz")
    assert "The lane has given no sign of life for 6 s" in problem(silent, 503, "silent")["detail"]
    central.lane.silent_s = 0.0
    monkeypatch.setattr(type(central.store), "silent_s", 7.0)
    assert "The journal" in problem(await central.client.get("/healthz"), 503, "silent")["detail"]


async def test_metrics_count_what_happened(central: Served) -> None:
    for _ in range(4):
        await append(central.store, [draft(), draft()])
    await ack(central, 3)
    reply = await central.client.get("/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=")
    lines = reply.text.splitlines()
    for line in (
        'carril_inspections_sealed_total{lane="LAR-04",simulated="true"} 3.0',
        'carril_inspections_sealed_total{lane="LAR-04",simulated="false"} 0.0',
        'carril_device_state{device="rpm1",state="online"} 1.0',
        "carril_store_head_seq 8.0",
        'carril_store_acked_seq{consumer="central"} 3.0',
        "carril_store_epochs_total 0.0",
        'carril_store_fsync_total{file="mark"} 4.0',
        'carril_store_fsync_total{file="wal"} 5.0',
        "carril_store_group_records_sum 8.0",
        "carril_store_group_records_count 4.0",
        'carril_store_group_records_bucket{le="2.0"} 4.0',
        "carril_store_commit_seconds_count 5.0",
    ):
        assert line in lines, line
    (age,) = (line for line in lines if line.startswith("carril_store_oldest_unacked_seconds{"))
    assert 0 <= float(age.split()[1]) < 60
