"""All kinds of directives over HTTP: taken, listed, closed, and known again after a new epoch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.directives import OF_NOW, public_text, signed, terms
from tests.support.epochs import distrusted, sql
from tests.support.station import Reply, Station, running_station, short_trucks

KEY = Ed25519PrivateKey.generate()
PLATE = "LXR 4802"
BODIES: dict[str, dict[str, Any]] = {
    "hold": {"hold_kind": "legal", "authority": "Customs", "keys": {"plate": PLATE}, "action": "hold"},
    "manifest": {
        "source": "ace_truck",
        "mode": "truck",
        "direction": "in",
        "port": "2304",
        "accepted_at": "2026-01-01T00:00:00Z",
        "conveyance": {"plate": "NO VEHICLE"},
    },
    "trust": {
        "program": "fast",
        "list_version": 7,
        "as_of": "2026-11-01T00:00:00Z",
        "full": True,
        "parties": [{"ref": "C-1", "role": "carrier", "status": "certified", "from": "2026-01-01T00:00:00Z"}],
    },
    "lane_mode": {"posture": "normal", "rates_ppm": {"standard": 20_000}},
}
OVER = {"issued_at": "2026-02-01T00:00:00Z", "valid_to": "2026-02-01T00:00:00Z"}


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    kinds = ", ".join(f'"{kind}"' for kind in BODIES)
    issuer = f'\n[[issuer]]\nname = "central"\nkey = "{public_text(KEY)}"\nkinds = [{kinds}]\n'
    with running_station(tmp_path, rate=5.0, options=short_trucks(tmp_path), more=issuer) as running:
        yield running


def test_a_directive_that_cannot_be_read_and_a_removed_issuer_end_no_start(station: Station) -> None:
    for name in ("D-1", "D-2"):
        assert put(station, name, "hold").status == 201
    station.until(lambda: len(station.records("directive.armed")) == 2, "both are in force")
    station.kill()
    sql(station.state, "UPDATE directive SET body = replace(body, 'LXR', 'LXX') WHERE id = 'D-1'")
    station.start()
    (told,) = station.records("directive.unreadable")
    assert (told["directive_id"], told["kind"]) == ("D-1", "hold")
    assert [alarm["code"] for alarm in station.lane()["alarms"]] == ["order_unreadable"]
    assert listed(station) == {"D-1": ("hold", "unreadable", 1), "D-2": ("hold", "armed", 1)}
    known = station.get("/v1/directives/D-1").json()
    assert (known["state"], known["envelope"]["body"]) == ("unreadable", BODIES["hold"]), "from its record"
    assert put(station, "D-1", "hold", issuer="urn:carril:client:other").status == 403
    assert put(station, "D-1", "hold", 2).status == 200
    station.until(lambda: station.get("/v1/directives/D-1").json()["state"] == "armed", "it is in force")

    station.kill()
    text = station.lane_file.read_text()
    station.lane_file.write_text(text.partition("\n[[issuer]]")[0])
    station.start()
    assert {
        record["directive_id"] for record in station.records("directive.closed", how="issuer_removed")
    } == {
        "D-1",
        "D-2",
    }
    assert listed(station) == {}


def put(station: Station, name: str, kind: str, version: int = 1, **change: Any) -> Reply:
    sent = {"body": BODIES[kind], **OF_NOW, **change}
    body = signed(name, KEY, terms(kind, version, **sent))
    return station.call("PUT", f"/v1/directives/{name}", body)


def listed(station: Station, limit: int = 500) -> dict[str, tuple[str, str, int]]:
    """Walk through the list; return kind, state and version by id."""
    found: dict[str, tuple[str, str, int]] = {}
    after: str | None = ""
    while after is not None:
        page = station.get(f"/v1/directives?limit={limit}&after={after}").json()
        assert len(page["items"]) <= limit
        for item in page["items"]:
            assert item["id"] not in found
            found[item["id"]] = (item["kind"], item["state"], item["version"])
        after = page["next"]
    return found


def test_every_kind_is_kept_listed_and_known_again_in_a_new_epoch(station: Station) -> None:
    for number, kind in enumerate(BODIES):
        assert put(station, f"D-{number}", kind).status == 201
    assert put(station, "D-5", "hold").status == 201
    assert put(station, "D-5", "hold", 2, **OVER).status == 200
    put(station, "D-6", "hold", scope={"lanes": ["ANOTHER"]})
    wanted = {
        "D-0": ("hold", "armed", 1),
        "D-1": ("manifest", "armed", 1),
        "D-2": ("trust", "received", 1),
        "D-3": ("lane_mode", "received", 1),
    }
    station.until(lambda: listed(station) == wanted, "the four that are open are listed")
    assert all(listed(station, limit) == wanted for limit in (1, 3, 4))
    for wrong in ("limit=0", "limit=1001", "limit=x", "after=" + "x" * 65):
        reply = station.get(f"/v1/directives?{wrong}")
        assert (reply.status, reply.json()["type"]) == (400, "urn:carril:problem:bad-parameter"), wrong

    closed = station.get("/v1/directives/D-5").json()
    assert (closed["version"], closed["state"]) == (2, "closed:withdrawn")
    assert closed["envelope"]["version"] == 2, "from its record"
    assert put(station, "D-5", "hold").status == 409, "the version before its withdrawal stays old"

    huge = {**BODIES["trust"], "parties": BODIES["trust"]["parties"] * 4_000}
    refused = put(station, "D-7", "trust", body=huge)
    assert (refused.status, refused.json()["type"]) == (413, "urn:carril:problem:too-large")
    assert "in parts" in refused.json()["detail"]
    assert station.get("/v1/directives/D-7").status == 404

    station.kill()
    distrusted(station.state)
    station.start()
    (opened,) = station.records("epoch.opened")
    assert opened["previous"]
    station.until(lambda: station.records("epoch.salvaged"), "the old epoch is accounted for")
    assert listed(station) == wanted
    for name in ("D-0", "D-2"):
        again = station.get(f"/v1/directives/{name}").json()
        assert again["envelope"]["body"] == BODIES[again["kind"]]
    station.until(
        lambda: station.get("/v1/directives/D-5").json().get("state") == "closed:withdrawn",
        "the closed one stays closed",
    )
    assert put(station, "D-5", "hold").status == 409
    assert put(station, "D-0", "hold").status == 200, "a repeat is known"
    with station.officer_away():
        while not station.records("directive.hit"):
            station.send_on(station.next_vehicle())
    hits = station.records("directive.hit")
    assert {hit["directive_id"] for hit in hits} == {"D-0"}
    assert len({hit["inspection_id"] for hit in hits}) == len(hits)
