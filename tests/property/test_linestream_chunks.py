"""linestream bytes in any segments give the same records; no bytes at all make the codec raise or grow."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from drivers.formats.linestream.codes import HeaderFlag
from drivers.formats.linestream.describe import parse
from drivers.formats.linestream.frames import HEADER, MAGIC, MAX_MESSAGE, Frame, FrameReader, crc32c, encode
from drivers.formats.linestream.messages import (
    Ack,
    Bye,
    Describe,
    Error,
    Gap,
    Lines,
    Message,
    Ping,
    ScanAbort,
    ScanEnd,
)
from drivers.readings import BadFrame
from tests.support.scanner_lane import GEOMETRY_JSON
from tests.unit.test_linestream_codec import block

U32, U64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
MESSAGES = st.one_of(
    st.builds(Ack, U64, U32),
    st.builds(Gap, U64, U64, st.integers(0, 255)),
    st.builds(ScanEnd, U64, U64, U64, st.integers(-(2**63), 2**63 - 1), U32, U32, st.integers(0, 255)),
    st.builds(ScanAbort, U64, st.integers(0, 255), st.text(max_size=40)),
    st.builds(Error, st.integers(0, 65535), st.integers(0, 65535), U32, st.text(max_size=40)),
    st.builds(Ping, U64, U64, U64),
    st.builds(Describe, st.binary(max_size=200)),
    st.builds(block, st.integers(1, 5), st.integers(1, 6), first=st.integers(0, 2**63)),
    st.just(Bye()),
)
FLAGS = st.integers(0, 7).map(HeaderFlag)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Sound frames with the present sequence number, junk, damage and truncated frames in any order."""
    parts: list[bytes] = []
    seq = 0
    for _ in range(draw(st.integers(0, 8))):
        match draw(st.integers(0, 5)):
            case 0:
                parts.append(draw(st.binary(max_size=80)))
            case 1:
                parts.append(draw(st.sampled_from([MAGIC, MAGIC + bytes(28), MAGIC[:2]])))
            case kind:
                wire = bytearray(encode(draw(MESSAGES), seq=seq, scan_id=draw(U64), flags=draw(FLAGS)))
                seq += 1
                if kind == 2:
                    wire[draw(st.integers(0, len(wire) - 1))] ^= draw(st.integers(1, 255))
                if kind == 3:
                    del wire[draw(st.integers(0, len(wire) - 1)) :]
                parts.append(bytes(wire))
    return b"".join(parts)


def shown(records: list[Frame | BadFrame]) -> list[object]:
    return [
        record if isinstance(record, BadFrame) else (record.offset, record.seq, record.flags, record.wire)
        for record in records
    ]


@given(streams(), st.lists(st.integers(1, 200), max_size=60), st.booleans())
def test_any_segments_give_identical_records(stream: bytes, sizes: list[int], journal: bool):
    whole, cut = FrameReader(journal=journal), FrameReader(journal=journal)
    expected = whole.feed(stream)
    records: list[Frame | BadFrame] = []
    rest = stream
    for size in sizes:
        records += cut.feed(rest[:size])
        rest = rest[size:]
    records += cut.feed(rest)
    assert shown(records) == shown(expected)
    assert (cut.offset, cut.pending, cut.end()) == (whole.offset, whole.pending, whole.end())
    assert cut.offset + cut.pending == len(stream), "every byte is accounted for"


@given(st.lists(MESSAGES, max_size=8), FLAGS, U64)
def test_what_is_encoded_is_read_back(messages: list[Message], flags: HeaderFlag, scan_id: int):
    wires = [encode(message, seq=n, scan_id=scan_id, flags=flags) for n, message in enumerate(messages)]
    frames = FrameReader().feed(b"".join(wires))
    assert [frame.wire for frame in frames if isinstance(frame, Frame)] == wires
    for frame, message in zip(frames, messages, strict=True):
        assert isinstance(frame, Frame)
        assert (frame.flags, frame.scan_id) == (flags, scan_id)
        if isinstance(message, Lines):
            assert frame.message.pack() == message.pack()
        else:
            assert frame.message == message


@given(st.binary(max_size=3_000))
def test_junk_never_raises(junk: bytes):
    reader = FrameReader()
    for record in reader.feed(junk):
        assert isinstance(record, Frame | BadFrame)
    assert reader.pending <= len(junk)


@given(st.integers(0, 2**32 - 1), st.integers(1, 64))
def test_no_length_field_makes_the_buffer_grow(length: int, megabytes: int):
    head = bytearray(encode(Ack(1), seq=0)[: HEADER.size])
    head[8:12] = length.to_bytes(4, "little")
    head[28:32] = crc32c(bytes(head[:28])).to_bytes(4, "little")
    reader = FrameReader()
    reader.feed(bytes(head))
    for _ in range(min(megabytes, 9)):
        reader.feed(bytes(1 << 20))
        assert reader.pending <= MAX_MESSAGE


@given(st.lists(st.tuples(st.integers(0, len(GEOMETRY_JSON) - 1), st.integers(0, 255)), max_size=8))
def test_a_damaged_description_is_read_or_refused_in_a_sentence(damage: list[tuple[int, int]]):
    text = bytearray(GEOMETRY_JSON)
    for place, byte in damage:
        text[place] = byte
    sentence = "DESCRIBE: read"
    try:
        assert parse(bytes(text))[1].pitch_m > 0
    except ValueError as refused:
        sentence = str(refused)
    assert sentence.startswith("DESCRIBE: ")
