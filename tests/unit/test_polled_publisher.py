"""What is told of a polled portal, and when: levels at once, counts of a vehicle, background every 5 s."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from drivers.formats.polled import MOST_COUNTS, Poll, Publisher, flaw
from drivers.readings import Channel, Counts, Phase, PortalReading, PortalStatus, Speed
from drivers.rpm.aspect.driver import AspectOptions
from tests.support.portal_lines import stamp

G, N = Channel.GAMMA, Channel.NEUTRON
KNOWN = {"count_interval_s": 0.2, "bg_averaging_s": 20.0}


class Polls:
    """Polls every 200 ms, and what was told of each."""

    def __init__(self, every_s: float = 0.2, **options: Any) -> None:
        self.publisher = Publisher(AspectOptions.model_validate(options))
        self.at_s = 100.0
        self.every_s = every_s
        self.told: list[PortalReading] = []

    def poll(self, *, own: bool = True, **change: Any) -> list[PortalReading]:
        levels = {key: change.pop(key) for key in [*change] if key in PortalStatus.__dataclass_fields__}
        values = {"counts": {G: (480,), N: (1,)}, "background": {G: (480.0,), N: (0.6,)} if own else {}}
        status = PortalStatus(stamp(self.at_s), **{"occupied": False, **levels})
        said = self.publisher.take(Poll(status, **{**values, **change}))
        self.at_s = round(self.at_s + self.every_s, 3)
        self.told += said
        return said

    def polls(self, count: int, **change: Any) -> list[PortalReading]:
        return [reading for _ in range(count) for reading in self.poll(**change)]


def kinds(told: list[PortalReading]) -> list[str]:
    return [
        f"{reading.channel} {reading.phase}" if isinstance(reading, Counts) else type(reading).__name__
        for reading in told
    ]


def counts(told: list[PortalReading], channel: Channel) -> list[Counts]:
    return [reading for reading in told if isinstance(reading, Counts) and reading.channel is channel]


def test_a_vacant_portal_is_told_every_five_seconds() -> None:
    polls = Polls(**KNOWN)
    told = polls.polls(51)
    assert kinds(told) == ["PortalStatus", "gamma background", "neutron background"] * 3
    assert [reading.stamp.mono_ns / 1e9 for reading in told if isinstance(reading, PortalStatus)] == [
        100.0,
        105.0,
        110.0,
    ]


@pytest.mark.parametrize(
    "level",
    [
        {"gamma_alarm": True},
        {"neutron_alarm": True},
        {"fault": True},
        {"warning": True},
        {"tamper": True},
        {"occupancy_count": 8},
    ],
)
def test_a_level_that_changes_is_told_at_once_and_once(level: dict[str, Any]) -> None:
    polls = Polls(**KNOWN)
    polls.polls(3, occupancy_count=7)
    assert kinds(polls.polls(3, **{"occupancy_count": 7, **level})) == ["PortalStatus"]
    assert kinds(polls.poll(occupancy_count=7)) == ["PortalStatus"]


def test_while_occupied_every_poll_is_told_and_neutrons_by_the_second() -> None:
    polls = Polls(**KNOWN)
    polls.polls(4)
    told = polls.polls(10, occupied=True, speed_mps=1.5)
    assert kinds(told[:3]) == ["PortalStatus", "gamma scan", "Speed"]
    assert len(counts(told, G)) == 10
    assert {(record.interval_s, record.counts, record.phase) for record in counts(told, G)} == {
        (0.2, (480,), Phase.SCAN)
    }
    first, second = counts(told, N)
    assert (first.counts, first.interval_s, second.counts) == ((5,), 1.0, (5,))
    assert second.stamp.mono_ns - first.stamp.mono_ns == 10**9
    assert [reading.speed_mps for reading in told if isinstance(reading, Speed)] == [1.5] * 10
    assert kinds(polls.poll()) == ["PortalStatus"], "the background after it comes five seconds later"
    assert kinds(polls.polls(25)) == ["PortalStatus", "gamma background", "neutron background"]


def test_the_devices_own_background_is_that_of_its_averaging() -> None:
    gamma, neutron = (record for record in Polls(**KNOWN).poll() if isinstance(record, Counts))
    assert (gamma.counts, gamma.interval_s) == ((48_000,), 20.0)
    assert (neutron.counts, neutron.interval_s) == ((60,), 20.0)


def test_a_background_that_the_device_does_not_tell_is_the_last_second_of_the_empty_portal() -> None:
    polls = Polls(**KNOWN)
    assert kinds(polls.poll(own=False)) == ["PortalStatus"], "no second is whole yet"
    assert polls.polls(4, own=False) == []
    told = polls.poll(own=False)
    assert kinds(told) == ["PortalStatus", "gamma background", "neutron background"], "in a second, not five"
    assert kinds(polls.polls(25, own=False)) == kinds(told)
    assert [(record.counts, record.interval_s) for record in told if isinstance(record, Counts)] == [
        ((2400,), 1.0),
        ((5,), 1.0),
    ]
    assert len({reading.stamp for reading in told}) == 1, "no stamp goes back"


def test_seconds_begin_anew_with_each_vehicle() -> None:
    polls = Polls(**KNOWN)
    polls.polls(3, own=False)
    told = polls.polls(4, occupied=True)
    assert counts(told, N) == []
    assert [record.counts for record in counts(polls.poll(occupied=True), N)] == [(5,)]
    polls.polls(3, occupied=True)
    polls.polls(24, own=False)
    assert [record.counts for record in counts(polls.polls(2, own=False), N)] == [(5,)]


@pytest.mark.parametrize(("still", "lost"), [(1, 0), (2, 1), (4, 1)])
def test_counts_that_nobody_read_are_missing_and_not_left_out(still: int, lost: int) -> None:
    polls = Polls(**KNOWN)
    polls.polls(4, occupied=True)
    polls.polls(still, occupied=True, counts={})
    told = polls.poll(occupied=True)
    assert [record.counts for record in counts(told, G)] == [(None,)] * lost + [(480,)]
    later = polls.polls(4, occupied=True)
    assert [record.counts for record in counts([*told, *later], N)] == [(5,)]
    assert len(counts(told, N)) == (1 - lost), "a second never reaches over what is missing"


def test_counts_of_a_whole_second_that_are_read_late_are_all_there() -> None:
    polls = Polls(count_interval_s=1.0, bg_averaging_s=20.0)
    told = [
        reading
        for n in range(40)
        for reading in polls.poll(occupied=True, **({} if n % 5 == 0 else {"counts": {}}))
    ]
    assert {record.counts for record in counts(told, G)} == {(480,)}
    assert len(counts(told, N)) == 8


def test_a_number_that_is_missing_is_missing_in_its_second() -> None:
    polls = Polls(**KNOWN)
    polls.polls(2, occupied=True)
    polls.poll(occupied=True, counts={G: (None,), N: (None,)})
    told = polls.polls(2, occupied=True)
    assert [record.counts for record in counts(polls.told, G)] == [(480,), (480,), (None,), (480,), (480,)]
    assert [record.counts for record in counts(told, N)] == [(None,)]
    assert counts(Polls(**KNOWN).poll(background={G: (None,)}), G)[0].counts == (None,)


def test_one_panel_that_is_silent_leaves_the_others_theirs() -> None:
    polls = Polls(**KNOWN)
    for number in range(5):
        polls.poll(occupied=True, counts={N: (1, None if number == 3 else 2)})
    assert [record.counts for record in counts(polls.told, N)] == [(5, None)]


def test_a_poll_without_counts_has_its_levels() -> None:
    polls = Polls(**KNOWN)
    assert kinds(polls.poll(counts={})) == ["PortalStatus"]
    assert kinds(polls.poll(occupied=True, counts={})) == ["PortalStatus"]


def test_windows_go_with_the_gamma_counts_and_into_their_seconds() -> None:
    polls = Polls(**KNOWN)
    told = polls.poll(occupied=True, windows=(300, 180))
    assert counts(told, G)[0].windows == (300, 180)
    polls.polls(26, own=False, windows=(300, None))
    (background,) = counts(polls.told[-3:], G)
    assert (background.counts, background.windows) == ((2400,), (1500, None))
    assert counts(polls.told[-3:], N)[0].windows is None


@pytest.mark.parametrize("interval_s", [0.5, 1.0])
def test_counts_that_stand_longer_than_a_poll_are_taken_once(interval_s: float) -> None:
    polls = Polls(count_interval_s=interval_s, bg_averaging_s=20.0)
    told = polls.polls(50, occupied=True)
    assert len(counts(told, G)) == pytest.approx(10 / interval_s, abs=1)
    assert {record.interval_s for record in counts(told, N)} == {1.0}
    assert {record.counts for record in counts(told, N)} == {(round(1 / interval_s),)}


def test_without_a_counting_time_everything_is_kept_and_nothing_has_one() -> None:
    polls = Polls()
    polls.poll()
    told = [*polls.told, *polls.polls(3, occupied=True), *polls.poll()]
    records = [record for record in told if isinstance(record, Counts)]
    assert {record.interval_s for record in records} == {0.0}
    assert [record.counts for record in counts(records, N)] == [(1,)] * 4
    assert counts(records, G)[0].counts == (480,)


def test_without_a_contact_for_the_vehicle_only_levels_are_told() -> None:
    polls = Polls()
    assert kinds(polls.poll(occupied=None, counts={}, gamma_alarm=True)) == ["PortalStatus"]


@pytest.mark.parametrize(
    ("number", "wrong"),
    [
        (0, None),
        (MOST_COUNTS, None),
        (MOST_COUNTS + 1, "count_too_large"),
        (-1, "negative_count"),
        (float("nan"), "not_a_number"),
        (float("-inf"), "not_a_number"),
    ],
)
def test_what_can_be_a_count(number: float, wrong: str | None) -> None:
    assert flaw(number) == wrong


@pytest.mark.parametrize("interval_s", [0.05, 0.1, 0.2, 0.25, 0.5, 1.0])
def test_a_counting_time_divides_a_second(interval_s: float) -> None:
    AspectOptions(count_interval_s=interval_s, bg_averaging_s=20.0, poll_s=min(0.2, interval_s))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"count_interval_s": 0.3, "bg_averaging_s": 20.0}, "must divide one second"),
        ({"count_interval_s": 0.01, "bg_averaging_s": 20.0}, "must divide one second"),
        ({"count_interval_s": 0.1, "bg_averaging_s": 20.0}, "counts between two polls would be lost"),
        ({"count_interval_s": 0.2, "bg_averaging_s": 20.0, "poll_s": 0.25}, "give poll_s at most"),
        ({"count_interval_s": 2.0, "bg_averaging_s": 20.0}, "less than or equal to 1"),
        ({"count_interval_s": 0.2}, "belong together: give both, or neither"),
        ({"bg_averaging_s": 20.0}, "belong together: give both, or neither"),
        ({"channels": []}, "at least 1 item"),
        ({"channels": ["beta"]}, "Input should be 'gamma' or 'neutron'"),
        ({"unit_id": 256}, "less than or equal to 255"),
        ({"poll_s": 2.0}, "less than or equal to 1"),
    ],
)
def test_options_that_cannot_work_are_refused_in_words(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        AspectOptions.model_validate(wrong)


def test_what_the_options_say_of_the_portal() -> None:
    facts = AspectOptions(count_interval_s=0.25, bg_averaging_s=20.0, channels=("gamma",)).portal
    assert (facts.detectors, facts.channels) == (("all",), {G})
    assert (facts.interval_s, facts.averaging_s, facts.nsigma) == (0.25, 20.0, None)
    unknown = AspectOptions().portal
    assert (unknown.interval_s, unknown.averaging_s, unknown.channels) == (None, None, {G, N})
