"""A link that is lost between two vehicles: the second's beginning was not heard, its alarm is its own."""

from __future__ import annotations

import pytest

from drivers.readings import OccupancyEnd, PortalStatus
from station.domain.occupancy import State
from station.domain.occupancy_effects import AlarmRaised, Closed, Effect
from station.domain.values import CoverageState
from tests.support.lane_rig import Rig
from tests.support.portal_lines import Portal, stamp


@pytest.fixture
def portal() -> Portal:
    """A portal that is vacant at 15 s."""
    portal = Portal()
    portal.vacant()
    return portal


def poll(portal: Portal, t_s: float, occupied: bool | None, *, gamma: bool = False) -> list[Effect]:
    status = PortalStatus(stamp(t_s), occupied=occupied, gamma_alarm=gamma, neutron_alarm=False)
    return portal.take(status)


# --- who is there when the link is back ----------------------------------------------------------


@pytest.mark.parametrize("back_s", [24.5, 24.9, 26.0, 47.0])
def test_after_an_end_marker_a_lost_link_hides_the_next_beginning(portal: Portal, back_s: float) -> None:
    portal.scans(20.0, 24.0)
    portal.say("GX", 24.2, 1)
    portal.link(False, 24.4)
    portal.link(True, back_s)
    portal.scans(back_s + 0.1, back_s + 4.1)
    portal.say("GX", back_s + 4.3, 2)
    portal.tick(back_s + 6)
    assert [portal.missing(i) for i in (0, 1)] == [(), ("start_unknown",)]
    assert portal.machine.state is State.IDLE, "its own end was heard"
    portal.scans(60.0, 64.0)
    portal.say("GX", 64.2, 3)
    portal.tick(66.0)
    assert portal.missing() == ()


def test_a_record_held_as_the_tail_is_kept_when_the_link_goes(portal: Portal) -> None:
    portal.scans(20.0, 24.0)
    portal.say("GX", 24.2, 1)
    portal.say("GS", 24.3)
    (closed,) = portal.link(False, 24.4)
    assert isinstance(closed, Closed)
    assert (closed.occupancy.gamma.records, portal.missing()) == (22, ())


@pytest.mark.parametrize("tag", ["SP", "NB"])
def test_what_is_no_leading_background_does_not_prove_a_vacant_portal(portal: Portal, tag: str) -> None:
    portal.scans(20.0, 24.0)
    portal.say("GB", 24.2)
    portal.link(False, 24.4)
    portal.link(True, 40.0)
    portal.say(tag, 40.2, *([1.5] if tag == "SP" else []))
    assert portal.closed[0].close_reason == "background_seen"
    portal.say("GS", 40.4)
    assert portal.machine.open is not None
    assert not portal.machine.open.start_known


@pytest.mark.parametrize(("tag", "values"), [("GB", ()), ("GX", (3,))])
def test_nothing_is_known_while_the_link_is_said_to_be_down(
    portal: Portal, tag: str, values: tuple[int, ...]
) -> None:
    portal.link(False, 20.0)
    portal.say(tag, 20.1, *values)
    assert portal.machine.state is State.UNKNOWN


def test_of_two_vehicles_heard_on_a_lost_link_the_second_has_no_known_start(portal: Portal) -> None:
    portal.link(False, 19.0)
    portal.scans(20.0, 21.0)
    portal.say("GX", 21.1, 1)
    portal.scans(21.2, 22.0)
    assert portal.machine.open is not None
    assert not portal.machine.open.start_known


def test_after_a_clearing_a_lost_link_hides_the_next_beginning() -> None:
    portal = Portal(fitted=frozenset())
    portal.link(True, 9.0)
    for t_s, occupied in ((10.0, False), (11.0, True), (15.8, True), (16.0, False)):
        poll(portal, t_s, occupied)
    portal.link(False, 16.3)
    portal.link(True, 36.0)
    for t_s, occupied in ((36.2, True), (40.0, True), (40.2, False), (41.3, False)):
        poll(portal, t_s, occupied)
    assert [portal.missing(i) for i in (0, 1)] == [(), ("start_unknown",)]
    poll(portal, 50.0, True)
    assert portal.machine.open is not None
    assert portal.machine.open.start_known


