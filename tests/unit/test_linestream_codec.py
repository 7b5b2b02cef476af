"""linestream v1 on the wire: the document's vectors, every field at its place, every refusal."""

from __future__ import annotations

import json
import struct
from dataclasses import fields

import numpy as np
import pytest

from drivers.formats.linestream.codes import HeaderFlag
from drivers.formats.linestream.describe import parse, strict_json
from drivers.formats.linestream.frames import (
    HEADER,
    MAX_MESSAGE,
    MAX_RESYNC,
    Frame,
    FrameReader,
    crc32c,
    encode,
)
from drivers.formats.linestream.messages import (
    LINE_RECORD,
    MAX_JSON,
    MAX_PAYLOAD,
    MESSAGES,
    Ack,
    Bye,
    Describe,
    Error,
    JournalHead,
    Lines,
    ScanAbort,
)
from drivers.readings import BadFrame
from tests.support.scanner_lane import GEOMETRY_JSON

BYE = bytes.fromhex("434c533101207f00 0000000005000000 0000000000000000 0000000079b808fc 00000000")
ACK = bytes.fromhex(
    "434c533101203000 1000000002000000 0700000000000000 000000004a5d61fd"
    "4000000000000000 0000000000000000 1638e81a"
)

# Offset and type of every field, as the document's table of messages gives them.
LAYOUTS = {
    0x01: (64, "0:H 2:H 4:I 8:Q 16:Q 24:q 32:I 36:I 40:Q 48:Q 56:Q"),
    0x02: (48, "0:H 2:H 4:I 8:Q 16:Q 24:Q 32:Q 40:I"),
    0x10: (64, "0:B 1:B 2:B 3:B 4:H 6:B 7:B 8:Q 16:q 24:B 28:I 32:I 36:I 40:I 44:I 48:16s"),
    0x12: (24, "0:Q 8:Q 16:B"),
    0x13: (56, "0:Q 8:Q 16:Q 24:q 32:I 36:I 40:B"),
    0x20: (64, "0:Q 8:q 16:I 20:I 24:I 28:I 32:i 36:i 40:I 44:I 48:I 52:I 60:B"),
    0x21: (24, "0:Q 8:Q 16:Q"),
    0x22: (24, "0:Q 8:Q 16:Q"),
    0x30: (16, "0:Q 8:I"),
    0x7F: (0, ""),
}


def one(wire: bytes, *, journal: bool = False) -> Frame | BadFrame:
    """Read exactly one record."""
    reader = FrameReader(journal=journal)
    [record] = reader.feed(wire)
    assert reader.pending == 0
    return record


def frame(kind: int, payload: bytes = b"", *, seq: int = 0, **header: int) -> bytes:
    """Build a frame by hand, every field as the document draws it."""
    head = struct.pack(
        "<4sBBBBIIQI",
        b"CLS1", header.get("version", 1), header.get("size", 32), kind, header.get("flags", 0),
        header.get("length", len(payload)), seq, header.get("scan_id", 0), header.get("reserved", 0),
    )  # fmt: skip
    return b"".join((head, struct.pack("<I", crc32c(head)), payload, struct.pack("<I", crc32c(payload))))


def block(
    lines: int = 3, detectors: int = 4, *, first: int = 10, channels: int = 1, dtype: str = "<u2"
) -> Lines:
    records = np.zeros(lines, LINE_RECORD)
    records["t_ns"] = np.arange(lines) * 2_000_000
    records["encoder"] = -np.arange(lines)
    shape = (lines, channels, detectors)
    samples = np.arange(lines * channels * detectors, dtype=dtype).reshape(shape)
    return Lines(first, 0xDEADBEEF, 77, records, samples)


def test_crc_is_castagnoli_and_can_go_on():
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(b"6789", crc32c(b"12345")) == 0xE3069283
    assert crc32c(b"") == 0


