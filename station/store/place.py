"""Where the journal lives, and the open journal itself: values shared by start-up and writer."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from drivers.api import Clock
from station.store.database import Identity
from station.store.mark import MarkFile


class Consumer(NamedTuple):
    """A central system with a cursor of its own."""

    name: str
    required: bool = True
    """Nothing is removed that it has not acknowledged."""
    blobs: bool = False
    """It takes blobs: none is removed that it has not sent a receipt for, if it is required too."""


@dataclass(frozen=True, slots=True)
class Place:
    """The state folder, and how the journal is kept in it."""

    state: Path
    station: str
    clock: Clock
    consumers: tuple[Consumer, ...]
    quota_bytes: int
    config_sha256: str
    blob_quota_bytes: int = 2**63 - 1

    @property
    def journal(self) -> Path:
        """Folder of the database and its log: moved as one, never apart."""
        return self.state / "journal"

    @property
    def database(self) -> Path:
        """The database."""
        return self.journal / "station.db"

    @property
    def aside(self) -> Path:
        """Folder of a new journal while it is made; what stands here was never served."""
        return self.state / "journal.new"

    @property
    def mark(self) -> Path:
        """The high-water mark."""
        return self.state / "mark.bin"

    @property
    def quarantine(self) -> Path:
        """Journals of earlier epochs, kept until a person removes them."""
        return self.state / "quarantine"

    def now_us(self) -> int:
        """Return UTC in microseconds."""
        return self.clock.stamp().utc_ns // 1000


@dataclass(frozen=True, slots=True)
class Before:
    """What is known of the epoch before this one; ``last`` is its highest known sequence number."""

    epoch: bytes
    last: int
    hash: bytes


NOTHING_KNOWN = Before(bytes(16), 0, bytes(32))
"""What stands for an epoch of which nothing could be read."""


@dataclass(slots=True)
class Journal:
    """The open journal; ``seq``, ``hash``, ``acked`` and ``blob_bytes`` move with each commit."""

    connection: sqlite3.Connection
    mark: MarkFile
    identity: Identity
    epoch: bytes
    first_seq: int
    before: Before | None
    seq: int
    hash: bytes
    anchor_seq: int
    anchor_hash: bytes
    acked: dict[str, int] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    """Consumers that were required once: only two persons drop one."""
    damaged: tuple[int, ...] = ()
    blob_bytes: int = 0
    """Bytes of all blobs that are there."""
    stray_bytes: int = 0
    """Bytes of blob files that this journal does not know, as far as they have been counted."""
    blob_bound: int = 2**63 - 1
    """What the disk's free space allows for blobs, in bytes."""

    @property
    def blob_used(self) -> int:
        """Bytes that count against the room for blobs."""
        return self.blob_bytes + self.stray_bytes

    def blob_room(self, quota_bytes: int) -> int:
        """Return the room for blobs, in bytes: their quota, or what the disk allows."""
        return max(min(quota_bytes, self.blob_bound), 1)

    def close(self) -> None:
        """Close database and mark; SQLite checkpoints and removes the log when it is the last to close."""
        try:
            self.connection.close()
        finally:
            self.mark.close()