@pytest.mark.parametrize(("polled_between", "known"), [(False, False), (True, True)])
def test_a_step_of_the_counter_after_a_lost_link_is_a_beginning_only_between_two_polls(
    polled_between: bool, known: bool
) -> None:
    portal = Portal(fitted=frozenset())
    portal.link(True, 9.0)

    def count(t_s: float, number: int) -> None:
        portal.take(PortalStatus(stamp(t_s), occupied=number > 7, occupancy_count=number))

    for t_s, number in ((10.0, 7), (11.0, 8), (11.2, 8)):
        count(t_s, number)
    portal.link(False, 11.4)
    portal.link(True, 20.0)
    if polled_between:
        count(20.2, 8)
    count(20.4, 9)
    assert portal.closed[0].close_reason == "counter_changed"
    assert portal.machine.open is not None
    assert portal.machine.open.start_known is known


# --- an alarm that stands on both sides ----------------------------------------------------------


@pytest.mark.parametrize("occupied", [True, None])
def test_an_alarm_level_that_stands_after_a_lost_link_is_raised_anew(occupied: bool | None) -> None:
    portal = Portal(fitted=frozenset())
    portal.link(True, 9.0)
    poll(portal, 10.0, False)
    poll(portal, 11.0, occupied, gamma=True)
    portal.link(False, 12.0)
    portal.link(True, 36.0)
    assert [type(effect) for effect in poll(portal, 36.2, occupied, gamma=True)] == [AlarmRaised]
    assert poll(portal, 36.4, occupied, gamma=True) == []


def test_an_alarm_level_of_an_empty_portal_is_raised_anew_too() -> None:
    portal = Portal(fitted=frozenset())
    portal.link(True, 9.0)
    poll(portal, 10.0, False, gamma=True)
    portal.tick(12.0)
    portal.link(False, 12.0)
    portal.link(True, 14.0)
    poll(portal, 14.2, False, gamma=True)
    assert [alarm.occupancy_id for alarm in portal.alarms] == ["occ-1", "occ-2"]


def test_an_alarm_record_after_the_shortest_loss_is_raised_anew(portal: Portal) -> None:
    portal.say("GA", 20.0)
    portal.link(False, 20.1)
    portal.link(True, 20.3)
    portal.say("GA", 20.4)
    assert [alarm.channel for alarm in portal.alarms] == ["gamma", "gamma"]


# --- the same in the lane ------------------------------------------------------------------------


def drive_in(rig: Rig) -> None:
    rig.board(entry_loop=True)
    rig.wait(1.0)
    rig.board(entry_loop=False)


def test_a_vehicle_half_measured_after_a_lost_link_is_never_covered() -> None:
    rig = Rig()
    rig.background()
    drive_in(rig)
    rig.occupancy(end=False)
    rig.device_count += 1
    rig.read("rpm1", OccupancyEnd(rig.stamp(), rig.device_count))
    rig.wait(0.3)
    rig.health("rpm1", "backoff", "link_lost")
    rig.wait(1.5)
    rig.plate()
    rig.scan()
    rig.board(booth_loop=True)
    rig.wait(0.6)
    rig.decide("secondary")
    rig.leave()
    assert rig.lane.core.passage is None
    drive_in(rig)
    rig.wait(3.0)  # its first half, which nobody hears
    rig.health("rpm1", "online")
    rig.occupancy(end=False)
    rig.device_count += 1
    rig.read("rpm1", OccupancyEnd(rig.stamp(), rig.device_count))
    rig.wait(1.4)
    rig.plate("XYZ1234")
    rig.scan()
    rig.board(booth_loop=True)
    rig.wait(0.6)
    assert rig.seen.coverage.rpm.state == CoverageState.FAILED
    assert rig.seen.level != "R0"


def test_the_vehicle_after_a_lost_link_has_its_own_alarm() -> None:
    rig = Rig()

    def poll(*, alarm: bool, seconds: float = 0.2) -> None:
        for _ in range(round(seconds / 0.2)):
            status = PortalStatus(rig.stamp(), occupied=alarm, gamma_alarm=alarm, neutron_alarm=False)
            rig.read("rpm1", status)
            rig.wait(0.2)

    rig.background()
    poll(alarm=False)
    drive_in(rig)
    poll(alarm=True, seconds=0.4)
    first = rig.seen.inspection_id
    rig.health("rpm1", "backoff", "link_lost")
    rig.plate()
    rig.scan()
    rig.board(booth_loop=True)
    rig.wait(0.6)
    rig.decide("secondary")
    rig.leave()
    rig.wait(1.0)
    assert rig.lane.core.passage is None
    drive_in(rig)
    rig.health("rpm1", "online")
    poll(alarm=True, seconds=4)
    second = rig.lane.core.passage
    assert second is not None
    assert second.inspection.inspection_id != first
    assert [alarm.device for alarm in second.inspection.gamma] == ["rpm1"]
    assert "gamma_alarm" in {a.code for a in rig.lane.core.book.of(second.inspection.inspection_id)}
