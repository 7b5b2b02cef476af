"""GVCP and GVSP byte by byte; the vectors are written out by hand from the published layouts."""

from __future__ import annotations

import pytest

from drivers.formats.gige import gvcp, gvsp
from drivers.formats.gige.gvcp import Answer, Command, Request, Status
from drivers.formats.gige.gvsp import Assembler, Block, Form, Jump, Resend
from drivers.readings import BadFrame, DeviceIdentity

FORM = Form(width=4, height=3, payload_bytes=24, packet_bytes=10)
IMAGE = bytes(range(24))
"""Three packets: 10, 10 and 4 bytes."""
LEADER = bytes.fromhex("0000 0007 01000000 0000 0001 0000000000000bb8 01100007 00000004 00000003") + bytes(12)
TRAILER = bytes.fromhex("0000 0007 02000004 0000 0001 00000003")


def packets(block_id: int, form: Form = FORM, ticks: int = 3_000) -> list[bytes]:
    return gvsp.pack_block(form, block_id, ticks, IMAGE[: form.payload_bytes])


def fed(assembler: Assembler, *datagrams: bytes, now_s: float = 0.0) -> list[gvsp.Item]:
    return [item for datagram in datagrams for item in assembler.feed(datagram, now_s)]


# --- GVCP -----------------------------------------------------------------------------------------


def test_requests_have_the_published_bytes() -> None:
    read = Request(Command.READ_REGISTER, 7, gvcp.words(gvcp.Register.PRIVILEGE))
    assert gvcp.pack_request(read) == bytes.fromhex("42 01 0080 0004 0007 00000a00")
    assert gvcp.read_request(gvcp.pack_request(read)) == read
    assert gvcp.resend(9, 2, 5, 3) == bytes.fromhex("42 00 0040 000c 0003 00000009 00000002 00000005")
    told = gvcp.read_request(gvcp.resend(9, 2, 5, 3))
    assert isinstance(told, Request)
    assert not told.wants_answer


def test_answers_have_the_published_bytes() -> None:
    answer = Answer(Status.SUCCESS, Command.READ_REGISTER, 7, gvcp.words(2))
    assert gvcp.pack_answer(answer) == bytes.fromhex("0000 0081 0004 0007 00000002")
    denied = Answer(Status.ACCESS_DENIED, Command.WRITE_REGISTER, 8)
    assert gvcp.pack_answer(denied) == bytes.fromhex("8006 0083 0000 0008")
    assert gvcp.read_answer(gvcp.pack_answer(denied)) == denied


@pytest.mark.parametrize(
    ("datagram", "kind"),
    [
        ("4201008000", "too_short"),
        ("4101 0080 0000 0001", "no_gvcp"),
        ("4201 0080 0004 0001", "wrong_length"),
    ],
)
def test_what_is_no_request_is_a_bad_frame(datagram: str, kind: str) -> None:
    bad = gvcp.read_request(bytes.fromhex(datagram))
    assert bad == BadFrame(kind, 0, bytes.fromhex(datagram))


@pytest.mark.parametrize(
    ("datagram", "kind"),
    [
        ("0000", "too_short"),
        ("0000 0080 0000 0001", "no_gvcp"),
        ("0000 0081 0000 0001 00000000", "wrong_length"),
    ],
)
def test_what_is_no_answer_is_a_bad_frame(datagram: str, kind: str) -> None:
    bad = gvcp.read_answer(bytes.fromhex(datagram))
    assert isinstance(bad, BadFrame)
    assert bad.kind == kind


def test_the_discovery_block_says_who_answers() -> None:
    block = bytearray(gvcp.DISCOVERY_BYTES)
    for (at, _), text in zip((gvcp.MAKE, gvcp.MODEL, gvcp.SERIAL, gvcp.VERSION), b"MOSV", strict=True):
        block[at] = text
    block[0xE0] = 0xFF  # behind the end of the serial number's text
    assert gvcp.identity(bytes(block)) == DeviceIdentity("M", "O", "S", "V")


def test_refusals_have_a_word() -> None:
    assert gvcp.refusal(0x8003) == "invalid address (0x8003)"
    assert gvcp.refusal(0x8ABC) == "unknown (0x8abc)"


def test_words_that_are_not_there_are_zero() -> None:
    assert gvcp.word(gvcp.words(1, 0xFFFF_FFFF), 1) == 0xFFFF_FFFF
    assert gvcp.word(b"", 3) == 0


# --- GVSP -----------------------------------------------------------------------------------------


