"""How much room there is for records and for blobs, and what is given up first when it runs out.

Both quotas count bytes. From 80 % on what may be removed is removed, down to 75 %. What may not be removed
goes on growing: from 90 % on background records and raw images are refused, from 95 % on the lane says so.
"""

from __future__ import annotations

import os
import sqlite3
from enum import IntEnum
from pathlib import Path

from station.store.schema import PAGE_BYTES

TRIM_FROM, TRIM_TO = 0.80, 0.75
REFUSE_FROM, MANUAL_FROM = 0.90, 0.95
RESERVE_BYTES = 64 * 1024 * 1024
"""The last room of the database: for alarms, acknowledgements and directives alone …"""
_RESERVE_PARTS = 32
"""… but no more than this part of a small quota."""
_LEAST_PARTS = 4


class Pressure(IntEnum):
    """How scarce room is, although what could be removed was."""

    NONE = 0
    REFUSE = 1
    """Background records and raw images are refused."""
    MANUAL = 2
    """A person must look: soon nothing can be kept."""


def pressure_of(*used: float) -> Pressure:
    """Return what follows from the used parts of the quotas; the fullest counts."""
    most = max(used)
    return Pressure((most >= REFUSE_FROM) + (most >= MANUAL_FROM))


def blob_quota(partition_bytes: int, database_bytes: int, ballast_bytes: int) -> int:
    """Return the room for blobs, in bytes: what the database, twice, the reserve and 5 % leave.

    Twice, because its log and a second one of a new epoch must fit. A partition that is too small for that
    gives a quarter of itself.
    """
    left = partition_bytes - 2 * database_bytes - ballast_bytes - partition_bytes // 20
    return max(left, partition_bytes // _LEAST_PARTS)


def partition_bytes(folder: Path) -> int:
    """Return the size of the file system that ``folder`` is on; raises ``OSError``."""
    found = os.statvfs(folder)
    return found.f_blocks * found.f_frsize


def bound_by_disk(folder: Path, used_bytes: int, before_bytes: int) -> int:
    """Return what the free space allows for blobs of which ``used_bytes`` are there; raises ``OSError``.

    The last 5 % of the partition are not for them. It falls at once, and rises above ``before_bytes`` only
    by a 20th or more: another program's small files must not make the lane change its mind.
    """
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize - found.f_blocks * found.f_frsize // 20
    bound = used_bytes + max(free, 0)
    return bound if bound < before_bytes or bound >= before_bytes + before_bytes // 20 else before_bytes


def used_pages(connection: sqlite3.Connection) -> int:
    """Return the pages of the database that hold something."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    return int(pages - free)


class Room:
    """How far the database may grow: to its quota for what is vital, else to where the reserve begins."""

    def __init__(self, quota_bytes: int) -> None:
        self._quota_bytes = quota_bytes
        self._reserve_bytes = min(RESERVE_BYTES, quota_bytes // _RESERVE_PARTS)
        self._narrow: sqlite3.Connection | None = None
        """The connection that keeps out of the reserve now: SQLite remembers it there, not in the file."""

    def allow(self, connection: sqlite3.Connection, *, vital: bool) -> None:
        """Set the limit for the running transaction; it is never below what is there already."""
        if vital or self._narrow is not connection:
            allowed = self._quota_bytes - (0 if vital else self._reserve_bytes)
            connection.execute(f"PRAGMA max_page_count={allowed // PAGE_BYTES}").fetchone()
            self._narrow = None if vital else connection
