"""GVSP, the stream protocol of GigE Vision: datagrams to blocks of lines, without I/O or clock.

Big-endian. A packet is a status and a block id of 16 bits each, and 32 bits with the format (8) and packet
id (24); a block is a leader (packet 0), its payload (1 to n) and a trailer (n + 1). Block ids run from 1 to
65535 and begin again at 1. Layouts as in Aravis' ``arvgvspprivate.h`` and in the dissector of Wireshark.

``Assembler.feed`` never raises and holds at most ``MAX_OPEN`` blocks.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from drivers.readings import BadFrame

HEADER = struct.Struct(">HHI")
LEADER = struct.Struct(">HHQIIIIIHH")
"""Field info and payload type (2 × u16), timestamp, pixel format, width, height, offsets, paddings."""
TRAILER = struct.Struct(">HHI")
"""Reserved and payload type (2 × u16), height."""
OVERHEAD = 36
"""Bytes of IP (20), UDP (8) and GVSP (8) in the packet size of the register."""

LEADER_FORMAT, TRAILER_FORMAT, PAYLOAD_FORMAT = 1, 2, 3
EXTENDED_ID = 0x8000_0000
PACKET_ID = 0x00FF_FFFF
ERROR = 0x8000
IMAGE, IMAGE_WITH_CHUNKS = 0x0001, 0x4001
MONO16 = 0x0110_0007
PIXEL_FORMATS = {
    0x0108_0001: "Mono8",
    0x0110_0003: "Mono10",
    0x010C_0004: "Mono10Packed",
    0x0110_0005: "Mono12",
    0x010C_0006: "Mono12Packed",
    0x0110_0025: "Mono14",
    MONO16: "Mono16",
}
HEAD_BYTES = 64
IDS = 65_535
"""Block ids before they begin again; 0 is none."""
MAX_OPEN = 8
MAX_CHUNK_BYTES = 65_536
"""Chunk data that may follow an image."""
MAX_JUMP = 1_024
"""Blocks that can be missing in a row; a longer jump is another count."""
MAX_RANGES = 16
"""Ranges of packets that are asked for singly; more are asked for in one."""
CHUNK_TAIL = struct.Struct(">II")


@dataclass(frozen=True, slots=True)
class Form:
    """What every block of a stream is like.

    ``payload_bytes`` is the image of ``width`` × ``height`` samples of 16 bits and, with ``chunks``, what
    follows it; ``packet_bytes`` is what one packet of payload holds.
    """

    width: int
    height: int
    payload_bytes: int
    packet_bytes: int
    chunks: bool = False

    @property
    def packets(self) -> int:
        """Packets of payload in one block."""
        return -(-self.payload_bytes // self.packet_bytes)


@dataclass(frozen=True, slots=True)
class Block:
    """A block that is over.

    ``payload`` is ``None`` where its leader never came, or nothing of it; else ``missing`` are the parts of
    it (first byte, byte behind the last) that never came, and are zero there. ``ticks`` is the device's time.
    """

    number: int
    """Counts on where block ids begin again; 0 is the first of the stream, or after a ``Jump``."""
    ticks: int = 0
    payload: bytes | None = field(default=None, repr=False)
    missing: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Resend:
    """Packets of a block to ask for again."""

    block_id: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Jump:
    """The block ids go on elsewhere: how many blocks lie between, nobody knows."""


@dataclass(slots=True)
class _Open:
    due_s: float
    ticks: int | None = None
    asked: bool = False
    given_up: bool = False
    payload: bytearray = field(default_factory=bytearray)
    have: bytearray = field(default_factory=bytearray)
    """One byte for each packet of payload."""


Item = Block | Resend | Jump | BadFrame


class Assembler:
    """Puts blocks together from packets in any order; each comes out once, in the order of their ids.

    What is missing when the trailer or a packet of a later block has come, or after ``wait_s`` without a
    packet, is asked for once, and given up ``wait_s`` later.

    Kinds of ``BadFrame``: ``too_short``, ``extended_ids``, ``unknown_format``, ``block_id`` (0, or far from
    the others), ``packet_id``, ``wrong_size`` (of a packet, or the image in a leader), ``payload_type``,
    ``pixel_format``.
    """

    def __init__(self, form: Form, wait_s: float = 0.05) -> None:
        """Wait for the first packet, whose block is number 0."""
        self.form = form
        self._wait_s = wait_s
        self._next = 0
        self._next_id = 0
        """Id of the block with number ``_next``; 0: none has come."""
        self._open: dict[int, _Open] = {}

    @property
    def due_s(self) -> float | None:
        """When ``tick`` has something to do; ``None``: nothing is open."""
        return min((block.due_s for block in self._open.values()), default=None)

    def feed(self, datagram: bytes, now_s: float) -> list[Item]:
        """Take one datagram at a monotonic time; return what it completes, asks for or is wrong with it."""
        if len(datagram) < HEADER.size:
            return [_bad("too_short", datagram)]
        status, block_id, word = HEADER.unpack_from(datagram)
        if word & EXTENDED_ID:
            return [_bad("extended_ids", datagram)]
        form, packet = word >> 24, word & PACKET_ID
        if block_id == 0:
            return [_bad("block_id", datagram)]
        body = datagram[HEADER.size :]
        if status & ERROR:
            return list(self._refused(block_id, now_s))
        if (wrong := self._wrong(form, packet, body)) is not None:
            return [_bad(wrong, datagram)]
        items: list[Item] = []
        number = self._number(block_id, form == LEADER_FORMAT, items)
        if number is None:
            return [*items, _bad("block_id", datagram)]
        if number >= self._next:
            self._place(number, form, packet, body, now_s)
            items += self._ask_before(number, form == TRAILER_FORMAT, now_s)
            items += self._over()
        return items

    def tick(self, now_s: float) -> list[Item]:
        """Ask for what is missing, or give it up, where the time for that has come."""
        items: list[Item] = []
        for number, block in sorted(self._open.items()):
            if now_s >= block.due_s:
                if block.asked:
                    block.given_up = True
                else:
                    items += self._ask(number, block, now_s)
        return items + list(self._over())

    def flush(self) -> list[Item]:
        """Give up everything that is open and return it; block numbers go on."""
        for block in self._open.values():
            block.given_up = True
        return list(self._over())

    # --- one packet -----------------------------------------------------------------------------

    def _wrong(self, form: int, packet: int, body: bytes) -> str | None:
        """Return what is wrong with a packet in itself."""
        expected = self.form
        if form == LEADER_FORMAT:
            return self._wrong_leader(packet, body)
        if form == TRAILER_FORMAT:
            return None if packet == expected.packets + 1 else "packet_id"
        if form != PAYLOAD_FORMAT:
            return "unknown_format"
        if not 1 <= packet <= expected.packets:
            return "packet_id"
        first, after = self._span(packet)
        return None if len(body) == after - first else "wrong_size"

    def _wrong_leader(self, packet: int, body: bytes) -> str | None:
        if packet != 0:
            return "packet_id"
        if len(body) < LEADER.size:
            return "too_short"
        _, payload_type, _, pixel_format, width, height, *_ = LEADER.unpack_from(body)
        if payload_type != (IMAGE_WITH_CHUNKS if self.form.chunks else IMAGE):
            return "payload_type"
        if pixel_format != MONO16:
            return "pixel_format"
        return None if (width, height) == (self.form.width, self.form.height) else "wrong_size"

    def _span(self, packet: int) -> tuple[int, int]:
        first = (packet - 1) * self.form.packet_bytes
        return first, min(first + self.form.packet_bytes, self.form.payload_bytes)

    def _number(self, block_id: int, leader: bool, items: list[Item]) -> int | None:
        """Return a block's number; only a leader may begin another count."""
        if self._next_id == 0:
            self._next_id = block_id
        ahead = (block_id - self._next_id) % IDS
        if ahead <= MAX_JUMP:
            return self._next + ahead
        if IDS - ahead <= MAX_OPEN:
            return self._next - 1  # late: its block is over
        if not leader:
            return None
        items += [*self.flush(), Jump()]
        self._next, self._next_id = 0, block_id
        return 0

    def _place(self, number: int, form: int, packet: int, body: bytes, now_s: float) -> None:
        for before in range(max(self._next, number - MAX_OPEN + 1), number):
            self._open.setdefault(before, _Open(now_s + self._wait_s))
        block = self._open.setdefault(number, _Open(now_s + self._wait_s))
        if not block.asked:
            block.due_s = now_s + self._wait_s
        if form == LEADER_FORMAT:
            block.ticks = LEADER.unpack_from(body)[2]
        elif form == PAYLOAD_FORMAT:
            if not block.payload:
                block.payload = bytearray(self.form.payload_bytes)
                block.have = bytearray(self.form.packets)
            first, after = self._span(packet)
            block.payload[first:after] = body
            block.have[packet - 1] = 1

    def _refused(self, block_id: int, now_s: float) -> Iterator[Item]:
        """The device no longer has what was asked for."""
        block = self._open.get(self._next + (block_id - self._next_id) % IDS)
        if block is not None and block.asked:
            block.given_up = True
        yield from self._over()

    # --- what is missing ------------------------------------------------------------------------

    def _whole(self, block: _Open) -> bool:
        return block.ticks is not None and bool(block.have) and all(block.have)

    def _ask_before(self, number: int, trailer: bool, now_s: float) -> Iterator[Item]:
        for earlier, block in sorted(self._open.items()):
            if (earlier < number or (earlier == number and trailer)) and not block.asked:
                yield from self._ask(earlier, block, now_s)

    def _ask(self, number: int, block: _Open, now_s: float) -> Iterator[Item]:
        if self._whole(block):
            return
        block.asked, block.due_s = True, now_s + self._wait_s
        block_id = (self._next_id + number - self._next - 1) % IDS + 1
        have = [block.ticks is not None, *(block.have or bytes(self.form.packets))]
        ranges = list(_runs(have))
        if len(ranges) > MAX_RANGES:
            ranges = [(ranges[0][0], ranges[-1][1])]
        for first, after in ranges:
            yield Resend(block_id, first, after - 1)

    def _over(self) -> Iterator[Item]:
        """Return, in order, the blocks that are whole or given up, and those that no longer find room."""
        while self._open:
            block = self._open.get(self._next)
            room = max(self._open) - self._next < MAX_OPEN
            if room and block is not None and not block.given_up and not self._whole(block):
                return
            self._open.pop(self._next, None)
            yield self._closed(self._next, block)
            self._next += 1
            self._next_id = self._next_id % IDS + 1

    def _closed(self, number: int, block: _Open | None) -> Block:
        if block is None or block.ticks is None or not block.payload:
            return Block(number)
        missing = tuple((self._span(a + 1)[0], self._span(b)[1]) for a, b in _runs(block.have))
        return Block(number, block.ticks, bytes(block.payload), missing)


