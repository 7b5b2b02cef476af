"""One truck through the lane, as central and officer see it; and everything that must not happen."""

from __future__ import annotations

import pytest

from drivers.readings import Channel, OccupancyEnd, Phase, Tamper
from station.domain.decision import NotFound, Refused, ReleaseLocked, VersionConflict
from station.domain.values import Verdict
from station.lane.commands import AckAlarm, ClearTamper, Decide, ReadImage
from tests.support.lane_rig import Rig


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.background()
    return rig


def test_a_clean_truck_is_released_and_sealed(rig: Rig) -> None:
    assert rig.outputs["entry_green"]
    rig.arrive()
    view = rig.lane.view().inspection
    assert view is not None
    assert (view.state, view.level, view.release.allowed) == ("awaiting_decision", "clear", True)
    assert not rig.outputs["entry_green"]
    assert not rig.outputs["raise_permit"]
    rig.decide()
    assert rig.outputs["raise_permit"]
    assert rig.outputs["green"]
    rig.leave()
    sealed = rig.last("inspection.sealed")
    assert sealed.outcome == "decided"
    assert sealed.decision.verdict == "release"
    assert sealed.recommendation.level == "clear"
    assert sealed.coverage.rpm.state == sealed.coverage.scanner.state == sealed.coverage.lpr.state == "done"
    assert sealed.identity.plate.text == "R4K7719"
    assert not any((sealed.incomplete.rpm, sealed.incomplete.image, sealed.incomplete.ident))
    assert sealed.simulated
    assert not rig.outputs["raise_permit"]
    assert rig.lane.core.passage is None
    wanted = ["inspection.opened", "occupancy.started", "occupancy.ended", "plate.read", "scan.completed"]
    assert [kind for kind in rig.types() if kind in wanted] == wanted


def test_the_decision_names_the_sequence_number_of_its_record(rig: Rig) -> None:
    rig.arrive()
    rig.decide()
    number = 1 + rig.types().index("decision.recorded")
    rig.leave()
    assert rig.last("inspection.sealed").decision.seq == number
    assert rig.last("barrier.moved").decision_seq == number


@pytest.mark.parametrize(("channel", "level"), [("gamma", "secondary"), ("neutron", "hold")])
def test_a_device_alarm_locks_release_and_stays(rig: Rig, channel: str, level: str) -> None:
    rig.arrive(**{channel: "alarm"})
    raised = rig.last("radiation_alarm.raised")
    assert raised.channel == channel
    view = rig.lane.view()
    assert view.inspection is not None
    assert view.inspection.level == level
    assert rig.locks == ["needs_supervisor"]
    assert rig.outputs["horn"]
    assert rig.outputs["beacon"]
    with pytest.raises(ReleaseLocked):
        rig.decide()
    rig.order(AckAlarm(raised.alarm_id, "O-1"))
    assert not rig.outputs["horn"]
    assert rig.outputs["beacon"]
    rig.decide("secondary")
    assert rig.outputs["raise_permit"]
    assert rig.outputs["secondary_lamp"]
    rig.leave()
    sealed = rig.last("inspection.sealed")
    assert sealed.outcome == "referred_secondary"
    assert [alarm.code for alarm in sealed.alarms] == [f"{channel}_alarm"]


def test_the_alarm_is_decided_in_the_same_call_as_its_record(rig: Rig) -> None:
    rig.board(entry_loop=True)
    before = len(rig.events)
    rig.counts(Channel.GAMMA, Phase.SCAN, (900, 900, 900, 900), "alarm")
    assert "radiation_alarm.raised" in rig.types()[before:]


def test_an_unread_plate_goes_to_secondary(rig: Rig) -> None:
    rig.arrive(plate="")
    view = rig.lane.view().inspection
    assert view is not None
    assert view.level == "secondary"
    assert [reason.code for reason in view.reasons] == ["ident_missing"]
    assert view.incomplete.ident


def test_a_failed_scan_is_never_clear(rig: Rig) -> None:
    rig.scan_result = {"state": "incomplete", "cause": "link"}
    rig.arrive()
    view = rig.lane.view().inspection
    assert view is not None
    assert view.level == "secondary"
    assert view.coverage.scanner.reason == "link"
    assert view.incomplete.image


def test_a_portal_that_saw_nothing_is_missing_not_clear(rig: Rig) -> None:
    rig.board(entry_loop=True)
    rig.plate()
    rig.scan()
    rig.board(entry_loop=False, booth_loop=True)
    assert rig.lane.view().inspection.level is None
    rig.wait(6.0)
    view = rig.lane.view().inspection
    assert view is not None
    assert view.level == "secondary"
    assert view.coverage.rpm.reason == "timeout"
    assert view.radiation.gamma.state == "failed"


def test_a_lost_portal_fails_at_once_when_the_truck_stands_at_the_booth(rig: Rig) -> None:
    rig.health("rpm1", "backoff", "refused")
    rig.board(entry_loop=True)
    rig.plate()
    rig.scan()
    rig.board(entry_loop=False, booth_loop=True)
    rig.wait(0.8)
    view = rig.lane.view().inspection
    assert view is not None
    assert view.state == "awaiting_decision"
    assert view.coverage.rpm.reason == "link"


