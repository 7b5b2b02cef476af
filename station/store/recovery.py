"""Giving up a poisoned database handle so that the reopened one tells the truth.

After a failed sync the kernel may have dropped the pages and call the next sync a success, so nothing is ever
synced again through that handle. The log must stay for the next opening to read and check it anew: SQLite
checkpoints and deletes it when the last connection closes, unless that one can only read; and it checks
nothing anew while any other connection stays open.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections import deque

from station.store import database
from station.store.database import Fault, fault_of
from station.store.errors import NotStored, StoreError, StoreUnavailable, Unknown
from station.store.ops import Transaction
from station.store.place import Journal, Place
from station.store.readers import Readers


class Repeats:
    """Something that may happen, but not ``count`` times within ``window_s``; monotonic."""

    def __init__(self, count: int, window_s: float) -> None:
        self._window_s = window_s
        self._times: deque[float] = deque(maxlen=count)

    def one_more(self) -> bool:
        """Count one more; whether that is one too many."""
        self._times.append(time.monotonic())
        is_full = len(self._times) == self._times.maxlen
        return is_full and self._times[-1] - self._times[0] < self._window_s


def judged(tx: Transaction, journal: Journal, cause: str) -> StoreError | None:
    """Return what a group must be told after the journal was reopened, ``None``: all of it is there.

    Its records are there together or not at all.
    """
    if tx.committing and (journal.epoch != tx.epoch or tx.seq == tx.published):
        return in_doubt(tx, cause)  # a commit without a record of its own left no trace in the chain
    if tx.committing and (journal.seq, journal.hash) == (tx.seq, tx.hash):
        return None
    return NotStored(f"Not written: {cause}.")


def is_refusal(error: Exception) -> bool:
    """Whether one operation's own values are to blame, not the database or the disk."""
    fault = fault_of(error)
    others = (sqlite3.Error, MemoryError)  # short memory is nobody's draft's fault
    return fault is Fault.REFUSED or (fault is Fault.OTHER and not isinstance(error, others))


def in_doubt(tx: Transaction, cause: str) -> StoreError:
    """Return what a group must be told when nobody can look."""
    if tx.committing:
        return Unknown(f"Nobody knows whether it was written: {cause}. Look before writing it again.")
    return StoreUnavailable(f"Not written: {cause}.")


def abandon(place: Place, journal: Journal, readers: Readers, wait_s: float) -> None:
    """Close all connections in the order that keeps the log; ``open_journal`` comes next."""
    readers.close(wait_s)
    with contextlib.ExitStack() as last:
        with contextlib.suppress(sqlite3.Error, StoreUnavailable, OSError):
            sentinel = database.connect_reader(place.database)
            last.callback(sentinel.close)
            sentinel.execute("SELECT seq FROM head").fetchall()  # only a connection that has read counts
        with contextlib.suppress(sqlite3.Error):
            journal.connection.rollback()
        with contextlib.suppress(sqlite3.Error, OSError):
            journal.close()
