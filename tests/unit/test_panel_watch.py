"""The lane looks after the panels of its portals: told once until it ends, and not forgotten by a restart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from drivers.readings import Channel, Phase, PortalSetup
from imaging.radiation.health import BLOCK, LEARN_RECORDS, LEAST_BLOCKS, Finding, Learnt, PanelHealth
from station.domain.values import OccupancySummary
from tests.support.lane_facts import facts
from tests.support.lane_rig import Rig


def vacant(rig: Rig, records: int, stuck: int | None = None, **neutron: tuple[int, ...]) -> None:
    chance = np.random.default_rng(round(rig.now_s))
    for _ in range(records):
        gamma = [int(count) for count in chance.poisson(600, 4)]
        if stuck is not None:
            gamma[stuck] = 601
        rig.counts(Channel.GAMMA, Phase.BACKGROUND, tuple(gamma))
        rig.counts(Channel.NEUTRON, Phase.BACKGROUND, neutron.get("neutron", (1, 2, 1, 1)))
        rig.now_s += 5.0


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    vacant(rig, 20)
    return rig


def alarms(rig: Rig) -> dict[str, Any]:
    return {alarm.code: alarm.values.get("panel") for alarm in rig.lane.core.book if alarm.active}


def faults(rig: Rig) -> list[tuple[str, str, str]]:
    told = (event for event in rig.events if "panel_fault" in event.type_name())
    return [(e.type_name().rsplit(".", 1)[1], e.panel, e.code) for e in told]  # type: ignore[attr-defined]


def test_a_stuck_panel_is_told_once_degrades_its_portal_and_ends(rig: Rig) -> None:
    vacant(rig, 12, stuck=1)
    assert faults(rig) == [("found", "MU", "stuck")]
    assert alarms(rig) == {"panel_stuck": "MU"}
    assert rig.lane.view().alarms[0].priority == 3
    assert rig.suspected == {("rpm1", "panel_stuck"): True}
    vacant(rig, 1)
    assert faults(rig) == [("found", "MU", "stuck"), ("ended", "MU", "stuck")]
    assert alarms(rig) == {}
    assert rig.suspected == {("rpm1", "panel_stuck"): False}


def test_one_alarm_names_all_panels_with_the_same_fault(rig: Rig) -> None:
    vacant(rig, 100, neutron=(1, 0, 1, 0))
    assert faults(rig) == [("found", "MU", "silent"), ("found", "SU", "silent")]
    assert alarms(rig) == {"panel_silent": "MU SU"}
    vacant(rig, 1, neutron=(1, 1, 1, 0))
    assert alarms(rig) == {"panel_silent": "SU"}
    assert rig.suspected == {("rpm1", "panel_silent"): True}


def test_running_means_may_well_be_equal() -> None:
    rig = Rig(facts(gb_averaging_s=20.0))
    vacant(rig, 40, stuck=0)
    assert faults(rig) == []


def test_what_does_not_enter_the_background_says_nothing_of_a_panel(rig: Rig) -> None:
    for _ in range(12):
        rig.counts(Channel.GAMMA, Phase.BACKGROUND, (600, 600, 600, 600), "fault_high")
        rig.counts(Channel.GAMMA, Phase.BACKGROUND, (600, None, 600, 600))
    rig.occupancy(end=False)
    for _ in range(12):
        rig.counts(Channel.GAMMA, Phase.SCAN, (600, 600, 600, 600))
    assert faults(rig) == []


def test_a_fault_stands_over_a_restart_and_ends_after_it(rig: Rig) -> None:
    vacant(rig, 12, stuck=1)
    rig.suspected.clear()
    rig.restart()
    assert alarms(rig) == {"panel_stuck": "MU"}
    assert rig.suspected == {("rpm1", "panel_stuck"): True}
    vacant(rig, 12, stuck=1)
    assert faults(rig) == [("found", "MU", "stuck")], "told already"
    vacant(rig, 1)
    assert faults(rig)[1:] == [("ended", "MU", "stuck")]
    rig.restart()
    assert alarms(rig) == {}


def test_the_shares_of_the_panels_are_not_learnt_anew_from_a_panel_that_drifts(rig: Rig) -> None:
    vacant(rig, LEARN_RECORDS)
    rig.board(entry_loop=True)  # a record, and what was learnt with it
    rig.restart()
    (portal,) = rig.last("standing.noted").portals
    assert sum(portal.panels[0].shares) == pytest.approx(1)
    for record in np.random.default_rng(12).poisson((480, 600, 600, 600), (20, 4)).tolist():
        rig.counts(Channel.GAMMA, Phase.BACKGROUND, tuple(record))
        rig.now_s += 5.0
    assert ("found", "ML", "drift") in faults(rig)
    rig.restart()
    assert "panel_drift" in alarms(rig)


# --- the figures over a restart -------------------------------------------------------------------


def test_what_was_learnt_goes_on_with_what_stands() -> None:
    before = Learnt((0.5, 0.5), (1.0, None), frozenset({("drift", 0)}))
    health = PanelHealth(2, averaged=False, before=before)
    assert health.learnt == before
    over = [f for _ in range(60) for f in health.push([500, 500])]
    assert Finding("drift", 0, 0.0, over=True) in over


def test_panels_that_are_others_begin_anew() -> None:
    before = Learnt((0.5, 0.5), (1.0, None), frozenset({("drift", 2)}))
    assert PanelHealth(1, averaged=False, before=before).learnt == Learnt((), (None,))


def test_a_few_records_after_a_restart_are_not_held_against_a_whole_day() -> None:
    health = PanelHealth(1, averaged=False, before=Learnt((), (3.0,)))
    records = np.random.default_rng(13).poisson(600, (LEAST_BLOCKS * BLOCK, 1)).tolist()
    told = [len(health.push(record)) for record in records]
    assert sum(told[:-1]) == 0
    assert told[-1] == 1


def test_a_mean_that_never_scattered_breaks_nothing() -> None:
    health = PanelHealth(1, averaged=True, before=Learnt((), (0.0,)))
    assert [f for _ in range(BLOCK * LEAST_BLOCKS) for f in health.push([7])] == []


# --- the device's own rule ------------------------------------------------------------------------


def passes(rig: Rig, gamma: str, counts: int) -> OccupancySummary:
    rig.read(
        "rpm1",
        PortalSetup(rig.stamp(), "SG1", {"nsigma": 7.0, "intervals": 5.0, "algorithm": "SUM"}, "hash"),
    )
    rig.background(20)
    for second in range(3):
        for step in range(5):
            flag = gamma if (second, step) == (1, 2) else "none"
            rig.counts(Channel.GAMMA, Phase.SCAN, (counts,) * 4, flag)
            rig.wait(0.2)
        rig.counts(Channel.NEUTRON, Phase.SCAN, (1, 0, 1, 1))
    rig.counts(Channel.GAMMA, Phase.BACKGROUND, (600, 600, 600, 601))
    rig.wait(4.0)
    (summary,) = rig.lane.core.passage.occupancies if rig.lane.core.passage else ()
    return summary


@pytest.mark.parametrize(
    ("flag", "counts", "told"),
    [
        ("alarm", 120, "device_only"),
        ("none", 160, "replica_only"),
        ("alarm", 160, None),
        ("none", 120, None),
        ("alarm", 136, None),  # 2720 against a limit of 2742: within one standard deviation
        ("none", 139, None),
    ],
)
def test_a_portal_against_its_own_rule_is_told(flag: str, counts: int, told: str | None) -> None:
    rig = Rig()
    summary = passes(rig, flag, counts)
    assert summary.complete
    found = [event.relation for event in rig.events if event.type_name() == "carril.replica.disagreed"]  # type: ignore[attr-defined]
    assert found == ([told] if told else [])
    assert ("portal_rule" in alarms(rig)) == bool(told)


@pytest.mark.parametrize("restarted", [False, True])
def test_a_vehicle_is_not_measured_where_all_neutron_panels_are_silent(rig: Rig, restarted: bool) -> None:
    vacant(rig, 100, neutron=(0, 0, 0, 0))
    assert len(faults(rig)) == 4
    if restarted:
        rig.restart()
    rig.arrive()
    assert (rig.seen.coverage.rpm.state, rig.seen.coverage.rpm.reason) == ("failed", "fault")
    assert rig.seen.level == "secondary"


def test_a_vehicle_is_measured_where_some_neutron_panels_count(rig: Rig) -> None:
    vacant(rig, 100, neutron=(1, 0, 0, 0))
    assert len(faults(rig)) == 3
    rig.arrive()
    assert rig.seen.coverage.rpm.state == "done"