def test_link_loss_in_the_middle_of_an_occupancy_ends_it_by_time(rig: Rig) -> None:
    """Fault 7: the next end marker must not close it with the wrong start."""
    rig.board(entry_loop=True)
    rig.occupancy(end=False)
    rig.health("rpm1", "backoff", "link_lost")
    rig.board(booth_loop=True)
    rig.wait(31.0)
    ended = rig.last("occupancy.ended")
    assert ended.close_reason == "link_lost"
    assert not ended.complete
    assert ended.duration_s < 4
    view = rig.lane.view().inspection
    assert view is not None
    assert view.coverage.rpm.reason == "link"


def test_nothing_moves_for_a_decision_that_is_not_stored(rig: Rig) -> None:
    rig.arrive()
    rig.broken = True
    rig.decide()
    assert not rig.outputs["raise_permit"]
    assert rig.lane.core.mode == "out_of_service"
    assert "out_of_service" in rig.locks
    assert any(alarm.code == "cannot_record" and not alarm.stored for alarm in rig.lane.view().alarms)


def test_a_stale_version_releases_nothing(rig: Rig) -> None:
    rig.arrive()
    with pytest.raises(VersionConflict):
        rig.decide(version=1)
    assert not rig.outputs["raise_permit"]


def test_only_one_order_is_carried_out(rig: Rig) -> None:
    rig.arrive()
    rig.decide()
    with pytest.raises(ReleaseLocked):
        rig.decide()
    with pytest.raises(ReleaseLocked):
        rig.decide("secondary")


def test_release_waits_for_the_vehicle_at_the_barrier(rig: Rig) -> None:
    rig.arrive()
    rig.board(booth_loop=False)
    assert rig.locks == ["vehicle_not_at_barrier"]
    with pytest.raises(ReleaseLocked):
        rig.decide()
    rig.board(booth_loop=True)
    rig.decide()
    assert rig.outputs["raise_permit"]


def test_a_vehicle_that_backs_out_loses_its_permission(rig: Rig) -> None:
    rig.arrive()
    rig.decide()
    rig.board(booth_loop=False)
    assert not rig.outputs["raise_permit"]


def test_hold_withdraws_permission_at_once_and_needs_a_supervisor(rig: Rig) -> None:
    rig.arrive()
    rig.decide()
    rig.order(Decide(None, 0, Verdict.HOLD, "O-1"))
    assert not rig.outputs["raise_permit"]
    assert "needs_supervisor" in rig.locks
    rig.decide("secondary")
    assert rig.outputs["raise_permit"]
    rig.leave()
    sealed = rig.last("inspection.sealed")
    assert sealed.outcome == "referred_secondary"
    assert "held" in sealed.flags
    assert [decision.verdict for decision in sealed.decisions] == ["release", "hold", "secondary"]


def test_a_vehicle_that_leaves_undecided_is_a_p1(rig: Rig) -> None:
    rig.arrive()
    rig.board(exit_loop=True)
    rig.board(booth_loop=False)
    rig.board(exit_loop=False)
    assert rig.last("lane_alarm.raised").code == "vehicle_left_undecided"
    sealed = rig.last("inspection.sealed")
    assert (sealed.outcome, sealed.cause) == ("aborted", "vehicle_left_undecided")


def test_a_second_vehicle_on_one_release_is_a_tailgate(rig: Rig) -> None:
    rig.arrive()
    rig.decide()
    rig.board(barrier_down=False)
    rig.board(barrier_up=True, obstruction=True, exit_loop=True)
    rig.board(booth_loop=False)
    rig.board(booth_loop=True)
    assert rig.last("lane_alarm.raised").code == "tailgate"
    assert not rig.outputs["raise_permit"]


def test_an_arm_that_moves_without_an_order_is_a_p1(rig: Rig) -> None:
    rig.arrive()
    rig.board(barrier_down=False)
    assert rig.last("lane_alarm.raised").code == "barrier_moved_unordered"


def test_emergency_stop_locks_everything_until_it_is_reset(rig: Rig) -> None:
    rig.arrive()
    rig.board(estop_ok=False)
    view = rig.lane.view().inspection
    assert view is not None
    assert view.level == "emergency"
    assert "emergency" in rig.locks
    with pytest.raises(ReleaseLocked):
        rig.decide()
    rig.board(estop_ok=True)
    assert "emergency" not in rig.locks


def test_an_open_cabinet_marks_the_inspection(rig: Rig) -> None:
    rig.arrive()
    rig.board(cabinet_closed=False)
    view = rig.lane.view().inspection
    assert view is not None
    assert view.level == "secondary"
    assert [reason.code for reason in view.reasons] == ["tamper"]
    assert "tamper.opened" in rig.types()


