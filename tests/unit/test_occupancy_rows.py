"""The occupancy state machine, one test per row of its table."""

import pytest

from drivers.readings import Channel, Counts, DeviceFlag, Phase
from station.domain.occupancy import State
from station.domain.occupancy_effects import AlarmRaised, Closed, Effect, Missed, Started, StationAlarm
from tests.support.portal_lines import Portal, stamp


@pytest.fixture
def portal() -> Portal:
    """A portal that is vacant at 15 s."""
    portal = Portal()
    portal.vacant()
    portal.effects.clear()
    return portal


def kinds(effects: list[Effect]) -> list[type]:
    return [type(effect) for effect in effects]


# --- opening ------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", ["GS", "GA", "NS", "NA"])
def test_any_scan_opens_and_its_own_counts_count(portal: Portal, tag: str) -> None:
    effects = portal.say(tag, 20.0, 7, 8, 9, 10)
    assert isinstance(effects[0], Started)
    occupancy = effects[0].occupancy
    assert occupancy.start_known
    samples = occupancy.gamma if tag[0] == "G" else occupancy.neutron
    assert (samples.records, samples.totals, samples.best_total) == (1, [34], 34)
    assert samples.counts == [(7, 8, 9, 10)]
    assert occupancy.start == stamp(19.8 if tag[0] == "G" else 19.0)
    assert portal.machine.state is State.OCCUPIED


def test_after_start_or_reconnect_the_start_is_not_known_until_background_came() -> None:
    portal = Portal()
    portal.say("GS", 1.0)
    assert portal.machine.open is not None
    assert not portal.machine.open.start_known
    portal.say("GX", 2.0, 1)
    portal.tick(4.0)
    assert portal.missing() == ("no_neutron", "start_unknown")
    portal.link(False, 10.0)
    portal.link(True, 11.0)
    assert portal.machine.state is State.UNKNOWN
    portal.say("GS", 12.0)
    assert not portal.machine.open.start_known


def test_a_health_change_that_repeats_link_up_forgets_nothing(portal: Portal) -> None:
    portal.link(True, 16.0)
    assert portal.machine.state is State.IDLE
    portal.scans(20.0, 24.0)
    portal.link(True, 24.1)
    portal.say("GX", 24.5, 1)
    portal.tick(26.0)
    assert portal.missing() == ()


@pytest.mark.parametrize(("tag", "state"), [("GB", State.IDLE), ("GH", State.IDLE), ("NB", State.UNKNOWN)])
def test_the_first_gamma_background_makes_vacancy_known(tag: str, state: State) -> None:
    portal = Portal()
    portal.say(tag, 1.0)
    assert portal.machine.state is state


def test_a_portal_with_neutron_only_is_led_by_neutrons() -> None:
    portal = Portal(fitted=frozenset({Channel.NEUTRON}))
    portal.say("NB", 1.0)
    assert portal.machine.state is State.IDLE
    portal.scans(5.0, 10.0, gamma="")
    portal.say("NB", 11.0)
    assert portal.machine.state is State.CLOSING_BACKGROUND
    portal.tick(13.0)
    assert (portal.closed[0].close_reason, portal.missing()) == ("background_seen", ())


# --- alarms -------------------------------------------------------------------------------------


def test_an_alarm_is_raised_at_once_and_once_per_channel(portal: Portal) -> None:
    portal.scans(20.0, 21.0)
    effects = portal.say("GA", 21.2, 300, 300, 300, 300)
    (alarm,) = [effect for effect in effects if isinstance(effect, AlarmRaised)]
    assert (alarm.occupancy_id, alarm.channel, alarm.uncertain) == ("occ-1", "gamma", False)
    assert alarm.reading.counts == (300, 300, 300, 300)
    portal.scans(21.4, 24.0, gamma="GA", neutron="NA")
    assert [alarm.channel for alarm in portal.alarms] == ["gamma", "neutron"]
    portal.say("GX", 24.2, 1)
    portal.tick(26.0)
    assert portal.closed[0].alarms == {Channel.GAMMA, Channel.NEUTRON}


def test_the_next_vehicle_alarms_again(portal: Portal) -> None:
    for start_s, count in ((20.0, 1), (30.0, 2)):
        portal.say("GA", start_s)
        portal.say("GX", start_s + 1, count)
        portal.tick(start_s + 3)
    assert [alarm.occupancy_id for alarm in portal.alarms] == ["occ-1", "occ-2"]