def test_a_block_has_the_published_bytes() -> None:
    leader, first, _, last, trailer = packets(7)
    assert leader == LEADER
    assert first == bytes.fromhex("0000 0007 03000001") + IMAGE[:10]
    assert last == bytes.fromhex("0000 0007 03000003") + IMAGE[20:]
    assert trailer == TRAILER


def test_a_block_comes_out_whole_before_its_trailer() -> None:
    assembler = Assembler(FORM)
    leader, *payload, trailer = packets(7)
    assert fed(assembler, leader, *payload) == [Block(0, 3_000, IMAGE)]
    assert fed(assembler, trailer) == []
    assert assembler.due_s is None


def test_ids_go_on_at_one_behind_the_last() -> None:
    assembler = Assembler(FORM)
    blocks = fed(assembler, *packets(65_535), *packets(1), *packets(2))
    assert [block.number for block in blocks if isinstance(block, Block)] == [0, 1, 2]
    assert len(blocks) == 3


@pytest.mark.parametrize(
    ("datagram", "kind"),
    [
        (b"\0" * 7, "too_short"),
        (LEADER[:4] + b"\x81" + LEADER[5:], "extended_ids"),
        (b"\0\0\0\0" + LEADER[4:], "block_id"),
        (LEADER[:20], "too_short"),
        (LEADER[:7] + b"\1" + LEADER[8:], "packet_id"),
        (LEADER[:10] + b"\x40\1" + LEADER[12:], "payload_type"),
        (LEADER[:20] + bytes.fromhex("01100005") + LEADER[24:], "pixel_format"),
        (LEADER[:27] + b"\5" + LEADER[28:], "wrong_size"),
        (TRAILER[:7] + b"\5" + TRAILER[8:], "packet_id"),
        (packets(7)[1][:-1], "wrong_size"),
        (packets(7)[3] + b"\0", "wrong_size"),
        (bytes.fromhex("0000 0007 03000000") + IMAGE[:10], "packet_id"),
        (bytes.fromhex("0000 0007 03000004") + IMAGE[:10], "packet_id"),
        (bytes.fromhex("0000 0007 04000001") + IMAGE[:10], "unknown_format"),
    ],
)
def test_what_is_no_packet_is_a_bad_frame(datagram: bytes, kind: str) -> None:
    assembler = Assembler(FORM)
    assert fed(assembler, datagram) == [BadFrame(kind, 0, datagram[:64])]
    assert len([item for item in fed(assembler, *packets(9)) if isinstance(item, Block)]) == 1


def test_what_is_missing_at_the_trailer_is_asked_for_once() -> None:
    assembler = Assembler(FORM, wait_s=1.0)
    leader, first, second, third, trailer = packets(7)
    assert fed(assembler, leader, second, trailer) == [Resend(7, 1, 1), Resend(7, 3, 3)]
    assert fed(assembler, trailer, third) == []
    assert fed(assembler, first) == [Block(0, 3_000, IMAGE)]


def test_what_does_not_come_again_is_missing() -> None:
    assembler = Assembler(FORM, wait_s=1.0)
    leader, first, _, _, trailer = packets(7)
    fed(assembler, leader, first, trailer, now_s=5.0)
    assert assembler.due_s == 6.0
    assert assembler.tick(5.9) == []
    zeroed = IMAGE[:10] + bytes(14)
    assert assembler.tick(6.0) == [Block(0, 3_000, zeroed, ((10, 24),))]


def test_a_block_that_stops_is_asked_for_after_a_while() -> None:
    assembler = Assembler(FORM, wait_s=1.0)
    leader, first, *_ = packets(7)
    fed(assembler, leader, first, now_s=5.0)
    assert assembler.tick(6.0) == [Resend(7, 2, 3)]
    assert assembler.tick(6.5) == []


def test_a_refusal_ends_the_waiting() -> None:
    assembler = Assembler(FORM, wait_s=1.0)
    leader, first, _, third, trailer = packets(7)
    refused = bytes.fromhex("800c 0007 03000002")
    fed(assembler, leader, first, third)
    assert fed(assembler, refused) == []  # nothing was asked for
    assert fed(assembler, trailer, refused)[1:] == [
        Block(0, 3_000, IMAGE[:10] + bytes(10) + IMAGE[20:], ((10, 20),))
    ]
    assert fed(assembler, refused) == []


