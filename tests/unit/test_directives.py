"""Directives: which vehicle they mean, when they are in force, and what they do in the lane."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from station.domain.decision import Refused
from station.domain.directives import (
    Directive,
    DirectiveConflict,
    Envelope,
    HoldBody,
    Known,
    check_newer,
    envelope_of,
)
from station.lane import directives as at_work
from tests.support import directives
from tests.support.directives import put, states
from tests.support.lane_facts import ISSUER, facts
from tests.support.lane_rig import Rig, projection

PLATE = "R4K7719"
HOLD: dict[str, Any] = {"hold_kind": "export_control", "authority": "Customs", "action": "hold"}


def envelope(version: int = 1, **change: Any) -> Envelope:
    """A hold of the rig's plate, in force for years; ``body`` replaces parts of its body."""
    body = {**HOLD, "keys": {"plate": PLATE}, **change.pop("body", {})}
    return directives.envelope("H-771", **{"kind": "hold", "version": version, "body": body, **change})


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.background()
    return rig


# --- what is sent -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"version": 0},
        {"version": True},
        {"version": "1"},
        {"kind": "manifest"},
        {"kind": "trust"},
        {"issuer": "central"},
        {"valid_to": "2026-01-01"},
        {"valid_to": "2026-01-01T00:00:00+01:00"},
        {"valid_to": "nonsenseZ"},
        {"valid_from": "2027-01-01T00:00:00Z", "valid_to": "2026-12-01T00:00:00Z"},
        {"sig": "AA=="},
        {"id": "../etc"},
        {"unknown": 1},
        {"body": {"action": "shoot"}},
        {"body": {"keys": {}}},
        {"body": {"keys": {"plate": "--"}}},
        {"body": {"keys": {"plate": 7}}},
        {"body": {"steps": ["x"] * 65}},
        {"scope": {"lanes": "LANE-1"}},
    ],
)
def test_what_is_no_directive_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        envelope(**change)


def test_what_is_signed_is_what_was_sent() -> None:
    sent = envelope(scope={"lanes": ["LANE-1"]})
    assert sent.signed()["scope"] == {"lanes": ["LANE-1"]}
    assert sent.signed()["id"] == "H-771"
    assert "sig" not in sent.signed()
    assert "match" not in sent.signed()["body"]


@pytest.mark.parametrize(
    ("scope", "meant"),
    [
        ({}, True),
        ({"lanes": ["LANE-1", "LANE-2"]}, True),
        ({"lanes": ["LANE-2"]}, False),
        ({"directions": ["out"]}, False),
        ({"modes": ["rail"]}, False),
        ({"ports": ["2304"], "modes": ["truck"]}, True),
    ],
)
def test_a_scope_says_which_lanes_are_meant(scope: dict[str, Any], meant: bool) -> None:
    assert envelope(scope=scope).concerns("LANE-1", "in") == meant


@pytest.mark.parametrize(
    ("kind", "said", "quiet"),
    [("person", None, True), ("person", False, False), ("legal", None, False), ("legal", True, True)],
)
def test_who_must_not_be_warned_is_not_warned(kind: str, said: bool | None, quiet: bool) -> None:
    body = HoldBody.model_validate({**HOLD, "hold_kind": kind, "discreet": said, "keys": {"plate": PLATE}})
    assert body.quiet == quiet


def test_a_plate_is_compared_without_its_dress() -> None:
    named = Directive.of(envelope(body={"keys": {"plate": "r4k-77 I9"}}), "", 1)
    assert named.names({"R4K7719"}) == ("plate",)
    assert named.names({"R4K7718"}) == ()
    assert named.names(()) == ()


def test_all_keys_must_be_there_if_all_are_asked_for() -> None:
    keys = {"plate": PLATE, "seal": "S1"}
    assert Directive.of(envelope(body={"keys": keys}), "", 1).names({PLATE}) == ("plate",)
    assert Directive.of(envelope(body={"keys": keys, "match": "all"}), "", 1).names({PLATE}) == ()
    assert Directive.of(envelope(body={"match": "all"}), "", 1).names({PLATE}) == ("plate",)


def test_without_a_clock_a_hold_is_in_force() -> None:
    directive = Directive.of(
        envelope(valid_from="2026-02-01T00:00:00Z", valid_to="2026-03-01T00:00:00Z"), "", 1
    )
    moments = {"wait": directive.from_us - 1, "arm": directive.from_us, "expire": directive.to_us}
    for asked, now_us in moments.items():
        assert directive.due(now_us, synchronised=True) == asked
        assert directive.due(now_us, synchronised=False) == "arm"


def test_only_a_newer_version_is_new() -> None:
    assert check_newer(None, envelope(), "a")
    known = Known(1, "a", ISSUER, "hold")
    assert check_newer(known, envelope(2), "b")
    assert not check_newer(known, envelope(1), "a")
    for other in (replace(known, sha256="b"), replace(known, version=2)):
        with pytest.raises(DirectiveConflict) as caught:
            check_newer(other, envelope(1), "a")
        assert caught.value.stored == other.version
    nobodys = replace(known, issuer=None)
    assert check_newer(nobodys, envelope(2), "b"), "an older station kept no issuer"


