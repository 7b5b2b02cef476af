"""What programs send: strict, and a number as JSON Schema and RFC 8785 see it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from station.domain.directives import envelope_of
from station.domain.signed import Moment, Strict
from station.store.canonical import canonical
from tests.support.directives import SIG, terms

BODY = {"hold_kind": "legal", "authority": "Customs", "keys": {"plate": "AB 1"}, "action": "hold"}


class Numbers(Strict):
    whole: int
    real: float = 0.5


@given(st.integers(-(2**53) + 1, 2**53 - 1))
def test_an_integer_may_be_written_with_a_point(number: int) -> None:
    assert Numbers.model_validate(json.loads(f'{{"whole": {number}.0}}')).whole == number
    assert Numbers.model_validate({"whole": 1, "real": float(number)}).real == number


@pytest.mark.parametrize(
    "wrong", [0.5, -1.5, 2.0**53, 1e300, float("nan"), float("inf"), True, "3", "3.0", None]
)
def test_what_is_no_integer_is_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        Numbers.model_validate({"whole": wrong})


def test_a_body_of_very_many_unknown_members_is_refused_as_a_whole() -> None:
    few, many = ({"whole": 1} | {f"m{n}": 1 for n in range(count)} for count in (10, 10_000))
    with pytest.raises(ValidationError) as each:
        Numbers.model_validate(few)
    assert each.value.error_count() == 10
    with pytest.raises(ValidationError, match="has 10001 members; known are whole, real") as whole:
        Numbers.model_validate(many)
    assert whole.value.error_count() == 1


@pytest.mark.parametrize("wrong", [True, "0.5", None])
def test_what_is_no_number_is_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        Numbers.model_validate({"whole": 1, "real": wrong})


def test_a_signature_is_the_same_with_and_without_a_point() -> None:
    sent = {"id": "H-1", **terms("hold", body=BODY), "version": 3.0}
    signed = envelope_of({**sent, "sig": SIG}).signed()
    assert signed["version"] == 3
    assert type(signed["version"]) is int
    assert canonical(signed) == canonical(sent) == canonical({**sent, "version": 3})


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(ValidationError, match="valid dictionary or instance of Numbers"):
        Numbers.model_validate([1])


@pytest.mark.parametrize("moment", ["2026-01-01T00:00:00Z", "2024-02-29T23:59:59.123456789Z"])
def test_a_moment_is_rfc_3339_in_utc(moment: str) -> None:
    assert TypeAdapter(Moment).validate_python(moment) == moment


@pytest.mark.parametrize(
    "moment",
    [
        *("2026-W48-2T00:00:00Z", "20260101T000000Z", "2026-01-01 00:00Z", "2026-01-01T00:00:00,5Z"),
        *(
            "2026-01-01T00:00:00+00:00",
            "2026-01-01T00:00:00",
            "2026-02-30T00:00:00Z",
            "2026-01-01T25:00:00Z",
            "",
        ),
    ],
)
def test_what_is_no_moment_is_refused(moment: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Moment).validate_python(moment)
