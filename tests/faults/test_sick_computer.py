"""A running lane whose computer fails it: read-only disk, slow disk, no descriptors, a clock that jumps.

One lane for all, since each start costs seconds. Whatever fails, the lane says so, goes on answering, loses
nothing that it confirmed, and is well again without a restart.
"""

from __future__ import annotations

import errno
import os
import resource
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

import pytest

from tests.support.sick_disk import SickDisk, sick_disk
from tests.support.station import Station, running_station, short_trucks
from tests.support.wall_clock import WallClock, wall_clock

RATE = 5.0
RECOVERED_S = 5.0
REFUSED_S = 5.0
"""Two seconds of trying to reopen the journal, and what a busy computer adds."""
SYNC_MS = 500
TRIES = 3
"""Vehicles after which a computer is too busy for this test."""
BLIND_S = 8.0
"""Of the lane: as long as a short truck needs from the portal through the scan plane."""


class Sick(NamedTuple):
    """The lane, and what can be done to its computer."""

    station: Station
    disk: SickDisk
    wall: WallClock


@pytest.fixture(scope="module")
def lane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sick]:
    folder = tmp_path_factory.mktemp("lane")
    disk, wall = sick_disk(folder, folder / "state"), wall_clock(folder)
    if disk is None or wall is None:
        pytest.skip("no C compiler: neither disk nor clock can be broken")
    both = f"{disk.library}:{wall.environment['LD_PRELOAD']}"
    environment = wall.environment | disk.environment | {"LD_PRELOAD": both}
    with running_station(folder, rate=RATE, options=short_trucks(folder), environment=environment) as station:
        with station.officer_away():
            station.until(station.all_online, "every device is online")
            yield Sick(station, disk, wall)


@pytest.fixture
def sick(lane: Sick) -> Iterator[Sick]:
    """The lane; afterwards it is sound, and one and the same process still."""
    assert lane.station.process is not None
    before = lane.station.process.pid
    yield lane
    assert lane.station.process.pid == before
    lane.station.assert_sound()


def mode(station: Station) -> tuple[str, str]:
    seen = station.lane()
    return seen["mode"], seen["mode_cause"] or ""


def assert_evidence_is_there(station: Station, record: Any) -> None:
    """What a sealed record names can be had, and what it does not have it does not call done."""
    for blob in record["blobs"]:
        assert station.call("HEAD", f"/v1/blobs/{blob['sha256']}").status == 200, blob
    if not any(blob["role"] == "raw" for blob in record["blobs"]):
        assert record["coverage"]["scanner"]["state"] != "done", record["coverage"]


@pytest.mark.fault("F5")
def test_a_disk_that_turns_read_only_puts_the_lane_out_of_service(sick: Sick) -> None:
    station = sick.station
    vehicle = station.next_vehicle()
    seen = station.until_state("awaiting_decision")
    known = station.feed()
    sick.disk.set(error=errno.EROFS)
    began_s = time.monotonic()
    reply = station.decide("secondary", seen)
    assert reply.status == 503, reply.body
    assert time.monotonic() - began_s < REFUSED_S
    station.until(lambda: mode(station) == ("out_of_service", "cannot_record"), "it says so", REFUSED_S)
    # Reads go on: feed, health, the screen.
    again = station.get("/v1/feed?after=0&limit=2000&include=simulated&epoch=" + _epoch(station)).json()
    assert [item["seq"] for item in again["items"]] == [record["seq"] for record in known]
    assert station.get("/v1/health").json()["store"]["state"] != "open"
    assert station.get("/healthz").status == 200
    sick.disk.set()
    began_s = time.monotonic()
    station.until(lambda: mode(station)[0] != "out_of_service", "it is well again", RECOVERED_S)
    assert_evidence_is_there(station, station.send_on(vehicle))
    assert [r["id"] for r in station.feed()][: len(known)] == [r["id"] for r in known]
    assert not station.records("epoch.opened"), "a disk that refuses to write is no damaged journal"


def _epoch(station: Station) -> str:
    return str(station.get("/v1").json()["epoch"])


@pytest.mark.fault("F8")
def test_a_slow_disk_makes_the_lane_wait_and_it_says_so(sick: Sick) -> None:
    station = sick.station
    vehicle = station.next_vehicle()
    seen = station.until_state("awaiting_decision")
    sick.disk.set(sync_ms=SYNC_MS)
    try:
        began_s = time.monotonic()
        reply = station.decide("secondary", seen)
        took_s = time.monotonic() - began_s
        if reply.status == 201:  # else the lane had said that it cannot record for now
            assert took_s > 2 * SYNC_MS / 1000, "log and mark were not awaited"
            stored = station.get(f"/v1/records/{reply.json()['record']['seq']}")
            assert stored.json()["type"] == "carril.decision.recorded"
        else:
            assert reply.status in (409, 503), reply.body
        assert station.get("/healthz").status == 200
        slow = [
            line
            for line in station.get("/metrics").body.decode().splitlines()
            if line.startswith("carril_store_commit_seconds_bucket")
        ]
        counts = [float(line.rpartition(" ")[2]) for line in slow]
        assert counts[-1] > counts[len(counts) - 5], f"no commit was counted as slow: {slow}"
    finally:
        sick.disk.set()
    station.until(lambda: mode(station)[0] != "out_of_service", "it is well again", RECOVERED_S)
    assert_evidence_is_there(station, station.send_on(vehicle))