def test_the_vectors_of_the_document():
    assert encode(Bye(), seq=5) == BYE
    assert encode(Ack(next_line=64), seq=2, scan_id=7) == ACK
    reader = FrameReader(journal=True)
    bye, ack = reader.feed(BYE + ACK)
    assert isinstance(bye, Frame)
    assert (bye.message, bye.seq, bye.scan_id, bye.offset, bye.wire) == (Bye(), 5, 0, 0, BYE)
    assert isinstance(ack, Frame)
    assert (ack.message, ack.seq, ack.scan_id, ack.offset) == (Ack(64), 2, 7, len(BYE))


@pytest.mark.parametrize("kind", LAYOUTS, ids=lambda kind: MESSAGES[kind].__name__)
def test_every_field_at_its_place(kind: int):
    size, places = LAYOUTS[kind]
    payload = bytearray(size)
    values: list[object] = []
    for number, place in enumerate(places.split()):
        offset, code = place.split(":")
        value: object = bytes(range(16)) if code == "16s" else (-number - 1 if code.islower() else number + 1)
        struct.pack_into(f"<{code}", payload, int(offset), value)
        values.append(value)
    record = one(frame(kind, bytes(payload)))
    assert isinstance(record, Frame)
    assert [getattr(record.message, field.name) for field in fields(record.message)] == values
    assert record.message.pack() == payload, "encoding puts everything back where it was"
    grown = one(frame(kind, bytes(payload) + b"later"))
    assert isinstance(grown, Frame)
    assert grown.message == record.message, "a later version may have grown at the end"
    if size:
        assert one(frame(kind, bytes(payload[:-1]))) == BadFrame(
            "malformed", 0, frame(kind, bytes(payload[:-1]))[:64]
        )


@pytest.mark.parametrize(("kind", "fixed"), [(0x14, 16), (0x7E, 8)])
def test_messages_that_end_in_text(kind: int, fixed: int):
    said = one(frame(kind, bytes(fixed) + "señal".encode()))
    assert isinstance(said, Frame)
    assert isinstance(said.message, ScanAbort | Error)
    assert said.message.text == "señal"
    assert said.message.pack() == bytes(fixed) + "señal".encode()
    bad_utf8 = one(frame(kind, bytes(fixed) + b"\xff"))
    assert isinstance(bad_utf8, Frame)
    assert bad_utf8.message.text == "\ufffd"  # type: ignore[union-attr]
    assert one(frame(kind, bytes(fixed) + b"x" * 257)).kind == "malformed"  # type: ignore[union-attr]
    assert one(frame(kind, bytes(fixed - 1))).kind == "malformed"  # type: ignore[union-attr]


def test_text_is_cut_between_characters():
    assert Error(1, 0, 0, "x" * 255 + "ñ").pack() == bytes([1]) + bytes(7) + b"x" * 255
    assert Error(1, 0, 0, "\ud800").pack()[8:] == b"?", "half a character cannot be sent"


@pytest.mark.parametrize(("channels", "dtype", "code"), [(1, "<u2", 1), (2, "<u2", 1), (1, "<u4", 2)])
def test_lines_keep_every_sample(channels: int, dtype: str, code: int):
    sent = block(channels=channels, dtype=dtype)
    wire = encode(sent, seq=0, scan_id=9, flags=HeaderFlag.RESENT)
    payload = wire[32:-4]
    assert struct.unpack_from("<QHHBBHIIQ", payload) == (10, 3, 4, channels, code, 32, 0xDEADBEEF, 0, 77)
    assert struct.unpack_from("<QqIIIHH", payload, 32 + 32)[:2] == (2_000_000, -1)
    read = one(wire)
    assert isinstance(read, Frame)
    assert (read.flags, read.scan_id) == (HeaderFlag.RESENT, 9)
    got = read.message
    assert isinstance(got, Lines)
    assert (got.first_line, got.next_line, got.geometry_crc, got.sent_ns) == (10, 13, 0xDEADBEEF, 77)
    assert got.samples.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(got.samples, sent.samples)
    np.testing.assert_array_equal(got.records, sent.records)
    tail = got.tail(12)
    assert (tail.first_line, tail.next_line) == (12, 13)
    np.testing.assert_array_equal(tail.samples, sent.samples[2:])


