"""A draft that cannot be a record is refused with the field and the reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from station.store.draft import BlobRef, Draft, encode
from station.store.errors import RecordRejected
from tests.support.journal import draft

GOOD = draft("rpm1")


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"type": "Carril"}, "type 'Carril' is not a dotted name"),
        ({"type": 5}, "type 5 is not a dotted name"),
        ({"schema": "lane_mode.changed"}, "is not NAME:VERSION"),
        ({"subject": ""}, "subject '' is not a text of 1–200 characters"),
        ({"subject": "x" * 201}, "is not a text of 1–200 characters"),
        ({"subject": "\ud800"}, "subject: input contains non-UTF-8"),
        ({"prio": 4}, "prio 4 is not 0–3"),
        ({"prio": True}, "prio True is not 0–3"),
        ({"prio": 1.0}, "prio 1.0 is not 0–3"),
        ({"time_us": -1}, "time_us -1 is not a UTC time"),
        ({"time_us": 10**18}, "is not a UTC time"),
        ({"flags": 1}, "flags 1 differ from the data's own"),
        ({"data": {"simulated": True}}, "flags 0 differ from the data's own"),
        ({"data": [1]}, "data is a list, not an object"),
        ({"data": {"n": 2**53}}, "data.n: 9007199254740992 exceeds safe integer domain"),
        ({"data": {"a": [{"b": float("nan")}]}}, "data.a[0].b: nan is not representable"),
        ({"data": {"a": {"b": b"x"}}}, "data.a.b: unsupported type"),
        ({"data": {"a": {1: 2}}}, "data.a: object keys must be strings"),
        ({"data": {"a": "\ud800"}}, "data.a: input contains non-UTF-8"),
        ({"data": {"a": deep(5000)}}, "nested deeper than 50 levels"),
        ({"data": {"a": "x" * 262144}}, "at most 262144 are allowed; put the large part into a blob"),
        ({"blobs": (BlobRef("raw", "ABC"),)}, "blob 'raw': 'ABC' is not a SHA-256 in hex"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RecordRejected) as caught:
        encode(replace(GOOD, **changes), "LAR-04")
    assert sentence in str(caught.value)


def test_everything_wrong_is_named_at_once() -> None:
    bad = Draft("X", "", 9, 0, 0, {}, "y")
    with pytest.raises(RecordRejected, match=r"type 'X'.*schema 'y'.*subject ''.*prio 9"):
        encode(bad, "LAR-04")


def test_the_largest_data_is_taken() -> None:
    frame = encode(replace(GOOD, data={"a": "x" * (262144 - 8)}), "LAR-04").frame
    assert len(frame) > 262144
