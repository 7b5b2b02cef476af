"""A signed hold against a running station: told with all that a screen needs, received once, missed once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.directives import OF_NOW, public_text, signed, terms
from tests.support.station import Reply, Station, running_station, short_trucks

KEY = Ed25519PrivateKey.generate()
HELD, NOTED = "LXR 4800", "LXR 4801"
BODY: dict[str, Any] = {
    "hold_kind": "export_control",
    "authority": "Customs",
    "keys": {"plate": HELD},
    "action": "hold",
    "notes": {"en": "Papers missing.", "es": "Faltan papeles."},
    "steps": ["Keep the vehicle at the barrier."],
    "ack_within_s": 3600,
}


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    issuer = f'\n[[issuer]]\nname = "central"\nkey = "{public_text(KEY)}"\nkinds = ["hold"]\n'
    with running_station(tmp_path, rate=5.0, options=short_trucks(tmp_path, 2), more=issuer) as running:
        yield running


def send(station: Station, name: str, **body: Any) -> None:
    sent = signed(name, KEY, terms("hold", body={**BODY, **body}, **OF_NOW))
    assert station.call("PUT", f"/v1/directives/{name}", sent).status == 201
    station.until(lambda: station.records("directive.armed", directive_id=name), "it is in force")


def stopped(station: Station, plate: str) -> Any:
    """Send vehicles on until the named one waits for a decision; the scripted officer must be away."""

    def there() -> Any:
        seen = station.lane()["inspection"] or {}
        if seen.get("state") != "awaiting_decision":
            return None
        if (seen["identity"]["plate"] or {}).get("text") != plate:
            station.decide("secondary", seen)
            return None
        return seen

    return station.until(there, f"{plate} stands in the lane", 60)


def ack(station: Station, seen: Any, name: str, version: int = 1) -> Reply:
    body = {"inspection_id": seen["inspection_id"], "version": version}
    return station.call("POST", f"/v1/lane/directives/{name}/ack", body)


def test_an_order_is_told_then_received_or_missed_once_also_over_a_kill(station: Station) -> None:
    send(station, "H-1")
    send(station, "H-2", hold_kind="lookout", keys={"plate": NOTED}, ack_within_s=10)
    with station.officer_away():
        seen = stopped(station, HELD)
        (shown,) = seen["directives"]
        assert (shown["authority"], shown["notes"], shown["steps"]) == (
            BODY["authority"],
            BODY["notes"],
            BODY["steps"],
        )
        assert (shown["keys"], shown["read"], shown["officer"]) == (["plate"], "accepted", None)
        (alarm,) = [each for each in station.lane()["alarms"] if each["code"] == "hold_order"]
        assert (alarm["priority"], alarm["state"], alarm["alarm_id"]) == (1, "unack", shown["alarm_id"])
        for name, version, status in (("H-9", 1, 404), ("H-1", 2, 409), ("H-1", 0, 422)):
            assert ack(station, seen, name, version).status == status
        assert ack(station, {"inspection_id": "another"}, "H-1").status == 409
        first = ack(station, seen, "H-1")
        assert first.status == 201
        (received,) = station.records("directive.acknowledged")
        assert received["seq"] == first.json()["record"]["seq"]
        assert (received["directive_id"], received["directive_version"]) == ("H-1", 1)
        assert received["inspection_id"] == seen["inspection_id"]
        assert ack(station, seen, "H-1").json() == first.json(), "a repeat gets the first answer"
        lane = station.lane()
        assert [each["officer"] for each in lane["inspection"]["directives"]] == [received["officer"]]
        assert [each["state"] for each in lane["alarms"] if each["code"] == "hold_order"] == ["ack"]
        station.send_on(seen["inspection_id"])
        assert [each for each in station.lane()["alarms"] if each["code"] == "hold_order"] == []

        seen = stopped(station, NOTED)
        (missed,) = station.until(
            lambda: station.records("directive.unacknowledged"), "the centre is told", 20
        )
        assert (missed["directive_id"], missed["cause"], missed["ack_within_s"]) == ("H-2", "time", 10)
        assert missed["after_s"] >= 10
        assert len(station.records("lane_alarm.raised", code="hold_order")) == 1, "a lookout warns nobody"
        assert [each for each in station.lane()["alarms"] if each["code"] == "hold_order"] == []
        late = ack(station, seen, "H-2")
        assert late.status == 201, "late is better than never"
        station.kill()
        station.start()
        (shown,) = station.lane()["inspection"]["directives"]
        assert (shown["missed"], shown["officer"]) == (True, received["officer"])
        again = ack(station, seen, "H-2")
        assert (again.status, again.json()) == (201, late.json())
    assert len(station.records("directive.unacknowledged")) == 1
    assert [each["directive_id"] for each in station.records("directive.acknowledged")] == ["H-1", "H-2"]
