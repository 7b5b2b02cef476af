"""Measurements of the bench: limits, marginal bands, and values that are never what they seem."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from hil.measure import Limits, Outcome, judge


def limits(**rule: Any) -> Limits:
    return Limits.model_validate({"name": "x", "unit": "ms", **rule})


@pytest.mark.parametrize(
    ("rule", "value", "outcome"),
    [
        ({"max": 200.0}, 200.0, Outcome.PASS),
        ({"max": 200.0}, 200.001, Outcome.FAIL),
        ({"min": 1.0, "max": 2.0}, 1, Outcome.PASS),
        ({"min": 1.0}, 0.999, Outcome.FAIL),
        ({"equals": 5}, 5, Outcome.PASS),
        ({"equals": 5}, 4, Outcome.FAIL),
        ({"equals": True}, True, Outcome.PASS),
        ({"one_of": ["TSA", "RPM"]}, "TSA", Outcome.PASS),
        ({"one_of": ["TSA", "RPM"]}, "tsa", Outcome.FAIL),
    ],
)
def test_limits_are_inclusive(rule: dict[str, Any], value: Any, outcome: Outcome) -> None:
    assert judge(limits(**rule), value).outcome is outcome


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ({"max": 200.0}, float("nan")),
        ({"max": 200.0}, float("-inf")),
        ({"max": 200.0}, "12"),
        ({"min": 0.0, "max": 2.0}, True),
        ({"equals": 1}, True),
        ({"equals": False}, 0),
        ({"max": 200.0}, [1]),
        ({"max": 200.0}, 10**400),
    ],
)
def test_a_value_of_another_kind_fails(rule: dict[str, Any], value: Any) -> None:
    assert judge(limits(**rule), value).outcome is Outcome.FAIL


def test_between_band_and_limit_a_value_passes_and_is_marginal() -> None:
    band = limits(min=1.0, marginal_min=1.2, marginal_max=1.8, max=2.0)
    assert [(judge(band, v).ok, judge(band, v).marginal) for v in (0.9, 1.1, 1.2, 1.8, 1.9, 2.1)] == [
        (False, False), (True, True), (True, False), (True, False), (True, True), (False, False),
    ]  # fmt: skip


def test_unset_fails_unless_allowed() -> None:
    assert judge(limits(max=1.0), None).outcome is Outcome.UNSET
    assert not judge(limits(max=1.0), None).ok
    assert judge(limits(max=1.0, allow_unset=True), None).ok


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"max": 1.0, "equals": 1},
        {"equals": 1, "one_of": [1]},
        {"min": 2.0, "max": 1.0},
        {"max": 1.0, "marginal_max": 2.0},
        {"min": 1.0, "marginal_max": 2.0},
        {"max": float("nan")},
        {"max": "200"},
        {"max": True},
        {"one_of": []},
        {"max": 1.0, "maximum": 2.0},
        {"max": 1.0, "unit": ""},
    ],
)
def test_a_rule_that_is_none_is_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        limits(**rule)


def test_a_limit_reads_as_a_person_says_it() -> None:
    assert limits(min=1.0, max=2.5).text() == "≥ 1 and ≤ 2.5"
    assert limits(equals=True).text() == "= yes"
    assert limits(one_of=["a", "b"]).text() == "one of a, b"
