"""Eight faults that the field knows from a peer: each shown to be impossible in a running lane.

All of them strike one lane, one vehicle after the other. Deeper proofs stand beside the parts: fault 3 in
tests/unit/test_clock.py, fault 4 in tests/unit/test_house.py, fault 7 in tests/unit/test_lane.py.
"""

from __future__ import annotations

import ast
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.station import ROOT, Station, running_station, short_trucks
from tests.support.wall_clock import WallClock, wall_clock

RATE = 4.0
BROWSER_TIMER_S = 10.0
"""After so long the peer's screen forgets a fault."""
HOUR_S = 3600.0
TRIES = 3
"""Vehicles after which a computer is too busy for this test."""


@pytest.fixture(scope="module")
def wall(tmp_path_factory: pytest.TempPathFactory) -> WallClock | None:
    return wall_clock(tmp_path_factory.mktemp("clock"))


@pytest.fixture(scope="module")
def lane(tmp_path_factory: pytest.TempPathFactory, wall: WallClock | None) -> Iterator[Station]:
    """One lane for all eight; the test is the officer."""
    folder = tmp_path_factory.mktemp("lane")
    environment = wall.environment if wall else {}
    with running_station(folder, rate=RATE, options=short_trucks(folder), environment=environment) as running:
        with running.officer_away():
            running.until(running.all_online, "every device is online")
            yield running


@pytest.fixture
def station(lane: Station) -> Iterator[Station]:
    """The lane, and what must be true of it whatever happened."""
    yield lane
    lane.assert_sound()


def in_portal(station: Station) -> str:
    """Wait until a new vehicle is in the portal; return its inspection."""
    vehicle = station.next_vehicle()
    station.until(lambda: station.records("occupancy.started", inspection_id=vehicle), "it is in the portal")
    return vehicle


def ended(station: Station, vehicle: str, limit_s: float = 20.0) -> Any:
    """Wait for the end of a vehicle's occupancy."""
    return station.until(
        lambda: station.records("occupancy.ended", inspection_id=vehicle), "its occupancy ends", limit_s
    )[0]


def scanned(station: Station, vehicle: str) -> None:
    """Wait for the begin of a vehicle's scan."""
    station.until(lambda: station.records("scan.started", inspection_id=vehicle), "it is scanned")


def changes(station: Station, device: str, to: str) -> list[int]:
    """Return when (sequence numbers) a device went into a state."""
    return [r["seq"] for r in station.records("device_health.changed", device=device, to=to)]


@pytest.mark.fault("F15")
def test_fault_1_a_malformed_line_costs_no_occupancy(station: Station) -> None:
    lost = changes(station, "rpm1", "backoff")
    vehicle = in_portal(station)
    station.fault("rpm1", "garbage")
    station.until(lambda: station.device_view("rpm1")["cause"] == "bad_frames", "the rubbish is counted", 10)
    station.fault("rpm1", "none")
    occupancy = ended(station, vehicle)
    assert occupancy["close_reason"] == "gx", "the reader read on to the device's own end marker"
    assert changes(station, "rpm1", "backoff") == lost, "the link was up all the time"
    assert station.send_on(vehicle)["radiation"]["occupancies"], "the record is not lost"


@pytest.mark.fault("F14")
def test_fault_2_after_a_reconnect_only_the_new_stream_is_read(station: Station) -> None:
    before = station.next_vehicle()
    ended(station, before)
    lost, back = changes(station, "rpm1", "backoff"), changes(station, "rpm1", "online")
    station.fault("rpm1", "reset")
    station.until(lambda: changes(station, "rpm1", "backoff") != lost, "it is lost", 10)
    station.fault("rpm1", "none")
    station.until(lambda: changes(station, "rpm1", "online") != back, "it is back", 10)
    station.send_on(before)
    vehicle = in_portal(station)
    occupancy = ended(station, vehicle)
    started = station.records("occupancy.started", inspection_id=vehicle)
    assert len(started) == 1, "a vehicle is seen by one reader, not by two"
    assert (occupancy["complete"], occupancy["close_reason"]) == (True, "gx")
    station.send_on(vehicle)


@pytest.mark.fault("F11")
def test_fault_3_no_duration_comes_from_the_wall_clock(station: Station, wall: WallClock | None) -> None:
    """The wall clock is set forward and then back by an hour in the middle of one occupancy."""
    if wall is None:
        pytest.skip("no C compiler: the wall clock of the lane cannot be set")
    for _ in range(TRIES):
        health = len(station.records("device_health.changed"))
        vehicle = in_portal(station)
        wall.set_s(HOUR_S)
        in_time = not station.records("scan.started", inspection_id=vehicle)
        scanned(station, vehicle)
        wall.set_s(-HOUR_S)
        occupancy = ended(station, vehicle)
        record = station.send_on(vehicle)
        wall.set_s(0.0)
        calm = len(station.records("device_health.changed")) == health
        if calm and in_time and not occupancy["gaps"]:
            break  # else the computer was too busy for a lane at four times its speed
    starts = station.records("occupancy.started", inspection_id=vehicle)
    scans = station.records("scan.started", inspection_id=vehicle)
    for one, other, shift_s in ((starts[0], scans[0], HOUR_S), (scans[0], record, -2 * HOUR_S)):
        passed_s = (other["stamp"]["mono_us"] - one["stamp"]["mono_us"]) / 1e6
        stepped_s = (other["stamp"]["utc_us"] - one["stamp"]["utc_us"]) / 1e6
        assert abs(stepped_s - passed_s - shift_s) < 10, "the clock of the lane was really set"
        assert 0 < passed_s < 120
    assert 2 < occupancy["duration_s"] < 10
    assert (occupancy["complete"], occupancy["close_reason"], occupancy["gaps"]) == (True, "gx", 0)
    assert record["coverage"]["rpm"]["state"] == "done"
    assert calm, "no device is stale for it"


