"""The short way to canonical JSON writes the same bytes as the package that is the rule, or is not taken."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from station.store import canonical as module
from station.store.canonical import canonical

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.floats(-1e17, 1e17)
    | st.text()
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
@example({"b": 1, "a": 1, "\ufb33": 2, "\U0001f602": 3})  # RFC 8785 sorts the last two as UTF-16 does
@example({"text": '\x00\x1f\x7f"\\/\b\f\n\r\t\u2028é€\U0001f602'})
def test_it_writes_what_the_rule_says(value: Any) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@pytest.mark.parametrize(
    "value", [0.0, -0.0, 1.0, 1e-4, 9.999e-5, 1e15 + 0.5, 1e16, 1e22, 5e-324, 0.1, -123456.789]
)
def test_a_float_is_written_as_the_rule_says(value: float) -> None:
    assert canonical({"x": value}) == rfc8785.dumps({"x": value})


def test_an_ordinary_event_takes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def long_way(_: Any) -> bytes:
        raise AssertionError("the slow way was taken")

    monkeypatch.setattr(module.rfc8785, "dumps", long_way)
    event = {"device": "rpm1", "counts": [812, 7], "limit": 12.5, "region": None, "simulated": True}
    assert canonical(event) == (
        b'{"counts":[812,7],"device":"rpm1","limit":12.5,"region":null,"simulated":true}'
    )


class Verdict(StrEnum):
    RELEASE = "release"


@pytest.mark.parametrize(
    "value",
    [2**53, -(2**53), float("nan"), float("inf"), "\ud800", {"a": "\ud800"}, {1: 2}, {"a": b"x"}, {3}],
)
def test_what_the_rule_refuses_is_refused_in_its_words(value: Any) -> None:
    with pytest.raises(rfc8785.CanonicalizationError) as expected:
        rfc8785.dumps(value)
    with pytest.raises(rfc8785.CanonicalizationError) as found:
        canonical(value)
    assert str(found.value) == str(expected.value)


def test_a_subclass_is_left_to_the_rule() -> None:
    assert canonical([Verdict.RELEASE, {"v": Verdict.RELEASE}]) == b'["release",{"v":"release"}]'