# --- in the lane ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "level", "locks"),
    [
        ("hold", "hold", ["needs_supervisor"]),
        ("secondary", "secondary", ["needs_supervisor"]),
        ("scan", "review_image", ["read_image"]),
        ("notify", "clear", []),
    ],
)
def test_a_vehicle_that_is_named_gets_what_was_asked(
    rig: Rig, action: str, level: str, locks: list[str]
) -> None:
    put(rig, envelope(body={"action": action}))
    assert states(rig) == [("received", 1, ""), ("armed", 1, "")]
    rig.arrive(plate="R4K-7719")
    assert rig.seen.level == level
    assert rig.locks == locks
    assert rig.seen.reasons[0].code == "directive_hit"
    hit = rig.last("directive.hit")
    assert (hit.directive_id, hit.action, hit.keys, hit.discreet) == ("H-771", action, ("plate",), False)
    assert rig.types().count("directive.hit") == 1
    rig.restart()
    assert "directive_hit" in [reason.code for reason in rig.seen.reasons]
    assert rig.types().count("directive.hit") == 1, "told once for each inspection"


def test_a_scan_is_asked_for_where_there_is_none(rig: Rig) -> None:
    put(rig, envelope(body={"action": "scan"}))
    rig.board(entry_loop=True)
    rig.plate(PLATE)
    inspection = rig.lane.core.inspection
    assert inspection is not None
    assert inspection.recommendation.level == "secondary"


def test_a_newer_version_acts_on_the_vehicle_that_the_older_one_only_told_of(rig: Rig) -> None:
    known = put(rig, envelope(body={"action": "notify"}))
    rig.arrive(plate=PLATE)
    assert rig.seen.level == "clear"
    put(rig, envelope(2, body={"action": "hold"}), known)
    assert rig.seen.level == "hold"
    assert rig.types().count("directive.hit") == 2


def test_another_vehicle_is_not_named(rig: Rig) -> None:
    put(rig, envelope(body={"keys": {"plate": "ANOTHER1"}}))
    rig.arrive(plate=PLATE)
    assert rig.seen.level == "clear"
    assert "directive.hit" not in rig.types()


def test_a_hold_that_comes_while_the_vehicle_stands_there_takes_its_release_back(rig: Rig) -> None:
    rig.arrive(plate=PLATE)
    rig.decide()
    assert rig.outputs["raise_permit"]
    put(rig, envelope())
    assert not rig.outputs["raise_permit"]
    assert rig.seen.level == "hold"
    assert rig.locks == ["needs_supervisor"]


def test_a_read_that_nobody_would_accept_names_a_vehicle(rig: Rig) -> None:
    put(rig, envelope())
    rig.board(entry_loop=True)
    rig.plate(PLATE, confidence=0.2)
    assert "directive.hit" in rig.types()


def test_a_newer_version_takes_the_place_of_the_older_one(rig: Rig) -> None:
    known = put(rig, envelope())
    put(rig, envelope(2, body={"keys": {"plate": "ANOTHER1"}}), known)
    assert states(rig)[2:] == [("received", 2, ""), ("closed", 1, "superseded"), ("armed", 2, "")]
    rig.arrive(plate=PLATE)
    assert rig.seen.level == "clear"


@pytest.mark.parametrize("change", [{"issuer": "urn:carril:client:other"}, {"kind": "lane_mode"}])
def test_nobody_takes_the_place_of_anothers_directive(rig: Rig, change: dict[str, Any]) -> None:
    known = put(rig, envelope())
    other = envelope(2, valid_to="2026-01-02T00:00:00Z").model_dump()
    if "kind" in change:
        other["body"] = {"posture": "closed"}
    with pytest.raises(Refused, match="another issuer"):
        put(rig, envelope_of(other | change), known)
    assert states(rig) == [("received", 1, ""), ("armed", 1, "")]
    rig.arrive(plate=PLATE)
    assert rig.seen.level == "hold"


def test_a_version_that_is_over_withdraws_it(rig: Rig) -> None:
    rig.carry(rig.lane.clock("sync", rig.stamp()))
    known = put(rig, envelope())
    put(rig, envelope(2, valid_to="2026-01-02T00:00:00Z"), known)
    assert states(rig)[2:] == [("received", 2, ""), ("closed", 1, "superseded"), ("closed", 2, "withdrawn")]
    rig.arrive(plate=PLATE)
    assert rig.seen.level == "clear"
    put(rig, envelope(1, id="H-2", valid_to="2026-01-02T00:00:00Z"))
    assert states(rig)[-1] == ("closed", 1, "expired")


def test_a_directive_of_another_lane_is_kept_and_not_applied(rig: Rig) -> None:
    put(rig, envelope(scope={"lanes": ["LANE-9"]}))
    assert states(rig) == [("received", 1, ""), ("closed", 1, "not_applicable")]
    rig.arrive(plate=PLATE)
    assert rig.seen.level == "clear"


