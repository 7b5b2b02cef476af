"""Frames of linestream v1: bytes in any chunking to messages and back, without I/O, clock or exceptions.

A frame is a header of 32 bytes (magic ``CLS1``, its own CRC32C at the end), the payload and the CRC32C of
the payload. ``FrameReader`` reads a wire, from either side, and an acquisition journal.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import google_crc32c

from drivers.formats.linestream.codes import HeaderFlag
from drivers.formats.linestream.messages import MAX_PAYLOAD, MESSAGES, JournalHead, Message
from drivers.readings import BadFrame

MAGIC = b"CLS1"
VERSION = 1
HEADER = struct.Struct("<4sBBBBIIQ4xI")
MAX_MESSAGE = HEADER.size + MAX_PAYLOAD + 4
MAX_RESYNC = 4_194_304
HEAD_BYTES = 64
SKIPPED_FROM = 0x80
"""Types from here on are optional: a reader that does not know them skips them."""
_STEP = 1 << 18


def crc32c(data: bytes, crc: int = 0) -> int:
    """Return the CRC32C (Castagnoli) of ``data``, or go on from ``crc``."""
    return int(google_crc32c.extend(crc, data))


@dataclass(frozen=True, slots=True)
class Frame:
    """One message as it came: ``wire`` is the whole frame, ``offset`` its place in the stream."""

    message: Message
    flags: HeaderFlag
    seq: int
    scan_id: int
    offset: int
    wire: bytes = field(repr=False)


def encode(message: Message, *, seq: int, scan_id: int = 0, flags: int = 0) -> bytes:
    """Return the frame of one message."""
    payload = message.pack()
    head = HEADER.pack(MAGIC, VERSION, HEADER.size, message.TYPE, flags, len(payload), seq, scan_id, 0)[:-4]
    return b"".join(
        (head, crc32c(head).to_bytes(4, "little"), payload, crc32c(payload).to_bytes(4, "little"))
    )


@dataclass(frozen=True, slots=True)
class _Header:
    kind: int
    flags: int
    length: int
    seq: int
    scan_id: int


class FrameReader:
    """Turns a byte stream into frames; buffers one message at most.

    A damaged payload costs its message. A damaged header is searched past, up to 4 MiB, for the next valid
    one; beyond that the reader is ``lost`` and drops everything, because only a new link can help.

    Kinds of ``BadFrame``: ``bad_header``, ``too_long``, ``bad_checksum``, ``malformed`` (size or content),
    ``unknown_type`` (below 0x80), ``journal_message`` (0x70 elsewhere than at the start of a journal),
    ``sequence`` (a jump of msg_seq on a wire; the message itself is dropped), ``lost`` and ``incomplete``.
    """

    def __init__(self, *, journal: bool = False) -> None:
        """Read a wire, or (``journal``) a file whose messages came over several links."""
        self.lost = False
        self.offset = 0
        """Place in the stream of the first byte that is not yet part of a returned record."""
        self._journal = journal
        self._buffer = bytearray()
        self._header: _Header | None = None
        self._search_until: int | None = None
        self._next_seq: int | None = None if journal else 0

    @property
    def pending(self) -> int:
        """Bytes of an incomplete message that wait for more."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Frame | BadFrame]:
        """Return what ``data`` completes, in order; never raises."""
        records: list[Frame | BadFrame] = []
        for start in range(0, len(data), _STEP):
            if self.lost:
                break
            self._buffer += data[start : start + _STEP]
            while self._read_one(records):
                pass
        return records

    def end(self) -> list[BadFrame]:
        """Say that the stream has ended: an incomplete message is a ``BadFrame`` (``incomplete``)."""
        head = bytes(self._buffer[:HEAD_BYTES])
        return [BadFrame("incomplete", self.offset, head)] if head else []

    def _read_one(self, records: list[Frame | BadFrame]) -> bool:
        """Read one header or one message; false when more bytes are needed."""
        if self._header is None:
            if self._search_until is not None and not self._search(records, self._search_until):
                return False
            return len(self._buffer) >= HEADER.size and self._read_header(records)
        size = HEADER.size + self._header.length + 4
        if len(self._buffer) < size:
            return False
        wire = bytes(memoryview(self._buffer)[:size])
        record = self._message(self._header, wire)
        if record is not None:
            records.append(record)
        self._drop(size)
        self._header = None
        return True

    def _read_header(self, records: list[Frame | BadFrame]) -> bool:
        magic, version, size, kind, flags, length, seq, scan_id, crc = HEADER.unpack_from(self._buffer)
        head = bytes(self._buffer[: HEADER.size])
        valid = (
            magic == MAGIC
            and crc == crc32c(head[:-4])
            and version == VERSION
            and size == HEADER.size
            and length <= MAX_PAYLOAD
        )
        if valid:
            self._search_until = None
            self._header = _Header(kind, flags, length, seq, scan_id)
            return True
        if self._search_until is None:
            self._search_until = self.offset + MAX_RESYNC
            self._next_seq = None  # nobody knows how many messages the damage swallowed
            records.append(BadFrame("bad_header", self.offset, head))
        self._drop(1)
        return True

    def _search(self, records: list[Frame | BadFrame], until: int) -> bool:
        """Drop up to the next place that could be a header; false when the search is over.

        What is kept depends on the bytes alone, never on how they were cut: the magic, or the part of it
        that the bytes so far end with.
        """
        found = self._buffer.find(MAGIC)
        if found < 0:
            begun = next(n for n in (3, 2, 1, 0) if self._buffer.endswith(MAGIC[:n]))
            found = len(self._buffer) - begun
        self._drop(found)
        if self.offset > until:
            self.lost = True
            records.append(BadFrame("lost", until, b""))
            self._drop(len(self._buffer))
            return False
        return True

    def _message(self, header: _Header, wire: bytes) -> Frame | BadFrame | None:
        problem, message = self._judge(header, wire)
        jumped = self._next_seq is not None and header.seq != self._next_seq
        if not self._journal:
            self._next_seq = (header.seq + 1) & 0xFFFF_FFFF
        if problem is None and jumped:
            problem = "sequence"
        if problem is not None:
            return BadFrame(problem, self.offset, wire[:HEAD_BYTES])
        if message is None:
            return None
        return Frame(message, HeaderFlag(header.flags), header.seq, header.scan_id, self.offset, wire)

    def _judge(self, header: _Header, wire: bytes) -> tuple[str | None, Message | None]:
        """Return what is wrong with a message, or the message (none: skipped)."""
        payload = wire[HEADER.size : -4]
        if crc32c(payload) != int.from_bytes(wire[-4:], "little"):
            return "bad_checksum", None
        if header.kind >= SKIPPED_FROM:
            return None, None
        kind = MESSAGES.get(header.kind)
        if kind is None:
            return "unknown_type", None
        if kind is JournalHead and not (self._journal and self.offset == 0):
            return "journal_message", None
        try:
            return None, kind.unpack(payload)
        except ValueError:
            return "malformed", None

    def _drop(self, count: int) -> None:
        del self._buffer[:count]
        self.offset += count
