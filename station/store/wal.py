"""The write-ahead log is kept short by the writer alone, after the waiters were told."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from station.store import database
from station.store.crashpoint import crashpoint
from station.store.stats import Stats

PASSIVE_FRAMES = 1000
TRUNCATE_BYTES = 16 * 1024 * 1024


class Wal:
    """How long the log has become since the last whole checkpoint."""

    def __init__(self, path: Path, stats: Stats) -> None:
        """``path`` is the database's."""
        self._path = path
        self._stats = stats
        self.frames = 0

    def tend(self, connection: sqlite3.Connection, frames: int) -> None:
        """Copy the log into the database when it is long; ``frames`` is about what the last commit added.

        Raises ``sqlite3.Error`` when the disk fails.
        """
        self.frames += frames
        self._stats.log_bytes = database.size_of(database.log_of(self._path))
        if self._stats.log_bytes > TRUNCATE_BYTES:
            connection.execute("PRAGMA busy_timeout=0").fetchone()  # never wait behind a reader
            try:
                crashpoint("before_truncate")
                done = database.checkpoint(connection, "TRUNCATE")
                crashpoint("after_truncate")
                self._stats.log_bytes = 0 if done else self._stats.log_bytes
            finally:
                connection.execute("PRAGMA busy_timeout=5000").fetchone()
        elif self.frames > PASSIVE_FRAMES:
            crashpoint("before_passive")
            done = database.checkpoint(connection, "PASSIVE")
            crashpoint("after_passive")
        else:
            return
        self._stats.checkpoints += 1
        self.frames = 0 if done else self.frames