@pytest.mark.fault("F7")
def test_without_descriptors_nothing_is_lost_in_silence(sick: Sick) -> None:
    station = sick.station
    assert station.process is not None
    pid = station.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    vehicle = station.next_vehicle()
    station.until(lambda: station.records("occupancy.started", inspection_id=vehicle), "it is in the portal")
    known = station.feed()
    said = len(station.said())
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (_first_free(pid), before[1]))
    try:
        time.sleep(BLIND_S / RATE)  # its scan and its photographs find no descriptor
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    station.until(lambda: mode(station)[0] != "out_of_service", "it is well again", RECOVERED_S)
    record = station.send_on(vehicle)
    assert "Too many open files" in station.said()[said:], "the fault did not strike"
    assert record["coverage"]["scanner"]["state"] == "failed", "its scan found a descriptor"
    assert_evidence_is_there(station, record)
    assert [r["id"] for r in station.feed()][: len(known)] == [r["id"] for r in known]
    assert not station.records("epoch.opened")


@pytest.mark.fault("F7")
def test_want_of_descriptors_does_not_flood_the_log(sick: Sick) -> None:
    said = sick.station.said()
    assert "Too many open files: new connections wait" in said, "the test above made them scarce"
    assert said.count("new connections wait") < 20
    assert "socket.accept() out of system resource" not in said


def _first_free(pid: int) -> int:
    """Return the least number that is free: below it nothing can be opened."""
    used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    return next(number for number in range(len(used) + 1) if number not in used)


CLOCKS = {
    "ten years on": None,
    "ten years back": None,
    "1970": datetime(1970, 1, 1, 0, 1, tzinfo=UTC),
    "2038": datetime(2038, 1, 19, 3, 14, 7, tzinfo=UTC),
    "leap day": datetime(2028, 2, 28, 23, 59, 59, tzinfo=UTC),
    "summer time ends": datetime(2026, 10, 25, 0, 59, 59, tzinfo=UTC),
    "an hour back": None,
}
YEAR_S = 31_557_600.0


@pytest.mark.fault("F11")
def test_a_clock_that_jumps_reorders_expires_and_restarts_nothing(sick: Sick) -> None:
    station = sick.station
    vehicle = station.next_vehicle()
    known = station.feed()
    acked = station.get("/v1/consumers/central").json()["acked"]
    for _ in range(TRIES):
        health = len(station.records("device_health.changed"))
        record = _through_all_clocks(sick, vehicle)
        if len(station.records("device_health.changed")) == health:
            break  # else this computer was too busy for a lane at five times its speed
        vehicle = station.next_vehicle()
    else:
        pytest.fail("no device is stale for it")
    assert_evidence_is_there(station, record)
    assert station.get("/v1/consumers/central").json()["acked"] >= acked
    told = station.feed()
    assert [r["id"] for r in told][: len(known)] == [r["id"] for r in known], "nothing expired"
    moments = [r["data"]["stamp"]["mono_us"] for r in told]
    assert moments == sorted(moments), "the order is that of the monotonic time"
    assert len(station.records("lane.started")) == 1


def _through_all_clocks(sick: Sick, vehicle: str) -> Any:
    """Set the clock again and again while a vehicle is in the lane; return its record."""
    station = sick.station
    fixed = {"ten years on": 10 * YEAR_S, "ten years back": -10 * YEAR_S, "an hour back": -3600.0}
    try:
        for name, moment in CLOCKS.items():
            shift_s = fixed[name] if moment is None else moment.timestamp() - time.time()
            sick.wall.set_s(shift_s)
            before = station.feed()[-1]["seq"]
            alarm = station.until(partial(_stored_something, station, before), f"a record at {name}", 10)
            wrong_s = abs(alarm["stamp"]["utc_us"] / 1e6 - time.time() - shift_s)
            assert wrong_s < 600 * RATE, f"{name}: evidence says what the clock said"
        return station.send_on(vehicle)
    finally:
        sick.wall.set_s(0)


def _stored_something(station: Station, after: int) -> Any:
    """Let the lane write a record: a cabinet is opened, or closed."""
    opened, closed = station.records("tamper.opened"), station.records("tamper.closed")
    news = [record for record in opened + closed if record["seq"] > after]
    if not news:
        station.fault("io1", "cabinet_open" if len(opened) == len(closed) else "none")
    return news[-1] if news else None


def test_then_everything_can_be_proven(sick: Sick) -> None:
    station = sick.station
    assert [record["seq"] for record in station.feed()] == list(range(1, len(station.feed()) + 1))
    verified = station.carril("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
