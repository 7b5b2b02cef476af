"""The occupancy state machine when something is wrong: ends out of turn, time-outs, links, restarts."""

import pytest

from station.domain.occupancy import State
from station.domain.occupancy_effects import (
    Amended,
    Closed,
    Effect,
    Missed,
    Noted,
    Orphaned,
    SetupChanged,
    Started,
    TamperChanged,
)
from station.domain.power_on import BURST
from tests.support.portal_lines import Portal


@pytest.fixture
def portal() -> Portal:
    """A portal that is vacant at 15 s."""
    portal = Portal()
    portal.vacant()
    portal.effects.clear()
    return portal


def kinds(effects: list[Effect]) -> list[type]:
    return [type(effect) for effect in effects]


# --- end markers out of turn --------------------------------------------------------------------


def test_the_same_end_marker_twice_is_one_end(portal: Portal) -> None:
    portal.scans(20.0, 24.0)
    portal.say("GX", 24.2, 5)
    assert portal.say("GX", 24.3, 5) == [Noted("duplicate_end", 5)]
    portal.tick(25.4)
    assert portal.say("GX", 30.0, 5) == [Noted("duplicate_end", 5)]
    assert len(portal.closed) == 1


def test_another_end_marker_right_behind_is_an_occupancy_that_nobody_saw(portal: Portal) -> None:
    portal.scans(20.0, 24.0)
    portal.say("GX", 24.2, 5)
    effects = portal.say("GX", 24.3, 6)
    assert kinds(effects) == [Closed, Orphaned]
    assert (portal.closed[0].device_count, portal.closed[0].close_reason) == (5, "gx")
    portal.scans(30.0, 34.0)
    portal.say("GX", 34.2, 7)
    assert kinds(portal.say("GX", 34.3, 10)) == [Missed, Closed, Orphaned], "the jump is told all the same"


def test_an_end_marker_without_a_scan_is_an_occupancy_that_nobody_saw(portal: Portal) -> None:
    assert portal.say("GX", 20.0, 3) == [Orphaned()]
    assert portal.machine.state is State.IDLE


def test_after_a_start_even_a_known_count_is_an_orphan() -> None:
    portal = Portal(last_count=3)
    (effect,) = portal.say("GX", 1.0, 3)
    assert isinstance(effect, Orphaned)
    assert portal.machine.state is State.IDLE


def test_an_equal_count_after_scans_is_accepted(portal: Portal) -> None:
    for start_s in (20.0, 30.0):
        portal.scans(start_s, start_s + 4)
        assert portal.say("GX", start_s + 4.2, 5) == []
        portal.tick(start_s + 6)
    assert [portal.missing(i) for i in (0, 1)] == [(), ()]


def test_an_equal_count_after_an_occupancy_closed_by_background_is_not_a_duplicate(portal: Portal) -> None:
    portal.say("GX", 16.0, 5)
    portal.scans(20.0, 24.0)
    portal.say("GB", 24.2)
    portal.tick(26.3)
    (effect,) = portal.say("GX", 27.0, 5)
    assert isinstance(effect, Orphaned)


def test_a_lower_count_is_a_reset_and_never_incomplete(portal: Portal) -> None:
    portal.say("GX", 16.0, 122)
    portal.scans(20.0, 24.0)
    assert portal.say("GX", 24.2, 1) == [Noted("counter_reset", 1)]
    portal.tick(26.0)
    assert portal.missing() == ()


@pytest.mark.parametrize(("last", "count", "missed"), [(None, 9, []), (8, 9, []), (5, 9, [Missed(3)])])
def test_only_upward_jumps_are_missed_occupancies(last: int | None, count: int, missed: list[Effect]) -> None:
    portal = Portal(last_count=last)
    portal.vacant()
    portal.scans(20.0, 24.0)
    assert portal.say("GX", 24.2, count) == missed


# --- time-outs, link, restart -------------------------------------------------------------------


@pytest.mark.parametrize(("tag", "value"), [("SP", 2.0), ("NB", None), ("TT", None), ("ZZ", None)])
def test_ten_seconds_without_scans_while_other_records_arrive(
    portal: Portal, tag: str, value: object
) -> None:
    portal.scans(20.0, 24.0)
    portal.say(tag, 30.0, *([] if value is None else [value]))
    assert portal.tick(33.99) == []
    portal.tick(34.0)
    assert (portal.closed[0].close_reason, portal.machine.state) == ("timeout", State.UNKNOWN)
    assert portal.missing() == ("timeout",)


