"""Eight faults that the field knows from a peer: each shown to be impossible in a running lane.

Deeper proofs stand beside the parts: fault 3 in tests/unit/test_clock.py, fault 4 in
tests/unit/test_house.py, fault 7 in tests/unit/test_lane.py.
"""

from __future__ import annotations

import ast
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.station import ROOT, Station, running_station

pytestmark = pytest.mark.soak  # starts a lane for each fault

RATE = 5.0
BROWSER_TIMER_S = 10.0
"""After so long the peer's screen forgets a fault."""


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    with running_station(tmp_path, rate=RATE) as running:
        yield running


def in_portal(station: Station) -> Any:
    """Wait until a vehicle is in the portal; return the record that says so."""
    return station.until(lambda: station.records("occupancy.started"), "a vehicle is in the portal")[-1]


def ended(station: Station, inspection_id: str, limit_s: float = 20.0) -> Any:
    """Wait for the end of a vehicle's occupancy."""
    found = station.until(
        lambda: station.records("occupancy.ended", inspection_id=inspection_id), "the end", limit_s
    )
    return found[0]


def test_fault_1_a_malformed_line_costs_no_occupancy(station: Station) -> None:
    started = in_portal(station)
    station.fault("rpm1", "garbage", for_s=0.3)
    occupancy = ended(station, started["inspection_id"])
    assert occupancy["close_reason"] == "gx", "the reader read on to the device's own end marker"
    lost = [r for r in station.records("device_health.changed", device="rpm1") if r["to"] == "backoff"]
    assert not lost, "the link was up all the time"


def test_fault_2_after_a_reconnect_only_the_new_stream_is_read(station: Station) -> None:
    station.until(lambda: station.records("inspection.sealed"), "the first vehicle is gone")
    station.fault("rpm1", "reset", for_s=0.3)
    station.until(lambda: station.records("device_health.changed", device="rpm1", to="backoff"), "it is lost")
    back = station.until(
        lambda: station.records("device_health.changed", device="rpm1", to="online")[1:], "it is back"
    )[-1]["seq"]
    sealed = station.until(
        lambda: [r for r in station.records("inspection.sealed") if r["seq"] > back], "the next is sealed"
    )[0]
    opened = station.records("inspection.opened", inspection_id=sealed["inspection_id"])[0]
    assert opened["seq"] > back, "the link was back before the vehicle came"
    started = station.records("occupancy.started", inspection_id=sealed["inspection_id"])
    assert len(started) == 1, "a vehicle is seen by one reader, not by two"
    occupancy = ended(station, sealed["inspection_id"])
    assert (occupancy["complete"], occupancy["close_reason"]) == (True, "gx")


def test_fault_3_no_duration_comes_from_the_wall_clock() -> None:
    wall = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow")}
    for package in ("station/domain", "station/lane", "station/runtime", "drivers"):
        for path in (ROOT / package).rglob("*.py"):
            calls = [n.func for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Call)]
            named = {
                (f.value.id, f.attr)
                for f in calls
                if isinstance(f, ast.Attribute) and isinstance(f.value, ast.Name)
            }
            if path.name != "clock.py":  # the places where UTC is read: the station's and the emulators'
                assert not named & wall, path


def test_fault_4_the_lane_knows_roles_and_no_make() -> None:
    allowed = {"drivers.api", "drivers.readings", "drivers.geometry", "drivers.errors"}
    for package in ("station/domain", "station/lane", "station/runtime"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("drivers"):
                    assert node.module in allowed, path


def test_fault_5_a_sealed_record_is_never_rewritten(station: Station) -> None:
    sealed = station.until(lambda: station.records("inspection.sealed"), "sealed")[0]
    before = station.get(f"/v1/records/{sealed['seq']}").body
    station.until(lambda: len(station.records("inspection.opened")) > 1, "the next vehicle")
    late = station.decide("hold", {"inspection_id": sealed["inspection_id"], "version": sealed["version"]})
    assert late.status in (201, 409), late.body
    station.kill()
    station.start()
    assert station.get(f"/v1/records/{sealed['seq']}").body == before
    station.stop()
    assert station.carril("verify").returncode == 0


def test_fault_6_a_failed_poll_is_no_fresh_value(station: Station) -> None:
    with station.officer_away():
        station.until_state("awaiting_decision")

        def at_barrier() -> bool:
            codes = {lock["code"] for lock in station.lane()["inspection"]["release"]["locks"]}
            return "vehicle_not_at_barrier" not in codes

        station.until(at_barrier, "the vehicle stands at the barrier")
        station.fault("io1", "half_open")
        station.until(lambda: station.device("io1") != "online", "the board is stale", 10)
        seen = station.lane()["inspection"]
        assert not seen["release"]["allowed"], "its last inputs said that a vehicle stands there"
        assert station.decide("release", seen).status == 409
        assert not station.records("barrier.moved", to="up")


def test_fault_7_an_occupancy_whose_link_is_lost_ends_by_time(station: Station) -> None:
    started = in_portal(station)
    station.fault("rpm1", "refused")
    with station.officer_away():
        occupancy = ended(station, started["inspection_id"])
        assert (occupancy["close_reason"], occupancy["complete"]) == ("link_lost", False)
        station.fault("rpm1", "none")
        seen = station.until_state("awaiting_decision")
        assert seen["level"] != "clear"
        assert seen["coverage"]["rpm"]["state"] == "failed"
    later = station.until(
        lambda: [r for r in station.records("occupancy.ended") if r["seq"] > occupancy["seq"]],
        "the next vehicle's occupancy",
        45,
    )[0]
    assert later["inspection_id"] != started["inspection_id"]
    assert later["close_reason"] == "gx"
    assert later["duration_s"] < 20, "it began with its own vehicle"


def test_fault_8_a_fault_stays_until_its_cause_is_gone(station: Station) -> None:
    def cabinet() -> list[Any]:
        return [a for a in station.lane()["alarms"] if a["device"] == "io1"]

    station.until(lambda: station.device("io1") == "online", "the board is online")
    station.fault("io1", "cabinet_open")
    (alarm,) = station.until(cabinet, "the open cabinet alarms", 10)
    ends_s = time.monotonic() + 2 * BROWSER_TIMER_S / RATE
    while time.monotonic() < ends_s:
        assert [a["alarm_id"] for a in cabinet()] == [alarm["alarm_id"]]
        time.sleep(0.2)
    assert station.post(f"/v1/lane/alarms/{alarm['alarm_id']}/ack", {}).status == 201
    assert cabinet()[0]["state"] == "ack", "to have seen it does not close it"
    station.fault("io1", "none")
    station.until(lambda: not cabinet(), "the cabinet is closed and the alarm was seen", 10)
