"""The bytes of a record and its hash are fixed for ever: these vectors must never change."""

from __future__ import annotations

import json
import struct
from hashlib import sha256

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from station.store.chain import Row, flags_of, genesis, link, rfc3339, sound_rows
from station.store.draft import Draft, encode

EPOCH = bytes(range(16))


def test_genesis_is_the_hash_of_zero_epoch_and_previous_hash() -> None:
    assert genesis(EPOCH, None) == sha256(b"\x00" + EPOCH + bytes(32)).digest()
    # From sha256sum, so that no change of ours can change both sides.
    assert genesis(EPOCH, None).hex() == "98a1a1947110b8e39586d6ef7dcdb42b8ffe10084feca77fe4f143b7f102613c"
    assert genesis(EPOCH, b"p" * 32) == sha256(b"\x00" + EPOCH + b"p" * 32).digest()


def test_link_binds_previous_hash_epoch_number_length_and_body() -> None:
    body = b'{"n":1}'
    by_hand = b"\x01" + b"q" * 32 + EPOCH + struct.pack(">QI", 48213, 7) + body
    assert link(b"q" * 32, EPOCH, 48213, body) == sha256(by_hand).digest()
    assert sha256(by_hand).hexdigest() == "c309012f38a8765190786ac3f5be970dae78acc680e8bad1134185f8463b1f9e"


@pytest.mark.parametrize(
    ("time_us", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1795492800120000, "2026-11-24T04:00:00.120Z"),
        (1795492800120999, "2026-11-24T04:00:00.120Z"),
        (253_402_300_799_999_999, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_times_are_rfc3339_with_milliseconds(time_us: int, text: str) -> None:
    assert rfc3339(time_us) == text


def an_event(data: dict[str, object]) -> Draft:
    return Draft(
        type="carril.inspection.sealed",
        subject="0193-ä\u2028",
        prio=1,
        flags=flags_of(data),
        time_us=1795492800120000,
        data=data,
        schema="inspection.sealed:1",
    )


def test_an_event_is_a_cloud_event_in_canonical_json() -> None:
    data = {"simulated": True, "inspection_id": "0193", "gamma": [1.0, 1e21, 5e-324], "b": None, "a": "é"}
    body = encode(an_event(data), "LAR-04").frame.body(EPOCH, 48213)
    event = json.loads(body)
    assert event == {
        "data": data,
        "datacontenttype": "application/json",
        "dataschema": "urn:carril:schema:inspection.sealed:1",
        "id": EPOCH.hex() + ":48213",
        "partitionkey": "0193-ä\u2028",
        "prio": 1,
        "sequence": "00000000000000048213",
        "source": "urn:carril:station:LAR-04",
        "specversion": "1.0",
        "subject": "0193-ä\u2028",
        "time": "2026-11-24T04:00:00.120Z",
        "type": "carril.inspection.sealed",
    }
    assert body == rfc8785.dumps(event)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), JSON, max_size=5), st.integers(1, 2**53 - 1))
def test_the_envelope_built_around_the_number_is_canonical(data: dict[str, object], seq: int) -> None:
    body = encode(an_event(data), "LAR-04").frame.body(EPOCH, seq)
    # A float such as 2.0**53 is written without a point; as a Python integer it would be refused.
    event = json.loads(body, parse_int=lambda text: int(text) if len(text) < 16 else float(text))
    assert body == rfc8785.dumps(event)


@pytest.mark.parametrize(
    ("bits", "text"),
    # RFC 8785, appendix B.
    [
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("4340000000000000", "9007199254740992"),
        ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("444b1ae4d6e2ef4e", "999999999999999700000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555553", "333333333.3333332"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
        ("43143ff3c1cb0959", "1424953923781206.2"),
    ],
)
def test_numbers_are_written_as_rfc8785_says(bits: str, text: str) -> None:
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert f'"x":{text}}}'.encode() in encode(an_event({"x": value}), "L").frame.body(EPOCH, 1)


# --- what is sound ------------------------------------------------------------------------------


def a_chain(count: int) -> list[Row]:
    rows: list[Row] = []
    previous = genesis(EPOCH, None)
    for seq in range(1, count + 1):
        event = an_event({"n": seq})
        body = encode(event, "L").frame.body(EPOCH, seq)
        digest = link(previous, EPOCH, seq, body)
        rows.append(Row(seq, event.type, event.prio, event.subject, event.time_us, 0, body, previous, digest))
        previous = digest
    return rows


def replaced(row: Row, **columns: object) -> Row:
    fields = {name: getattr(row, name) for name in Row.__slots__}
    return Row(**(fields | columns))


def sound(rows: list[Row], head: Row) -> set[int]:
    return set(sound_rows(rows, range(1, head.seq + 1), EPOCH, head.seq, head.hash))


def test_an_untouched_chain_is_sound() -> None:
    rows = a_chain(5)
    assert sound(rows, rows[-1]) == {1, 2, 3, 4, 5}


@pytest.mark.parametrize(
    "columns",
    [
        {"type": "carril.inspection.opened"},
        {"prio": 3},
        {"subject": "other"},
        {"flags": 1},
        {"prev": bytes(32)},
        {"hash": bytes(32)},
        {"body": b"{}"},
    ],
)
def test_a_changed_column_is_damage_of_that_record_alone(columns: dict[str, object]) -> None:
    rows = a_chain(5)
    head = rows[-1]
    rows[2] = replaced(rows[2], **columns)
    assert sound(rows, head) == {1, 2, 4, 5}


def test_a_record_rewritten_with_its_own_hash_shows_by_its_successor() -> None:
    rows = a_chain(5)
    head = rows[-1]
    for index in (2, 4):
        body = rows[index].body.replace(b'"n":', b'"m":')
        digest = link(rows[index].prev, EPOCH, rows[index].seq, body)
        rows[index] = replaced(rows[index], body=body, hash=digest)
    assert sound(rows, head) == {1, 2, 4}


def test_swapped_records_and_missing_ones_are_damage() -> None:
    rows = a_chain(6)
    head = rows[-1]
    second, third = rows[1], rows[2]
    rows[1], rows[2] = replaced(third, seq=2), replaced(second, seq=3)
    del rows[4]
    assert sound(rows, head) == {1, 4, 6}