def test_a_record_that_is_stamped_before_the_last_scan_ends_no_time_out(portal: Portal) -> None:
    portal.scans(20.0, 24.0)
    portal.say("SP", 30.0, 2.0)
    portal.say("SP", 23.9, 2.0)
    portal.tick(34.0)
    assert portal.closed[0].close_reason == "timeout"


def test_plain_silence_is_no_time_out(portal: Portal) -> None:
    """Nothing at all arrives: the supervisor reopens the link; that is the link's time-out."""
    portal.scans(20.0, 24.0)
    assert portal.tick(50.0) == []
    portal.scans(50.2, 51.0)
    portal.say("GX", 51.2, 1)
    portal.tick(53.0)
    assert len(portal.closed) == 1
    assert portal.missing() == ("gap",)


def test_a_link_back_within_thirty_seconds_goes_on_incomplete(portal: Portal) -> None:
    portal.scans(20.0, 24.0)
    portal.link(False, 24.1)
    portal.link(True, 40.0)
    assert portal.tick(50.0) == []
    portal.scans(53.0, 55.0)
    portal.say("GX", 55.2, 1)
    portal.tick(57.0)
    (occupancy,) = portal.closed
    assert occupancy.close_reason == "gx"
    assert portal.missing() == ("gap", "link")
    assert {gap.cause for gap in occupancy.gaps} == {"link"}


@pytest.mark.parametrize("reconnects", [False, True])
def test_thirty_seconds_without_a_record_after_a_lost_link(portal: Portal, reconnects: bool) -> None:
    portal.scans(20.0, 24.0)
    portal.link(False, 24.1)
    if reconnects:  # a flapping link does not hold a vehicle for ever
        portal.link(True, 30.0)
        portal.link(False, 31.0)
    assert portal.tick(54.0) == []
    portal.tick(54.1)
    assert (portal.closed[0].close_reason, portal.machine.state) == ("link_lost", State.UNKNOWN)
    assert portal.missing() == ("link", "link_lost")


def test_a_record_after_thirty_seconds_is_another_occupancy(portal: Portal) -> None:
    portal.scans(20.0, 24.0)
    portal.link(False, 24.1)
    portal.link(True, 54.0)
    effects = portal.say("GS", 54.2)
    assert kinds(effects) == [Closed, Started]
    assert portal.machine.open is not None
    assert not portal.machine.open.start_known


def test_a_link_lost_while_background_closes_keeps_the_state(portal: Portal) -> None:
    portal.scans(20.0, 24.0)
    portal.say("GB", 24.2)
    portal.link(False, 25.0)
    assert portal.tick(40.0) == []
    portal.link(True, 41.0)
    portal.say("GB", 41.5)
    portal.tick(41.6)
    assert (portal.closed[0].close_reason, portal.missing()) == ("background_seen", ("link",))


def test_an_end_marker_always_closes_even_when_the_link_goes(portal: Portal) -> None:
    portal.scans(20.0, 24.0)
    portal.say("GX", 24.2, 1)
    portal.link(False, 24.3)
    assert (portal.closed[0].close_reason, portal.missing()) == ("gx", ()), "the device had ended it"
    assert portal.machine.state is State.UNKNOWN


def test_a_vacant_portal_that_loses_its_link_knows_nothing(portal: Portal) -> None:
    portal.link(False, 20.0)
    assert portal.machine.state is State.UNKNOWN


def test_set_up_after_silence_is_a_restart_of_the_device(portal: Portal) -> None:
    portal.scans(20.0, 24.0)
    effects = portal.say("SG1", 25.0, "new")
    assert kinds(effects) == [Closed, SetupChanged]
    assert effects[-1] == SetupChanged("new")
    assert (portal.closed[0].close_reason, portal.machine.state) == ("device_restart", State.UNKNOWN)


def test_set_up_without_silence_is_a_change_of_settings(portal: Portal) -> None:
    portal.scans(20.0, 24.0)
    assert kinds(portal.say("SG1", 24.9, "new")) == [SetupChanged]
    assert portal.say("SG1", 25.0, "new") == []
    assert portal.machine.state is State.OCCUPIED