@pytest.mark.fault("F11")
def test_fault_3_nobody_reads_the_wall_clock_but_the_clocks() -> None:
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
    """It may know what devices say, and formats that belong to no device."""
    allowed = {"drivers.api", "drivers.readings", "drivers.geometry", "drivers.errors"}
    for package in ("station/domain", "station/lane", "station/runtime"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("drivers"):
                    module = str(node.module)
                    assert module in allowed or module.startswith("drivers.formats."), path
                if isinstance(node, ast.Import):
                    assert not any(name.name.startswith("drivers") for name in node.names), path


def test_fault_5_a_sealed_record_is_never_rewritten(station: Station) -> None:
    sealed = station.send_on(station.next_vehicle())
    before = station.get(f"/v1/records/{sealed['seq']}").body
    late = station.decide("hold", {"inspection_id": sealed["inspection_id"], "version": sealed["version"]})
    assert late.status in (404, 409), late.body
    vehicle = station.next_vehicle()
    station.kill()
    station.start()
    assert station.get(f"/v1/records/{sealed['seq']}").body == before
    sealings = station.records("inspection.sealed", inspection_id=sealed["inspection_id"])
    assert [record["seq"] for record in sealings] == [sealed["seq"]], "nor is there a second one"
    station.stop()
    verified = station.carril("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    station.start()
    gone = "the vehicle that went with its emulators is aborted"
    station.until(lambda: station.records("inspection.sealed", inspection_id=vehicle), gone)


@pytest.mark.fault("F13", "F19", "F30")
def test_fault_6_a_failed_poll_is_no_fresh_value(station: Station) -> None:
    station.next_vehicle()
    station.until_state("awaiting_decision")

    def at_barrier() -> bool:
        codes = {lock["code"] for lock in station.lane()["inspection"]["release"]["locks"]}
        return "vehicle_not_at_barrier" not in codes

    station.until(at_barrier, "the vehicle stands at the barrier")
    moved = station.records("barrier.moved", to="up")
    station.fault("io1", "half_open")
    station.until(lambda: station.device("io1") != "online", "the board is stale", 10)
    seen = station.lane()["inspection"]
    assert not seen["release"]["allowed"], "its last inputs said that a vehicle stands there"
    assert "vehicle_not_at_barrier" in {lock["code"] for lock in seen["release"]["locks"]}
    assert station.decide("release", seen).status == 409
    station.fault("io1", "none")
    assert station.records("barrier.moved", to="up") == moved
    station.until(lambda: station.device("io1") == "online", "the board is back", 10)
    station.send_on(seen["inspection_id"])


@pytest.mark.fault("F12")
def test_fault_7_an_occupancy_whose_link_is_lost_ends_by_time(station: Station) -> None:
    vehicle = in_portal(station)
    station.fault("rpm1", "refused")
    occupancy = ended(station, vehicle)
    assert (occupancy["close_reason"], occupancy["complete"]) == ("link_lost", False)
    station.fault("rpm1", "none")
    seen = station.until_state("awaiting_decision")
    assert seen["level"] != "clear"
    assert (seen["coverage"]["rpm"]["state"], seen["coverage"]["rpm"]["reason"]) == ("failed", "link")
    station.until(lambda: station.device("rpm1") == "online", "the portal is back", 10)
    station.send_on(vehicle)
    later = in_portal(station)
    occupancy = ended(station, later)
    assert occupancy["close_reason"] == "gx"
    assert occupancy["duration_s"] < 10, "it began with its own vehicle"
    station.send_on(later)


def test_fault_8_a_fault_stays_until_its_cause_is_gone(station: Station) -> None:
    def cabinet() -> list[Any]:
        return [a for a in station.lane()["alarms"] if a["device"] == "io1" and a["code"] == "tamper"]

    station.fault("io1", "cabinet_open")
    (alarm,) = station.until(cabinet, "the open cabinet alarms", 10)
    ends_s = time.monotonic() + BROWSER_TIMER_S * 1.2 / RATE
    while time.monotonic() < ends_s:
        assert [a["alarm_id"] for a in cabinet()] == [alarm["alarm_id"]]
        time.sleep(0.1)
    assert station.post(f"/v1/lane/alarms/{alarm['alarm_id']}/ack", {}).status == 201
    assert cabinet()[0]["state"] == "ack", "to have seen it does not close it"
    station.fault("io1", "none")
    station.until(lambda: not cabinet(), "the cabinet is closed and the alarm was seen", 10)
