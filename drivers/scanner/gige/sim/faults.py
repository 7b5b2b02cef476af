"""Protocol faults of the emulated camera: what it sends wrong on purpose.

Lasting faults hold until they are ended; momentary ones spoil the next block and are over.
"""

from __future__ import annotations

from typing import ClassVar

from drivers.formats.gige import gvsp

LOST_EVERY = 7
JUMP = 20_000
MONO12 = 0x0110_0005

LASTING = frozenset({"loss", "loss_for_good", "duplicate", "reorder", "mono12", "extended_ids", "silent"})
MOMENTARY = frozenset({"truncated_leader", "wrong_size", "stall", "block_jump", "block_lost"})
AT_ONCE = frozenset({"lost_heartbeat"})


class Faults:
    """The faults that are on."""

    NAMES: ClassVar[frozenset[str]] = LASTING | MOMENTARY | AT_ONCE

    def __init__(self) -> None:
        """Behave."""
        self.on: set[str] = set()
        self._sent = 0

    def set(self, name: str, *, on: bool) -> None:
        """Show or end a fault."""
        (self.on.add if on else self.on.discard)(name)

    def _once(self, name: str) -> bool:
        """Tell whether a momentary fault is on, and end it."""
        there = name in self.on
        self.on.discard(name)
        return there

    def after(self, block_id: int) -> int:
        """Return the id of the next block."""
        return (block_id + (JUMP if self._once("block_jump") else 0)) % gvsp.IDS + 1

    def pixel_format(self) -> int:
        """Return what its leaders say."""
        return MONO12 if "mono12" in self.on else gvsp.MONO16

    def spoil(self, packets: list[bytes]) -> list[bytes]:
        """Return what goes out for one block: normally its packets, as they are."""
        if self._once("block_lost"):
            return []
        packets = list(packets)
        if self._once("truncated_leader"):
            packets[0] = packets[0][:20]
        if self._once("wrong_size"):
            packets[1] = packets[1][:-1]
        if self._once("stall"):
            packets = packets[: len(packets) // 2]
        if "reorder" in self.on:
            packets = [packet for pair in _pairs(packets) for packet in reversed(pair)]
        if "duplicate" in self.on:
            packets = [packet for packet in packets for _ in range(2)]
        if "extended_ids" in self.on:
            packets = [packet[:4] + bytes([packet[4] | 0x80]) + packet[5:] for packet in packets]
        if self.on & {"loss", "loss_for_good"}:
            packets = [packet for packet in packets if not self._falls_out()]
        return packets

    def _falls_out(self) -> bool:
        self._sent += 1
        return self._sent % LOST_EVERY == 0


def _pairs(packets: list[bytes]) -> list[list[bytes]]:
    return [packets[at : at + 2] for at in range(0, len(packets), 2)]
