"""Rule R10: seals and placards as an officer saw them, against what was declared."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from station.domain.closures import Seen, differences, later
from station.domain.decision import NotFound, VersionConflict
from station.domain.manifest import ManifestMatch
from station.domain.rules import ORDER, Directed, Facts, Vote, recommend
from station.domain.values import Coverage, Level
from station.lane.commands import Observe
from tests.support.directives import envelope, put
from tests.support.lane_facts import facts
from tests.support.lane_rig import Rig

PAPERS: dict[str, Any] = {"status": "partial", "directive_id": "M-1", "directive_version": 1}


def seen(**change: Any) -> Seen:
    return Seen.model_validate(change)


def papers(*seals: str, hazmat: tuple[dict[str, str], ...] = (), status: str = "partial") -> ManifestMatch:
    return ManifestMatch.model_validate({**PAPERS, "status": status, "seals": seals, "hazmat": hazmat})


def told(looked: Seen | None, declared: ManifestMatch | None) -> list[tuple[str, str, str]]:
    return [(found.what, found.name, found.why) for found in differences(looked, declared)]


def seal(no: str, state: str = "intact") -> dict[str, str]:
    return {"no": no, "state": state}


@pytest.mark.parametrize(
    ("declared", "at_vehicle", "wanted"),
    [
        (papers("A-1", "A2"), [seal("a 1"), seal("A2")], []),
        (papers("A1"), [seal("A1", "broken")], [("seal", "A1", "broken")]),
        (papers("A1"), [seal("A1", "missing")], [("seal", "A1", "missing")]),
        (papers("A1", "A2"), [seal("A1")], [("seal", "A2", "missing")]),
        (papers("A1"), [], [("seal", "A1", "missing")]),
        (papers("A1"), [seal("B1")], [("seal", "A1", "missing"), ("seal", "B1", "different")]),
        (papers("A1"), [seal("A1"), seal("B1")], [("seal", "B1", "different")]),
        (papers(), [seal("B1")], [("seal", "B1", "undeclared")]),
        (papers("O1"), [seal("01")], [("seal", "O1", "missing"), ("seal", "01", "different")]),
        (papers("A1", status="ambiguous"), [seal("B1")], []),
        (None, [seal("B1")], []),
        (None, [seal("B1", "broken")], [("seal", "B1", "broken")]),
    ],
)
def test_seals(declared: ManifestMatch | None, at_vehicle: list[dict[str, str]], wanted: list[Any]) -> None:
    assert told(seen(seals=at_vehicle), declared) == wanted


ACID = {"un": "1789", "class": "8"}
FIREWORKS = {"un": "0336", "class": "1.4G"}


@pytest.mark.parametrize(
    ("declared", "at_vehicle", "wanted"),
    [
        ((ACID,), [{"un": "1789", "class": "8"}], []),
        ((ACID,), [{"un": "1789"}], []),
        ((ACID,), [{"class": "8"}], []),
        ((FIREWORKS,), [{"class": "1"}], []),
        ((FIREWORKS,), [{"class": "1.4"}], []),
        (({"un": "0336", "class": "1"},), [{"class": "1.4"}], []),
        (
            (FIREWORKS,),
            [{"class": "1.1"}],
            [("placard", "class 1.1", "undeclared"), ("placard", "UN 0336 class 1.4G", "missing")],
        ),
        ((ACID,), [], [("placard", "UN 1789 class 8", "missing")]),
        ((), [{"un": "1203"}], [("placard", "UN 1203", "undeclared")]),
        (
            (ACID,),
            [{"un": "1203", "class": "8"}],
            [("placard", "UN 1203 class 8", "undeclared"), ("placard", "UN 1789 class 8", "missing")],
        ),
        (({"un": "1203"},), [{"un": "1203", "class": "3"}], []),
        (
            ({"un": "1203"},),
            [{"class": "3"}],
            [("placard", "class 3", "undeclared"), ("placard", "UN 1203", "missing")],
        ),
    ],
)
def test_placards(declared: tuple[dict[str, str], ...], at_vehicle: list[Any], wanted: list[Any]) -> None:
    assert told(seen(placards=at_vehicle), papers(hazmat=declared)) == wanted


def test_what_was_not_looked_at_says_nothing() -> None:
    assert told(None, papers("A1", hazmat=(ACID,))) == []
    assert told(seen(placards=[{"un": "1203"}]), None) == [], "R11 speaks there"
    assert told(seen(seals=[seal("A1")]), papers("A1", hazmat=(ACID,))) == []


def test_of_each_thing_the_later_word_counts() -> None:
    first = seen(seals=[seal("A1", "broken")])
    both = later(first, seen(placards=[]))
    assert (both.seals, both.placards) == (first.seals, ())
    assert later(both, seen(seals=[])).seals == ()
    assert later(None, first) == first


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"seals": None, "placards": None},
        {"seals": [{"no": "", "state": "intact"}]},
        {"seals": [{"no": "1", "state": "open"}]},
        {"seals": [seal("1")] * 65},
        {"placards": [{}]},
        {"placards": [{"un": "12"}]},
        {"placards": [{"class": "10"}]},
        {"placards": [{"un": 1203}]},
    ],
)
def test_what_is_no_observation_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Seen.model_validate(wrong)


_texts = st.sampled_from(["A1", "a-1", "B2", "7"])
_seals = st.lists(st.builds(seal, _texts, st.sampled_from(["intact", "broken", "missing"])), max_size=4)
_placards = st.lists(st.sampled_from([{"un": "1789"}, {"class": "8"}, {"class": "1.4"}]), max_size=3)
_papers = st.builds(
    lambda seals, hazmat, status: papers(*seals, hazmat=tuple(hazmat), status=status),
    st.lists(_texts, max_size=3),
    st.lists(st.sampled_from([ACID, FIREWORKS]), max_size=2),
    st.sampled_from(["none", "partial", "matched", "ambiguous"]),
)


@given(st.none() | _papers, _seals, _placards, st.sampled_from([None, "secondary", "hold"]))
def test_an_observation_never_lowers_the_level(
    declared: ManifestMatch | None, seals: list[Any], placards: list[Any], verdict: str | None
) -> None:
    votes = (Vote("V-1", "SAT", verdict, None),) if verdict else ()
    coverage = Coverage.model_validate(
        {name: {"state": "done"} for name in ("rpm", "scanner", "lpr", "ocr", "manifest")}
    )

    def level(looked: Seen | None) -> int:
        directed = Directed(manifest=declared, votes=votes, seen=looked)
        known = Facts(coverage=coverage, required=frozenset(), identity_status="accepted", directed=directed)
        return ORDER.index(recommend(known).level)

    looked = seen(seals=seals, placards=placards)
    assert level(looked) >= level(None)
    if told(looked, declared):
        assert level(looked) >= ORDER.index(Level.SECONDARY)


# --- in the lane ------------------------------------------------------------------------------------

BODY = {
    "source": "ace_truck",
    "mode": "truck",
    "direction": "in",
    "port": "2304",
    "accepted_at": "2026-01-01T00:00:00Z",
    "conveyance": {"plate": "R4K7719"},
    "equipment": [{"no": "CSQU3054383", "seals": [{"no": "MX 0042", "class": "H"}]}],
    "shipments": [{"hazmat": [{"un": "1789", "class": "8"}]}],
}


@pytest.mark.parametrize("direction", ["in", "out"])
def test_a_broken_seal_asks_for_secondary_and_stays_over_a_restart(direction: str) -> None:
    rig = Rig(facts(manifests=True, direction=direction))
    rig.background()
    put(rig, envelope("M-1", kind="manifest", body={**BODY, "direction": direction}))
    with pytest.raises(NotFound):
        rig.order(Observe("none", seen(seals=[]), "O-1"))
    rig.arrive()
    inspection_id = rig.seen.inspection_id
    assert rig.seen.manifest is not None
    assert rig.seen.manifest.seals == ("MX 0042",)
    with pytest.raises(VersionConflict):
        rig.order(Observe("another", seen(seals=[]), "O-1"))
    rig.order(Observe(inspection_id, seen(seals=[seal("MX-0042", "broken")]), "O-1"))
    assert rig.seen.level == "secondary"
    rig.order(Observe(inspection_id, seen(placards=[{"class": "8"}]), "O-1"))
    for _ in range(2):
        (reason,) = [reason for reason in rig.seen.reasons if reason.rule == "R10"]
        assert (reason.code, reason.args) == ("seal", {"name": "MX-0042", "why": "broken"})
        assert rig.seen.seen is not None
        assert rig.seen.seen.placards is not None
        assert "needs_supervisor" in rig.locks
        rig.restart()
    told = rig.last("inspection.observed")
    assert (told.officer, told.seals, len(told.placards)) == ("O-1", None, 1)
