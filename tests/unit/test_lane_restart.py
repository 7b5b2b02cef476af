"""Killed with a vehicle in the lane: what its records say comes back, and nothing opens by itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from drivers.readings import Channel, OccupancyEnd, Phase, Tamper
from station.domain.rules import ORDER
from station.domain.values import Level
from station.lane.commands import AckAlarm, ReadImage
from station.lane.effects import BlobKept
from station.lane.rawfile import LeftOver
from station.lane.restart import Before, found_open
from tests.support.lane_rig import Rig


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.background()
    return rig


def test_a_measured_vehicle_comes_back_awaiting_a_decision(rig: Rig) -> None:
    rig.arrive()
    before = rig.seen.version
    rig.restart()
    assert (rig.seen.state, rig.seen.level) == ("awaiting_decision", "clear")
    assert "restarted" in rig.seen.flags
    assert rig.seen.version > before
    assert rig.last("decision.requested").restarted
    assert not rig.outputs["raise_permit"]


def test_what_was_measured_in_part_comes_back_as_it_was(rig: Rig) -> None:
    rig.board(entry_loop=True)
    rig.occupancy(end=False)
    rig.counts(Channel.GAMMA, Phase.BACKGROUND, (600, 600, 600, 600), "fault_high")
    rig.wait(3.0)
    rig.plate()
    rig.scan(end=False)
    rig.wait(3.0)
    rig.scan_result = {"state": "incomplete", "cause": "truncated", "lines_lost": 25}
    rig.close_scan("truncated")
    rig.board(booth_loop=True)
    rig.wait(6.0)
    before = rig.seen.coverage
    assert (before.rpm.reason, before.rpm.fraction) == ("fault", 0)
    assert (before.scanner.reason, before.scanner.fraction) == ("truncated", 0.8)
    rig.restart()
    assert rig.seen.coverage == before


def test_a_running_measurement_has_failed(rig: Rig) -> None:
    rig.board(entry_loop=True)
    rig.occupancy(end=False)
    rig.scan(end=False)
    rig.restart()
    assert rig.seen.coverage.rpm.reason == "station_restart"
    assert rig.seen.coverage.scanner.reason == "station_restart"
    assert rig.seen.level == "secondary"


def test_a_stored_release_must_be_tapped_again(rig: Rig) -> None:
    rig.arrive()
    rig.decide()
    assert rig.outputs["raise_permit"]
    rig.restart()
    rig.wait(1.0)
    assert not rig.outputs["raise_permit"]
    assert rig.seen.release.allowed
    rig.decide()
    assert rig.outputs["raise_permit"]


def test_a_hold_is_still_a_hold(rig: Rig) -> None:
    rig.arrive()
    rig.decide("hold")
    rig.restart()
    assert "held" in rig.seen.flags
    assert rig.locks == ["needs_supervisor"]


@pytest.mark.parametrize("channel", ["gamma", "neutron"])
def test_an_alarm_comes_back_with_its_numbers(rig: Rig, channel: str) -> None:
    rig.arrive(**{channel: "alarm"})
    (alarm,) = rig.lane.core.book.of(rig.seen.inspection_id)
    raised = rig.last("radiation_alarm.raised")
    rig.restart()
    (back,) = rig.lane.core.book.of(rig.seen.inspection_id)
    assert (back.alarm_id, back.state) == (alarm.alarm_id, "unack")
    assert (back.values["counts"], back.values["limit"]) == (raised.counts_1s, raised.limit)
    assert rig.seen.level == ("hold" if channel == "neutron" else "secondary")
    rig.order(AckAlarm(back.alarm_id, "O-1"))
    rig.restart()
    (back,) = rig.lane.core.book.of(rig.seen.inspection_id)
    assert back.state == "ack"


def test_a_device_that_was_opened_during_the_inspection_still_counts(rig: Rig) -> None:
    rig.arrive()
    rig.board(cabinet_closed=False)
    rig.board(cabinet_closed=True)
    assert rig.seen.level == "secondary"
    rig.restart()
    assert rig.seen.level == "secondary"
    assert [reason.code for reason in rig.seen.reasons] == ["tamper"]
    (alarm,) = rig.lane.core.book.of(rig.seen.inspection_id)
    assert alarm.state == "rtn_unack", "it is closed again; nobody has seen it yet"


def test_a_cabinet_and_an_emergency_stop_that_were_put_right_meanwhile_end(rig: Rig) -> None:
    rig.arrive()
    rig.board(cabinet_closed=False, estop_ok=False)
    rig.inputs |= {"cabinet_closed": True, "estop_ok": True}
    rig.restart()
    states = {alarm.code: alarm.state for alarm in rig.lane.core.book.of(rig.seen.inspection_id)}
    assert states == {"tamper": "rtn_unack", "emergency_stop": "rtn_unack"}
    assert rig.seen.level == "secondary"


def test_what_the_vehicle_says_of_itself_is_kept(rig: Rig) -> None:
    rig.arrive()
    rig.restart()
    assert rig.seen.identity.plate is not None
    assert rig.seen.identity.plate.text == "R4K7719"
    rig.decide()
    rig.leave()
    sealed = rig.last("inspection.sealed")
    assert (sealed.outcome, sealed.decision.verdict) == ("decided", "release")
    assert len(sealed.radiation.occupancies) == 1
    assert sealed.scan.state == "complete"


def test_an_inspection_that_was_left_behind_is_sealed_as_aborted(rig: Rig) -> None:
    """Two open subjects: a journal that lost the seal of the first; only the last can be in the lane."""
    rig.arrive()
    first = rig.seen.inspection_id
    old = rig.found()
    assert old is not None
    rig.lane.core.passage = None
    rig.arrive()
    second = rig.seen.inspection_id
    rig.restart(before=[old])
    sealed = rig.last("inspection.sealed")
    assert (sealed.inspection_id, sealed.outcome, sealed.cause) == (first, "aborted", "station_restart")
    assert rig.seen.inspection_id == second


def test_vehicles_that_passed_while_the_station_was_down_are_known_by_the_portals_count(
    rig: Rig,
) -> None:
    rig.arrive()
    rig.decide()
    rig.leave()
    count = rig.last("occupancy.ended").device_count
    rig.board(entry_loop=True)
    rig.board(entry_loop=False)
    rig.restart()
    rig.background()
    rig.occupancy(end=False)
    rig.read("rpm1", OccupancyEnd(rig.stamp(), device_count=count + 3))
    assert rig.last("counts.missed").missed == 2
    assert rig.seen.coverage.rpm.state == "failed"


def test_a_portal_that_stood_open_when_the_station_stopped_is_still_open(rig: Rig) -> None:
    rig.read("rpm1", Tamper(rig.stamp(), open=True))
    rig.arrive()
    rig.restart()
    assert [reason.code for reason in rig.seen.reasons] == ["tamper"]
    rig.read("rpm1", Tamper(rig.stamp(), open=False))
    assert rig.lane.core.book.find("tamper", "rpm1") is None
    rig.decide("secondary")
    rig.leave()
    rig.background()
    rig.arrive()
    assert rig.seen.level == "clear"


def test_raw_lines_that_the_stop_cut_off_stay_with_their_inspection(rig: Rig) -> None:
    rig.board(entry_loop=True)
    rig.scan(end=False)
    scan_id, subject = rig.last("scan.started").scan_id, rig.seen.inspection_id
    rig.restart(cut=[LeftOver(scan_id, subject, BlobKept("cd" * 32, "x", 3))])
    assert rig.seen.scan is not None
    assert rig.seen.scan.raw == "cd" * 32
    amended = rig.last("inspection.amended")
    assert (amended.inspection_id, amended.blobs[0].sha256) == (subject, "cd" * 32)
    rig.decide("secondary")
    rig.board(booth_loop=True)
    rig.leave()
    assert "cd" * 32 in [blob.sha256 for blob in rig.last("inspection.sealed").blobs]


def test_an_open_portal_and_an_alarm_are_remembered_for_ever(rig: Rig) -> None:
    rig.read("rpm1", Tamper(rig.stamp(), open=True))
    for _ in range(160):
        rig.arrive()
        rig.decide("secondary")
        rig.leave()
    assert len(rig.events) > 2000
    rig.restart()
    assert [(alarm.code, alarm.state) for alarm in rig.lane.core.book] == [("tamper", "unack")]
    rig.arrive()
    assert "tamper" in [reason.code for reason in rig.seen.reasons]
    rig.restart()
    assert [alarm.code for alarm in rig.lane.core.book] == ["tamper"]


def test_an_image_that_replaced_one_that_was_read_must_be_read(rig: Rig) -> None:
    rig.arrive()
    inspection = rig.lane.core.inspection
    assert inspection is not None
    rig.order(ReadImage(rig.seen.inspection_id, rig.seen.version, "O-1", 900, 1.0))
    assert inspection.image_read
    rig.restart()
    assert rig.seen.image_read
    rig.scan()
    assert not rig.seen.image_read
    rig.restart()
    assert not rig.seen.image_read


def test_a_vehicle_that_came_too_early_is_still_that_after_a_restart(rig: Rig) -> None:
    rig.arrive()
    rig.decide()
    rig.board(entry_loop=True)
    rig.board(entry_loop=False)
    rig.leave()
    rig.board(booth_loop=True)
    rig.wait(0.2)
    assert rig.seen.flags == ("second_vehicle",)
    rig.restart()
    assert set(rig.seen.flags) == {"restarted", "second_vehicle"}


def test_an_alarm_that_was_stored_before_the_opening_is_not_lost(rig: Rig) -> None:
    """A nearly full disk lets alarms through first."""
    rig.arrive(neutron="alarm")
    mine = [record for record in rig.records() if record[2].get("inspection_id") == rig.seen.inspection_id]
    found = found_open(rig.lane_facts, [*mine[1:], (10_000, *mine[0][1:])])
    assert found is not None
    assert len(found.inspection.neutron) == 1


def test_a_record_from_before_a_field_was_added_is_read(rig: Rig) -> None:
    rig.arrive()
    new = {"verdicts", "flags"}
    old = [(seq, kind, {k: v for k, v in data.items() if k not in new}) for seq, kind, data in rig.records()]
    found = found_open(rig.lane_facts, old)
    assert found is not None
    assert (found.scan and found.scan.state, len(found.occupancies)) == ("complete", 1)


@pytest.mark.fault("F31")
def test_an_inspection_that_ended_every_start_is_sealed_unread(rig: Rig) -> None:
    rig.arrive(neutron="alarm")
    subject = rig.seen.inspection_id
    mine = [record for record in rig.records() if record[2].get("inspection_id") == subject]
    broken = [mine[0], *((seq, kind, {"stamp": {}}) for seq, kind, _ in mine[1:])]
    with pytest.raises(KeyError):
        found_open(rig.lane_facts, broken)
    found = found_open(rig.lane_facts, broken, poison=True)
    assert found is not None
    rig.lane.core.passage = None
    rig.carry(rig.lane.start("test", Before(open=(found,)), rig.stamp()))
    sealed = rig.last("inspection.sealed")
    assert (sealed.inspection_id, sealed.outcome, sealed.cause) == (subject, "aborted", "station_restart")


# --- a restart never lowers the level ---------------------------------------------------------------


def missed(rig: Rig) -> None:
    rig.device_count += 5
    rig.arrive()


def frozen(rig: Rig) -> None:
    rig.arrive()
    rig.health("rpm1", "degraded", "frozen")
    rig.health("rpm1", "online")


def measured_again(rig: Rig) -> None:
    rig.arrive()
    rig.occupancy(end=False)


def scanned_again(rig: Rig) -> None:
    rig.arrive()
    rig.scan(end=False)


def cabinet_closed_again(rig: Rig) -> None:
    rig.board(cabinet_closed=False)
    rig.arrive()
    rig.board(cabinet_closed=True)


def ambiguous(rig: Rig) -> None:
    rig.arrive()
    rig.enter()
    rig.occupancy()


def late(check: str, rig: Rig) -> None:
    """At the booth without a measurement, which then comes after all: perhaps of the next vehicle."""
    rig.enter()
    measures: dict[str, Callable[[], None]] = {"rpm": rig.occupancy, "lpr": rig.plate, "scanner": rig.scan}
    missing = measures.pop(check)
    for measure in measures.values():
        measure()
    rig.board(booth_loop=True)
    rig.wait(6.0)
    missing()


@pytest.mark.parametrize(
    "history",
    [
        missed,
        frozen,
        measured_again,
        scanned_again,
        cabinet_closed_again,
        ambiguous,
        partial(late, "scanner"),
        partial(late, "lpr"),
        partial(late, "rpm"),
    ],
)
def test_a_restart_makes_nothing_clear(rig: Rig, history: Callable[[Rig], None]) -> None:
    if history is missed:
        rig.arrive()
        rig.decide()
        rig.leave()
    history(rig)
    before = rig.lane.core.inspection
    assert before is not None
    level = before.recommendation.level
    rig.restart()
    assert ORDER.index(Level(rig.seen.level or "clear")) >= ORDER.index(level)
    assert rig.seen.level != "clear"
