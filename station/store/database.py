"""Connections to the journal's database: the only code that lets SQLite open its files.

Nobody else may open them: POSIX drops a process's locks on a file when any descriptor of it is closed, and
SQLite then loses commits without a word. Sizes and identities are read with ``stat``. Only the writer's
connection writes or checkpoints (SQLite before 3.51.3 may lose a commit when two do).
"""

from __future__ import annotations

import errno
import os
import sqlite3
from enum import Enum
from functools import partial
from pathlib import Path

from station.store.schema import PAGE_BYTES

_COMMON_PRAGMAS: dict[str, tuple[str, object]] = {
    "trusted_schema": ("OFF", 0),
    "cell_size_check": ("ON", 1),
    "mmap_size": ("0", 0),
}
_FILE_PRAGMAS: dict[str, tuple[str, object]] = {
    "page_size": (str(PAGE_BYTES), PAGE_BYTES),
    "auto_vacuum": ("INCREMENTAL", 2),
}
"""Kept by the file: set while it is empty (setting them again would write), read back always."""
WRITER_PRAGMAS: dict[str, tuple[str, object]] = {
    "journal_mode": ("WAL", "wal"),
    "synchronous": ("FULL", 2),
    "wal_autocheckpoint": ("0", 0),  # an automatic checkpoint hides failed syncs
    "journal_size_limit": ("67108864", 67108864),
    "busy_timeout": ("5000", 5000),
    "foreign_keys": ("ON", 1),
    "cache_size": ("-512", -512),
    **_COMMON_PRAGMAS,
}
READER_PRAGMAS: dict[str, tuple[str, object]] = {
    "query_only": ("ON", 1),
    "cache_size": ("-256", -256),  # KiB; what is read is new, and the system keeps the file's pages anyway
    **_COMMON_PRAGMAS,
}
"""Name, what is set, and what must be read back."""

Identity = tuple[tuple[int, int], ...]


class Fault(Enum):
    """What a failure of the database means for the writer."""

    REFUSED = "refused"  # the statement's own values
    FULL = "full"
    IO = "io"
    CORRUPT = "corrupt"
    OTHER = "other"


_FAULTS = {
    sqlite3.SQLITE_CONSTRAINT: Fault.REFUSED,
    sqlite3.SQLITE_MISMATCH: Fault.REFUSED,
    sqlite3.SQLITE_TOOBIG: Fault.REFUSED,
    sqlite3.SQLITE_RANGE: Fault.REFUSED,
    sqlite3.SQLITE_FULL: Fault.FULL,
    sqlite3.SQLITE_IOERR: Fault.IO,
    sqlite3.SQLITE_CANTOPEN: Fault.IO,
    sqlite3.SQLITE_READONLY: Fault.IO,
    sqlite3.SQLITE_CORRUPT: Fault.CORRUPT,
    sqlite3.SQLITE_NOTADB: Fault.CORRUPT,
}


def fault_of(error: Exception) -> Fault:
    """Sort an exception of sqlite3 or of the file system into the writer's failure table."""
    if isinstance(error, OSError):
        return Fault.IO
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        if code is not None:
            return _FAULTS.get(code & 0xFF, Fault.OTHER)
        # Without a code the driver itself refused to bind the values.
        return Fault.REFUSED
    if isinstance(error, UnicodeDecodeError):
        return Fault.CORRUPT  # SQLite's own message quotes the damaged bytes
    return Fault.REFUSED if isinstance(error, OverflowError) else Fault.OTHER


def connect_writer(database: Path, quota_bytes: int, *, create: bool = False) -> sqlite3.Connection:
    """Open the one connection that writes.

    Raises ``sqlite3.Error``, also when a setting does not hold.
    """
    connection = _connect(database, "rwc" if create else "rw")
    try:
        if create:
            _set(connection, _FILE_PRAGMAS)
        _set(connection, WRITER_PRAGMAS)
        _check(connection, WRITER_PRAGMAS | _FILE_PRAGMAS)
        # Kept by the connection, not by the file; never below what the file already has.
        connection.execute(f"PRAGMA max_page_count={quota_bytes // PAGE_BYTES}").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def connect_reader(database: Path) -> sqlite3.Connection:
    """Open a connection that can neither write nor checkpoint."""
    connection = _connect(database, "ro")
    try:
        _set(connection, READER_PRAGMAS)
        _check(connection, READER_PRAGMAS)
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(database: Path, mode: str) -> sqlite3.Connection:
    uri = f"{database.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=5.0)
    # Damaged text must reach the hash check as the bytes it is, not end the whole query.
    connection.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")
    return connection


def _set(connection: sqlite3.Connection, pragmas: dict[str, tuple[str, object]]) -> None:
    for name, (value, _) in pragmas.items():
        connection.execute(f"PRAGMA {name}={value}").fetchone()


def _check(connection: sqlite3.Connection, pragmas: dict[str, tuple[str, object]]) -> None:
    for name, (value, expected) in pragmas.items():
        (found,) = connection.execute(f"PRAGMA {name}").fetchone()
        if found != expected:
            raise sqlite3.DatabaseError(f"{name} is {found!r} where the journal needs {value}")


def checkpoint(connection: sqlite3.Connection, mode: str) -> bool:
    """Copy the write-ahead log into the database: ``PASSIVE``, or ``TRUNCATE`` (which empties the log).

    Returns whether all of it was copied; raises ``sqlite3.Error`` when the disk fails.
    """
    busy, frames, copied = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    return not busy and frames == copied


def log_of(database: Path) -> Path:
    """Return the name of the write-ahead log."""
    return database.with_name(database.name + "-wal")


def size_of(path: Path) -> int:
    """Return the size of a file in bytes, 0 when it is missing."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def identity_of(database: Path) -> Identity:
    """Return device and inode of the database and its log: other ones mean that somebody replaced them."""
    return tuple((found.st_dev, found.st_ino) for found in (os.stat(database), os.stat(log_of(database))))


def check_identity(database: Path, expected: Identity) -> None:
    """Raise ``OSError`` when the files on disk are not those that this process has open."""
    if identity_of(database) != expected:
        raise OSError(errno.ESTALE, f"{database} was replaced or deleted while it was open")
