"""TSA ASCII for every input: any chunking gives the same values, junk never raises, nothing grows."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from drivers.readings import BadFrame
from drivers.rpm.tsa.codec import (
    COUNT_TAGS,
    HEAD,
    LINE_LIMIT,
    SETUP,
    TEXT_COLUMNS,
    CountsLine,
    EndLine,
    Record,
    SetupLine,
    SpeedLine,
    TamperLine,
    TsaCodec,
    encode,
)

counts = st.integers(0, 999_999)
times = st.none() | st.just("23-59-59.999")
words = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-/", max_size=12)


def setup_lines(part: str) -> st.SearchStrategy[Record]:
    number = st.integers(0, 10**8 - 1).map(str) | st.decimals(0, 9_999, places=3).map(str)
    columns = [words if name in TEXT_COLUMNS else number for name in SETUP[part]]
    return st.builds(lambda fields: SetupLine(part, fields), st.tuples(*columns))


records: st.SearchStrategy[Record] = st.one_of(
    st.builds(CountsLine, st.sampled_from(sorted(COUNT_TAGS)), st.tuples(*[st.none() | counts] * 4), times),
    st.builds(EndLine, counts, st.none() | counts.map(lambda milli: milli / 1000), times),
    st.builds(TamperLine, st.booleans(), times),
    st.builds(
        SpeedLine,
        st.integers(0, 99_999).map(lambda n: n / 10_000),
        st.integers(0, 99_999).map(lambda n: n / 1_000),
        st.integers(0, 99_999).map(lambda n: n / 100),
        times,
    ),
    *map(setup_lines, SETUP),
)
junk = st.binary(max_size=80) | st.sampled_from(
    [b"\n", b"\r\n", b"\x00", b"GS,", b",", b"***", b"G" * 300, b"GS,1,2,3,4\n", b"SG1,1", b"00-00-04.919"]
)
streams = st.lists(junk | records.map(encode), max_size=12).map(b"".join)


def read(data: bytes, cuts: list[int]) -> list[object]:
    stream = TsaCodec()
    items: list[object] = []
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    for start, stop in pairwise(places):
        items += stream.feed(data[start:stop])
        assert len(stream._line) <= LINE_LIMIT
    return items + stream.end()


@given(streams, st.lists(st.integers(0, 1_000), max_size=20))
def test_any_chunking_gives_the_same_values(data: bytes, cuts: list[int]) -> None:
    assert read(data, cuts) == read(data, []) == read(data, list(range(len(data))))


@given(streams)
def test_every_bad_frame_tells_where_it_was(data: bytes) -> None:
    for item in read(data, []):
        if isinstance(item, BadFrame):
            assert data[item.offset :].startswith(item.head)
            assert len(item.head) <= HEAD
            assert item.offset == 0 or data[item.offset - 1] == 0x0A


@given(records)
def test_what_is_encoded_is_decoded(record: Record) -> None:
    line = encode(record)
    (item,) = TsaCodec().feed(line)
    assert not isinstance(item, BadFrame)
    assert item == dataclasses.replace(record, raw=line.rstrip())
