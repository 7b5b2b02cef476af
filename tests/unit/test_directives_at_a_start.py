"""What a start makes of directives that cannot be read or whose issuer is gone, and of what they hold."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from station.api.directives import _known
from station.domain.decision import Refused
from station.domain.directives import Envelope, check_newer
from station.store import directives as kept
from station.store import inherit
from station.store.canonical import canonical
from station.store.directives import StoredDirective
from station.store.readers import Tip, View
from tests.support import directives, lane_rig
from tests.support.directives import put, states
from tests.support.lane_facts import ISSUER, facts
from tests.support.lane_rig import Rig, projection

PLATE = "R4K7719"
TRUST = {"program": "fast", "list_version": 1, "as_of": "2026-01-01T00:00:00Z", "full": True, "parties": []}
OVER = {"valid_to": "2026-01-02T00:00:00Z"}


def hold(name: str = "H-1", version: int = 1, **change: Any) -> Envelope:
    body = {"hold_kind": "legal", "authority": "Court", "keys": {"plate": PLATE}, "action": "hold"}
    body |= change.pop("body", {})
    return directives.envelope(name, kind="hold", version=version, body=body, **change)


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.background()
    rig.carry(rig.lane.clock("sync", rig.stamp()))
    return rig


def held(rig: Rig) -> list[str]:
    """Directives that hold records."""
    with projection(rig.records()) as table:
        return [row[0] for row in table.execute("SELECT directive FROM legal_hold")]


def passed(rig: Rig) -> None:
    """The vehicle that the hold names comes and is sent on."""
    rig.arrive(plate=PLATE)
    rig.decide("secondary")
    rig.leave()


# --- a newer version ends what the older one held ---------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        OVER,
        {"scope": {"lanes": ["LANE-9"]}},
        {"scope": {"directions": ["out"]}},
        {"scope": {"lanes": ["LANE-9"]}, **OVER},
    ],
)
def test_a_newer_version_that_is_over_or_leaves_this_lane_ends_the_legal_hold(
    rig: Rig, change: dict[str, Any]
) -> None:
    known = put(rig, hold())
    passed(rig)
    assert held(rig) == ["H-1"]
    put(rig, hold(version=2, **change), known)
    assert states(rig)[2:] == [("received", 2, ""), ("closed", 1, "superseded"), ("closed", 2, "withdrawn")]
    assert held(rig) == []


def test_a_vote_whose_newer_version_leaves_this_lane_counts_no_more(rig: Rig) -> None:
    rig.arrive(plate=PLATE)
    of = {"inspection_id": rig.seen.inspection_id, "inspection_version": rig.seen.version}
    body = {**of, "agency": "SAT", "verdict": "hold"}
    known = put(rig, directives.envelope("V-1", kind="release", body=body))
    assert rig.seen.level == "hold"
    elsewhere = {"lanes": ["LANE-9"]}
    put(rig, directives.envelope("V-1", kind="release", version=2, body=body, scope=elsewhere), known)
    assert rig.seen.level == "clear"


# --- what cannot be read ----------------------------------------------------------------------------


def stricter(row: StoredDirective) -> StoredDirective:
    """As if this program asked for more than the one that took it."""
    envelope = json.loads(row.body)
    envelope["body"]["authority"] = ""
    signed = {name: value for name, value in envelope.items() if name != "sig"}
    digest = hashlib.sha256(canonical(signed)).digest()
    return replace(row, body=canonical(envelope).decode(), sha256=digest)


DAMAGE: dict[str, Callable[[StoredDirective], StoredDirective]] = {
    "stricter": stricter,
    "another plate": lambda row: replace(row, body=row.body.replace(PLATE, "R4K7710")),
    "no JSON": lambda row: replace(row, body=row.body[:-1]),
    "no object": lambda row: replace(row, body="1"),
}


@pytest.fixture(params=DAMAGE)
def damaged(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Change what the table has of H-1 before the next starts; return how to undo that."""
    before = lane_rig.directives_before

    def read(told: Any) -> list[StoredDirective]:
        return [DAMAGE[request.param](row) if row.id == "H-1" else row for row in before(told)]

    monkeypatch.setattr(lane_rig, "directives_before", read)
    return lambda: monkeypatch.setattr(lane_rig, "directives_before", before)


def warned(rig: Rig) -> list[object]:
    """Directives that the officer is told of as unreadable."""
    standing = [alarm for alarm in rig.lane.view().alarms if alarm.state != "rtn_unack"]
    return [alarm.values["directive"] for alarm in standing if alarm.code == "order_unreadable"]