def _runs(have: bytes | bytearray | list[bool]) -> Iterator[tuple[int, int]]:
    """Return where nothing is: first place, and the place behind the last."""
    first = None
    for place, here in enumerate(have):
        if not here and first is None:
            first = place
        elif here and first is not None:
            yield first, place
            first = None
    if first is not None:
        yield first, len(have)


def chunks(payload: bytes) -> dict[int, bytes]:
    """Return chunk data by id: what stands behind the image, each with its id and length behind it.

    Read from the end, up to the first that cannot be one.
    """
    found: dict[int, bytes] = {}
    end = len(payload)
    while end >= CHUNK_TAIL.size:
        name, size = CHUNK_TAIL.unpack_from(payload, end - CHUNK_TAIL.size)
        end -= CHUNK_TAIL.size + size
        if end < 0:
            break
        found.setdefault(name, payload[end : end + size])
    return found


def pixel_format(code: int) -> str:
    """Return the name of a pixel format, or its number."""
    return PIXEL_FORMATS.get(code, f"{code:#010x}")


# --- the sender's side ----------------------------------------------------------------------------


def pack_block(form: Form, block_id: int, ticks: int, payload: bytes, code: int = MONO16) -> list[bytes]:
    """Return the packets of one block, as a device sends them."""
    kind = IMAGE_WITH_CHUNKS if form.chunks else IMAGE

    def packet(what: int, number: int, body: bytes) -> bytes:
        return HEADER.pack(0, block_id, what << 24 | number) + body

    leader = LEADER.pack(0, kind, ticks, code, form.width, form.height, 0, 0, 0, 0)
    size = form.packet_bytes
    parts = [payload[at : at + size] for at in range(0, len(payload), size)]
    trailer = TRAILER.pack(0, kind, form.height)
    return [
        packet(LEADER_FORMAT, 0, leader),
        *(packet(PAYLOAD_FORMAT, number, part) for number, part in enumerate(parts, 1)),
        packet(TRAILER_FORMAT, len(parts) + 1, trailer),
    ]


def _bad(kind: str, datagram: bytes) -> BadFrame:
    return BadFrame(kind, 0, datagram[:HEAD_BYTES])
