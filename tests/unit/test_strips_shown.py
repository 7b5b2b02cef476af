"""Which occupancy's strips a sealed inspection shows: the one that explains its alarm."""

from __future__ import annotations

import pytest

from station.lane.evidence import most_telling
from station.lane.export import occupancies
from tests.support.lane_rig import Rig
from tests.unit.test_late_opinion import end, scans


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.background()
    return rig


def sealed(rig: Rig) -> str:
    """Let the vehicle in the lane leave, and return its inspection."""
    rig.plate()
    rig.board(booth_loop=True)
    inspection_id = rig.seen.inspection_id
    rig.decide("secondary")
    rig.leave()
    assert rig.last("inspection.sealed").inspection_id == inspection_id
    return inspection_id


def shown(rig: Rig, inspection_id: str) -> str | None:
    """Which occupancy is shown, as its place among all of the inspection."""
    seen = occupancies(
        [record for record in rig.records() if record[2].get("inspection_id") == inspection_id]
    )
    trace = most_telling(seen)
    return next((one.occupancy_id for one in seen if one.profile == trace), None)


@pytest.mark.parametrize("first", ["none", "alarm"])
def test_the_occupancy_that_alarmed_is_shown(rig: Rig, first: str) -> None:
    rig.enter()
    rig.occupancy(gamma=first)
    one = rig.last("occupancy.ended").occupancy_id
    rig.occupancy(gamma="none" if first == "alarm" else "alarm")
    two = rig.last("occupancy.ended").occupancy_id
    assert shown(rig, sealed(rig)) == (one if first == "alarm" else two)


def test_one_that_the_station_alone_alarms_on_is_shown_though_it_ended_late(rig: Rig) -> None:
    rig.enter()
    rig.occupancy()
    scans(rig, 2, 170)
    inspection_id = sealed(rig)
    end(rig)
    late = rig.last("inspection.amended").occupancy
    assert shown(rig, inspection_id) == late.occupancy_id


def test_of_quiet_ones_the_first_is_shown_and_of_none_none(rig: Rig) -> None:
    rig.enter()
    rig.occupancy()
    one = rig.last("occupancy.ended").occupancy_id
    rig.occupancy()
    assert shown(rig, sealed(rig)) == one
    assert most_telling([]) is None
