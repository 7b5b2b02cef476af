"""Whether the papers explain a gamma alarm: told to the officer, and never a reason to ask for less."""

from __future__ import annotations

from typing import Any

import pytest

from station.domain.coverage import REQUIRABLE
from station.domain.manifest import ManifestMatch
from station.domain.norm import NORM, is_class_7, norm_headings
from station.domain.rules import Alarm, Directed, Facts, Opinion, recommend
from station.domain.second_opinion import opinions
from station.domain.values import Check, Coverage, CoverageState
from tests.support.directives import MANIFEST, envelope, put
from tests.support.lane_facts import facts
from tests.support.lane_rig import Rig
from tests.support.passing_truck import Truck, point, steady
from tests.unit.test_manifest import matched as match_of

TILES = {"description": "ceramic tiles", "hs6": ["690721"]}
ISOTOPES = {"description": "isotopes", "hazmat": [{"un": "2915", "class": "7"}]}
TOYS = {"description": "toys", "hs6": ["950300"], "hazmat": [{"un": "1950", "class": "2.1"}]}


def passed(*shipments: dict[str, Any], trailer: bool = True, channel: str = "gamma") -> Rig:
    """A vehicle that alarmed, whose papers name it by two plates or by one."""
    rig = Rig(facts(manifests=True))
    rig.background()
    rig.carry(rig.lane.clock("sync", rig.stamp()))
    body = {**MANIFEST, "shipments": list(shipments), "equipment": [{"no": "TRAILER1"}]}
    put(rig, envelope("M-1", kind="manifest", body=body))
    rig.arrive(**{channel: "alarm"})
    if trailer:
        rig.plate("TRAILER1")
    rig.wait(1.0)
    return rig


def said(rig: Rig) -> list[tuple[str, dict[str, Any]]]:
    told = ("declared_norm", "declared_class_7", "not_declared")
    return [(reason.code, reason.args) for reason in rig.seen.reasons if reason.code in told]


@pytest.mark.parametrize(
    ("shipments", "told"),
    [
        ((TILES,), [("declared_norm", {"goods": "tiles", "heading": "6907"})]),
        ((TOYS, TILES), [("declared_norm", {"goods": "tiles", "heading": "6907"})]),
        ((TILES, ISOTOPES), [("declared_class_7", {"un": "2915"})]),
        ((TOYS,), [("not_declared", {})]),
        ((), [("not_declared", {})]),
    ],
)
def test_the_papers_of_a_vehicle_that_alarmed(shipments: Any, told: Any) -> None:
    rig = passed(*shipments)
    assert said(rig) == told
    assert rig.seen.level == "secondary"
    assert rig.locks == ["needs_supervisor"], "whatever the papers say"
    rig.restart()
    assert said(rig) == told
    rig.board(booth_loop=True)
    rig.decide("secondary")
    rig.leave()
    sealed = rig.last("inspection.sealed")
    assert [reason.code for reason in sealed.recommendation.reasons if reason.rule == "R4"] == [
        "gamma_alarm",
        told[0][0],
    ]


def test_papers_that_may_be_of_another_vehicle_explain_nothing() -> None:
    assert said(passed(TILES, trailer=False)) == []


def test_a_neutron_alarm_is_not_explained_by_any_papers() -> None:
    rig = passed(ISOTOPES, TILES, channel="neutron")
    assert said(rig) == []
    assert rig.seen.level == "hold"


def test_without_an_alarm_the_papers_are_not_a_matter_of_radiation() -> None:
    rig = passed(TILES, channel="plate")
    assert said(rig) == []


def test_papers_never_change_the_level() -> None:
    """Of all that may be known of them: the level is that of the alarm alone."""
    done = {name: Check(state=CoverageState.DONE, fraction=1.0) for name in REQUIRABLE}
    alone = Facts(Coverage(**done), frozenset(), "accepted", gamma=(Alarm("rpm1", 5000, 2600),))
    level = recommend(alone).level
    for papers in (match_of(), *(_papers(status) for status in ("partial", "matched", "ambiguous"))):
        advised = recommend(Facts(**{**_fields(alone), "directed": Directed(manifest=papers)}))
        assert advised.level == level
        assert "gamma_alarm" in [reason.code for reason in advised.reasons]