def test_set_up_after_a_connect_is_never_a_restart(portal: Portal) -> None:
    portal.scans(20.0, 24.0)
    portal.link(False, 24.1)
    portal.link(True, 26.0)
    portal.say("SG1", 30.9)
    assert portal.machine.state is State.OCCUPIED


def test_set_up_after_a_connect_is_none_even_with_records_and_silence_between(portal: Portal) -> None:
    portal.scans(20.0, 24.0)
    portal.link(False, 24.1)
    portal.link(True, 26.0)
    portal.say("GS", 26.2)
    portal.say("SG1", 27.5)
    assert portal.machine.state is State.OCCUPIED


def test_set_up_long_after_a_silent_connect_is_none_either(portal: Portal) -> None:
    """The link was not up throughout the silence."""
    portal.scans(20.0, 24.0)
    portal.link(False, 24.1)
    portal.link(True, 26.0)
    portal.say("SG1", 32.0)
    assert portal.machine.state is State.OCCUPIED


def test_a_link_that_is_said_to_be_up_again_is_no_connect(portal: Portal) -> None:
    portal.scans(20.0, 24.0)
    portal.link(True, 24.1)
    portal.say("SG1", 25.0)
    assert portal.closed[0].close_reason == "device_restart"


@pytest.mark.parametrize(("connected_s", "restart"), [(20.0, True), (20.1, False)])
def test_the_link_must_have_been_up_since_the_last_record_and_for_five_seconds(
    portal: Portal, connected_s: float, restart: bool
) -> None:
    portal.link(False, 19.0)
    portal.link(True, connected_s)
    portal.say("GS", 20.0)
    portal.say("SG1", 25.0)
    assert [occupancy.close_reason for occupancy in portal.closed] == ["device_restart"] * restart


def test_an_ended_occupancy_is_not_ended_by_a_restart(portal: Portal) -> None:
    portal.scans(20.0, 24.0)
    portal.say("GX", 24.1, 1)
    portal.say("SG1", 25.2)
    portal.tick(25.3)
    assert portal.closed[0].close_reason == "gx"


@pytest.mark.parametrize("reason", ["timeout", "link_lost", "device_restart"])
@pytest.mark.parametrize("background_between", [False, True])
def test_a_late_end_marker_amends_the_record(portal: Portal, reason: str, background_between: bool) -> None:
    portal.scans(20.0, 24.0)
    if reason == "timeout":
        portal.say("SP", 33.0, 2.0)
        portal.tick(34.0)
        closed_s = 34.0
    elif reason == "link_lost":
        portal.link(False, 24.0)
        portal.link(True, 53.0)
        portal.tick(54.0)
        closed_s = 54.0
    else:
        portal.say("SG1", 25.0)
        closed_s = 25.0
    assert portal.closed[0].close_reason == reason
    if background_between:
        portal.say("GB", closed_s + 1)
    assert portal.say("GX", closed_s + 60.0, 77) == [Amended("occ-1", 77)]
    assert portal.machine.state is State.IDLE
    assert portal.say("GX", closed_s + 61.0, 77) == [Noted("duplicate_end", 77)]


def test_after_a_minute_a_late_end_marker_is_an_orphan(portal: Portal) -> None:
    portal.scans(20.0, 24.0)
    portal.say("SG1", 25.0)
    (effect,) = portal.say("GX", 85.1, 77)
    assert isinstance(effect, Orphaned)


def test_an_end_marker_of_the_next_vehicle_amends_nothing(portal: Portal) -> None:
    portal.scans(20.0, 24.0)
    portal.say("SG1", 25.0)
    portal.scans(26.0, 28.0)
    assert portal.say("GX", 28.2, 77) == []
    portal.tick(30.0)
    assert [occupancy.device_count for occupancy in portal.closed] == [None, 77]


def test_a_stalled_truck_is_told_and_never_closed(portal: Portal) -> None:
    effects = portal.scans(20.0, 80.0)
    assert [e for e in effects if isinstance(e, Noted)] == [Noted("extended")]
    effects = portal.scans(80.2, 640.0)
    assert [e for e in effects if isinstance(e, Noted)] == [Noted("stalled")]
    assert portal.closed == []
    portal.say("GX", 640.2, 1)
    portal.tick(642.0)
    (occupancy,) = portal.closed
    assert occupancy.extended
    assert occupancy.gamma.records == len(occupancy.gamma.totals) == 3101  # ten minutes fit
    assert not occupancy.gamma.truncated
    assert portal.missing() == ()


