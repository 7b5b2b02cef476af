"""The high-water mark: a second file that says how far the journal had come.

One flipped bit in SQLite's write-ahead log silently drops every commit behind it, and the database calls
itself sound. ``mark.bin`` is written and synced after each commit of records, before anyone is told, so that
acknowledged ≤ mark ≤ head always holds and a shortened journal is seen.

Two slots of 4,096 bytes are written in turn (slot = generation mod 2), little endian; the highest valid
generation counts, so a torn write loses at most the mark that nobody was told of::

    0  8  "CARMARK1"      16  8  generation     40   8  seq         80  8  UTC µs
    8  8  version, flags  24 16  epoch          48  32  its hash    88  4  CRC-32 of bytes 0–87
"""

from __future__ import annotations

import errno
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from station.store.crashpoint import crashpoint

SLOT_BYTES = 4096
_MAGIC = b"CARMARK1"
_VERSION = 1
_LAYOUT = struct.Struct("<8sHHIQ16sQ32sq")
_CRC = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Mark:
    """The last record that was durable: its epoch (16 bytes), sequence number and hash (32 bytes)."""

    epoch: bytes
    seq: int
    hash: bytes
    utc_us: int = 0
    generation: int = 0

    def encode(self) -> bytes:
        """Return the slot's bytes."""
        head = _LAYOUT.pack(
            _MAGIC, _VERSION, 0, 0, self.generation, self.epoch, self.seq, self.hash, self.utc_us
        )
        return (head + _CRC.pack(zlib.crc32(head))).ljust(SLOT_BYTES, b"\0")

    @classmethod
    def decode(cls, slot: bytes) -> Mark | None:
        """Return the mark in ``slot``, or ``None`` when it is torn, foreign or empty."""
        if len(slot) < _LAYOUT.size + _CRC.size:
            return None
        magic, version, _, _, generation, epoch, seq, hash_, utc_us = _LAYOUT.unpack_from(slot)
        (crc,) = _CRC.unpack_from(slot, _LAYOUT.size)
        if magic != _MAGIC or version != _VERSION or crc != zlib.crc32(slot[: _LAYOUT.size]):
            return None
        return cls(epoch, seq, hash_, utc_us, generation)


def read_mark(path: Path) -> Mark | None:
    """Return the newest valid mark of the file, or ``None``."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    slots = (Mark.decode(content[start : start + SLOT_BYTES]) for start in (0, SLOT_BYTES))
    return max((mark for mark in slots if mark), key=lambda mark: mark.generation, default=None)


class MarkFile:
    """The open mark file; ``write`` is durable on return. Not for two threads."""

    def __init__(self, path: Path) -> None:
        newest = read_mark(path)
        self._generation = newest.generation if newest else 0
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.syncs = 0
        try:
            size = os.fstat(self._file).st_size
            if size < 2 * SLOT_BYTES:
                # Both slots exist from the start: a later mark overwrites and never needs new room.
                self._write(bytes(2 * SLOT_BYTES - size), size)
                os.fsync(self._file)
        except BaseException:
            self.close()  # it is tried again each second, and descriptors are few
            raise

    def write(self, epoch: bytes, seq: int, hash_: bytes, utc_us: int) -> None:
        """Overwrite the older slot and sync; on ``OSError`` this descriptor must not be used again."""
        mark = Mark(epoch, seq, hash_, utc_us, self._generation + 1)
        self._write(mark.encode(), mark.generation % 2 * SLOT_BYTES)
        crashpoint("mark_written")
        os.fdatasync(self._file)
        crashpoint("after_mark")
        self._generation = mark.generation
        self.syncs += 1

    def _write(self, content: bytes, offset: int) -> None:
        written = os.pwrite(self._file, content, offset)
        if written != len(content):
            raise OSError(errno.EIO, f"{written} of {len(content)} bytes of the mark were written")

    def close(self) -> None:
        """Close the file; idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