def test_a_technician_takes_a_contact_as_closed_that_never_said_so(rig: Rig) -> None:
    rig.read("rpm1", Tamper(rig.stamp(), open=True))
    rig.hold_appends = True
    rig.order(ClearTamper("rpm1", "T-7"))
    assert rig.lane.core.book.find("tamper", "rpm1") is not None, "not before it is durable"
    rig.release_appends()
    assert rig.lane.core.book.find("tamper", "rpm1") is None
    assert rig.types()[-3:] == ["tamper.cleared", "tamper.closed", "alarm.ended"]
    assert rig.last("tamper.cleared").officer == "T-7"
    rig.arrive()
    assert rig.seen.level != "secondary"
    rig.read("rpm1", Tamper(rig.stamp(), open=True))
    assert rig.types().count("tamper.opened") == 2, "what it says from now on counts again"


@pytest.mark.parametrize("device", ["rpm1", "io1", "nobody"])
def test_what_is_not_open_is_not_cleared(rig: Rig, device: str) -> None:
    known = device == "rpm1"
    why = f"No portal {device} has an open tamper contact" if known else f"There is no portal {device}"
    with pytest.raises(Refused if known else NotFound, match=why):
        rig.order(ClearTamper(device, "T-7"))
    assert "tamper.cleared" not in rig.types()


def test_a_vehicle_that_nobody_sees_is_aborted_and_sealed(rig: Rig) -> None:
    rig.board(entry_loop=True)
    rig.board(entry_loop=False)
    rig.wait(31)
    sealed = rig.last("inspection.sealed")
    assert (sealed.outcome, sealed.cause) == ("aborted", "vehicle_gone")


def test_a_broken_exit_loop_seals_after_two_minutes(rig: Rig) -> None:
    rig.arrive()
    rig.decide()
    rig.board(obstruction=True)
    rig.board(booth_loop=False)
    rig.board(obstruction=False)
    rig.wait(121)
    sealed = rig.last("inspection.sealed")
    assert sealed.outcome == "decided"
    assert "exit_unseen" in sealed.flags


def test_camera_reads_never_open_an_inspection(rig: Rig) -> None:
    rig.plate()
    assert rig.lane.core.passage is None
    assert "read.unattributed" in rig.types()


def test_a_late_read_amends_nothing_in_the_lane(rig: Rig) -> None:
    rig.board(entry_loop=True)
    rig.plate(late=True)
    assert rig.lane.core.inspection is not None
    assert rig.lane.core.inspection.identity.status == "waiting"


def test_image_read_is_recorded_with_its_officer(rig: Rig) -> None:
    rig.arrive()
    inspection = rig.lane.core.inspection
    assert inspection is not None
    rig.order(ReadImage(inspection.inspection_id, inspection.version, "O-1", 1200, 1.0))
    assert rig.last("image.read").officer == "O-1"


def test_the_lane_does_not_open_without_a_required_device(rig: Rig) -> None:
    assert rig.outputs["entry_green"]
    rig.health("scanner1", "backoff", "refused")
    assert not rig.outputs["entry_green"]
    assert rig.last("lane_alarm.raised").code == "required_device_lost"
    rig.health("scanner1", "online")
    assert rig.outputs["entry_green"]


def test_versions_in_the_record_never_fall(rig: Rig) -> None:
    rig.arrive(gamma="alarm")
    rig.decide("secondary")
    rig.leave()
    inspection_id = rig.last("inspection.sealed").inspection_id
    versions = [
        event.version for event in rig.events if getattr(event, "inspection_id", None) == inspection_id
    ]
    numbers = [version for version in versions if version is not None]
    assert numbers == sorted(numbers)


def test_an_alarm_shows_its_largest_counts_as_they_come_and_after_a_restart(rig: Rig) -> None:
    rig.board(entry_loop=True)
    rig.background()
    for counts in (120, 150, 300, 900, 900, 900, 900, 900, 100):
        rig.counts(Channel.GAMMA, Phase.SCAN, (counts,) * 4, "alarm" if counts == 150 else "none")
        rig.wait(0.2)
    (alarm,) = rig.lane.view().alarms
    assert alarm.values["counts"] == 5 * 4 * 900
    assert alarm.values["ratio"] == round(18000 / alarm.values["limit"], 2) > 5
    rig.counts(Channel.NEUTRON, Phase.SCAN, (1, 0, 1, 0))
    rig.read("rpm1", OccupancyEnd(rig.stamp(), 1))
    rig.wait(1.4)
    rig.restart()
    (again,) = rig.lane.view().alarms
    assert (again.values["counts"], again.values["ratio"]) == (18000, alarm.values["ratio"])


def test_an_alarm_of_a_vehicle_that_left_says_which_one_it_was(rig: Rig) -> None:
    rig.arrive(gamma="alarm", plate="R4K7719")
    assert "plate" not in rig.lane.view().alarms[0].values
    rig.board(exit_loop=True)
    rig.board(booth_loop=False)
    rig.board(exit_loop=False)
    left = {alarm.code: alarm.values["plate"] for alarm in rig.lane.view().alarms}
    assert left == {"vehicle_left_undecided": "R4K7719", "gamma_alarm": "R4K7719"}
    rig.restart()
    assert {alarm.code: alarm.values["plate"] for alarm in rig.lane.view().alarms} == left
