"""What the lane records of its hours, and that a restart in the middle of one loses nothing of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from drivers.readings import Channel, Phase, Tamper
from imaging.radiation.health import BLOCK, block_dispersion
from station.domain.day_events import HourCounted
from station.domain.statistics import Tally, total
from station.lane.drafts import draft
from station.lane.effects import BlobKept, DayKept
from station.lane.lane import STANDING_EVERY
from tests.support.lane_facts import facts
from tests.support.lane_rig import Rig

HOUR_S = 3600.0


def counted(rig: Rig) -> list[HourCounted]:
    return [event for event in rig.events if isinstance(event, HourCounted)]


def day(rig: Rig) -> Tally:
    """All that was counted, recorded or not."""
    known: list[Tally] = [
        Tally.model_validate(event.model_dump(include=set(Tally.model_fields))) for event in counted(rig)
    ]
    return total([*known, *rig.lane.hours.running().values()])


def jump(rig: Rig, seconds: float) -> None:
    """Let time pass in one step."""
    rig.now_s += seconds
    rig.carry(rig.lane.tick(rig.stamp()))


def a_truck(rig: Rig, **alarms: str) -> None:
    rig.arrive(**alarms)
    rig.wait(6.0)
    rig.decide("secondary")
    rig.leave()


def test_an_hour_is_recorded_at_its_turn_under_its_day() -> None:
    rig = Rig()
    rig.background()
    a_truck(rig, gamma="alarm")
    jump(rig, HOUR_S)
    (hour,) = counted(rig)
    assert (hour.occupancies, hour.gamma, hour.alarms, hour.codes) == (1, 1, 1, {"0": 1})
    assert len(hour.decisions_s) == 1
    assert 0 < hour.decisions_s[0] < 60
    assert (hour.simulated, hour.test, hour.exercise) == (True, False, False)
    assert hour.panels["rpm1"]["gamma"]["ML"].counts == 3 * (600 + 601)
    append = next(append for append in rig.appends if hour in append.events)
    assert draft(hour, append).subject == f"statistics.{hour.hour[:10]}"
    assert rig.lane.hours.running() == {}


def test_what_came_before_a_tally_and_is_not_in_it_is_not_lost() -> None:
    rig = Rig()
    rig.background()
    a_truck(rig)
    rig.now_s += HOUR_S
    rig.plate("UNSEEN")  # an event of the new hour, before the tally of the last
    rig.health("rpm1", "degraded", "gamma_fault")
    assert len(counted(rig)) == 1
    rig.restart()
    jump(rig, HOUR_S)
    assert (day(rig).occupancies, day(rig).gamma_faults) == (1, 1)


def test_a_restart_in_mid_hour_loses_nothing_and_doubles_nothing() -> None:
    whole, cut = Rig(), Rig()
    for rig in (whole, cut):
        rig.background()
        a_truck(rig, neutron="alarm")
        rig.health("rpm1", "backoff", "link_lost")
        jump(rig, 30)
    cut.restart(away_s=0.0)
    for rig in (whole, cut):
        rig.health("rpm1", "online")
        rig.background()
        a_truck(rig, gamma="alarm", neutron="alarm")
        jump(rig, HOUR_S)
        rig.carry(rig.lane.stop(rig.stamp()))
    one, two = day(whole), day(cut)
    names = set(Tally.model_fields) - {"covered_s", "down_s", "panels"}
    assert one.model_dump(include=names) == two.model_dump(include=names)
    assert (two.occupancies, two.neutron, two.gamma_neutron, two.alarms) == (2, 1, 1, 3)
    assert one.down_s == {"rpm1": {"link_lost": 30.0}}
    assert two.down_s == {}, "nobody knows how long it ran after its last record"
    assert two.covered_s < one.covered_s


def test_a_second_restart_reads_no_hour_twice() -> None:
    rig = Rig()
    rig.background()
    a_truck(rig)
    for _ in range(3):
        rig.restart()
    jump(rig, HOUR_S)
    assert day(rig).occupancies == 1


def test_tallies_are_repeated_before_a_restart_would_have_to_read_too_far() -> None:
    rig = Rig()
    begun = len(counted(rig))
    for number in range(1100):
        rig.now_s += 0.1
        rig.health("lpr1", "stale" if number % 2 else "online", "silence")
    parts = counted(rig)[begun:]
    assert len(parts) == 2
    assert {part.hour for part in parts} == {parts[0].hour}
    places = [rig.events.index(part) for part in parts]
    assert max(b - a for a, b in zip(places, [*places[1:], len(rig.events)], strict=True)) < 600


def test_what_is_recorded_together_with_a_tally_is_not_lost_by_a_restart() -> None:
    rig = Rig()
    rig.background()
    rig.lane._unrepeated = STANDING_EVERY
    rig.read("rpm1", Tamper(rig.stamp(), open=True))
    assert len(counted(rig)) == 1
    rig.restart()
    jump(rig, HOUR_S)
    assert day(rig).tampers == 1


def test_an_ending_station_records_what_it_counted() -> None:
    rig = Rig()
    rig.background()
    rig.carry(rig.lane.stop(rig.stamp()))
    (part,) = counted(rig)
    assert part.panels["rpm1"]["neutron"]["ML"].records == 6
    rig.carry(rig.lane.stop(rig.stamp()))
    assert len(counted(rig)) == 1, "nothing happened since"


def test_a_portal_with_running_means_has_the_dispersion_of_those() -> None:
    found: dict[float, Any] = {}
    for averaging_s in (1.0, 20.0):
        rig = Rig(facts(gb_averaging_s=averaging_s))
        for number in range(60):
            counts = 600 + number
            rig.counts(Channel.GAMMA, Phase.BACKGROUND, (counts, counts, counts, counts))
        rig.carry(rig.lane.stop(rig.stamp()))
        found[averaging_s] = counted(rig)[0].panels["rpm1"]["gamma"]["ML"].dispersions
    mean = 600 + 59 / 2
    assert found[1.0] == (round(1 / (2 * mean), 4),), "from step to step"
    assert found[20.0] == (round(sum((n - 29.5) ** 2 for n in range(60)) / mean / 59, 4),), "about the mean"


def test_a_kept_day_becomes_a_record_with_its_blobs() -> None:
    rig = Rig()
    blob = BlobKept("ab" * 32, "text/csv", 9)
    name = "LANE-1_rpm1_20261124_test-2.csv"
    kept = DayKept("rpm1", "20261124", 2, "test", name, 7, 1, {"daily": blob})
    rig.carry(rig.lane.result(kept, rig.stamp()))
    event = rig.last("daily_file.closed")
    assert (event.day, event.part, event.name, event.lines, event.lost) == ("2026-11-24", 2, name, 7, 1)
    assert (event.simulated, event.test) == (False, True)
    (reference,) = draft(event, rig.appends[-1]).blobs
    assert (reference.role, reference.sha256) == ("daily", "ab" * 32)


def test_the_background_of_the_day_is_what_the_station_takes_as_background() -> None:
    rig = Rig()
    rig.background()
    rig.counts(Channel.GAMMA, Phase.BACKGROUND, (9000, 9000, 9000, 9000), "fault_high")
    rig.board(entry_loop=True)
    rig.occupancy(end=False)
    rig.counts(Channel.GAMMA, Phase.BACKGROUND, (5000, 5000, 5000, 5000))
    jump(rig, HOUR_S)
    (hour,) = counted(rig)
    assert hour.panels["rpm1"]["gamma"]["ML"].counts == 3 * (600 + 601)


def test_means_over_three_seconds_are_running_means_for_the_day_and_for_the_technician() -> None:
    lane = facts(gb_averaging_s=3.0)
    portal = next(device.portal for device in lane.devices if device.name == "rpm1")
    rig = Rig(lane)
    chance = np.random.default_rng(1)
    walk = [int(count) for count in np.cumsum(chance.integers(-3, 4, 70)) + 600]
    for count in walk:
        rig.counts(Channel.GAMMA, Phase.BACKGROUND, (count,) * 4)
        rig.now_s += 5.0
    jump(rig, HOUR_S)
    (hour,) = counted(rig)
    (figure,) = hour.panels["rpm1"]["gamma"]["ML"].dispersions
    taken = walk[-hour.panels["rpm1"]["gamma"]["ML"].records :][:BLOCK]
    assert portal.averaging_s is None
    assert figure == pytest.approx(block_dispersion(taken, averaged=True), abs=1e-3)