def test_a_later_block_waits_for_the_one_before() -> None:
    assembler = Assembler(FORM, wait_s=1.0)
    late, *rest = packets(7)
    assert fed(assembler, *rest) == [Resend(7, 0, 0)]
    assert fed(assembler, *packets(8)) == []
    assert [item.number for item in fed(assembler, late) if isinstance(item, Block)] == [0, 1]


def test_without_a_leader_a_block_is_lost() -> None:
    assembler = Assembler(FORM, wait_s=1.0)
    fed(assembler, *packets(7)[1:])
    assert assembler.tick(1.0) == [Block(0)]


def test_a_block_of_which_nothing_came_is_asked_for_whole() -> None:
    assembler = Assembler(FORM, wait_s=1.0)
    items = fed(assembler, *packets(7), *packets(9))
    assert items == [Block(0, 3_000, IMAGE), Resend(8, 0, 3)]
    assert [item.number for item in fed(assembler, *packets(8)) if isinstance(item, Block)] == [1, 2]


def test_with_too_many_open_the_oldest_is_given_up() -> None:
    assembler = Assembler(FORM, wait_s=1.0)
    fed(assembler, packets(1)[0])
    items = fed(assembler, *(packets(1 + number)[0] for number in range(1, gvsp.MAX_OPEN + 1)))
    assert [item for item in items if isinstance(item, Block)] == [Block(0)]


def test_a_long_gap_is_lost_blocks_one_by_one() -> None:
    assembler = Assembler(FORM, wait_s=1.0)
    items = fed(assembler, *packets(1), packets(501)[0])
    lost = [item for item in items if isinstance(item, Block)][1:]
    assert lost == [Block(number) for number in range(1, 501 - gvsp.MAX_OPEN)]
    assert sum(isinstance(item, Resend) for item in items) == gvsp.MAX_OPEN - 1


def test_late_packets_of_a_block_that_is_over_are_dropped() -> None:
    assembler = Assembler(FORM)
    fed(assembler, *packets(7), *packets(8))
    assert fed(assembler, *packets(7)) == []


def test_another_count_begins_with_a_leader_only() -> None:
    assembler = Assembler(FORM, wait_s=1.0)
    fed(assembler, *packets(7), packets(8)[0])
    leader, first, *rest = packets(30_000)
    assert fed(assembler, first) == [BadFrame("block_id", 0, first)]
    items = fed(assembler, leader, first, *rest)
    assert items == [Block(1), Jump(), Block(0, 3_000, IMAGE)]


def test_too_many_holes_are_asked_for_in_one() -> None:
    form = Form(width=40, height=1, payload_bytes=80, packet_bytes=1)
    leader, *payload, trailer = gvsp.pack_block(form, 1, 0, bytes(80))
    assert fed(Assembler(form), leader, *payload[::2], trailer) == [Resend(1, 2, 80)]


def test_giving_up_by_order_loses_nothing_that_came() -> None:
    assembler = Assembler(FORM)
    fed(assembler, *packets(7)[:2])
    assert assembler.flush() == [Block(0, 3_000, IMAGE[:10] + bytes(14), ((10, 24),))]


def test_resent_packets_say_so_and_are_read() -> None:
    again = [b"\1\0" + packet[2:] for packet in packets(7)]
    assert fed(Assembler(FORM), *again) == [Block(0, 3_000, IMAGE)]


def test_chunk_data_is_read_from_its_end() -> None:
    data = b"pic" + b"\0\0\0\1\0\0\0\3" + b"\0\0\0\5" + b"\0\0\x10\0\0\0\0\4"
    assert gvsp.chunks(data) == {0x1000: b"\0\0\0\5", 1: b"pic"}
    assert gvsp.chunks(data[3:]) == {0x1000: b"\0\0\0\5"}
    assert gvsp.chunks(b"\xff" * 20) == {}
    assert gvsp.chunks(b"") == {}


def test_with_chunks_the_payload_type_is_another() -> None:
    form = Form(width=4, height=3, payload_bytes=24, packet_bytes=10, chunks=True)
    leader = gvsp.pack_block(form, 7, 0, IMAGE)[0]
    assert leader[10:12] == b"\x40\1"
    assert fed(Assembler(form), *gvsp.pack_block(form, 7, 0, IMAGE)) == [Block(0, 0, IMAGE)]
    assert fed(Assembler(FORM), leader) == [BadFrame("payload_type", 0, leader)]


def test_pixel_formats_have_names() -> None:
    assert gvsp.pixel_format(0x0110_0005) == "Mono12"
    assert gvsp.pixel_format(0x0123_4567) == "0x01234567"