def _papers(status: str) -> ManifestMatch:
    return ManifestMatch.model_validate({"status": status, "norm": ("6907",), "hazmat": ISOTOPES["hazmat"]})


def _fields(known: Facts) -> dict[str, Any]:
    return {name: getattr(known, name) for name in known.__slots__}


def test_numbers_and_classes_of_radioactive_material() -> None:
    """UN 2908 to 2913 … of 49 CFR 172.101; any other number with class 7 is declared as such, too."""
    inside = ("2908", "2913", "2915", "2917", "2919", "2977", "2978", "3321", "3333")
    outside = ("2907", "2914", "2918", "2920", "2976", "2979", "3320", "3334")
    assert all(is_class_7(un, None) for un in inside)
    assert not any(is_class_7(un, None) for un in outside)
    assert is_class_7("3507", "7")
    assert not is_class_7("1950", "2.1")
    assert not is_class_7("1950", "77")


def test_headings_of_natural_radioactivity() -> None:
    assert norm_headings(["690721", "6907", "310420", "950300"]) == ("3104", "6907")
    assert norm_headings([]) == ()
    assert len(norm_headings(NORM)) == 8


# --- how seldom chance alone does it --------------------------------------------------------------


def test_an_alarm_that_the_station_s_test_confirms_says_how_rare_chance_is() -> None:
    truck = Truck(point(6.4), steady(2.2)).drive()
    truck.rig.plate()
    truck.rig.board(booth_loop=True)
    truck.rig.wait(1.0)
    (reason,) = [reason for reason in truck.rig.seen.reasons if reason.code == "gamma_alarm"]
    bound = truck.ended.verdicts[0].params["false_alarm_bound"]
    rare = reason.args["one_in"]
    assert isinstance(rare, int)
    assert rare <= 1 / bound < 2 * rare
    assert str(rare).strip("0") in "123456789", "one digit and zeros: nobody reads more"
    assert truck.rig.seen.radiation.gamma.alarm


def test_a_device_that_alarms_alone_has_no_chance_of_the_station_s() -> None:
    rig = Rig()
    rig.background()
    rig.arrive(gamma="alarm")
    (reason,) = [reason for reason in rig.seen.reasons if reason.code == "gamma_alarm"]
    assert "one_in" not in reason.args


def test_another_channel_s_or_device_s_chance_is_not_lent() -> None:
    done = {name: Check(state=CoverageState.DONE, fraction=1.0) for name in REQUIRABLE}
    strangers = (
        Opinion("rpm2", "alarm", 9, 4, "gamma", 10_000),
        Opinion("rpm1", "alarm", 9, 4, "neutron", 100),
    )
    known = Facts(
        Coverage(**done), frozenset(), "accepted", gamma=(Alarm("rpm1", 5000, 2600),), opinions=strangers
    )
    (mine,) = [reason for reason in recommend(known).reasons if reason.code == "gamma_alarm"]
    assert "one_in" not in mine.args
    rare = [reason.args["one_in"] for reason in recommend(known).reasons if reason.code == "second_opinion"]
    assert rare == [10_000, 100]


@pytest.mark.parametrize(
    ("bound", "rare"), [(4.9e-5, 20_000), (1e-4, 10_000), (9.9e-4, 1000), (0.4, 2), (1.0, None)]
)
def test_the_bound_in_words_is_rather_too_often(bound: float, rare: int | None) -> None:
    truck = Truck(point(6.4), steady(4.0)).drive()
    (verdict, *_) = truck.rig.lane.core.passage.occupancies[0].verdicts  # type: ignore[union-attr]
    changed = verdict.model_copy(update={"params": {"false_alarm_bound": bound}})
    summary = truck.rig.lane.core.passage.occupancies[0].model_copy(update={"verdicts": (changed,)})  # type: ignore[union-attr]
    ((opinion, _),) = opinions(summary)
    assert opinion.one_in == rare
