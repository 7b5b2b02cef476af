"""A busy computer ticks late: every emulated portal still counts what belonged to each of its intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from drivers.formats.n42.document import Document
from drivers.plant.clock import PlantClock
from drivers.plant.panels import Panels
from drivers.plant.polled import PolledPortal
from drivers.plant.vehicle import Source
from drivers.plant.world import PAST_S
from drivers.rpm.aspect.sim import AspectPortal
from drivers.rpm.drop.portal import DropPortal
from drivers.rpm.modbus.driver import ModbusPortalOptions
from drivers.rpm.modbus.sim import MappedPortal
from drivers.rpm.tsa.portal import TsaPortal
from tests.support.lane_places import HOT, PLACES, lane
from tests.support.portal_map import WHOLE

LATE_S = 2.0
PASSAGE_S = 20.0
"""The truck comes, passes and is forgotten."""


class Bench:
    """A truck with a source that alarms, and a clock that is moved by hand."""

    def __init__(self) -> None:
        self.clock = PlantClock(0)
        self.plant = lane(self.clock, HOT)

    def steps(self, every_s: float) -> list[float]:
        """Return the pauses of the portal's work."""
        return [every_s] * round(PASSAGE_S / every_s)


def tsa(every_s: float) -> bytes:
    bench = Bench()
    portal, said = TsaPortal(bench.plant, 1), b""
    for step_s in bench.steps(every_s):
        bench.clock.advance(step_s)
        said += b"".join(portal.step(bench.clock.monotonic_s()))
    return said


def test_a_tsa_portal_that_ticks_two_seconds_late_sends_the_same_lines() -> None:
    on_time = tsa(0.2)
    assert on_time.count(b"GA") > 5
    assert b"GX" in on_time
    assert tsa(LATE_S) == on_time


def polled(make: Any, every_s: float) -> list[Any]:
    """What a polled portal has counted and believes, every two seconds."""
    bench = Bench()
    portal: PolledPortal = make(bench.plant)
    told = []
    for number, step_s in enumerate(bench.steps(every_s), 1):
        bench.clock.advance(step_s)
        portal.step(bench.clock.monotonic_s())
        if number % round(LATE_S / every_s) == 0:
            panels = portal.panels
            counts = np.array(panels.gamma).tolist(), np.array(panels.neutron).tolist(), portal.background
            told.append((*counts, portal.occupied, portal.gamma_alarm, portal.neutron_alarm, portal.count))
    return told


MAPPED = ModbusPortalOptions.model_validate({"map": WHOLE})


@pytest.mark.parametrize(
    "make",
    [
        lambda plant: PolledPortal(plant, 1),  # behind contacts
        lambda plant: AspectPortal(plant, 1),
        lambda plant: MappedPortal(MAPPED, plant, 1),
    ],
    ids=["contacts", "aspect", "mapped"],
)
def test_a_polled_portal_that_ticks_two_seconds_late_has_counted_the_same(make: Any) -> None:
    on_time = polled(make, 0.2)
    assert any(alarm for *_, alarm, _, _ in on_time)
    assert on_time[-1][-1] == 1, "the truck has passed"
    assert polled(make, LATE_S) == on_time


def dropped(every_s: float) -> Document:
    bench = Bench()
    portal, documents = DropPortal(bench.plant, 1), []
    for step_s in bench.steps(every_s):
        bench.clock.advance(step_s)
        documents += portal.step(bench.clock.stamp())
    (document,) = documents
    return document


def test_a_portal_that_writes_documents_two_seconds_late_writes_the_same() -> None:
    on_time, late = dropped(0.2), dropped(LATE_S)
    assert on_time.analyses[0].alarms
    assert late.item == on_time.item
    assert [(each.counts, each.speed_mps) for each in late.measurements] == [
        (each.counts, each.speed_mps) for each in on_time.measurements
    ]


def test_a_truck_that_moves_far_in_an_interval_is_looked_at_along_its_way() -> None:
    clock = PlantClock(0)
    source = Source(at_m=6.0, gamma_cps=1e6)
    plant = lane(clock, HOT.model_copy(update={"speed_mps": 12.0, "sources": (source,)}))
    panels = Panels(plant, np.random.default_rng(1), 1.0)
    while plant.nose_m < PLACES.portal_m:
        clock.advance(0.1)
        plant.advance()
    clock.advance(1.0)
    end_s = plant.advance()
    fine = [sum(plant.gamma_cps(end_s - 1 + n / 200)) for n in range(200)]
    in_the_middle = sum(plant.gamma_cps(end_s - 0.5))
    panels.count(end_s)
    counted = int(panels.gamma[-1].sum())
    assert counted == pytest.approx(np.mean(fine), rel=0.01)
    assert in_the_middle > 1.5 * counted


def test_the_plant_remembers_where_its_truck_was_for_a_minute_and_no_longer() -> None:
    clock = PlantClock(0)
    plant = lane(clock, HOT)
    seen = []
    for _ in range(100):
        clock.advance(0.1)
        seen.append((plant.advance(), plant.at()))
    assert seen[-1][1].vehicle is HOT
    assert [plant.at(at_s) for at_s, _ in seen] == [moment for _, moment in seen]
    assert plant.at(seen[-1][0] + 5) == seen[-1][1], "what is to come is as now"
    plant.entry_green = False
    clock.advance(PAST_S + 10)
    now_s = plant.advance()
    assert plant.at(now_s - PAST_S - 9) == plant.at(now_s - PAST_S)
    assert plant.at(seen[-1][0]) != seen[-1][1]
