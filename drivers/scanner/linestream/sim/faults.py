"""Protocol faults of the emulated front end: what it says wrong on purpose.

Lasting faults hold until they are ended; momentary ones spoil the next block of lines and are over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from drivers.formats.linestream.frames import HEADER, crc32c
from drivers.formats.linestream.messages import JournalHead, Lines, Message

LASTING = frozenset({"frozen", "beam_off", "no_describe", "bad_describe", "version_2"})
MOMENTARY = frozenset(
    {
        "bad_crc",
        "bad_header",
        "wrong_block",
        "seq_jump",
        "journal_on_wire",
        "duplicate",
        "conflict",
        "corrupt_samples",
        "undeclared_gap",
        "time_backwards",
        "encoder_jump",
    }
)
AT_ONCE = frozenset({"gap", "reboot", "scan_without_end"})
"""They happen to the acquisition at the moment they are asked for."""
ENCODER_JUMP_TICKS = 10_000
TIME_JUMP_NS = 1_000_000_000


class Misbehaviour:
    """The lasting and momentary faults that are on."""

    def __init__(self) -> None:
        """Behave."""
        self.on: set[str] = set()

    def set(self, name: str, *, on: bool) -> None:
        """Show or end a fault."""
        (self.on.add if on else self.on.discard)(name)

    def spoil(self, lines: Lines, send: Callable[[Message], bytes]) -> list[bytes]:
        """Return the frames that go out for one block: normally one, as it is."""
        spoilt = {name for name in self.on & MOMENTARY if name != "undeclared_gap" or len(lines.records) > 1}
        self.on -= spoilt
        if "undeclared_gap" in spoilt:
            lines = lines.tail(lines.first_line + 1)
        if "corrupt_samples" in spoilt:  # before framing: only the sum in SCAN_END tells
            lines = replace(lines, samples=lines.samples ^ np.uint16(1))
        if spoilt & {"time_backwards", "encoder_jump"}:
            lines = _distorted(lines, spoilt)
        if "seq_jump" in spoilt:
            send(lines)  # takes a number and never leaves
        frames = [send(JournalHead(b"{}"))] if "journal_on_wire" in spoilt else []
        frames.append(_damaged(send(lines), spoilt))
        if "duplicate" in spoilt:
            frames.append(send(lines))
        if "conflict" in spoilt:
            frames.append(send(replace(lines, samples=lines.samples ^ np.uint16(1))))
        return frames


def _distorted(lines: Lines, spoilt: set[str]) -> Lines:
    records = lines.records.copy()
    if "time_backwards" in spoilt:
        records["t_ns"][-1] -= TIME_JUMP_NS
    if "encoder_jump" in spoilt:
        records["encoder"][-1] += ENCODER_JUMP_TICKS
    return replace(lines, records=records)


def _damaged(frame: bytes, spoilt: set[str]) -> bytes:
    wire = bytearray(frame)
    if "wrong_block" in spoilt:
        wire[HEADER.size + 8] ^= 0x80  # n_lines no longer fits the length; every checksum holds
        wire[-4:] = crc32c(bytes(wire[HEADER.size : -4])).to_bytes(4, "little")
    if "bad_crc" in spoilt:
        wire[-5] ^= 0x01
    if "bad_header" in spoilt:
        wire[9] ^= 0x10
    return bytes(wire)
