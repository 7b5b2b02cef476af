"""Portals that are polled: occupied or not, alarm or not, and a counter of sixteen bits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from drivers.readings import Channel, Counts, Phase, PortalStatus
from station.domain.occupancy import State
from station.domain.occupancy_effects import (
    AlarmRaised,
    Closed,
    Effect,
    Missed,
    Noted,
    Started,
    TamperChanged,
)
from station.domain.polled import MOST_MISSED
from tests.support.portal_lines import Portal, stamp

POLL_S = 0.2


class Polled(Portal):
    """A portal with a status, and nothing to count unless it says so."""

    def __init__(self, fitted: Iterable[Channel] = (), last_count: int | None = None) -> None:
        super().__init__(frozenset(fitted), last_count)
        self.at_s = 100.0
        self.link(True, self.at_s)

    def poll(self, **levels: Any) -> list[Effect]:
        self.at_s = round(self.at_s + POLL_S, 3)
        return self._keep(self.machine.accept(PortalStatus(stamp(self.at_s), **levels)))

    def polls(self, seconds: float, **levels: Any) -> list[Effect]:
        return [effect for _ in range(round(seconds / POLL_S)) for effect in self.poll(**levels)]

    @property
    def closed(self) -> list[Any]:
        return [effect.occupancy for effect in self.effects if isinstance(effect, Closed)]

    @property
    def alarms(self) -> list[tuple[str, bool]]:
        return [(e.channel, e.uncertain) for e in self.effects if isinstance(e, AlarmRaised)]

    def told(self, kind: type[Effect]) -> list[Effect]:
        return [effect for effect in self.effects if isinstance(effect, kind)]


@pytest.fixture
def portal() -> Polled:
    portal = Polled()
    portal.polls(1, occupied=False, occupancy_count=7)
    return portal


def test_the_level_alone_opens_and_closes(portal: Polled) -> None:
    portal.polls(4, occupied=True, occupancy_count=7)
    assert portal.machine.state == State.OCCUPIED
    portal.polls(0.8, occupied=False, occupancy_count=7)
    assert portal.closed == [], "its step of the counter may still come"
    portal.polls(0.6, occupied=False, occupancy_count=8)
    (occupancy,) = portal.closed
    assert (occupancy.close_reason, occupancy.device_count, occupancy.start_known) == ("cleared", 8, True)
    assert occupancy.missing(frozenset()) == ()
    assert occupancy.duration_s == pytest.approx(3.8), "the wait for the counter does not count"
    assert portal.machine.state == State.IDLE
    assert portal.told(Missed) == []


def test_found_occupied_its_begin_is_not_known() -> None:
    portal = Polled()
    portal.polls(2, occupied=True)
    portal.polls(2, occupied=False)
    assert "start_unknown" in portal.closed[0].missing(frozenset())


def test_a_step_just_before_the_opening_belongs_to_it(portal: Polled) -> None:
    portal.poll(occupied=False, occupancy_count=8)
    portal.polls(2, occupied=True, occupancy_count=8)
    portal.polls(2, occupied=False, occupancy_count=8)
    assert portal.closed[0].device_count == 8
    assert portal.told(Missed) == []


def test_a_step_without_a_vehicle_is_one_that_nobody_saw(portal: Polled) -> None:
    portal.polls(0.8, occupied=False, occupancy_count=8)
    assert portal.told(Missed) == []
    portal.poll(occupied=False, occupancy_count=9)
    assert portal.told(Missed) == [Missed(1)], "the second of them"
    portal.polls(1, occupied=False, occupancy_count=9)
    assert portal.told(Missed) == [Missed(1), Missed(1)]


def test_a_step_while_occupied_is_the_next_vehicle(portal: Polled) -> None:
    portal.polls(2, occupied=True, occupancy_count=8)
    portal.polls(2, occupied=True, occupancy_count=9)
    portal.polls(2, occupied=False, occupancy_count=9)
    first, second = portal.closed
    assert (first.close_reason, first.device_count) == ("counter_changed", 8)
    assert (second.close_reason, second.device_count, second.start_known) == ("cleared", 9, True)
    assert "counter_changed" in first.missing(frozenset())


@pytest.mark.parametrize(
    ("last", "now", "missed"), [(65_535, 0, []), (65_535, 2, [Missed(2)]), (5, 8, [Missed(2)])]
)
def test_the_counter_wraps_and_tells_what_was_missed(last: int, now: int, missed: list[Missed]) -> None:
    portal = Polled(last_count=last)
    portal.poll(occupied=False, occupancy_count=last)
    portal.polls(1, occupied=True, occupancy_count=now)
    portal.polls(2, occupied=False, occupancy_count=now)
    assert portal.told(Missed) == missed
    assert portal.closed[0].device_count == now


def test_a_counter_that_begins_again_is_told_and_costs_nothing(portal: Polled) -> None:
    portal.polls(1, occupied=True, occupancy_count=0)
    portal.polls(2, occupied=False, occupancy_count=0)
    assert portal.told(Noted) == [Noted("counter_reset", 0)]
    assert portal.closed[0].missing(frozenset()) == ()


@pytest.mark.parametrize(
    ("now", "lost", "told"),
    [
        (0, True, Noted("counter_reset", 0)),
        (100, True, Noted("counter_reset", 100)),
        (101, True, Missed(336)),
        (65_302, True, Missed(1)),
        (0, False, Missed(235)),
    ],
)
def test_a_counter_that_is_small_after_a_lost_link_began_again(now: int, lost: bool, told: Effect) -> None:
    portal = Polled()
    portal.polls(1, occupied=False, occupancy_count=65_300)
    if lost:
        portal.link(False, portal.at_s)
        portal.link(True, portal.at_s + 5)
        portal.at_s += 5
    assert told in portal.polls(0.4, occupied=True, occupancy_count=now)
    assert len(portal.told(Missed) + portal.told(Noted)) == 1


def test_after_a_start_a_small_number_is_a_counter_that_began_again() -> None:
    portal = Polled(last_count=65_300)
    assert Noted("counter_reset", 3) in portal.poll(occupied=True, occupancy_count=3)
    assert portal.told(Missed) == []


def test_the_alarm_is_raised_once_as_long_as_it_stands(portal: Polled) -> None:
    portal.polls(1, occupied=True)
    portal.polls(1, occupied=True, gamma_alarm=True)
    portal.polls(1, occupied=True, gamma_alarm=True, neutron_alarm=True)
    portal.polls(2, occupied=False, gamma_alarm=True)
    assert portal.alarms == [("gamma", False), ("neutron", False)]
    assert portal.closed[0].alarms == {Channel.GAMMA, Channel.NEUTRON}


def test_an_alarm_that_still_stands_is_raised_for_the_next_vehicle_too(portal: Polled) -> None:
    portal.polls(1, occupied=True, gamma_alarm=True)
    portal.polls(0.4, occupied=False, gamma_alarm=True)
    portal.polls(1, occupied=True, gamma_alarm=True)
    portal.polls(2, occupied=False, gamma_alarm=False)
    assert [alarm[0] for alarm in portal.alarms] == ["gamma", "gamma"]
    assert [occupancy.close_reason for occupancy in portal.closed] == ["cleared", "cleared"]


def test_an_alarm_of_an_empty_portal_is_an_alarm(portal: Polled) -> None:
    portal.poll(occupied=False, neutron_alarm=True)
    assert portal.alarms == [("neutron", True)]
    portal.polls(2, occupied=False, neutron_alarm=True)
    (occupancy,) = portal.closed
    assert "start_unknown" in occupancy.missing(frozenset())
    assert len(portal.alarms) == 1, "it is not raised again and again"


def test_without_a_contact_for_the_vehicle_the_alarm_is_the_occupancy() -> None:
    portal = Polled()
    portal.polls(1, gamma_alarm=False)
    portal.polls(2, gamma_alarm=True)
    assert portal.alarms == [("gamma", False)]
    portal.polls(2, gamma_alarm=False)
    assert len(portal.closed) == 1


def test_fault_and_tamper_are_in_the_record_of_the_vehicle(portal: Polled) -> None:
    portal.polls(1, occupied=True, fault=False, tamper=False)
    portal.poll(occupied=True, fault=True, tamper=True)
    portal.polls(2, occupied=False, fault=True, tamper=True)
    assert portal.told(TamperChanged) == [TamperChanged(open=True)]
    assert portal.closed[0].tamper
    assert portal.closed[0].missing(frozenset()) == ("fault",)
    portal.polls(1, occupied=True, fault=True, tamper=True)
    portal.polls(2, occupied=False, fault=False, tamper=False)
    assert "fault" in portal.closed[1].missing(frozenset()), "it stood before the vehicle came"


def test_a_lost_link_is_no_end_at_once(portal: Polled) -> None:
    portal.polls(1, occupied=True)
    portal.link(False, portal.at_s)
    portal.at_s += 10
    portal.link(True, portal.at_s)
    portal.polls(1, occupied=True)
    portal.polls(2, occupied=False)
    (occupancy,) = portal.closed
    assert "link" in occupancy.missing(frozenset())
    portal.polls(1, occupied=True)
    portal.link(False, portal.at_s)
    portal.tick(portal.at_s + 31)
    assert portal.closed[1].close_reason == "link_lost"


def test_a_truck_that_stands_is_never_closed(portal: Polled) -> None:
    portal.polls(700, occupied=True)
    assert portal.closed == []
    assert portal.told(Noted) == [Noted("extended"), Noted("stalled")]
    assert len(portal.told(Started)) == 1


def test_counts_beside_the_levels_are_judged_and_open_nothing() -> None:
    portal = Polled(fitted=[Channel.GAMMA])

    def counts(phase: Phase, count: int) -> None:
        interval_s = 0.2 if phase == Phase.SCAN else 1.0
        reading = Counts(stamp(portal.at_s), Channel.GAMMA, phase, interval_s, (count,))
        portal._keep(portal.machine.accept(reading))

    portal.poll(occupied=False)
    for _ in range(3):
        counts(Phase.BACKGROUND, 1000)
        portal.polls(5, occupied=False)
    assert portal.opinion.background_cps("gamma") == 1000
    for _ in range(20):
        portal.poll(occupied=True)
        counts(Phase.SCAN, 200)
    portal.poll(occupied=False)
    counts(Phase.BACKGROUND, 1000)
    portal.polls(2, occupied=False)
    (occupancy,) = portal.closed
    assert (occupancy.close_reason, occupancy.gamma.max_window) == ("cleared", 1000)
    assert occupancy.missing(frozenset({Channel.GAMMA})) == ()


def test_the_alarm_is_the_poll_that_told_it(portal: Polled) -> None:
    portal.poll(occupied=True, gamma_alarm=True, occupancy_count=7, raw=b"poll")
    (raised,) = portal.told(AlarmRaised)
    assert isinstance(raised, AlarmRaised)
    reading = raised.reading
    assert (reading.stamp, reading.raw, reading.phase) == (stamp(portal.at_s), b"poll", Phase.SCAN)
    assert (reading.interval_s, reading.counts) == (0.0, ())


def test_a_scanner_that_ran_meanwhile_is_noted_also_when_it_has_stopped(portal: Polled) -> None:
    portal.poll(occupied=True)
    portal.machine.scanner_active = True
    portal.poll(occupied=True)
    portal.machine.scanner_active = False
    portal.polls(1, occupied=True)
    portal.polls(3, occupied=False)
    (closed,) = portal.closed
    assert closed.scanner_active


def test_the_largest_jump_that_is_believed_and_the_first_that_is_not(portal: Polled) -> None:
    portal.poll(occupied=False, occupancy_count=7 + MOST_MISSED)
    assert not portal.told(Noted)
    portal.poll(occupied=False, occupancy_count=8 + 2 * MOST_MISSED)
    assert portal.told(Noted) == [Noted("counter_reset", 8 + 2 * MOST_MISSED)]


def test_a_second_step_within_an_occupancy_that_had_its_own_is_the_next_vehicle(portal: Polled) -> None:
    portal.poll(occupied=True, occupancy_count=8)
    portal.poll(occupied=True, occupancy_count=9)
    portal.polls(3, occupied=False, occupancy_count=9)
    assert [one.device_count for one in portal.closed] == [8, 9]
    assert [one.close_reason for one in portal.closed] == ["counter_changed", "cleared"]


def test_a_second_alarm_of_an_empty_portal_brings_the_first_along(portal: Polled) -> None:
    """The first one's occupancy is over; that of the second has both, since both stand."""
    portal.poll(occupied=False, gamma_alarm=True)
    portal.polls(2, occupied=False, gamma_alarm=True)
    portal.poll(occupied=False, gamma_alarm=True, neutron_alarm=True)
    assert portal.alarms == [
        (Channel.GAMMA, True),
        (Channel.GAMMA, True),
        (Channel.NEUTRON, True),
    ]
