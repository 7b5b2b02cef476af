"""The word of another authority: it may close Release or ask for more, and moves no barrier."""

from __future__ import annotations

from typing import Any

import pytest

from station.domain.decision import VersionConflict
from station.domain.directives import (
    Envelope,
)
from tests.support import directives
from tests.support.directives import put, states
from tests.support.lane_facts import facts
from tests.support.lane_rig import Rig

PLATE = "R4K7719"


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.background()
    return rig


def vote(rig: Rig, name: str = "V-1", version: int | None = None, **said: Any) -> Envelope:
    """The word of customs about the vehicle in the lane."""
    body = {"inspection_id": rig.seen.inspection_id, "inspection_version": version or rig.seen.version}
    return directives.envelope(
        name, kind="release", body={**body, "agency": "SAT", "verdict": "release", **said}
    )


@pytest.fixture
def fiscal() -> Rig:
    """A lane where Release waits for the fiscal selection; its clock is right."""
    rig = Rig(facts(modulation_required=True))
    rig.background()
    rig.carry(rig.lane.clock("sync", rig.stamp()))
    return rig


def test_release_waits_for_a_green_selection_and_a_red_one_closes_it(fiscal: Rig) -> None:
    fiscal.arrive(plate=PLATE)
    assert [reason.code for reason in fiscal.seen.reasons] == ["modulation_absent"]
    assert fiscal.locks == ["modulation", "needs_supervisor"]
    put(fiscal, vote(fiscal, modulation="red", integration_no="77"))
    assert [reason.code for reason in fiscal.seen.reasons] == ["modulation_red"]
    assert states(fiscal) == [("received", 1, ""), ("closed", 1, "done")]
    fiscal.restart()
    fiscal.carry(fiscal.lane.clock("sync", fiscal.stamp()))
    assert "modulation_red" in [reason.code for reason in fiscal.seen.reasons]
    put(fiscal, vote(fiscal, "V-2", modulation="green"))
    assert "modulation" not in " ".join(fiscal.locks)
    assert fiscal.last("release.voted").agency == "SAT"


def test_a_vote_moves_no_barrier(fiscal: Rig) -> None:
    fiscal.arrive(plate=PLATE)
    put(fiscal, vote(fiscal, modulation="green"))
    assert (fiscal.seen.level, fiscal.locks) == ("clear", [])
    assert not fiscal.outputs["raise_permit"]


@pytest.mark.parametrize(
    ("verdict", "level"), [("release", "clear"), ("secondary", "secondary"), ("hold", "hold")]
)
def test_another_authority_may_ask_for_more_never_for_less(rig: Rig, verdict: str, level: str) -> None:
    rig.carry(rig.lane.clock("sync", rig.stamp()))
    rig.arrive(plate=PLATE)
    put(rig, vote(rig, verdict=verdict))
    assert rig.seen.level == level
    put(rig, vote(rig, "V-9", verdict="release"))
    assert rig.seen.level == level, "a later word for release takes nothing back"


def test_a_vote_about_another_state_or_vehicle_does_not_count(rig: Rig) -> None:
    rig.arrive(plate=PLATE)
    put(rig, vote(rig, verdict="hold"))
    assert states(rig)[-1] == ("closed", 1, "not_applicable"), "the clock is not right"
    rig.carry(rig.lane.clock("sync", rig.stamp()))
    with pytest.raises(VersionConflict):
        put(rig, vote(rig, "V-2", version=rig.seen.version + 1, verdict="hold"))
    put(rig, vote(rig, "V-3", inspection_id="another", verdict="hold"))
    assert states(rig)[-1] == ("closed", 1, "not_applicable")
    assert rig.seen.level == "clear"
    empty = vote(rig, "V-4")
    rig.decide()
    rig.leave()
    put(rig, empty)
    assert states(rig)[-1] == ("closed", 1, "not_applicable")
