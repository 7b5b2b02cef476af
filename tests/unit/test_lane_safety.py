"""Permission, advice and alarms where it is dangerous: another vehicle, a late alarm, a stop, a bug."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from drivers.readings import Channel, OccupancyEnd, Phase, SourceStatus
from station.domain.alarms import Alarm
from station.domain.decision import ReleaseLocked
from station.lane.commands import AckAlarm
from tests.support.lane_rig import Rig


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.background()
    return rig


# --- permission belongs to one vehicle, one moment ------------------------------------------------


def test_an_order_dies_with_the_vehicle_that_backed_out(rig: Rig) -> None:
    rig.arrive()
    rig.decide()
    rig.board(booth_loop=False)
    rig.enter()  # it leaves backwards
    rig.enter()  # another one comes
    rig.board(booth_loop=True)
    rig.wait(1.0)
    assert not rig.outputs["raise_permit"]


@pytest.mark.parametrize("check", ["lpr", "rpm", "scanner"])
def test_the_next_vehicles_measurements_mend_nothing_of_this_one(rig: Rig, check: str) -> None:
    rig.enter()
    if check != "rpm":
        rig.occupancy()
    rig.plate("" if check == "lpr" else "R4K7719")
    if check != "scanner":
        rig.scan()
    rig.board(booth_loop=True)
    rig.wait(6.0)
    assert rig.seen.level == "secondary"
    rig.enter()
    assert "second_vehicle" in rig.seen.flags
    measure: dict[str, Callable[[], None]] = {
        "lpr": rig.plate,
        "rpm": rig.occupancy,
        "scanner": rig.scan,
    }
    measure[check]()
    rig.wait(1.0)
    assert rig.seen.level == "secondary"
    assert "needs_supervisor" in rig.locks


@pytest.mark.parametrize("stop", ["emergency", "out_of_service"])
def test_permission_that_was_taken_back_does_not_return_by_itself(rig: Rig, stop: str) -> None:
    rig.arrive()
    rig.decide()
    assert rig.outputs["raise_permit"]
    if stop == "emergency":
        rig.board(estop_ok=False)
        rig.board(estop_ok=True)
    else:
        rig.broken = True
        rig.board(cabinet_closed=False)
        rig.broken = False
        rig.board(cabinet_closed=True)
        rig.carry(rig.lane.try_recording(rig.stamp()))
        assert rig.lane.core.mode == "open"
    rig.wait(1.0)
    assert not rig.outputs["raise_permit"]


@pytest.mark.parametrize("stored", ["before", "after"])
def test_an_alarm_after_the_order_takes_permission_back(rig: Rig, stored: str) -> None:
    rig.arrive()
    rig.hold_appends = stored == "after"
    rig.decide()
    rig.counts(Channel.NEUTRON, Phase.SCAN, (40, 40, 40, 40), "alarm")
    rig.release_appends()
    rig.wait(0.2)
    assert rig.seen.level == "hold"
    assert not rig.outputs["raise_permit"]


def test_a_release_that_was_taken_back_is_asked_for_anew_and_can_become_a_referral(rig: Rig) -> None:
    rig.arrive()
    rig.decide()
    asked = rig.types().count("decision.requested")
    rig.counts(Channel.NEUTRON, Phase.SCAN, (40, 40, 40, 40), "alarm")
    assert (rig.seen.state, rig.seen.decision, rig.locks) == ("awaiting_decision", None, ["measuring"])
    rig.device_count += 1
    rig.read("rpm1", OccupancyEnd(rig.stamp(), rig.device_count))
    rig.wait(1.4)
    assert rig.locks == ["needs_supervisor"]
    assert rig.types().count("decision.requested") > asked
    rig.decide("secondary")
    rig.leave()
    sealed = rig.last("inspection.sealed")
    assert (sealed.outcome, sealed.decision.verdict) == ("referred_secondary", "secondary")
    assert [decision.verdict for decision in sealed.decisions] == ["release", "secondary"]


def test_a_vehicle_whose_release_was_taken_back_is_never_sealed_as_released(rig: Rig) -> None:
    rig.arrive()
    rig.decide()
    rig.counts(Channel.NEUTRON, Phase.SCAN, (40, 40, 40, 40), "alarm")
    rig.device_count += 1
    rig.read("rpm1", OccupancyEnd(rig.stamp(), rig.device_count))
    rig.board(booth_loop=False)
    rig.wait(130.0)
    assert "inspection.sealed" not in rig.types()
    assert not rig.outputs["entry_green"]
    rig.board(booth_loop=True)
    rig.wait(0.2)
    assert (rig.seen.level, rig.outputs["raise_permit"]) == ("hold", False)


def test_an_order_that_was_taken_back_while_it_was_written_stays_taken_back(rig: Rig) -> None:
    rig.arrive()
    rig.hold_appends = True
    rig.decide()
    (release,) = rig.take_held()
    rig.health("io1", "stale", "silence")
    rig.now_s += 5.0
    rig.health("io1", "online")
    rig.board()
    rig.hold_appends = True
    rig.decide("secondary")
    rig.carry(rig.lane.stored(release.token, 77, rig.stamp()))
    rig.wait(0.2)
    assert not rig.outputs["raise_permit"]
    rig.release_appends()
    assert rig.seen.state == "referred_secondary"
    rig.wait(0.2)
    assert rig.outputs["secondary_lamp"]


def test_the_alarm_of_a_vehicle_in_the_beam_ends_with_the_scan(rig: Rig) -> None:
    rig.board(entry_loop=True)
    rig.scan(end=False)
    rig.read("scanner1", SourceStatus(rig.stamp(), True, True, False, True, False, True, 0))
    rig.wait(3.0)
    assert rig.codes() == {"vehicle_in_beam": "unack"}
    rig.close_scan()
    assert rig.codes() == {"vehicle_in_beam": "rtn_unack"}


@pytest.mark.parametrize("restart", [False, True])
def test_of_a_referral_that_was_taken_back_it_stays_that_release_needs_a_supervisor(
    rig: Rig, restart: bool
) -> None:
    """Referred on the way; then the board is lost for a moment as the vehicle comes to the booth."""
    rig.enter()
    rig.decide("secondary")
    rig.occupancy()
    rig.plate()
    rig.scan()
    if restart:
        rig.restart()
    else:
        rig.health("io1", "stale", "silence")
        rig.now_s += 1.0
        rig.health("io1", "online")
    rig.board(booth_loop=True)
    rig.wait(6.0)
    assert rig.seen.decision is None
    assert (rig.seen.level, rig.locks) == ("clear", ["needs_supervisor"])
    rig.decide("secondary")
    assert rig.outputs["secondary_lamp"]


def test_a_referral_stands_when_an_alarm_comes(rig: Rig) -> None:
    rig.arrive()
    rig.decide("secondary")
    rig.counts(Channel.NEUTRON, Phase.SCAN, (40, 40, 40, 40), "alarm")
    assert rig.outputs["raise_permit"]


def test_release_waits_while_the_vehicle_is_measured_once_more(rig: Rig) -> None:
    rig.arrive()
    assert rig.locks == []
    rig.occupancy(end=False)
    assert rig.locks == ["measuring"]
    with pytest.raises(ReleaseLocked):
        rig.decide()
    rig.device_count += 1
    rig.read("rpm1", OccupancyEnd(rig.stamp(), rig.device_count))
    rig.wait(2.0)
    assert "measuring" not in rig.locks


def test_a_board_lost_with_the_vehicle_under_the_arm_leaves_no_permission_behind(rig: Rig) -> None:
    rig.arrive()
    rig.decide()
    rig.board(barrier_down=False, obstruction=True)
    rig.board(booth_loop=False)
    assert rig.outputs["raise_permit"]
    rig.health("io1", "stale", "silence")
    rig.now_s += 6.0
    rig.health("io1", "online")
    rig.board(obstruction=False)
    rig.wait(60.0)
    assert not rig.outputs["raise_permit"]


def test_a_vehicle_from_the_exit_side_settles_nothing_for_the_one_at_the_booth(rig: Rig) -> None:
    rig.arrive()
    rig.decide()
    rig.board(exit_loop=True)
    rig.board(exit_loop=False)
    assert rig.seen.inspection_id
    assert rig.codes()["wrong_way"] == "unack"
    assert "inspection.sealed" not in rig.types()


def test_a_vehicle_that_enters_by_the_exit_is_an_alarm(rig: Rig) -> None:
    rig.board(exit_loop=True)
    assert rig.codes() == {"wrong_way": "unack"}
    assert rig.outputs["horn"]


def test_a_second_vehicle_that_stands_at_the_booth_can_be_decided(rig: Rig) -> None:
    rig.arrive()
    rig.decide()
    rig.board(barrier_down=False)
    rig.board(barrier_up=True, obstruction=True)
    rig.board(exit_loop=True)
    rig.board(booth_loop=False)
    rig.board(booth_loop=True)  # nose to tail
    assert rig.codes()["tailgate"] == "unack"
    rig.board(exit_loop=False, obstruction=False)
    rig.board(barrier_up=False, barrier_down=True)
    rig.wait(8.0)
    assert "vehicle_not_at_barrier" not in rig.locks
    assert rig.seen.level == "secondary"


# --- alarms outlive inspections and stops ----------------------------------------------------------


def test_a_vehicle_that_left_undecided_alarms_until_somebody_has_seen_it(rig: Rig) -> None:
    rig.arrive()
    rig.board(booth_loop=False)
    rig.board(exit_loop=True)
    rig.board(exit_loop=False)
    rig.wait(1.0)
    assert rig.last("inspection.sealed").outcome == "aborted"
    assert rig.codes() == {"vehicle_left_undecided": "unack"}
    assert rig.outputs["beacon"]
    rig.restart()
    assert rig.codes() == {"vehicle_left_undecided": "unack"}
    assert rig.outputs["horn"]
    (alarm,) = rig.lane.core.book
    rig.order(AckAlarm(alarm.alarm_id, "O-1"))
    assert rig.codes() == {}
    assert rig.last("alarm.ended").alarm_id == alarm.alarm_id
    rig.restart()
    assert rig.codes() == {}


def test_a_radiating_vehicle_that_nobody_sees_is_not_forgotten(rig: Rig) -> None:
    rig.enter()
    rig.occupancy(neutron="alarm")
    (alarm,) = rig.lane.core.book
    rig.order(AckAlarm(alarm.alarm_id, "O-1"))
    rig.wait(70.0)
    assert rig.seen.level == "hold"
    assert rig.codes() == {"neutron_alarm": "ack"}
    assert rig.outputs["beacon"]


def test_a_referral_settles_a_radiation_alarm_and_nothing_else_does(rig: Rig) -> None:
    rig.arrive(gamma="alarm")
    rig.decide("secondary")
    rig.leave()
    assert rig.codes() == {"gamma_alarm": "rtn_unack"}
    rig.restart()
    assert rig.codes() == {"gamma_alarm": "rtn_unack"}

    again = Rig()
    again.background()
    again.arrive(gamma="alarm")
    (alarm,) = again.lane.core.book
    again.order(AckAlarm(alarm.alarm_id, "O-1"))
    again.board(booth_loop=False)
    again.board(exit_loop=True)
    again.board(exit_loop=False)  # it drives off
    assert again.codes() == {"vehicle_left_undecided": "unack", "gamma_alarm": "unack"}


def test_a_lost_device_is_an_alarm_as_long_as_it_is_lost(rig: Rig) -> None:
    rig.enter()
    rig.health("rpm1", "backoff", "refused")
    rig.wait(31.0)
    assert rig.last("inspection.sealed").outcome == "aborted"
    assert rig.codes() == {"required_device_lost": "unack"}


def test_every_movement_of_the_arm_without_an_order_is_an_alarm_of_its_own(rig: Rig) -> None:
    for _ in range(2):
        rig.board(barrier_down=False)
        assert rig.outputs["beacon"]
        rig.board(barrier_up=True)
        rig.board(barrier_up=False)
        rig.board(barrier_down=True)
        assert not rig.outputs["beacon"]
    assert rig.types().count("lane_alarm.raised") == 2


def test_a_flickering_link_records_one_press_of_the_emergency_stop_once(rig: Rig) -> None:
    rig.board(estop_ok=False)
    rig.health("io1", "backoff", "refused")
    rig.health("io1", "online")
    rig.board()
    assert rig.types().count("emergency_stop.pressed") == 1


def gamma_alarm(rig: Rig) -> Alarm:
    return next(alarm for alarm in rig.lane.core.book if alarm.code == "gamma_alarm")


def test_a_second_look_at_the_vehicle_makes_its_alarm_no_smaller(rig: Rig) -> None:
    rig.background()
    rig.enter()
    for n in range(15):
        rig.counts(Channel.GAMMA, Phase.SCAN, (900, 900, 900, 900), "alarm" if n == 8 else "none")
        rig.wait(0.2)
        if n % 5 == 4:
            rig.counts(Channel.NEUTRON, Phase.SCAN, (1, 0, 1, 1))
    rig.device_count += 1
    rig.read("rpm1", OccupancyEnd(rig.stamp(), rig.device_count))
    rig.wait(1.4)
    alarm = gamma_alarm(rig)
    assert alarm.values["counts"] == 18_000
    first, before = dict(alarm.values), rig.lane.view().inspection
    rig.occupancy()  # it stopped, and went on: quiet this time
    alarm = gamma_alarm(rig)
    assert alarm.values == first
    after = rig.lane.view().inspection
    assert before is not None
    assert after is not None
    shown, still = before.radiation.gamma, after.radiation.gamma
    assert (still.max_cps, still.limit_cps) == (shown.max_cps, shown.limit_cps) == (18_000, first["limit"])
    assert still.alarm
    rig.restart()
    alarm = gamma_alarm(rig)
    assert alarm.values["counts"] == 18_000
    assert rig.seen.radiation.gamma.max_cps == 18_000
    rig.decide("secondary")
    rig.leave()
    kept = next(each for each in rig.last("inspection.sealed").alarms if each.code == "gamma_alarm")
    assert kept.values["counts"] == 18_000
