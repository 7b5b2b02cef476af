"""Findings about an alarm: what each code must rest on, and that the newest one counts."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from station.domain.adjudication import Finding, RaisedAlarm, amendment, raised_alarm
from station.domain.decision import NotFound, Refused, VersionConflict

OF = {"inspection_id": "i1", "alarm_id": "a1", "before": 0}
RIID = {"isotopes": ["K-40", "Tc-99m"], "riid": "riid-7 14:02"}
LICENCE = {"number": "N-1", "regulator": "CNSNS", "verified_by": "R. Luna, by telephone"}
RAISED: tuple[str, dict[str, Any]] = (
    "carril.radiation_alarm.raised",
    {
        "alarm_id": "a1",
        "device": "rpm1",
        "channel": "gamma",
        "stamp": {"utc_us": 5},
        "simulated": True,
        "test": False,
    },
)


def alarm(channel: Any = "gamma", code: int = 0) -> RaisedAlarm:
    return RaisedAlarm("i1", "a1", "rpm1", channel, 5, {}, code)


def amended(code: int, alarm_id: str = "a1") -> tuple[str, dict[str, Any]]:
    fields = {"alarm_id": alarm_id, "code": code}
    return "carril.inspection.amended", {"what": "adjudication", "fields": fields}


def test_the_newest_finding_of_this_alarm_counts() -> None:
    other = ("carril.inspection.amended", {"what": "device_count", "fields": {}})
    told = [other, RAISED, amended(4), amended(7, "a2"), amended(6)]
    found = raised_alarm(told, Finding(**OF, code=1))
    assert (found.code, found.channel, found.device, found.raised_utc_us) == (6, "gamma", "rpm1", 5)
    assert found.flags == {"simulated": True, "test": False, "exercise": False}
    assert raised_alarm([RAISED], Finding(**OF, code=1)).code == 0


def test_an_alarm_that_the_journal_does_not_know_has_no_finding() -> None:
    with pytest.raises(NotFound, match="i1 has no radiation alarm a1"):
        raised_alarm([amended(4)], Finding(**OF, code=1))


def test_an_alarm_that_was_told_afterwards_has_findings_and_another_alarm_has_none() -> None:
    late = {**RAISED[1], "code": "late_neutron_alarm"}
    del late["channel"]
    assert raised_alarm([("carril.lane_alarm.raised", late)], Finding(**OF, code=1)).channel == "neutron"
    with pytest.raises(NotFound):
        raised_alarm([("carril.lane_alarm.raised", {**late, "code": "tailgate"})], Finding(**OF, code=1))


def test_what_somebody_else_found_meanwhile_is_not_overwritten_unseen() -> None:
    with pytest.raises(VersionConflict, match="code 6 by now"):
        amendment(alarm(code=6), Finding(**OF, code=1), "M. Ortiz")


@pytest.mark.parametrize("code", range(12))
def test_what_a_code_of_a_gamma_alarm_must_rest_on(code: int) -> None:
    if code in (3, 4, 5):
        with pytest.raises(Refused, match=f"Code {code} needs an isotope and the reference of a handheld"):
            amendment(alarm(), Finding(**OF, code=code), "M. Ortiz")
        with pytest.raises(Refused, match="needs an isotope and" if code == 5 else "needs an isotope[.]"):
            amendment(alarm(), Finding(**OF, code=code, riid="7"), "M. Ortiz")
    if code == 5:
        with pytest.raises(Refused, match="needs a licence"):
            amendment(alarm(), Finding(**OF, code=code, **RIID), "M. Ortiz")
    full = Finding.model_validate({**OF, "code": code, **RIID, "licence": LICENCE, "note": "seen"})
    said = amendment(alarm(), full, "M. Ortiz")
    assert said == {
        "alarm_id": "a1",
        "channel": "gamma",
        "raised_utc_us": 5,
        "before": 0,
        "code": code,
        "officer": "M. Ortiz",
        "secondary_status": "none",
        "isotopes": "K-40, Tc-99m",
        "riid": "riid-7 14:02",
        "licence_number": "N-1",
        "licence_regulator": "CNSNS",
        "licence_verified_by": "R. Luna, by telephone",
        "note": "seen",
    }


def test_a_neutron_alarm_needs_a_second_person_and_the_experts() -> None:
    for lacks, match in (
        ({}, "second person.* and the reference of the experts"),
        ({"second_person": "m. ortiz", "reachback": "RB-1"}, "second person"),
        ({"second_person": "A. Diaz"}, "experts"),
    ):
        with pytest.raises(Refused, match=match):
            amendment(alarm("neutron"), Finding(**OF, code=6, **lacks), "M. Ortiz")
    whole = {"second_person": "A. Diaz", "reachback": "RB-1"}
    said = amendment(alarm("neutron"), Finding(**OF, code=6, **whole), "M. Ortiz")
    assert (said["second_person"], said["reachback"]) == ("A. Diaz", "RB-1")
    again = amendment(alarm("neutron", 6), Finding(**{**OF, "before": 6}, code=0), "M. Ortiz")
    assert again["code"] == 0  # taking a finding back rests on nothing


@pytest.mark.parametrize("wrong", [{"code": 12}, {"code": -1}, {"code": "4"}, {"isotopes": ["K40"]}])
def test_what_is_no_finding_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Finding(**{**OF, "code": 4, **wrong})
