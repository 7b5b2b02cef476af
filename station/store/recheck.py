"""Bits that a disk loses after years: while nobody waits, all records are read again, a few at a time.

A record that is no longer what was written is withheld from the feed in any case; here it is found before
somebody asks for it, while a consumer or a copy may still have it.
"""

from __future__ import annotations

import logging
import sqlite3
import time

from station.store import schema
from station.store.chain import rows, sound_rows
from station.store.place import Journal

STEP_RECORDS = 16
"""With the largest bodies some 50 ms."""
STEP_EACH_S = 0.1
PASS_EACH_S = 24 * 3600.0
MOST = 1000
"""Damaged records that are remembered: more are no better news."""

log = logging.getLogger("carril.store")


class Recheck:
    """The chore: from the oldest record to the last, at most once a day; it writes nothing."""

    def __init__(self) -> None:
        self._epoch = b""
        self._at = 0
        self._next_s = 0.0

    def next(self, journal: Journal, *, idle: bool) -> None:
        """Look at the next records, when idle, and note in the journal which are damaged."""
        now_s = time.monotonic()
        if not idle or now_s < self._next_s:
            return
        _, _, anchor, _ = journal.connection.execute(schema.GET_HEAD).fetchone()
        if journal.epoch != self._epoch:
            self._epoch, self._at = journal.epoch, anchor
        after = max(self._at, anchor)
        self._at = min(after + STEP_RECORDS, journal.seq)
        self._look(journal, anchor, after)
        is_over = self._at == journal.seq
        self._next_s = now_s + (PASS_EACH_S if is_over else STEP_EACH_S)
        self._at = 0 if is_over else self._at

    def tidy(self, connection: sqlite3.Connection) -> None:
        """Nothing to tidy."""

    def _look(self, journal: Journal, anchor: int, after: int) -> None:
        # One row more: it confirms the hash of the last one.
        span = {"after": after, "upto": journal.seq, "count": STEP_RECORDS + 1}
        found = rows(journal.connection.execute(schema.RECORDS_AFTER, span))
        seqs = range(after + 1, self._at + 1)
        sound = sound_rows(found, seqs, journal.epoch, journal.seq, journal.hash)
        known = {seq for seq in journal.damaged if seq > anchor and seq not in sound}
        damaged = {seq for seq in seqs if seq not in sound}
        if damaged - known:
            log.error("records are not what was written: %s", ", ".join(map(str, sorted(damaged - known))))
        journal.damaged = tuple(sorted(known | damaged)[:MOST])
