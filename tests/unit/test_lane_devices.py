"""Devices that fail while a vehicle is in the lane: what they no longer say is never taken for granted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drivers.readings import Channel, Phase, SourceStatus
from station.domain.decision import ReleaseLocked
from tests.support.lane_facts import DEVICES, facts
from tests.support.lane_rig import Rig


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.background()
    return rig


def lose_board(rig: Rig) -> None:
    rig.health("io1", "stale", "silence")


def find_board(rig: Rig, after_s: float = 5.0, **inputs: bool) -> None:
    rig.now_s += after_s
    rig.health("io1", "online")
    rig.board(**inputs)


# --- the I/O board ------------------------------------------------------------------------------


def test_a_lost_board_takes_permission_back_and_an_order_needs_to_be_given_again(rig: Rig) -> None:
    """The released vehicle may have left unseen: what stands at the booth afterwards may be another one."""
    rig.arrive()
    rig.decide()
    assert rig.outputs["raise_permit"]
    lose_board(rig)
    assert not rig.outputs["raise_permit"]
    find_board(rig)
    rig.wait(1.0)
    assert not rig.outputs["raise_permit"]
    assert (rig.seen.state, rig.locks) == ("awaiting_decision", [])
    rig.decide()
    assert rig.outputs["raise_permit"]


def test_a_board_that_was_away_for_a_second_hides_no_other_vehicle(rig: Rig) -> None:
    rig.arrive()
    rig.decide()
    number = rig.types().index("decision.recorded") + 1
    lose_board(rig)
    find_board(rig, 1.0, barrier_down=False)
    assert rig.outputs["raise_permit"]
    rig.leave()
    assert (rig.last("barrier.moved").decision_seq, rig.last("inspection.sealed").outcome) == (
        number,
        "decided",
    )


def test_an_arm_that_still_follows_an_order_that_is_void_by_now_names_it(rig: Rig) -> None:
    rig.arrive()
    rig.decide()
    number = rig.types().index("decision.recorded") + 1
    rig.board(barrier_down=False)
    lose_board(rig)
    find_board(rig, 3.0, barrier_up=True)
    rig.board(barrier_up=False)
    rig.board(barrier_up=True)
    assert rig.last("barrier.moved").decision_seq == number
    assert rig.lane.core.book.find("barrier_moved_unordered", "io1") is None


def test_a_vehicle_that_left_while_the_board_was_lost_keeps_its_decision_and_opens_nothing(rig: Rig) -> None:
    rig.arrive()
    rig.decide()
    lose_board(rig)
    find_board(rig, booth_loop=False, exit_loop=True)
    assert not rig.outputs["raise_permit"]
    rig.board(exit_loop=False)
    rig.wait(1.0)
    sealed = rig.last("inspection.sealed")
    assert (sealed.outcome, sealed.decision.verdict) == ("decided", "release")
    assert "vehicle_left_undecided" not in [event.code for event in rig.events if hasattr(event, "code")]


def test_the_next_vehicle_gets_nothing_from_the_order_of_one_that_left_unseen(rig: Rig) -> None:
    rig.arrive()
    rig.decide()
    lose_board(rig)
    find_board(rig, booth_loop=False)
    rig.board(booth_loop=True)
    assert not rig.outputs["raise_permit"]
    assert rig.last("lane_alarm.raised").code == "tailgate"


def test_release_is_locked_while_the_board_is_lost(rig: Rig) -> None:
    rig.arrive()
    lose_board(rig)
    assert rig.locks == ["vehicle_not_at_barrier"]
    with pytest.raises(ReleaseLocked):
        rig.decide()
    find_board(rig)
    assert rig.locks == []


def test_an_order_for_a_vehicle_on_its_way_survives_a_lost_board(rig: Rig) -> None:
    rig.board(entry_loop=True)
    rig.board(entry_loop=False)
    rig.decide("secondary")
    lose_board(rig)
    find_board(rig)
    assert rig.seen.state == "referred_secondary"
    rig.board(booth_loop=True)
    assert rig.outputs["raise_permit"]


def test_an_emergency_stop_that_was_pressed_before_the_vehicle_came_holds_it(rig: Rig) -> None:
    rig.board(estop_ok=False)
    rig.board(entry_loop=True)
    rig.arrive()
    assert (rig.seen.level, rig.locks[0]) == ("emergency", "emergency")
    rig.board(estop_ok=True)
    assert rig.seen.level == "clear"


def test_a_board_that_never_changes_is_suspected_until_something_changes(rig: Rig) -> None:
    """Loops that see no vehicle while portal and scanner do."""
    rig.occupancy()
    rig.plate()
    rig.scan()
    assert rig.suspected == {("io1", "frozen"): True}
    rig.health("io1", "degraded", "frozen")
    rig.wait(31.0)
    assert rig.last("inspection.sealed").outcome == "aborted"
    rig.board(booth_loop=True)
    assert rig.suspected == {("io1", "frozen"): False}


def test_an_arm_that_does_not_follow_permission_is_suspected(rig: Rig) -> None:
    rig.arrive()
    rig.decide()
    rig.wait(9.5)
    assert not rig.suspected
    rig.wait(1.0)
    assert rig.suspected == {("io1", "frozen"): True}


# --- portals, scanners, cameras -----------------------------------------------------------------


@pytest.mark.parametrize(("device", "check"), [("rpm1", "rpm"), ("scanner1", "scanner"), ("lpr1", "lpr")])
@pytest.mark.parametrize("before", [True, False])
def test_a_device_that_says_the_same_again_and_again_is_never_clear(
    rig: Rig, device: str, check: str, before: bool
) -> None:
    if before:
        rig.health(device, "degraded", "frozen")
    rig.arrive()
    if not before:
        rig.health(device, "degraded", "bad_frames,frozen")
    assert rig.seen.level == "secondary"
    known = getattr(rig.seen.coverage, check)
    assert (known.state, known.reason) == ("failed", "fault")
    assert "needs_supervisor" in rig.locks


def test_a_degraded_device_with_good_data_is_trusted(rig: Rig) -> None:
    rig.health("rpm1", "degraded", "bad_frames")
    rig.arrive()
    assert rig.seen.level == "clear"


def test_a_camera_that_missed_three_vehicles_is_suspected_until_it_speaks(rig: Rig) -> None:
    for passage in range(3):
        assert not rig.suspected, passage
        rig.board(entry_loop=True)
        rig.board(entry_loop=False)
        rig.wait(31)
    assert rig.suspected == {("lpr1", "no_reads"): True}
    rig.plate()
    assert rig.suspected == {("lpr1", "no_reads"): False}


def test_two_scans_of_one_vehicle_are_both_evidence(rig: Rig) -> None:
    """A scan that another one cut short is not made good by it."""
    rig.board(entry_loop=True)
    rig.board(entry_loop=False)
    rig.occupancy()
    rig.plate()
    rig.scan(end=False)
    rig.board(booth_loop=True)
    rig.scan_result = {"state": "incomplete", "cause": "superseded"}
    rig.read("lpr1", rig.camera_read(late=True))  # something else happens: records go on
    rig.scan(end=False)
    rig.scan_result = {}
    rig.close_scan()
    rig.wait(1.0)
    assert rig.seen.coverage.scanner.state == "failed"
    assert rig.seen.level == "secondary"
    assert rig.seen.state == "awaiting_decision"


def status(rig: Rig, *, beam_on: bool) -> SourceStatus:
    return SourceStatus(
        rig.stamp(),
        beam_on=beam_on,
        shutter_open=beam_on,
        shutter_closed=not beam_on,
        interlock_ok=True,
        emergency_stop=False,
        detector_ok=True,
        faults=0,
    )


def test_a_vehicle_that_stands_in_the_beam_is_an_alarm_of_its_own(rig: Rig) -> None:
    rig.board(entry_loop=True)
    rig.read("scanner1", status(rig, beam_on=True))
    rig.scan(end=False)
    rig.wait(1.5)
    assert rig.lane.core.book.find("vehicle_in_beam", "scanner1") is None
    rig.wait(1.0)
    assert rig.lane.core.book.find("vehicle_in_beam", "scanner1") is not None


@pytest.mark.parametrize(("encoder", "ends"), [(True, False), (False, True)])
def test_a_silent_scan_ends_by_time_only_when_lines_come_by_the_clock(
    rig: Rig, encoder: bool, ends: bool
) -> None:
    rig.board(entry_loop=True)
    rig.read("scanner1", status(rig, beam_on=True))
    rig.scan(end=False, encoder=encoder)
    rig.wait(11.0)
    assert ("scan.completed" in rig.types()) == ends


@pytest.mark.parametrize(("disturbs", "level"), [(True, "review_image"), (False, "clear")])
def test_counts_taken_beside_an_open_shutter_are_of_low_confidence(disturbs: bool, level: str) -> None:
    rig = Rig(facts(scanner_disturbs=disturbs))
    rig.background()
    rig.read("scanner1", status(rig, beam_on=True))
    rig.board(entry_loop=True)
    rig.occupancy()
    rig.read("scanner1", status(rig, beam_on=False))
    rig.plate()
    rig.board(entry_loop=False)
    rig.scan()
    rig.board(booth_loop=True)
    rig.wait(0.6)
    assert rig.seen.level == level


def test_a_referral_before_everything_is_measured_leaves_no_check_waiting_in_the_record(rig: Rig) -> None:
    rig.board(entry_loop=True)
    rig.board(entry_loop=False, booth_loop=True)
    rig.decide("secondary")
    rig.leave()
    sealed = rig.last("inspection.sealed")
    assert sealed.outcome == "referred_secondary"
    states = {name: check.state for name, check in sealed.coverage}
    assert states == {
        "rpm": "failed",
        "scanner": "failed",
        "lpr": "failed",
        "ocr": "not_fitted",
        "manifest": "not_fitted",
    }


@pytest.mark.parametrize(("mode", "state"), [("real", "failed"), ("emulated", "done")])
def test_a_real_scanner_that_sends_invented_lines_has_scanned_nothing(mode: str, state: str) -> None:
    devices = tuple(replace(d, mode=mode) if d.name == "scanner1" else d for d in DEVICES)
    rig = Rig(facts(devices=devices))
    rig.background()
    rig.invented = True
    rig.arrive()
    assert rig.seen.coverage.scanner.state == state


def test_stamps_say_whether_the_clock_is_synchronised_and_a_change_is_recorded_once(rig: Rig) -> None:
    for _ in range(3):
        rig.carry(rig.lane.clock("unsync", rig.stamp()))
    changes = [event for event in rig.events if event.type_name() == "carril.clock_quality.changed"]
    assert [change.quality for change in changes] == ["unsync"]
    rig.board(cabinet_closed=False)
    assert rig.last("tamper.opened").stamp.clock == "unsync"


def test_a_vehicle_that_stands_in_the_portal_is_told_to_the_officer(rig: Rig) -> None:
    rig.board(entry_loop=True)
    for _ in range(610):
        rig.counts(Channel.GAMMA, Phase.SCAN, (120, 120, 120, 120))
        rig.counts(Channel.NEUTRON, Phase.SCAN, (1, 0, 1, 1))
        rig.wait(1.0)
    noted = [event.code for event in rig.events if event.type_name() == "carril.portal.noted"]
    assert noted == ["extended", "stalled"]
    assert rig.last("lane_alarm.raised").code == "vehicle_stalled"


# --- whose scan it is ---------------------------------------------------------------------------


def test_a_scan_that_was_given_up_stays_with_its_vehicle(rig: Rig) -> None:
    rig.board(entry_loop=True)
    rig.board(entry_loop=False)
    rig.occupancy()
    rig.scan(end=False)
    first, key = rig.seen.inspection_id, rig.scan_key
    rig.health("scanner1", "stale", "silence")
    rig.wait(125.0)
    rig.board(booth_loop=True)
    rig.wait(6.0)
    rig.decide("secondary")
    rig.leave()
    rig.health("scanner1", "online")
    rig.board(entry_loop=True)
    rig.board(entry_loop=False)
    rig.occupancy()
    rig.plate()
    rig.scan(key=key, resent=True)
    rig.board(booth_loop=True)
    rig.wait(6.0)
    assert (rig.seen.scan, rig.seen.level) == (None, "secondary")
    assert "scan_missing" in [reason.code for reason in rig.seen.reasons]
    assert rig.last("inspection.amended").inspection_id == first


def test_a_scan_that_began_before_it_was_seen_may_be_of_another_vehicle(rig: Rig) -> None:
    rig.board(entry_loop=True)
    rig.occupancy()
    rig.plate()
    rig.scan(resent=True)
    rig.board(booth_loop=True)
    rig.wait(1.0)
    assert (rig.seen.coverage.scanner.state, rig.seen.coverage.scanner.reason) == ("failed", "ambiguous")
    assert rig.seen.scan is not None
