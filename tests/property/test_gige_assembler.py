"""Whatever arrives, in whatever order: blocks come out once, in order, and say what of them is missing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from drivers.formats.gige import gvcp, gvsp
from drivers.formats.gige.gvsp import Assembler, Block, Form
from drivers.readings import BadFrame

FORM = Form(width=4, height=3, payload_bytes=24, packet_bytes=10)
BLOCKS = 12


def payload(number: int) -> bytes:
    return bytes((number * 24 + at) % 255 + 1 for at in range(24))


def sent(first_id: int) -> list[bytes]:
    ids = [(first_id + number - 1) % gvsp.IDS + 1 for number in range(BLOCKS)]
    return [
        packet
        for number, block_id in enumerate(ids)
        for packet in gvsp.pack_block(FORM, block_id, number, payload(number))
    ]


@st.composite
def mangled(draw: st.DrawFn) -> list[bytes]:
    """Packets of a few blocks, some lost, some twice, each moved by a few places."""
    packets = sent(draw(st.integers(65_520, 65_535)))
    fates = draw(st.lists(st.sampled_from([0, 1, 1, 1, 1, 2]), min_size=len(packets), max_size=len(packets)))
    moves = draw(st.lists(st.integers(0, 6), min_size=len(packets) * 2, max_size=len(packets) * 2))
    kept = [packet for packet, fate in zip(packets[1:], fates[1:], strict=True) for _ in range(fate)]
    order = sorted(range(len(kept)), key=lambda place: place + moves[place])
    return [packets[0], *(kept[place] for place in order)]


@given(mangled())
def test_any_loss_order_and_duplication_gives_each_block_once_and_nothing_invented(wire: list[bytes]) -> None:
    assembler = Assembler(FORM, wait_s=1.0)
    items = [item for datagram in wire for item in assembler.feed(datagram, 0.0)]
    items += assembler.tick(2.0)
    items += assembler.tick(4.0)
    assert assembler.due_s is None
    assert not [item for item in items if isinstance(item, BadFrame)]
    blocks = [item for item in items if isinstance(item, Block)]
    assert [block.number for block in blocks] == list(range(len(blocks)))
    for block in blocks:
        if block.payload is None:
            continue
        lost = {at for first, after in block.missing for at in range(first, after)}
        expected = bytes(0 if at in lost else value for at, value in enumerate(payload(block.number)))
        assert block.payload == expected
        assert block.ticks == block.number


@given(st.permutations(sent(65_530)[:20]))
def test_four_whole_blocks_in_any_order_are_whole(wire: list[bytes]) -> None:
    """Whichever packet is the first names the first block: earlier ones are then over."""
    assembler = Assembler(FORM, wait_s=1.0)
    first_id = int.from_bytes(wire[0][2:4], "big")
    blocks = [item for datagram in wire for item in assembler.feed(datagram, 0.0) if isinstance(item, Block)]
    ahead = [number for number in range(4) if 65_530 + number >= first_id]
    assert [block.payload for block in blocks] == [payload(number) for number in ahead]


@given(st.lists(st.binary(max_size=80) | st.sampled_from(sent(1)), max_size=60), st.data())
def test_junk_between_packets_neither_raises_nor_grows(wire: list[bytes], data: st.DataObject) -> None:
    assembler = Assembler(FORM, wait_s=1.0)
    now_s = 0.0
    for datagram in wire:
        now_s += data.draw(st.sampled_from([0.0, 0.6]))
        assembler.feed(datagram, now_s)
        assembler.tick(now_s)
        assert len(assembler._open) <= gvsp.MAX_OPEN
    assembler.flush()
    assert assembler.due_s is None


@given(st.binary(max_size=600))
def test_control_datagrams_never_raise(datagram: bytes) -> None:
    for read in (gvcp.read_request, gvcp.read_answer):
        assert read(datagram)
    gvcp.identity(datagram)
    gvsp.chunks(datagram)
