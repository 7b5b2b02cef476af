"""A recorded portal passage through the whole lane: emulated wire, driver, alarm, locks, seal, feed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from tests.support.station import ROOT, Station, running_station

RATE = 2.0
LENGTH_M = 12.0


@pytest.fixture
def scenario(shared_data: Path, tmp_path: Path) -> Path:
    """The shipped scenario with the recording's absolute path: the daemon may run anywhere."""
    recording = shared_data / "rpm" / "portal_profile.csv"
    if not recording.is_file():
        pytest.skip("the recorded passage ../shared/data/rpm/portal_profile.csv is not on this machine")
    text = (ROOT / "config/scenarios/recorded.toml").read_text(encoding="utf-8")
    assert "../shared/data/rpm/portal_profile.csv" in text
    path = tmp_path / "recorded.toml"
    path.write_text(text.replace("../shared/data/rpm/portal_profile.csv", str(recording)), encoding="utf-8")
    return path


def test_a_recorded_passage_alarms_locks_release_and_reaches_the_feed(tmp_path: Path, scenario: Path) -> None:
    with running_station(tmp_path, rate=RATE, options=("--scenario", str(scenario))) as station:
        with station.officer_away():
            seen = station.until_state("awaiting_decision")
            alarm = _gamma_alarm(station, seen)

            assert not seen["release"]["allowed"]
            forced = station.decide("release", seen)
            assert (forced.status, forced.json()["type"]) == (409, "urn:carril:problem:release-locked")
            assert "gamma_alarm" in {reason["code"] for reason in seen["reasons"]}

            assert station.post(f"/v1/lane/alarms/{alarm}/ack", {}).status == 201
            again = station.until_state("awaiting_decision")
            still = station.decide("release", again)
            assert still.status == 409, "to have seen an alarm is not to have solved it"

            assert station.decide("secondary", station.until_state("awaiting_decision")).status == 201
            assert station.lane()["inspection"]["decision"]["verdict"] == "secondary"

        sealed = station.until(lambda: station.records("inspection.sealed"), "the inspection is sealed")[0]
        assert sealed["inspection_id"] == seen["inspection_id"]
        assert sealed["simulated"] is True, "the load is recorded, the truck is not real"
        assert sealed["outcome"] == "referred_secondary"
        assert {"gamma_alarm"} == {entry["code"] for entry in sealed["alarms"]}
        assert sealed["coverage"]["rpm"]["state"] == "done"
        occupancy = station.records("occupancy.ended", inspection_id=seen["inspection_id"])[0]
        assert occupancy["complete"]
        assert occupancy["close_reason"] == "gx"
        assert occupancy["gamma_max_1s"] > occupancy["gamma_limit"] > occupancy["gamma_background"]
        _located(station, seen, occupancy, sealed)

        moved = [r for r in station.records("barrier.moved") if r["to"] == "up"]
        decided = {r["seq"] for r in station.records("decision.recorded")}
        assert {r["decision_seq"] for r in moved} <= decided
        for use in sealed["blobs"]:
            blob = station.get(f"/v1/blobs/{use['sha256']}").body
            assert (len(blob), hashlib.sha256(blob).hexdigest()) == (use["bytes"], use["sha256"])


def _gamma_alarm(station: Station, seen: Any) -> str:
    """Return the id of this vehicle's gamma alarm: in the snapshot and in the record, with its numbers."""
    view = station.lane()
    (shown,) = (a for a in view["alarms"] if a["code"] == "gamma_alarm")
    assert (shown["state"], shown["inspection_id"]) == ("unack", seen["inspection_id"])
    (raised,) = station.records("radiation_alarm.raised", inspection_id=seen["inspection_id"])
    assert raised["alarm_id"] == shown["alarm_id"]
    assert (raised["channel"], raised["device"]) == ("gamma", "rpm1")
    assert len(raised["counts"]) == 4, "one number for each panel"
    gamma = seen["radiation"]["gamma"]
    assert gamma["alarm"]
    assert gamma["max_cps"] > gamma["limit_cps"] == raised["limit"] > gamma["background_cps"]
    return str(raised["alarm_id"])


def _located(station: Station, seen: Any, occupancy: Any, sealed: Any) -> None:
    """The recorded peak has one place: on the screen, in the event, the trace and the seal.

    How good it is tells ``tests/unit/test_hot_spot.py``: here a busy computer's pauses are metres.
    """
    (spot,) = occupancy["hot_spots"]
    assert (spot["kind"], spot["distributed"]) == ("gamma", False)
    assert 0 < spot["s_m"] < LENGTH_M
    assert 0.2 < spot["sigma_m"] < 2
    metres = {"s_m": spot["s_m"], "sigma_m": spot["sigma_m"], "speed_from": "encoder"}
    (kept,) = sealed["radiation"]["occupancies"][0]["hot_spots"]
    (shown,) = seen["radiation"]["hot_spots"]
    (traced,) = station.get(f"/v1/inspections/{seen['inspection_id']}/profile").json()["hot_spots"]
    for place in (spot, kept, shown, traced):
        assert {name: place[name] for name in metres} == metres
    assert kept["col"] == pytest.approx(
        sealed["scan"]["col_nose"] + 1000 * spot["s_m"] / sealed["scan"]["px_mm_x"], abs=0.2
    )


def test_the_feed_withholds_simulated_alarms_unless_asked(tmp_path: Path, scenario: Path) -> None:
    with running_station(tmp_path, rate=RATE, options=("--scenario", str(scenario))) as station:
        station.until(lambda: station.records("radiation_alarm.raised"), "the gamma alarm")
        epoch = station.get("/v1/consumers/central").json()["epoch"]
        page = station.get(f"/v1/feed?after=0&epoch={epoch}").json()
        assert page["items"]
        assert {item.get("withheld") for item in page["items"]} == {"simulated"}
        assert not any(item.get("event") for item in page["items"])


def test_without_the_recording_the_scenario_says_so(tmp_path: Path) -> None:
    text = (ROOT / "config/scenarios/recorded.toml").read_text(encoding="utf-8")
    path = tmp_path / "recorded.toml"
    path.write_text(text.replace("../shared/data/rpm/portal_profile.csv", str(tmp_path / "not there.csv")))
    station = Station(tmp_path / "lane.toml", tmp_path / "state", tmp_path / "log")
    said = station.carril("run", "--port", "0", "--scenario", str(path))
    assert said.returncode == 2
    assert "not there.csv, which is not there" in said.stderr
    assert not (tmp_path / "state").exists(), "nothing changed"