def test_after_a_gap_the_alarm_is_raised_again_and_never_taken_back(portal: Portal) -> None:
    portal.say("GA", 20.0)
    portal.say("NA", 20.5)
    portal.say("GA", 21.5)  # 1.5 s without gamma
    portal.say("NA", 21.6)
    portal.say("GS", 21.8)
    portal.say("GS", 25.0)  # another gap, no alarm after it
    portal.say("GX", 25.2, 1)
    portal.tick(27.0)
    assert [alarm.channel for alarm in portal.alarms] == ["gamma", "neutron", "gamma", "neutron"]
    assert portal.closed[0].alarms == {Channel.GAMMA, Channel.NEUTRON}


def test_an_alarm_outside_the_scan_phase_is_an_alarm_all_the_same(portal: Portal) -> None:
    odd = Counts(stamp(20.0), Channel.GAMMA, Phase.BACKGROUND, 0.2, (9, 9, 9, 9), DeviceFlag.ALARM)
    assert kinds(portal.machine.accept(odd)) == [Started, AlarmRaised]


def test_the_second_opinion_is_told_at_its_first_crossing(portal: Portal) -> None:
    portal.scans(20.0, 21.0)
    for i in range(5):
        portal.say("GS", 21.2 + 0.2 * i, 90, 90, 90, 90)
    (station,) = [effect for effect in portal.effects if isinstance(effect, StationAlarm)]
    assert station.occupancy_id == "occ-1"
    assert station.verdict.outcome == "alarm"
    assert portal.alarms == []  # advisory: it is no device alarm


# --- background during and after ---------------------------------------------------------------


@pytest.mark.parametrize("tag", ["NB", "NH", "NL"])
def test_neutron_background_during_an_occupancy_changes_no_state(portal: Portal, tag: str) -> None:
    portal.scans(20.0, 21.0)
    assert portal.say(tag, 21.1) == []
    assert portal.machine.state is State.OCCUPIED


@pytest.mark.parametrize("tag", ["GB", "GL", "GH"])
def test_gamma_background_closes_after_two_seconds(portal: Portal, tag: str) -> None:
    portal.scans(20.0, 24.0)
    portal.say(tag, 24.5)
    assert portal.machine.state is State.CLOSING_BACKGROUND
    assert portal.say("GB", 26.4) == []  # more background does not move the deadline
    assert portal.tick(26.49) == []
    (closed,) = portal.tick(26.5)
    assert isinstance(closed, Closed)
    assert closed.occupancy.close_reason == "background_seen"
    assert portal.machine.state is State.IDLE
    assert portal.missing() == (() if tag == "GB" else ("fault",))


def test_a_scan_after_background_goes_on_with_the_same_incomplete_occupancy(portal: Portal) -> None:
    portal.scans(20.0, 22.0)
    portal.say("GB", 22.2)
    portal.scans(22.4, 24.0)
    assert portal.machine.state is State.OCCUPIED
    portal.say("GX", 24.1, 1)
    portal.tick(26.0)
    assert [occupancy.occupancy_id for occupancy in portal.closed] == ["occ-1"]
    assert portal.missing() == ("background_in_occupancy",)


# --- the end marker -----------------------------------------------------------------------------


@pytest.mark.parametrize("background_first", [False, True])
def test_an_end_marker_closes_after_the_tail_time(portal: Portal, background_first: bool) -> None:
    portal.scans(20.0, 24.0)
    if background_first:
        portal.say("GB", 24.1)
    portal.say("GX", 24.2, 123)
    assert portal.machine.state is State.CLOSING_END
    assert portal.tick(25.39) == []
    portal.tick(25.4)
    occupancy = portal.closed[0]
    assert (occupancy.close_reason, occupancy.device_count) == ("gx", 123)
    assert occupancy.device_neutron_background == 4.741
    assert occupancy.duration_s == pytest.approx(4.2)
    assert portal.missing() == ()
    assert portal.machine.state is State.IDLE


def test_background_after_the_end_marker_changes_nothing(portal: Portal) -> None:
    portal.scans(20.0, 24.0)
    portal.say("GX", 24.2, 1)
    portal.say("GB", 24.4)
    assert portal.machine.state is State.CLOSING_END
    portal.tick(25.5)
    assert portal.missing() == ()


