"""Giving up a poisoned database handle so that the reopened one tells the truth.

After a failed sync the kernel may have dropped the pages and call the next sync a success, so nothing is ever
synced again through that handle. The log must stay for the next opening to read and check it anew: SQLite
checkpoints and deletes it when the last connection closes, unless that one can only read; and it checks
nothing anew while any other connection stays open.
"""

from __future__ import annotations

import contextlib
import sqlite3

from station.store import database
from station.store.errors import StoreUnavailable
from station.store.place import Journal, Place
from station.store.readers import Readers


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
