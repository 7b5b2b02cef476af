"""What the station alone sees: told while the vehicle still stands in the portal, and after it has left."""

from __future__ import annotations

import pytest

from drivers.readings import Channel, OccupancyEnd, Phase, PortalSetup
from tests.support.lane_rig import Rig

RAISED = "carril.lane_alarm.raised"


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.background()
    return rig


def scans(rig: Rig, seconds: int, panel: int) -> None:
    """Let a vehicle stand in the portal, of which the device says nothing."""
    for _ in range(seconds):
        for _ in range(5):
            rig.counts(Channel.GAMMA, Phase.SCAN, (panel,) * 4)
            rig.wait(0.2)
        rig.counts(Channel.NEUTRON, Phase.SCAN, (1, 0, 1, 1))


def leaves_before_the_end_is_told(rig: Rig, panel: int) -> str:
    """Let a vehicle leave before its occupancy ends, and return its inspection."""
    rig.enter()
    scans(rig, 2, panel)
    rig.plate()
    rig.board(booth_loop=True)
    inspection_id = rig.seen.inspection_id
    rig.decide("secondary")
    rig.leave()
    assert rig.last("inspection.sealed").inspection_id == inspection_id
    assert "occupancy.ended" not in rig.types()
    return inspection_id


def raised(rig: Rig, code: str) -> list[str | None]:
    """Inspections of the alarms of this code, oldest first."""
    return [
        data["inspection_id"] for _, kind, data in rig.records() if kind == RAISED and data["code"] == code
    ]


def end(rig: Rig) -> None:
    rig.device_count += 1
    rig.read("rpm1", OccupancyEnd(rig.stamp(), rig.device_count))
    rig.wait(1.4)


@pytest.mark.parametrize("next_is_there", [False, True])
def test_what_the_station_alone_saw_of_a_vehicle_that_left_is_an_alarm(rig: Rig, next_is_there: bool) -> None:
    gone = leaves_before_the_end_is_told(rig, 170)
    if next_is_there:
        rig.enter()
    end(rig)
    told = rig.last("radiation_opinion.disagreed")
    assert (told.inspection_id, told.relation, told.channel) == (gone, "station_only", "gamma")
    assert raised(rig, "late_station_only") == [gone]
    (alarm,) = [alarm for alarm in rig.lane.core.book if alarm.code == "late_station_only"]
    assert (alarm.priority, alarm.values["plate"]) == (2, "R4K7719")
    assert rig.last("inspection.amended").occupancy.verdicts
    if next_is_there:
        assert not rig.lane.core.inspection.opinions, "it is nothing to the vehicle in the lane"


def test_a_quiet_vehicle_that_left_is_no_alarm(rig: Rig) -> None:
    leaves_before_the_end_is_told(rig, 120)
    end(rig)
    assert rig.last("inspection.amended").what == "occupancy"
    assert "radiation_opinion.disagreed" not in rig.types()
    assert "late_station_only" not in rig.codes()


def test_a_portal_against_its_own_rule_is_told_of_a_vehicle_that_left(rig: Rig) -> None:
    for part, values in (
        ("SG1", {"nsigma": 6.5, "intervals": 5.0}),
        ("SG2", {"algorithm": "SUM"}),
    ):
        rig.read("rpm1", PortalSetup(rig.stamp(), part, values, "hash"))
    rig.background()  # what was counted under other settings is forgotten
    gone = leaves_before_the_end_is_told(rig, 170)
    rig.enter()
    end(rig)
    told = rig.last("replica.disagreed")
    assert (told.inspection_id, told.relation) == (gone, "replica_only")
    assert raised(rig, "portal_rule") == [gone]


def test_the_officer_is_told_while_the_vehicle_still_stands_in_the_portal(rig: Rig) -> None:
    rig.enter()
    scans(rig, 2, 170)
    assert not raised(rig, "station_only"), "the device may still alarm itself"
    scans(rig, 3, 170)
    assert raised(rig, "station_only") == [rig.seen.inspection_id]
    assert "occupancy.ended" not in rig.types()
    end(rig)
    assert len(raised(rig, "station_only")) == 1, "at the end it is not told again"


@pytest.mark.parametrize("seconds", [0, 1])
def test_where_the_device_alarms_itself_the_station_alone_says_nothing(rig: Rig, seconds: int) -> None:
    rig.enter()
    scans(rig, seconds, 170)
    rig.counts(Channel.GAMMA, Phase.SCAN, (170,) * 4, "alarm")
    scans(rig, 6, 170)
    end(rig)
    assert "gamma_alarm" in rig.codes()
    assert not raised(rig, "station_only")


def test_a_crossing_is_not_laid_on_the_next_vehicle(rig: Rig) -> None:
    gone = leaves_before_the_end_is_told(rig, 170)
    rig.enter()
    rig.wait(5.0)
    assert raised(rig, "station_only") == [gone], "told while it was still in the lane"