def test_the_first_record_after_the_end_marker_is_the_tail(portal: Portal) -> None:
    portal.scans(20.0, 24.0)
    before = portal.machine.open.gamma.records if portal.machine.open else 0
    portal.say("GX", 24.1, 1)
    portal.say("GS", 24.2)
    portal.say("NS", 24.4)
    portal.tick(25.4)
    (occupancy,) = portal.closed
    assert occupancy.gamma.records == before + 1
    assert occupancy.neutron.records == 5
    assert occupancy.duration_s == pytest.approx(4.6)
    assert portal.missing() == ()


@pytest.mark.parametrize("tag", ["GA", "NA"])
def test_an_alarm_in_the_tail_is_raised_at_once_as_uncertain(portal: Portal, tag: str) -> None:
    portal.scans(20.0, 24.0)
    portal.say("GX", 24.1, 1)
    effects = portal.say(tag, 24.2)
    (alarm,) = effects
    assert isinstance(alarm, AlarmRaised)
    assert (alarm.occupancy_id, alarm.uncertain) == ("occ-1", True)
    portal.tick(26.0)
    (occupancy,) = portal.closed
    assert occupancy.notes == {"attribution_uncertain"}
    assert len(occupancy.alarms) == len(portal.alarms) == 1


@pytest.mark.parametrize("alarmed_before", [False, True])
def test_an_alarm_in_the_tail_behind_a_gap_is_raised_once_and_again_if_it_stood(
    portal: Portal, alarmed_before: bool
) -> None:
    portal.scans(20.0, 24.0, gamma="GA" if alarmed_before else "GS")
    portal.say("GX", 24.1, 1)
    portal.say("GA", 25.2)  # 1.2 s after the last gamma record
    portal.tick(26.0)
    assert portal.alarms[-1].uncertain
    assert len(portal.alarms) == 1 + alarmed_before
    assert portal.missing() == ("gap",)


def test_two_gamma_records_after_the_end_marker_are_the_next_vehicle(portal: Portal) -> None:
    portal.scans(20.0, 24.0)
    portal.say("GX", 24.1, 1)
    portal.say("GS", 24.2, 60, 60, 60, 60)
    effects = portal.say("GS", 24.4, 70, 70, 70, 70)
    assert kinds(effects) == [Closed, Started]
    second = portal.machine.open
    assert second is not None
    assert second.start_known
    assert second.start == stamp(24.0)
    assert second.gamma.totals == [240, 280]
    assert portal.closed[0].duration_s == pytest.approx(4.2)
    assert portal.closed[0].close_reason == "gx"
    assert portal.missing(0) == ()


@pytest.mark.parametrize(("tail", "channel"), [("GA", "gamma"), ("NA", "neutron")])
def test_an_alarm_between_two_vehicles_stays_with_both(portal: Portal, tail: str, channel: str) -> None:
    portal.scans(20.0, 24.0)
    portal.say("GX", 24.1, 1)
    portal.say(tail, 24.2)
    portal.say("GS", 24.3)
    portal.say("GS", 24.4)
    portal.say("GX", 25.0, 2)
    portal.tick(27.0)
    assert [(a.occupancy_id, a.channel, a.uncertain) for a in portal.alarms] == [
        ("occ-1", channel, True),
        ("occ-2", channel, True),
    ]
    assert [occupancy.alarms for occupancy in portal.closed] == [{Channel(channel)}] * 2


def test_alarms_of_both_channels_between_two_vehicles_stay_with_both(portal: Portal) -> None:
    portal.scans(20.0, 24.0)
    portal.say("GX", 24.1, 1)
    portal.say("GA", 24.2)
    portal.say("NA", 24.3)
    portal.say("NA", 24.35)
    portal.say("GS", 24.4)
    portal.say("GX", 25.0, 2)
    portal.tick(27.0)
    assert [occupancy.alarms for occupancy in portal.closed] == [set(Channel)] * 2
    assert len(portal.alarms) == 4
    assert all(alarm.uncertain for alarm in portal.alarms)


def test_the_next_vehicles_own_alarm_is_its_own(portal: Portal) -> None:
    portal.scans(20.0, 24.0)
    portal.say("GX", 24.1, 1)
    portal.scans(24.2, 25.0)
    portal.say("GA", 25.2)
    assert [(alarm.occupancy_id, alarm.uncertain) for alarm in portal.alarms] == [("occ-2", False)]


def test_trucks_nose_to_tail_without_an_end_marker_merge_and_show_in_the_count(portal: Portal) -> None:
    portal.say("GX", 16.0, 7)
    portal.scans(20.0, 30.0)
    effects = portal.say("GX", 30.2, 9)
    assert effects == [Missed(1)]
    portal.tick(32.0)
    assert len(portal.closed) == 1
