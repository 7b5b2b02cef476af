"""The demonstration as a central system and a screen see it: sealed, delivered, provable, resumable."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.station import Station, running_station

COMMANDS = ("plate.read", "scan.completed", "occupancy.ended", "decision.requested")


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    with running_station(tmp_path) as running:
        yield running


class Screen:
    """One event stream (SSE) as a screen reads it."""

    def __init__(self, station: Station, last_event_id: str) -> None:
        self._link = http.client.HTTPConnection("127.0.0.1", station.port, timeout=10)
        self._link.request("GET", "/v1/lane/events", headers={"Last-Event-ID": last_event_id})
        self._reply = self._link.getresponse()
        assert self._reply.status == 200

    def next(self) -> tuple[str, str | None, Any]:
        """Return kind, id and data of the next event."""
        fields: dict[str, str] = {}
        while line := self._reply.readline().decode().rstrip("\n"):
            name, _, value = line.partition(": ")
            fields[name] = value
        return fields["event"], fields.get("id"), json.loads(fields["data"])

    def records(self) -> Iterator[tuple[str, Any]]:
        """Return the id and data of the records only, for ever."""
        while True:
            kind, event_id, data = self.next()
            if kind == "record":
                assert event_id is not None
                yield event_id, data

    def cut(self) -> None:
        """End the connection as a lost network would, without another word."""
        self._reply.close()
        self._link.close()


@pytest.mark.timeout(180)
def test_the_first_truck_is_sealed_delivered_and_proven(station: Station) -> None:
    def clear() -> list[Any]:
        # A computer that stands still for a moment leaves a gap in the counts: not clear, rightly.
        found = station.records("inspection.sealed", outcome="decided")
        return [sealed for sealed in found if sealed["recommendation"]["level"] == "clear"]

    sealed = station.until(clear, "a clear truck is sealed", 100)[0]
    assert sealed["decision"]["officer"] == "DEMO-1"
    assert sealed["identity"]["plate"]["status"] == "accepted"
    coverage = {name: check["state"] for name, check in sealed["coverage"].items()}
    assert {coverage[name] for name in ("rpm", "scanner", "lpr")} == {"done"}
    assert sealed["simulated"] is True

    opened = station.records("inspection.opened", inspection_id=sealed["inspection_id"])[0]["seq"]
    kinds = [r["type"].removeprefix("carril.") for r in station.feed() if opened < r["seq"] < sealed["seq"]]
    for kind in COMMANDS:
        assert kind in kinds, f"{kind} is missing between opened and sealed"
    assert kinds.index("decision.requested") < kinds.index("decision.recorded") < kinds.index("barrier.moved")

    roles = {use["role"] for use in sealed["blobs"]}
    assert roles >= {"photo", "plate", "event", "preview", "raw", "trace"}
    for use in sealed["blobs"]:
        reply = station.get(f"/v1/blobs/{use['sha256']}")
        assert reply.status == 200
        assert hashlib.sha256(reply.body).hexdigest() == use["sha256"], use["role"]
        assert len(reply.body) == use["bytes"]
        part = station.get(f"/v1/blobs/{use['sha256']}", Range="bytes=10-29")
        assert (part.status, part.body) == (206, reply.body[10:30])

    scan = sealed["scan"]
    facts = station.get(f"/v1/scans/{scan['scan_id']}/image").json()
    assert (facts["complete"], facts["width"]) == (True, scan["lines"]), "it can still be looked at"
    columns = station.get(f"/v1/scans/{scan['scan_id']}/columns?from=0&to=64&level=0").body
    image = np.load(io.BytesIO(station.get(f"/v1/blobs/{scan['image']}").body))
    assert columns == image[:64].astype("<u2").tobytes(), "the screen's columns are the stored image"

    flags = station.get(f"/v1/scans/{scan['scan_id']}/columns?from=0&to=64&level=0&kind=flags").body
    assert flags == np.load(io.BytesIO(station.get(f"/v1/blobs/{scan['flags']}").body))[:64].tobytes()

    def delivered() -> bool:
        acked = station.get("/v1/consumers/central").json()["acked"]
        return bool(acked >= sealed["seq"] and station.lane()["centre"]["waiting"] == 0)

    station.until(delivered, "the centre has everything", 10)
    assert station.lane()["centre"]["state"] == "connected"
    one = station.get(f"/v1/inspections/{sealed['inspection_id']}").json()
    assert one["state"] == "sealed"
    assert station.carril("verify").returncode == 0, "also while it runs"


def test_a_decision_is_carried_out_once_and_a_stale_one_not_at_all(station: Station) -> None:
    with station.officer_away():
        seen = station.until_state("awaiting_decision")
        key = str(uuid.uuid4())
        first = station.decide("secondary", seen, key)
        assert first.status == 201, first.body
        again = station.decide("secondary", seen, key)
        assert (again.status, again.body) == (201, first.body), "a repeat gets the first answer"
        other = station.decide("hold", seen, key)
        assert (other.status, other.json()["type"]) == (409, "urn:carril:problem:key-reused")

        stale = station.decide("release", {**seen, "version": seen["version"] - 1})
        assert (stale.status, stale.json()["type"]) == (409, "urn:carril:problem:version-conflict")
        assert stale.json()["version"] >= seen["version"], "the refusal says which version stands"
        (recorded,) = station.records("decision.recorded", inspection_id=seen["inspection_id"])
        assert recorded["seq"] == first.json()["record"]["seq"]
        unkeyed = station.call("POST", "/v1/lane/decisions", {**recorded, "verdict": "release"})
        assert unkeyed.status in (400, 422), "an order without an idempotency key is no order"


def test_a_screen_that_was_cut_off_goes_on_without_loss(station: Station) -> None:
    epoch = station.get("/v1/consumers/central").json()["epoch"]
    screen = Screen(station, f"{epoch}:0")
    got: list[tuple[str, Any]] = []
    for event in screen.records():
        got.append(event)
        if event[1]["type"] == "carril.scan.started":
            break
    screen.cut()
    started = len(station.feed())
    station.until(lambda: len(station.feed()) >= started + 3, "records while nobody listens")

    screen = Screen(station, got[-1][0])
    for event in screen.records():
        got.append(event)
        if event[1]["type"] == "carril.inspection.sealed":
            break
    screen.cut()
    assert [event_id for event_id, _ in got] == [f"{epoch}:{n}" for n in range(1, len(got) + 1)]
    assert [data["prev"] for _, data in got] == [f"{epoch}:{n}" for n in range(len(got))]
    assert [data["type"] for _, data in got] == [record["type"] for record in station.feed()][: len(got)]

    for unknown in (f"{'0' * 32}:5", f"{epoch}:\xb2"):
        lost = Screen(station, unknown)
        assert lost.next()[0] == "reset", "an id of another journal, or none at all, cannot be resumed"
        lost.cut()


def test_the_chain_of_the_feed_can_be_proven_by_the_centre(station: Station) -> None:
    station.until(lambda: station.records("inspection.opened"), "an inspection is open")
    epoch = station.get("/v1/consumers/central").json()["epoch"]
    whole = station.get(f"/v1/feed?after=0&epoch={epoch}&include=simulated").json()
    after = whole["items"][3]["seq"]
    rest = station.get(f"/v1/feed?after={after}&epoch={epoch}&include=simulated").json()
    assert rest["prev"] == whole["items"][3]["hash"], "each page begins where the last one ended"
    assert rest["items"][0] == whole["items"][4]
    wrong = station.get(f"/v1/feed?after=0&epoch={'f' * 32}")
    assert (wrong.status, wrong.json()["type"]) == (409, "urn:carril:problem:epoch-changed")


def test_it_stops_at_once_whoever_listens(station: Station) -> None:
    """Two screens and a long poll hold nobody up: each is told, none is cut."""
    epoch = station.get("/v1/consumers/central").json()["epoch"]
    screens = [Screen(station, f"{epoch}:0") for _ in range(2)]
    poll = http.client.HTTPConnection("127.0.0.1", station.port, timeout=10)
    head = station.get("/v1").json()["head"]
    poll.request("GET", f"/v1/feed?after={head}&epoch={epoch}&prio=0&wait=30")
    assert station.stop() < 3.0
    assert poll.getresponse().status == 200
    poll.close()
    for screen in screens:
        while screen.next()[0] != "bye":
            pass
        screen.cut()
