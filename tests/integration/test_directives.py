"""Signed directives against a running station: taken if genuine and newer, kept over a kill, in force."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.directives import OF_NOW, public_text, signed, terms
from tests.support.station import Reply, Station, running_station, short_trucks

KEY, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
PLATE = "LXR 4802"
LEGAL = {"hold_kind": "legal", "authority": "Customs", "keys": {"plate": "lxr-4802"}, "action": "hold"}


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    public = public_text(KEY)
    issuer = f'\n[[issuer]]\nname = "central"\nkey = "{public}"\nkinds = ["hold", "manifest"]\n'
    issuer += f'\n[[issuer]]\nname = "other"\nkey = "{public}"\nkinds = ["hold"]\n'
    with running_station(tmp_path, rate=5.0, options=short_trucks(tmp_path), more=issuer) as running:
        yield running


def hold(name: str, version: int = 1, key: Ed25519PrivateKey = KEY, **change: Any) -> dict[str, Any]:
    """A signed directive without its id."""
    return signed(name, key, terms(**{"kind": "hold", "version": version, "body": LEGAL, **OF_NOW, **change}))


def put(station: Station, name: str, body: dict[str, Any]) -> Reply:
    return station.call("PUT", f"/v1/directives/{name}", body)


def test_only_what_is_signed_and_newer_is_taken(station: Station) -> None:
    sent = hold("H-1")
    first = put(station, "H-1", sent)
    assert (first.status, first.json()["state"]) == (201, "received")
    again = put(station, "H-1", sent)
    assert (again.status, again.json()["record"]) == (200, first.json()["record"])
    (received,) = station.records("directive.received")
    assert received["seq"] == first.json()["record"]["seq"]
    assert received["envelope"] == {**sent, "id": "H-1"}
    station.until(lambda: station.records("directive.armed"), "it is in force")
    for body, status, name in (
        (hold("H-1", key=OTHER), 403, "forbidden"),
        (hold("H-2"), 403, "forbidden"),  # signed under another name
        (hold("H-1", issuer="urn:carril:client:nobody"), 403, "forbidden"),
        ({**sent, "body": {**sent["body"], "action": "notify"}}, 403, "forbidden"),
        (hold("H-1", body={**sent["body"], "action": "notify"}), 409, "version-conflict"),
        (hold("H-1", kind="release"), 422, "invalid"),
        (hold("H-1", version=True), 422, "invalid"),
        ({**sent, "more": 1}, 422, "invalid"),
    ):
        reply = put(station, "H-1", body)
        assert (reply.status, reply.json()["type"]) == (status, f"urn:carril:problem:{name}"), body
    assert put(station, "H-1", hold("H-1", body={**sent["body"], "action": "notify"})).json()["version"] == 1
    assert len(station.records("directive.received")) == 1, "what was refused changed nothing"
    assert station.get("/v1/directives/H-1").json()["state"] == "armed"
    assert station.get("/v1/directives/H-9").status == 404
    batch = {"items": [{**hold("H-3"), "id": "H-3"}, {**hold("H-4"), "id": "H-5"}, {"id": "H-6"}]}
    key = {"Idempotency-Key": "one-batch"}
    first = station.call("POST", "/v1/directives:batch", batch, key)
    results = first.json()["results"]
    assert [(each["id"], each["status"]) for each in results] == [("H-3", 201), ("H-5", 403), ("H-6", 422)]
    assert results[2]["problem"]["errors"][0]["field"] == "body.kind"
    again = station.call("POST", "/v1/directives:batch", batch, key)
    assert (again.status, again.body) == (200, first.body), "H-3 is not merely known by now"
    other = station.call("POST", "/v1/directives:batch", {"items": batch["items"][:1]}, key)
    assert (other.status, other.json()["type"]) == (409, "urn:carril:problem:key-reused")
    unnamed = station.call("POST", "/v1/directives:batch", batch).json()["results"]
    assert [each["status"] for each in unnamed] == [200, 403, 422]
    wrong = put(station, "H-1", hold("H-1", version=True)).json()["errors"]
    assert [error["field"] for error in wrong] == ["body.version"], "a path in what was sent"
    odd = [{"id": "H-4", **hold("H-4")}, {"id": "M-1", **hold("M-1"), "version": 1e999}]
    results = station.call("POST", "/v1/directives:batch", {"items": odd}).json()["results"]
    assert [result["status"] for result in results] == [201, 422], "each is taken or refused by itself"
    for taken in ("lane", "DEMO-01", "rpm1", "statistics.2026-01-01", "0192F0C1-7b2e-7abc-8def-0123456789ab"):
        reply = put(station, taken, hold(taken))
        assert (reply.status, reply.json()["errors"][0]["field"]) == (422, "body.id"), taken
        assert "other records" in reply.json()["detail"]
    for far in ({"valid_to": "2255-01-01T00:00:00Z"}, {"issued_at": "2025-01-01T00:00:00Z"}):
        reply = put(station, "H-7", hold("H-7", **far))
        assert (reply.status, reply.json()["errors"][0]["field"]) == (422, "body.valid_to"), far
        assert "400 days" in reply.json()["detail"]
    # An id stays its issuer's and its kind's also when it is closed.
    over: Any = {"issued_at": "2026-02-01T00:00:00Z", "valid_to": "2026-02-01T00:00:00Z"}
    assert put(station, "H-1", hold("H-1", 2, **over)).status == 200
    other = put(station, "H-1", hold("H-1", 3, issuer="urn:carril:client:other"))
    assert (other.status, other.json()["type"]) == (409, "urn:carril:problem:refused")
    # Sent at one moment, the newest stands, whatever the order in which they come.
    with ThreadPoolExecutor(6) as pool:
        for number in range(5):
            name = f"R-{number}"
            sends = [(name, hold(name, version)) for version in (3, 2, 5, 4, 1, 6)]
            replies = list(pool.map(lambda send: put(station, *send), sends))
            assert {reply.status for reply in replies} <= {200, 201, 409}
            assert station.get(f"/v1/directives/{name}").json()["version"] == 6


MANIFEST = {
    "source": "ace_truck",
    "trip_no": "SCAC12345",
    "mode": "truck",
    "direction": "in",
    "port": "2304",
    "accepted_at": "2026-01-01T00:00:00.250Z",
    "conveyance": {"plate": PLATE},
    "equipment": [{"no": "CSQU3054383", "tare_kg": 2250, "seals": [{"no": "7", "class": "H"}]}],
    "shipments": [
        {
            "description": "Azulejos, 1\u202f250 m²",
            "gross_kg": 21450.5,
            "hazmat": [{"un": "2910", "class": "7"}],
        }
    ],
}


def test_a_manifest_is_kept_as_it_was_signed_and_held_against_its_vehicle(station: Station) -> None:
    sent = hold("M-1", kind="manifest", body=MANIFEST)
    assert put(station, "M-1", sent).status == 201
    assert station.get("/v1/directives/M-1").json()["envelope"] == {**sent, "id": "M-1"}
    refused = put(
        station, "M-2", hold("M-2", kind="manifest", body=MANIFEST, issuer="urn:carril:client:other")
    )
    assert (refused.status, refused.json()["type"]) == (403, "urn:carril:problem:forbidden")
    wrong = put(station, "M-3", hold("M-3", kind="manifest", body={**MANIFEST, "mode": "boat"}))
    assert wrong.status == 422
    assert "mode" in wrong.json()["errors"][0]["field"]
    with station.officer_away():
        while not (found := station.records("manifest.matched", directive_id="M-1")):
            station.send_on(station.next_vehicle())
    assert (found[0]["status"], found[0]["timeliness"]) in (("partial", "on_time"), ("partial", "unknown"))
    station.until(
        lambda: station.records("directive.closed", directive_id="M-1", how="done"), "it is used up", 20
    )
    (vehicle,) = station.get("/v1/inspections?container=csqu-305438-3").json()["items"]
    assert (vehicle["id"], vehicle["declared"]) == (found[0]["inspection_id"], ["CSQU3054383"])
    sealed = station.records("inspection.sealed", inspection_id=found[0]["inspection_id"])[0]
    assert "manifest_partial" in [reason["code"] for reason in sealed["recommendation"]["reasons"]]
    others = {record["coverage"]["manifest"]["state"] for record in station.records("inspection.sealed")} - {
        "done"
    }
    assert others <= {"failed"}


def test_a_hold_outlives_a_kill_and_stops_the_vehicle_that_it_names(station: Station) -> None:
    assert put(station, "H-1", hold("H-1")).status == 201
    station.kill()
    station.start()
    with station.officer_away():

        def stopped() -> Any:
            seen = station.lane()["inspection"] or {}
            if seen.get("state") != "awaiting_decision":
                return None
            plate = (seen["identity"]["plate"] or {}).get("text")
            if plate != PLATE:
                station.decide("secondary", seen)
                return None
            return seen

        seen = station.until(stopped, "the vehicle that is named stands in the lane", 60)
        assert seen["level"] == "hold"
        assert seen["reasons"][0]["args"]["directive"] == "H-1"
        assert station.decide("release", seen).json()["type"] == "urn:carril:problem:release-locked"
        (hit,) = station.records("directive.hit", inspection_id=seen["inspection_id"])
        assert (hit["directive_id"], hit["keys"]) == ("H-1", ["plate"])
    assert {hit["inspection_id"] for hit in station.records("directive.hit")} == {seen["inspection_id"]}
    assert [each["directive_version"] for each in station.records("directive.armed")] == [1], (
        "armed once for all"
    )