def test_a_block_of_64_lines_and_1024_detectors_has_the_size_of_the_document():
    assert len(block(64, 1024).pack()) == 133_152
    assert len(encode(block(64, 1024), seq=0)) == 133_188


@pytest.mark.parametrize(
    ("offset", "code", "value"),
    [(8, "H", 2), (8, "H", 0), (8, "H", 257), (10, "H", 0), (10, "H", 8193), (12, "B", 0), (12, "B", 3),
     (13, "B", 2), (13, "B", 3), (14, "H", 31)],
)  # fmt: skip
def test_a_block_whose_size_does_not_match_exactly(offset: int, code: str, value: int):
    payload = bytearray(block().pack())
    struct.pack_into(f"<{code}", payload, offset, value)
    assert one(frame(0x11, bytes(payload))).kind == "malformed"  # type: ignore[union-attr]


def test_a_block_too_short_or_too_long():
    payload = block().pack()
    for wrong in (payload[:31], payload[:-1], payload + b"\0"):
        assert one(frame(0x11, wrong)).kind == "malformed"  # type: ignore[union-attr]


def test_describe_is_kept_as_sent_and_bounded():
    assert one(frame(0x03, b" {} ")).message == Describe(b" {} ")  # type: ignore[union-attr]
    assert Describe(b" {} ").pack() == b" {} "
    assert one(frame(0x03, bytes(MAX_JSON + 1))).kind == "malformed"  # type: ignore[union-attr]


def test_a_journal_begins_with_its_head_and_a_wire_never_carries_one():
    head = encode(JournalHead(b'{"boot":"1"}'), seq=0)
    assert one(head, journal=True).message == JournalHead(b'{"boot":"1"}')  # type: ignore[union-attr]
    assert one(head).kind == "journal_message"  # type: ignore[union-attr]
    _, again = FrameReader(journal=True).feed(head + head)
    assert isinstance(again, BadFrame)
    assert again.kind == "journal_message"


def test_a_journal_is_read_over_many_links():
    wire = encode(JournalHead(b"{}"), seq=0) + encode(Ack(1), seq=7) + encode(Ack(2), seq=0)
    records = FrameReader(journal=True).feed(wire)
    assert [record.seq for record in records if isinstance(record, Frame)] == [0, 7, 0]


def test_unknown_types():
    later = encode(Ack(1), seq=1)
    [record] = FrameReader().feed(frame(0x80, b"optional") + later)
    assert isinstance(record, Frame)
    assert record.message == Ack(1), "a type from 0x80 on is skipped, but counts in the sequence"
    assert one(frame(0x6F, b"what?")) == BadFrame("unknown_type", 0, frame(0x6F, b"what?")[:64])


def test_a_jump_in_the_sequence_drops_the_message():
    reader = FrameReader()
    kinds = [
        record.kind if isinstance(record, BadFrame) else record.seq
        for record in reader.feed(b"".join(encode(Ack(1), seq=seq) for seq in (0, 1, 3, 4)))
    ]
    assert kinds == [0, 1, "sequence", 4]
    assert one(encode(Ack(1), seq=1)).kind == "sequence", "every link begins at 0"  # type: ignore[union-attr]


def test_the_sequence_goes_round():
    reader = FrameReader(journal=False)
    reader._next_seq = 0xFFFF_FFFF
    first, second = reader.feed(encode(Ack(1), seq=0xFFFF_FFFF) + encode(Ack(2), seq=0))
    assert isinstance(first, Frame)
    assert isinstance(second, Frame)


def test_a_flipped_bit_in_the_payload_costs_one_message():
    good = encode(Ack(1), seq=1)
    wire = bytearray(encode(block(), seq=0) + good)
    wire[100] ^= 1
    bad, ack = FrameReader().feed(bytes(wire))
    assert isinstance(bad, BadFrame)
    assert (bad.kind, bad.offset, bad.head) == ("bad_checksum", 0, bytes(wire[:64]))
    assert isinstance(ack, Frame)
    assert ack.message == Ack(1)


