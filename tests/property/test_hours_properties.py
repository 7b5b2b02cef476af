"""A day is the sum of its hours: however they are cut in parts, written down and read again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from station.domain.hours import Hours, Place
from station.domain.statistics import HOUR_US, KINDS, Tally, flags_of, total

DEVICES = {"rpm1": ("A", "B"), "io1": ()}
BEGIN_US = 495_000 * HOUR_US

vehicle = st.sampled_from(("i1", "i2", "i3"))
of_portal: dict[str, Any] = {"device": st.just("rpm1")}
EVENTS: dict[str, dict[str, Any]] = {
    "lane.started": {},
    "occupancy.ended": {
        **of_portal,
        "close_reason": st.sampled_from(("gx", "timeout")),
        "complete": st.booleans(),
        "gamma_alarm": st.booleans(),
        "neutron_alarm": st.booleans(),
        "suppression": st.none() | st.sampled_from((0.1, 0.25)),
    },
    "device_health.changed": {
        "device": st.sampled_from(tuple(DEVICES)),
        "to": st.sampled_from(("online", "degraded", "stale", "backoff")),
        "cause": st.none() | st.sampled_from(("silence", "gamma_fault", "gamma_fault,frozen")),
    },
    "radiation_alarm.raised": {"inspection_id": vehicle},
    "decision.recorded": {"inspection_id": vehicle},
    "radiation_opinion.disagreed": {"relation": st.sampled_from(("device_only", "station_only"))},
    "counts.missed": {"missed": st.integers(1, 5)},
    "tamper.opened": {"device": st.just("io1")},
}
one = st.sampled_from(sorted(EVENTS)).flatmap(
    lambda kind: st.fixed_dictionaries({"type": st.just(kind), **EVENTS[kind]})
)
step = st.tuples(
    one, st.floats(0, 4000), st.sampled_from((0.0, 0.0, 3600.0, -7200.0)), st.sampled_from(KINDS)
)


def folded(steps: Any, cuts: set[int]) -> list[tuple[Place, Tally]]:
    """Fold the steps, taking what is there at each of ``cuts``, through JSON as the journal would."""
    hours, taken = Hours(DEVICES), []
    utc_s, mono_s = 0.0, 10.0
    for number, (event, passed_s, set_s, kind) in enumerate(steps):
        utc_s, mono_s = utc_s + passed_s + set_s, mono_s + passed_s
        stamp = {"utc_us": BEGIN_US + round(utc_s * 1e6), "mono_us": round(mono_s * 1e6), "boot_id": "b"}
        hours.take("carril." + event["type"], {**event, "stamp": stamp, **flags_of(kind)})
        if number in cuts:
            taken += hours.over(whole=number % 2 == 0)
    taken += hours.over(whole=True)
    return [(place, Tally.model_validate_json(json.dumps(t.model_dump(mode="json")))) for place, t in taken]


def by_place(parts: list[tuple[Place, Tally]]) -> dict[Place, dict[str, Any]]:
    places = {place for place, _ in parts}
    sums = {place: total(t for other, t in parts if other == place).model_dump() for place in places}
    return {place: tally for place, tally in sums.items() if tally != Tally().model_dump()}


def assert_same(one: Any, two: Any) -> None:
    """Equal but for the rounding of each part."""
    if isinstance(one, dict):
        for name in one.keys() | two.keys():
            empty: Any = {} if isinstance(one.get(name, two.get(name)), dict) else 0
            assert_same(one.get(name, empty), two.get(name, empty))
    else:
        assert one == pytest.approx(two, abs=0.01)


@settings(max_examples=60, deadline=None)
@given(st.lists(step, max_size=30), st.sets(st.integers(0, 30)))
def test_the_parts_of_an_hour_add_up_to_it(steps: Any, cuts: set[int]) -> None:
    whole, parts = by_place(folded(steps, set())), by_place(folded(steps, cuts))
    assert_same(whole, parts)


@settings(max_examples=40, deadline=None)
@given(st.lists(step, max_size=30))
def test_the_hours_of_a_day_add_up_to_it(steps: Any) -> None:
    tallies = [tally for _, tally in folded(steps, set(range(0, 40, 3)))]
    day = total(tallies)
    ended = [event for event, *_ in steps if event["type"] == "occupancy.ended"]
    assert day.occupancies == len(ended)
    alarmed = [event["gamma_alarm"] + 2 * event["neutron_alarm"] for event in ended]
    assert [day.gamma, day.neutron, day.gamma_neutron] == [alarmed.count(kind) for kind in (1, 2, 3)]
    assert sum(day.incomplete.values()) == sum(not event["complete"] for event in ended)
    assert day.missed == sum(event["missed"] for event, *_ in steps if event["type"] == "counts.missed")
    run = [passed_s for event, passed_s, *_ in steps[1:] if event["type"] != "lane.started"]
    assert day.covered_s == pytest.approx(sum(run), abs=0.01)
