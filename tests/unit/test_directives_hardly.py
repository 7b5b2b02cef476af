"""Directives in great numbers, in the wrong order, taken back: what asks for more is never lost."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from station.domain.decision import Refused
from station.domain.directives import Envelope
from station.domain.rules import MAX_HITS, MAX_VOTES
from station.domain.signed import moment_us
from tests.support import directives
from tests.support.directives import MANIFEST, put, states
from tests.support.lane_facts import facts
from tests.support.lane_rig import Rig

PLATE, OTHER = "R4K7719", "ZZZ1111"
OVER = {"valid_to": "2026-01-01T00:00:00Z"}


def synchronised(**known: Any) -> Rig:
    rig = Rig(facts(**known))
    rig.background()
    rig.carry(rig.lane.clock("sync", rig.stamp()))
    return rig


@pytest.fixture
def rig() -> Rig:
    return synchronised()


def hold(name: str, version: int = 1, **change: Any) -> Envelope:
    body = {"hold_kind": "export_control", "authority": "C", "keys": {"plate": PLATE}, "action": "hold"}
    return directives.envelope(
        name, kind="hold", version=version, **{**change, "body": {**body, **change.get("body", {})}}
    )


def vote(rig: Rig, name: str, version: int = 1, **said: Any) -> Envelope:
    change = {key: said.pop(key) for key in ("valid_from", "valid_to") if key in said}
    of = {"inspection_id": rig.seen.inspection_id, "inspection_version": rig.seen.version}
    body = {**of, "agency": "SAT", "verdict": "release", **said}
    return directives.envelope(name, kind="release", version=version, body=body, **change)


def test_a_vote_that_closes_release_is_never_pushed_out() -> None:
    rig = synchronised()
    rig.arrive(plate=PLATE)
    put(rig, vote(rig, "V-hold", verdict="hold"))
    put(rig, vote(rig, "V-red", modulation="red"))
    for number in range(MAX_VOTES - 2):
        known = put(rig, vote(rig, f"V-{number}", agency="OTHER"))
    with pytest.raises(Refused, match="withdraw one"):
        put(rig, vote(rig, "V-more", agency="OTHER"))
    assert rig.seen.level == "hold"
    assert "modulation" in rig.locks
    put(rig, vote(rig, "V-1", 2, agency="OTHER", verdict="secondary"), known)
    assert len(rig.lane.core.inspection.directed.votes) == MAX_VOTES  # type: ignore[union-attr]


def test_a_green_of_one_agency_lifts_no_red_of_another(rig: Rig) -> None:
    rig.arrive(plate=PLATE)
    put(rig, vote(rig, "V-1", modulation="red"))
    put(rig, vote(rig, "V-2", agency="PARKING", modulation="green"))
    assert "modulation" in rig.locks
    put(rig, vote(rig, "V-3", modulation="green"))
    assert "modulation" not in rig.locks


@pytest.mark.parametrize("restarts", [False, True])
def test_a_vote_that_is_withdrawn_counts_no_more(restarts: bool) -> None:
    rig = synchronised(modulation_required=True)
    rig.arrive(plate=PLATE)
    known = put(rig, vote(rig, "V-1", modulation="green"))
    assert "modulation" not in rig.locks
    put(rig, vote(rig, "V-1", 2, modulation="green", **OVER), known)
    if restarts:
        rig.restart()
    assert "modulation" in rig.locks
    assert states(rig)[-1] == ("closed", 2, "withdrawn")


def test_a_vote_counts_not_before_its_time() -> None:
    rig = synchronised(modulation_required=True)
    rig.arrive(plate=PLATE)
    put(rig, vote(rig, "V-1", modulation="green", valid_from="2090-01-01T00:00:00Z"))
    assert "modulation" in rig.locks
    assert states(rig)[-1] == ("closed", 1, "not_applicable")


def test_a_hold_is_not_pushed_out_by_what_is_only_told(rig: Rig) -> None:
    put(rig, hold("A-HOLD"))
    for number in range(MAX_HITS + 5):
        put(rig, hold(f"N-{number:03}", body={"action": "notify"}))
    rig.arrive(plate=PLATE)
    assert rig.seen.level == "hold"
    told = [r[2]["directive_id"] for r in rig.records() if r[1] == "carril.directive.hit"]
    assert sorted(told) == ["A-HOLD", *(f"N-{number:03}" for number in range(MAX_HITS + 5))]
    rig.plate(PLATE)
    again = [r for r in rig.records() if r[1] == "carril.directive.hit"]
    assert len(again) == len(told), "each is told once of a vehicle"
    rig.restart()
    assert rig.seen.level == "hold"


def test_a_manifest_that_is_withdrawn_vouches_for_nobody() -> None:
    rig = synchronised(manifests=True)
    known = put(rig, directives.envelope("M-1", kind="manifest", body=MANIFEST))
    rig.arrive(plate=PLATE)
    assert rig.seen.manifest.status != "none"  # type: ignore[union-attr]
    put(rig, directives.envelope("M-1", kind="manifest", version=2, body=MANIFEST, **OVER), known)
    rig.wait(1.5)
    assert rig.seen.manifest.status == "none"  # type: ignore[union-attr]
    assert "manifest_none" in [reason.code for reason in rig.seen.reasons]


@pytest.mark.parametrize("change", [{"direction": "out"}, {"mode": "rail"}])
def test_the_papers_of_another_way_are_no_papers(change: dict[str, str]) -> None:
    rig = synchronised(manifests=True)
    put(rig, directives.envelope("M-1", kind="manifest", body={**MANIFEST, **change}))
    rig.arrive(plate=PLATE)
    assert rig.seen.manifest.status == "none"  # type: ignore[union-attr]


def test_what_was_armed_while_nobody_knew_the_time_waits_when_it_is_known() -> None:
    rig = Rig()
    rig.background()
    put(rig, hold("H-1", valid_from="2090-01-01T00:00:00Z"))
    assert states(rig) == [("received", 1, ""), ("armed", 1, "")]
    rig.carry(rig.lane.clock("sync", rig.stamp()))
    rig.wait(1.5)
    rig.arrive(plate=PLATE)
    assert rig.seen.level == "clear"


def test_a_hold_of_one_time_is_not_used_up_by_a_doubtful_read(rig: Rig) -> None:
    put(rig, hold("H-1", body={"once": True}))
    rig.arrive(plate=OTHER)
    rig.plate(PLATE, 0.2)
    assert rig.seen.level == "hold", "it stops the vehicle all the same"
    assert ("closed", 1, "done") not in states(rig)
    rig.decide("secondary")
    rig.leave()
    rig.arrive(plate=PLATE)
    assert rig.seen.level == "hold"
    assert states(rig)[-1] == ("closed", 1, "done")


@pytest.mark.parametrize("stored", [True, False])
def test_an_order_of_one_time_is_closed_once_while_a_newer_version_is_on_its_way(
    rig: Rig, stored: bool
) -> None:
    known = put(rig, hold("H-1", body={"once": True}))
    rig.board(entry_loop=True)
    rig.hold_appends = True
    put(rig, hold("H-1", 2, body={"once": True}), known)
    rig.plate(PLATE)
    command, *facts_held = rig.take_held()
    if stored:
        rig.carry([command])
    else:
        rig.carry(rig.lane.not_ordered(command.token, rig.stamp()))
    rig.carry(list(facts_held))
    rig.wait(0.1)
    closed = [(version, how) for state, version, how in states(rig) if state == "closed"]
    assert closed == ([(1, "superseded"), (2, "done")] if stored else [(1, "done")])


@pytest.mark.parametrize(("plate", "more"), [(PLATE, [(2, "done")]), (OTHER, [])])
def test_a_manifest_is_used_up_by_its_own_vehicle_alone(plate: str, more: list[tuple[int, str]]) -> None:
    """Also when a newer version is on its way while the vehicle leaves."""
    rig = synchronised(manifests=True)
    known = put(rig, directives.envelope("M-1", kind="manifest", body=MANIFEST))
    rig.arrive(plate=PLATE)
    rig.decide("secondary")
    rig.hold_appends = True
    newer = {**MANIFEST, "conveyance": {"plate": plate}}
    put(rig, directives.envelope("M-1", kind="manifest", version=2, body=newer), known)
    rig.leave()
    rig.release_appends()
    rig.wait(1.5)
    told = [(version, how) for state, version, how in states(rig) if state == "closed"]
    assert told == [(1, "superseded"), *more]


def test_for_ever_is_a_time(rig: Rig) -> None:
    put(rig, hold("H-1", valid_from="0001-01-01T00:00:00Z", valid_to="9999-12-31T23:59:59Z"))
    rig.arrive(plate=PLATE)
    assert rig.seen.level == "hold"
    assert abs(moment_us("9999-12-31T23:59:59Z")) < 2**53


@pytest.mark.parametrize("number", [float("inf"), float("nan")])
def test_numbers_that_are_none_are_refused(number: float) -> None:
    car = {"seq": number, "mark": "TTX 1"}
    with pytest.raises(ValidationError):
        directives.envelope("M-1", kind="manifest", body={**MANIFEST, "consist": [car]})