@pytest.mark.parametrize("place", [0, 4, 5, 6, 8, 12, 16, 24, 28, 31])
def test_a_flipped_bit_anywhere_in_the_header_is_searched_past(place: int):
    wire = bytearray(encode(block(), seq=0) + encode(Ack(1), seq=1) + encode(Ack(2), seq=2))
    wire[place] ^= 1
    bad, *rest = FrameReader().feed(bytes(wire))
    assert isinstance(bad, BadFrame)
    assert (bad.kind, bad.offset, bad.head) == ("bad_header", 0, bytes(wire[:32]))
    assert [record.message for record in rest if isinstance(record, Frame)] == [Ack(1), Ack(2)]


@pytest.mark.parametrize(
    "header", [{"version": 2}, {"size": 33}, {"length": 0xFFFF_FFFF}, {"length": MAX_PAYLOAD + 1}]
)
def test_a_header_that_is_sound_but_impossible(header: dict[str, int]):
    bad, ack = FrameReader().feed(frame(0x30, ACK[32:48], **header) + encode(Ack(1), seq=0))
    assert isinstance(bad, BadFrame)
    assert bad.kind == "bad_header"
    assert isinstance(ack, Frame)
    assert ack.message == Ack(1)


def test_reserved_bytes_are_ignored():
    assert one(frame(0x30, ACK[32:44] + b"\xff" * 4, reserved=99)).message == Ack(64)  # type: ignore[union-attr]


@pytest.mark.parametrize("piece", [1, 2, 3, 5, 31, 33, 1000])
@pytest.mark.parametrize("junk", [33, 34, 60, 63, 64, 100])
def test_a_header_is_found_wherever_the_segments_cut_it(piece: int, junk: int):
    wire = b"C" * junk + encode(Ack(1), seq=0)
    reader = FrameReader()
    records = [record for at in range(0, len(wire), piece) for record in reader.feed(wire[at : at + piece])]
    bad, ack = records
    assert bad == BadFrame("bad_header", 0, b"C" * 32)
    assert isinstance(ack, Frame)
    assert ack.offset == junk


def test_a_false_header_inside_a_search_is_part_of_the_same_damage():
    false = b"CLS1" + bytes(40)
    bad, ack = FrameReader().feed(bytes(50) + false + false + encode(Ack(1), seq=9))
    assert bad == BadFrame("bad_header", 0, bytes(32)), "counted once"
    assert isinstance(ack, Frame)
    assert (ack.message, ack.offset) == (Ack(1), 50 + 2 * len(false))


@pytest.mark.parametrize("tail", [b"", b"C", b"CL", b"CLS", b"CLS1", b"CLS1" + bytes(27), b"xyz"])
def test_what_is_held_back_in_a_search_does_not_depend_on_the_segments(tail: bytes):
    stream = bytes(70) + tail
    kept = tail if tail != b"xyz" else b""
    for piece in (1, 7, 32, 40, len(stream)):
        reader = FrameReader()
        for at in range(0, len(stream), piece):
            reader.feed(stream[at : at + piece])
        assert (reader.pending, reader.offset) == (len(kept), len(stream) - len(kept))
        assert reader.end() == ([BadFrame("incomplete", 70, kept)] if kept else [])


def test_the_search_ends_after_four_mebibytes():
    junk = bytes(MAX_RESYNC)
    reader = FrameReader()
    bad, ack = reader.feed(junk + encode(Ack(1), seq=0))
    assert isinstance(bad, BadFrame)
    assert isinstance(ack, Frame)
    assert not reader.lost, "a header at the very limit is found"
    reader = FrameReader()
    bad, lost = reader.feed(junk + b"\0" + encode(Ack(1), seq=0))
    assert (bad, lost) == (BadFrame("bad_header", 0, bytes(32)), BadFrame("lost", MAX_RESYNC, b""))
    assert reader.lost
    assert reader.feed(ACK) == []
    assert reader.pending == 0


