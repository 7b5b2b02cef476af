"""A power cut of the lane computer, and an orderly stop, with a vehicle in the lane.

The emulated truck goes with its daemon: what comes back is what the journal knows, in front of an empty
lane, which is the harder case.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.station import Station, running_station

STOP_LIMIT_S = 8.0
"""Three seconds, and what a busy computer adds; less than the ten of its wait."""
SOME_LINES_BYTES = 200_000
SLOW = 1.5


@pytest.fixture
def rate() -> float:
    return 2.0


@pytest.fixture
def station(tmp_path: Path, rate: float) -> Iterator[Station]:
    with running_station(tmp_path, rate=rate) as running:
        yield running


def last_start(station: Station) -> int:
    """Return the sequence number of the last start."""
    return int(station.records("lane.started")[-1]["seq"])


def assert_nothing_opened_by_itself(station: Station) -> None:
    """Every movement of the arm upwards follows an order that was given since the same start."""
    starts = [record["seq"] for record in station.records("lane.started")]
    orders = {record["seq"] for record in station.records("decision.recorded")}
    for moved in station.records("barrier.moved", to="up"):
        assert moved["decision_seq"] in orders
        began = max(seq for seq in starts if seq < moved["seq"])
        assert moved["decision_seq"] > began, "an order of before the power cut opened the barrier"


def back_again(station: Station, before: Any) -> Any:
    """Start again, keep the officer away, and return the same inspection as it comes back."""
    station.start()
    with station.officer_away():
        after = station.until_state("awaiting_decision")
        assert after["inspection_id"] == before["inspection_id"]
        assert after["version"] > before["version"], "what the officer saw before does not count any more"
        assert "restarted" in after["flags"]
        assert station.records("lane.started")[-1]["restarted_subjects"] == [before["inspection_id"]]
        requested = station.records("decision.requested", inspection_id=before["inspection_id"])[-1]
        assert requested["restarted"]
        assert requested["seq"] > last_start(station)
        stale = station.decide("release", before)
        assert stale.status == 409
        assert not after["release"]["allowed"], "nobody can know whether the vehicle still stands there"
        return after


def assert_sound(station: Station) -> None:
    """The feed is dense from the first record, and the journal proves itself."""
    assert [record["seq"] for record in station.feed()] == list(range(1, len(station.feed()) + 1))
    station.stop()
    verified = station.carril("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


@pytest.mark.fault("F1")
def test_a_vehicle_that_waits_for_its_decision_waits_again(station: Station) -> None:
    with station.officer_away():
        before = station.until_state("awaiting_decision")
        facts = station.feed()
        station.kill()

    after = back_again(station, before)
    assert [r["id"] for r in station.feed()][: len(facts)] == [r["id"] for r in facts], "nothing rewritten"
    assert after["identity"] == before["identity"]
    assert after["coverage"] == before["coverage"], "what was measured stays measured"
    assert after["scan"]["scan_id"] == before["scan"]["scan_id"]
    assert after["photo"] == before["photo"]
    assert_nothing_opened_by_itself(station)
    assert_sound(station)


@pytest.mark.fault("F1")
def test_a_vehicle_that_was_being_measured_is_never_called_clear(station: Station) -> None:
    with station.officer_away():
        before = station.until_state("measuring")
        station.until(lambda: station.records("scan.started"), "the scan has begun")
        before = station.lane()["inspection"]
        station.kill()

    after = back_again(station, before)
    assert after["level"] != "clear"
    assert after["coverage"]["rpm"]["state"] == "failed"
    assert after["coverage"]["scanner"]["state"] == "failed"
    assert after["scan"]["state"] == "incomplete"
    with station.officer_away():
        sealed = station.until(
            lambda: station.records("inspection.sealed", inspection_id=before["inspection_id"]),
            "a vehicle that nobody sees any more is sealed",
        )[0]
    assert sealed["recommendation"]["level"] != "clear"
    assert "restarted" in sealed["flags"]
    assert_nothing_opened_by_itself(station)
    assert_sound(station)


@pytest.mark.fault("F1", "F30")
def test_an_order_that_was_not_carried_out_must_be_given_again(station: Station) -> None:
    with station.officer_away():
        seen = station.until_state("awaiting_decision")

        def ordered() -> Any:
            reply = station.decide("release", station.lane()["inspection"])
            return reply if reply.status == 201 else None

        _free(station)
        reply = station.until(ordered, "the release is accepted", 20)
        station.kill()

    after = back_again(station, seen)
    assert after["decision"] is None or after["decision"]["seq"] == reply.json()["record"]["seq"]
    assert after["state"] == "awaiting_decision"
    assert_nothing_opened_by_itself(station)
    assert_sound(station)


def _free(station: Station) -> None:
    """Do what unlocks Release: wait until the vehicle stands there, and read the image if it is asked for."""

    def free() -> bool:
        seen = station.lane()["inspection"]
        if [lock["code"] for lock in seen["release"]["locks"]] == ["read_image"]:
            body = {"inspection_id": seen["inspection_id"], "version": seen["version"]}
            station.post("/v1/lane/image-reads", {**body, "read_ms": 1500, "seen_fraction": 1.0})
        return bool(seen["release"]["allowed"])

    station.until(free, "Release is free", 20)


@pytest.mark.parametrize("rate", [SLOW])  # the scan must be longer than the stop
@pytest.mark.fault("F32")
def test_an_orderly_stop_in_the_middle_of_a_scan_loses_nothing(station: Station) -> None:
    with station.officer_away():
        scan = station.until(lambda: station.records("scan.started"), "the scan has begun")[0]
        raw = station.state / "scans" / f"{scan['scan_id']}.cls"
        station.until(lambda: raw.exists() and raw.stat().st_size > SOME_LINES_BYTES, "lines on the disk", 10)
        before = station.lane()["inspection"]
        assert before["scan"]["state"] == "scanning"
        assert station.stop() <= STOP_LIMIT_S
    assert raw.stat().st_size > SOME_LINES_BYTES, "the raw lines stay on the disk"

    after = back_again(station, before)
    station.until(lambda: not raw.exists(), "they are a blob that a durable record names", 10)
    assert after["scan"]["scan_id"] == before["scan"]["scan_id"]
    assert (after["scan"]["state"], after["scan"]["cause"]) == ("incomplete", "station_restart")
    assert after["coverage"]["scanner"]["state"] == "failed"
    assert after["level"] != "clear"
    assert_nothing_opened_by_itself(station)
    assert_sound(station)
