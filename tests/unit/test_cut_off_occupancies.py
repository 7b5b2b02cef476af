"""An occupancy that the station's own stop or death cuts off has a record: it is never just forgotten."""

from __future__ import annotations

from typing import Any

import pytest

from station.domain.hours import COUNTED, Hours
from station.domain.statistics import total
from tests.support.lane_rig import Rig


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.background()
    return rig


def ended(rig: Rig) -> list[Any]:
    return [event for event in rig.events if event.type_name() == "carril.occupancy.ended"]


def counted_incomplete(rig: Rig) -> dict[str, int]:
    """Incomplete occupancies of all records, as the day's statistics count them."""
    hours = Hours({"rpm1": ()})
    for _, kind, data in rig.records():
        if kind != COUNTED:
            hours.take(kind, data)
    return total(tally for _, tally in hours.all()).incomplete


def test_a_stop_ends_what_is_open_and_what_waits_for_its_profile(rig: Rig) -> None:
    rig.enter()
    rig.occupancy(gamma="alarm", end=False)
    rig.carry(rig.lane.stop(rig.stamp()))
    (told,) = ended(rig)
    assert (told.close_reason, told.complete, told.gamma_alarm) == ("station_stop", False, True)
    assert "station_stop" in told.missing
    assert told.gamma_max_1s == 2400, "what was counted so far is kept"
    assert told.verdicts
    assert rig.last("hour.counted").incomplete == {"station_stop": 1}
    assert counted_incomplete(rig) == {"station_stop": 1}
    rig.restart()
    assert len(ended(rig)) == 1, "it is told once"
    assert (rig.seen.coverage.rpm.state, rig.seen.coverage.rpm.reason) == ("failed", "station_restart")


def test_a_start_records_what_a_kill_cut_off(rig: Rig) -> None:
    rig.enter()
    rig.occupancy(gamma="alarm", end=False)
    started = rig.last("occupancy.started")
    rig.restart()
    (told,) = ended(rig)
    assert told.occupancy_id == started.occupancy_id
    assert told.inspection_id == started.inspection_id
    assert (told.close_reason, told.missing) == ("station_restart", ("station_restart",))
    assert (told.gamma_alarm, told.neutron_alarm, told.gamma_max_1s) == (True, False, None)
    assert (rig.seen.coverage.rpm.state, rig.seen.coverage.rpm.reason) == ("failed", "station_restart")
    assert counted_incomplete(rig) == {"station_restart": 1}
    rig.restart()
    assert len(ended(rig)) == 1, "a second start does not tell it again"
    assert rig.seen.coverage.rpm.reason == "station_restart"


def test_a_start_records_what_was_cut_off_of_a_vehicle_that_had_left(rig: Rig) -> None:
    rig.enter()
    rig.occupancy(end=False)
    rig.plate()
    rig.board(booth_loop=True)
    rig.decide("secondary")
    rig.leave()
    gone = rig.last("inspection.sealed").inspection_id
    rig.restart()
    told = rig.last("inspection.amended")
    assert (told.inspection_id, told.what) == (gone, "occupancy")
    assert told.occupancy.close_reason == "station_restart"
    amended = rig.types().count("inspection.amended")
    assert counted_incomplete(rig) == {"station_restart": 1}
    rig.restart()
    assert rig.types().count("inspection.amended") == amended