def test_the_largest_message_passes():
    payload = bytes(MAX_PAYLOAD)
    reader = FrameReader()
    wire = frame(0x80, payload)
    assert len(wire) == MAX_MESSAGE
    assert reader.feed(wire[:-1]) == []
    assert reader.pending == MAX_MESSAGE - 1
    assert reader.feed(wire[-1:]) == []
    assert reader.pending == 0


def test_an_incomplete_message_at_the_end_is_counted():
    reader = FrameReader()
    assert reader.feed(BYE[:10]) == []
    assert reader.end() == [BadFrame("incomplete", 0, BYE[:10])]
    whole = FrameReader(journal=True)
    whole.feed(BYE)
    assert whole.end() == []
    assert whole.offset == len(BYE)
    assert HEADER.size == 32


# --- DESCRIBE -------------------------------------------------------------------------------------


def described(**changes: object) -> bytes:
    """The sound description with ``a__b`` set, or removed (None)."""
    said = json.loads(GEOMETRY_JSON)
    for path, value in changes.items():
        *way, last = path.split("__")
        place = said
        for step in way:
            place = place[step]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return json.dumps(said).encode()


def test_a_description_becomes_a_geometry_in_metres():
    identity, geometry = parse(GEOMETRY_JSON)
    assert (identity.make, identity.model, identity.serial, identity.firmware) == ("M", "L", "S", "F")
    assert (geometry.detectors, geometry.pitch_m, geometry.bottom_m) == (2, 0.005, 0.3)
    assert (geometry.plane_distance_m, geometry.detector_distance_m) == (4.0, 6.0)
    assert geometry.m_per_tick == -0.0005
    assert (geometry.full_scale, geometry.quantity, geometry.units_per_quantum) == (4095, "counts", 1)
    assert (geometry.reference_detectors, geometry.source) == ((0,), "Co-60")
    assert (geometry.raw, geometry.crc) == (GEOMETRY_JSON, crc32c(GEOMETRY_JSON))


def test_a_source_without_a_nuclide_is_named_by_what_there_is():
    linac = described(source__nuclide=None, source__kv=6000)
    assert parse(linac)[1].source == "6000 kV"
    assert parse(described(source__nuclide=None))[1].source == "isotope"


def test_keys_of_later_versions_are_allowed():
    assert parse(described(later={"a": [1]}))[1].detectors == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"\xff{}", "utf-8"),
        (b"{", "Expecting"),
        (b'{"v": NaN}', "NaN"),
        (b'{"v": -Infinity}', "-Infinity"),
        (b'{"v": 1, "v": 1}', "twice"),
        (b"[" * 9 + b"]" * 9, "deeper than 8"),
        (b"[" * 500_000, "deeper than 8"),
        (b"9" * 5_000, "digits"),
        (described(format="other"), "format"),
        (described(v=2), "v = 2"),
        (described(maker=None), "maker"),
        (described(detector__count=0), "count"),
        (described(detector__count="2"), "count"),
        (described(detector__pitch_um=0), "pitch_um"),
        (described(detector__layout="arc"), "layout = 'arc'"),
        (GEOMETRY_JSON.replace(b"300000", b"1e999"), "bottom_um"),
        (described(encoder__sign=2), "sign"),
        (described(sample__quantity="grey"), "quantity"),
        (described(reference_detectors=[0, 0]), "each once"),
        (described(reference_detectors=[2]), "between 0 and 1"),
        (described(detector__column_um=[0, -1000]), "nearer than the lane plane"),
    ],
)
def test_a_description_that_cannot_be_used(text: bytes, says: str):
    with pytest.raises(ValueError, match="DESCRIBE: ") as refused:
        parse(text)
    assert says in str(refused.value)
    assert len(str(refused.value)) < 400


def test_depth_eight_and_brackets_in_strings_are_sound():
    assert strict_json(b"[" * 8 + b'"[[[[[[[[[[\\"["' + b"]" * 8) is not None