@pytest.mark.usefixtures("damaged")
def test_an_order_that_cannot_be_read_is_told_and_shown_and_the_lane_works_on(rig: Rig) -> None:
    known = put(rig, hold())
    put(rig, hold("H-2", body={"keys": {"plate": "ZZZ1111"}}))
    passed(rig)
    rig.restart()
    assert states(rig)[-1] == ("unreadable", 1, "")
    told = rig.last("directive.unreadable")
    assert (told.directive_id, told.kind) == ("H-1", "hold")
    assert told.why
    assert warned(rig) == ["H-1"]
    rig.restart()
    assert warned(rig) == ["H-1"]
    assert [state for state, _, _ in states(rig)].count("unreadable") == 1, "told once, not at each start"
    rig.background()
    rig.arrive(plate="ZZZ1111")
    assert rig.seen.level == "hold", "the others are in force"
    rig.decide("secondary")
    rig.leave()
    assert "H-1" in held(rig), "a legal hold never ends by that"
    put(rig, hold(version=2), known)
    rig.wait(1.5)
    assert warned(rig) == []
    assert ("closed", 1, "superseded") in states(rig)
    assert "H-1" in held(rig)
    rig.arrive(plate=PLATE)
    assert rig.seen.level == "hold"


@pytest.mark.usefixtures("damaged")
def test_a_new_epoch_takes_an_unreadable_order_over_and_its_salvage_brings_none_back(rig: Rig) -> None:
    known = put(rig, hold())
    rig.restart()
    with projection(rig.records()) as table:
        subjects = [row[0] for statement, _ in inherit._OF for row in inherit.look(table, statement)]
    assert subjects == ["H-1"]
    put(rig, hold(version=2, **OVER), known)
    _, kind, data = next(told for told in rig.records() if told[1] == "carril.directive.unreadable")
    with projection(rig.records()) as table:
        over = table.execute("SELECT * FROM directive").fetchall()
        kept.note_old(table, 1000, kind, "H-1", {**data, "directive_version": 2})
        assert table.execute("SELECT * FROM directive").fetchall() == over


@pytest.mark.usefixtures("damaged")
def test_an_unreadable_order_ends_with_its_time(rig: Rig) -> None:
    end = datetime.fromtimestamp(rig.stamp().utc_ns / 1e9 + 120, UTC).isoformat().replace("+00:00", "Z")
    put(rig, hold(valid_to=end))
    passed(rig)
    rig.restart()
    assert warned(rig) == ["H-1"]
    rig.wait(120)
    assert states(rig)[-1] == ("closed", 1, "expired")
    assert (warned(rig), held(rig)) == ([], [])


@pytest.mark.usefixtures("damaged")
def test_of_several_unreadable_ones_the_alarm_names_one_that_is_left(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = put(rig, hold())
    put(rig, hold("H-2"))
    before = lane_rig.directives_before
    monkeypatch.setattr(
        lane_rig, "directives_before", lambda told: [replace(row, body="{}") for row in before(told)]
    )
    rig.restart()
    assert warned(rig) == ["H-1"]
    put(rig, hold(version=2), known)
    rig.wait(0.1)
    assert warned(rig) == ["H-2"]


def test_a_later_start_that_can_read_it_puts_it_in_force(rig: Rig, damaged: Callable[[], None]) -> None:
    put(rig, hold())
    rig.restart()
    assert states(rig)[-1][0] == "unreadable"
    damaged()
    rig.restart()
    rig.wait(1.5)
    assert states(rig)[-1] == ("armed", 1, "")
    assert warned(rig) == []
    rig.background()
    rig.arrive(plate=PLATE)
    assert rig.seen.level == "hold"


# --- whose issuer is gone ---------------------------------------------------------------------------


@pytest.mark.parametrize("left", [frozenset(), frozenset({(ISSUER, "manifest")})])
def test_what_an_issuer_ordered_that_is_gone_is_over_and_told_and_its_legal_hold_stays(
    rig: Rig, left: frozenset[tuple[str, str]]
) -> None:
    known = put(rig, hold())
    passed(rig)
    rig.lane_facts = facts(senders=left)
    rig.restart()
    assert states(rig)[-1] == ("closed", 1, "issuer_removed")
    assert held(rig) == ["H-1"]
    rig.background()
    rig.arrive(plate=PLATE)
    assert "directive_hit" not in [reason.code for reason in rig.seen.reasons]
    count = len(states(rig))
    rig.lane_facts = facts()
    rig.restart()
    assert len(states(rig)) == count, "to put the issuer back brings nothing back"
    put(rig, hold(version=2, **OVER), known)
    assert held(rig) == []


def test_an_id_is_its_issuers_while_records_are_held_in_its_name(rig: Rig) -> None:
    """Forgotten, its id would be free, and whoever takes it could end the hold."""
    put(rig, hold())
    passed(rig)
    rig.lane_facts = facts(senders=frozenset())
    rig.restart()
    late = {"before_us": 2**53}
    told = rig.records()
    with projection(told) as table:
        table.execute(kept.FORGET, late)
        assert table.execute("SELECT id FROM directive").fetchall() == [("H-1",)]
        # Its record may be gone long since: here there is none.
        _, known = _known(View(table, Tip(bytes(16), 1, told[-1][0], bytes(32))), "H-1")
        with pytest.raises(Refused, match="another issuer"):
            check_newer(known, hold(version=2, issuer="urn:carril:client:other"), "")
        with pytest.raises(Refused, match="another kind"):
            check_newer(known, directives.envelope("H-1", kind="trust", version=2, body=TRUST), "")
        table.execute("DELETE FROM legal_hold")
        table.execute(kept.FORGET, late)
        assert table.execute("SELECT id FROM directive").fetchall() == []