def test_once_means_the_first_vehicle(rig: Rig) -> None:
    put(rig, envelope(body={"once": True}))
    rig.arrive(plate=PLATE)
    assert states(rig)[-1] == ("closed", 1, "done")
    assert rig.seen.level == "hold"
    rig.decide("secondary")
    rig.leave()
    rig.arrive(plate=PLATE)
    assert rig.seen.level == "clear"


def test_time_arms_and_closes_what_waits_for_it(rig: Rig) -> None:
    rig.carry(rig.lane.clock("sync", rig.stamp()))
    begin_s = rig.stamp().utc_ns / 1e9

    def moment(after_s: float) -> str:
        return datetime.fromtimestamp(begin_s + after_s, UTC).isoformat().replace("+00:00", "Z")

    put(rig, envelope(valid_from=moment(60), valid_to=moment(120)))
    assert states(rig) == [("received", 1, "")]
    rig.restart()
    assert states(rig) == [("received", 1, "")]
    rig.carry(rig.lane.clock("sync", rig.stamp()))
    rig.wait(70)
    assert states(rig)[-1] == ("armed", 1, "")
    rig.wait(60)
    assert states(rig)[-1] == ("closed", 1, "expired")
    rig.restart()
    assert len(states(rig)) == 3


def test_a_directive_that_is_in_force_is_that_after_a_restart(rig: Rig) -> None:
    put(rig, envelope(body={"keys": {"plate": PLATE, "seal": "S-1"}}))
    assert rig.last("directive.armed").unreadable == ("seal",)
    rig.restart()
    rig.background()
    rig.arrive(plate=PLATE)
    assert rig.seen.level == "hold"


def test_what_the_journal_does_not_keep_is_not_in_force(rig: Rig) -> None:
    rig.broken = True
    put(rig, envelope())
    rig.broken = False
    rig.arrive(plate=PLATE)
    assert "directive_hit" not in [reason.code for reason in rig.seen.reasons]
    put(rig, envelope())  # it may be sent again
    assert rig.seen.level == "hold"


def test_two_versions_at_once_are_told_apart_by_the_journal(rig: Rig) -> None:
    rig.hold_appends = True
    put(rig, envelope())
    with pytest.raises(Refused, match="being written"):
        put(rig, envelope(2))
    rig.hold_appends = False
    rig.release_appends()
    assert states(rig)[0] == ("received", 1, "")


def test_there_is_an_end_to_what_a_lane_keeps(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_work, "MAX_OPEN", 2)
    known = put(rig, envelope(id="H-1"))
    put(rig, envelope(id="H-2"))
    with pytest.raises(Refused, match="withdraw some"):
        put(rig, envelope(id="H-3"))
    put(rig, envelope(2, id="H-1"), known)


def test_in_and_out_are_treated_alike() -> None:
    rig = Rig(facts(direction="out"))
    rig.background()
    put(rig, envelope())
    rig.arrive(plate=PLATE)
    assert rig.seen.level == "hold"


def test_a_legal_hold_of_one_time_stops_one_vehicle_and_holds_its_records_until_its_end(rig: Rig) -> None:
    rig.carry(rig.lane.clock("sync", rig.stamp()))
    legal = {"hold_kind": "legal", "once": True}
    end = datetime.fromtimestamp(rig.stamp().utc_ns / 1e9 + 3600, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    put(rig, envelope(body=legal, valid_to=end))
    rig.arrive(plate=PLATE)
    subject = rig.seen.inspection_id
    assert rig.seen.level == "hold"
    rig.decide("secondary")
    rig.leave()
    assert states(rig)[-1] == ("spent", 1, "")
    assert held(rig) == [subject]
    rig.restart()
    rig.background()
    rig.carry(rig.lane.clock("sync", rig.stamp()))
    rig.arrive(plate=PLATE)
    assert rig.types().count("directive.hit") == 1, "the order was for one vehicle"
    rig.wait(3601)
    assert states(rig)[-1] == ("closed", 1, "expired")
    assert held(rig) == []


def held(rig: Rig) -> list[str]:
    """Inspections under a legal hold, as the journal's own table has them."""
    with projection(rig.records()) as table:
        return [each for (each,) in table.execute("SELECT subject FROM legal_hold")]


def test_a_legal_hold_lasts_until_the_last_directive_that_asks_for_it_is_withdrawn(rig: Rig) -> None:
    rig.carry(rig.lane.clock("sync", rig.stamp()))
    legal = {"hold_kind": "legal", "action": "notify"}
    known = {name: put(rig, envelope(id=name, body=legal)) for name in ("H-1", "H-2")}
    rig.arrive(plate=PLATE)
    subject = rig.seen.inspection_id
    for name, left in (("H-1", ["H-2"]), ("H-2", [])):
        put(rig, envelope(2, id=name, body=legal, valid_to="2026-01-02T00:00:00Z"), known[name])
        with projection(rig.records()) as table:
            held = table.execute("SELECT directive FROM legal_hold WHERE subject = ?", (subject,)).fetchall()
        assert [each[0] for each in held] == left