@pytest.mark.parametrize(("age_s", "code"), [(60.0, "extended"), (600.0, "stalled")])
def test_a_truck_has_stood_from_its_first_scan_on(portal: Portal, age_s: float, code: str) -> None:
    portal.say("GS", 20.2)
    told = portal.tick(20.0 + age_s - 0.01)
    assert Noted(code) not in told
    assert Noted(code) in portal.tick(20.0 + age_s)


def test_the_station_stops(portal: Portal) -> None:
    assert portal.stop() == []
    portal.scans(20.0, 24.0)
    portal.stop()
    assert portal.machine.state is State.UNKNOWN
    assert (portal.closed[0].close_reason, portal.missing()) == ("station_stop", ("station_stop",))


def test_the_station_stops_between_end_marker_and_tail(portal: Portal) -> None:
    portal.scans(20.0, 24.0)
    portal.say("GX", 24.1, 1)
    portal.say("GS", 24.2)
    portal.stop()
    assert portal.closed[0].gamma.records == 22  # the held record is not lost


# --- tamper, set-up -----------------------------------------------------------------------------


def test_tamper_is_told_when_it_changes(portal: Portal) -> None:
    assert portal.say("TT", 20.0) == [TamperChanged(True)]
    assert portal.say("TT", 21.0) == []
    assert portal.say("TC", 22.0) == [TamperChanged(False)]
    assert portal.say("TC", 23.0) == []


def burst(portal: Portal, t_s: float, *parts: str, settings: str = "hash") -> list[Effect]:
    """Set-up lines 0.1 s apart."""
    return [e for i, part in enumerate(parts) for e in portal.say(part, t_s + 0.1 * i, settings)]


def test_a_lost_tamper_clear_does_not_block_for_ever(portal: Portal) -> None:
    burst(portal, 16.0, *BURST)
    portal.say("TT", 20.0)
    assert TamperChanged(False) in burst(portal, 32.1, *BURST), "switched on: it would say that it is open"
    portal.say("TT", 43.0)
    assert portal.machine.clear_tamper() == [TamperChanged(False)]  # a technician has looked


@pytest.mark.parametrize(
    ("silence_s", "parts", "settings"),
    [
        (3.0, ("SG1",), "hash"),  # a setting was changed, and the cabinet is still open
        (3.0, BURST, "hash"),
        (12.0, BURST, "hash"),  # a vacant portal may be as silent
        (20.0, ("SG1",), "hash"),
        (20.0, BURST[:4], "hash"),
        (20.0, BURST[1:], "hash"),
        (20.0, ("SG1", "SG2", "GB", "SG3", "SN1", "SN2"), "hash"),
        (20.0, BURST[::-1], "hash"),
        (20.0, ("SG1", *BURST), "hash"),  # the second "SG1" follows no silence
        (20.0, BURST, "other"),
    ],
)
def test_set_up_lines_prove_no_closed_cabinet(
    portal: Portal, silence_s: float, parts: tuple[str, ...], settings: str
) -> None:
    burst(portal, 16.0, *BURST)
    portal.say("TT", 20.0)
    portal.say("GB", 21.0)
    assert TamperChanged(False) not in burst(portal, 21.0 + silence_s, *parts, settings=settings)
    assert portal.machine.tamper


def test_settings_that_were_never_known_prove_nothing(portal: Portal) -> None:
    portal.say("TT", 20.0)
    burst(portal, 40.0, *BURST)
    assert portal.machine.tamper


def test_a_whole_burst_after_a_connect_does_not_close_an_open_cabinet(portal: Portal) -> None:
    burst(portal, 16.0, *BURST)
    portal.say("TT", 20.0)
    portal.link(False, 21.0)
    portal.link(True, 35.0)
    burst(portal, 41.0, *BURST)
    assert portal.machine.tamper


def test_a_connect_does_not_close_an_open_cabinet(portal: Portal) -> None:
    portal.say("TT", 20.0)
    portal.link(False, 21.0)
    portal.link(True, 25.0)
    portal.say("SG1", 25.5)
    assert portal.machine.tamper
