"""Each fault of the emulated portal, from its bytes to the record of the vehicle: what is missing is said."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from drivers.rpm.tsa.portal import BURST_SCANS, FAULTS
from station.domain.occupancy_effects import Closed, Effect, Noted, SetupChanged, TamperChanged
from tests.support.lane_places import HOT
from tests.support.portal_stream import PortalStream, heard, passage


@dataclass(frozen=True)
class Seen:
    """What the lane must make of a hot truck under one fault."""

    reason: str = "gx"
    missing: tuple[str, ...] = ()
    count: int | None = 1
    told: tuple[Effect, ...] = ()
    bad: bool = False
    alarms: frozenset[str] = frozenset({"gamma", "neutron"})
    strikes: bool = False
    """It begins while the truck is in the portal, not before."""


SOUND = Seen()
CASES = {
    "burst": SOUND,
    "clock_jump": SOUND,
    "counter_reset": Seen(strikes=True),
    "duplicate": Seen(told=(Noted("duplicate_end", 1),)),
    "frozen_counter": Seen(count=0),
    "frozen_counts": SOUND,  # told by the health of the panels
    "gamma_high": Seen(missing=("fault",)),
    "gamma_low": Seen(missing=("fault",)),
    "garble": Seen(bad=True),
    "half_line": Seen(missing=("no_neutron", "silent_neutron"), bad=True, alarms=frozenset({"gamma"})),
    "missing_gx": Seen("background_seen", count=None),
    "missing_ns": Seen(missing=("no_neutron", "silent_neutron"), alarms=frozenset({"gamma"})),
    "neutron_high": Seen(missing=("fault",)),
    "neutron_low": Seen(missing=("fault",)),
    "partial": Seen(missing=("no_gamma", "no_neutron")),
    "rate_10x": SOUND,
    "reorder": SOUND,
    "restart": Seen("device_restart", ("device_restart",), count=None, strikes=True),
    "stall": Seen("station_stop", ("station_stop",), None, (Noted("extended"),), strikes=True),
    "tamper": Seen(told=(TamperChanged(True),), strikes=True),
}


def story(fault: str) -> PortalStream:
    strikes = CASES[fault].strikes
    return heard(passage(HOT, faults=() if strikes else (fault,), strike=fault if strikes else ""))


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_what_becomes_of_the_record(fault: str) -> None:
    seen, stream = CASES[fault], story(fault)
    closed, *rest = stream.closed
    occupancy = closed.occupancy
    if fault == "restart":  # the vehicle still stands there: what is heard of it then has no known start
        (last,) = rest
        assert last.occupancy.missing(stream.portal.fitted) == ("start_unknown",)
    else:
        assert rest == []
    assert (occupancy.close_reason, occupancy.missing(stream.portal.fitted)) == (seen.reason, seen.missing)
    assert occupancy.device_count == seen.count
    assert occupancy.alarms == seen.alarms, "no alarm of the device is lost"
    assert {alarm.channel for alarm in stream.portal.alarms} == seen.alarms
    assert bool(stream.bad) is seen.bad
    assert occupancy.tamper is (fault == "tamper")
    told = [e for e in stream.portal.effects if isinstance(e, Noted | TamperChanged)]
    assert told == list(seen.told)


def test_missing_numbers_are_none_and_never_nothing() -> None:
    for fault, channel in (("missing_ns", "neutron"), ("partial", "gamma"), ("partial", "neutron")):
        (closed,) = story(fault).closed
        samples = closed.occupancy.neutron if channel == "neutron" else closed.occupancy.gamma
        assert (samples.max_1s, samples.best_total) == (None, None)
        assert {v.outcome for v in closed.opinion.verdicts if v.channel == channel} == {"not_possible"}


def test_the_scans_of_the_first_read_say_that_they_were_moved() -> None:
    (closed,), (sound,) = story("burst").closed, heard(passage(HOT)).closed
    first = [r.stamp_interpolated for r in story("burst").readings if getattr(r, "phase", "") == "scan"]
    assert first[: BURST_SCANS + 2].count(True) == BURST_SCANS - 1
    assert closed.occupancy.start == sound.occupancy.start, "the burst came as the sixth scan was due"
    assert closed.occupancy.gamma.totals == sound.occupancy.gamma.totals


def test_a_set_up_that_is_told_again_after_a_restart_is_no_change() -> None:
    stream = story("restart")
    changes = [e for e in stream.portal.effects if isinstance(e, SetupChanged)]
    assert len(changes) == 5, "each line of the first burst"
    assert any(isinstance(effect, Closed) for effect in stream.portal.effects)


def test_the_portals_own_clock_orders_nothing() -> None:
    jumping, sound = story("clock_jump"), heard(passage(HOT))
    times = {r.t_device for r in jumping.readings if getattr(r, "t_device", None)}
    assert len({time[:2] for time in times if time}) > 1, "it jumps by hours"
    assert [c.occupancy.gamma for c in jumping.closed] == [c.occupancy.gamma for c in sound.closed]
    assert [c.occupancy.start for c in jumping.closed] == [c.occupancy.start for c in sound.closed]


def test_ten_times_the_rate_loses_no_record() -> None:
    stream = story("rate_10x")
    (closed,) = stream.closed
    scans = [r for r in stream.readings if getattr(r, "phase", "") == "scan"]
    assert closed.occupancy.gamma.records + closed.occupancy.neutron.records == len(scans)
    assert stream.bad == []
